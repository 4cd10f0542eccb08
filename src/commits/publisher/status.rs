//! What a publisher shares with those who run it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::waiting::Waiting;
use crate::store::Leadership;

/// How a publisher is, for metrics and people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublisherStatus {
    /// Whether this server is the one that goes over all keys.
    pub leader: bool,
    pub connected: bool,
    /// The age of the oldest save that is not published yet, in seconds; 0 if there is none.
    pub lag: f64,
    /// How many keys wait.
    pub waiting: usize,
    /// The last time that this server has gone over all keys.
    pub last_round: Option<Round>,
    /// What is wrong now, for people.
    pub trouble: Option<String>,
}

/// That all keys were gone over.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// When it was done.
    pub at: SystemTime,
    pub duration: Duration,
    pub checked: u64,
    pub repaired: u64,
    /// Keys that could not be published, and nodes of which the journal knows nothing.
    pub differing: u64,
}

/// What the publisher's thread has in common with its handle.
#[derive(Default)]
pub(super) struct Shared {
    waiting: Mutex<Waiting>,
    pub(super) has_more: Notify,
    state: Mutex<State>,
    is_stopping: AtomicBool,
}

/// What the publisher's thread says of itself.
#[derive(Clone, Default)]
pub(super) struct State {
    /// `None` before the publisher stands for it.
    pub(super) leadership: Option<Leadership>,
    pub(super) connected: bool,
    pub(super) last_round: Option<Round>,
    /// Why there is no connection.
    pub(super) away: Option<String>,
    pub(super) journal: Option<String>,
    pub(super) election: Option<String>,
    /// A key that cannot be published, with the reason.
    pub(super) key: Option<String>,
}

impl Shared {
    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has long work end soon.
    pub(super) fn begin_to_stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> PublisherStatus {
        let (oldest, waiting) = {
            let waiting = self.waiting();
            (waiting.oldest(), waiting.len())
        };
        let lag = oldest.map_or(0.0, |oldest| Instant::now().duration_since(oldest).as_secs_f64());
        let State { leadership, connected, last_round, away, journal, election, key } = self.state().clone();
        // The loop may be busy when the leadership ends.
        let leader = leadership.is_some_and(|leadership| leadership.holds());
        let trouble = away.or(journal).or(election).or(key);
        PublisherStatus { leader, connected, lag, waiting, last_round, trouble }
    }
}
