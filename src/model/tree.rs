//! Trees: a node with everything below it. Also the changes between two states of a tree.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{NodePath, Version};
use crate::text::StableHash;

/// One state of one node of a tree. Trees share equal nodes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeNode {
    pub(crate) path: NodePath,
    /// The version of the node's data.
    pub(crate) version: Version,
    pub(crate) data: Arc<[u8]>,
    /// Differs between a node and a node that was re-created under its name, as long as the daemon runs. In
    /// some stores, their versions can be equal.
    born: u64,
    /// A hash of path and version.
    hash: u64,
}

impl TreeNode {
    /// Incarnations are part of the hash only if they are `durable`, which means the same to the next daemon.
    pub(crate) fn new(path: NodePath, version: Version, data: Arc<[u8]>, born: u64, durable: bool) -> Self {
        let mut hash = StableHash::default();
        hash.add(path.as_str());
        hash.add_number(if durable { version.incarnation } else { 0 });
        hash.add_number(version.revision);
        Self { path, version, data, born, hash: hash.fold() }
    }

    pub(crate) fn is_same_incarnation(&self, other: &Self) -> bool {
        (self.born, self.version.incarnation) == (other.born, other.version.incarnation)
    }

    fn is_same_state(&self, other: &Self) -> bool {
        self.born == other.born && self.version.is_same_state(other.version)
    }
}

/// A node and the nodes below it, each in a state that it had at some moment. The default is the tree of a
/// missing node.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Sorted by path, the root first.
    pub(crate) nodes: Box<[Arc<TreeNode>]>,
}

impl Tree {
    /// Makes a tree of these sorted paths with their revisions.
    #[cfg(test)]
    pub(crate) fn sample(nodes: &[(&str, i64)]) -> Arc<Self> {
        let node = |(path, revision): &(&str, i64)| {
            let version = Version { incarnation: 1, revision: *revision, number: *revision };
            let data = revision.to_string().into_bytes().into();
            Arc::new(TreeNode::new(NodePath::parse(path).expect("a path"), version, data, 1, true))
        };
        Arc::new(Self { nodes: nodes.iter().map(node).collect() })
    }

    /// Returns the node with this path, if the tree has it.
    pub fn get(&self, path: &NodePath) -> Option<&TreeNode> {
        let place = self.nodes.binary_search_by(|node| node.path.cmp(path)).ok()?;
        Some(&self.nodes[place])
    }

    /// Returns the number of nodes without the root.
    pub fn nodes_below(&self) -> u64 {
        self.nodes.len().saturating_sub(1) as u64
    }

    /// Returns the size of the data of all nodes.
    pub fn bytes(&self) -> u64 {
        self.nodes.iter().map(|node| node.data.len() as u64).sum()
    }

    /// Returns a version with the incarnation of the root. The revision is a hash of all nodes, which is
    /// equal for two different trees with a probability of one in 2^63. It is positive, because people read
    /// it.
    pub(crate) fn version(&self) -> Version {
        let mut hash = StableHash::default();
        self.nodes.iter().for_each(|node| hash.add_number(node.hash.cast_signed()));
        let revision = (hash.fold() >> 1).cast_signed();
        let incarnation = self.nodes.first().map_or(0, |root| root.version.incarnation);
        Version { incarnation, revision, number: revision }
    }
}

/// The change of one node between two states of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub path: NodePath,
    pub event: NodeEvent,
    /// `None` if and only if the node is deleted.
    pub now: Option<NodeState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeEvent {
    /// The node exists, and its former state is unknown.
    Load,
    Created,
    Changed,
    Deleted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// The number that people see.
    pub version: i64,
    pub data: Arc<[u8]>,
}

impl NodeEvent {
    /// Returns the word that actions get.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeEvent::Load => "load",
            NodeEvent::Created => "created",
            NodeEvent::Changed => "changed",
            NodeEvent::Deleted => "deleted",
        }
    }
}

impl Change {
    pub fn to(node: &TreeNode, event: NodeEvent) -> Self {
        let now = NodeState { version: node.version.number, data: Arc::clone(&node.data) };
        Self { path: node.path.clone(), event, now: Some(now) }
    }

    pub fn deletion(path: NodePath) -> Self {
        Self { path, event: NodeEvent::Deleted, now: None }
    }
}

impl Tree {
    /// Returns every node as [`NodeEvent::Load`], sorted by path.
    pub fn load(&self) -> Vec<Change> {
        self.nodes.iter().map(|node| Change::to(node, NodeEvent::Load)).collect()
    }

    /// Returns what changed since `before`, sorted by path.
    pub fn changes_since(&self, before: &Tree) -> Vec<Change> {
        let (mut old, mut new) = (before.nodes.iter().peekable(), self.nodes.iter().peekable());
        let mut changes = Vec::new();
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(was), Some(is)) => was.path.cmp(&is.path),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return changes,
            };
            let was = if order.is_le() { old.next() } else { None };
            let is = if order.is_ge() { new.next() } else { None };
            changes.extend(change(was, is));
        }
    }
}

fn change(was: Option<&Arc<TreeNode>>, is: Option<&Arc<TreeNode>>) -> Option<Change> {
    match (was, is) {
        // Trees share equal nodes, so nearly all pairs end here.
        (Some(was), Some(is)) if Arc::ptr_eq(was, is) => None,
        (Some(was), Some(is)) if was.is_same_state(is) => None,
        (Some(was), Some(is)) if was.is_same_incarnation(is) => Some(Change::to(is, NodeEvent::Changed)),
        (Some(_) | None, Some(is)) => Some(Change::to(is, NodeEvent::Created)),
        (Some(was), None) => Some(Change::deletion(was.path.clone())),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(incarnation: i64, revision: i64) -> Version {
        Version { incarnation, revision, number: revision }
    }

    #[test]
    fn trees_are_the_same_version_if_and_only_if_all_their_nodes_are() {
        let build = |durable: bool, nodes: &[(&str, Version)]| {
            let node = |(node, version): &(&str, Version)| {
                Arc::new(TreeNode::new(NodePath::parse(node).unwrap(), *version, Arc::from([]), 1, durable))
            };
            Tree { nodes: nodes.iter().map(node).collect() }.version()
        };
        let base = [("/t", version(1, 1)), ("/t/a", version(1, 2)), ("/t/b", version(3, 4))];
        let others: [&[(&str, Version)]; 5] = [
            &[base[0], base[1]],
            &[base[0], base[2], base[1]],
            &[base[0], base[1], ("/t/b", version(3, 5))],
            &[base[0], base[1], ("/t/c", version(3, 4))],
            &[base[0], ("/t/a", version(1, 4)), ("/t/b", version(3, 2))],
        ];
        for durable in [true, false] {
            let first = build(durable, &base);
            assert_eq!(first, build(durable, &base));
            assert!(first.number > 0 && first.number == first.revision && first.incarnation == 1);
            for other in others {
                assert_ne!(first.number, build(durable, other).number, "{other:?}");
            }
        }
        let again = [base[0], base[1], ("/t/b", version(9, 4))];
        assert_ne!(build(true, &base), build(true, &again), "created anew");
        // A directory's incarnations are another daemon's tomorrow.
        assert_eq!(build(false, &base), build(false, &again));
    }
}
