//! Trees: a node with everything below it. Also the changes between two states of a tree.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use super::{NodePath, Version};

/// One state of one node of a tree, without its data. Trees share equal nodes.
#[derive(Debug, PartialEq, Eq)]
pub struct TreeNode {
    pub(crate) path: NodePath,
    /// The version of the node's data.
    pub(crate) version: Version,
    /// Differs between a node and a node that was re-created under its name, as long as the store's tasks
    /// run. In some stores, their versions can be equal.
    pub(crate) born: u64,
}

impl TreeNode {
    pub(crate) fn is_same_incarnation(&self, other: &Self) -> bool {
        self.born == other.born && self.has_same_incarnation(other)
    }

    /// Whether their versions say so, which is not enough while the same half of a store reports.
    pub(crate) fn has_same_incarnation(&self, other: &Self) -> bool {
        let is_unwritten = self.version == Version::UNWRITTEN || other.version == Version::UNWRITTEN;
        is_unwritten || self.version.incarnation == other.version.incarnation
    }

    fn is_same_state(&self, other: &Self) -> bool {
        self.born == other.born && self.version.is_same_state(other.version)
    }
}

/// A node and the nodes below it, each in a state that it had at some moment. Their data lies in a
/// [`Blob`](super::Blob): for each node a piece with what an action reads of it, one after the other. The
/// default is the tree of a missing node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Sorted by path, the root first.
    nodes: Box<[Arc<TreeNode>]>,
    /// Where each node's piece ends in the blob.
    ends: Box<[u64]>,
    /// The size of the data of all nodes.
    data_bytes: u64,
}

impl Tree {
    /// Makes a tree of these nodes, sorted by path, and of the ends of their pieces.
    pub(crate) fn new(nodes: Vec<Arc<TreeNode>>, ends: Vec<u64>, data_bytes: u64) -> Self {
        debug_assert_eq!(nodes.len(), ends.len());
        Self { nodes: nodes.into(), ends: ends.into(), data_bytes }
    }

    /// Makes a tree of these sorted paths with their revisions. The pieces have one byte each.
    #[cfg(test)]
    pub(crate) fn sample(nodes: &[(&str, i64)]) -> Arc<Self> {
        let node = |(path, revision): &(&str, i64)| {
            let version = Version { incarnation: 1, revision: *revision, number: *revision };
            Arc::new(TreeNode { path: NodePath::parse(path).expect("a path"), version, born: 1 })
        };
        let ends = (1..=nodes.len() as u64).collect();
        Arc::new(Self::new(nodes.iter().map(node).collect(), ends, nodes.len() as u64))
    }

    /// Returns the same tree with other nodes, one for each of these.
    pub(crate) fn with_nodes(&self, nodes: Vec<Arc<TreeNode>>) -> Self {
        Self::new(nodes, self.ends.to_vec(), self.data_bytes)
    }

    pub(crate) fn nodes(&self) -> &[Arc<TreeNode>] {
        &self.nodes
    }

    /// Iterates over the nodes, sorted by path, each with the range of its piece.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Arc<TreeNode>, Range<u64>)> {
        (0..self.nodes.len()).map(|place| self.entry(place))
    }

    fn entry(&self, place: usize) -> (&Arc<TreeNode>, Range<u64>) {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        (&self.nodes[place], start..self.ends[place])
    }

    /// Returns where the last piece ends in the blob.
    pub(crate) fn pieces_end(&self) -> u64 {
        self.ends.last().copied().unwrap_or_default()
    }

    /// Returns the number of nodes without the root.
    pub fn nodes_below(&self) -> u64 {
        self.nodes.len().saturating_sub(1) as u64
    }

    /// Returns the size of the data of all nodes.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The range of the node's piece in the blob of its tree.
    pub piece: Range<u64>,
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
    fn to((node, piece): (&Arc<TreeNode>, Range<u64>), event: NodeEvent) -> Self {
        let now = NodeState { version: node.version.number, piece };
        Self { path: node.path.clone(), event, now: Some(now) }
    }

    fn deletion(path: NodePath) -> Self {
        Self { path, event: NodeEvent::Deleted, now: None }
    }
}

impl Tree {
    /// Returns every node as [`NodeEvent::Load`], sorted by path.
    pub fn load(&self) -> Vec<Change> {
        self.entries().map(|entry| Change::to(entry, NodeEvent::Load)).collect()
    }

    /// Returns the node with this path as changed, or as deleted if the tree does not have it.
    pub fn change_of(&self, path: &NodePath) -> Change {
        match self.nodes.binary_search_by(|node| node.path.cmp(path)) {
            Ok(place) => Change::to(self.entry(place), NodeEvent::Changed),
            Err(_) => Change::deletion(path.clone()),
        }
    }

    /// Returns what changed since `before`, sorted by path.
    pub fn changes_since(&self, before: &Tree) -> Vec<Change> {
        let (mut old, mut new) = (before.nodes.iter().peekable(), self.entries().peekable());
        let mut changes = Vec::new();
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(was), Some((is, _))) => was.path.cmp(&is.path),
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

fn change(was: Option<&Arc<TreeNode>>, is: Option<(&Arc<TreeNode>, Range<u64>)>) -> Option<Change> {
    match (was, is) {
        // Trees share equal nodes, so nearly all pairs end here.
        (Some(was), Some((is, _))) if Arc::ptr_eq(was, is) => None,
        (Some(was), Some((is, _))) if was.is_same_state(is) => None,
        (Some(was), Some(is)) if was.is_same_incarnation(is.0) => Some(Change::to(is, NodeEvent::Changed)),
        (Some(_) | None, Some(is)) => Some(Change::to(is, NodeEvent::Created)),
        (Some(was), None) => Some(Change::deletion(was.path.clone())),
        (None, None) => None,
    }
}
