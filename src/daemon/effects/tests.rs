use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout;

use super::*;
use crate::daemon::completion::Until;
use crate::daemon::fixtures::{Parts, present, spec, with_parts};
use crate::daemon::starter::MAX_QUEUED;
use crate::model::{Account, Action, RunAs};

#[test]
fn runs_are_prepared_one_by_one_and_started_together_and_the_ledger_knows_them() {
    with_parts(Until::Stopped, async |parts| {
        parts.load(vec![spec("a", "/n"), spec("b", "/n")]);
        parts.observe("a");
        parts.observe("b");
        parts.performer().perform_all();
        parts.performer().give_places();
        assert_eq!((parts.runs.count(), parts.recorded()), (0, Vec::new()));
        parts.performer().start_all();
        assert_eq!((parts.runs.count(), parts.recorded()), (2, vec!["a".to_owned(), "b".to_owned()]));
        for _ in 0..2 {
            parts.end_of_run().await;
        }
        assert_eq!((parts.runs.count(), parts.recorded()), (0, Vec::new()));
        let (_, a) = parts.watches.find("a").expect("a watch");
        assert_eq!(a.last_run().map(|last| last.outcome), Some(RunOutcome::Exited(0)));
    });
}

#[test]
fn no_more_runs_are_started_than_there_are_places_and_each_end_makes_place_for_one() {
    with_parts(Until::Stopped, async |parts| {
        parts.places = Places::new(Some(2));
        let names = ["a", "b", "c", "d"];
        parts.load(names.iter().map(|name| spec(name, "/n")).collect());
        names.iter().for_each(|name| parts.observe(name));
        let mut ended = Vec::new();
        while ended.len() < names.len() {
            parts.performer().end_turn();
            let left = names.len() - ended.len();
            assert_eq!((parts.runs.count(), parts.places.waiting()), (left.min(2), left.saturating_sub(2)));
            ended.push(parts.end_of_run().await);
        }
        let mut all: Vec<_> = names.iter().map(|name| parts.watch(name)).collect();
        all.sort();
        ended.sort();
        assert_eq!(ended, all);
    });
}

#[test]
fn a_crowd_that_starts_leaves_the_next_starts_to_the_watches_of_other_nodes() {
    with_parts(Until::Stopped, async |parts| {
        let names: Vec<_> = (0..100).map(|number| format!("w{number}")).collect();
        let crowd = || names.iter().map(|name| spec(name, "/n"));
        parts.load([spec("other", "/other")].into_iter().chain(crowd()).collect());
        names.iter().for_each(|name| parts.observe(name));
        parts.performer().end_turn();
        assert_eq!(parts.runs.count(), MAX_QUEUED);
        assert_eq!(parts.places.waiting(), names.len() - MAX_QUEUED);
        parts.observe("other");
        parts.performer().end_turn();
        let mut before = 0;
        while parts.watches.find("other").expect("a watch").1.watch().live_runs() == 0 {
            timeout(Duration::from_secs(60), parts.runs.room()).await.expect("room");
            parts.performer().end_turn();
            before += 1;
        }
        assert!(before <= 1, "{before} turns");
        while parts.runs.count() > 0 {
            parts.end_of_run().await;
            parts.performer().end_turn();
            parts.places.end_turn(0, Time::ZERO);
        }
        assert_eq!(parts.places.waiting(), 0);
    });
}

#[test]
fn what_is_to_be_signalled_is_started_before() {
    with_parts(Until::Stopped, async |parts| {
        parts.load(vec![spec("a", "/n")]);
        parts.observe("a");
        parts.performer().perform_all();
        parts.performer().give_places();
        parts.watches.step(parts.watch("a"), Input::Killed);
        parts.performer().perform_all();
        assert_eq!(parts.runs.count(), 1);
        parts.end_of_run().await;
        let (_, a) = parts.watches.find("a").expect("a watch");
        assert_eq!(a.last_run().map(|last| last.outcome), Some(RunOutcome::Killed));
        assert!(a.failure().is_some());
    });
}

#[test]
fn a_dry_run_starts_and_records_nothing() {
    with_parts(Until::Planned { timeout: Duration::ZERO }, async |parts| {
        parts.load(vec![spec("a", "/n")]);
        parts.observe("a");
        parts.performer().end_turn();
        assert_eq!((parts.runs.count(), parts.recorded()), (0, Vec::new()));
        assert_eq!(parts.completion.take_planned().len(), 1);
    });
}

#[test]
fn a_run_that_cannot_start_fails_and_is_not_owed_by_the_next_daemon() {
    with_parts(Until::Stopped, async |parts| {
        let action = Action::Command(["/no/such".into()].into());
        parts.load(vec![WatchSpec { action, ..spec("a", "/n") }]);
        parts.observe("a");
        parts.performer().end_turn();
        parts.end_of_run().await;
        let (_, a) = parts.watches.find("a").expect("a watch");
        assert!(a.failure().is_some_and(|failure| failure.what.contains("/no/such")));
        assert_eq!(parts.recorded(), Vec::<String>::new());
        assert_eq!(parts.watches.failing(), 1);
    });
}

/// A watch whose action's user has to be looked up.
fn unidentified(description: &str, node: &str) -> WatchSpec {
    let run_as = RunAs { uid: Some(Account::Id(0)), gid: None };
    WatchSpec { run_as: run_as.into(), ..spec(description, node) }
}

/// Takes the answer of the lookup, and ends the turn.
async fn identify(parts: &mut Parts) {
    let answer = parts.identities.next().await.expect("an answer");
    parts.performer().identity_answer(answer);
    parts.performer().end_turn();
}

/// Performs what happens next to a run.
async fn event(parts: &mut Parts) {
    let event = parts.runs.next_events(1).await.pop().expect("an event");
    parts.performer().run_event(event);
    parts.performer().perform_all();
}

#[test]
fn starts_that_wait_for_the_lookup_of_their_user_have_their_places_already() {
    for (limit, turns, waiting, starts) in
        [(Some(2), 10, 2, vec![2, 2]), (None, 80 / MAX_QUEUED, 80, vec![MAX_QUEUED])]
    {
        with_parts(Until::Stopped, async |parts| {
            parts.places = Places::new(limit);
            let names: Vec<_> = (0..80).map(|number| format!("w{number}")).collect();
            parts.load(names.iter().map(|name| unidentified(name, "/n")).collect());
            names.iter().for_each(|name| parts.observe(name));
            let end_turn = |parts: &mut Parts| parts.places.end_turn(0, Time::ZERO);
            for _ in 0..turns {
                parts.performer().end_turn();
                end_turn(parts);
            }
            assert_eq!((parts.identities.waiting(), parts.places.waiting()), (waiting, 80 - waiting));
            let answer = parts.identities.next().await.expect("an answer");
            parts.performer().identity_answer(answer);
            for running in starts {
                parts.performer().end_turn();
                end_turn(parts);
                assert_eq!(parts.runs.count(), running, "with the limit {limit:?}");
            }
            while parts.identities.has_answered() {
                timeout(Duration::from_secs(60), parts.runs.room()).await.expect("room");
                parts.performer().end_turn();
                end_turn(parts);
            }
            assert_eq!(parts.identities.waiting(), 0);
            while parts.runs.count() > 0 {
                parts.end_of_run().await;
            }
        });
    }
}

#[test]
fn a_start_that_waited_for_a_lookup_starts_only_what_its_watch_still_wants() {
    let new_action = || Action::Command(["/new/action".into()].into());
    let stop = |parts: &mut Parts| {
        let stopping = Input::Stopping { grace: Duration::from_secs(60) };
        parts.watches.step(parts.watch("a"), stopping);
    };
    type Change<'a> = &'a dyn Fn(&mut Parts);
    let changes: [(&str, Change<'_>, bool); 7] = [
        (
            "another action",
            &|parts| parts.load(vec![WatchSpec { action: new_action(), ..unidentified("a", "/n") }]),
            true,
        ),
        ("another node", &|parts| parts.load(vec![unidentified("a", "/new")]), false),
        ("no watch", &|parts| parts.load(Vec::new()), false),
        (
            "removed and back",
            &|parts| {
                parts.load(Vec::new());
                parts.load(vec![unidentified("a", "/n")]);
            },
            false,
        ),
        ("another store", &|parts| parts.watches.forget_versions(parts.watch("a")), false),
        ("paused", &|parts| parts.watches.step(parts.watch("a"), Input::Paused(Box::default())), true),
        ("stopping", &stop, true),
    ];
    for (what, change, is_owed) in changes {
        with_parts(Until::Stopped, async |parts| {
            parts.load(vec![unidentified("a", "/n")]);
            parts.observe("a");
            parts.performer().end_turn();
            assert_eq!(parts.identities.waiting(), 1, "{what}");
            let id = parts.watch("a");
            change(parts);
            parts.performer().end_turn();
            identify(parts).await;
            assert_eq!((parts.runs.count(), parts.recorded()), (0, Vec::new()), "{what}");
            event(parts).await;
            let owed = parts.watches.get(id).is_some_and(|entry| {
                assert_eq!((entry.watch().live_runs(), entry.failure().is_some()), (0, false), "{what}");
                entry.watch().waiting_updates() == 1
            });
            assert_eq!(owed, is_owed, "{what}");
        });
    }
}

#[test]
fn a_run_that_is_killed_while_its_user_is_looked_up_is_over() {
    with_parts(Until::Stopped, async |parts| {
        parts.load(vec![unidentified("a", "/n")]);
        parts.observe("a");
        parts.performer().end_turn();
        assert_eq!(parts.identities.waiting(), 1);
        parts.watches.step(parts.watch("a"), Input::Killed);
        parts.performer().end_turn();
        assert_eq!((parts.identities.waiting(), parts.runs.count()), (0, 0));
        identify(parts).await;
        let (_, a) = parts.watches.find("a").expect("a watch");
        assert_eq!(a.last_run().map(|last| last.outcome), Some(RunOutcome::Killed));
        let watch = a.watch();
        assert_eq!((watch.live_runs(), watch.waiting_updates(), watch.failures()), (0, 0, 1));
        assert_eq!((parts.runs.count(), parts.recorded()), (0, Vec::new()));
    });
}

// A directory service does not answer for one of two users. The update is not lost, and operators are told.
#[test]
fn a_start_whose_lookup_takes_too_long_is_put_off_and_said() {
    with_parts(Until::Stopped, async |parts| {
        let other = RunAs { uid: Some(Account::Id(1)), gid: None };
        let b = WatchSpec { run_as: other.into(), ..unidentified("b", "/n") };
        parts.load(vec![unidentified("a", "/n"), b]);
        ["a", "b"].iter().for_each(|name| parts.observe(name));
        parts.performer().end_turn();
        identify(parts).await;
        assert_eq!((parts.identities.waiting(), parts.runs.count()), (1, 1));
        let deadline = Instant::now() + Duration::from_secs(60);
        while parts.identities.waiting() > 0 {
            assert!(Instant::now() < deadline, "it waits for ever");
            tokio::time::sleep(Duration::from_millis(10)).await;
            parts.performer().put_off_unidentified();
        }
        let is_put_off = |parts: &Parts| {
            let mut failures = parts.watches.iter().filter_map(|(_, entry)| Some((entry.failure()?, entry)));
            failures.any(|(failure, entry)| {
                failure.what.contains("takes too long") && entry.watch().live_runs() == 0
            })
        };
        while !is_put_off(parts) {
            event(parts).await;
        }
        // A late answer starts nothing before the update is due again.
        identify(parts).await;
        let waiting: usize = parts.watches.iter().map(|(_, entry)| entry.watch().waiting_updates()).sum();
        assert_eq!((waiting, parts.recorded().len() <= 1), (1, true));
        while parts.runs.count() > 0 {
            parts.end_of_run().await;
        }
    });
}

// A program that reloads itself when it is told so must not start with what is old already.
#[test]
fn a_start_that_waits_for_a_lookup_makes_way_for_a_newer_update() {
    with_parts(Until::Stopped, async |parts| {
        let mut notified = unidentified("a", "/n");
        Arc::make_mut(&mut notified.policy).notify_signal = Some(libc::SIGHUP);
        parts.load(vec![notified]);
        parts.observe("a");
        parts.performer().end_turn();
        parts.watches.step(parts.watch("a"), Input::Observed(present(2)));
        parts.performer().end_turn();
        assert_eq!(parts.identities.waiting(), 0);
        event(parts).await;
        parts.performer().end_turn();
        identify(parts).await;
        assert_eq!(parts.runs.iter().map(|live| live.intent.version.number).collect::<Vec<_>>(), [2]);
        parts.end_of_run().await;
    });
}
