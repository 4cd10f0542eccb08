//! Tests of the condition of a watch.

use super::*;

#[test]
fn the_condition_of_a_watch_follows_what_happens_to_it() {
    let mut bench = Bench::new(throttled(Throttle { debounce: SECOND, ..Throttle::default() }));
    assert_eq!(bench.watch.condition(false), Condition::Unknown);
    assert_eq!(bench.watch.condition(true), Condition::Unreadable);
    bench.miss();
    assert_eq!(bench.watch.condition(false), Condition::Absent);
    assert_eq!(bench.watch.condition(true), Condition::Unreadable);
    bench.see(1, 1);
    assert_eq!(bench.watch.condition(false), Condition::Waiting);
    bench.at_deadline();
    assert_eq!(bench.watch.condition(true), Condition::Running);
    bench.end(1);
    assert_eq!(bench.watch.condition(false), Condition::Idle);
    bench.see(1, 2);
    bench.at_deadline();
    bench.fail(2);
    assert_eq!(bench.watch.condition(true), Condition::Failed);
    assert_eq!(bench.watch.failures(), 1);
    bench.see(1, 3);
    assert_eq!(bench.watch.condition(false), Condition::Waiting, "of the new update nothing failed yet");
    assert_eq!(bench.watch.waiting_updates(), 1);
    bench.at_deadline();
    assert_eq!(bench.watch.condition(false), Condition::Running);
    bench.end(3);
    assert_eq!(bench.watch.condition(false), Condition::Idle);
}

#[test]
fn a_watch_that_is_to_try_again_is_retrying_and_one_that_must_not_is_stopped() {
    let mut bench = Bench::new(Policy { on_failure: OnFailure::Stop, ..RETRY });
    bench.see(1, 1);
    starve(&mut bench, 1);
    assert_eq!(bench.watch.condition(false), Condition::Retrying);
    bench.at_deadline();
    for run in 2..4 {
        bench.fail(run);
        assert_eq!(bench.watch.condition(false), Condition::Retrying);
        bench.at_deadline();
        assert_eq!(bench.watch.condition(false), Condition::Running);
    }
    bench.fail(4);
    assert_eq!(bench.watch.condition(true), Condition::Stopped);
    bench.see(1, 2);
    assert_eq!(bench.watch.condition(false), Condition::Stopped, "what waits does not run");
    bench.redefine(QUEUE);
    assert_eq!(bench.watch.condition(false), Condition::Waiting);
}

#[test]
fn what_a_former_daemon_saw_is_not_known_before_the_store_says_so() {
    let policy = Policy { run_on_load: RunOnLoad::Never, ..QUEUE };
    let mut next = settled(policy.clone()).reborn(policy.clone(), None);
    assert_eq!(next.watch.condition(false), Condition::Unknown);
    next.see(1, 1);
    assert_eq!(next.watch.condition(false), Condition::Idle);
    next.step(Input::Retired);
    next.load(policy, next.watch.snapshot(), true);
    assert_eq!(next.watch.condition(false), Condition::Unknown);
    next.step(Input::Redefined { policy: QUEUE.into(), same_subject: false });
    assert_eq!(next.watch.condition(false), Condition::Unknown);
}

#[test]
fn conditions_are_in_the_order_of_their_precedence_and_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = Condition::ALL.map(Condition::as_str).into();
    assert_eq!(names.len(), Condition::ALL.len());
    assert!(Condition::ALL.is_sorted());
}

#[test]
fn what_was_asked_for_is_still_asked_for_with_newer_content() {
    let mut bench = Bench::new(QUEUE);
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    assert_eq!(bench.step(Input::Triggered { force: false }), []);
    assert_eq!(bench.see(1, 1), []);
    assert_eq!(bench.see(1, 2), []);
    assert_eq!(bench.end(1), [spawn(2, Event::Trigger, 1, 2)]);
}

#[test]
fn something_is_awaited_until_the_store_has_said_what_the_node_is() {
    let mut bench = settled(SILENT);
    assert!(bench.watch.awaits_observation());
    bench.see(1, 1);
    assert!(!bench.watch.awaits_observation());
    bench.step(Input::Triggered { force: false });
    assert!(bench.watch.awaits_observation());
    bench.see(1, 1);
    bench.redefine(QUEUE);
    assert!(bench.watch.awaits_observation());
    bench.miss();
    assert!(!bench.watch.awaits_observation());
}
