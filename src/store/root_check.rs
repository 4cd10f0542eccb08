//! When to look whether the node that is the root of a store's URL exists. A missing one is like any missing
//! parent, but an error in the URL would have every watch wait for ever, so people are told.

use std::time::Duration;

use tokio::time::Instant;

use super::message::StoreEvent;

/// How often to look while it is missing. This is no load for a server, even where a hundred hosts do it.
const MISSING_INTERVAL: Duration = Duration::from_secs(2);

/// When to look on one connection, and what was reported.
pub(super) struct RootCheck {
    /// `None` while a look is under way, and when there is none to come.
    due: Option<Instant>,
    /// How often to look while the root is there; `None` is never.
    interval: Option<Duration>,
    /// What people are told while it is missing.
    missing: String,
    reported: Option<bool>,
}

impl RootCheck {
    pub(super) fn new(due: Option<Instant>, interval: Option<Duration>, missing: String) -> Self {
        Self { due, interval, missing, reported: None }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns true if a look is due, and begins it. [`Self::done`] follows.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = None;
        }
        is_due
    }

    /// Takes in whether the root exists, if the server said so. Returns what there is to report.
    pub(super) fn done(&mut self, exists: Option<bool>, now: Instant) -> Option<StoreEvent> {
        let before = self.reported;
        self.reported = exists.or(before);
        let interval = if self.reported == Some(false) { Some(MISSING_INTERVAL) } else { self.interval };
        self.due = interval.map(|interval| now + interval);
        match self.reported.filter(|_| self.reported != before)? {
            true => Some(StoreEvent::RootFound),
            false => Some(StoreEvent::RootMissing { reason: self.missing.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_looked_for_again_and_each_turn_is_reported_once() {
        let now = Instant::now();
        let check = |interval| RootCheck::new(Some(now), interval, "missing".to_owned());
        let at = |seconds| Some(now + Duration::from_secs(seconds));
        let missing = Some(StoreEvent::RootMissing { reason: "missing".to_owned() });
        let mut often = check(Some(Duration::from_secs(10)));
        assert!(often.begin(now) && !often.begin(now) && often.due().is_none());
        assert_eq!((often.done(None, now), often.due()), (None, at(10)));
        assert_eq!((often.done(Some(false), now), often.due()), (missing.clone(), at(2)));
        assert_eq!((often.done(None, now), often.due()), (None, at(2)));
        assert_eq!((often.done(Some(true), now), often.due()), (Some(StoreEvent::RootFound), at(10)));
        let mut once = check(None);
        assert_eq!((once.done(Some(false), now), once.due()), (missing, at(2)));
        assert_eq!((once.done(Some(true), now), once.due()), (Some(StoreEvent::RootFound), None));
        assert_eq!((once.done(Some(true), now), once.due()), (None, None));
    }
}
