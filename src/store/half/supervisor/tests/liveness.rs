//! The question whether a half is alive, when it stands behind other words or its answer does.

use std::time::Instant;

use super::*;

/// The shortest that there is.
const SESSION_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads on until the daemon asks. Returns how often it said something else.
async fn asked(fake: &Fake) -> usize {
    let mut others = 0;
    while fake.next().await.0 != ToHalf::Ping {
        others += 1;
    }
    others
}

async fn until(time: Instant) {
    while Instant::now() < time {
        yield_now().await;
    }
}

// A burst of states is a sign of life as well, and the answer that follows it is still the one that was asked
// for.
#[test]
fn an_answer_behind_many_other_words_counts_and_is_asked_for_once() {
    let ending = block_on(async {
        let (mut supervisor, daemon) = supervisor(SESSION_TIMEOUT);
        daemon.follow(subject("/n", Facet::Data));
        play(&mut supervisor, daemon, async |mut fake| {
            fake.connect().await;
            assert_eq!(asked(&fake).await, 0);
            let busy_until = Instant::now() + 3 * SESSION_TIMEOUT;
            while Instant::now() < busy_until {
                fake.say(&data(), b"").await;
                let _ = fake.daemon.try_next();
                until(Instant::now() + SESSION_TIMEOUT / 100).await;
            }
            assert!(matches!(receive_now(fake.socket.as_fd()), Err(ReceiveError::System(_))), "asked again");
            for _ in 0..2 {
                fake.say(&FromHalf::Pong, &[]).await;
                assert_eq!(asked(&fake).await, 0);
            }
        })
        .await
        .0
    });
    assert!(matches!(ending, Ok(Ending::Gone) | Err(Closed)), "{ending:?}");
}

/// More commands than the socket holds.
const SUBJECTS: usize = 20_000;

#[test]
fn a_question_behind_a_full_socket_is_answered_when_that_is_read() {
    let ending = block_on(async {
        let (mut supervisor, daemon) = supervisor(SESSION_TIMEOUT);
        (0..SUBJECTS).for_each(|number| daemon.follow(subject(&format!("/n{number}"), Facet::Data)));
        play(&mut supervisor, daemon, async |fake| {
            // It is asked after one timeout, and has another one for the answer.
            fake.say(&ready(), &[]).await;
            until(Instant::now() + SESSION_TIMEOUT + SESSION_TIMEOUT / 4).await;
            // It stood behind what was in the socket, and before what had no room there.
            let before = asked(&fake).await;
            assert!((10..SUBJECTS).contains(&before), "{before}");
            fake.say(&FromHalf::Pong, &[]).await;
            asked(&fake).await;
        })
        .await
        .0
    });
    assert!(matches!(ending, Ok(Ending::Gone) | Err(Closed)), "{ending:?}");
}

#[test]
fn a_half_that_reads_nothing_is_given_up_although_the_question_never_reached_it() {
    let ending = block_on(async {
        let (mut supervisor, daemon) = supervisor(SESSION_TIMEOUT);
        (0..SUBJECTS).for_each(|number| daemon.follow(subject(&format!("/n{number}"), Facet::Data)));
        let (ending, _fake) = play(&mut supervisor, daemon, async |fake| {
            fake.say(&ready(), &[]).await;
            until(Instant::now() + 3 * SESSION_TIMEOUT).await;
            fake
        })
        .await;
        ending
    });
    assert!(matches!(ending, Ok(Ending::Unresponsive(SESSION_TIMEOUT))), "{ending:?}");
}
