//! The updates that wait to run, or to be decoded before.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use super::seldom::Seldom;
use super::{DecodingId, Event, Time, Update};

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

/// An update whose content is not decoded yet.
#[derive(Debug)]
pub(super) struct Undecoded {
    pub(super) update: Update,
    /// The decoding that was asked for.
    pub(super) decoding: Option<DecodingId>,
    /// Whether the running action is to be notified of the update.
    pub(super) is_news: bool,
    /// When this update was observed, or the oldest of those whose verdicts did not count.
    pub(super) since: Time,
}

impl Undecoded {
    pub(super) fn new(update: Update, is_news: bool, since: Time) -> Self {
        Self { update, decoding: None, is_news, since }
    }

    /// Whether the update runs because of a load or a trigger. An older update waits for it, so that both
    /// make one run.
    pub(super) fn is_asked_for(&self) -> bool {
        match self.update.event {
            Event::Load | Event::Trigger => true,
            Event::Created | Event::Changed | Event::Children | Event::Deleted => false,
        }
    }

    /// Stands for the update `older` as well, which does not run.
    pub(super) fn replace(&mut self, older: &Self) {
        self.update.event = self.update.event.replacing(older.update.event);
        self.is_news |= older.is_news;
        self.since = self.since.min(older.since);
    }
}

/// Updates of a watch that wait for something, oldest first. Counts its changes, so that nobody has to look
/// at all updates to find out that they are still the same.
#[derive(Debug)]
pub(super) struct Queue<T: 'static> {
    updates: Seldom<VecDeque<T>>,
    changes: u64,
}

impl<T> Queue<T> {
    /// How often the updates may have changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// See [`Seldom::rest`].
    pub(super) fn rest(&mut self) {
        self.updates.rest();
    }
}

impl<T> Deref for Queue<T> {
    type Target = VecDeque<T>;

    fn deref(&self) -> &Self::Target {
        &self.updates
    }
}

impl<T> DerefMut for Queue<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.changes += 1;
        &mut self.updates
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { updates: Seldom::default(), changes: 0 }
    }
}
