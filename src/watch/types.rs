//! What a watch is told and what it answers.

use std::time::Duration;

use super::{HoldReason, Snapshot};
use crate::model::{Content, Guard, OnFailure, Retry, RunMode, RunOnLoad, State, Throttle, Version};

/// Time since an arbitrary origin, from a monotonic clock: a step of the wall clock moves no timeout.
pub type Time = Duration;

/// How long a group may live after SIGTERM before it gets SIGKILL. The original's documented number.
pub const KILL_AFTER: Duration = Duration::from_secs(5);

/// How many updates wait in PARALLEL beyond `max_parallel` running ones; from the contract.
pub const MAX_WAITING: usize = 1024;

/// Names one run; unique within a daemon's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u64);

/// The part of a definition that decides; the rest only concerns how an action is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub run_mode: RunMode,
    pub run_on_load: RunOnLoad,
    pub notify_signal: Option<i32>,
    pub timeout: Option<Duration>,
    pub max_parallel: usize,
    pub on_children: bool,
    pub retry: Option<Retry>,
    pub on_failure: OnFailure,
    pub throttle: Throttle,
    pub guard: Guard,
}

/// Why an action runs, as `TWITCHER_EVENT` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Load,
    Created,
    Changed,
    Children,
    /// An operator asked for it.
    Trigger,
}

impl Event {
    pub const ALL: [Event; 5] =
        [Event::Load, Event::Created, Event::Changed, Event::Children, Event::Trigger];

    pub fn as_str(self) -> &'static str {
        match self {
            Event::Load => "load",
            Event::Created => "created",
            Event::Changed => "changed",
            Event::Children => "children",
            Event::Trigger => "trigger",
        }
    }

    /// Why to run with a newer content in the place of one that was to be run for the reason `older`.
    pub(super) fn replacing(self, older: Self) -> Self {
        match (older, self) {
            // It is still the first run of this definition, or the one that was asked for, only with newer content.
            (asked @ Event::Load, _)
            | (asked @ Event::Trigger, Event::Created | Event::Changed | Event::Children) => asked,
            (_, event) => event,
        }
    }
}

/// One content that the action should run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub event: Event,
    pub version: Version,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Input {
    /// The store gave a state of the node; it may be one that was given before.
    Observed(State),
    /// A run is over: its process is reaped and its output drained, or it could not be started.
    Ended {
        run: RunId,
        end: RunResult,
    },
    /// A file registers the watch, for the first time or again after it was retired. `snapshot` is what is known of
    /// this node from before; `same_definition` says whether the runs that still live belong to this one.
    Loaded {
        policy: Policy,
        snapshot: Snapshot,
        same_definition: bool,
    },
    /// The definition changed. `same_subject` is false if it watches another node or facet now. The caller
    /// makes sure that an observation follows.
    Redefined {
        policy: Policy,
        same_subject: bool,
    },
    /// The watch was removed from its file. What runs may run to its end.
    Retired,
    /// An operator wants a run with what is there, also of a watch that a failure stopped. What is held is run with `force`
    /// only. The caller makes sure that an observation follows.
    Triggered {
        force: bool,
    },
    /// An operator wants nothing started or notified until [`Input::Resumed`]; what runs may run to its end.
    Paused,
    Resumed,
    /// An operator ends what runs, as its timeout would.
    Killed,
    /// The daemon stops: nothing new is started, and what runs has `grace` to end by itself.
    Stopping {
        grace: Duration,
    },
    /// Time passed.
    Tick,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunResult {
    /// With exit code 0, and not told to.
    Succeeded,
    /// In any other way, or its program cannot be started.
    Failed,
    /// It could not be started for want of descriptors, memory or processes, which is no fault of its own.
    Starved,
    /// The daemon stopped or died before it had ended: nobody knows what it has done.
    Interrupted,
}

/// Why a run is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Timeout,
    Stop,
    /// An operator asked for it.
    Kill,
}

/// What is to be done.
///
/// What is spawned is late `since` its update was accepted and the waits that the definition asks for (throttles, the pause
/// before a retry) were over: it waited longer for other runs only, or for want of resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Spawn {
        run: RunId,
        update: Update,
        since: Time,
    },
    /// `notify_signal`, to the run's process group.
    Notify {
        run: RunId,
        signal: i32,
    },
    /// SIGTERM to the run's process group.
    Terminate {
        run: RunId,
        reason: Reason,
    },
    /// SIGKILL to the run's process group, [`KILL_AFTER`] its SIGTERM.
    Kill {
        run: RunId,
    },
    /// A guard holds an update: it is not run unless an operator wants it. Once for each state of the node and each
    /// definition.
    Held {
        version: Version,
        hold_reason: HoldReason,
    },
    /// DISCARD ignored an update.
    Discarded {
        version: Version,
    },
    /// PARALLEL replaced the newest waiting update by a newer one; `total` so far.
    Superseded {
        total: u64,
    },
    /// After `failures` in a row the same update is tried again, unless a newer one comes before.
    Retry {
        run: RunId,
        failures: u32,
        after: Duration,
    },
    /// A starved update is started again, or a newer one in its place.
    Postponed {
        run: RunId,
        after: Duration,
    },
    /// The update is not tried again. With `stopped`, nothing is until the definition changes.
    GaveUp {
        failures: u32,
        stopped: bool,
    },
    /// A retired watch has nothing left that runs; it can be dropped.
    Forget,
}
