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

// A node that changes each second would keep a debounce of three seconds from ever ending.
#[test]
fn a_node_that_never_rests_is_debounced_for_debounce_max_at_most() {
    let debounce = 3 * SECOND;
    for (debounce_max, limit) in [(None, 30), (Some(5 * SECOND), 5), (Some(debounce), 3)] {
        for (policy, newest, next) in
            [(QUEUE, limit - 1, limit + 3), (DISCARD, limit - 1, limit + 3), (PARALLEL, 0, limit + 1)]
        {
            let throttle = Throttle { debounce, debounce_max, ..Throttle::default() };
            let mut bench = Bench::new(Policy { throttle, ..policy });
            bench.see(1, 0);
            for second in 1..limit {
                assert_eq!(bench.at(second), []);
                bench.see(1, second as i64);
            }
            assert_eq!(bench.watch.deadline(), Some(Time::from_secs(limit)));
            assert_eq!(bench.at(limit), [spawn(1, Event::Load, 1, newest as i64)], "{debounce_max:?}");
            assert_eq!(bench.late, Duration::ZERO, "waiting for rest is no lateness");
            bench.end(1);
            // The next update waits anew.
            bench.see(1, 1000);
            assert_eq!(bench.watch.deadline(), Some(Time::from_secs(next)));
        }
    }
}

#[test]
fn a_retry_is_debounced_for_debounce_max_at_most_too() {
    let throttle = Throttle { debounce: 3 * SECOND, ..Throttle::default() };
    let mut bench = Bench::new(Policy { throttle, ..RETRY });
    bench.see(1, 1);
    bench.at(3);
    bench.fail(1);
    for revision in 2..60 {
        if bench.at(2 + revision as u64).iter().any(|effect| matches!(effect, Effect::Spawn { .. })) {
            assert!(revision <= 33, "{revision}");
            return;
        }
        bench.see(1, revision);
    }
    panic!("not tried again within a minute");
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
