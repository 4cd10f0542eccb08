//! Looking whether the chroot exists.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::NodePath;
use crate::store::root_check::RootCheck;

/// How often to look while it is there. This is no load for a server, even where a hundred hosts do it.
const INTERVAL: Duration = Duration::from_secs(10);

/// Returns the check of one session. The root of the server is always there, and never looked for.
pub(super) fn check(chroot: &NodePath, now: Instant) -> RootCheck {
    let missing = format!(
        "the chroot {chroot} does not exist, so that none of the watched nodes does; correct the URL, or \
         create the first node with `twitcher set`"
    );
    RootCheck::new((chroot.as_str() != "/").then_some(now), Some(INTERVAL), missing)
}
