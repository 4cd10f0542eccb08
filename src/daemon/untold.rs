//! The reports of nodes that many watches follow, as long as some of these watches are still to be told.
//!
//! To tell ten thousand watches takes some 20 ms. So they are told in several turns of the loop, which does
//! whatever else there is to do in between. Each watch is told all reports on its node, in their order.

use std::collections::VecDeque;
use std::vec;

use super::watches::WatchId;
use crate::model::{State, StoreName, Subject};

/// So many watches are told at once, in some 0.2 ms.
pub(super) const MAX_TOLD_AT_ONCE: usize = 100;

/// No store is heard while so many reports wait. A node that changes faster than its watches can be told of
/// it makes all others wait: otherwise the reports would fill the memory.
const MAX_REPORTS: usize = 16;

#[derive(Default)]
pub(super) struct Untold {
    /// Oldest first.
    reports: VecDeque<UntoldReport>,
}

struct UntoldReport {
    store: StoreName,
    subject: Subject,
    state: State,
    watches: vec::IntoIter<WatchId>,
}

impl Untold {
    pub(super) fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }

    /// Whether another report may come.
    pub(super) fn has_room(&self) -> bool {
        self.reports.len() < MAX_REPORTS
    }

    /// Whether an earlier report on this subject waits.
    pub(super) fn concerns(&self, store: &StoreName, subject: &Subject) -> bool {
        self.reports.iter().any(|report| report.subject == *subject && report.store == *store)
    }

    /// Adds a report that these watches are to be told.
    pub(super) fn add(&mut self, store: StoreName, subject: Subject, state: State, watches: Vec<WatchId>) {
        self.reports.push_back(UntoldReport { store, subject, state, watches: watches.into_iter() });
    }

    /// Drops the reports of a store: it is another one now.
    pub(super) fn forget(&mut self, store: &StoreName) {
        self.reports.retain(|report| report.store != *store);
    }

    /// Takes the next watch to tell, and the report on its subject.
    pub(super) fn next(&mut self) -> Option<(WatchId, &StoreName, &Subject, &State)> {
        while self.reports.front()?.watches.as_slice().is_empty() {
            self.reports.pop_front();
        }
        let report = self.reports.front_mut()?;
        let watch = report.watches.next()?;
        Some((watch, &report.store, &report.subject, &report.state))
    }
}
