//! Which nodes are still to be looked at for who can change them, and which are found open. It outlives
//! sessions.
//!
//! Each node is looked at once, and without haste.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{NodePath, NodeSubject, Shrink};
use crate::store::message::{Exposure, MAX_WRITABLE};

/// The pause after each look. This is no load for a server, even where a hundred hosts begin to watch
/// thousands of nodes at once.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct Audit {
    /// What was noted and not forgotten, looked at or not.
    seen: HashSet<NodeSubject>,
    waiting: VecDeque<NodeSubject>,
    /// When the next look is due; `None` while one is under way.
    next_at: Option<Instant>,
    /// The nodes that everybody can change.
    open: HashSet<NodePath>,
    /// Whether everything is reported that will ever be.
    is_over: bool,
}

impl Audit {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            seen: HashSet::new(),
            waiting: VecDeque::new(),
            next_at: Some(now),
            open: HashSet::new(),
            is_over: false,
        }
    }

    /// Goes on with a new session. What the last one was asked about is looked at again.
    pub(super) fn resume(&mut self, now: Instant) {
        self.next_at = Some(now);
    }

    /// Has `subject` looked at, once. Called whenever a node was read.
    pub(super) fn note(&mut self, subject: &NodeSubject) {
        if !self.is_over && !self.seen.contains(subject) {
            self.seen.insert(subject.clone());
            self.waiting.push_back(subject.clone());
        }
    }

    /// Takes `subject` back, if it was not looked at yet.
    pub(super) fn forget(&mut self, subject: &NodeSubject) {
        self.seen.remove(subject);
        self.seen.shrink_if_sparse();
    }

    /// When [`Self::next`] may have something.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next_at.filter(|_| !self.waiting.is_empty())
    }

    /// Returns the next subject to look at, if one is due. It stays the next one until [`Self::done`].
    pub(super) fn next(&mut self, now: Instant) -> Option<NodeSubject> {
        self.next_at.filter(|next_at| *next_at <= now)?;
        loop {
            let subject = self.waiting.front()?;
            if self.seen.contains(subject) {
                self.next_at = None;
                return Some(subject.clone());
            }
            self.waiting.pop_front();
            self.waiting.shrink_if_sparse();
        }
    }

    /// Takes the result of looking at the next subject. Returns what there is to report.
    pub(super) fn done(&mut self, subject: NodeSubject, is_open: bool, now: Instant) -> Option<Exposure> {
        self.waiting.pop_front();
        self.next_at = Some(now + CHECK_INTERVAL);
        if !is_open || !self.open.insert(subject.path.clone()) {
            return None;
        }
        if self.open.len() <= MAX_WRITABLE {
            return Some(Exposure::Writable(subject.into()));
        }
        self.is_over = true;
        (self.seen, self.waiting) = (HashSet::new(), VecDeque::new());
        Some(Exposure::MoreWritable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeFacet;

    #[test]
    fn each_node_is_told_of_once_and_only_a_few_are() {
        let subject = |number: usize, facet| NodeSubject {
            path: NodePath::parse(&format!("/{number}")).unwrap(),
            facet,
        };
        let now = Instant::now();
        let mut audit = Audit::new(now);
        for number in 0..MAX_WRITABLE {
            let found = audit.done(subject(number, NodeFacet::Data), true, now);
            assert!(matches!(found, Some(Exposure::Writable(_))));
            assert!(audit.done(subject(number, NodeFacet::Children), true, now).is_none());
        }
        let found = audit.done(subject(MAX_WRITABLE, NodeFacet::Data), true, now);
        assert!(matches!(found, Some(Exposure::MoreWritable)));
        audit.note(&subject(MAX_WRITABLE + 1, NodeFacet::Data));
        assert!(audit.waiting.is_empty() && audit.seen.is_empty());
    }
}
