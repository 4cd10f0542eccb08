use super::*;
use crate::daemon::fixtures::{key, present, spec};
use crate::model::{OnFailure, RunMode, Throttle};
use crate::watch::{Event, RunResult};

const POLICY: Policy = Policy::DEFAULT;
const HASH: u64 = 1;

fn watches() -> Watches {
    Watches::new(Clock::start(), 1, None)
}

fn add(watches: &mut Watches, description: &str, policy: Policy) -> WatchId {
    assert!(watches.diff("a.twc", vec![spec(description, "/n")]).len() <= 2);
    watches.add(spec(description, "/n"), HASH, policy.into(), Snapshot::default(), false)
}

/// The next effect, after a place for each watch that wants one.
fn next_effect(watches: &mut Watches) -> Option<(WatchId, Effect)> {
    loop {
        match watches.next_effect() {
            Some((watch, Effect::WantsStart)) => watches.step(watch, Input::MayStart),
            effect => return effect,
        }
    }
}

/// The run that the next effect starts, and why.
fn spawned(watches: &mut Watches) -> (WatchId, RunId, Event) {
    match next_effect(watches) {
        Some((watch, Effect::Spawn { run, update, .. })) => (watch, run, update.event),
        other => panic!("{other:?}"),
    }
}

fn end(watches: &mut Watches, id: WatchId, run: RunId, end: RunResult) {
    watches.step(id, Input::Ended { run, end });
}

#[test]
fn effects_wait_in_the_order_of_what_happened() {
    let mut watches = watches();
    let (a, b) = (add(&mut watches, "a", POLICY), add(&mut watches, "b", POLICY));
    watches.step(b, Input::Observed(present(1)));
    watches.step(a, Input::Observed(present(1)));
    assert_eq!(spawned(&mut watches), (b, RunId(1), Event::Load));
    assert_eq!(spawned(&mut watches), (a, RunId(2), Event::Load));
    assert_eq!(next_effect(&mut watches), None);
}

#[test]
fn of_many_watches_whose_time_comes_at_once_some_get_their_tick_at_a_time() {
    let mut watches = watches();
    let debounce = Duration::from_millis(1);
    let policy = Arc::new(Policy { throttle: Throttle { debounce, ..Throttle::default() }, ..POLICY });
    for number in 0..2 * MAX_TICKS + 1 {
        let spec = spec(&number.to_string(), "/n");
        let id = watches.add(spec, HASH, policy.clone(), Snapshot::default(), false);
        watches.step(id, Input::Observed(present(1)));
    }
    let last = Instant::now() + debounce;
    while Instant::now() < last {
        std::thread::yield_now();
    }
    for wanting in [MAX_TICKS, MAX_TICKS, 1] {
        assert!(watches.due().is_some());
        watches.tick();
        assert_eq!(std::iter::from_fn(|| watches.next_effect()).count(), wanting);
    }
    assert_eq!(watches.due(), None);
}

#[test]
fn a_watch_that_waits_for_time_gets_its_tick() {
    let mut watches = watches();
    let debounce = Duration::from_millis(20);
    let throttle = Throttle { debounce, ..Throttle::default() };
    let id = add(&mut watches, "a", Policy { throttle, ..POLICY });
    assert_eq!(watches.due(), None);
    watches.step(id, Input::Observed(present(1)));
    let due = watches.due().expect("the end of the debounce");
    watches.tick();
    while Instant::now() < due {
        assert_eq!(next_effect(&mut watches), None);
        watches.tick();
    }
    watches.tick();
    assert_eq!(spawned(&mut watches), (id, RunId(1), Event::Load));
    assert_eq!(watches.due(), None, "a run without a timeout");
}

#[test]
fn registered_and_failing_watches_are_counted() {
    let mut watches = watches();
    let a = add(&mut watches, "a", Policy { on_failure: OnFailure::Stop, ..POLICY });
    add(&mut watches, "b", POLICY);
    assert_eq!((watches.registered(), watches.failing()), (2, 0));
    watches.step(a, Input::Observed(present(1)));
    let (_, run, _) = spawned(&mut watches);
    end(&mut watches, a, run, RunResult::Failed);
    assert_eq!((watches.registered(), watches.failing()), (2, 1));
    assert_eq!(watches.redefine(spec("a", "/n"), 2, POLICY.into()).map(|(id, _)| id), Some(a));
    assert_eq!((watches.registered(), watches.failing()), (2, 0));
    assert_eq!(watches.retire(&key("a")), Some(a));
    assert_eq!((watches.registered(), watches.failing()), (1, 0));
}

#[test]
fn a_removed_watch_goes_when_its_action_has_ended() {
    let mut watches = watches();
    let id = add(&mut watches, "a", POLICY);
    watches.step(id, Input::Observed(present(1)));
    let (_, run, _) = spawned(&mut watches);
    watches.retire(&key("a"));
    assert_eq!(next_effect(&mut watches), None);
    assert!(watches.get(id).is_some_and(|entry| entry.is_retired() && entry.loaded().is_none()));
    end(&mut watches, id, run, RunResult::Succeeded);
    assert_eq!(next_effect(&mut watches), Some((id, Effect::Forget)));
    watches.forget(id);
    assert!(watches.get(id).is_none() && !watches.contains(&key("a")));
}

#[test]
fn a_watch_that_comes_back_while_its_action_runs_waits_for_it() {
    let mut watches = watches();
    let (id, run) = watches.adopt(&key("a"), None).expect("a run");
    assert_eq!(add(&mut watches, "a", POLICY), id);
    watches.step(id, Input::Observed(present(1)));
    assert_eq!(next_effect(&mut watches), None);
    end(&mut watches, id, run, RunResult::Interrupted);
    assert_eq!(spawned(&mut watches), (id, RunId(2), Event::Load));
}

#[test]
fn an_adopted_run_is_told_to_end_at_its_timeout() {
    let mut watches = watches();
    let (id, run) = watches.adopt(&key("a"), Some(Duration::ZERO)).expect("a run");
    assert!(watches.due().is_some());
    watches.tick();
    let reason = crate::watch::Reason::Timeout;
    assert_eq!(next_effect(&mut watches), Some((id, Effect::Terminate { run, reason })));
}

#[test]
fn what_a_file_registers_is_compared_with_what_it_registered_before() {
    let mut watches = watches();
    let kinds = |changes: Vec<WatchChange>| -> Vec<String> {
        let kind = |change| match change {
            WatchChange::Add(spec) => format!("add {}", spec.id.description),
            WatchChange::Change(spec) => format!("change {}", spec.id.description),
            WatchChange::Identity(spec) => format!("identity {}", spec.id.description),
            WatchChange::Remove(key) => format!("remove {}", key.description),
        };
        changes.into_iter().map(kind).collect()
    };
    assert_eq!(kinds(watches.diff("a.twc", vec![spec("a", "/n"), spec("b", "/n")])), ["add a", "add b"]);
    for description in ["a", "b"] {
        watches.add(spec(description, "/n"), HASH, POLICY.into(), Snapshot::default(), false);
    }
    assert_eq!(kinds(watches.diff("b.twc", Vec::new())), [""; 0]);
    let changed = WatchSpec { pipe_stdin: false, ..spec("b", "/n") };
    assert_eq!(kinds(watches.diff("a.twc", vec![changed])), ["remove a", "change b"]);
}

#[test]
fn only_what_changed_is_unsaved() {
    let mut watches = watches();
    let id = watches.add(spec("a", "/n"), HASH, POLICY.into(), Snapshot::default(), true);
    assert!(!watches.has_unsaved());
    watches.step(id, Input::Tick);
    assert!(!watches.has_unsaved());
    watches.step(id, Input::Observed(present(1)));
    assert!(watches.has_unsaved());
    assert_eq!(watches.take_unsaved(10), [id]);
    assert!(!watches.has_unsaved());
}

#[test]
fn a_failure_tells_when_the_run_is_tried_again() {
    let mut watches = watches();
    let id = add(&mut watches, "a", POLICY);
    watches.take_unsaved(10);
    watches.set_next_try(id, Duration::from_secs(9));
    assert!(!watches.has_unsaved(), "nothing failed");
    watches.get_mut(id).expect("a watch").fail("why".into());
    watches.set_next_try(id, Duration::from_secs(9));
    let failure = watches.get(id).and_then(|entry| entry.failure()).expect("a failure");
    assert!(failure.next_try.is_some_and(|at| at > SystemTime::now()));
    assert!(watches.has_unsaved());
}

// With 1,024 updates of 10,000 names each, to count their bytes at each step would hold up the loop.
#[test]
fn only_a_change_of_what_waits_is_looked_at() {
    let mut watches = watches();
    let id = add(&mut watches, "a", Policy { run_mode: RunMode::Parallel, max_parallel: 1, ..POLICY });
    for revision in 1..=3 {
        watches.step(id, Input::Observed(present(revision)));
    }
    let (_, run, _) = spawned(&mut watches);
    let notes = watches.budget.notes;
    watches.step(id, Input::Started { run, executed: Time::ZERO });
    watches.step(id, Input::Tick);
    watches.step(id, Input::Observed(present(3)));
    watches.step(id, Input::Paused(Box::default()));
    end(&mut watches, id, run, RunResult::Succeeded);
    assert_eq!(watches.budget.notes, notes);
    watches.step(id, Input::Resumed);
    spawned(&mut watches);
    assert_eq!(watches.budget.notes, notes + 1);
}

#[test]
fn a_stop_reaches_every_watch() {
    let mut watches = watches();
    let ids = ["a", "b"].map(|description| add(&mut watches, description, POLICY));
    for id in ids {
        watches.step(id, Input::Observed(present(1)));
    }
    while next_effect(&mut watches).is_some() {}
    watches.stop(Duration::ZERO);
    let told = std::iter::from_fn(|| next_effect(&mut watches)).map(|(id, effect)| {
        assert!(matches!(effect, Effect::Terminate { .. }), "{effect:?}");
        id
    });
    assert_eq!(told.collect::<Vec<_>>(), ids);
}
