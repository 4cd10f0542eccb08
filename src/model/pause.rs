//! A pause of a watch, with who wants it and why.

use std::time::{Duration, SystemTime};

/// A pause, as an operator asked for it. The core only looks at [`Self::ends`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// The user who paused the watch; `None` if that is unknown.
    pub by: Option<String>,
    pub why: Option<String>,
    /// When the operator asked for it, by the calendar. `None`: an older Twitcher recorded the pause.
    pub since: Option<SystemTime>,
    /// When it ends by itself, by the calendar; `None` if only an operator ends it.
    pub until: Option<SystemTime>,
    /// When it ends by itself, on the clock of this daemon's core.
    pub ends: Option<Duration>,
}

impl Pause {
    /// Makes a pause that begins now, at the time `now` of the core and `wall` of the calendar.
    pub fn new(length: Option<Duration>, now: Duration, wall: SystemTime) -> Self {
        let until = length.and_then(|length| wall.checked_add(length));
        let ends = until.and(length).and_then(|length| now.checked_add(length));
        Self { since: Some(wall), until, ends, ..Self::default() }
    }

    /// Whether the pause is to end by itself now.
    pub fn is_over(&self, now: Duration) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    /// Returns the pause as the next daemon continues it, whose core's time is `now` when the calendar says
    /// `wall`. A calendar that was set back makes no pause longer than the operator asked for.
    pub fn carried_over(&self, now: Duration, wall: SystemTime) -> Self {
        let left = self.until.map(|until| {
            let left = until.duration_since(wall).unwrap_or_default();
            let length = self.since.and_then(|since| until.duration_since(since).ok());
            length.map_or(left, |length| left.min(length))
        });
        Self { ends: left.and_then(|left| now.checked_add(left)), ..self.clone() }
    }
}
