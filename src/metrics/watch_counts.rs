//! How the watches are, taken together.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::model::WatchKey;
use crate::watch::{Condition, Watch};

/// How many failing watches are named: each is a series of its own in whatever stores the metrics. All are counted.
pub const MAX_FAILING: usize = 100;

/// How the watches are, taken together.
#[derive(Clone, Debug, Default)]
pub struct WatchCounts {
    /// In the order of [`Condition::ALL`].
    conditions: [usize; Condition::ALL.len()],
    pub(super) waiting_updates: usize,
    /// Of which the last run failed, or which a failure stopped, whatever they do now.
    pub(super) failing: usize,
    /// The failures in a row of those [`MAX_FAILING`] that have most, by the watch's name as the log has it.
    pub(super) worst: BTreeMap<String, u32>,
}

impl WatchCounts {
    /// Takes all watches that there are, each with its name, and whether its node is unreadable.
    pub fn of<'a>(watches: impl Iterator<Item = (&'a WatchKey, &'a Watch, bool)>) -> Self {
        let mut tally = Self::default();
        let mut failing = Vec::new();
        for (key, watch, unreadable) in watches {
            let condition = watch.condition(unreadable);
            tally.conditions[condition as usize] += 1;
            tally.waiting_updates += watch.waiting_updates();
            if watch.snapshot().is_failing() {
                failing.push((Reverse(watch.failures()), key));
            }
        }
        tally.failing = failing.len();
        if failing.len() > MAX_FAILING {
            failing.select_nth_unstable(MAX_FAILING);
            failing.truncate(MAX_FAILING);
        }
        tally.worst =
            failing.into_iter().map(|(Reverse(failures), key)| (key.to_string(), failures)).collect();
        tally
    }

    /// How many watches are in each condition.
    pub(super) fn conditions(&self) -> impl Iterator<Item = (Condition, usize)> {
        Condition::ALL.into_iter().zip(self.conditions)
    }
}
