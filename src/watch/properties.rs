//! Properties that hold after any sequence of moves.

use proptest::prelude::*;

use super::{Condition, RunResult, Snapshot};
use crate::model::{Format, Guard, Policy, RunOnLoad, Version};

mod moves;
mod rules;
mod world;

use moves::{Move, moves, policy};
use world::World;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn every_rule_holds_after_any_history(policy in policy(), moves in moves()) {
        let mut world = World::new(policy);
        for step in moves {
            world.apply(step);
        }
        world.settle();
        let held = world.watch.held().map(|held| held.version);
        let done = [world.last_run, world.discarded, world.skipped, held];
        match (world.version(), world.state_to_run()) {
            _ if world.retired || world.stopped => {}
            (Some(version), _) => prop_assert!(
                done.contains(&Some(version)),
                "at rest the last content {:?} is not the last that ran ({:?})", version, world.last_run
            ),
            (None, Some(deletion)) if !world.deleted_unrun => {
                let owes = world.has_applied_content() || world.last_run.is_some();
                prop_assert!(
                    !owes || done.contains(&Some(deletion)),
                    "at rest the node is deleted, and the last that ran is {:?}", world.last_run
                );
            }
            (None, _) => {}
        }
        if let Some(held) = world.watch.held() {
            prop_assert_eq!(Some(held.version), world.state_to_run(), "what is held is there no more");
            let expected = if world.stopped { Condition::Stopped } else { Condition::Held };
            prop_assert_eq!(world.watch.condition(false), expected);
            prop_assert!(world.said.contains(&held.version.revision), "held without a word");
        }
        prop_assert_eq!(world.watch.deadline(), None, "a deadline without a run");
    }

    #[test]
    fn at_rest_a_restart_runs_nothing_that_is_done(
        policy in policy(), moves in moves(), crash in any::<bool>()
    ) {
        let mut world = World::new(policy);
        for step in moves {
            world.apply(step);
        }
        world.apply(Move::Lag(false));
        world.settle();
        let before = world.ever.len();
        let applied = world.applied.map(|(_, version)| version);
        let Snapshot { discarded, admitted, .. } = world.watch.snapshot();
        let done = world.state_to_run().is_none_or(|version| [applied, discarded].contains(&Some(version)));
        let runs = world.version().is_some() || world.state_to_run().is_some() && world.has_applied_content();
        let held = world.watch.held().map(|held| held.version);
        let holds = |version: Version| {
            let cleared = [applied, admitted].contains(&Some(version));
            let is_faulty = world.is_faulty(version.revision);
            held == Some(version) || is_faulty || !cleared && world.is_suspicious(version.revision)
        };
        let holds = world.state_to_run().is_some_and(holds);
        let expected = match world.policy.run_on_load {
            _ if world.retired || world.stopped || holds => 0,
            RunOnLoad::Never => 0,
            RunOnLoad::Changed => usize::from(runs && !done),
            RunOnLoad::Always => usize::from(runs),
        };
        world.apply(if crash { Move::Crash(0) } else { Move::Restart(vec![RunResult::Succeeded]) });
        world.settle();
        prop_assert_eq!(world.ever.len(), before + expected);
        if let Some(held) = held {
            prop_assert_eq!(world.watch.held().map(|held| held.version), Some(held), "forgotten");
            prop_assert!(world.said.contains(&held.revision), "held without a word");
        }
    }

    #[test]
    fn at_rest_a_resync_runs_nothing(policy in policy(), moves in moves()) {
        let mut world = World::new(policy);
        for step in moves {
            world.apply(step);
        }
        world.settle();
        let before = world.ever.len();
        world.apply(Move::Resync);
        prop_assert_eq!(world.ever.len(), before);
    }
}

// Found by the first of the properties, which rarely gets there.
#[test]
fn what_was_not_started_runs_under_a_definition_that_decodes_it_first() {
    let plain = Policy { run_on_load: RunOnLoad::Never, ..Policy::DEFAULT };
    let decodes = Policy { decode: Some(Format::Json), ..plain.clone() };
    let mut world = World::new(plain);
    let starved = Move::RunResult(0, RunResult::Starved);
    for step in [Move::Resync, Move::ForceTooLate(3), Move::Redefine(decodes, true), starved] {
        world.apply(step);
    }
    world.settle();
    assert_eq!((world.last_run, world.ever.len()), (world.version(), 2));
}

// Found by the second of the properties, which rarely gets there. The running action is notified of the
// update that waited, and the one that ends the pause is held.
#[test]
fn a_pause_that_ends_with_an_update_to_be_held_notifies_of_what_waited() {
    let guard = Guard { max_data: Some(4), ..Guard::default() };
    let policy = Policy { notify_signal: Some(10), guard, ..Policy::DEFAULT };
    let mut world = World::new(policy);
    for step in [Move::Change(0), Move::Change(0), Move::Change(0), Move::Pause(Some(0)), Move::Change(5)] {
        world.apply(step);
    }
    world.settle();
    assert_eq!(world.watch.held().map(|held| held.version), world.version());
}
