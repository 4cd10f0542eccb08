//! What the core needs and must not make itself.

use std::time::Duration;

use super::RunId;
use crate::model::Retry;

/// What the core needs and must not make itself: run ids, and chance. One per daemon, shared by its watches.
#[derive(Debug)]
pub struct Generator {
    last_run: u64,
    rng: fastrand::Rng,
}

impl Generator {
    /// With equal seeds, equal inputs have equal effects.
    pub fn new(seed: u64) -> Self {
        Self { last_run: 0, rng: fastrand::Rng::with_seed(seed) }
    }

    pub(super) fn run_id(&mut self) -> RunId {
        self.last_run += 1;
        RunId(self.last_run)
    }

    /// The pause after so many failures in a row: `retry`'s, jittered by half.
    pub(super) fn backoff(&mut self, retry: &Retry, failures: u32) -> Duration {
        let half = retry.backoff(failures) / 2;
        half + self.jitter(half)
    }

    /// Somewhere in `[0, limit)`.
    pub(super) fn jitter(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(self.rng.f64())
    }
}
