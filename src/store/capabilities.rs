//! What a kind of store can do.

use crate::model::Version;

/// What a kind of store can do, as its backend states it. Nothing else may depend on which store it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capabilities {
    /// Whether a version means the same to every daemon and to the next one.
    pub durable_versions: bool,
    /// A child of the root that the store uses itself. It is part of no tree at the root.
    pub reserved_child: Option<&'static str>,
}

impl Capabilities {
    /// Returns what a version that a former daemon was given means to this one, if the node did not change
    /// since.
    pub fn normalize_version(self, version: Version) -> Version {
        match self.durable_versions {
            true => version,
            // Each daemon counts the incarnations of a directory's nodes from 0. A node that was created anew
            // in the meantime has another revision as well.
            false => Version { incarnation: 0, ..version },
        }
    }
}
