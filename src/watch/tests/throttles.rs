//! Tests of throttles.

use super::*;

#[test]
fn debounce_waits_for_quiet_and_runs_the_last_content() {
    let mut bench = Bench::new(throttled(Throttle { debounce: 3 * SECOND, ..Throttle::default() }));
    assert_eq!(bench.see(1, 1), []);
    assert_eq!(bench.at(2), []);
    assert_eq!(bench.see(1, 2), []);
    assert_eq!(bench.at(4), []);
    assert_eq!(bench.watch.deadline(), Some(5 * SECOND));
    assert_eq!(bench.at(5), [spawn(1, Event::Load, 1, 2)]);
}

#[test]
fn min_interval_spaces_starts_and_loses_nothing() {
    let mut bench = Bench::new(throttled(Throttle { min_interval: 10 * SECOND, ..Throttle::default() }));
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    bench.end(1);
    assert_eq!(bench.see(1, 2), []);
    assert_eq!(bench.see(1, 3), []);
    assert_eq!(bench.at(9), []);
    assert_eq!(bench.at(10), [spawn(2, Event::Changed, 1, 3)]);
}

#[test]
fn min_interval_spaces_parallel_runs_one_by_one() {
    let mut bench = Bench::new(Policy {
        run_mode: RunMode::Parallel,
        ..throttled(Throttle { min_interval: 10 * SECOND, ..Throttle::default() })
    });
    bench.see(1, 1);
    bench.see(1, 2);
    bench.see(1, 3);
    assert_eq!(bench.at(10), [spawn(2, Event::Changed, 1, 2)]);
    assert_eq!(bench.at(20), [spawn(3, Event::Changed, 1, 3)]);
}

#[test]
fn splay_delays_each_update_by_a_random_part_of_it_and_a_newer_one_no_longer() {
    let mut starts = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut bench = Bench::new(throttled(Throttle { splay: 100 * SECOND, ..Throttle::default() }));
        bench.generator = Generator::new(seed);
        assert_eq!(bench.see(1, 1), []);
        let due = bench.watch.deadline().unwrap();
        assert!(due < 100 * SECOND);
        bench.see(1, 2);
        assert_eq!(bench.watch.deadline(), Some(due));
        assert_eq!(bench.at_deadline(), [spawn(1, Event::Load, 1, 2)]);
        starts.insert(due);
    }
    assert_eq!(starts.len(), 20, "a hundred hosts must not start in one instant");
}

#[test]
fn throttles_start_nothing_after_retirement_or_stop() {
    for end in [Input::Retired, Input::Stopping { grace: Duration::ZERO }] {
        let mut bench = Bench::new(throttled(Throttle { debounce: SECOND, ..Throttle::default() }));
        bench.see(1, 1);
        bench.step(end);
        assert!(!bench.at(5).iter().any(|effect| matches!(effect, Effect::Spawn { .. })));
    }
}
