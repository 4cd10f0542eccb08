//! Where a publisher publishes.

use std::time::Duration;

use crate::model::NodePath;
use crate::store::StoreSettings;

/// Where the commits of a namespace are published.
#[derive(Clone, Debug)]
pub struct KeeperSettings {
    pub store: StoreSettings,
    /// The commits are below its child `data`, and the election of the leader is below its child `election`.
    pub path: NodePath,
    /// About how often the leader goes over all keys.
    pub period: Duration,
}
