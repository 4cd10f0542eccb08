//! Tests of what an update does in each run mode.

use super::*;

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

// "sent to the running action when an update arrives": the start of a daemon is no update.
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

// The number is only for people. The number of a directory changes with everything that is written into the
// directory, also with files that are not children.
#[test]
fn what_was_applied_is_known_by_its_state_and_not_by_its_number() {
    let policy = Policy { run_on_load: RunOnLoad::Changed, ..QUEUE };
    let mut bench = Bench::new(policy.clone());
    let (version, content) = (version(1, 1), Content::sample_children(&["a"]));
    let origin = Origin::UNKNOWN;
    let update = Update { event: Event::Load, version, origin, content: content.clone(), decoded: None };
    let spawn = Effect::Spawn { run: RunId(1), update, since: Time::ZERO };
    let state = State::Present { version, origin, content: content.clone() };
    assert_eq!(bench.step(Input::Observed(state)), [spawn]);
    assert_eq!(bench.end(1), []);
    let state = State::Present { version: Version { number: 2, ..version }, origin, content };
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
    assert_eq!(bench.miss(), [Effect::Deleted]);
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
    let mut bench = Bench::new(QUEUE);
    let content = |name: &str| Content::sample_children(&[name]);
    let state = |revision, name| {
        let (version, origin) = (version(1, revision), origin(revision));
        State::Present { version, origin, content: content(name) }
    };
    bench.step(Input::Observed(state(1, "a")));
    bench.end(1);
    let (version, origin, content) = (version(1, 2), origin(2), content("b"));
    let update = Update { event: Event::Children, version, origin, content, decoded: None };
    let spawn = Effect::Spawn { run: RunId(2), update, since: Time::ZERO };
    assert_eq!(bench.step(Input::Observed(state(2, "b"))), [spawn]);
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

// "beyond that the newest replaces the last waiting one, and is counted", also if the bytes are too many.
#[test]
fn a_parallel_watch_that_must_shed_keeps_the_oldest_updates_and_the_newest() {
    let mut bench = Bench::new(Policy { max_parallel: 1, ..PARALLEL });
    for revision in 1..=4 {
        bench.see(1, revision);
    }
    assert_eq!(bench.step(Input::MustShed), [Effect::Superseded { total: 1 }]);
    assert_eq!(bench.watch.waiting_contents().collect::<Vec<_>>(), [&content(2), &content(4)]);
    assert_eq!(bench.step(Input::MustShed), [Effect::Superseded { total: 2 }]);
    assert_eq!(bench.step(Input::MustShed), [], "the newest waits in any case");
    assert_eq!(bench.end(1), [spawn(2, Event::Changed, 1, 4)]);
}

#[test]
fn the_content_of_a_run_is_held_only_where_a_retry_may_need_it() {
    for (policy, holds) in [(QUEUE, false), (RETRY, true)] {
        let mut bench = Bench::new(policy);
        let bytes = std::sync::Arc::<[u8]>::from(&b"content"[..]);
        let (version, content) = (version(1, 1), Content::Data(bytes.clone().into()));
        bench.step(Input::Observed(State::Present { version, origin: Default::default(), content }));
        assert_eq!(std::sync::Arc::strong_count(&bytes), 2);
        bench.execute(1);
        assert_eq!(std::sync::Arc::strong_count(&bytes), 1 + usize::from(holds));
        bench.fail(1);
        let again: Vec<_> =
            bench.watch.deadline().map(|_| bench.at_deadline()).into_iter().flatten().collect();
        assert_eq!(again.len(), usize::from(holds));
        assert_eq!(bench.end(2 - u64::from(!holds)), []);
    }
}
