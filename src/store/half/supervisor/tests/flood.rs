//! How much a half can have the daemon write.

use std::cell::Cell;
use std::time::Instant;

use super::*;

/// What may come at once.
const BURST: usize = 64;

/// In which time one more comes.
const INTERVAL: Duration = Duration::from_millis(200);

fn unreadable_for(reason: &str) -> FromHalf {
    FromHalf::Unreadable { id: NODE, reason: reason.to_owned() }
}

/// Says `count` messages, and waits until the daemon has heard all of them. Returns how long that took.
async fn told(fake: &mut Fake, count: usize, message: impl Fn(usize) -> FromHalf) -> Duration {
    let began = Instant::now();
    let (mut said, mut heard) = (0, 0);
    let mut unsent = None;
    while heard < count {
        if said < count {
            let frame = unsent.take().unwrap_or_else(|| frame::encode(&message(said), &[]).unwrap());
            match send_now(fake.socket.as_fd(), &frame, None) {
                Ok(()) => said += 1,
                Err(_) => unsent = Some(frame),
            }
        }
        heard += std::iter::from_fn(|| fake.daemon.try_next()).count();
        yield_now().await;
    }
    began.elapsed()
}

#[test]
fn what_fills_the_log_is_heard_slowly_and_a_new_half_may_say_no_more() {
    let missed = |_| FromHalf::MissedChange { id: NODE };
    let root = |number: usize| match number % 2 {
        0 => FromHalf::RootMissing { reason: "none".to_owned() },
        _ => FromHalf::RootFound,
    };
    let messages: [&dyn Fn(usize) -> FromHalf; 2] = [&missed, &root];
    for message in messages {
        block_on(async {
            let (mut supervisor, daemon) = supervisor_of(server());
            daemon.follow(subject("/n", Facet::Data));
            let (ending, (daemon, spent)) = play(&mut supervisor, daemon, async |mut fake| {
                // It says twice something of itself.
                fake.connect().await;
                told(&mut fake, BURST - 2, message).await;
                (fake.daemon, Instant::now())
            })
            .await;
            assert!(matches!(ending, Ok(Ending::Gone)));
            let (_, slowly) = play(&mut supervisor, daemon, async |mut fake| {
                fake.connect().await;
                told(&mut fake, 10, message).await;
                spent.elapsed()
            })
            .await;
            assert!(slowly >= 11 * INTERVAL, "{slowly:?}");
        });
    }
}

/// Says these messages as fast as it is heard, and then that `NODE + 1` does not exist. Returns how often the
/// daemon heard that [`NODE`] cannot be read before it heard that, the last reason, and how long that took.
async fn heard_before_a_state(
    fake: &mut Fake,
    count: usize,
    message: impl Fn(usize) -> FromHalf,
) -> (usize, Option<String>, Duration) {
    let began = Instant::now();
    let (mut unreadable, mut last) = (0, None);
    let state = || FromHalf::Observed { id: NODE + 1, state: StateHeader::Absent };
    let (mut said, mut is_heard) = (0, false);
    while !is_heard {
        if said <= count {
            let message = if said < count { message(said) } else { state() };
            let frame = frame::encode(&message, &[]).unwrap();
            said += usize::from(send_now(fake.socket.as_fd(), &frame, None).is_ok());
        }
        while let Some(event) = fake.daemon.try_next() {
            match event {
                StoreEvent::Unreadable { reason, .. } => (unreadable, last) = (unreadable + 1, Some(reason)),
                StoreEvent::Observed { subject, .. } => is_heard |= subject.path.as_str() == "/m",
                _ => {}
            }
        }
        yield_now().await;
    }
    (unreadable, last, began.elapsed())
}

#[test]
fn what_somebody_must_look_at_is_said_a_few_times_only() {
    let ended = played(Facet::Data, async |mut fake| {
        fake.connect().await;
        for number in 0..1000 {
            fake.say(&FromHalf::Degraded { reason: number.to_string() }, &[]).await;
            while let Some(event) = fake.daemon.try_next() {
                assert!(matches!(event, StoreEvent::Degraded { reason } if reason.len() == 1));
            }
        }
        fake.say(&data(), b"").await;
        while !matches!(fake.daemon.next().await, Some(StoreEvent::Observed { .. })) {}
    });
    assert!(matches!(ended, Ok(Ending::Gone) | Err(Closed)), "{ended:?}");
}

// It would take minutes if each of these were said.
#[test]
fn no_state_waits_behind_the_news_of_another_node() {
    let flapping = |number: usize| match number % 2 {
        0 => unreadable_for("no"),
        _ => FromHalf::Observed { id: NODE, state: StateHeader::Absent },
    };
    let other = |number: usize| unreadable_for(&number.to_string());
    let messages: [&dyn Fn(usize) -> FromHalf; 2] = [&flapping, &other];
    for message in messages {
        block_on(async {
            let (mut supervisor, daemon) = supervisor(Duration::from_secs(10));
            daemon.follow(subject("/n", Facet::Data));
            daemon.follow(subject("/m", Facet::Data));
            let ended = play(&mut supervisor, daemon, async |mut fake| {
                fake.connect().await;
                let (unreadable, last, took) = heard_before_a_state(&mut fake, 3000, message).await;
                assert!(took < Duration::from_secs(60), "{took:?}");
                let allowed = BURST + 4 + (took.as_millis() / INTERVAL.as_millis()) as usize + 1;
                assert!(unreadable <= allowed, "{unreadable} times in {took:?}");
                // What waits is said in the end: the truth, and nothing that is true no more.
                fake.say(&unreadable_for("the last reason"), &[]).await;
                let mut reason = last;
                while reason.as_deref() != Some("the last reason") {
                    if let Some(StoreEvent::Unreadable { reason: next, .. }) = fake.daemon.next().await {
                        reason = Some(next);
                    }
                }
            })
            .await;
            assert!(matches!(ended.0, Ok(Ending::Gone) | Err(Closed)), "{:?}", ended.0);
        });
    }
}

/// Floods the daemon with news until the socket is full, ends as `end` says, and returns how long the daemon
/// does not notice that. `end` may keep the socket.
fn unnoticed(peer: impl FnOnce() -> Peer<'static>, end: impl FnOnce(OwnedFd) -> Option<OwnedFd>) -> Duration {
    block_on(async {
        let (mut supervisor, mut daemon) = supervisor_of(server());
        daemon.follow(subject("/n", Facet::Data));
        supervisor.hearing.restart();
        let (ours, socket) = pair().unwrap();
        let (ended_at, left) = (Cell::new(None), Cell::new(0));
        let flood = async {
            let say = |message: &FromHalf| {
                let frame = frame::encode(message, &[]).unwrap();
                send_now(socket.as_fd(), &frame, None)
            };
            say(&ready()).unwrap();
            say(&connected("zk:/chroot")).unwrap();
            let mut full = 0;
            while full < 1000 {
                match say(&FromHalf::RootMissing { reason: "none".to_owned() }) {
                    Ok(()) => full = 0,
                    Err(_) => full += 1,
                }
                while daemon.try_next().is_some() {}
                yield_now().await;
            }
            ended_at.set(Some(Instant::now()));
            let _kept = end(socket);
            while daemon.next().await.is_some() {
                left.set(left.get() + 1);
            }
        };
        let ending = tokio::select! {
            ending = supervisor.talk(peer(), ours) => ending,
            () = flood => unreachable!("the supervisor holds the channel"),
        };
        assert!(matches!(ending, Ok(Ending::Gone)), "{ending:?}");
        assert!(left.get() <= BURST, "{} pieces of news were heard behind its end", left.get());
        ended_at.get().unwrap().elapsed()
    })
}

// What is still in the socket would be heard for half a minute.
#[test]
fn the_end_of_a_half_is_noticed_at_once_however_much_it_had_said() {
    let took = unnoticed(super::peer, |socket| {
        drop(socket);
        None
    });
    assert!(took < Duration::from_secs(10), "{took:?}");
    // Another process has its socket.
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let took = unnoticed(
        || Peer { pid, user: "nobody", end: Some(watch_process(pid).unwrap()) },
        |socket| {
            child.kill().unwrap();
            Some(socket)
        },
    );
    child.wait().unwrap();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn bursts_of_states_and_what_was_said_before_are_heard_at_once() {
    // Each of these would take a hundred seconds and more.
    let present = |number: usize| {
        let version = Version { incarnation: 0, revision: number as i64, number: 1 };
        FromHalf::Observed {
            id: NODE,
            state: StateHeader::Present { version, origin: Default::default(), content: ContentHeader::Data },
        }
    };
    let changing = |number: usize| match number % 2 {
        0 => present(number),
        _ => FromHalf::Observed { id: NODE, state: StateHeader::Absent },
    };
    let ending = played(Facet::Data, async |mut fake| {
        fake.connect().await;
        let mut took = told(&mut fake, 3000, present).await;
        took += told(&mut fake, 3000, changing).await;
        took += told(&mut fake, 1000, |_| unreadable_for("for the same reason")).await;
        assert!(took < Duration::from_secs(60), "{took:?}");
    });
    assert!(matches!(ending, Ok(Ending::Gone) | Err(Closed)));
}

#[test]
fn every_node_may_become_unreadable_at_once() {
    let ending = block_on(async {
        let (mut supervisor, daemon) = supervisor(Duration::from_secs(10));
        for number in 0..2000 {
            daemon.follow(subject(&format!("/n{number}"), Facet::Data));
        }
        play(&mut supervisor, daemon, async |mut fake| {
            let mut followed = 0;
            while followed < 2000 {
                followed += u32::from(matches!(fake.next().await.0, ToHalf::Follow { .. }));
            }
            fake.say(&ready(), &[]).await;
            fake.say(&connected(&fake.identity), &[]).await;
            let id = |number| number as Id % 2000;
            let unreadable = |number| FromHalf::Unreadable { id: id(number), reason: "no".to_owned() };
            let absent = |number| FromHalf::Observed { id: id(number), state: StateHeader::Absent };
            let took = told(&mut fake, 2002, unreadable).await + told(&mut fake, 2000, absent).await;
            assert!(took < Duration::from_secs(60), "{took:?}");
        })
        .await
        .0
    });
    assert!(matches!(ending, Ok(Ending::Gone) | Err(Closed)));
}
