//! The end of who gives the orders, against a process that does what it may not, or that dies.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use tokio::task::{LocalSet, yield_now};
use tokio::time::timeout;

use super::*;
use crate::model::{MemberAcl, NodePath};
use crate::store::half::frame::{self, MAX_FRAME};
use crate::store::half::message::MAX_TEXT;
use crate::store::half::misfortune::Blame;
use crate::store::half::socket::{pair, receive_now, send_now};
use crate::store::member::Member;
use crate::store::{Login, ZooKeeperSettings, ZooKeeperUrl};

fn settings(readonly: bool) -> StoreSettings {
    StoreSettings::ZooKeeper(ZooKeeperSettings {
        url: ZooKeeperUrl::from_servers("127.0.0.1:2181").unwrap(),
        login: Login::default(),
        session_timeout: Duration::from_secs(10),
        readonly,
    })
}

fn options() -> HalfOptions {
    HalfOptions { program: "/nonexistent".into(), memory: None }
}

fn run<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let within = async { timeout(Duration::from_secs(60), work).await };
    LocalSet::new().block_on(&runtime, within).expect("in time")
}

fn member() -> Member {
    Member { path: path(), data: b"data".into(), acl: MemberAcl::Read }
}

fn path() -> NodePath {
    NodePath::parse("/s/a:1").unwrap()
}

/// A supervisor, and what its user has of it.
fn supervised() -> (Supervisor, KeeperLink) {
    let (orders, ordered) = unbounded_channel();
    let (told, events) = channel(EVENT_QUEUE);
    let new = Supervisor::new(settings(false), options(), AtEnd::Leave, None, ordered, told);
    let process = new.process.clone();
    (new, KeeperLink { orders, events, process })
}

/// A process that the test plays.
struct Fake(OwnedFd);

impl Fake {
    fn says(&self, message: &FromKeeper) {
        self.sends(&frame::encode(message, &[]).unwrap(), None);
    }

    fn tells(&self, event: KeeperEvent) {
        self.says(&FromKeeper::Event(event));
    }

    fn sends(&self, frame: &[u8], file: Option<&OwnedFd>) {
        send_now(self.0.as_fd(), frame, file.map(AsFd::as_fd)).unwrap();
    }

    fn is_ready(&self) {
        self.says(&FromKeeper::Ready { confinement: "in a test".to_owned() });
    }

    /// Waits for what it is told next; `None` if the other end is closed.
    async fn next(&self) -> Option<(ToKeeper, Vec<u8>)> {
        loop {
            match receive_now(self.0.as_fd()) {
                Ok(received) => {
                    let (message, body) = frame::decode(&received.frame).unwrap();
                    return Some((message, body.to_vec()));
                }
                Err(ReceiveError::Ended) => return None,
                Err(_) => yield_now().await,
            }
        }
    }

    /// Waits until it is told so.
    async fn is_told(&self, wanted: &ToKeeper) -> Vec<u8> {
        loop {
            let (message, body) = self.next().await.expect("it is not closed yet");
            if message == *wanted {
                return body;
            }
        }
    }
}

/// Has `play` play the process, and returns how the conversation ended.
async fn with_played<F: Future<Output = ()>>(
    supervisor: &mut Supervisor,
    play: impl FnOnce(Fake) -> F,
) -> Result<Ending, Closed> {
    let (ours, theirs) = pair().unwrap();
    let peer = Peer { pid: nix::unistd::getpid(), user: "nobody", end: None };
    let disposal = supervisor.disposal.clone();
    let memory = supervisor.memory.clone();
    let begun = Conversation::begin(ours, &supervisor.settings, AtEnd::Leave, memory, disposal);
    let mut conversation = begun.unwrap();
    supervisor.standing.restart();
    let (ended, ()) = tokio::join!(
        async {
            let ended = supervisor.talk(&mut conversation, &peer).await;
            // The process sees the end.
            conversation.socket.shut_down();
            ended
        },
        play(Fake(theirs))
    );
    ended
}

fn announcement() -> ToKeeper {
    ToKeeper::Announce { path: path(), acl: MemberAcl::Read }
}

// "checked on both sides as those of halves are; a keep process that breaks the rules is ended"
#[test]
fn a_process_that_breaks_the_rules_is_ended() {
    let long = || "x".repeat(MAX_TEXT + 1);
    let other = || NodePath::parse("/s/b:1").unwrap();
    type Deed = Box<dyn Fn(&Fake)>;
    let says = |message: FromKeeper| -> Deed { Box::new(move |fake| fake.says(&message)) };
    let tells = |event: KeeperEvent| says(FromKeeper::Event(event));
    let null = || OwnedFd::from(File::open("/dev/null").unwrap());
    let announced =
        || frame::encode(&FromKeeper::Event(KeeperEvent::Announced { path: path() }), &[]).unwrap();
    let deeds: Vec<(&str, Deed)> = vec![
        ("ready twice", Box::new(Fake::is_ready)),
        ("an answer to nothing", says(FromKeeper::Pong)),
        ("another member", tells(KeeperEvent::Announced { path: other() })),
        ("a conflict of another", tells(KeeperEvent::Conflict { path: other(), holder: None })),
        ("why another waits", tells(KeeperEvent::Waiting { path: other(), reason: "x".into() })),
        ("no withdrawal was ordered", tells(KeeperEvent::Withdrawn { path: path() })),
        ("a long text", tells(KeeperEvent::Connected { what: long() })),
        ("a long owner", tells(KeeperEvent::Opened { owner: "x".repeat(300) })),
        (
            "no path",
            Box::new(|fake| fake.sends(&raw("{\"Event\":{\"Announced\":{\"path\":\"a/../b\"}}}"), None)),
        ),
        ("no message", Box::new(|fake| fake.sends(&raw("{\"Run\":\"/bin/sh\"}"), None))),
        ("no frame", Box::new(|fake| fake.sends(&[0xff; 100], None))),
        ("too much", Box::new(|fake| fake.sends(&vec![b'x'; MAX_FRAME + 1], None))),
        ("a body", Box::new(|fake| fake.sends(&frame::encode(&FromKeeper::NeedsLogin, b"x").unwrap(), None))),
        ("a file", Box::new(move |fake| fake.sends(&announced(), Some(&null())))),
        (
            "two questions",
            // The answer may come between two of them.
            Box::new(|fake| (0..16).for_each(|_| fake.says(&FromKeeper::NeedsLogin))),
        ),
    ];
    for (name, deed) in deeds {
        let ended = run(async {
            let (mut supervisor, link) = supervised();
            link.orders.send(KeeperOrder::Announce(member())).unwrap();
            with_played(&mut supervisor, async |fake: Fake| {
                fake.is_ready();
                fake.is_told(&announcement()).await;
                deed(&fake);
                while fake.next().await.is_some() {}
            })
            .await
        });
        assert!(matches!(ended, Ok(Ending::Violation(_))), "{name}: {ended:?}");
    }
    let ended = run(async {
        let (mut supervisor, _link) = supervised();
        with_played(&mut supervisor, async |fake: Fake| {
            fake.tells(KeeperEvent::Opened { owner: "o".into() });
            while fake.next().await.is_some() {}
        })
        .await
    });
    assert!(matches!(ended, Ok(Ending::Violation(Violation::Order(_)))), "{ended:?}");
}

fn raw(header: &str) -> Vec<u8> {
    [(header.len() as u32).to_le_bytes().as_slice(), header.as_bytes()].concat()
}

// "replay the Announce orders of all members that should be there; exactly one Withdrawn for each Withdraw"
#[test]
fn what_one_process_leaves_undone_the_next_one_does() {
    run(async {
        let ((mut supervisor, mut link), mut told) = (supervised(), Vec::new());
        link.orders.send(KeeperOrder::Announce(member())).unwrap();
        let ended = with_played(&mut supervisor, async |fake: Fake| {
            fake.is_ready();
            assert_eq!(fake.is_told(&announcement()).await, b"data");
            fake.tells(KeeperEvent::Connected { what: "there".into() });
            fake.tells(KeeperEvent::Announced { path: path() });
            told.extend(link.events.recv().await);
            told.extend(link.events.recv().await);
            link.orders.send(KeeperOrder::Withdraw(path())).unwrap();
            fake.is_told(&ToKeeper::Withdraw { path: path() }).await;
            link.orders.send(KeeperOrder::Announce(member())).unwrap();
        })
        .await;
        assert!(matches!(ended, Ok(Ending::Gone)), "{ended:?}");
        supervisor.fail(Trouble { reason: "it died".into(), blame: Blame::Half });
        supervisor.fail(Trouble { reason: "it died".into(), blame: Blame::Half });
        let ended = with_played(&mut supervisor, async |fake: Fake| {
            fake.is_ready();
            fake.is_told(&ToKeeper::Withdraw { path: path() }).await;
            fake.tells(KeeperEvent::Disconnected { reason: "not there yet".into() });
            fake.tells(KeeperEvent::Withdrawn { path: path() });
            assert_eq!(fake.is_told(&announcement()).await, b"data");
        })
        .await;
        assert!(matches!(ended, Ok(Ending::Gone)), "{ended:?}");
        supervisor.tell_all().await.unwrap();
        drop(supervisor);
        while let Some(event) = link.events.recv().await {
            told.push(event);
        }
        let connected = told.remove(0);
        let KeeperEvent::Connected { what } = &connected else { panic!("{connected:?}") };
        assert!(what.starts_with("there, by process ") && what.ends_with("as nobody, in a test"), "{what}");
        assert_eq!(
            told,
            [
                KeeperEvent::Announced { path: path() },
                KeeperEvent::Disconnected { reason: "it died".into() },
                KeeperEvent::Withdrawn { path: path() },
            ],
            "an outage is said once"
        );
    });
}

#[test]
fn an_end_of_the_orders_is_an_order_to_withdraw_all() {
    run(async {
        let (mut supervisor, mut link) = supervised();
        link.orders.send(KeeperOrder::Announce(member())).unwrap();
        let orders = link.orders;
        let ended = with_played(&mut supervisor, async |fake: Fake| {
            fake.is_ready();
            fake.is_told(&announcement()).await;
            drop(orders);
            fake.is_told(&ToKeeper::Close).await;
            fake.tells(KeeperEvent::Disconnected { reason: "last words".into() });
        })
        .await;
        assert!(matches!(ended, Err(Closed)), "{ended:?}");
        supervisor.tell_all().await.unwrap();
        drop(supervisor);
        assert!(matches!(link.events.recv().await, Some(KeeperEvent::Disconnected { .. })));
        assert_eq!(link.events.recv().await, None);
    });
}

#[test]
fn a_process_that_cannot_be_started_is_an_outage_that_is_said_once() {
    run(async {
        let mut link = open(settings(false), options(), AtEnd::Leave, None).unwrap();
        let Some(KeeperEvent::Disconnected { reason }) = link.events.recv().await else { panic!() };
        assert!(reason.contains("cannot be started") && reason.contains("No such file"), "{reason}");
        // Further attempts say nothing new, until somebody has to do something.
        let Some(KeeperEvent::Refused { reason }) = link.events.recv().await else { panic!() };
        assert!(reason.contains("again and again"), "{reason}");
        drop(link.orders);
        assert_eq!(link.events.recv().await, None);
    });
    let refused = open(settings(true), options(), AtEnd::Leave, None).map(drop);
    assert!(matches!(refused, Err(ClientError::ReadOnly { .. })));
}

// Whoever steers a process can neither fill the log nor the memory.
#[test]
fn a_process_that_talks_without_a_pause_is_heard_now_and_then() {
    run(async {
        let (mut supervisor, mut link) = supervised();
        let heard = async {
            let mut heard = 0;
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(1) {
                let next = timeout(Duration::from_millis(100), link.events.recv()).await;
                heard += usize::from(matches!(next, Ok(Some(_))));
            }
            drop(link);
            heard
        };
        let (ended, heard) = tokio::join!(
            with_played(&mut supervisor, async |fake: Fake| {
                fake.is_ready();
                loop {
                    let message = FromKeeper::Event(KeeperEvent::Opened { owner: "o".into() });
                    let frame = frame::encode(&message, &[]).unwrap();
                    match send_now(fake.0.as_fd(), &frame, None) {
                        Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
                        _ => yield_now().await,
                    }
                }
            }),
            heard
        );
        let is_killed = matches!(ended, Ok(Ending::Unresponsive(after)) if after == CLOSE_TIMEOUT);
        assert!(is_killed, "it does not end: {ended:?}");
        let most = MAX_NEWS + 1 + (Duration::from_secs(2).as_millis() / NEWS_INTERVAL.as_millis()) as usize;
        assert!((MAX_NEWS / 2..=most).contains(&heard), "{heard}");
    });
}
