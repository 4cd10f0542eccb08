//! Run ids and random delays.

use std::time::Duration;

use super::RunId;
use crate::model::Retry;

/// Provides what the core must not make itself: run ids and random numbers. All watches of a daemon share
/// one.
#[derive(Debug)]
pub struct Generator {
    last_run: u64,
    rng: fastrand::Rng,
}

impl Generator {
    /// With equal seeds, equal inputs give equal effects.
    pub fn new(seed: u64) -> Self {
        Self { last_run: 0, rng: fastrand::Rng::with_seed(seed) }
    }

    pub(super) fn run_id(&mut self) -> RunId {
        self.last_run += 1;
        RunId(self.last_run)
    }

    /// Returns the delay after this many failures in a row: a random time between half of `retry`'s delay and
    /// all of it.
    pub(super) fn backoff(&mut self, retry: &Retry, failures: u32) -> Duration {
        let half = retry.backoff(failures) / 2;
        half + self.jitter(half)
    }

    /// Returns a random time in `[0, limit)`.
    pub(super) fn jitter(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(self.rng.f64())
    }
}
