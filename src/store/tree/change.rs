//! What tells two states of a tree apart.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Tree, TreeNode};
use crate::store::NodePath;

/// What happened to a node of a tree between two states of this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub path: NodePath,
    pub event: NodeEvent,
    /// `None` if and only if it is deleted.
    pub now: Option<NodeState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeEvent {
    /// It is there; what was there before is not known.
    Load,
    Created,
    Changed,
    Deleted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// As people are shown it.
    pub version: i64,
    pub data: Arc<[u8]>,
}

impl NodeEvent {
    /// As actions are told.
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
    /// All that is in it, sorted by path.
    pub fn load(&self) -> Vec<Change> {
        self.nodes.iter().map(|node| Change::to(node, NodeEvent::Load)).collect()
    }

    /// What leads from `before` to it, sorted by path.
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
        // Nearly always so.
        (Some(was), Some(is)) if Arc::ptr_eq(was, is) => None,
        (Some(was), Some(is)) if was.is_same_state(is) => None,
        (Some(was), Some(is)) if was.is_same_incarnation(is) => Some(Change::to(is, NodeEvent::Changed)),
        (Some(_) | None, Some(is)) => Some(Change::to(is, NodeEvent::Created)),
        (Some(was), None) => Some(Change::deletion(was.path.clone())),
        (None, None) => None,
    }
}
