//! When a server is tried again.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;

/// The first pause between two connection attempts.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// The longest time between the starts of two connection attempts, which the contract promises.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The longest wait before the first attempt after a loss, so that not every host of the cluster meets a
/// restarted server in the same millisecond.
const MAX_JITTER: Duration = Duration::from_millis(500);

/// The pauses between the connections of one store, and between its attempts to connect.
pub struct Pace {
    backoff: Backoff,
    next: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

impl Pace {
    /// The first attempt may begin at once.
    pub fn new() -> Self {
        Self { backoff: Backoff::new(MIN_PAUSE, MAX_PAUSE), next: Instant::now() }
    }

    /// When the next attempt may begin.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Notes that an attempt that began then has failed.
    pub fn failed(&mut self, began: Instant) {
        self.next = began + self.backoff.next();
    }

    /// Notes that a connection has ended that was there since then. A server that lets us in only to send us
    /// away is not to be asked again and again: `was_useful` tells that this one did more.
    pub fn ended(&mut self, since: Instant, was_useful: bool) {
        let pause = if was_useful || since.elapsed() >= MAX_PAUSE {
            self.backoff.reset();
            MAX_JITTER.mul_f64(fastrand::f64())
        } else {
            self.backoff.next()
        };
        self.next = Instant::now() + pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn useless_connections_are_tried_more_and_more_seldom_and_one_of_use_ends_that() {
        let mut pace = Pace::new();
        let pause = |pace: &Pace| pace.next().saturating_duration_since(Instant::now());
        assert_eq!(pause(&pace), Duration::ZERO);
        for _ in 0..4 {
            pace.failed(Instant::now());
            pace.ended(Instant::now(), false);
        }
        assert!((MAX_PAUSE / 2..=MAX_PAUSE).contains(&pause(&pace)), "{:?}", pause(&pace));
        pace.ended(Instant::now(), true);
        assert!(pause(&pace) <= MAX_JITTER);
        pace.failed(Instant::now());
        assert!(pause(&pace) <= MIN_PAUSE);
        for _ in 0..8 {
            pace.failed(Instant::now());
        }
        pace.ended(Instant::now() - MAX_PAUSE, false);
        assert!(pause(&pace) <= MAX_JITTER, "it was there long enough to be of use");
    }
}
