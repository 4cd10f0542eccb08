//! Which nodes are still to be looked at for who can change them, and which are found open. It outlives
//! sessions.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};

use tokio::sync::Notify;

use crate::model::{NodePath, NodeSubject};
use crate::store::Exposure;

/// How many open nodes are reported one by one. Where more are open to everybody, all of them probably are.
const MAX_REPORTED_NODES: usize = 5;

pub(super) struct Audit {
    /// What was noted and not forgotten, looked at or not.
    seen: RefCell<HashSet<NodeSubject>>,
    waiting: RefCell<VecDeque<NodeSubject>>,
    more: Notify,
    /// The nodes that everybody can change.
    open: RefCell<HashSet<NodePath>>,
    /// Whether everything is reported that will ever be.
    is_over: Cell<bool>,
}

impl Audit {
    pub(super) fn new() -> Self {
        Self {
            seen: RefCell::default(),
            waiting: RefCell::default(),
            more: Notify::new(),
            open: RefCell::default(),
            is_over: Cell::new(false),
        }
    }

    /// Has `subject` looked at, once. Called whenever a node was read.
    pub(super) fn note(&self, subject: &NodeSubject) {
        if self.is_over.get() || self.seen.borrow().contains(subject) {
            return;
        }
        self.seen.borrow_mut().insert(subject.clone());
        self.waiting.borrow_mut().push_back(subject.clone());
        self.more.notify_one();
    }

    /// Takes `subject` back, if it was not looked at yet.
    pub(super) fn forget(&self, subject: &NodeSubject) {
        self.seen.borrow_mut().remove(subject);
    }

    /// Returns true if nothing needs to be looked at any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Waits for the next subject to look at. It stays the next one until [`Self::done`].
    pub(super) async fn next(&self) -> NodeSubject {
        loop {
            let next = self.waiting.borrow().front().cloned();
            match next {
                Some(subject) if self.seen.borrow().contains(&subject) => return subject,
                Some(_) => drop(self.waiting.borrow_mut().pop_front()),
                None => self.more.notified().await,
            }
        }
    }

    /// Takes the result of looking at the next subject. Returns what there is to report.
    pub(super) fn done(&self, subject: NodeSubject, is_open: bool) -> Option<Exposure> {
        self.waiting.borrow_mut().pop_front();
        let mut open = self.open.borrow_mut();
        if !is_open || !open.insert(subject.path.clone()) {
            return None;
        }
        if open.len() <= MAX_REPORTED_NODES {
            return Some(Exposure::Writable(subject.into()));
        }
        self.is_over.set(true);
        drop((self.seen.take(), self.waiting.take()));
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
        let audit = Audit::new();
        for number in 0..MAX_REPORTED_NODES {
            let found = audit.done(subject(number, NodeFacet::Data), true);
            assert!(matches!(found, Some(Exposure::Writable(_))));
            assert!(audit.done(subject(number, NodeFacet::Children), true).is_none());
        }
        let found = audit.done(subject(MAX_REPORTED_NODES, NodeFacet::Data), true);
        assert!(matches!(found, Some(Exposure::MoreWritable)));
        audit.note(&subject(MAX_REPORTED_NODES + 1, NodeFacet::Data));
        assert!(audit.waiting.borrow().is_empty() && audit.seen.borrow().is_empty());
    }
}
