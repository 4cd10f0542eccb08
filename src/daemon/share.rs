//! The share of the loop's time that the requests of operators get.

use std::time::Duration;

use tokio::time::Instant;

/// Requests may take this much of the loop's time at once: as much as `twitcher status` needs for some ten
/// thousand watches.
const BURST: Duration = Duration::from_millis(100);

/// In the long run, requests may take one of this many parts of the loop's time. The rest is for updates.
const PARTS: u32 = 4;

/// Delays requests that take more than their share, so that clients that ask without a pause delay no update.
/// A bucket of time, which refills.
#[derive(Debug)]
pub struct Share {
    /// When the bucket is full again.
    full_at: Instant,
}

impl Share {
    pub fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Notes that a request took `time`, until `now`.
    pub fn spend(&mut self, time: Duration, now: Instant) {
        self.full_at = self.full_at.max(now) + time * PARTS;
    }

    /// Returns when the next request may be taken.
    pub fn ready_at(&self) -> Instant {
        self.full_at.checked_sub(BURST * PARTS).unwrap_or(self.full_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_get_a_burst_and_then_their_share() {
        let start = Instant::now();
        let mut share = Share::new(start);
        let mut now = start;
        let request = Duration::from_millis(1);
        while share.ready_at() <= now {
            now += request;
            share.spend(request, now);
        }
        let burst = now - start;
        assert!(burst >= BURST && burst < 2 * BURST, "{burst:?}");
        let mut served = 0;
        while now < start + Duration::from_secs(10) {
            now = now.max(share.ready_at()) + request;
            share.spend(request, now);
            served += 1;
        }
        let expected = Duration::from_secs(10).as_millis() / u128::from(PARTS);
        assert!((expected - 100..=expected + 200).contains(&served), "{served}");
        let idle = now + Duration::from_secs(60);
        share.spend(BURST, idle);
        assert!(share.ready_at() <= idle, "what was not used is a burst, and not more");
    }
}
