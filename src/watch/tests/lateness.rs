//! Tests of the time when a run is due.

use super::*;

#[test]
fn what_runs_at_once_is_not_late_and_what_waits_for_a_run_is() {
    let mut bench = Bench::new(QUEUE);
    bench.at(3);
    bench.see(1, 1);
    assert_eq!(bench.late, Duration::ZERO);
    bench.at(4);
    bench.see(1, 2);
    bench.at(10);
    bench.see(1, 3);
    bench.at(11);
    assert_eq!(bench.end(1), [spawn(2, Event::Changed, 1, 3)]);
    assert_eq!(bench.late, SECOND, "since the newest update that it runs");
}

#[test]
fn what_waits_for_room_is_late_whatever_comes_after_it() {
    let mut bench = Bench::new(Policy { max_parallel: 1, ..PARALLEL });
    bench.see(1, 1);
    bench.see(1, 2);
    bench.at(7);
    bench.see(1, 3);
    assert_eq!(bench.end(1), [spawn(2, Event::Changed, 1, 2)]);
    assert_eq!(bench.late, 7 * SECOND);
}

#[test]
fn what_a_definition_puts_off_is_not_late_until_then() {
    let throttle = Throttle::default();
    for throttle in [
        Throttle { debounce: 100 * SECOND, ..throttle },
        Throttle { min_interval: 100 * SECOND, ..throttle },
        Throttle { splay: 100 * SECOND, ..throttle },
    ] {
        let mut bench = Bench::new(throttled(throttle));
        bench.see(1, 1);
        if bench.watch.live_runs() == 0 {
            bench.at_deadline();
        }
        bench.end(1);
        assert_ne!(bench.see(1, 2), [spawn(2, Event::Changed, 1, 2)]);
        bench.now = bench.watch.deadline().expect("a start") + 2 * SECOND;
        assert_eq!(bench.step(Input::Tick), [spawn(2, Event::Changed, 1, 2)]);
        assert_eq!(bench.late, 2 * SECOND, "{throttle:?}");
    }
}

#[test]
fn the_pause_before_a_retry_is_asked_for_and_want_of_resources_is_not() {
    let mut bench = Bench::new(RETRY);
    bench.see(1, 1);
    bench.fail(1);
    bench.at_deadline();
    assert_eq!(bench.late, Duration::ZERO);
    let pause = starve(&mut bench, 2);
    bench.at_deadline();
    assert_eq!(bench.late, pause);
}
