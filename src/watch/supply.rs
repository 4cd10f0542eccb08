//! What the core needs and must not make itself.

use std::time::Duration;

use super::RunId;
use crate::model::Retry;

/// What the core needs and must not make itself: run ids, and chance. One per daemon, shared by its watches.
#[derive(Debug)]
pub struct Supply {
    last_run: u64,
    chance: fastrand::Rng,
}

impl Supply {
    /// With equal seeds, equal inputs have equal effects.
    pub fn new(seed: u64) -> Self {
        Self { last_run: 0, chance: fastrand::Rng::with_seed(seed) }
    }

    pub(super) fn run_id(&mut self) -> RunId {
        self.last_run += 1;
        RunId(self.last_run)
    }

    /// The pause after so many failures in a row: `retry`'s, jittered by half.
    pub(super) fn pause(&mut self, retry: &Retry, failures: u32) -> Duration {
        let half = retry.pause(failures) / 2;
        half + self.delay(half)
    }

    /// Somewhere in `[0, most)`.
    pub(super) fn delay(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.chance.f64())
    }
}
