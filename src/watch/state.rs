//! The state of a watch.

use std::collections::VecDeque;

use super::{Event, Generator, Held, HoldReason, Reason, RunId, Seen, Snapshot, Time, Update};
use crate::model::{Policy, RunOnLoad, Version};

/// One watch: what it knows of its node, its runs, and the updates that wait to run.
#[derive(Debug)]
pub struct Watch {
    pub(super) policy: Policy,
    pub(super) life: Life,
    /// The number of the present definition.
    pub(super) definition: u64,
    /// The number of the present subject.
    pub(super) subject: u64,
    /// The last state that the store reported. `None` until its first report on this subject.
    pub(super) seen: Option<Seen>,
    /// Whether this daemon observed `seen`, and not a former one.
    pub(super) observed: bool,
    pub(super) load: Load,
    /// The next content that is seen runs for this reason, whatever its version, because a run was
    /// interrupted or an operator asked for one.
    pub(super) interrupted: Option<Event>,
    pub(super) runs: Vec<Run>,
    /// The updates that wait to run, oldest first. Only PARALLEL has more than one.
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) superseded: u64,
    /// The update that a guard holds. It is boxed, because few watches have one.
    pub(super) held: Option<Box<Held>>,
    /// What was held when an operator forced it, until the store reports whether it is still there.
    pub(super) forced: Option<Version>,
    /// The number of accepted updates, which is also the number of the newest one.
    pub(super) accepted: u64,
    /// When the newest update was accepted.
    pub(super) accepted_at: Time,
    /// When the last run started.
    pub(super) started_at: Option<Time>,
    /// The number of the newest update that ran.
    pub(super) ran: u64,
    /// The number of the newest update that ran with success.
    pub(super) succeeded: u64,
    // The rest is described at `Snapshot`.
    pub(super) applied: Option<Version>,
    pub(super) discarded: Option<Version>,
    pub(super) admitted: Option<Version>,
    pub(super) applied_size: Option<u64>,
    pub(super) failures: u32,
    pub(super) stopped: bool,
    pub(super) paused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Active,
    /// No file registers the watch, or not yet.
    Retired,
    /// The daemon stops.
    Stopping,
}

/// Whether the next content that is seen runs as [`Event::Load`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    No,
    Due,
    /// It runs unless it was applied, or ignored by DISCARD, under this definition.
    DueIfNew,
}

impl Load {
    pub(super) fn of(policy: &Policy) -> Self {
        match policy.run_on_load {
            RunOnLoad::Never => Load::No,
            RunOnLoad::Always => Load::Due,
            RunOnLoad::Changed => Load::DueIfNew,
        }
    }
}

/// A run that has not ended.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: RunId,
    /// The number of its definition. The first run of a newer definition waits for it.
    pub(super) definition: u64,
    /// The number of its subject. A result for one subject says nothing about another.
    pub(super) subject: u64,
    pub(super) phase: Phase,
    /// The number of its update.
    pub(super) number: u64,
    /// How often its update failed before.
    pub(super) failures: u32,
    /// How often its update could not be started before.
    pub(super) starved: u32,
    /// When it was due, as in [`Effect::Spawn`](super::Effect::Spawn).
    pub(super) since: Time,
    /// The update, which may have to run again. `None` for a run of a former daemon: whatever its end, its
    /// update must run again.
    pub(super) update: Option<Update>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// At `until`, the run is told to end for this reason.
    Running {
        until: Option<Time>,
        reason: Reason,
    },
    Terminated {
        kill_at: Time,
    },
    Killed,
}

impl Phase {
    pub(super) fn deadline(self) -> Option<Time> {
        match self {
            Phase::Running { until, .. } => until,
            Phase::Terminated { kill_at } => Some(kill_at),
            Phase::Killed => None,
        }
    }
}

/// An update that waits to run.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) update: Update,
    pub(super) number: u64,
    /// How often it ran and failed.
    pub(super) failures: u32,
    /// How often it could not be started.
    pub(super) starved: u32,
    /// The end of its splay or of its delay.
    pub(super) not_before: Time,
    /// When it was due, as in [`Effect::Spawn`](super::Effect::Spawn), but without `debounce` and
    /// `min_interval`.
    pub(super) since: Time,
}

impl Watch {
    /// Makes a watch that a file registers. `snapshot` is what is known of it from before.
    pub fn new(policy: Policy, snapshot: Snapshot) -> Self {
        let mut watch = Self::unloaded();
        watch.load(policy, snapshot, true);
        watch
    }

    /// Makes a watch that no file registers, or not yet. Runs of a former daemon may be added with
    /// [`Self::adopt`].
    pub fn unloaded() -> Self {
        Self {
            policy: Policy::UNLOADED,
            life: Life::Retired,
            definition: 0,
            subject: 0,
            seen: None,
            observed: false,
            load: Load::No,
            interrupted: None,
            runs: Vec::new(),
            waiting: VecDeque::new(),
            superseded: 0,
            held: None,
            forced: None,
            accepted: 0,
            accepted_at: Time::ZERO,
            started_at: None,
            ran: 0,
            succeeded: 0,
            applied: None,
            discarded: None,
            admitted: None,
            applied_size: None,
            failures: 0,
            stopped: false,
            paused: false,
        }
    }

    /// Takes over a run of a former daemon, with the end of its timeout. Like an
    /// [`Effect::Spawn`](super::Effect::Spawn), it must be answered by [`Input::Ended`](super::Input::Ended).
    pub fn adopt(&mut self, until: Option<Time>, generator: &mut Generator) -> RunId {
        let id = generator.run_id();
        self.runs.push(Run {
            id,
            definition: self.definition,
            subject: self.subject,
            phase: Phase::Running { until, reason: Reason::Timeout },
            number: 0,
            failures: 0,
            starved: 0,
            since: Time::ZERO,
            update: None,
        });
        id
    }

    pub(super) fn load(&mut self, policy: Policy, snapshot: Snapshot, same_definition: bool) {
        let Snapshot {
            seen,
            pending,
            applied,
            discarded,
            held,
            admitted,
            applied_size,
            failures,
            stopped,
            paused,
        } = snapshot;
        if !same_definition {
            self.definition += 1;
            self.subject += 1;
        }
        // While the daemon stops, a load must not start anything.
        if self.life == Life::Retired {
            self.life = Life::Active;
        }
        self.load = Load::of(&policy);
        self.policy = policy;
        (self.seen, self.observed) = (seen, false);
        self.interrupted = pending;
        (self.applied, self.discarded) = (applied, discarded);
        self.held = held.map(|version| {
            let event = pending.unwrap_or(Event::Load);
            Box::new(Held { event, version, hold_reason: HoldReason::HeldBefore })
        });
        (self.forced, self.admitted) = (None, admitted);
        self.applied_size = applied_size;
        (self.failures, self.stopped) = (failures, stopped);
        self.paused |= paused;
    }

    /// Returns what the next daemon needs in order to go on from here.
    pub fn snapshot(&self) -> Snapshot {
        let waiting = self.waiting.back().map(|waiting| waiting.update.event);
        let ours = self.runs.iter().filter(|run| run.subject == self.subject);
        let running = ours.filter_map(|run| Some(run.update.as_ref()?.event)).next_back();
        Snapshot {
            seen: self.seen,
            pending: waiting.or(running).or(self.interrupted).or(self.held().map(|held| held.event)),
            applied: self.applied,
            discarded: self.discarded,
            held: self.held().map(|held| held.version),
            // Forced content is cleared, even if the store has not reported yet that it is still there.
            admitted: self.forced.or(self.admitted),
            applied_size: self.applied_size,
            failures: self.failures,
            stopped: self.stopped,
            paused: self.paused,
        }
    }

    /// Returns the update that a guard holds, if there is one.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_deref()
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the number of runs that have not ended.
    pub fn live_runs(&self) -> usize {
        self.runs.len()
    }

    /// Returns the runs that have not ended, oldest first.
    pub fn runs(&self) -> impl Iterator<Item = RunId> {
        self.runs.iter().map(|run| run.id)
    }

    /// Returns the number of updates that wait to run.
    pub fn waiting_updates(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the next report of the store decides something.
    pub fn awaits_observation(&self) -> bool {
        !self.observed || self.interrupted.is_some() || self.load != Load::No
    }

    /// Returns the number of runs that failed in a row, under the present definition.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}
