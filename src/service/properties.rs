//! Properties that hold after any sequence of moves.

use proptest::prelude::*;

use super::{Condition, Effect};

mod moves;
mod world;

use moves::{Move, definition, moves};
use world::World;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn at_rest_a_member_is_there_if_and_only_if_its_check_says_so(
        definition in definition(), moves in moves(), is_well in any::<bool>()
    ) {
        let mut world = World::new(definition);
        for step in moves {
            world.apply(step);
        }
        world.settle(is_well);
        let wanted = world.is_wanted();
        let there = world.held_by_us();
        prop_assert_eq!(there.is_some(), wanted, "{:?}", world.service);
        if let Some((name, data)) = there {
            let member = world.member();
            prop_assert_eq!((name, data), (&member.name, &member.data), "it is not the one that is wanted");
        }
        if !world.retired {
            let expected = match () {
                () if world.service.pause().is_some() => Condition::Drained,
                () if wanted => Condition::Announced,
                () => Condition::Failing,
            };
            prop_assert_eq!(world.service.condition(), expected);
        }
        prop_assert_eq!(world.service.is_gone(), !wanted);
    }

    #[test]
    fn nothing_is_commanded_while_nothing_turns(
        definition in definition(), moves in moves(), is_well in any::<bool>(), pause in 0..3u8
    ) {
        let mut world = World::new(definition);
        for step in moves {
            world.apply(step);
        }
        world.settle(is_well);
        for _ in 0..3 {
            world.effects.clear();
            if pause == 0 {
                world.apply(Move::LoseSession);
            }
            world.settle(is_well);
            let is_check = |effect: &Effect| matches!(effect, Effect::StartCheck { .. });
            prop_assert!(world.effects.iter().all(is_check), "{:?}", world.effects);
        }
    }

    #[test]
    fn a_member_that_is_there_and_well_is_never_missed_over_a_crash(
        definition in definition(), moves in moves()
    ) {
        let mut world = World::new(definition);
        for step in moves {
            world.apply(step);
        }
        world.settle(true);
        let was_there = world.held_by_us().is_some();
        world.effects.clear();
        world.apply(Move::Crash);
        let announces = world.effects.iter().any(|effect| matches!(effect, Effect::Announce(_)));
        prop_assert_eq!(announces, was_there);
        world.apply(Move::Deliver);
        world.apply(Move::GhostExpires);
        prop_assert_eq!(world.held_by_us().is_some(), was_there);
    }
}
