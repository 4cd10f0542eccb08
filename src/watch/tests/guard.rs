//! Tests of what a guard holds, and for how long.

use super::*;
use crate::model::{Guard, Share};

const FREE: Guard = Policy::DEFAULT.guard;

/// The node does not exist yet, so the event of the first run is not `load`.
const BEFORE: Snapshot = Snapshot {
    seen: Some(Seen::Absent),
    pending: None,
    applied: None,
    discarded: None,
    held: None,
    admitted: None,
    applied_size: None,
    failures: 0,
    stopped: false,
    pause: None,
};

fn half() -> Guard {
    Guard { max_shrink: Share::of_percent(50.0), ..FREE }
}

fn not_empty() -> Guard {
    Guard { not_empty: true, ..FREE }
}

fn guarded(guard: Guard) -> Policy {
    Policy { run_on_load: RunOnLoad::Never, guard, ..QUEUE }
}

fn sized(revision: i64, size: usize) -> State {
    State::Present {
        version: version(1, revision),
        origin: Default::default(),
        content: Content::Data(vec![0; size].into()),
    }
}

fn held(revision: i64, hold_reason: HoldReason) -> Effect {
    Effect::Held { version: version(1, revision), hold_reason }
}

fn empty(revision: i64) -> Effect {
    held(revision, HoldReason::Empty)
}

fn shrunk(revision: i64, size: u64, applied_size: u64) -> Effect {
    held(revision, HoldReason::Shrunk { size, applied_size, limit: Share::of_percent(50.0).unwrap() })
}

/// Returns the run, the event and the revision of the spawn that is the only effect.
fn ran(effects: &[Effect]) -> (u64, Event, i64) {
    match effects {
        [Effect::Spawn { run, update, .. }] => (run.0, update.event, update.version.revision),
        other => panic!("{other:?}"),
    }
}

impl Bench {
    fn sized(&mut self, revision: i64, size: usize) -> Vec<Effect> {
        self.step(Input::Observed(sized(revision, size)))
    }

    fn trigger(&mut self, force: bool) -> Vec<Effect> {
        self.step(Input::Triggered { force })
    }

    fn condition(&self) -> Condition {
        self.watch.condition(false)
    }

    fn held(&self) -> Option<i64> {
        self.watch.held().map(|held| held.version.revision)
    }

    /// Makes a watch that has run with revision 1 of this size.
    fn after(policy: Policy, size: usize) -> Self {
        let mut bench = Self::of(Watch::new(policy.into(), BEFORE));
        ran(&bench.sized(1, size));
        assert_eq!(bench.end(1), []);
        assert_eq!(bench.condition(), Condition::Idle);
        bench
    }
}

#[test]
fn a_held_update_is_said_once_and_a_good_one_takes_its_place() {
    let mut bench = Bench::after(guarded(half()), 100);
    assert_eq!(bench.sized(2, 49), [shrunk(2, 49, 100)]);
    assert_eq!((bench.held(), bench.condition()), (Some(2), Condition::Held));
    assert_eq!(bench.sized(2, 49), [], "a resync");
    assert_eq!(bench.sized(3, 48), [shrunk(3, 48, 100)], "another one is another one");
    assert_eq!(bench.held(), Some(3));
    assert_eq!(ran(&bench.sized(4, 50)), (2, Event::Changed, 4));
    assert_eq!(bench.held(), None);
    assert_eq!(bench.end(2), []);
    // The next one is compared with the content that ran.
    assert_eq!(bench.sized(5, 24), [shrunk(5, 24, 50)]);
}

#[test]
fn without_anything_to_compare_with_nothing_has_shrunk() {
    let mut bench = Bench::of(Watch::new(guarded(half()).into(), BEFORE));
    assert_eq!(ran(&bench.sized(1, 100)), (1, Event::Created, 1));
    assert_eq!(bench.fail(1), []);
    assert_eq!(ran(&bench.sized(2, 1)), (2, Event::Changed, 2), "it succeeded with nothing yet");
}

#[test]
fn a_load_is_judged_and_stays_the_load_with_what_comes_later() {
    let mut bench = Bench::new(Policy { guard: not_empty(), ..QUEUE });
    assert_eq!(bench.sized(1, 0), [empty(1)]);
    assert_eq!(ran(&bench.sized(2, 1)), (1, Event::Load, 2));
}

#[test]
fn what_is_created_anew_is_judged_and_what_is_gone_is_held_no_more() {
    let mut bench = Bench::after(guarded(not_empty()), 1);
    assert_eq!(bench.sized(2, 0), [empty(2)]);
    assert_eq!(bench.miss(), [Effect::Deleted]);
    assert_eq!((bench.held(), bench.condition()), (None, Condition::Deleted));
    assert_eq!(bench.sized(3, 0), [empty(3)]);
    assert_eq!(bench.condition(), Condition::Held);
}

// "running the older good one that waits is legitimate: it was good when it came"
#[test]
fn what_waits_runs_all_the_same_and_what_is_held_stays() {
    for policy in
        [guarded(half()), Policy { run_mode: RunMode::Parallel, max_parallel: 1, ..guarded(half()) }]
    {
        let mut bench = Bench::after(policy, 100);
        ran(&bench.sized(2, 100));
        assert_eq!(bench.sized(3, 90), []);
        assert_eq!(bench.sized(4, 1), [shrunk(4, 1, 100)]);
        assert_eq!(bench.condition(), Condition::Running);
        assert_eq!(ran(&bench.end(2)), (3, Event::Changed, 3));
        assert_eq!(bench.end(3), []);
        assert_eq!((bench.held(), bench.condition()), (Some(4), Condition::Held));
    }
}

#[test]
fn in_parallel_a_held_update_keeps_none_from_running() {
    let mut bench = Bench::after(Policy { run_mode: RunMode::Parallel, ..guarded(not_empty()) }, 1);
    assert_eq!(ran(&bench.sized(2, 1)), (2, Event::Changed, 2));
    assert_eq!(bench.sized(3, 0), [empty(3)]);
    assert_eq!(ran(&bench.sized(4, 1)), (3, Event::Changed, 4));
    assert_eq!(bench.held(), None);
}

#[test]
fn a_held_update_notifies_nobody() {
    let mut bench = Bench::after(Policy { notify_signal: Some(10), ..guarded(not_empty()) }, 1);
    ran(&bench.sized(2, 1));
    assert_eq!(bench.sized(3, 0), [empty(3)]);
    assert_eq!(bench.sized(4, 1), [Effect::Notify { run: RunId(2), signal: 10 }]);
}

#[test]
fn what_was_let_through_is_tried_again_unjudged_whatever_is_held_since() {
    let retry = Retry { attempts: 5, delay: Duration::from_secs(1), max_delay: Duration::from_secs(1) };
    let mut bench = Bench::after(Policy { retry: Some(retry), ..guarded(half()) }, 100);
    ran(&bench.sized(2, 60));
    assert_eq!(bench.sized(3, 0), [shrunk(3, 0, 100)]);
    assert!(matches!(bench.fail(2)[..], [Effect::Retry { .. }]), "it is the newest that may run");
    assert_eq!(bench.condition(), Condition::Retrying);
    assert_eq!(ran(&bench.at_deadline()), (3, Event::Changed, 2));
}

#[test]
fn force_runs_what_is_held_and_that_is_what_the_next_one_is_compared_with() {
    let mut bench = Bench::after(guarded(half()), 100);
    assert_eq!(bench.sized(2, 10), [shrunk(2, 10, 100)]);
    assert_eq!(bench.trigger(true), []);
    assert_eq!(bench.condition(), Condition::Held, "until the store has said that it is still there");
    assert_eq!(ran(&bench.sized(2, 10)), (2, Event::Trigger, 2));
    assert_eq!(bench.held(), None);
    assert_eq!(bench.end(2), []);
    let Snapshot { applied, applied_size, .. } = bench.watch.snapshot();
    assert_eq!((applied, applied_size), (Some(version(1, 2)), Some(10)));
    assert_eq!(ran(&bench.sized(3, 5)), (3, Event::Changed, 3));
}

// "force only covers this content"
#[test]
fn force_is_for_nothing_that_comes_later() {
    let mut bench = Bench::after(guarded(half()), 100);
    assert_eq!(bench.sized(2, 10), [shrunk(2, 10, 100)]);
    assert_eq!(bench.trigger(true), []);
    assert_eq!(bench.sized(3, 9), [shrunk(3, 9, 100)]);
    assert_eq!(bench.sized(4, 8), [shrunk(4, 8, 100)]);
    assert_eq!(bench.trigger(true), []);
    assert_eq!(bench.miss(), [Effect::Deleted]);
    assert_eq!(bench.sized(5, 7), [shrunk(5, 7, 100)]);
}

#[test]
fn without_anything_held_force_is_no_more_than_a_trigger() {
    let mut bench = Bench::after(guarded(half()), 100);
    assert_eq!(bench.trigger(true), []);
    assert_eq!(bench.sized(2, 10), [shrunk(2, 10, 100)]);
    let mut bench = Bench::after(guarded(half()), 100);
    assert_eq!(bench.trigger(true), []);
    assert_eq!(ran(&bench.sized(1, 100)), (2, Event::Trigger, 1));
}

#[test]
fn a_trigger_without_force_runs_nothing_that_is_held_nor_what_comes_just_then() {
    let mut bench = Bench::after(guarded(not_empty()), 1);
    assert_eq!(bench.trigger(false), []);
    assert_eq!(bench.sized(2, 0), [empty(2)]);
    assert_eq!(bench.trigger(false), []);
    assert_eq!(bench.sized(2, 0), []);
    assert_eq!(bench.condition(), Condition::Held);
}

#[test]
fn a_changed_definition_judges_anew_what_waits() {
    let mut bench = Bench::after(guarded(FREE), 100);
    ran(&bench.sized(2, 100));
    bench.sized(3, 10);
    assert_eq!(bench.redefine(guarded(half())), []);
    assert_eq!(bench.sized(3, 10), [shrunk(3, 10, 100)]);
    assert_eq!(bench.end(2), []);
    assert_eq!(bench.condition(), Condition::Held);

    let mut bench = Bench::after(guarded(FREE), 100);
    ran(&bench.sized(2, 1000));
    bench.sized(3, 60);
    assert_eq!(bench.redefine(guarded(half())), []);
    // An update that passed is not judged again when the older run has ended.
    assert_eq!(ran(&bench.end(2)), (3, Event::Changed, 3));
    assert_eq!(bench.sized(3, 60), []);
}

#[test]
fn what_could_not_be_started_is_judged_anew_by_another_definition() {
    let starved = |run| Input::Ended { run: RunId(run), end: RunResult::Starved };
    let mut bench = Bench::after(guarded(FREE), 100);
    ran(&bench.sized(2, 10));
    bench.redefine(guarded(half()));
    assert_eq!(bench.sized(2, 10), [], "it runs");
    assert_eq!(bench.step(starved(2)), [shrunk(2, 10, 100)]);
    assert_eq!(bench.watch.deadline(), None);

    let mut bench = Bench::after(guarded(FREE), 100);
    ran(&bench.sized(2, 10));
    bench.redefine(Policy { run_on_load: RunOnLoad::Always, ..guarded(half()) });
    assert_eq!(bench.sized(2, 10), [shrunk(2, 10, 100)]);
    assert_eq!(bench.step(starved(2)), [], "it was said");
    assert_eq!((bench.watch.deadline(), bench.condition()), (None, Condition::Held));
}

#[test]
fn what_was_forced_can_be_triggered_again_also_when_it_failed() {
    for end in [RunResult::Succeeded, RunResult::Failed] {
        let mut bench = Bench::after(guarded(not_empty()), 1);
        bench.sized(2, 0);
        bench.trigger(true);
        ran(&bench.sized(2, 0));
        assert_eq!(bench.trigger(false), []);
        assert_eq!(bench.sized(2, 0), []);
        let again = bench.step(Input::Ended { run: RunId(2), end });
        assert_eq!(ran(&again), (3, Event::Trigger, 2));
    }
}

#[test]
fn force_starts_a_watch_again_that_a_failure_stopped() {
    let mut bench = Bench::after(Policy { on_failure: OnFailure::Stop, ..guarded(not_empty()) }, 1);
    ran(&bench.sized(2, 1));
    assert_eq!(bench.fail(2), [Effect::GaveUp { failures: 1, stopped: true }]);
    assert_eq!(bench.sized(3, 0), [empty(3)]);
    assert_eq!(bench.condition(), Condition::Stopped);
    bench.trigger(true);
    assert_eq!(ran(&bench.sized(3, 0)), (3, Event::Trigger, 3));
}

#[test]
fn discard_ignores_what_comes_meanwhile_suspicious_or_not() {
    let mut bench = Bench::after(Policy { run_mode: RunMode::Discard, ..guarded(not_empty()) }, 1);
    ran(&bench.sized(2, 1));
    assert_eq!(bench.sized(3, 0), [Effect::Discarded { version: version(1, 3) }]);
    assert_eq!(bench.end(2), []);
    assert_eq!(bench.condition(), Condition::Idle);
    // A trigger is judged even if DISCARD ignored the same content.
    bench.trigger(false);
    assert_eq!(bench.sized(3, 0), [empty(3)]);
    assert_eq!(bench.sized(4, 0), [empty(4)]);
    assert_eq!(ran(&bench.sized(5, 1)).2, 5);
    assert_eq!(bench.sized(6, 0), [Effect::Discarded { version: version(1, 6) }]);
    assert_eq!(bench.held(), None);
}

#[test]
fn a_paused_watch_holds_as_well() {
    let mut bench = Bench::after(guarded(not_empty()), 1);
    bench.step(pause());
    assert_eq!(bench.sized(2, 0), [empty(2)]);
    assert_eq!(bench.condition(), Condition::Paused);
    assert_eq!(bench.step(Input::Resumed), []);
    assert_eq!(bench.condition(), Condition::Held);
}

#[test]
fn a_changed_definition_judges_anew_by_what_the_old_one_succeeded_with() {
    for run_on_load in [RunOnLoad::Never, RunOnLoad::Always, RunOnLoad::Changed] {
        let mut bench = Bench::after(guarded(half()), 100);
        assert_eq!(bench.sized(2, 10), [shrunk(2, 10, 100)]);
        assert_eq!(bench.redefine(Policy { run_on_load, timeout: Some(KILL_AFTER), ..guarded(half()) }), []);
        assert_eq!(bench.sized(2, 10), [shrunk(2, 10, 100)]);
        assert_eq!(bench.redefine(Policy { run_on_load, ..guarded(FREE) }), []);
        assert_eq!(bench.held(), None);
        assert_eq!(ran(&bench.sized(2, 10)).2, 2, "{run_on_load:?}");
    }
}

#[test]
fn another_definition_s_success_is_compared_with_too_and_another_node_s_is_not() {
    let mut bench = Bench::of(Watch::new(guarded(FREE).into(), BEFORE));
    ran(&bench.sized(1, 100));
    bench.redefine(guarded(half()));
    assert_eq!(bench.sized(1, 100), []);
    assert_eq!(bench.end(1), [], "it ends when it is an older definition's");
    assert_eq!(bench.sized(2, 10), [shrunk(2, 10, 100)]);
    bench.step(Input::Redefined { policy: guarded(half()).into(), same_subject: false });
    assert_eq!(bench.held(), None);
    assert_eq!(bench.sized(3, 10), [], "another node's first state");
    assert_eq!(ran(&bench.sized(4, 1)).2, 4);
}

// "nothing held is forgotten over restart (the next daemon holds it again, and says so again once)"
#[test]
fn a_restart_forgets_nothing_that_is_held_and_says_it_once() {
    for run_on_load in [RunOnLoad::Never, RunOnLoad::Always, RunOnLoad::Changed] {
        let policy = Policy { run_on_load, ..guarded(half()) };
        let mut bench = Bench::after(policy.clone(), 100);
        assert_eq!(bench.sized(2, 10), [shrunk(2, 10, 100)]);
        let mut next = bench.reborn(policy.clone(), None);
        assert_eq!(next.condition(), Condition::Held);
        assert_eq!(next.sized(2, 10), [shrunk(2, 10, 100)]);
        assert_eq!(next.sized(2, 10), []);
        assert_eq!(next.condition(), Condition::Held);
        let mut good = bench.reborn(policy, None);
        assert_eq!(ran(&good.sized(3, 60)).2, 3);
    }
}

#[test]
fn what_was_held_by_an_older_success_stays_held_over_a_restart() {
    let mut bench = Bench::after(guarded(half()), 100);
    ran(&bench.sized(2, 60));
    assert_eq!(bench.sized(3, 40), [shrunk(3, 40, 100)]);
    // Compared with the new content, it shrank only by a third.
    assert_eq!(bench.end(2), []);
    assert_eq!(bench.held(), Some(3));
    let mut next = bench.reborn(guarded(half()), None);
    assert_eq!(next.sized(3, 40), [held(3, HoldReason::HeldBefore)]);
    next.trigger(true);
    assert_eq!(ran(&next.sized(3, 40)), (1, Event::Trigger, 3));
}

// "What was let through runs, is tried again ... without being judged again, also by the next daemon"
#[test]
fn what_was_forced_is_not_held_by_the_next_daemon_whatever_came_of_it() {
    let retry = Retry { attempts: 1, delay: Duration::from_secs(60), max_delay: Duration::from_secs(60) };
    for (run_on_load, event) in [
        (RunOnLoad::Never, Event::Trigger),
        (RunOnLoad::Always, Event::Load),
        (RunOnLoad::Changed, Event::Load),
    ] {
        let policy = Policy { run_on_load, retry: Some(retry), ..guarded(not_empty()) };
        let mut bench = Bench::after(policy.clone(), 1);
        assert_eq!(bench.sized(2, 0), [empty(2)]);
        bench.trigger(true);
        let runs_next = |bench: &Bench| {
            let mut next = bench.reborn(policy.clone(), None);
            assert_eq!(ran(&next.sized(2, 0)), (1, event, 2), "{run_on_load:?}");
            // Another revision is judged by itself.
            assert_eq!(next.sized(3, 0), [empty(3)]);
            let mut late = bench.reborn(policy.clone(), None);
            assert_eq!(late.sized(3, 0), [empty(3)]);
        };
        // The daemon ends in turn: before the store reports the content, while it runs, after the daemon died
        // during the run, after an interruption, and while the content waits for a retry.
        runs_next(&bench);
        ran(&bench.sized(2, 0));
        runs_next(&bench);
        let mut stopping = bench.reborn(policy.clone(), None);
        ran(&stopping.sized(2, 0));
        assert_eq!(stopping.interrupt(1), []);
        runs_next(&stopping);
        assert!(matches!(bench.fail(2)[..], [Effect::Retry { .. }]));
        runs_next(&bench);
        assert_eq!(ran(&bench.at_deadline()).2, 2);
        assert_eq!(bench.end(3), []);
        let mut next = bench.reborn(policy.clone(), None);
        let again = next.sized(2, 0);
        match run_on_load {
            RunOnLoad::Always => assert_eq!(ran(&again), (1, Event::Load, 2)),
            RunOnLoad::Never | RunOnLoad::Changed => assert_eq!(again, [], "it is done"),
        }
    }
}

// In PARALLEL there are two runs of an older definition. The success of one makes the content of the other
// look shrunk.
#[test]
fn what_the_present_definition_let_through_is_not_held_when_an_older_run_of_it_starves() {
    let policy = |run_on_load| Policy { run_mode: RunMode::Parallel, run_on_load, ..guarded(half()) };
    let mut bench = Bench::after(policy(RunOnLoad::Never), 50);
    ran(&bench.sized(2, 100));
    ran(&bench.sized(3, 40));
    bench.redefine(policy(RunOnLoad::Always));
    assert_eq!(bench.sized(3, 40), [], "it waits");
    assert_eq!(bench.end(2), []);
    let effects = bench.step(Input::Ended { run: RunId(3), end: RunResult::Starved });
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Held { .. })), "{effects:?}");
    assert_eq!(bench.held(), None);
}

#[test]
fn a_restart_with_another_definition_judges_anew_and_one_with_another_node_knows_nothing() {
    let mut bench = Bench::after(guarded(half()), 100);
    assert_eq!(bench.sized(2, 10), [shrunk(2, 10, 100)]);
    let next = |policy, same_subject| {
        let snapshot = bench.watch.snapshot();
        let record = Some(Record { snapshot, same_subject, same_definition: false });
        let mut next = Bench::of(Watch::unloaded());
        let snapshot = recovered(Recovery { record, ..Recovery::default() });
        assert_eq!(next.load(policy, snapshot, false), []);
        next
    };
    assert_eq!(ran(&next(guarded(FREE), true).sized(2, 10)), (1, Event::Changed, 2));
    assert_eq!(next(guarded(half()), true).sized(2, 10), [shrunk(2, 10, 100)]);
    let load = Policy { run_on_load: RunOnLoad::Always, ..guarded(half()) };
    assert_eq!(ran(&next(load, false).sized(2, 10)), (1, Event::Load, 2));
}

#[test]
fn a_restart_with_another_definition_judges_anew_what_was_forced_before() {
    let mut bench = Bench::after(guarded(half()), 100);
    bench.sized(2, 10);
    bench.trigger(true);
    ran(&bench.sized(2, 10));
    let record = Record { snapshot: bench.watch.snapshot(), same_subject: true, same_definition: false };
    let mut next = Bench::of(Watch::unloaded());
    next.load(guarded(half()), recovered(Recovery { record: Some(record), ..Recovery::default() }), false);
    assert_eq!(next.sized(2, 10), [shrunk(2, 10, 100)]);
}

#[test]
fn a_watch_that_comes_back_knows_what_it_succeeded_with_and_holds_nothing_any_more() {
    let mut bench = Bench::after(guarded(half()), 100);
    bench.sized(2, 10);
    bench.step(Input::Retired);
    let snapshot = Snapshot { applied_size: Some(100), ..Snapshot::default() };
    bench.load(Policy { run_on_load: RunOnLoad::Always, ..guarded(half()) }, snapshot, false);
    assert_eq!(bench.held(), None);
    assert_eq!(bench.sized(2, 10), [shrunk(2, 10, 100)]);
}
