//! Counts over all watches.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::model::WatchKey;
use crate::watch::{Condition, Watch};

/// How many failing watches are named. Each name is a time series, which costs Prometheus memory.
pub const MAX_FAILING: usize = 100;

#[derive(Clone, Debug, Default)]
pub struct WatchCounts {
    /// How many watches are in each condition, in the order of [`Condition::ALL`].
    conditions: [usize; Condition::ALL.len()],
    pub(super) waiting_updates: usize,
    /// How many watches failed in their last run, or were stopped by a failure, whatever they do now.
    pub(super) failing: usize,
    /// The [`MAX_FAILING`] watches with most failures in a row: their names in log lines, and the failures.
    pub(super) worst: BTreeMap<String, u32>,
}

impl WatchCounts {
    /// Counts `watches`: keys, watches, and whether their nodes are unreadable.
    pub fn of<'a>(watches: impl Iterator<Item = (&'a WatchKey, &'a Watch, bool)>) -> Self {
        let mut counts = Self::default();
        let mut failing = Vec::new();
        for (key, watch, unreadable) in watches {
            let condition = watch.condition(unreadable);
            counts.conditions[condition as usize] += 1;
            counts.waiting_updates += watch.waiting_updates();
            if watch.snapshot().is_failing() {
                failing.push((Reverse(watch.failures()), key));
            }
        }
        counts.failing = failing.len();
        if failing.len() > MAX_FAILING {
            failing.select_nth_unstable(MAX_FAILING);
            failing.truncate(MAX_FAILING);
        }
        counts.worst =
            failing.into_iter().map(|(Reverse(failures), key)| (key.to_string(), failures)).collect();
        counts
    }

    pub(super) fn conditions(&self) -> impl Iterator<Item = (Condition, usize)> {
        Condition::ALL.into_iter().zip(self.conditions)
    }
}
