//! A whole subtree as one subject, put together from the data and the children of its nodes.
//!
//! No store knows of trees. A [`layer`] between the daemon and a store's task follows, for each tree, the data and
//! the children of every node in it, and gives its state when all of them are known. From the store's guarantee
//! follows the tree's: at rest, the last state given is the true one.
//!
//! * [`Tree`] is a finished state, [`Change`] what tells two of them apart.
//! * [`assembly`] has one tree in the making, [`trees`] all of a store: neither does any IO.
//! * [`layer`] is what the daemon and the store's task touch.

use std::sync::Arc;

use super::{NodePath, Version};
use crate::config::fingerprint::StableHash;

mod assembly;
mod change;
pub(super) mod layer;
mod node;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
mod trees;

pub use assembly::MOST_NODES;
pub use change::{Change, NodeEvent, NodeState};

/// What trees need to know of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    /// Whether a version is the same for every daemon.
    pub(super) lasting: bool,
    /// A child of the root that is the store's own, and in no tree at the root.
    pub(super) reserved: Option<&'static str>,
}

/// For what cannot be: a store's task that is to follow a tree.
pub(super) fn not_of_a_store() -> ! {
    unreachable!("trees are put together from what stores tell of single nodes")
}

/// A node of a tree, in one state. Trees share those that are the same.
#[derive(Debug, PartialEq, Eq)]
pub struct TreeNode {
    path: NodePath,
    /// Of its data.
    version: Version,
    data: Arc<[u8]>,
    /// Differs between a node and the one re-created under its name, within one daemon: not every store's versions do.
    born: u64,
    /// Of its path and version.
    hash: u64,
}

impl TreeNode {
    fn new(path: NodePath, version: Version, data: Arc<[u8]>, born: u64, nature: &Nature) -> Self {
        let mut hash = StableHash::default();
        hash.add(path.as_str());
        hash.add_number(if nature.lasting { version.incarnation } else { 0 });
        hash.add_number(version.revision);
        Self { path, version, data, born, hash: hash.fold() }
    }

    fn is_same_incarnation(&self, other: &Self) -> bool {
        (self.born, self.version.incarnation) == (other.born, other.version.incarnation)
    }

    fn is_same_state(&self, other: &Self) -> bool {
        self.born == other.born && self.version.is_same_state(other.version)
    }
}

/// A node and all below it, as far as they were read: each in a state that was true at some moment.
#[derive(Debug, PartialEq, Eq)]
pub struct Tree {
    /// Sorted by path, the root first.
    nodes: Box<[Arc<TreeNode>]>,
}

impl Tree {
    /// With these paths, sorted, and revisions.
    #[cfg(test)]
    pub(crate) fn sample(nodes: &[(&str, i64)]) -> Arc<Self> {
        let nature = Nature { lasting: true, reserved: None };
        let node = |(path, revision): &(&str, i64)| {
            let version = Version { incarnation: 1, revision: *revision, number: *revision };
            let data = revision.to_string().into_bytes().into();
            Arc::new(TreeNode::new(NodePath::parse(path).expect("a path"), version, data, 1, &nature))
        };
        Arc::new(Self { nodes: nodes.iter().map(node).collect() })
    }

    /// The node that has this path, if it is in the tree.
    pub fn get(&self, path: &NodePath) -> Option<&TreeNode> {
        let place = self.nodes.binary_search_by(|node| node.path.cmp(path)).ok()?;
        Some(&self.nodes[place])
    }

    /// How many nodes are in it besides the root.
    pub fn nodes_below(&self) -> u64 {
        self.nodes.len().saturating_sub(1) as u64
    }

    /// Of the data of all its nodes.
    pub fn bytes(&self) -> u64 {
        self.nodes.iter().map(|node| node.data.len() as u64).sum()
    }

    /// Its incarnation is that of the root. The rest is equal if and only if all nodes are the same, but for a chance
    /// of one in 2^63, and positive, because people read it.
    fn version(&self) -> Version {
        let mut hash = StableHash::default();
        self.nodes.iter().for_each(|node| hash.add_number(node.hash.cast_signed()));
        let revision = (hash.fold() >> 1).cast_signed();
        let incarnation = self.nodes.first().map_or(0, |root| root.version.incarnation);
        Version { incarnation, revision, number: revision }
    }
}
