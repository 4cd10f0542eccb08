//! Tests of the answers to operators, and that a refused command changes nothing.

use super::*;
use crate::model::Guard;

const TRIGGER: WatchCommand = WatchCommand::Trigger { force: false };
const FORCE: WatchCommand = WatchCommand::Trigger { force: true };
const NOT_EMPTY: Guard = Guard { not_empty: true, ..QUEUE.guard };

fn running(policy: Policy) -> Bench {
    let mut bench = Bench::new(policy);
    assert_eq!(bench.see(1, 1), [spawn(1, Event::Load, 1, 1)]);
    bench
}

fn stopping() -> Bench {
    let mut bench = running(QUEUE);
    bench.step(Input::Stopping { grace: Duration::from_secs(9) });
    bench
}

fn removed() -> Bench {
    let mut bench = running(QUEUE);
    assert_eq!(bench.step(Input::Retired), []);
    bench
}

fn paused() -> Bench {
    let mut bench = settled(SILENT);
    assert_eq!(bench.step(pause()), []);
    bench
}

fn absent() -> Bench {
    let mut bench = settled(SILENT);
    assert_eq!(bench.miss(), [Effect::Deleted]);
    bench
}

fn holding() -> Bench {
    let mut bench = Bench::new(Policy { guard: NOT_EMPTY, ..QUEUE });
    let content = Content::Data([].into());
    let state = State::Present { version: version(1, 1), origin: Default::default(), content };
    assert!(matches!(bench.step(Input::Observed(state))[..], [Effect::Held { .. }]));
    bench
}

#[test]
fn a_refused_command_says_why_and_changes_nothing() {
    let held = Held { event: Event::Load, version: version(1, 1), hold_reason: HoldReason::Empty };
    for (what, mut bench, command, expected) in [
        ("a trigger while the daemon stops", stopping(), TRIGGER, Refusal::Stopping),
        ("a pause while the daemon stops", stopping(), WatchCommand::Pause, Refusal::Stopping),
        ("a resume while the daemon stops", stopping(), WatchCommand::Resume, Refusal::Stopping),
        ("a kill while the daemon stops", stopping(), WatchCommand::Kill, Refusal::Stopping),
        ("a kill of what does not run", settled(QUEUE), WatchCommand::Kill, Refusal::NothingRuns),
        ("a trigger of a removed watch", removed(), TRIGGER, Refusal::NotRegistered),
        ("a forced trigger of a removed watch", removed(), FORCE, Refusal::NotRegistered),
        ("a pause of a removed watch", removed(), WatchCommand::Pause, Refusal::NotRegistered),
        ("a resume of a removed watch", removed(), WatchCommand::Resume, Refusal::NotRegistered),
        ("a trigger of a paused watch", paused(), TRIGGER, Refusal::Paused),
        ("a forced trigger of a paused watch", paused(), FORCE, Refusal::Paused),
        ("a trigger without a node", absent(), TRIGGER, Refusal::NoNode),
        ("a forced trigger without a node", absent(), FORCE, Refusal::NoNode),
        ("a trigger of what is held", holding(), TRIGGER, Refusal::Held(held)),
    ] {
        for unreadable in [false, true] {
            assert_eq!(bench.watch.answer(command, unreadable), Err(expected.clone()), "{what}");
        }
        let before = bench.watch.snapshot();
        assert_eq!(bench.step(input(command)), [], "{what}");
        assert_eq!(bench.watch.snapshot(), before, "{what}");
    }
}

#[test]
fn an_accepted_command_says_what_comes_of_it() {
    let mut waiting = paused();
    assert_eq!(waiting.see(1, 2), []);
    for (what, bench, command, expected) in [
        ("nothing was seen yet", Bench::new(QUEUE), TRIGGER, Accepted::RunsOnceReadable),
        ("at rest", settled(QUEUE), TRIGGER, Accepted::RunsPresent),
        ("at rest, nothing held", settled(QUEUE), FORCE, Accepted::RunsPresent),
        ("running", running(QUEUE), TRIGGER, Accepted::RunsNext),
        ("running in PARALLEL", running(PARALLEL), TRIGGER, Accepted::RunsPresent),
        ("holding", holding(), FORCE, Accepted::RunsHeld),
        ("at rest", settled(QUEUE), WatchCommand::Pause, Accepted::Paused),
        ("paused", paused(), WatchCommand::Pause, Accepted::PausedAnew),
        ("paused", paused(), WatchCommand::Resume, Accepted::Resumed { waiting: false }),
        ("paused, with an update", waiting, WatchCommand::Resume, Accepted::Resumed { waiting: true }),
        ("at rest", settled(QUEUE), WatchCommand::Resume, Accepted::NotPaused),
        ("without a node", absent(), WatchCommand::Pause, Accepted::Paused),
        ("running", running(QUEUE), WatchCommand::Kill, Accepted::Killed),
        ("removed, and running", removed(), WatchCommand::Kill, Accepted::Killed),
    ] {
        assert_eq!(bench.watch.answer(command, false), Ok(expected), "{what}: {command:?}");
    }
    let unreadable = settled(QUEUE).watch.answer(TRIGGER, true);
    assert_eq!(unreadable, Ok(Accepted::RunsOnceReadable));
}

#[test]
fn an_answer_that_nothing_changes_is_true() {
    let mut bench = settled(QUEUE);
    assert!(!bench.watch.answer(WatchCommand::Resume, false).unwrap().changes_something());
    let before = bench.watch.snapshot();
    assert_eq!(bench.step(Input::Resumed), []);
    assert_eq!(bench.watch.snapshot(), before);
}
