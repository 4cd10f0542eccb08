//! The daemon's end against a half that does what it may not.

use std::fs::File;
use std::os::fd::AsFd;

use tokio::task::{LocalSet, yield_now};

use super::super::conversation::MAX_PARTS;
use super::super::frame::{self, FrameError, MAX_FRAME};
use super::super::message::{FromHalf, Id, ToHalf};
use super::super::socket::{pair, receive_now, send_now};
use super::*;
use crate::content;
use crate::model::{Blob, Content, Exposed, Facet, NodePath, State, Subject, Version};
use crate::store::encoding::{ContentHeader, StateHeader};
use crate::store::{DirectorySettings, DirectoryUrl, Login, ZooKeeperSettings, ZooKeeperUrl};
use crate::sys::seal;

mod descriptors;
mod flood;
mod liveness;
mod outage;
mod room;

/// A half that a test plays, and what the daemon hears of it.
struct Fake {
    socket: OwnedFd,
    daemon: StoreChannel,
    /// That of its store.
    identity: String,
}

fn server() -> StoreSettings {
    StoreSettings::ZooKeeper(ZooKeeperSettings {
        url: ZooKeeperUrl::from_servers("127.0.0.1:2181/chroot").unwrap(),
        login: Login::default(),
        session_timeout: Duration::from_secs(10),
        readonly: false,
    })
}

fn directory(session_timeout: Duration) -> StoreSettings {
    StoreSettings::Directory(DirectorySettings {
        url: DirectoryUrl { root: "/srv/nodes".into() },
        session_timeout,
        rescan_interval: Duration::from_secs(60),
        readonly: false,
    })
}

fn subject(path: &str, facet: Facet) -> Subject {
    Subject { path: NodePath::parse(path).unwrap(), facet }
}

/// The node that the half is asked for, by its number.
const NODE: Id = 0;

fn present(content: ContentHeader) -> FromHalf {
    let version = Version { incarnation: 0, revision: 1, number: 1 };
    FromHalf::Observed {
        id: NODE,
        state: StateHeader::Present { version, origin: Default::default(), content },
    }
}

fn data() -> FromHalf {
    present(ContentHeader::Data)
}

/// A sealed file with more bytes than a packet has.
fn sealed(bytes: &[u8]) -> OwnedFd {
    match seal(bytes.into()).expose() {
        Exposed::Sealed(file) => file.try_clone().unwrap().into(),
        Exposed::Inline(_) => unreachable!("{} bytes are too few", bytes.len()),
    }
}

fn ready() -> FromHalf {
    FromHalf::Ready { confinement: "in a test".to_owned() }
}

fn connected(identity: &str) -> FromHalf {
    FromHalf::Connected { what: "somewhere".to_owned(), identity: identity.to_owned() }
}

impl Fake {
    /// Waits for a packet of the daemon.
    async fn next(&self) -> (ToHalf, Vec<u8>) {
        loop {
            match receive_now(self.socket.as_fd()) {
                Ok(received) => {
                    let (message, body) = frame::decode(&received.frame).unwrap();
                    return (message, body.to_vec());
                }
                Err(ReceiveError::System(_)) => yield_now().await,
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    /// Waits until the daemon has asked for [`NODE`].
    async fn asked(&self) {
        while !matches!(self.next().await, (ToHalf::Follow { id: NODE, .. }, _)) {}
    }

    async fn send_frame(&self, frame: &[u8], file: Option<&OwnedFd>) {
        loop {
            match send_now(self.socket.as_fd(), frame, file.map(AsFd::as_fd)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => yield_now().await,
                // The daemon has closed its end.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return,
                sent => return sent.unwrap(),
            }
        }
    }

    async fn say(&self, message: &FromHalf, body: &[u8]) {
        self.send_frame(&frame::encode(message, body).unwrap(), None).await;
    }

    async fn say_with(&self, message: &FromHalf, file: OwnedFd) {
        self.send_frame(&frame::encode(message, &[]).unwrap(), Some(&file)).await;
    }

    async fn connect(&mut self) {
        self.asked().await;
        self.say(&ready(), &[]).await;
        self.say(&connected(&self.identity), &[]).await;
        assert!(matches!(self.daemon.next().await, Some(StoreEvent::HalfStarted(half)) if half.pid == 7));
        assert!(matches!(self.daemon.next().await, Some(StoreEvent::Connected { .. })));
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

/// A supervisor of a directory, and the daemon's end of its channel.
fn supervisor(session_timeout: Duration) -> (Supervisor, StoreChannel) {
    supervisor_of(directory(session_timeout))
}

fn supervisor_of(settings: StoreSettings) -> (Supervisor, StoreChannel) {
    let (daemon, end) = StoreChannel::with_room(EVENT_QUEUE);
    let options = HalfOptions { program: "/nonexistent".into(), memory: None };
    (Supervisor::new(settings, options, end), daemon)
}

/// A process of which only its socket tells the end.
fn peer() -> Peer<'static> {
    Peer { pid: Pid::from_raw(7), user: "nobody", end: None }
}

/// Has `half` play a half of this supervisor. Returns how that ended, and what `half` returned.
async fn play<F: Future>(
    supervisor: &mut Supervisor,
    daemon: StoreChannel,
    half: impl FnOnce(Fake) -> F,
) -> (Result<Ending, Closed>, F::Output) {
    let (ours, socket) = pair().unwrap();
    supervisor.hearing.restart();
    let identity = supervisor.settings.identity().unwrap();
    tokio::join!(supervisor.talk(peer(), ours), half(Fake { socket, daemon, identity }))
}

/// Has the daemon follow a node of this facet on a server, and `half` play its half. Returns how that ended.
fn played<F: Future<Output = ()>>(facet: Facet, half: impl FnOnce(Fake) -> F) -> Result<Ending, Closed> {
    block_on(async {
        let (mut supervisor, daemon) = supervisor_of(server());
        daemon.follow(subject("/n", facet));
        play(&mut supervisor, daemon, half).await.0
    })
}

/// Returns the violation of a half that says `lie`, connected or not.
fn violation<F: Future<Output = ()>>(is_connected: bool, lie: impl FnOnce(Fake) -> F) -> Violation {
    let ending = played(Facet::Data, async |mut fake| {
        if is_connected {
            fake.connect().await;
        }
        lie(fake).await;
    });
    match ending {
        Ok(Ending::Violation(violation)) => violation,
        Ok(other) => panic!("{other:?}"),
        Err(Closed) => panic!("closed"),
    }
}

/// Waits until the daemon has closed its end, and returns what it heard meanwhile.
async fn heard(mut fake: Fake) -> Vec<StoreEvent> {
    let mut events = Vec::new();
    loop {
        events.extend(std::iter::from_fn(|| fake.daemon.try_next()));
        match receive_now(fake.socket.as_fd()) {
            Err(ReceiveError::Ended) => return events,
            _ => yield_now().await,
        }
    }
}

#[test]
fn what_an_honest_half_says_reaches_the_daemon() {
    let large: Vec<u8> = (0..3 * Blob::MAX_INLINE).map(|number| number as u8).collect();
    let ending = played(Facet::Data, async |mut fake| {
        fake.connect().await;
        let mut contents = Vec::new();
        fake.say(&data(), b"abc").await;
        fake.say(&data(), b"").await;
        fake.say_with(&data(), sealed(&large)).await;
        for part in large.chunks(Blob::MAX_INLINE).take(2) {
            fake.say(&FromHalf::More, part).await;
        }
        fake.say(&data(), large.chunks(Blob::MAX_INLINE).last().unwrap()).await;
        for _ in 0..4 {
            match fake.daemon.next().await {
                Some(StoreEvent::Observed {
                    state: State::Present { content: Content::Data(data), .. },
                    ..
                }) => contents.push(content::read(&data).unwrap().into_owned()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(contents, [b"abc".to_vec(), Vec::new(), large.clone(), large.clone()]);
        fake.say(&FromHalf::NeedsLogin, &[]).await;
        assert!(matches!(fake.next().await, (ToHalf::Login { error: None }, _)));
    });
    assert!(matches!(ending, Ok(Ending::Gone) | Err(Closed)), "{ending:?}");
}

#[test]
fn a_half_that_breaks_the_rules_is_ended_and_nothing_of_it_is_believed() {
    let content = || Some(sealed(&[7; 100_000]));
    let unsealed = Some(OwnedFd::from(tempfile::tempfile().unwrap()));
    let device = Some(OwnedFd::from(File::open("/dev/zero").unwrap()));
    let frame = |message: &FromHalf, body: &[u8]| frame::encode(message, body).unwrap();
    let no_path = FromHalf::Writable { path: "no path".into(), facet: Facet::Data };
    let unknown = FromHalf::MissedChange { id: 1 };
    let children = |count| frame(&present(ContentHeader::Children { count }), b"a\n");
    let no_file = || Violation::File(String::new());
    let no_state = || Violation::State(String::new());
    for (expected, packet, file) in [
        (Violation::Packet, vec![0; MAX_FRAME + 1], None),
        (Violation::Frame(FrameError::Cut), vec![0xff; 50], None),
        (Violation::Frame(FrameError::NoMessage), vec![0; 50], None),
        (no_file(), frame(&data(), b""), unsealed),
        (no_file(), frame(&data(), b""), device),
        (Violation::TwoBodies, frame(&data(), b"x"), content()),
        (Violation::UnexpectedBody, frame(&FromHalf::MoreWritable, b""), content()),
        (Violation::UnknownSubject, frame(&unknown, b""), None),
        (Violation::Order("a connection"), frame(&connected("any"), b""), None),
        (Violation::Order("that it is ready"), frame(&ready(), b""), None),
        (Violation::Text, frame(&no_path, b""), None),
        (Violation::Kind("another directory"), frame(&FromHalf::Moved, b""), None),
        (no_state(), children(1), None),
    ] {
        let found = violation(true, async |fake| {
            fake.send_frame(&packet, file.as_ref()).await;
            assert_eq!(heard(fake).await, [], "{expected:?}");
        });
        match found {
            Violation::File(_) => assert_eq!(expected, no_file()),
            Violation::State(_) => assert_eq!(expected, no_state()),
            found => assert_eq!(found, expected),
        }
    }
    let found = violation(false, async |fake| {
        fake.asked().await;
        fake.say(&connected("any"), &[]).await;
        assert_eq!(heard(fake).await, []);
    });
    assert_eq!(found, Violation::Order("a first word"));
}

#[test]
fn a_body_without_an_end_is_not_kept() {
    let found = violation(true, async |fake| {
        let part = vec![0; Blob::MAX_INLINE];
        for _ in 0..=MAX_PARTS / Blob::MAX_INLINE {
            fake.say(&FromHalf::More, &part).await;
        }
        heard(fake).await;
    });
    assert_eq!(found, Violation::TooMuch);
}

#[test]
fn a_daemon_that_is_slow_is_not_flooded() {
    let ending = played(Facet::Data, async |mut fake| {
        fake.connect().await;
        let frame = frame::encode(&data(), &[]).unwrap();
        let mut sent = 0_u32;
        // Until there was no room for a while, although the daemon's task had its turns.
        let mut full = 0;
        while full < 1000 {
            match send_now(fake.socket.as_fd(), &frame, None) {
                Ok(()) => (sent, full) = (sent + 1, 0),
                Err(_) => full += 1,
            }
            yield_now().await;
        }
        let queued = std::iter::from_fn(|| fake.daemon.try_next()).count();
        assert_eq!(queued, EVENT_QUEUE);
        assert!(sent < 2000, "{sent} wait in the socket");
        drop(fake);
    });
    assert!(matches!(ending, Ok(Ending::Gone) | Err(Closed)));
}
