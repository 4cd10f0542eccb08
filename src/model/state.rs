//! The state of a subject that a store reports.

use std::sync::Arc;

use super::{Blob, Facet, Origin, Tree, Version};

/// The content of a subject. What the daemon decides by, it knows without a look at the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Data(Blob),
    Children {
        /// The sorted names of the children, each ended by a newline.
        lines: Blob,
        count: u64,
    },
    Tree {
        tree: Arc<Tree>,
        /// The pieces of the tree's nodes, and what the store adds to them.
        blob: Blob,
    },
    Members {
        /// A line of JSON: an object with what each child says of itself by its name, sorted.
        object: Blob,
        count: u64,
    },
}

/// The content of a single node's facet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeContent {
    Data(Blob),
    /// The names of the children, sorted.
    Children(Arc<[String]>),
}

impl Content {
    /// Returns the facet that has this kind of content.
    pub fn facet(&self) -> Facet {
        match self {
            Content::Data(_) => Facet::Data,
            Content::Children { .. } => Facet::Children,
            Content::Tree { .. } => Facet::Tree,
            Content::Members { .. } => Facet::Members,
        }
    }

    /// Returns the size in bytes of the data, of what an action reads of children or members, or
    /// of the data of all nodes.
    pub fn bytes(&self) -> u64 {
        match self {
            Content::Data(data) => data.len(),
            Content::Children { lines, .. } => lines.len(),
            Content::Tree { tree, .. } => tree.data_bytes(),
            Content::Members { object, .. } => object.len(),
        }
    }

    /// Returns the size in the content's own parts: bytes of data, children, nodes below the root of a
    /// tree, or members.
    pub fn size(&self) -> u64 {
        match self {
            Content::Data(data) => data.len(),
            Content::Children { count, .. } | Content::Members { count, .. } => *count,
            Content::Tree { tree, .. } => tree.nodes_below(),
        }
    }

    /// Returns what holds the content's bytes.
    pub fn blob(&self) -> &Blob {
        match self {
            Content::Data(blob)
            | Content::Children { lines: blob, .. }
            | Content::Tree { blob, .. }
            | Content::Members { object: blob, .. } => blob,
        }
    }

    pub(crate) fn into_blob(self) -> Blob {
        match self {
            Content::Data(blob)
            | Content::Children { lines: blob, .. }
            | Content::Tree { blob, .. }
            | Content::Members { object: blob, .. } => blob,
        }
    }

    #[cfg(test)]
    pub(crate) fn sample_children(names: &[&str]) -> Self {
        let lines: String = names.iter().flat_map(|name| [name, "\n"]).collect();
        Content::Children { lines: lines.into_bytes().into(), count: names.len() as u64 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The node, or one of its parents, does not exist.
    Absent,
    Present {
        version: Version,
        /// Nothing is decided by it, and two reports of one state may differ in it.
        origin: Origin,
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
        let tree = |nodes: &[(&str, i64)]| Content::Tree { tree: Tree::sample(nodes), blob: [0; 9].into() };
        for (content, bytes, size) in [
            (Content::Data(b"abc".as_slice().into()), 3, 3),
            (Content::sample_children(&[]), 0, 0),
            (Content::sample_children(&["a", "\u{fc}b"]), 6, 2),
            (tree(&[("/t", 12)]), 1, 0),
            (tree(&[("/t", 12), ("/t/a", 3), ("/t/a/b", 456)]), 3, 2),
            (Content::Members { object: b"{\"a\":{},\"b\":null}\n".as_slice().into(), count: 2 }, 18, 2),
        ] {
            assert_eq!((content.bytes(), content.size()), (bytes, size), "{content:?}");
        }
    }
}
