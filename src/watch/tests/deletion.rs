//! Tests of `run_on_delete`: which deletions run the action, and when.

use super::*;
use crate::model::Guard;

const DELETE: Policy = Policy { run_on_delete: true, ..SILENT };

fn deleted(run: u64) -> Effect {
    Effect::Spawn { run: RunId(run), update: Update::deletion(), since: Time::ZERO }
}

fn condition(bench: &Bench) -> Condition {
    bench.watch.condition(false)
}

#[test]
fn a_deletion_runs_once_and_a_recreation_as_created() {
    let mut bench = settled(DELETE);
    assert_eq!(bench.miss(), [deleted(1)]);
    assert_eq!(bench.miss(), []);
    assert_eq!(bench.end(1), []);
    assert_eq!((bench.miss(), condition(&bench)), (vec![], Condition::Absent));
    assert_eq!(bench.watch.snapshot().applied, Some(Version::DELETION));
    assert_eq!(bench.see(2, 1), [spawn(2, Event::Created, 2, 1)]);
}

#[test]
fn a_node_that_was_never_there_is_no_deletion() {
    for run_on_load in [RunOnLoad::Always, RunOnLoad::Changed, RunOnLoad::Never] {
        let mut bench = Bench::new(Policy { run_on_load, ..DELETE });
        assert_eq!((bench.miss(), condition(&bench)), (vec![], Condition::Absent));
    }
}

#[test]
fn without_the_key_a_deletion_is_told_once_if_the_action_has_something_of_the_node() {
    let mut bench = settled(SILENT);
    assert_eq!((bench.miss(), bench.miss()), (vec![Effect::Deleted], vec![]));
    assert_eq!(condition(&bench), Condition::Deleted);
    let mut next = bench.reborn(SILENT, None);
    assert_eq!((next.miss(), condition(&next)), (vec![], Condition::Deleted));

    let mut untouched = Bench::new(SILENT);
    untouched.see(1, 1);
    assert_eq!((untouched.miss(), condition(&untouched)), (vec![], Condition::Absent));
}

#[test]
fn a_deletion_while_no_daemon_ran_runs_once_whatever_is_loaded() {
    for run_on_load in [RunOnLoad::Always, RunOnLoad::Changed, RunOnLoad::Never] {
        let policy = Policy { run_on_load, ..DELETE };
        let mut next = settled(policy.clone()).reborn(policy.clone(), None);
        assert_eq!(next.miss(), [deleted(1)]);
        let mut interrupted = next.reborn(policy.clone(), None);
        assert_eq!(interrupted.miss(), [deleted(1)], "the ledger knows that it ran, not that it ended");
        assert_eq!(interrupted.end(1), []);
        assert_eq!(interrupted.reborn(policy, None).miss(), [], "it is applied");
    }
}

#[test]
fn an_interrupted_deletion_is_a_creation_when_the_node_is_back() {
    let mut bench = settled(DELETE);
    bench.miss();
    assert_eq!(bench.reborn(DELETE, None).see(2, 1), [spawn(1, Event::Created, 2, 1)]);
    // A ledger that knows of the run, but not that the node was gone.
    let snapshot = Snapshot { seen: Some(Seen::Present(version(1, 1))), ..bench.watch.snapshot() };
    let mut next = Bench::of(Watch::new(DELETE.into(), snapshot));
    assert_eq!(next.see(1, 1), [spawn(1, Event::Created, 1, 1)]);
}

#[test]
fn the_run_mode_decides_about_a_deletion_during_a_run() {
    let mut queue = settled(DELETE);
    assert_eq!(queue.see(1, 2), [spawn(1, Event::Changed, 1, 2)]);
    assert_eq!((queue.see(1, 3), queue.miss()), (vec![], vec![]));
    assert_eq!(queue.end(1), [deleted(2)], "the deletion is the latest state");

    let mut back = settled(DELETE);
    back.see(1, 2);
    assert_eq!((back.miss(), back.see(2, 1)), (vec![], vec![]));
    assert_eq!(back.end(1), [spawn(2, Event::Created, 2, 1)]);

    let mut parallel = settled(Policy { max_parallel: 1, run_mode: RunMode::Parallel, ..DELETE });
    parallel.see(1, 2);
    assert_eq!((parallel.see(1, 3), parallel.miss()), (vec![], vec![]));
    assert_eq!(parallel.end(1), [spawn(2, Event::Changed, 1, 3)]);
    assert_eq!(parallel.end(2), [deleted(3)]);

    let mut discard = settled(Policy { run_mode: RunMode::Discard, ..DELETE });
    discard.see(1, 2);
    assert_eq!(discard.miss(), [Effect::Discarded { version: Version::DELETION }]);
    assert_eq!((discard.end(1), condition(&discard)), (vec![], Condition::Deleted));
}

#[test]
fn without_the_key_an_update_that_waits_runs_after_the_deletion_of_its_node() {
    let mut bench = settled(SILENT);
    bench.see(1, 2);
    assert_eq!((bench.see(1, 3), bench.miss()), (vec![], vec![Effect::Deleted]));
    assert_eq!(bench.end(1), [spawn(2, Event::Changed, 1, 3)]);
    bench.end(2);
    assert_eq!(condition(&bench), Condition::Deleted);
}

#[test]
fn a_deletion_that_fails_is_tried_again_and_can_be_triggered() {
    let mut bench = settled(Policy { run_on_delete: true, run_on_load: RunOnLoad::Never, ..RETRY });
    bench.miss();
    retried(&bench.fail(1), 1, 1);
    assert_eq!(bench.at_deadline(), [deleted(2)]);
    retried(&bench.fail(2), 2, 2);
    assert_eq!(bench.at_deadline(), [deleted(3)]);
    assert_eq!(bench.fail(3), [Effect::GaveUp { failures: 3, stopped: false }]);
    let trigger = WatchCommand::Trigger { force: false };
    assert_eq!(bench.watch.answer(trigger, false), Ok(Accepted::RunsDeleted));
    assert_eq!(bench.step(input(trigger)), []);
    assert_eq!(bench.miss(), [deleted(4)]);
}

#[test]
fn a_trigger_of_a_deletion_is_not_ignored_by_discard() {
    let mut bench = settled(Policy { run_mode: RunMode::Discard, ..DELETE });
    bench.miss();
    assert_eq!(bench.step(Input::Triggered { force: false }), []);
    assert_eq!((bench.miss(), bench.end(1)), (vec![], vec![deleted(2)]));
}

#[test]
fn the_running_action_is_notified_of_a_deletion() {
    let mut bench = settled(Policy { notify_signal: Some(10), ..DELETE });
    bench.see(1, 2);
    assert_eq!(bench.miss(), [Effect::Notify { run: RunId(1), signal: 10 }]);
}

#[test]
fn a_guard_judges_a_deletion_as_empty_content() {
    let shrinks = Guard { max_shrink: crate::model::Share::of_percent(50.0), ..QUEUE.guard };
    for guard in [Guard { not_empty: true, ..QUEUE.guard }, shrinks] {
        let policy = Policy { guard, ..DELETE };
        let mut bench = settled(policy.clone());
        assert!(matches!(bench.miss()[..], [Effect::Held { version: Version::DELETION, .. }]));
        let mut bench = bench.reborn(policy, None);
        assert!(matches!(bench.miss()[..], [Effect::Held { .. }]), "and after a restart");
        assert_eq!(condition(&bench), Condition::Held);
        assert_eq!(bench.step(Input::Triggered { force: true }), []);
        assert_eq!(bench.miss(), [deleted(1)]);
    }
    // The last member went before its container node.
    let mut bench = Bench::new(DELETE);
    let empty = State::Present {
        version: version(1, 1),
        origin: Default::default(),
        content: Content::sample_children(&[]),
    };
    bench.step(Input::Triggered { force: false });
    assert!(matches!(bench.step(Input::Observed(empty))[..], [Effect::Spawn { .. }]));
    bench.end(1);
    bench.policy(Policy { guard: Guard { not_empty: true, ..shrinks }, ..DELETE });
    assert_eq!(bench.miss(), [deleted(1)]);
}

#[test]
fn a_new_definition_runs_the_deletion_that_the_old_one_did_not() {
    let mut bench = settled(SILENT);
    bench.miss();
    let with = |run_on_load| Policy { run_on_delete: true, run_on_load, ..QUEUE };
    bench.redefine(with(RunOnLoad::Never));
    assert_eq!((bench.miss(), condition(&bench)), (vec![], Condition::Deleted));
    bench.redefine(with(RunOnLoad::Always));
    assert_eq!(bench.miss(), [deleted(1)]);
    bench.end(1);
    bench.redefine(with(RunOnLoad::Always));
    assert_eq!((bench.miss(), condition(&bench)), (vec![], Condition::Absent));
}

#[test]
fn a_waiting_deletion_goes_with_the_key() {
    let mut bench = settled(DELETE);
    bench.see(1, 2);
    bench.miss();
    bench.redefine(SILENT);
    assert_eq!((bench.miss(), bench.end(1)), (vec![], vec![]));
}

#[test]
fn a_deletion_that_could_not_start_does_not_run_under_a_definition_that_wants_none() {
    for (run_on_delete, waits) in [(true, 1), (false, 0)] {
        let policy = Policy { run_on_delete: true, ..SILENT };
        let mut bench = settled(policy.clone());
        bench.see(1, 1);
        assert!(matches!(bench.miss()[..], [Effect::Spawn { run: RunId(1), .. }]));
        bench.redefine(Policy { run_on_delete, ..policy });
        bench.step(Input::Ended { run: RunId(1), end: RunResult::Starved });
        assert_eq!(bench.watch.waiting_updates(), waits, "with run_on_delete: {run_on_delete}");
    }
}
