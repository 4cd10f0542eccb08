//! How many of the followed nodes are there.

use super::node::FollowedNode;
use crate::model::NodeSubject;

#[derive(Default)]
pub(super) struct Tally {
    /// How many were found.
    present: usize,
    /// How many were not looked for yet, or could not be read.
    unknown: usize,
}

impl Tally {
    /// Counts the node in. Each is counted once: before it is changed, it is [taken out](Self::take_out).
    pub(super) fn put_in(&mut self, subject: &NodeSubject, node: &FollowedNode) {
        self.present += usize::from(is_there(subject, node));
        self.unknown += usize::from(node.is_unknown());
    }

    pub(super) fn take_out(&mut self, subject: &NodeSubject, node: &FollowedNode) {
        self.present -= usize::from(is_there(subject, node));
        self.unknown -= usize::from(node.is_unknown());
    }

    pub(super) fn has_nodes(&self) -> bool {
        self.present > 0
    }

    /// Returns whether all were looked for, and some were found.
    pub(super) fn is_complete(&self) -> bool {
        self.present > 0 && self.unknown == 0
    }
}

fn is_there(subject: &NodeSubject, node: &FollowedNode) -> bool {
    match subject.path.as_str() {
        // The directory of the store itself is there, with nodes or without.
        "/" => node.has_children(),
        _ => node.is_present(),
    }
}
