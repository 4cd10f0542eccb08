//! Run ids and random delays.

use std::time::Duration;

use super::RunId;
use crate::model::Retry;

/// Makes run ids and random delays. All watches of a daemon share one generator.
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

    /// Returns the delay after this many failures in a row: a random part, at least half, of `retry`'s delay.
    pub(super) fn backoff(&mut self, retry: &Retry, failures: u32) -> Duration {
        let half = retry.backoff(failures) / 2;
        half + self.jitter(half)
    }

    /// Returns a random time in `[0, limit)`.
    pub(super) fn jitter(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(self.rng.f64())
    }
}
