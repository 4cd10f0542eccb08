//! One session from its greeting on: which requests are outstanding, and when it is over. It does no IO.
//!
//! The server answers in the order of the requests. Any other reply, and anything that cannot be decoded,
//! means that client and server do not understand one another any more, and ends the session at once: a
//! session must not seem alive while it is deaf. For the same reason each request has a deadline of its own,
//! whatever else arrives.

use std::collections::VecDeque;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::wire::{
    AUTH_XID, ErrorCode, Event, Expected, Frame, Frames, Malformed, NOTIFICATION_XID, PING_XID, Reply,
    ReplyHeader, Request, write_auth, write_ping,
};

/// How many events that no watch accounts for are taken at once, and how long each of them then delays
/// everything that the server sends. A server may send some: an event can cross with the reply that sets its
/// watch.
const UNASKED_BURST: u32 = 1000;
const UNASKED_DELAY: Duration = Duration::from_millis(1);

pub(super) struct Protocol {
    /// How long a server may be silent, and how long it may take to answer. `None`: the caller decides.
    timeout: Option<Duration>,
    frames: Frames,
    /// What is to be sent.
    output: Vec<u8>,
    outstanding: VecDeque<Outstanding>,
    next_xid: i32,
    /// When the credentials were sent that the server did not confirm yet.
    auths: VecDeque<Instant>,
    last_sent: Instant,
    last_received: Instant,
    /// When the ping was sent that has no reply yet.
    ping: Option<Instant>,
    /// How many pings have no reply yet that nobody waits for.
    unawaited_pings: u32,
    /// How many watches are set for which no event has come.
    watches: u64,
    /// When the events that nobody asked for will have had their time.
    unasked_until: Instant,
}

struct Outstanding {
    xid: i32,
    expected: Expected,
    sets_watch: bool,
    sent: Instant,
}

/// What the server sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The reply to the oldest request without one, which was sent at `sent`.
    Reply {
        result: Result<Reply, ErrorCode>,
        sent: Instant,
    },
    /// The oldest credentials are taken or refused.
    Auth(Result<(), ErrorCode>),
    Event(Event),
}

/// Why a session is over, for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Ended {
    #[error("it sent what no ZooKeeper sends: {0}")]
    Malformed(#[from] Malformed),
    #[error("it replied to request {got}, while it owes the reply to {owed}")]
    WrongReply { got: i32, owed: i32 },
    #[error("it replied to request {0}, which nobody made")]
    UnaskedReply(i32),
    #[error("a request got no answer within {:.1} s", .0.as_secs_f64())]
    NoAnswer(Duration),
    #[error("nothing arrived for {:.1} s", .0.as_secs_f64())]
    Silence(Duration),
    #[error("{0}")]
    Connection(String),
    #[error("{0}")]
    Server(ErrorCode),
}

impl Ended {
    /// Whether a server must be broken, or be none, to cause this.
    pub(super) fn is_violation(&self) -> bool {
        match self {
            Self::Malformed(_) | Self::WrongReply { .. } | Self::UnaskedReply(_) => true,
            Self::NoAnswer(_) | Self::Silence(_) | Self::Connection(_) | Self::Server(_) => false,
        }
    }
}

impl Protocol {
    /// Begins with what arrived after the greeting.
    pub(super) fn new(frames: Frames, timeout: Option<Duration>, now: Instant) -> Self {
        Self {
            timeout,
            frames,
            output: Vec::new(),
            outstanding: VecDeque::new(),
            next_xid: 1,
            auths: VecDeque::new(),
            last_sent: now,
            last_received: now,
            ping: None,
            unawaited_pings: 0,
            watches: 0,
            unasked_until: now,
        }
    }

    /// Replies come in the order of the requests.
    pub(super) fn request(&mut self, request: Request<'_>, now: Instant) {
        let sets_watch = sets_watch(&request);
        self.write(request, sets_watch, now);
    }

    /// Makes a request whose watch is set already, unless the server has lost it: no other event accounts for
    /// it.
    pub(super) fn renew(&mut self, request: Request<'_>, now: Instant) {
        self.write(request, false, now);
    }

    fn write(&mut self, request: Request<'_>, sets_watch: bool, now: Instant) {
        let xid = self.next_xid;
        self.next_xid = xid.checked_add(1).unwrap_or(1);
        request.write(xid, &mut self.output);
        self.outstanding.push_back(Outstanding { xid, expected: request.expected(), sets_watch, sent: now });
        self.last_sent = now;
    }

    /// Gives credentials. [`Incoming::Auth`] says whether they are taken.
    pub(super) fn auth(&mut self, scheme: &str, credentials: &[u8], now: Instant) {
        write_auth(scheme, credentials, &mut self.output);
        self.auths.push_back(now);
        self.last_sent = now;
    }

    /// Sends a ping without a deadline, since nobody reads for now what the server sends.
    pub(super) fn keep_alive(&mut self) {
        write_ping(&mut self.output);
        self.unawaited_pings += 1;
    }

    /// What is to be sent. [`Self::sent`] tells how much of it was.
    pub(super) fn output(&self) -> &[u8] {
        &self.output
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.output.drain(..bytes);
        if self.output.is_empty() && self.output.capacity() > MAX_SPARE_OUTPUT {
            self.output = Vec::new();
        }
    }

    /// Whether the server has sent so much unasked that it must wait. Nothing should be read meanwhile.
    pub(super) fn is_held_back(&self, now: Instant) -> bool {
        self.unasked_until > now + UNASKED_DELAY * UNASKED_BURST
    }

    pub(super) fn receive(&mut self, bytes: &[u8], now: Instant) {
        self.last_received = now;
        self.frames.add(bytes);
    }

    /// Returns what has arrived next, if it has arrived completely.
    pub(super) fn next(&mut self, now: Instant) -> Result<Option<Incoming>, Ended> {
        while !self.is_held_back(now) {
            let (header, body) = match self.frames.next()? {
                None => return Ok(None),
                Some(Frame::Whole(message)) => {
                    let (header, body) = ReplyHeader::read(message)?;
                    (header, Ok(body))
                }
                Some(Frame::TooLarge(header, reason)) => (ReplyHeader::read(&header)?.0, Err(reason)),
            };
            let incoming = match (header.xid, body) {
                (NOTIFICATION_XID, Ok(body)) => {
                    let event = body.event()?;
                    if event.is_some() && self.watches > 0 {
                        self.watches -= 1;
                    } else {
                        self.unasked_until = self.unasked_until.max(now) + UNASKED_DELAY;
                    }
                    event.map(Incoming::Event)
                }
                (PING_XID, Ok(_)) => match self.ping.take() {
                    Some(_) => None,
                    None if self.unawaited_pings > 0 => {
                        self.unawaited_pings -= 1;
                        None
                    }
                    None => return Err(Ended::UnaskedReply(PING_XID)),
                },
                (AUTH_XID, Ok(_)) => {
                    self.auths.pop_front().ok_or(Ended::UnaskedReply(AUTH_XID))?;
                    Some(Incoming::Auth(header.result))
                }
                (NOTIFICATION_XID | PING_XID | AUTH_XID, Err(reason)) => {
                    return Err(reason.announced().into());
                }
                (got, body) => {
                    let Some(owed) = self.outstanding.front() else { return Err(Ended::UnaskedReply(got)) };
                    if owed.xid != got {
                        return Err(Ended::WrongReply { got, owed: owed.xid });
                    }
                    let &Outstanding { expected, sets_watch, sent, .. } = owed;
                    let result = match (header.result, body) {
                        (Ok(()), Ok(body)) => Ok(body.reply(expected)?),
                        (Ok(()), Err(reason)) => Ok(Reply::TooLarge(reason)),
                        (Err(code), _) => Err(code),
                    };
                    self.outstanding.pop_front();
                    // A watch on a missing node announces its creation, if it was set by `exists`.
                    if sets_watch && (result.is_ok() || result == Err(ErrorCode::NoNode)) {
                        self.watches += 1;
                    }
                    Some(Incoming::Reply { result, sent })
                }
            };
            if incoming.is_some() {
                return Ok(incoming);
            }
        }
        Ok(None)
    }

    /// When the request was sent that has waited longest for its reply, or the credentials.
    fn oldest_unanswered(&self) -> Option<Instant> {
        let request = self.outstanding.front().map(|oldest| oldest.sent);
        request.into_iter().chain(self.auths.front().copied()).min()
    }

    /// When [`Self::tick`] has something to do, at the latest.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let held_back = self.is_held_back(now).then(|| self.unasked_until - UNASKED_DELAY * UNASKED_BURST);
        let Some(timeout) = self.timeout else { return held_back };
        let ping = match self.ping {
            Some(ping) => ping + timeout,
            None => self.last_sent + timeout / 3,
        };
        let answer = self.oldest_unanswered().map(|sent| sent + timeout);
        let silence = self.last_received + silence(timeout);
        [held_back, answer].into_iter().flatten().chain([ping, silence]).min()
    }

    /// Sends a ping if one is due. Fails if the server has taken too long. What has arrived should be read
    /// before this is called.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Ended> {
        let Some(timeout) = self.timeout else { return Ok(()) };
        let has_passed = |since: Instant, time: Duration| since + time <= now;
        if self.oldest_unanswered().is_some_and(|sent| has_passed(sent, timeout))
            || self.ping.is_some_and(|ping| has_passed(ping, timeout))
        {
            return Err(Ended::NoAnswer(timeout));
        }
        if has_passed(self.last_received, silence(timeout)) {
            return Err(Ended::Silence(silence(timeout)));
        }
        if self.ping.is_none() && has_passed(self.last_sent, timeout / 3) {
            write_ping(&mut self.output);
            (self.ping, self.last_sent) = (Some(now), now);
        }
        Ok(())
    }
}

fn sets_watch(request: &Request<'_>) -> bool {
    match request {
        Request::Data { watch, .. } | Request::Exists { watch, .. } | Request::Children { watch, .. } => {
            *watch
        }
        Request::DataOfEach { .. }
        | Request::Acl { .. }
        | Request::Sync { .. }
        | Request::Create { .. }
        | Request::CreateNext { .. }
        | Request::SetAcl { .. }
        | Request::Multi { .. }
        | Request::SetData { .. }
        | Request::Delete { .. }
        | Request::RemoveWatch { .. }
        | Request::Sasl { .. }
        | Request::Close => false,
    }
}

/// A server that lives sends something at least every third of the timeout, since it is pinged so often.
fn silence(timeout: Duration) -> Duration {
    timeout * 2 / 3
}

/// The most memory that is kept for what will be sent.
const MAX_SPARE_OUTPUT: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(9);

    struct Bench {
        protocol: Protocol,
        now: Instant,
    }

    impl Bench {
        /// A session with this many requests outstanding, numbered from 1.
        fn with_requests(count: usize) -> Self {
            let now = Instant::now();
            let mut protocol = Protocol::new(Frames::default(), Some(TIMEOUT), now);
            (0..count).for_each(|_| protocol.request(Request::Delete { path: "/n", version: -1 }, now));
            protocol.sent(protocol.output().len());
            Self { protocol, now }
        }

        fn receive(&mut self, xid: i32, body: &[u8]) -> Result<Option<Incoming>, Ended> {
            let message = [&xid.to_be_bytes()[..], &[0; 12], body].concat();
            let length = message.len() as u32;
            self.protocol.receive(&[&length.to_be_bytes()[..], &message].concat(), self.now);
            self.protocol.next(self.now)
        }

        /// Lets time pass until something is due, and returns how much.
        fn wait(&mut self) -> (Duration, Result<(), Ended>) {
            let due = self.protocol.due(self.now).expect("a session is never without a deadline");
            let waited = due - self.now;
            self.now = due;
            (waited, self.protocol.tick(due))
        }

        fn is_pinging(&mut self) -> bool {
            let is_pinging = self.protocol.output().ends_with(b"\xff\xff\xff\xfe\0\0\0\x0b");
            self.protocol.sent(self.protocol.output().len());
            is_pinging
        }
    }

    #[test]
    fn replies_must_come_in_order() {
        let mut it = Bench::with_requests(2);
        assert!(matches!(it.receive(1, b""), Ok(Some(Incoming::Reply { result: Ok(Reply::Done), .. }))));
        assert!(matches!(it.receive(2, b""), Ok(Some(Incoming::Reply { .. }))));
        assert_eq!(it.receive(3, b""), Err(Ended::UnaskedReply(3)));
        assert_eq!(Bench::with_requests(2).receive(2, b""), Err(Ended::WrongReply { got: 2, owed: 1 }));
        assert_eq!(Bench::with_requests(0).receive(PING_XID, b""), Err(Ended::UnaskedReply(PING_XID)));
        assert_eq!(Bench::with_requests(0).receive(AUTH_XID, b""), Err(Ended::UnaskedReply(AUTH_XID)));
        let too_long = Bench::with_requests(1).receive(1, b"x");
        assert!(too_long.is_err_and(|ended| ended.is_violation()));
    }

    #[test]
    fn a_quiet_session_is_pinged_and_a_dead_one_is_left() {
        let mut it = Bench::with_requests(0);
        for _ in 0..5 {
            assert_eq!(it.wait(), (TIMEOUT / 3, Ok(())));
            assert!(it.is_pinging());
            assert_eq!(it.receive(PING_XID, b""), Ok(None));
        }
        assert_eq!(it.wait(), (TIMEOUT / 3, Ok(())));
        assert_eq!(it.wait(), (TIMEOUT / 3, Err(Ended::Silence(TIMEOUT * 2 / 3))));
    }

    #[test]
    fn a_request_has_a_deadline_whatever_else_arrives() {
        let mut it = Bench::with_requests(1);
        let began = it.now;
        let ended = loop {
            let (_, ticked) = it.wait();
            if let Err(ended) = ticked {
                break ended;
            }
            if it.is_pinging() {
                assert_eq!(it.receive(PING_XID, b""), Ok(None));
            }
            let event = b"\0\0\0\x03\0\0\0\x03\0\0\0\x02/n";
            assert!(matches!(it.receive(NOTIFICATION_XID, event), Ok(Some(Incoming::Event(_)))));
        };
        assert_eq!((ended, it.now - began), (Ended::NoAnswer(TIMEOUT), TIMEOUT));
    }

    #[test]
    fn credentials_have_a_deadline_whatever_else_arrives() {
        let mut it = Bench::with_requests(0);
        it.protocol.auth("digest", b"u:p", it.now);
        it.protocol.auth("digest", b"v:p", it.now + Duration::from_secs(1));
        it.protocol.sent(it.protocol.output().len());
        let began = it.now;
        it.now += Duration::from_secs(2);
        assert!(matches!(it.receive(AUTH_XID, b""), Ok(Some(Incoming::Auth(Ok(()))))));
        let ended = loop {
            let (_, ticked) = it.wait();
            if let Err(ended) = ticked {
                break ended;
            }
            assert!(it.now < began + 10 * TIMEOUT, "they have none");
            // The server replies to every other request, and answers pings.
            if it.is_pinging() {
                assert_eq!(it.receive(PING_XID, b""), Ok(None));
            }
        };
        assert_eq!((ended, it.now - began), (Ended::NoAnswer(TIMEOUT), TIMEOUT + Duration::from_secs(1)));
    }

    #[test]
    fn a_ping_has_a_deadline_whatever_else_arrives() {
        let mut it = Bench::with_requests(0);
        assert_eq!(it.wait(), (TIMEOUT / 3, Ok(())));
        let pinged = it.now;
        while it.now < pinged + TIMEOUT - Duration::from_secs(1) {
            it.now += Duration::from_secs(1);
            assert_eq!(it.protocol.tick(it.now), Ok(()));
            it.receive(NOTIFICATION_XID, b"\xff\xff\xff\xff").unwrap();
        }
        it.now += Duration::from_secs(1);
        assert_eq!(it.protocol.tick(it.now), Err(Ended::NoAnswer(TIMEOUT)));
    }

    #[test]
    fn events_that_no_watch_accounts_for_are_slowed_down() {
        let mut it = Bench::with_requests(0);
        let event = b"\0\0\0\x03\0\0\0\x03\0\0\0\x02/n";
        let mut taken = 0;
        while it.receive(NOTIFICATION_XID, event) != Ok(None) {
            taken += 1;
        }
        assert_eq!(taken, UNASKED_BURST + 1);
        let resumed = it.protocol.due(it.now).unwrap();
        assert_eq!(resumed - it.now, UNASKED_DELAY);
        assert!(!it.protocol.is_held_back(resumed));
        assert!(matches!(it.protocol.next(resumed), Ok(Some(Incoming::Event(_)))));
        assert!(it.protocol.is_held_back(resumed));

        // As many as there are watches are not.
        let mut it = Bench::with_requests(0);
        let reply = [&[0; 4][..], &[0; 68]].concat();
        for xid in 1..=2 * UNASKED_BURST {
            it.protocol.request(Request::Data { path: "/n", watch: true }, it.now);
            assert!(it.receive(xid as i32, &reply).unwrap().is_some());
        }
        for _ in 0..2 * UNASKED_BURST {
            assert!(it.receive(NOTIFICATION_XID, event).unwrap().is_some());
        }
        assert!(!it.protocol.is_held_back(it.now));

        // A watch that is set again and again accounts for one event.
        for xid in 2 * UNASKED_BURST + 1..=4 * UNASKED_BURST {
            it.protocol.renew(Request::Exists { path: "/n", watch: true }, it.now);
            assert!(it.receive(xid as i32, &[0; 68]).unwrap().is_some());
        }
        let taken = (0..4 * UNASKED_BURST)
            .take_while(|_| it.receive(NOTIFICATION_XID, event).unwrap().is_some())
            .count();
        assert_eq!(taken, UNASKED_BURST as usize + 1);
    }
}
