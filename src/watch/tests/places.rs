//! Tests of a watch whose daemon has no place for another run at the moment.

use super::*;

/// A watch whose questions the test answers itself.
fn crowded(policy: Policy) -> Bench {
    Bench { has_places: false, ..Bench::new(policy) }
}

impl Bench {
    fn place(&mut self) -> Vec<Effect> {
        self.step(Input::MayStart)
    }
}

#[test]
fn a_newer_update_replaces_the_one_that_waits_for_a_place() {
    for policy in [QUEUE, DISCARD] {
        let mut bench = crowded(policy);
        assert_eq!(bench.see(1, 1), [Effect::WantsStart]);
        assert_eq!(bench.watch.deadline(), None, "a tick gives no place");
        assert_eq!(bench.see(1, 2), []);
        assert_eq!(bench.place(), [spawn(1, Event::Load, 1, 2)]);
        assert_eq!(bench.place(), [], "nothing waits");
    }
}

#[test]
fn in_parallel_each_update_needs_a_place() {
    let mut bench = crowded(PARALLEL);
    assert_eq!(bench.see(1, 1), [Effect::WantsStart]);
    assert_eq!(bench.see(1, 2), []);
    assert_eq!(bench.place(), [spawn(1, Event::Load, 1, 1), Effect::WantsStart]);
    assert_eq!(bench.place(), [spawn(2, Event::Changed, 1, 2)]);
}

#[test]
fn the_timeout_counts_from_the_start_and_the_lateness_from_when_the_run_was_due() {
    let mut bench = crowded(Policy { timeout: Some(3 * SECOND), ..QUEUE });
    bench.see(1, 1);
    assert_eq!(bench.watch.waits_for_place_since(), Some(Time::ZERO));
    assert_eq!(bench.at(10), []);
    assert_eq!(bench.place(), [spawn(1, Event::Load, 1, 1)]);
    assert_eq!(bench.watch.waits_for_place_since(), None);
    bench.execute(1);
    assert_eq!((bench.late, bench.watch.deadline()), (10 * SECOND, Some(13 * SECOND)));
}

#[test]
fn a_watch_that_must_not_start_any_more_leaves_its_place_to_others() {
    for (what, input) in [
        ("paused", pause()),
        ("retired", Input::Retired),
        ("stopping", Input::Stopping { grace: SECOND }),
        ("redefined", Input::Redefined { policy: SILENT.into(), same_subject: false }),
    ] {
        let mut bench = crowded(QUEUE);
        assert_eq!(bench.see(1, 1), [Effect::WantsStart]);
        bench.step(input);
        assert_eq!(bench.watch.waits_for_place_since(), None, "{what}");
        assert!(!bench.place().iter().any(|effect| matches!(effect, Effect::Spawn { .. })), "{what}");
    }
}

#[test]
fn a_pause_that_ends_before_the_place_comes_changes_nothing() {
    let mut bench = crowded(QUEUE);
    assert_eq!(bench.see(1, 1), [Effect::WantsStart]);
    bench.step(pause());
    assert_eq!(bench.step(Input::Resumed), [], "one question at a time");
    assert_eq!(bench.place(), [spawn(1, Event::Load, 1, 1)]);
}

#[test]
fn a_debounce_that_begins_anew_is_waited_for_before_the_next_question() {
    let mut bench = crowded(throttled(Throttle { debounce: 3 * SECOND, ..Throttle::default() }));
    assert_eq!(bench.see(1, 1), []);
    assert_eq!(bench.at(3), [Effect::WantsStart]);
    assert_eq!(bench.see(1, 2), []);
    assert_eq!(bench.place(), []);
    assert_eq!(bench.at_deadline(), [Effect::WantsStart]);
    assert_eq!((bench.now, bench.place()), (6 * SECOND, vec![spawn(1, Event::Load, 1, 2)]));
}

#[test]
fn what_waits_for_a_place_runs_after_a_restart() {
    let mut bench = crowded(CHANGED);
    bench.see(1, 1);
    assert_eq!(bench.watch.snapshot().pending, Some(Event::Load));
    let mut next = bench.reborn(CHANGED, None);
    assert_eq!(next.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
}
