//! What can happen to a service.

use std::time::Duration;

use proptest::prelude::*;

use crate::model::Pace;

/// A definition in small numbers, so that equal ones are frequent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) address: u8,
    pub(super) data: u8,
    /// Which command checks it. `None`: none.
    pub(super) check: Option<u8>,
    pub(super) pace: Pace,
}

#[derive(Clone, Debug)]
pub(super) enum Move {
    Sleep(u64),
    /// The check that runs executes its program since so many seconds.
    CheckStarted(u64),
    CheckPasses,
    CheckFails,
    CheckNotStarted,
    /// From now on, killed checks do not end (`true`), or end at once.
    Unkillable(bool),
    Redefine(Made),
    Retire,
    Load,
    Pause(Option<u64>),
    Resume,
    /// The keeper carries out what it was told, and reports.
    Deliver,
    /// The keeper's session expires with its members.
    LoseSession,
    /// The session of a former daemon expires.
    GhostExpires,
    /// Somebody takes the node, or lets it go.
    Foreign(bool),
    /// From now on, the store refuses members (`true`), or takes them.
    Refuse(bool),
    /// The keeper reports once more.
    ReportAgain,
    /// The daemon is killed and started again.
    Crash,
    /// The daemon is stopped and started again.
    Restart,
}

pub(super) fn definition() -> impl Strategy<Value = Made> {
    let seconds = |limit: u64| (1..limit).prop_map(Duration::from_secs);
    let pace = (seconds(6), seconds(4), 1..4u32, 1..4u32).prop_map(|(interval, timeout, rise, fall)| Pace {
        interval,
        timeout,
        rise,
        fall,
    });
    (0..2u8, 0..2u8, prop_oneof![1 => Just(None), 4 => (0..2u8).prop_map(Some)], pace)
        .prop_map(|(address, data, check, pace)| Made { address, data, check, pace })
}

pub(super) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (0..8u64).prop_map(Move::Sleep),
        5 => (0..3u64).prop_map(Move::CheckStarted),
        10 => Just(Move::CheckPasses),
        6 => Just(Move::CheckFails),
        2 => Just(Move::CheckNotStarted),
        1 => any::<bool>().prop_map(Move::Unkillable),
        2 => definition().prop_map(Move::Redefine),
        1 => Just(Move::Retire),
        2 => Just(Move::Load),
        1 => proptest::option::of(0..20u64).prop_map(Move::Pause),
        2 => Just(Move::Resume),
        8 => Just(Move::Deliver),
        2 => Just(Move::LoseSession),
        1 => Just(Move::GhostExpires),
        1 => any::<bool>().prop_map(Move::Foreign),
        1 => any::<bool>().prop_map(Move::Refuse),
        2 => Just(Move::ReportAgain),
        2 => Just(Move::Crash),
        1 => Just(Move::Restart),
    ];
    proptest::collection::vec(one, 0..60)
}
