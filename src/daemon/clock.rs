//! The daemon's clock.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::watch::Time;

/// The time that the core is told, which starts with the daemon.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    started: SystemTime,
}

impl Clock {
    pub fn start() -> Self {
        Self { origin: Instant::now(), started: SystemTime::now() }
    }

    pub fn now(self) -> Time {
        self.origin.elapsed()
    }

    /// What the core calls `at`.
    pub fn time(self, at: Instant) -> Time {
        at.saturating_duration_since(self.origin)
    }

    /// When the loop has to wake for something that is due at `at`.
    pub fn instant(self, at: Time) -> Instant {
        self.origin + at
    }

    /// When the daemon started, by the calendar.
    pub fn started(self) -> SystemTime {
        self.started
    }
}
