//! Waiting longer after each failure, and not in step with other hosts.

use std::time::Duration;

/// Pauses that double from `first` to `ceiling`.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    ceiling: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, ceiling: Duration) -> Self {
        Self { first, ceiling, next: first }
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }

    /// Returns how long to wait now, jittered. It is about twice the last pause, if there was no reset in
    /// between.
    pub(super) fn next(&mut self) -> Duration {
        let wait = jittered(self.next);
        self.next = (self.next * 2).min(self.ceiling);
        wait
    }
}

/// Returns a random duration in `[0.5, 1] * duration`, so that hosts that failed together do not return
/// together.
pub(super) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_doubles_to_its_ceiling_and_starts_over_when_reset() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(350));
        for full in [100, 200, 350, 350] {
            let wait = backoff.next();
            assert!(ms(full) / 2 <= wait && wait <= ms(full), "{wait:?} of {full} ms");
        }
        backoff.reset();
        assert!(backoff.next() <= ms(100));
    }
}
