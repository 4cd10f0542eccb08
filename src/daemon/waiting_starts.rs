//! The starts that wait for the lookup of their user, until it is answered or takes too long.
//!
//! Every call takes a time that does not depend on how many wait: a burst of starts may all wait for one slow
//! directory service.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::runs::PendingStart;
use crate::model::RunAs;
use crate::watch::RunId;

#[derive(Default)]
pub struct WaitingStarts {
    starts: HashMap<RunId, WaitingStart>,
    /// The starts that wait for the lookup of each user.
    by_user: HashMap<Arc<RunAs>, BTreeSet<RunId>>,
    /// When they have waited for too long, the oldest first. Some may not wait any more.
    timeouts: VecDeque<(Instant, RunId)>,
    /// Those whose lookup was answered, the oldest first. Some may have been taken back.
    answered: VecDeque<RunId>,
}

struct WaitingStart {
    start: PendingStart,
    run_as: Arc<RunAs>,
    /// `None` once the lookup is answered.
    until: Option<Instant>,
}

impl WaitingStarts {
    /// How many there are, with those whose lookup was answered.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Adds a start that waits until then at most. That must not be earlier than for those before it.
    pub fn add(&mut self, start: PendingStart, run_as: Arc<RunAs>, until: Instant) {
        let run = start.run;
        self.by_user.entry(run_as.clone()).or_default().insert(run);
        self.timeouts.push_back((until, run));
        self.starts.insert(run, WaitingStart { start, run_as, until: Some(until) });
    }

    /// Takes a start that need not wait any more.
    pub fn remove(&mut self, run: RunId) -> Option<PendingStart> {
        let WaitingStart { start, run_as, .. } = self.starts.remove(&run)?;
        if let Some(runs) = self.by_user.get_mut(&run_as) {
            runs.remove(&run);
            if runs.is_empty() {
                self.by_user.remove(&run_as);
            }
        }
        self.forget_timeouts();
        Some(start)
    }

    /// Notes that the lookup of a user was answered.
    pub fn answer(&mut self, run_as: &Arc<RunAs>) {
        for run in self.by_user.remove(run_as).unwrap_or_default() {
            if let Some(waiting) = self.starts.get_mut(&run) {
                waiting.until = None;
                self.answered.push_back(run);
            }
        }
        self.forget_timeouts();
    }

    pub fn has_answered(&self) -> bool {
        !self.answered.is_empty()
    }

    /// Takes the oldest start whose lookup was answered.
    pub fn next_answered(&mut self) -> Option<PendingStart> {
        while let Some(run) = self.answered.pop_front() {
            if let Some(start) = self.remove(run) {
                return Some(start);
            }
        }
        None
    }

    /// When [`Self::next_overdue`] has something.
    pub fn due(&self) -> Option<Instant> {
        self.timeouts.front().map(|(at, _)| *at)
    }

    /// Takes the oldest start that has waited for too long by `now`.
    pub fn next_overdue(&mut self, now: Instant) -> Option<PendingStart> {
        let (_, run) = *self.timeouts.front().filter(|(at, _)| *at <= now)?;
        self.remove(run)
    }

    /// Drops the oldest timeouts that concern nobody any more.
    fn forget_timeouts(&mut self) {
        while let Some((at, run)) = self.timeouts.front()
            && self.starts.get(run).is_none_or(|waiting| waiting.until != Some(*at))
        {
            self.timeouts.pop_front();
        }
    }
}
