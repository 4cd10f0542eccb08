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
    /// The set of the node's children, with the data of each. [`crate::store`] assembles it as it does trees.
    Members,
}

/// Which aspect of a single node a store follows. A [`Facet::Tree`] takes both, of every node in it, and
/// [`Facet::Members`] the children of the node and the data of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeFacet {
    Data,
    Children,
}

impl Facet {
    pub const ALL: [Self; 4] = [Facet::Data, Facet::Children, Facet::Tree, Facet::Members];

    pub fn as_str(self) -> &'static str {
        match self {
            Facet::Data => "data",
            Facet::Children => "children",
            Facet::Tree => "tree",
            Facet::Members => "members",
        }
    }
}

impl From<NodeFacet> for Facet {
    fn from(facet: NodeFacet) -> Self {
        match facet {
            NodeFacet::Data => Facet::Data,
            NodeFacet::Children => Facet::Children,
        }
    }
}

/// A facet of a node. Watches with the same subject share one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    pub path: NodePath,
    pub facet: Facet,
}

/// A facet of a single node, which a store follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeSubject {
    pub path: NodePath,
    pub facet: NodeFacet,
}

impl From<NodeSubject> for Subject {
    fn from(NodeSubject { path, facet }: NodeSubject) -> Self {
        Self { path, facet: facet.into() }
    }
}
