//! The members of a daemon that stops: they go before it does, and clients have the time to see it.

use std::time::Duration;

use tokio::time::Instant;

/// How long a daemon that stops waits for its members to be withdrawn. A healthy store takes a hundredth of
/// it, and in a store that is away they go when their session expires.
const WITHDRAWAL_TIMEOUT: Duration = Duration::from_secs(2);

/// How far the members of the daemon have gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Departure {
    /// The daemon does not stop.
    #[default]
    No,
    /// Their withdrawal is waited for until then. Clients are to have this time after it.
    Withdrawing { until: Instant, drain: Duration },
    /// Clients have until then to see that they are gone.
    Draining { until: Instant },
    /// Nothing is waited for.
    Over,
}

impl Departure {
    /// The daemon is told to stop. Being told again means now.
    pub fn begin(&mut self, drain: Duration, now: Instant) {
        *self = match self {
            Self::No => Self::Withdrawing { until: now + WITHDRAWAL_TIMEOUT, drain },
            Self::Withdrawing { until, .. } => Self::Withdrawing { until: *until, drain: Duration::ZERO },
            Self::Draining { .. } | Self::Over => Self::Over,
        };
    }

    /// When [`Self::is_over`] may say something else although nothing happens.
    pub fn due(&self) -> Option<Instant> {
        match self {
            Self::Withdrawing { until, .. } | Self::Draining { until } => Some(*until),
            Self::No | Self::Over => None,
        }
    }

    /// Whether the daemon need not wait for its members. `are_gone` says whether all are withdrawn.
    pub fn is_over(&mut self, are_gone: bool, now: Instant) -> bool {
        if let Self::Withdrawing { until, drain } = *self
            && (are_gone || until <= now)
        {
            *self = Self::Draining { until: now + drain };
        }
        if let Self::Draining { until } = *self
            && until <= now
        {
            *self = Self::Over;
        }
        match self {
            Self::Withdrawing { .. } | Self::Draining { .. } => false,
            Self::No | Self::Over => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Duration = Duration::from_secs(10);
    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn clients_have_the_time_to_see_that_members_are_gone() {
        let now = Instant::now();
        let mut departure = Departure::default();
        assert!(departure.is_over(false, now), "the daemon does not stop");
        departure.begin(DRAIN, now);
        assert!(!departure.is_over(false, now));
        let gone = now + MOMENT;
        assert!(!departure.is_over(true, gone));
        assert_eq!(departure.due(), Some(gone + DRAIN));
        assert!(!departure.is_over(true, gone + DRAIN - MOMENT));
        assert!(departure.is_over(true, gone + DRAIN));
        assert_eq!(departure.due(), None);
    }

    #[test]
    fn a_store_that_is_away_is_waited_for_once() {
        let now = Instant::now();
        let mut departure = Departure::default();
        departure.begin(DRAIN, now);
        assert_eq!(departure.due(), Some(now + WITHDRAWAL_TIMEOUT));
        assert!(!departure.is_over(false, now + WITHDRAWAL_TIMEOUT));
        assert!(departure.is_over(false, now + WITHDRAWAL_TIMEOUT + DRAIN));
    }

    #[test]
    fn a_daemon_that_is_told_twice_waits_for_the_withdrawal_alone() {
        let now = Instant::now();
        let mut departure = Departure::default();
        departure.begin(DRAIN, now);
        departure.begin(DRAIN, now);
        assert!(!departure.is_over(false, now) && departure.is_over(true, now));
        let mut departure = Departure::default();
        departure.begin(DRAIN, now);
        assert!(!departure.is_over(true, now));
        departure.begin(DRAIN, now);
        assert!(departure.is_over(true, now));
        // Without members, or without `drain`, nothing is waited for.
        let mut departure = Departure::default();
        departure.begin(Duration::ZERO, now);
        assert!(departure.is_over(true, now));
    }
}
