//! The updates that wait to run.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use super::{Time, Update};

/// An update that waits to run.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) update: Update,
    pub(super) number: u64,
    /// How often the update ran and failed.
    pub(super) failures: u32,
    /// How often the update could not be started.
    pub(super) starved: u32,
    /// When the oldest of the updates that this one replaced, or itself, was accepted.
    pub(super) accepted_at: Time,
    /// The end of the splay or of the delay before a retry.
    pub(super) not_before: Time,
    /// When the update was due, as in [`Effect::Spawn`](super::Effect::Spawn), but without `debounce` and
    /// `min_interval`.
    pub(super) since: Time,
}

/// The updates of a watch that wait to run, oldest first. Counts its changes, so that nobody has to look at
/// all updates to find out that they are still the same.
#[derive(Debug, Default)]
pub(super) struct Queue {
    updates: VecDeque<Waiting>,
    changes: u64,
}

impl Queue {
    /// How often the updates may have changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }
}

impl Deref for Queue {
    type Target = VecDeque<Waiting>;

    fn deref(&self) -> &Self::Target {
        &self.updates
    }
}

impl DerefMut for Queue {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.changes += 1;
        &mut self.updates
    }
}
