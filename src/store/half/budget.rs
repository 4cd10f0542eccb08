//! How much of a kind a half may do at once, and how often once more. No IO.

use std::time::Duration;

use tokio::time::Instant;

/// What is spent comes back at a steady rate. It outlives the half, so that a new one has no more.
pub(super) struct Budget {
    /// In which time one comes back.
    interval: Duration,
    /// When all will be there again.
    whole_at: Instant,
}

impl Budget {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, whole_at: now }
    }

    pub(super) fn spend(&mut self, now: Instant) {
        self.whole_at = self.whole_at.max(now) + self.interval;
    }

    /// Returns how long to wait until one is there, if it is `size` when whole. No more is missing than that:
    /// where the size shrinks, what was spent of a larger one is forgotten.
    pub(super) fn wait(&mut self, now: Instant, size: usize) -> Duration {
        let whole = self.interval.saturating_mul(u32::try_from(size.max(1)).unwrap_or(u32::MAX));
        let missing = self.whole_at.saturating_duration_since(now).min(whole);
        self.whole_at = now + missing;
        missing.saturating_sub(whole - self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_comes_back_one_by_one() {
        let (second, now) = (Duration::from_secs(1), Instant::now());
        let mut budget = Budget::new(second, now);
        for _ in 0..5 {
            assert_eq!(budget.wait(now, 5), Duration::ZERO);
            budget.spend(now);
        }
        assert_eq!((budget.wait(now, 6), budget.wait(now, 5)), (Duration::ZERO, second));
        assert_eq!(budget.wait(now + second, 5), Duration::ZERO);
        budget.spend(now + second);
        assert_eq!(budget.wait(now + second, 5), second);
        let later = now + 100 * second;
        (0..5).for_each(|_| budget.spend(later));
        assert_eq!(budget.wait(later, 5), second, "no more than it is when whole");
        (0..1000).for_each(|_| budget.spend(later));
        assert_eq!(budget.wait(later, 5), second, "it was larger");
        assert_eq!(budget.wait(later + second, 5), Duration::ZERO);
    }
}
