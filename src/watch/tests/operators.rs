//! Tests of triggers, pauses and kills by operators.

use super::*;

#[test]
fn a_trigger_runs_what_is_there_once_more() {
    let mut bench = settled(SILENT);
    assert_eq!(bench.step(Input::Triggered { force: false }), []);
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Trigger, 1, 1)]);
    assert_eq!(bench.end(1), []);
    assert_eq!(bench.see(1, 1), []);
}

#[test]
fn a_trigger_is_owed_over_a_restart_and_by_no_node_that_is_gone() {
    let mut bench = settled(SILENT);
    assert_eq!(bench.step(Input::Triggered { force: false }), []);
    let mut next = bench.reborn(SILENT, None);
    assert_eq!(next.see(1, 1), [spawn(1, Event::Trigger, 1, 1)]);
    assert_eq!(bench.miss(), [Effect::Deleted]);
    assert_eq!(bench.see(2, 2), [spawn(1, Event::Created, 2, 2)]);
}

#[test]
fn a_trigger_is_not_ignored_by_discard_and_waits_for_the_running_action() {
    let mut bench = Bench::new(DISCARD);
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    assert_eq!(bench.step(Input::Triggered { force: false }), []);
    assert_eq!(bench.see(1, 2), []);
    assert_eq!(bench.end(1), [spawn(2, Event::Trigger, 1, 2)]);
}

#[test]
fn a_trigger_starts_a_watch_again_that_a_failure_stopped_and_runs_once() {
    let mut bench = Bench::new(Policy { on_failure: OnFailure::Stop, ..QUEUE });
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    assert_eq!(bench.see(1, 2), []);
    assert_eq!(bench.fail(1), [Effect::GaveUp { failures: 1, stopped: true }]);
    // The waiting update becomes part of the triggered run.
    assert_eq!(bench.step(Input::Triggered { force: false }), []);
    assert_eq!(bench.see(1, 2), [spawn(2, Event::Trigger, 1, 2)]);
    assert_eq!(bench.end(2), []);
}

#[test]
fn a_trigger_waits_for_no_splay_and_takes_the_place_of_a_retry() {
    let throttle = Throttle { splay: Duration::from_secs(3600), ..Throttle::default() };
    let mut bench = Bench::new(Policy { throttle, ..QUEUE });
    assert_eq!(bench.see(1, 1), []);
    assert_eq!(bench.step(Input::Triggered { force: false }), []);
    // It is still the first run of this definition.
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);

    let retry = Retry { attempts: 5, delay: Duration::from_secs(60), max_delay: Duration::from_secs(60) };
    let mut bench = Bench::new(Policy { retry: Some(retry), ..QUEUE });
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    assert!(matches!(bench.fail(1)[..], [Effect::Retry { .. }]));
    assert_eq!(bench.step(Input::Triggered { force: false }), []);
    assert_eq!(bench.see(1, 1), [spawn(2, Event::Trigger, 1, 1)]);
    assert_eq!(bench.end(2), []);
    assert_eq!(bench.watch.deadline(), None);
}

#[test]
fn a_paused_watch_keeps_observing_and_runs_the_latest_when_it_is_resumed() {
    for policy in [SILENT, Policy { run_on_load: RunOnLoad::Never, ..DISCARD }] {
        let mut bench = settled(policy);
        assert_eq!(bench.step(pause()), []);
        assert_eq!(bench.see(1, 2), []);
        assert_eq!(bench.see(1, 3), []);
        assert_eq!(bench.watch.deadline(), None);
        assert_eq!(bench.step(Input::Resumed), [spawn(1, Event::Changed, 1, 3)]);
        assert_eq!(bench.step(Input::Resumed), []);
    }
}

#[test]
fn a_paused_watch_lets_its_action_end_and_keeps_what_discard_would_ignore() {
    let mut bench = Bench::new(DISCARD);
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    assert_eq!(bench.step(pause()), []);
    assert_eq!(bench.see(1, 2), []);
    assert_eq!(bench.end(1), []);
    assert_eq!(bench.watch.condition(false), Condition::Paused);
    assert_eq!(bench.step(Input::Resumed), [spawn(2, Event::Changed, 1, 2)]);
}

#[test]
fn a_pause_outlives_reloads_and_restarts_and_whatever_waits_with_it() {
    let mut bench = settled(QUEUE);
    assert_eq!(bench.step(pause()), []);
    assert_eq!(bench.redefine(QUEUE), []);
    assert_eq!(bench.see(1, 2), []);
    let mut next = bench.reborn(QUEUE, None);
    assert_eq!(next.see(1, 2), []);
    assert_eq!(next.step(Input::Retired), [Effect::Forget]);
    let snapshot = Snapshot { pause: Some(Box::default()), ..Snapshot::default() };
    assert_eq!(next.load(QUEUE, snapshot, false), []);
    assert_eq!(next.see(1, 2), []);
    assert_eq!(next.step(Input::Resumed), [spawn(1, Event::Load, 1, 2)]);
}

/// A pause of so many seconds that begins now.
fn pause_for(bench: &Bench, seconds: u64) -> Input {
    Input::Paused(Box::new(Pause::new(Some(Duration::from_secs(seconds)), bench.now, calendar(bench.now))))
}

#[test]
fn a_pause_with_a_length_ends_by_itself_and_runs_what_came_meanwhile() {
    let mut bench = settled(SILENT);
    assert_eq!(bench.step(pause_for(&bench, 60)), []);
    assert_eq!(bench.see(1, 2), []);
    assert_eq!(bench.watch.deadline(), Some(60 * SECOND));
    assert_eq!(bench.at(59), []);
    assert_eq!(bench.at_deadline(), [Effect::PauseOver, spawn(1, Event::Changed, 1, 2)]);
    assert_eq!((bench.watch.pause(), bench.watch.deadline()), (None, None));
}

#[test]
fn a_pause_replaces_the_one_before_with_its_end() {
    let mut bench = settled(SILENT);
    bench.step(pause_for(&bench, 60));
    bench.now = 30 * SECOND;
    bench.step(pause_for(&bench, 60));
    assert_eq!(bench.watch.deadline(), Some(90 * SECOND));
    bench.step(pause());
    assert_eq!(bench.watch.deadline(), None);
    bench.step(pause_for(&bench, 60));
    assert_eq!(bench.step(Input::Resumed), []);
    assert_eq!(bench.at(1000), []);
}

#[test]
fn a_pause_ends_after_a_restart_at_the_time_that_was_asked_for() {
    // The calendar went on by this much between the two daemons; a negative number sets it back.
    for (gone, left) in [(0, 60), (20, 40), (60, 0), (1000, 0), (-500, 60)] {
        let mut bench = settled(SILENT);
        bench.step(pause_for(&bench, 60));
        bench.see(1, 2);
        let begun = calendar(Time::ZERO);
        let wall = match u64::try_from(gone) {
            Ok(gone) => begun + Duration::from_secs(gone),
            Err(_) => begun - Duration::from_secs(500),
        };
        let record = Record { snapshot: bench.watch.snapshot(), same_subject: true, same_definition: true };
        let mut next = Bench::of(Watch::unloaded());
        next.now = 7 * SECOND;
        let recovery = Recovery { record: Some(record), ..Recovery::default() };
        let mut effects = next.load(SILENT, recovery.snapshot(next.now, wall), true);
        if left > 0 {
            assert_eq!((effects.len(), next.see(1, 2)), (0, vec![]), "{gone}");
            assert_eq!(next.watch.deadline(), Some(next.now + Duration::from_secs(left)), "{gone}");
            next.now += Duration::from_secs(left);
        }
        effects.extend(next.see(1, 2));
        assert_eq!(effects, [Effect::PauseOver, spawn(1, Event::Changed, 1, 2)], "{gone}");
    }
}

#[test]
fn a_pause_waits_for_a_removed_watch_and_for_the_next_daemon() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    bench.step(pause_for(&bench, 60));
    assert_eq!(bench.step(Input::Retired), []);
    assert_eq!((bench.watch.deadline(), bench.at(70)), (None, vec![]));
    // The record has the same pause.
    let snapshot = Snapshot { pause: bench.watch.snapshot().pause, ..Snapshot::default() };
    assert_eq!(bench.load(QUEUE, snapshot, false), [Effect::PauseOver]);

    let mut bench = Bench::new(QUEUE);
    bench.step(pause_for(&bench, 60));
    bench.step(Input::Stopping { grace: SECOND });
    assert_eq!(bench.at(70), []);
    assert!(bench.watch.snapshot().pause.is_some());
}

#[test]
fn a_paused_watch_notifies_of_nothing_until_it_is_resumed() {
    let mut bench = Bench::new(Policy { notify_signal: Some(1), ..QUEUE });
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    assert_eq!(bench.step(pause()), []);
    assert_eq!(bench.see(1, 2), []);
    assert_eq!(bench.step(Input::Resumed), [Effect::Notify { run: RunId(1), signal: 1 }]);
}

#[test]
fn a_kill_ends_every_run_as_a_timeout_would() {
    let mut bench = Bench::new(PARALLEL);
    bench.see(1, 1);
    bench.see(1, 2);
    let terminate = |run| Effect::Terminate { run: RunId(run), reason: Reason::Kill };
    assert_eq!(bench.step(Input::Killed), [terminate(1), terminate(2)]);
    assert_eq!(bench.step(Input::Killed), []);
    assert_eq!(bench.fail(1), []);
    assert_eq!(bench.at(5), [Effect::Kill { run: RunId(2) }]);
    assert_eq!(bench.fail(2), []);
    assert_eq!(bench.watch.live_runs(), 0);
}

#[test]
fn the_end_of_a_pause_notifies_the_running_action_of_what_came_meanwhile() {
    let mut bench = Bench::new(Policy { notify_signal: Some(1), ..QUEUE });
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    bench.step(pause_for(&bench, 60));
    assert_eq!(bench.see(1, 2), []);
    let notify = Effect::Notify { run: RunId(1), signal: 1 };
    assert_eq!(bench.at_deadline(), [Effect::PauseOver, notify]);
}
