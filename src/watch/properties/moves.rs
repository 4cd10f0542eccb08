//! Strategies for moves, which are what can happen to a watch, and for policies.

use std::time::Duration;

use proptest::prelude::*;

use crate::model::{Format, Guard, OnFailure, Policy, Retry, RunMode, RunOnLoad, Share, Throttle};
use crate::watch::RunResult;

/// A node has fewer bytes than this.
const MAX_BYTES: u8 = 9;

/// One event in the world of a watch.
#[derive(Clone, Debug)]
pub(super) enum Move {
    /// The node changes to this many bytes, and the store reports it.
    Change(u8),
    /// The node changes, but a newer state comes before the store reads it.
    ChangeUnseen(u8),
    Delete,
    DeleteUnseen,
    /// The store reports the present state again.
    Resync,
    /// The oldest decoding that was asked for comes to an end. It may be of no use any more.
    Verdict,
    /// A verdict comes again.
    VerdictAgain,
    /// The live run with this index, modulo their number, ends.
    RunResult(usize, RunResult),
    /// The watch is told that the program of a run is executing, so many seconds after it was executed. The
    /// index is that of a live run which the watch takes to be starting, modulo their number.
    Started(usize, u64),
    /// The updates that wait hold too many bytes.
    Shed,
    Sleep(u64),
    Redefine(Policy, bool),
    Retire,
    /// An operator triggers the watch.
    Trigger {
        force: bool,
    },
    /// An operator forces what is held, but the node changes before the store reports it.
    ForceTooLate(u8),
    /// An operator forces what is held, but the daemon is killed before the store reports it.
    ForceAndCrash,
    /// An operator pauses the watch, for so many seconds or until it is resumed.
    Pause(Option<u64>),
    Resume,
    Kill,
    /// From now on, the daemon has places for runs (`true`), or none.
    Places(bool),
    /// The daemon has a place for one run.
    Place,
    /// From now on, the ledger learns of changes only when an action starts (`true`), or at once.
    Lag(bool),
    /// The daemon is killed and started again. A live run survives if its bit is set.
    Crash(u8),
    /// The daemon is stopped and started again. The live runs end with these results, in turn.
    Restart(Vec<RunResult>),
}

pub(super) fn policy() -> impl Strategy<Value = Policy> {
    let mode = prop_oneof![Just(RunMode::Queue), Just(RunMode::Discard), Just(RunMode::Parallel)];
    let timeout = proptest::option::of((1..20u64).prop_map(Duration::from_secs));
    let seconds = |limit: u64| (0..limit).prop_map(Duration::from_secs);
    let retry = (1..4u32, 1..4u64, 1..8u64).prop_map(|(attempts, delay, max_delay)| Retry {
        attempts,
        delay: Duration::from_secs(delay),
        max_delay: Duration::from_secs(max_delay),
    });
    let on_failure = prop_oneof![3 => Just(OnFailure::Keep), 1 => Just(OnFailure::Stop)];
    let debounce_max = proptest::option::of(seconds(9));
    let throttle = (seconds(5), debounce_max, seconds(5), seconds(5)).prop_map(
        |(debounce, debounce_max, min_interval, splay)| Throttle {
            debounce,
            debounce_max,
            min_interval,
            splay,
        },
    );
    let throttle = prop_oneof![Just(Throttle::default()), throttle];
    let decode = prop_oneof![2 => Just(None), 1 => Just(Some(Format::Json)), 1 => Just(Some(Format::Cbor))];
    let failure = (proptest::option::of(retry), on_failure, throttle, guard(), decode);
    let run_on_load = prop_oneof![Just(RunOnLoad::Never), Just(RunOnLoad::Always), Just(RunOnLoad::Changed)];
    (mode, (run_on_load, any::<bool>()), any::<bool>(), timeout, 1..4u32, failure).prop_map(
        |(
            run_mode,
            (run_on_load, run_on_delete),
            notify,
            timeout,
            max_parallel,
            (retry, on_failure, throttle, guard, decode),
        )| {
            Policy {
                run_mode,
                run_on_load,
                run_on_delete,
                notify_signal: notify.then_some(10),
                timeout,
                max_parallel,
                retry,
                on_failure,
                throttle,
                guard,
                decode,
            }
        },
    )
}

fn guard() -> impl Strategy<Value = Guard> {
    let max_shrink = (0..=100u8).prop_map(|percent| Share::of_percent(percent.into()).expect("a share"));
    let max_data = 0..u64::from(MAX_BYTES);
    let guard = (proptest::option::of(max_data), any::<bool>(), proptest::option::of(max_shrink))
        .prop_map(|(max_data, not_empty, max_shrink)| Guard { max_data, not_empty, max_shrink });
    prop_oneof![Just(Guard::default()), guard]
}

fn end() -> impl Strategy<Value = RunResult> {
    prop_oneof![4 => Just(RunResult::Succeeded), 3 => Just(RunResult::Failed), 1 => Just(RunResult::Starved)]
}

/// How runs end while the daemon stops.
fn last_end() -> impl Strategy<Value = RunResult> {
    prop_oneof![
        2 => Just(RunResult::Interrupted),
        1 => Just(RunResult::Succeeded),
        1 => Just(RunResult::Failed),
    ]
}

pub(super) fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (0..MAX_BYTES).prop_map(Move::Change),
        2 => (0..MAX_BYTES).prop_map(Move::ChangeUnseen),
        2 => Just(Move::Delete),
        1 => Just(Move::DeleteUnseen),
        3 => Just(Move::Resync),
        8 => Just(Move::Verdict),
        1 => Just(Move::VerdictAgain),
        6 => (0..8usize, end()).prop_map(|(run, end)| Move::RunResult(run, end)),
        4 => (0..8usize, 0..10u64).prop_map(|(run, ago)| Move::Started(run, ago)),
        1 => Just(Move::Shed),
        4 => (0..10u64).prop_map(Move::Sleep),
        2 => (policy(), any::<bool>()).prop_map(|(policy, same)| Move::Redefine(policy, same)),
        1 => Just(Move::Retire),
        2 => any::<bool>().prop_map(|force| Move::Trigger { force }),
        1 => (0..MAX_BYTES).prop_map(Move::ForceTooLate),
        1 => Just(Move::ForceAndCrash),
        1 => proptest::option::of(0..20u64).prop_map(Move::Pause),
        2 => Just(Move::Resume),
        1 => Just(Move::Kill),
        1 => any::<bool>().prop_map(Move::Lag),
        1 => any::<bool>().prop_map(Move::Places),
        3 => Just(Move::Place),
        2 => any::<u8>().prop_map(Move::Crash),
        1 => proptest::collection::vec(last_end(), 1..4).prop_map(Move::Restart),
    ];
    proptest::collection::vec(one, 0..60)
}
