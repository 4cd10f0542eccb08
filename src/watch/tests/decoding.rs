//! Tests of content that is decoded before it runs (`decode`).

use super::*;
use crate::model::{Decoded, Format, Guard};

const JSON: Policy = Policy { decode: Some(Format::Json), ..QUEUE };

fn decode(decoding: u64, revision: i64) -> Effect {
    Effect::Decode { decoding: DecodingId(decoding), content: content(revision) }
}

fn decoded() -> Decoded {
    Decoded { blob: b"decoded".as_slice().into(), commit: None }
}

/// The effect of a start with decoded content.
fn started(run: u64, event: Event, revision: i64) -> Effect {
    let (version, content) = (version(1, revision), content(revision));
    let update = Update { event, version, origin: origin(revision), content, decoded: Some(decoded()) };
    Effect::Spawn { run: RunId(run), update, since: Time::ZERO }
}

fn faulty(revision: i64) -> Effect {
    Effect::Held { version: version(1, revision), hold_reason: HoldReason::Faulty("is no JSON".into()) }
}

impl Bench {
    fn judge(&mut self, decoding: u64, verdict: Verdict) -> Vec<Effect> {
        self.step(Input::Decoded { decoding: DecodingId(decoding), verdict })
    }

    fn good(&mut self, decoding: u64) -> Vec<Effect> {
        self.judge(decoding, Verdict::Conforms(decoded()))
    }

    fn bad(&mut self, decoding: u64) -> Vec<Effect> {
        self.judge(decoding, Verdict::Faulty("is no JSON".into()))
    }

    fn undecided(&mut self, decoding: u64) -> Vec<Effect> {
        self.judge(decoding, Verdict::Undecided("was not decoded".into()))
    }
}

/// A watch that applied revision 1, which was decoding 1.
fn applied(policy: Policy) -> Bench {
    let mut bench = Bench::new(policy);
    assert_eq!(bench.see(1, 1), [decode(1, 1)]);
    assert_eq!(bench.good(1), [started(1, Event::Load, 1)]);
    assert_eq!(bench.end(1), []);
    bench
}

#[test]
fn content_runs_once_it_is_decoded() {
    let mut bench = Bench::new(JSON);
    assert_eq!(bench.see(1, 1), [decode(1, 1)]);
    assert!(bench.watch.awaits_decoding());
    assert_eq!(bench.watch.condition(false), Condition::Waiting);
    assert_eq!(bench.see(1, 1), [], "the store reports it again");
    assert_eq!(bench.good(1), [started(1, Event::Load, 1)]);
    assert_eq!(bench.good(1), [], "the verdict comes again");
    bench.end(1);
    assert_eq!(bench.watch.condition(false), Condition::Idle);
}

// "What does not decode is held like a guard's update: nothing runs, the last good content stays applied ...
// `trigger --force` does not help. It heals with the next good content."
#[test]
fn faulty_content_is_held_until_the_node_is_mended() {
    let mut bench = applied(JSON);
    assert_eq!(bench.see(1, 2), [decode(2, 2)]);
    assert_eq!(bench.bad(2), [faulty(2)]);
    assert_eq!(bench.watch.condition(false), Condition::Held);
    assert_eq!(bench.watch.snapshot().applied, Some(version(1, 1)));
    for force in [false, true] {
        let refused = bench.watch.answer(WatchCommand::Trigger { force }, false);
        assert!(matches!(refused, Err(Refusal::Held(_))), "{refused:?}");
        assert_eq!(bench.step(Input::Triggered { force }), []);
        assert_eq!(bench.see(1, 2), []);
    }
    assert_eq!(bench.see(1, 3), [decode(3, 3)]);
    assert_eq!(bench.good(3), [started(2, Event::Changed, 3)]);
}

#[test]
fn the_next_daemon_holds_what_this_one_held_and_says_why() {
    for event in [Event::Load, Event::Changed] {
        let mut bench = if event == Event::Load { Bench::new(JSON) } else { applied(JSON) };
        bench.see(1, 2);
        let decoding = bench.watch.past.decodings;
        assert_eq!(bench.bad(decoding), [faulty(2)]);
        let mut next = bench.reborn(Policy { run_on_load: RunOnLoad::Changed, ..JSON }, None);
        assert_eq!(next.watch.condition(false), Condition::Held);
        assert_eq!(next.see(1, 2), [decode(1, 2)]);
        assert_eq!(next.bad(1), [faulty(2)]);
        assert_eq!(next.see(1, 3), [decode(2, 3)]);
        assert_eq!(next.good(2), [started(1, Event::Load, 3)]);
    }
}

#[test]
fn the_next_daemon_decodes_what_this_one_was_decoding() {
    let mut bench = applied(JSON);
    assert_eq!(bench.see(1, 2), [decode(2, 2)]);
    for stopping in [false, true] {
        if stopping {
            bench.step(Input::Stopping { grace: Duration::ZERO });
            assert_eq!(bench.good(2), [], "the daemon stops");
        }
        let mut next = bench.reborn(Policy { run_on_load: RunOnLoad::Never, ..JSON }, None);
        assert_eq!(next.see(1, 2), [decode(1, 2)]);
        assert_eq!(next.good(1), [started(1, Event::Changed, 2)]);
    }
}

// "newest content wins; a verdict for an old content must not start anything"
#[test]
fn a_verdict_on_outdated_content_starts_and_holds_nothing() {
    for policy in [JSON, Policy { run_mode: RunMode::Discard, ..JSON }] {
        for old_is_good in [true, false] {
            let mut bench = applied(policy.clone());
            assert_eq!(bench.see(1, 2), [decode(2, 2)]);
            assert_eq!(bench.see(1, 3), [], "one at a time");
            assert_eq!(bench.see(1, 4), [], "the newest waits");
            let next = if old_is_good { bench.good(2) } else { bench.bad(2) };
            assert_eq!(next, [decode(3, 4)]);
            assert_eq!(bench.good(3), [started(2, Event::Changed, 4)]);
        }
    }
}

#[test]
fn content_that_is_always_outdated_runs_now_and_then() {
    let mut bench = applied(JSON);
    let mut runs = 0;
    for revision in 2..200 {
        bench.at(revision);
        let decoding = bench.watch.past.decodings;
        bench.see(1, revision as i64);
        let effects = bench.good(decoding.max(2));
        if effects.iter().any(|effect| matches!(effect, Effect::Spawn { .. })) {
            runs += 1;
            bench.end(runs + 1);
        }
    }
    assert!((8..=10).contains(&runs), "{runs} runs in 200 s");
}

#[test]
fn in_parallel_every_good_content_runs_in_order() {
    let mut bench = applied(Policy { decode: Some(Format::Json), ..PARALLEL });
    assert_eq!(bench.see(1, 2), [decode(2, 2)]);
    for revision in 3..6 {
        assert_eq!(bench.see(1, revision), []);
    }
    assert_eq!(bench.watch.waiting_updates(), 4);
    assert_eq!(bench.good(2), [decode(3, 3), started(2, Event::Changed, 2)]);
    assert_eq!(bench.bad(3), [decode(4, 4)], "it is outdated");
    assert_eq!(bench.good(4), [decode(5, 5), started(3, Event::Changed, 4)]);
    assert_eq!(bench.bad(5), [faulty(5)]);
}

#[test]
fn a_deletion_ends_the_wait_for_a_verdict() {
    let mut bench = applied(JSON);
    bench.see(1, 2);
    assert_eq!(bench.miss(), [Effect::Deleted]);
    assert_eq!(bench.bad(2), []);
    assert_eq!(bench.watch.held(), None);
    assert_eq!(bench.see(2, 3), [decode(3, 3)], "it is there again");

    let mut bench = applied(Policy { run_on_delete: true, ..JSON });
    bench.see(1, 2);
    assert!(matches!(&bench.miss()[..], [Effect::Spawn { update, .. }] if update.event == Event::Deleted));
    assert_eq!(bench.good(2), []);
}

#[test]
fn in_parallel_a_deletion_runs_after_what_was_there_before() {
    let policy = Policy { decode: Some(Format::Json), run_on_delete: true, ..PARALLEL };
    let mut bench = applied(policy);
    assert_eq!(bench.see(1, 2), [decode(2, 2)]);
    assert_eq!(bench.miss(), []);
    let events = bench.good(2).into_iter().map(|effect| match effect {
        Effect::Spawn { update, .. } => update.event,
        other => panic!("{other:?}"),
    });
    assert_eq!(events.collect::<Vec<_>>(), [Event::Changed, Event::Deleted]);
}

#[test]
fn a_waiting_update_is_replaced_by_good_content_only() {
    let mut bench = applied(JSON);
    bench.see(1, 2);
    assert_eq!(bench.good(2), [started(2, Event::Changed, 2)]);
    bench.see(1, 3);
    assert_eq!(bench.good(3), [], "the action runs");
    bench.see(1, 4);
    assert_eq!(bench.bad(4), [faulty(4)]);
    assert_eq!(bench.end(2), [started(3, Event::Changed, 3)]);
}

#[test]
fn the_running_action_is_notified_of_good_content_only() {
    let mut bench = applied(Policy { notify_signal: Some(1), ..JSON });
    bench.see(1, 2);
    bench.good(2);
    assert_eq!(bench.see(1, 3), [decode(3, 3)]);
    assert_eq!(bench.bad(3), [faulty(3)]);
    assert_eq!(bench.see(1, 4), [decode(4, 4)]);
    assert_eq!(bench.good(4), [Effect::Notify { run: RunId(2), signal: 1 }]);
}

#[test]
fn discard_ignores_content_unread_while_the_action_runs() {
    let mut bench = applied(Policy { run_mode: RunMode::Discard, ..JSON });
    bench.see(1, 2);
    assert_eq!(bench.good(2), [started(2, Event::Changed, 2)]);
    assert_eq!(bench.see(1, 3), [Effect::Discarded { version: version(1, 3) }]);
    assert_eq!(bench.end(2), []);
}

#[test]
fn a_new_definition_decodes_again() {
    let cbor = Policy { decode: Some(Format::Cbor), run_on_load: RunOnLoad::Changed, ..QUEUE };
    let mut bench = applied(JSON);
    bench.see(1, 2);
    assert_eq!(bench.bad(2), [faulty(2)]);
    assert_eq!(bench.redefine(cbor.clone()), []);
    assert_eq!(bench.see(1, 2), [decode(3, 2)]);
    assert_eq!(bench.good(3), [started(2, Event::Load, 2)]);
    // What waits was decoded by the old definition.
    bench.see(1, 3);
    assert_eq!(bench.good(4), []);
    let load_never = Policy { run_on_load: RunOnLoad::Never, ..JSON };
    assert_eq!(bench.redefine(load_never.clone()), [decode(5, 3)]);
    assert_eq!(bench.good(5), []);
    assert_eq!(bench.end(2), [started(3, Event::Changed, 3)]);
    // And what is being decoded is not decoded at all.
    bench.end(3);
    assert_eq!(bench.see(1, 4), [decode(6, 4)]);
    assert_eq!(bench.redefine(Policy { decode: None, ..load_never }), [spawn(4, Event::Changed, 1, 4)]);
    assert_eq!(bench.good(6), []);
}

#[test]
fn content_that_nobody_could_decode_is_decoded_again_by_force() {
    let mut bench = applied(JSON);
    bench.see(1, 2);
    let hold_reason = HoldReason::Undecided("was not decoded".into());
    assert_eq!(bench.undecided(2), [Effect::Held { version: version(1, 2), hold_reason }]);
    assert!(bench.watch.answer(WatchCommand::Trigger { force: false }, false).is_err());
    let answer = bench.watch.answer(WatchCommand::Trigger { force: true }, false);
    assert_eq!(answer, Ok(Accepted::RunsOnceDecoded));
    bench.step(Input::Triggered { force: true });
    assert_eq!(bench.see(1, 2), [decode(3, 2)]);
    assert_eq!(bench.good(3), [started(2, Event::Trigger, 2)]);
}

#[test]
fn a_guard_judges_first_and_force_passes_the_guard_only() {
    let guard = Guard { max_data: Some(7), ..Policy::DEFAULT.guard };
    let mut bench = Bench::new(Policy { guard, ..JSON });
    assert!(matches!(bench.see(1, 1)[..], [Effect::Held { hold_reason: HoldReason::TooMuch { .. }, .. }]));
    bench.step(Input::Triggered { force: true });
    assert_eq!(bench.see(1, 1), [decode(1, 1)]);
    assert_eq!(bench.bad(1), [faulty(1)]);
    assert!(bench.watch.answer(WatchCommand::Trigger { force: true }, false).is_err());
}

#[test]
fn a_removed_watch_and_another_node_forget_what_is_being_decoded() {
    let mut bench = applied(JSON);
    bench.see(1, 2);
    assert_eq!(bench.step(Input::Retired), [Effect::Forget]);
    assert_eq!(bench.good(2), [Effect::Forget]);

    let mut bench = applied(JSON);
    bench.see(1, 2);
    assert_eq!(bench.step(Input::Redefined { policy: JSON.into(), same_subject: false }), []);
    assert_eq!(bench.good(2), []);
    assert_eq!(bench.see(7, 1), [decode(3, 1)]);
}

#[test]
fn a_pause_stops_no_decoding() {
    let mut bench = applied(JSON);
    bench.step(Input::Paused(Box::default()));
    assert_eq!(bench.see(1, 2), [decode(2, 2)]);
    assert_eq!(bench.good(2), []);
    assert_eq!(bench.step(Input::Resumed), [started(2, Event::Changed, 2)]);
}
