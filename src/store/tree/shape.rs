//! What is assembled from which parts of which nodes.

use crate::model::{Facet, NodeFacet};
use crate::store::encoding::MAX_TREE_NODES;

/// What is assembled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Shape {
    /// A node and everything below it, with all data.
    Tree,
    /// The children of a node with the data of each: who is listed, and what each says.
    Members,
}

impl Shape {
    pub(super) const ALL: [Self; 2] = [Self::Tree, Self::Members];

    pub(super) fn facet(self) -> Facet {
        match self {
            Self::Tree => Facet::Tree,
            Self::Members => Facet::Members,
        }
    }

    /// Returns what is followed of the node that is named, or of another one.
    pub(super) fn facets(self, is_root: bool) -> &'static [NodeFacet] {
        match (self, is_root) {
            (Self::Tree, _) => &[NodeFacet::Data, NodeFacet::Children],
            (Self::Members, true) => &[NodeFacet::Children],
            (Self::Members, false) => &[NodeFacet::Data],
        }
    }

    /// Returns how many nodes there can be, with the root.
    pub(super) fn max_nodes(self) -> usize {
        match self {
            Self::Tree => MAX_TREE_NODES,
            Self::Members => MAX_TREE_NODES + 1,
        }
    }

    /// Returns what an error calls the nodes.
    pub(super) fn parts(self) -> &'static str {
        match self {
            Self::Tree => "nodes",
            Self::Members => "members",
        }
    }

    /// Returns what helps if there is too much.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Tree => "remove some, or watch smaller trees below it",
            Self::Members => "remove some",
        }
    }
}
