//! Tests of timeouts, new definitions, removal, and the stop of the daemon.

use super::*;

#[test]
fn a_timeout_terminates_and_kills_five_seconds_later() {
    let mut bench = Bench::new(Policy { timeout: Some(Duration::from_secs(3)), ..QUEUE });
    bench.see(1, 1);
    bench.execute(1);
    assert_eq!(bench.watch.deadline(), Some(Time::from_secs(3)));
    assert_eq!(bench.at(2), []);
    assert_eq!(bench.at(3), [Effect::Terminate { run: RunId(1), reason: Reason::Timeout }]);
    assert_eq!(bench.at(7), []);
    assert_eq!(bench.at(8), [Effect::Kill { run: RunId(1) }]);
    assert_eq!(bench.watch.deadline(), None);
    assert_eq!(bench.end(1), []);
}

#[test]
fn a_late_tick_still_leaves_the_grace_between_term_and_kill() {
    let mut bench = Bench::new(Policy { timeout: Some(Duration::from_secs(3)), ..QUEUE });
    bench.see(1, 1);
    bench.execute(1);
    assert_eq!(bench.at(60), [Effect::Terminate { run: RunId(1), reason: Reason::Timeout }]);
    assert_eq!(bench.watch.deadline(), Some(Time::from_secs(65)));
}

// A lookup of the user, a queue of starts and a slow start take nothing from the time that an action has.
#[test]
fn a_timeout_counts_from_when_the_program_executes() {
    let mut bench = Bench::new(Policy { timeout: Some(3 * SECOND), ..QUEUE });
    bench.see(1, 1);
    assert_eq!((bench.watch.deadline(), bench.at(60)), (None, vec![]));
    assert_eq!(bench.execute(1), []);
    assert_eq!((bench.watch.deadline(), bench.at(62)), (Some(63 * SECOND), vec![]));
    assert_eq!(bench.at(63), [Effect::Terminate { run: RunId(1), reason: Reason::Timeout }]);
}

#[test]
fn a_watch_that_is_told_late_of_a_start_still_counts_from_it() {
    for (told, expected) in
        [(62, vec![]), (63, vec![Effect::Terminate { run: RunId(1), reason: Reason::Timeout }])]
    {
        let mut bench = Bench::new(Policy { timeout: Some(3 * SECOND), ..QUEUE });
        bench.see(1, 1);
        bench.at(told);
        assert_eq!(bench.step(Input::Started { run: RunId(1), executed: 60 * SECOND }), expected);
    }
}

#[test]
fn what_ends_a_start_is_not_undone_when_its_program_executes_all_the_same() {
    for reason in [Reason::Kill, Reason::Stop] {
        let mut bench = Bench::new(Policy { timeout: Some(SECOND), ..QUEUE });
        bench.see(1, 1);
        let end = match reason {
            Reason::Kill => Input::Killed,
            _ => Input::Stopping { grace: Duration::ZERO },
        };
        assert_eq!(bench.step(end), [Effect::Terminate { run: RunId(1), reason }]);
        assert_eq!((bench.execute(1), bench.watch.deadline()), (vec![], Some(KILL_AFTER)));
    }
}

#[test]
fn a_run_that_executes_during_the_grace_has_its_timeout_or_the_grace() {
    for (timeout, reason) in [(3_u32, Reason::Timeout), (30, Reason::Stop)] {
        let mut bench = Bench::new(Policy { timeout: Some(timeout * SECOND), ..QUEUE });
        bench.see(1, 1);
        bench.step(Input::Stopping { grace: 10 * SECOND });
        bench.execute(1);
        assert_eq!(bench.at_deadline(), [Effect::Terminate { run: RunId(1), reason }]);
        assert_eq!(bench.now, u32::min(timeout, 10) * SECOND);
    }
}

#[test]
fn a_changed_definition_loads_again_and_waits_for_the_running_action() {
    for policy in [QUEUE, DISCARD, PARALLEL] {
        let mut bench = Bench::new(QUEUE);
        bench.see(1, 1);
        assert_eq!(bench.redefine(policy), []);
        assert_eq!(bench.see(1, 1), []);
        assert_eq!(bench.end(1), [spawn(2, Event::Load, 1, 1)]);
        assert_eq!(bench.see(1, 1), []);
    }
}

#[test]
fn a_first_run_that_waits_takes_newer_content_and_stays_a_load() {
    for policy in [QUEUE, DISCARD] {
        let mut bench = Bench::new(QUEUE);
        bench.see(1, 1);
        bench.redefine(policy);
        bench.see(1, 1);
        assert_eq!(bench.see(1, 2), []);
        assert_eq!(bench.end(1), [spawn(2, Event::Load, 1, 2)]);
        assert_eq!(bench.end(2), []);
    }
}

#[test]
fn a_pending_update_outlives_a_change_of_the_definition() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    bench.see(1, 2);
    bench.redefine(Policy { run_on_load: RunOnLoad::Never, timeout: Some(Duration::from_secs(1)), ..QUEUE });
    assert_eq!(bench.end(1), [spawn(2, Event::Changed, 1, 2)]);
}

#[test]
fn a_pending_update_and_a_load_make_one_run() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    bench.see(1, 2);
    bench.redefine(Policy { timeout: Some(Duration::from_secs(1)), ..QUEUE });
    assert_eq!(bench.end(1), [], "the load is still to be observed");
    assert_eq!(bench.see(1, 2), [spawn(2, Event::Load, 1, 2)]);
    assert_eq!(bench.end(2), []);
}

#[test]
fn the_timeout_of_a_running_action_is_that_of_its_own_definition() {
    let mut bench = Bench::new(Policy { timeout: Some(Duration::from_secs(3)), ..QUEUE });
    bench.see(1, 1);
    bench.redefine(QUEUE);
    bench.execute(1);
    assert_eq!(bench.at(3), [Effect::Terminate { run: RunId(1), reason: Reason::Timeout }]);
}

#[test]
fn another_node_starts_from_scratch() {
    let mut bench = Bench::new(Policy { run_on_load: RunOnLoad::Never, ..QUEUE });
    bench.see(1, 1);
    bench.step(Input::Redefined {
        policy: Policy { run_on_load: RunOnLoad::Never, ..QUEUE }.into(),
        same_subject: false,
    });
    assert_eq!(bench.see(7, 7), []);
}

#[test]
fn a_retired_watch_runs_nothing_more_and_is_forgotten_when_its_action_ends() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    bench.see(1, 2);
    assert_eq!(bench.step(Input::Retired), []);
    assert_eq!(bench.see(1, 3), []);
    assert_eq!(bench.end(1), [Effect::Forget]);

    let mut idle = Bench::new(QUEUE);
    assert_eq!(idle.step(Input::Retired), [Effect::Forget]);
}

#[test]
fn a_watch_that_comes_back_waits_for_what_still_runs_of_it() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    bench.step(Input::Retired);
    assert_eq!(bench.load(QUEUE, Snapshot::default(), false), []);
    assert_eq!(bench.see(1, 1), []);
    assert_eq!(bench.end(1), [spawn(2, Event::Load, 1, 1)]);
}

#[test]
fn stopping_starts_nothing_and_terminates_after_the_grace() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    bench.see(1, 2);
    assert_eq!(bench.step(Input::Stopping { grace: Duration::from_secs(10) }), []);
    assert_eq!(bench.see(1, 3), []);
    assert_eq!(bench.at(10), [Effect::Terminate { run: RunId(1), reason: Reason::Stop }]);
    assert_eq!(bench.at(15), [Effect::Kill { run: RunId(1) }]);
    assert_eq!(bench.end(1), []);
}

#[test]
fn a_second_stop_skips_the_grace() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    bench.step(Input::Stopping { grace: Duration::from_secs(10) });
    assert_eq!(
        bench.step(Input::Stopping { grace: Duration::ZERO }),
        [Effect::Terminate { run: RunId(1), reason: Reason::Stop }]
    );
}

#[test]
fn a_timeout_before_the_end_of_the_grace_stays_a_timeout() {
    let mut bench = Bench::new(Policy { timeout: Some(Duration::from_secs(3)), ..QUEUE });
    bench.see(1, 1);
    bench.execute(1);
    bench.step(Input::Stopping { grace: Duration::from_secs(10) });
    assert_eq!(bench.at(3), [Effect::Terminate { run: RunId(1), reason: Reason::Timeout }]);
}
