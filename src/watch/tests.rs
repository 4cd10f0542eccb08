//! Tables: one situation each, in the words of the contract.

use super::*;
use crate::model::{Content, State};

mod guard;

const QUEUE: Policy = Policy {
    run_mode: RunMode::Queue,
    run_on_load: RunOnLoad::Always,
    notify_signal: None,
    timeout: None,
    max_parallel: 64,
    on_children: false,
    retry: None,
    on_failure: OnFailure::Keep,
    throttle: Throttle { debounce: Duration::ZERO, min_interval: Duration::ZERO, splay: Duration::ZERO },
    guard: Guard { max_data: None, not_empty: false, max_shrink: None },
};
const DISCARD: Policy = Policy { run_mode: RunMode::Discard, ..QUEUE };
const PARALLEL: Policy = Policy { run_mode: RunMode::Parallel, ..QUEUE };

/// A watch with its own clock and run ids.
struct Bench {
    watch: Watch,
    generator: Generator,
    now: Time,
    /// By how much what was spawned last was late. Of no interest to most, so taken out of the effects.
    late: Duration,
}

impl Bench {
    fn new(policy: Policy) -> Self {
        Self::of(Watch::new(policy, Snapshot::default()))
    }

    fn of(watch: Watch) -> Self {
        Self { watch, generator: Generator::new(0), now: Time::ZERO, late: Duration::ZERO }
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = self.watch.step(self.now, input, &mut self.generator);
        for effect in &mut effects {
            if let Effect::Spawn { since, .. } = effect {
                self.late = self.now - std::mem::take(since);
            }
        }
        effects
    }

    /// Revision `revision` of incarnation `incarnation`.
    fn see(&mut self, incarnation: i64, revision: i64) -> Vec<Effect> {
        self.step(Input::Observed(present(incarnation, revision)))
    }

    fn miss(&mut self) -> Vec<Effect> {
        self.step(Input::Observed(State::Absent))
    }

    fn end(&mut self, run: u64) -> Vec<Effect> {
        self.step(Input::Ended { run: RunId(run), end: RunResult::Succeeded })
    }

    fn fail(&mut self, run: u64) -> Vec<Effect> {
        self.step(Input::Ended { run: RunId(run), end: RunResult::Failed })
    }

    /// Moves on to the watch's own deadline.
    fn at_deadline(&mut self) -> Vec<Effect> {
        self.now = self.watch.deadline().expect("a deadline");
        self.step(Input::Tick)
    }

    fn at(&mut self, seconds: u64) -> Vec<Effect> {
        self.now = Time::from_secs(seconds);
        self.step(Input::Tick)
    }

    fn load(&mut self, policy: Policy, snapshot: Snapshot, same_definition: bool) -> Vec<Effect> {
        self.step(Input::Loaded { policy, snapshot, same_definition })
    }

    /// The next daemon after this one, on what this one leaves; `orphan` is the timeout of a run that lives on.
    fn reborn(&self, policy: Policy, orphan: Option<Option<Time>>) -> Self {
        let mut next = Self::of(Watch::unloaded());
        if let Some(until) = orphan {
            assert_eq!(next.watch.adopt(until, &mut next.generator), RunId(1));
        }
        assert_eq!(next.load(policy, self.watch.snapshot(), true), []);
        next
    }

    fn interrupt(&mut self, run: u64) -> Vec<Effect> {
        self.step(Input::Ended { run: RunId(run), end: RunResult::Interrupted })
    }

    fn redefine(&mut self, policy: Policy) -> Vec<Effect> {
        self.step(Input::Redefined { policy, same_subject: true })
    }
}

fn content(revision: i64) -> Content {
    Content::Data(revision.to_be_bytes().as_slice().into())
}

fn version(incarnation: i64, revision: i64) -> Version {
    Version { incarnation, revision, number: revision }
}

fn present(incarnation: i64, revision: i64) -> State {
    State::Present { version: version(incarnation, revision), content: content(revision) }
}

fn spawn(run: u64, event: Event, incarnation: i64, revision: i64) -> Effect {
    let update = Update { event, version: version(incarnation, revision), content: content(revision) };
    Effect::Spawn { run: RunId(run), update, since: Time::ZERO }
}

#[test]
fn the_first_state_runs_as_load() {
    let mut bench = Bench::new(QUEUE);
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
}

#[test]
fn without_run_on_load_the_first_state_runs_nothing_and_the_next_one_does() {
    let mut bench = Bench::new(Policy { run_on_load: RunOnLoad::Never, ..QUEUE });
    assert_eq!(bench.see(1, 1), []);
    assert_eq!(bench.see(1, 2), [spawn(1, Event::Changed, 1, 2)]);
}

// "sent to the running action when an update arrives": that a daemon starts is none.
#[test]
fn an_orphan_is_notified_of_what_changed_and_not_of_what_it_has() {
    let policy = Policy { notify_signal: Some(1), ..QUEUE };
    let mut bench = Bench::new(policy.clone());
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    let mut next = bench.reborn(policy, Some(None));
    assert_eq!(next.see(1, 1), []);
    assert_eq!(next.see(1, 2), [Effect::Notify { run: RunId(1), signal: 1 }]);
    assert_eq!(next.interrupt(1), [spawn(2, Event::Load, 1, 2)]);
}

// The number is for people only: a directory's moves with whatever is written into it, children or not.
#[test]
fn what_was_applied_is_known_by_its_state_and_not_by_its_number() {
    let policy = Policy { run_on_load: RunOnLoad::Changed, on_children: true, ..QUEUE };
    let mut bench = Bench::new(policy.clone());
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    assert_eq!(bench.end(1), []);
    let later = Version { number: 2, ..version(1, 1) };
    let state = State::Present { version: later, content: content(1) };
    assert_eq!(bench.step(Input::Observed(state.clone())), []);
    assert_eq!(bench.reborn(policy, None).step(Input::Observed(state)), []);
}

#[test]
fn creation_after_load_is_an_update_even_without_run_on_load() {
    for run_on_load in [RunOnLoad::Always, RunOnLoad::Changed, RunOnLoad::Never] {
        let mut bench = Bench::new(Policy { run_on_load, ..QUEUE });
        assert_eq!(bench.miss(), []);
        assert_eq!(bench.see(1, 1), [spawn(1, Event::Created, 1, 1)]);
    }
}

#[test]
fn a_state_seen_before_runs_nothing() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    bench.end(1);
    assert_eq!(bench.see(1, 1), []);
}

#[test]
fn deletion_runs_nothing_and_recreation_runs_as_created() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    bench.end(1);
    assert_eq!(bench.miss(), []);
    assert_eq!(bench.see(2, 1), [spawn(2, Event::Created, 2, 1)]);
}

#[test]
fn recreation_runs_as_created_when_the_deletion_went_unseen() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    bench.end(1);
    assert_eq!(bench.see(2, 1), [spawn(2, Event::Created, 2, 1)]);
}

#[test]
fn a_change_of_children_runs_as_children() {
    let mut bench = Bench::new(Policy { on_children: true, ..QUEUE });
    bench.see(1, 1);
    bench.end(1);
    assert_eq!(bench.see(1, 2), [spawn(2, Event::Children, 1, 2)]);
}

#[test]
fn queue_collapses_what_comes_meanwhile_into_one_run_with_the_latest_content() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    assert_eq!(bench.see(1, 2), []);
    assert_eq!(bench.see(1, 3), []);
    assert_eq!(bench.end(1), [spawn(2, Event::Changed, 1, 3)]);
    assert_eq!(bench.end(2), []);
}

#[test]
fn queue_runs_what_waits_even_if_the_node_is_deleted_meanwhile() {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    bench.see(1, 2);
    bench.miss();
    assert_eq!(bench.end(1), [spawn(2, Event::Changed, 1, 2)]);
}

#[test]
fn discard_ignores_what_comes_meanwhile_and_stays_armed() {
    let mut bench = Bench::new(DISCARD);
    bench.see(1, 1);
    assert_eq!(bench.see(1, 2), [Effect::Discarded { version: version(1, 2) }]);
    assert_eq!(bench.end(1), []);
    assert_eq!(bench.see(1, 3), [spawn(2, Event::Changed, 1, 3)]);
}

#[test]
fn parallel_runs_every_update_up_to_the_cap_and_the_rest_in_order() {
    let mut bench = Bench::new(Policy { max_parallel: 2, ..PARALLEL });
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    assert_eq!(bench.see(1, 2), [spawn(2, Event::Changed, 1, 2)]);
    assert_eq!(bench.see(1, 3), []);
    assert_eq!(bench.see(1, 4), []);
    assert_eq!(bench.end(2), [spawn(3, Event::Changed, 1, 3)]);
    assert_eq!(bench.end(1), [spawn(4, Event::Changed, 1, 4)]);
}

#[test]
fn parallel_counts_what_it_replaces_beyond_the_waiting_room() {
    let mut bench = Bench::new(Policy { max_parallel: 1, ..PARALLEL });
    let last = 1 + MAX_WAITING as i64;
    for revision in 1..=last {
        assert!(!bench.see(1, revision).iter().any(|effect| matches!(effect, Effect::Superseded { .. })));
    }
    assert_eq!(bench.see(1, last + 1), [Effect::Superseded { total: 1 }]);
    assert_eq!(bench.see(1, last + 2), [Effect::Superseded { total: 2 }]);
    let mut ran = Vec::new();
    for run in 1.. {
        match &bench.end(run)[..] {
            [Effect::Spawn { update, .. }] => ran.push(update.version.revision),
            [] => break,
            other => panic!("{other:?}"),
        }
    }
    let expected: Vec<_> = (2..last).chain([last + 2]).collect();
    assert_eq!(ran, expected);
}

#[test]
fn notify_signal_goes_to_the_running_action_for_every_update() {
    let mut bench = Bench::new(Policy { notify_signal: Some(10), ..QUEUE });
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    assert_eq!(bench.see(1, 2), [Effect::Notify { run: RunId(1), signal: 10 }]);
    assert_eq!(bench.see(1, 3), [Effect::Notify { run: RunId(1), signal: 10 }]);
    assert_eq!(bench.see(1, 3), []);
}

#[test]
fn a_timeout_terminates_and_kills_five_seconds_later() {
    let mut bench = Bench::new(Policy { timeout: Some(Duration::from_secs(3)), ..QUEUE });
    bench.see(1, 1);
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
    assert_eq!(bench.at(60), [Effect::Terminate { run: RunId(1), reason: Reason::Timeout }]);
    assert_eq!(bench.watch.deadline(), Some(Time::from_secs(65)));
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
    assert_eq!(bench.at(3), [Effect::Terminate { run: RunId(1), reason: Reason::Timeout }]);
}

#[test]
fn another_node_starts_from_scratch() {
    let mut bench = Bench::new(Policy { run_on_load: RunOnLoad::Never, ..QUEUE });
    bench.see(1, 1);
    bench.step(Input::Redefined {
        policy: Policy { run_on_load: RunOnLoad::Never, ..QUEUE },
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
    bench.step(Input::Stopping { grace: Duration::from_secs(10) });
    assert_eq!(bench.at(3), [Effect::Terminate { run: RunId(1), reason: Reason::Timeout }]);
}

const RETRY: Policy = Policy {
    retry: Some(Retry { attempts: 2, delay: Duration::from_secs(4), max_delay: Duration::from_secs(6) }),
    ..QUEUE
};

/// The pause of a [`Effect::Retry`] that is all there is.
fn retried(effects: &[Effect], run: u64, failures: u32) -> Duration {
    match effects {
        [Effect::Retry { run: RunId(of), failures: count, after }] if (*of, *count) == (run, failures) => {
            *after
        }
        other => panic!("{other:?}"),
    }
}

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

fn throttled(throttle: Throttle) -> Policy {
    Policy { throttle, ..QUEUE }
}

const SECOND: Duration = Duration::from_secs(1);

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

/// The pause of an [`Effect::Postponed`] that is all there is.
fn starve(bench: &mut Bench, run: u64) -> Duration {
    match &bench.step(Input::Ended { run: RunId(run), end: RunResult::Starved })[..] {
        [Effect::Postponed { run: RunId(of), after }] if *of == run => *after,
        other => panic!("{other:?}"),
    }
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

const SILENT: Policy = Policy { run_on_load: RunOnLoad::Never, ..QUEUE };
const CHANGED: Policy = Policy { run_on_load: RunOnLoad::Changed, ..QUEUE };

/// A watch that is up to date with revision 1.
fn settled(policy: Policy) -> Bench {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    bench.end(1);
    bench.policy(policy);
    bench
}

impl Bench {
    /// As if it had always been this one.
    fn policy(&mut self, policy: Policy) {
        let snapshot = self.watch.snapshot();
        *self = Self { now: self.now, ..Self::of(Watch::new(policy, snapshot)) };
    }
}

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
    // Nothing is known.
    assert_eq!(Bench::new(CHANGED).see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    // It failed.
    let mut failed = Bench::new(CHANGED);
    failed.see(1, 1);
    failed.fail(1);
    assert_eq!(failed.reborn(CHANGED, None).see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    // Something else was applied.
    assert_eq!(settled(CHANGED).reborn(CHANGED, None).see(1, 2), [spawn(1, Event::Load, 1, 2)]);
    // The definition is another: while the daemon runs, and before it.
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
    let record = |same_subject, same_definition| Record { snapshot, same_subject, same_definition };
    let past = |record, interrupted, record_lost| Recovery { record, interrupted, record_lost }.snapshot();
    let nothing = Snapshot::default();
    let owes = |event, snapshot| Snapshot { pending: Some(event), ..snapshot };
    assert_eq!(past(Some(record(true, true)), None, false), snapshot);
    assert_eq!(past(Some(record(true, false)), None, false), snapshot.redefined());
    assert_eq!(past(Some(record(false, true)), None, false), nothing);
    assert_eq!(past(None, None, false), nothing);
    // The record of a run that was started last may not have been written any more.
    let interrupted = Some(Event::Created);
    assert_eq!(past(Some(record(true, true)), interrupted, false), owes(Event::Created, snapshot));
    assert_eq!(past(None, interrupted, false), owes(Event::Created, nothing));
    // And nobody knows what a lost ledger said.
    assert_eq!(past(None, None, true), owes(Event::Load, nothing));
    assert_eq!(past(Some(record(true, true)), None, true), snapshot);
    assert_eq!(past(Some(record(false, true)), None, true), owes(Event::Load, nothing));
    let unseen = Record { snapshot: nothing, same_subject: true, same_definition: true };
    assert_eq!(past(Some(unseen), None, true), owes(Event::Load, nothing));
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

    // Once, and not with every look.
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
    bench.step(Input::Redefined { policy: silent, same_subject: false });
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
    assert_eq!(bench.miss(), []);
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
    // What waits is not run beside it, though nothing is stopped any more.
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
    // Still the first run of this definition.
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
        assert_eq!(bench.step(Input::Paused), []);
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
    assert_eq!(bench.step(Input::Paused), []);
    assert_eq!(bench.see(1, 2), []);
    assert_eq!(bench.end(1), []);
    assert_eq!(bench.watch.condition(false), Condition::Paused);
    assert_eq!(bench.step(Input::Resumed), [spawn(2, Event::Changed, 1, 2)]);
}

#[test]
fn a_pause_outlives_reloads_and_restarts_and_whatever_waits_with_it() {
    let mut bench = settled(QUEUE);
    assert_eq!(bench.step(Input::Paused), []);
    assert_eq!(bench.redefine(QUEUE), []);
    assert_eq!(bench.see(1, 2), []);
    let mut next = bench.reborn(QUEUE, None);
    assert_eq!(next.see(1, 2), []);
    assert_eq!(next.step(Input::Retired), [Effect::Forget]);
    let snapshot = Snapshot { paused: true, ..Snapshot::default() };
    assert_eq!(next.load(QUEUE, snapshot, false), []);
    assert_eq!(next.see(1, 2), []);
    assert_eq!(next.step(Input::Resumed), [spawn(1, Event::Load, 1, 2)]);
}

#[test]
fn a_paused_watch_notifies_of_nothing_until_it_is_resumed() {
    let mut bench = Bench::new(Policy { notify_signal: Some(1), ..QUEUE });
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    assert_eq!(bench.step(Input::Paused), []);
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
    next.step(Input::Redefined { policy: QUEUE, same_subject: false });
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
