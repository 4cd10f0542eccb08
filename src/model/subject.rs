//! What is followed in a store.

use super::NodePath;

/// What of a node is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Facet {
    /// The node's content.
    Data,
    /// The set of the node's children.
    Children,
    /// The node and all below it, each with its content. Put together from the other two by [`tree`].
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

/// One subscription: watches with the same subject share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    pub path: NodePath,
    pub facet: Facet,
}
