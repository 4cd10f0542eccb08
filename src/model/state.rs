//! The state of a subject that a store reports.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Facet, Tree, Version};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    Data(Arc<[u8]>),
    /// The names of the children, sorted.
    Children(Arc<[String]>),
    Tree(Arc<Tree>),
}

/// The content of a single node's facet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeContent {
    Data(Arc<[u8]>),
    /// The names of the children, sorted.
    Children(Arc<[String]>),
}

impl Content {
    /// Returns the facet that has this kind of content.
    pub fn facet(&self) -> Facet {
        match self {
            Content::Data(_) => Facet::Data,
            Content::Children(_) => Facet::Children,
            Content::Tree(_) => Facet::Tree,
        }
    }

    /// Returns the size in bytes of the data, of the list of children that an action reads (one line each),
    /// or of the data of all nodes.
    pub fn bytes(&self) -> u64 {
        match self {
            Content::Data(data) => data.len() as u64,
            Content::Children(names) => names.iter().map(|name| name.len() as u64 + 1).sum(),
            Content::Tree(tree) => tree.bytes(),
        }
    }

    /// Returns the size in the content's own parts: bytes of data, children, or nodes below the root of a
    /// tree.
    pub fn size(&self) -> u64 {
        match self {
            Content::Data(data) => data.len() as u64,
            Content::Children(names) => names.len() as u64,
            Content::Tree(tree) => tree.nodes_below(),
        }
    }
}

impl From<NodeContent> for Content {
    fn from(content: NodeContent) -> Self {
        match content {
            NodeContent::Data(data) => Content::Data(data),
            NodeContent::Children(names) => Content::Children(names),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The node, or one of its parents, does not exist.
    Absent,
    Present {
        version: Version,
        content: Content,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    // "children = bytes of the list as the action would get it ... number of children; tree = sum of the data
    // bytes, number of nodes below the watched one"
    #[test]
    fn each_kind_of_content_has_its_own_size() {
        let names = |names: &[&str]| Content::Children(names.iter().map(|name| name.to_string()).collect());
        let tree = |nodes: &[(&str, i64)]| Content::Tree(Tree::sample(nodes));
        for (content, bytes, size) in [
            (Content::Data(b"abc".as_slice().into()), 3, 3),
            (names(&[]), 0, 0),
            (names(&["a", "\u{fc}b"]), 6, 2),
            (tree(&[("/t", 12)]), 2, 0),
            (tree(&[("/t", 12), ("/t/a", 3), ("/t/a/b", 456)]), 6, 2),
        ] {
            assert_eq!((content.bytes(), content.size()), (bytes, size), "{content:?}");
        }
    }
}
