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

    /// Converts a point in time of the loop to one of the core.
    pub fn time(self, at: Instant) -> Time {
        at.saturating_duration_since(self.origin)
    }

    /// Converts a point in time of the core to one of the loop.
    pub fn instant(self, at: Time) -> Instant {
        self.origin + at
    }

    /// When the daemon started, by the calendar.
    pub fn started(self) -> SystemTime {
        self.started
    }
}
