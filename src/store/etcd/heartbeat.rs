//! Asking a silent member whether it is still there, as a session of ZooKeeper does. Pings of HTTP/2 would
//! not do: a server drops clients that send more than one in 5 s, and a session timeout can be shorter. A
//! read also finds out that the member has lost its leader or our login, and keeps the login alive.

use std::time::Duration;

use hyper::body::Bytes;
use tokio::time::Instant;

use super::wire::messages::RangeRequest;

/// When to ask on one connection. After a third of the session timeout in silence it is asked, and the answer
/// may take half of it, so that a member that hangs, or cannot be reached, is given up within the session
/// timeout.
pub(super) struct Heartbeat {
    interval: Duration,
    /// How long the answer may take.
    pub(super) patience: Duration,
    /// When something was heard last.
    heard: Instant,
    is_under_way: bool,
}

impl Heartbeat {
    pub(super) fn new(session_timeout: Duration, now: Instant) -> Self {
        let (interval, patience) = (session_timeout / 3, session_timeout / 2);
        Self { interval, patience, heard: now, is_under_way: false }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        (!self.is_under_way).then_some(self.heard + self.interval)
    }

    /// Returns the question if it is due. [`Self::answered`] follows.
    pub(super) fn begin(&mut self, now: Instant) -> Option<RangeRequest> {
        self.due().filter(|due| *due <= now)?;
        self.is_under_way = true;
        Some(question())
    }

    pub(super) fn answered(&mut self, now: Instant) {
        self.is_under_way = false;
        self.heard(now);
    }

    /// Notes that the member has said something.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }
}

/// A read of a key that nobody has. Also the refusal of a user who may not read it is an answer.
fn question() -> RangeRequest {
    RangeRequest { key: Bytes::from_static(&[0]), keys_only: true, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_member_is_asked_so_that_it_is_given_up_within_the_session_timeout() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut heartbeat = Heartbeat::new(12 * second, start);
        assert_eq!(heartbeat.due(), Some(start + 4 * second));
        assert_eq!(heartbeat.begin(start + 3 * second), None);
        // What is heard without a question is as good.
        heartbeat.heard(start + 3 * second);
        assert_eq!(heartbeat.begin(start + 4 * second), None);
        assert!(heartbeat.begin(start + 7 * second).is_some());
        assert!(4 * second + heartbeat.patience < 12 * second);
        // It is not asked twice at once.
        assert_eq!((heartbeat.due(), heartbeat.begin(start + 20 * second)), (None, None));
        heartbeat.answered(start + 20 * second);
        assert_eq!(heartbeat.due(), Some(start + 24 * second));
    }
}
