//! The end of a half, and what the next one is told.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use super::*;

/// The shortest that there is.
const SESSION_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns what the half is told to remember.
async fn told_to_remember(fake: &Fake) -> Option<String> {
    match fake.next().await.0 {
        ToHalf::Start { memory } => memory,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_that_a_half_remembered_is_lost_by_the_death_of_the_next() {
    block_on(async {
        let (mut supervisor, daemon) = supervisor(SESSION_TIMEOUT);
        daemon.follow(subject("/n", Facet::Data));
        let remember = |what: &str| FromHalf::Remember { memory: what.to_owned() };
        let (ending, daemon) = play(&mut supervisor, daemon, async |fake| {
            assert_eq!(told_to_remember(&fake).await, None);
            fake.say(&ready(), &[]).await;
            fake.say(&remember("old"), &[]).await;
            fake.say(&remember("new"), &[]).await;
            fake.daemon
        })
        .await;
        assert!(matches!(ending, Ok(Ending::Gone)));
        let mut daemon = Some(daemon);
        for _ in 0..3 {
            let (ending, given) = play(&mut supervisor, daemon.take().unwrap(), async |fake| {
                assert_eq!(told_to_remember(&fake).await.as_deref(), Some("new"));
                fake.daemon
            })
            .await;
            assert!(matches!(ending, Ok(Ending::Gone)));
            daemon = Some(given);
        }
        let (ending, _daemon) = play(&mut supervisor, daemon.unwrap(), async |fake| {
            fake.say(&ready(), &[]).await;
            fake.say(&remember("newest"), &[]).await;
            fake.say(&FromHalf::Moved, &[]).await;
            fake.daemon
        })
        .await;
        assert!(matches!(ending, Ok(Ending::Moved)));
        assert_eq!(supervisor.memory.as_deref(), Some("newest"));
    });
}

#[test]
fn a_half_that_does_not_answer_is_given_up() {
    let ending = block_on(async {
        let (mut supervisor, daemon) = supervisor(SESSION_TIMEOUT);
        daemon.follow(subject("/n", Facet::Data));
        play(&mut supervisor, daemon, async |mut fake| {
            fake.connect().await;
            heard(fake).await;
        })
        .await
        .0
    });
    assert!(matches!(ending, Ok(Ending::Unresponsive(SESSION_TIMEOUT))), "{ending:?}");
}

#[test]
fn a_half_that_waits_for_the_daemon_is_not_given_up() {
    let ending = block_on(async {
        let (mut supervisor, daemon) = supervisor(SESSION_TIMEOUT);
        daemon.follow(subject("/n", Facet::Data));
        play(&mut supervisor, daemon, async |mut fake| {
            fake.connect().await;
            // The daemon takes nothing for a while, and so its task has no room for an answer.
            for _ in 0..2 * EVENT_QUEUE {
                fake.say(&data(), b"").await;
            }
            let began = Instant::now();
            while began.elapsed() < 3 * SESSION_TIMEOUT {
                yield_now().await;
            }
            while std::iter::from_fn(|| fake.daemon.try_next()).count() > 0 {
                yield_now().await;
            }
        })
        .await
        .0
    });
    assert!(matches!(ending, Ok(Ending::Gone) | Err(Closed)), "{ending:?}");
}

// After it moved to another directory, the last half leaves the store connected.
#[test]
fn a_half_that_never_says_a_word_leaves_no_store_connected() {
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("silent");
    fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    block_on(async {
        let (daemon, end) = StoreChannel::with_room(EVENT_QUEUE);
        let options = HalfOptions { program, memory: None };
        let mut daemon = daemon;
        let mut supervisor = Supervisor::new(directory(SESSION_TIMEOUT), options, end);
        supervisor.is_connected = Some(true);
        let heard = async {
            let mut heard = Vec::new();
            loop {
                match daemon.next().await.unwrap() {
                    StoreEvent::Disconnected { reason } => return (heard, reason),
                    event => heard.push(event),
                }
            }
        };
        tokio::select! {
            _ = supervisor.run() => unreachable!("the daemon has not closed the channel"),
            (heard, reason) = heard => {
                let [StoreEvent::HalfStarted(half), StoreEvent::HalfEnded] = &heard[..] else {
                    panic!("{heard:?}");
                };
                assert!(half.confinement.is_none(), "{heard:?}");
                assert!(reason.contains("gave no answer for 10 s"), "{reason}");
            }
        }
    });
}

#[test]
fn a_start_that_cannot_be_is_an_outage_with_a_reason() {
    block_on(async {
        let (mut supervisor, mut daemon) = supervisor(SESSION_TIMEOUT);
        supervisor.is_connected = Some(true);
        tokio::select! {
            _ = supervisor.run() => unreachable!("the daemon has not closed the channel"),
            event = daemon.next() => match event {
                Some(StoreEvent::Disconnected { reason }) => assert!(reason.contains("cannot be started")),
                other => panic!("{other:?}"),
            },
        }
    });
}

#[test]
fn a_half_that_asks_for_another_again_and_again_waits() {
    block_on(async {
        let (mut supervisor, _daemon) = supervisor(SESSION_TIMEOUT);
        let now = tokio::time::Instant::now();
        let pauses: Vec<Duration> = (0..=MAX_MOVES).map(|_| supervisor.pause_of_move(now)).collect();
        assert!(pauses[..MAX_MOVES - 1].iter().all(|pause| *pause == MOVED_PAUSE), "{pauses:?}");
        assert_eq!(pauses[MAX_MOVES - 1..], [MOVE_INTERVAL; 2]);
        let rested = now + (MAX_MOVES as u32 + 1) * MOVE_INTERVAL;
        assert_eq!(supervisor.pause_of_move(rested), MOVED_PAUSE);
    });
}

// Each could leave descriptors, or memory.
#[test]
fn no_half_is_started_while_too_much_of_the_former_ones_is_left() {
    block_on(async {
        let (mut supervisor, _daemon) = supervisor(SESSION_TIMEOUT);
        let held: Vec<_> = (0..MAX_LINGERING).map(|_| Rc::clone(&supervisor.lingering)).collect();
        let refused = supervisor.start(&mut None).await.unwrap().err().unwrap().to_string();
        assert!(refused.contains("were killed and do not end"), "{refused}");
        drop(held);
        let refused = supervisor.start(&mut None).await.unwrap().err().unwrap().to_string();
        assert!(!refused.contains("former ones"), "this program is none: {refused}");
        supervisor.disposal = Disposal::full();
        let refused = supervisor.start(&mut None).await.unwrap().err().unwrap().to_string();
        assert!(refused.contains("cannot be closed yet"), "{refused}");
    });
}
