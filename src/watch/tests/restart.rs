//! Tests of what the next daemon knows and does.

use super::*;

#[test]
fn a_change_made_while_no_daemon_ran_runs_also_without_run_on_load() {
    let mut next = settled(SILENT).reborn(SILENT, None);
    assert_eq!(next.see(1, 2), [spawn(1, Event::Changed, 1, 2)]);
    let mut next = settled(SILENT).reborn(SILENT, None);
    assert_eq!(next.see(2, 2), [spawn(1, Event::Created, 2, 2)]);
}

#[test]
fn a_restart_on_what_is_there_runs_nothing_unless_asked_to() {
    for (policy, expected) in
        [(SILENT, vec![]), (CHANGED, vec![]), (QUEUE, vec![spawn(1, Event::Load, 1, 1)])]
    {
        let mut next = settled(policy.clone()).reborn(policy, None);
        assert_eq!(next.see(1, 1), expected);
    }
}

#[test]
fn run_on_load_changed_runs_what_is_not_known_as_applied() {
    // Nothing is known of the watch.
    assert_eq!(Bench::new(CHANGED).see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    // The run failed.
    let mut failed = Bench::new(CHANGED);
    failed.see(1, 1);
    failed.fail(1);
    assert_eq!(failed.reborn(CHANGED, None).see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    // Another revision was applied.
    assert_eq!(settled(CHANGED).reborn(CHANGED, None).see(1, 2), [spawn(1, Event::Load, 1, 2)]);
    // The definition changes while the daemon runs, or before it starts.
    assert_eq!(settled(CHANGED).redefine(CHANGED), []);
    let mut redefined = settled(CHANGED);
    redefined.redefine(CHANGED);
    assert_eq!(redefined.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    let mut next = Bench::new(CHANGED);
    next.load(CHANGED, settled(CHANGED).watch.snapshot().redefined(), true);
    assert_eq!(next.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
}

#[test]
fn in_doubt_a_new_daemon_owes_a_run() {
    let snapshot = settled(SILENT).watch.snapshot();
    let record =
        |same_subject, same_definition| Record { snapshot: snapshot.clone(), same_subject, same_definition };
    let past = |record, interrupted, record_lost| recovered(Recovery { record, interrupted, record_lost });
    let nothing = Snapshot::default();
    let owes = |event, snapshot: &Snapshot| Snapshot { pending: Some(event), ..snapshot.clone() };
    assert_eq!(past(Some(record(true, true)), None, false), snapshot);
    assert_eq!(past(Some(record(true, false)), None, false), snapshot.clone().redefined());
    assert_eq!(past(Some(record(false, true)), None, false), nothing);
    assert_eq!(past(None, None, false), nothing);
    // The daemon may have died before it recorded its last run.
    let interrupted = Some(Event::Created);
    assert_eq!(past(Some(record(true, true)), interrupted, false), owes(Event::Created, &snapshot));
    assert_eq!(past(None, interrupted, false), owes(Event::Created, &nothing));
    // A ledger may have been lost.
    assert_eq!(past(None, None, true), owes(Event::Load, &nothing));
    assert_eq!(past(Some(record(true, true)), None, true), snapshot);
    assert_eq!(past(Some(record(false, true)), None, true), owes(Event::Load, &nothing));
    let unseen = Record { snapshot: nothing.clone(), same_subject: true, same_definition: true };
    assert_eq!(past(Some(unseen), None, true), owes(Event::Load, &nothing));
}

#[test]
fn what_was_running_or_waiting_is_owed_by_the_next_daemon() {
    let mut running = settled(SILENT);
    running.see(1, 2);
    assert_eq!(running.reborn(SILENT, None).see(1, 2), [spawn(1, Event::Changed, 1, 2)]);

    let mut waiting = settled(Policy {
        throttle: Throttle { debounce: Duration::from_secs(9), ..Throttle::default() },
        ..SILENT
    });
    assert_eq!(waiting.see(1, 2), []);
    assert_eq!(waiting.reborn(SILENT, None).see(1, 2), [spawn(1, Event::Changed, 1, 2)]);

    // It runs once, and not for every observation.
    let mut next = waiting.reborn(SILENT, None);
    next.see(1, 2);
    next.end(1);
    assert_eq!(next.see(1, 2), []);
}

#[test]
fn a_stop_leaves_what_it_interrupted_and_nothing_that_ended_by_itself() {
    let stopped = |end: RunResult| {
        let mut bench = settled(SILENT);
        bench.see(1, 2);
        bench.step(Input::Stopping { grace: Duration::from_secs(10) });
        bench.step(Input::Ended { run: RunId(1), end });
        bench.reborn(SILENT, None)
    };
    assert_eq!(stopped(RunResult::Interrupted).see(1, 2), [spawn(1, Event::Changed, 1, 2)]);
    assert_eq!(stopped(RunResult::Starved).see(1, 2), [spawn(1, Event::Changed, 1, 2)]);
    assert_eq!(stopped(RunResult::Succeeded).see(1, 2), []);
    assert_eq!(stopped(RunResult::Failed).see(1, 2), []);
}

#[test]
fn what_waited_when_the_daemon_stopped_is_owed() {
    let mut bench = settled(SILENT);
    bench.see(1, 2);
    bench.see(1, 3);
    bench.step(Input::Stopping { grace: Duration::ZERO });
    assert_eq!(bench.end(1), []);
    assert_eq!(bench.reborn(SILENT, None).see(1, 3), [spawn(1, Event::Changed, 1, 3)]);
}

#[test]
fn an_orphan_is_waited_for_and_followed_by_the_latest_content() {
    for policy in [SILENT, Policy { run_mode: RunMode::Discard, ..SILENT }, CHANGED, QUEUE] {
        let mut bench = settled(policy.clone());
        bench.see(1, 2);
        let mut next = bench.reborn(policy, Some(None));
        assert_eq!(next.see(1, 2), []);
        assert_eq!(next.see(1, 3), []);
        let effects = next.interrupt(1);
        let [Effect::Spawn { update, .. }] = effects.as_slice() else { panic!("{effects:?}") };
        assert_eq!(update.version, version(1, 3));
    }
}

#[test]
fn an_orphan_of_parallel_is_not_waited_for_but_takes_its_place() {
    let policy = Policy { max_parallel: 2, run_on_load: RunOnLoad::Never, ..PARALLEL };
    let mut bench = settled(policy.clone());
    bench.see(1, 2);
    let mut next = bench.reborn(policy, Some(None));
    assert_eq!(next.see(1, 2), [spawn(2, Event::Changed, 1, 2)]);
    assert_eq!(next.see(1, 3), []);
    assert_eq!(next.interrupt(1), [spawn(3, Event::Changed, 1, 3)]);
}

#[test]
fn an_orphan_has_its_timeout() {
    let mut bench = settled(SILENT);
    bench.see(1, 2);
    let mut next = bench.reborn(SILENT, Some(Some(Time::from_secs(3))));
    next.see(1, 2);
    assert_eq!(next.at_deadline(), [Effect::Terminate { run: RunId(1), reason: Reason::Timeout }]);
    assert_eq!(next.at_deadline(), [Effect::Kill { run: RunId(1) }]);
    assert_eq!(next.interrupt(1), [spawn(2, Event::Changed, 1, 2)]);
}

#[test]
fn an_orphan_of_a_watch_that_is_gone_is_timed_out_and_forgotten() {
    let mut bench = Bench::of(Watch::unloaded());
    bench.watch.adopt(Some(Time::from_secs(3)), &mut bench.generator);
    assert_eq!(bench.at_deadline(), [Effect::Terminate { run: RunId(1), reason: Reason::Timeout }]);
    assert_eq!(bench.interrupt(1), [Effect::Forget]);
}

#[test]
fn an_orphan_of_another_definition_is_waited_for_also_in_parallel() {
    let mut bench = Bench::of(Watch::unloaded());
    bench.watch.adopt(None, &mut bench.generator);
    bench.load(PARALLEL, Snapshot::default(), false);
    assert_eq!(bench.see(1, 1), []);
    assert_eq!(bench.interrupt(1), [spawn(2, Event::Load, 1, 1)]);
}

#[test]
fn what_discard_ignored_does_not_come_back() {
    for run_on_load in [RunOnLoad::Never, RunOnLoad::Changed] {
        let policy = Policy { run_on_load, ..DISCARD };
        let mut bench = settled(policy.clone());
        bench.see(1, 2);
        assert_eq!(bench.see(1, 3), [Effect::Discarded { version: version(1, 3) }]);
        bench.end(1);
        assert_eq!(bench.reborn(policy, None).see(1, 3), []);
    }
}

#[test]
fn discard_ignores_nothing_for_an_action_of_another_definition() {
    let silent = Policy { run_on_load: RunOnLoad::Never, ..DISCARD };
    let mut bench = settled(silent.clone());
    bench.see(1, 2);
    bench.step(Input::Redefined { policy: silent.into(), same_subject: false });
    assert_eq!(bench.see(7, 1), []);
    assert_eq!(bench.see(7, 2), []);
    assert_eq!(bench.end(1), [spawn(2, Event::Changed, 7, 2)]);
}

#[test]
fn a_watch_that_was_stopped_by_a_failure_stays_so() {
    let stop = Policy { on_failure: OnFailure::Stop, ..QUEUE };
    let mut bench = Bench::new(stop.clone());
    bench.see(1, 1);
    bench.fail(1);
    let mut next = bench.reborn(stop.clone(), None);
    assert_eq!(next.see(1, 2), []);
    next.redefine(stop);
    assert_eq!(next.see(1, 2), [spawn(1, Event::Load, 1, 2)]);
}

#[test]
fn the_newest_success_of_parallel_is_what_counts_as_applied() {
    let mut bench = Bench::new(PARALLEL);
    bench.see(1, 1);
    bench.see(1, 2);
    bench.end(2);
    bench.end(1);
    assert_eq!(bench.watch.snapshot().applied, Some(version(1, 2)));
}

#[test]
fn failures_in_a_row_are_counted_until_a_success() {
    let mut bench = Bench::new(QUEUE);
    for revision in 1..=2 {
        bench.see(1, revision);
        bench.fail(revision as u64);
        assert_eq!(i64::from(bench.watch.snapshot().failures), revision);
    }
    bench.see(1, 3);
    bench.end(3);
    assert_eq!(bench.watch.snapshot().failures, 0);
}

#[test]
fn an_update_that_could_not_be_started_outlives_a_change_of_the_definition() {
    let mut bench = settled(SILENT);
    bench.see(1, 2);
    bench.redefine(SILENT);
    bench.see(1, 2);
    let effects = bench.step(Input::Ended { run: RunId(1), end: RunResult::Starved });
    assert!(matches!(effects.as_slice(), [Effect::Postponed { .. }]), "{effects:?}");
    assert_eq!(bench.at_deadline(), [spawn(2, Event::Changed, 1, 2)]);
}
