//! Tests of failed runs, and of runs that cannot be started.

use super::*;

#[test]
fn a_failed_update_is_tried_again_with_a_growing_capped_and_jittered_pause() {
    let mut bench = Bench::new(RETRY);
    bench.see(1, 1);
    let first = retried(&bench.fail(1), 1, 1);
    assert!((2.0..4.0).contains(&first.as_secs_f64()), "{first:?}");
    assert_eq!(bench.at_deadline(), [spawn(2, Event::Load, 1, 1)]);
    let second = retried(&bench.fail(2), 2, 2);
    assert!((3.0..6.0).contains(&second.as_secs_f64()), "{second:?}");
    assert_eq!(bench.at_deadline(), [spawn(3, Event::Load, 1, 1)]);
    assert_eq!(bench.fail(3), [Effect::GaveUp { failures: 3, stopped: false }]);
    assert_eq!(bench.watch.deadline(), None);
    assert_eq!(bench.see(1, 2), [spawn(4, Event::Changed, 1, 2)]);
}

#[test]
fn a_success_ends_the_series_of_failures() {
    let mut bench = Bench::new(RETRY);
    bench.see(1, 1);
    bench.fail(1);
    bench.at_deadline();
    assert_eq!(bench.end(2), []);
    bench.see(1, 2);
    retried(&bench.fail(3), 3, 1);
}

#[test]
fn a_newer_update_supersedes_a_retry() {
    for run_mode in [RunMode::Queue, RunMode::Discard, RunMode::Parallel] {
        let mut bench = Bench::new(Policy { run_mode, ..RETRY });
        bench.see(1, 1);
        retried(&bench.fail(1), 1, 1);
        assert_eq!(bench.see(1, 2), [spawn(2, Event::Changed, 1, 2)], "{run_mode:?}");
        assert_eq!(bench.end(2), []);
    }
}

#[test]
fn a_failure_of_content_that_was_replaced_meanwhile_is_not_tried_again() {
    let mut bench = Bench::new(RETRY);
    bench.see(1, 1);
    bench.see(1, 2);
    assert_eq!(bench.fail(1), [spawn(2, Event::Changed, 1, 2)]);
    assert_eq!(bench.end(2), []);
}

#[test]
fn a_failure_without_retry_keeps_the_watch() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    assert_eq!(bench.fail(1), []);
    assert_eq!(bench.see(1, 2), [spawn(2, Event::Changed, 1, 2)]);
}

#[test]
fn stop_on_failure_runs_nothing_until_the_definition_changes() {
    let stop = Policy { on_failure: OnFailure::Stop, ..QUEUE };
    for run_mode in [RunMode::Queue, RunMode::Discard, RunMode::Parallel] {
        let stop = Policy { run_mode, ..stop.clone() };
        let mut bench = Bench::new(stop.clone());
        bench.see(1, 1);
        assert_eq!(bench.fail(1), [Effect::GaveUp { failures: 1, stopped: true }]);
        assert_eq!(bench.see(1, 2), []);
        assert_eq!(bench.see(1, 3), []);
        bench.redefine(Policy { run_on_load: RunOnLoad::Never, ..stop });
        assert_eq!(bench.see(1, 3), [], "{run_mode:?}: it was started by the redefinition already");
        assert_eq!(bench.watch.live_runs(), 1);
        assert_eq!(bench.see(1, 3), []);
    }
}

#[test]
fn stop_on_failure_comes_after_the_retries() {
    let mut bench = Bench::new(Policy { on_failure: OnFailure::Stop, ..RETRY });
    bench.see(1, 1);
    bench.fail(1);
    bench.at_deadline();
    bench.fail(2);
    bench.at_deadline();
    assert_eq!(bench.fail(3), [Effect::GaveUp { failures: 3, stopped: true }]);
}

#[test]
fn a_stopping_daemon_retries_nothing() {
    let mut bench = Bench::new(RETRY);
    bench.see(1, 1);
    bench.step(Input::Stopping { grace: Duration::from_secs(10) });
    assert_eq!(bench.fail(1), []);
    assert_eq!(bench.watch.deadline(), None);
}

#[test]
fn an_update_that_could_not_be_started_for_want_of_resources_is_put_off_and_not_lost() {
    for run_mode in [RunMode::Queue, RunMode::Discard, RunMode::Parallel] {
        let mut bench = Bench::new(Policy { run_mode, ..QUEUE });
        bench.see(1, 1);
        let first = starve(&mut bench, 1);
        assert!((0.5..1.0).contains(&first.as_secs_f64()), "{first:?}");
        assert_eq!(bench.at_deadline(), [spawn(2, Event::Load, 1, 1)]);
        let second = starve(&mut bench, 2);
        assert!((1.0..2.0).contains(&second.as_secs_f64()), "{second:?}");
        assert_eq!(bench.at_deadline(), [spawn(3, Event::Load, 1, 1)]);
        assert_eq!(bench.end(3), []);
    }
}

#[test]
fn a_newer_update_takes_the_place_of_one_that_is_put_off() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    starve(&mut bench, 1);
    assert_eq!(bench.see(1, 2), [], "there is no more to start it with than before");
    assert_eq!(bench.at_deadline(), [spawn(2, Event::Load, 1, 2)]);
    assert_eq!(bench.end(2), []);
}

#[test]
fn parallel_runs_nothing_old_after_something_new_but_counts_it() {
    let mut bench = Bench::new(PARALLEL);
    bench.see(1, 1);
    bench.see(1, 2);
    starve(&mut bench, 1);
    assert_eq!(bench.at_deadline(), [Effect::Superseded { total: 1 }], "the second one is running");
    bench.see(1, 3);
    starve(&mut bench, 3);
    assert_eq!(bench.at_deadline(), [spawn(4, Event::Changed, 1, 3)]);
}

#[test]
fn parallel_puts_off_all_in_their_order() {
    let mut bench = Bench::new(PARALLEL);
    bench.see(1, 1);
    bench.see(1, 2);
    starve(&mut bench, 2);
    starve(&mut bench, 1);
    bench.now += 10 * SECOND;
    let started =
        [spawn(3, Event::Load, 1, 1), spawn(4, Event::Changed, 1, 2), spawn(5, Event::Changed, 1, 3)];
    assert_eq!(bench.see(1, 3), started);
}

#[test]
fn an_update_that_could_not_start_has_no_failures_under_a_new_definition() {
    let mut bench = Bench::new(RETRY);
    bench.see(1, 1);
    retried(&bench.fail(1), 1, 1);
    bench.at_deadline();
    let silent = Policy { run_on_load: RunOnLoad::Never, ..RETRY };
    bench.redefine(silent);
    starve(&mut bench, 2);
    bench.at_deadline();
    retried(&bench.fail(3), 3, 1);
}
