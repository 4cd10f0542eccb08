//! How many requests are in flight at once.

use std::time::Duration;

/// The number at first. It doubles with every round trip, so that many nodes are read in a few of them.
const FIRST: usize = 64;

/// A server and a network work at full speed with far fewer.
const MAX: usize = 1024;

/// The number of requests that may be in flight. It adapts to how fast the server answers: each request has a
/// deadline, and on a slow network a thousand large nodes that are asked for at once would all miss it. The
/// number outlives the session, so that a session that ended for this reason is not repeated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window(usize);

impl Window {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    pub(super) fn has_room(self, in_flight: usize) -> bool {
        in_flight < self.0
    }

    /// Takes in how long an answer took, of the longest time that it may take.
    pub(super) fn answered(&mut self, took: Duration, timeout: Duration) {
        if took > timeout / 2 {
            self.missed();
        } else if took < timeout / 4 {
            self.0 = (self.0 + 1).min(MAX);
        }
    }

    /// Takes in that an answer took too long.
    pub(super) fn missed(&mut self) {
        self.0 = (self.0 / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_server_is_asked_less_at_once_and_a_fast_one_more() {
        let timeout = Duration::from_secs(10);
        let mut window = Window::new();
        for _ in 0..FIRST {
            window.answered(timeout / 100, timeout);
        }
        assert!(window.has_room(2 * FIRST - 1) && !window.has_room(2 * FIRST));
        for _ in 0..2 * MAX {
            window.answered(timeout / 100, timeout);
        }
        assert!(window.has_room(MAX - 1) && !window.has_room(MAX));
        for _ in 0..100 {
            window.answered(timeout, timeout);
        }
        assert!(window.has_room(0) && !window.has_room(1), "one is always allowed");
    }
}
