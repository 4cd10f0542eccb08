//! What a store says of a subject.

use std::sync::Arc;

use super::{Tree, Version};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Data(Arc<[u8]>),
    /// Sorted.
    Children(Arc<[String]>),
    Tree(Arc<Tree>),
}

impl Content {
    /// How many bytes it has: a list of children as an action reads it, a tree in the data of all its nodes.
    pub fn bytes(&self) -> u64 {
        match self {
            Content::Data(data) => data.len() as u64,
            Content::Children(names) => names.iter().map(|name| name.len() as u64 + 1).sum(),
            Content::Tree(tree) => tree.bytes(),
        }
    }

    /// How much there is of what makes it: the bytes of data, the children, the nodes of a tree below its root.
    pub fn amount(&self) -> u64 {
        match self {
            Content::Data(data) => data.len() as u64,
            Content::Children(names) => names.len() as u64,
            Content::Tree(tree) => tree.nodes_below(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The node, or one of its parents, does not exist.
    Absent,
    Present {
        version: Version,
        content: Content,
    },
}
