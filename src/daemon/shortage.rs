//! When a shortage of descriptors or of starters is over.
//!
//! At the limit some starts find what they need and others do not, many times a second. Operators are told of
//! such a shortage once, not each time that it comes and goes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use tokio::time::Instant;

use crate::sys::DescriptorShares;

/// How long no start must have been refused, so that the shortage counts as over.
const MIN_QUIET: Duration = Duration::from_secs(1);

/// A shortage that keeps coming back counts as over only after this time: some thirty log lines an hour tell
/// of it at most.
const MAX_QUIET: Duration = Duration::from_secs(5 * 60);

/// A shortage that comes back within this time is the old one.
const SAME_SHORTAGE: Duration = Duration::from_secs(10 * 60);

/// More than any start opens at once.
const DESCRIPTORS_OF_START: usize = 16;

#[derive(Default)]
pub struct Shortage {
    /// When a start was refused the last time, unless that is over.
    refused: Option<Instant>,
    /// When the last shortage was over.
    over: Option<Instant>,
    quiet: Duration,
}

impl Shortage {
    /// Notes that a start was refused.
    pub fn refuse(&mut self, now: Instant) {
        if self.refused.is_none() {
            let is_same = self.over.is_some_and(|over| now.duration_since(over) < SAME_SHORTAGE);
            self.quiet = if is_same { MAX_QUIET.min(2 * self.quiet) } else { MIN_QUIET };
        }
        self.refused = Some(now);
    }

    /// Whether the shortage is over, now that there seems to be enough. True without a shortage.
    pub fn has_enough(&mut self, now: Instant) -> bool {
        if self.refused.is_some_and(|refused| now.duration_since(refused) < self.quiet) {
            return false;
        }
        if self.refused.take().is_some() {
            self.over = Some(now);
        }
        true
    }
}

/// Whether a start would find enough descriptors, without those that are reserved for other work.
pub fn has_descriptors() -> bool {
    let opened: io::Result<Vec<_>> = (0..DESCRIPTORS_OF_START).map(|_| File::open("/dev/null")).collect();
    let highest = opened.map(|files| files.iter().map(AsRawFd::as_raw_fd).max().unwrap_or_default());
    let shares = DescriptorShares::now();
    matches!((highest, shares), (Ok(highest), Ok(DescriptorShares { limit, reserved, .. }))
        if (highest as u64) < limit - reserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a shortage counts as over within an hour, if a start is refused at this interval, and others
    /// succeed in between.
    fn times_over(interval: Duration) -> usize {
        let (mut shortage, start) = (Shortage::default(), Instant::now());
        let mut over = 0;
        let refusals = (0..).map(|n| interval * n).take_while(|at| *at < Duration::from_secs(3600));
        for refused in refusals {
            shortage.refuse(start + refused);
            let successes = [MIN_QUIET, interval / 2, interval * 9 / 10];
            let mut is_over = |after: &Duration| shortage.has_enough(start + refused + *after);
            over += usize::from(successes.iter().filter(|after| **after < interval).any(&mut is_over));
        }
        over
    }

    #[test]
    fn a_shortage_that_comes_and_goes_is_told_of_a_few_times_an_hour() {
        assert_eq!(times_over(Duration::from_millis(50)), 0);
        for seconds in [1.1, 2.0, 12.0, 50.0, 250.0, 590.0] {
            let over = times_over(Duration::from_secs_f64(seconds));
            assert!((1..=15).contains(&over), "each {seconds} s: {over}");
        }
    }

    #[test]
    fn a_shortage_is_over_once_no_start_is_refused_any_more() {
        let (mut shortage, start) = (Shortage::default(), Instant::now());
        assert!(shortage.has_enough(start));
        shortage.refuse(start);
        assert!(!shortage.has_enough(start + MIN_QUIET / 2));
        assert!(shortage.has_enough(start + MIN_QUIET));
        // Another one, long after.
        let later = start + 2 * SAME_SHORTAGE;
        shortage.refuse(later);
        assert!(shortage.has_enough(later + MIN_QUIET));
    }
}
