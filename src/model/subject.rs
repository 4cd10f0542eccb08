//! The subject of a watch: a node, and the facet of it that is watched.

use serde::{Deserialize, Serialize};

use super::NodePath;

/// Which aspect of a node is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Facet {
    /// The node's data.
    Data,
    /// The set of the node's children.
    Children,
    /// The node and every node below it, with their data. [`crate::store`] assembles the tree from the other
    /// two facets.
    Tree,
}

impl Facet {
    pub fn as_str(self) -> &'static str {
        match self {
            Facet::Data => "data",
            Facet::Children => "children",
            Facet::Tree => "tree",
        }
    }
}

/// A facet of a node. Watches with the same subject share one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    pub path: NodePath,
    pub facet: Facet,
}
