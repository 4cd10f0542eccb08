//! The state of a watch.

use std::sync::Arc;
use std::time::Duration;

use super::past::Past;
use super::seldom::Seldom;
use super::waiting::{Queue, Undecoded, Waiting};
use super::{Event, Generator, Held, HoldReason, Reason, RunId, Seen, Snapshot, Time, Update};
use crate::model::{Content, Decoded, Origin, Pause, Policy, RunOnLoad, Version};

/// One watch: what it knows of its node, its runs, and the updates that wait to run.
#[derive(Debug)]
pub struct Watch {
    pub(super) policy: Arc<Policy>,
    /// Whether a file registers the watch, and whether the daemon stops.
    pub(super) life: Life,
    /// Counts the changes of the definition. A run has the number of the definition that it belongs to.
    pub(super) definition: u64,
    /// Counts the changes of the subject (node and facet), like `definition`.
    pub(super) subject: u64,
    /// The last state that the store reported. `None` until its first report on this subject.
    pub(super) seen: Option<Seen>,
    /// Whether this daemon, not a former one, got a report on the watch.
    pub(super) observed: bool,
    /// What `run_on_load` makes of the next content.
    pub(super) load: Load,
    /// If set, the next content runs with this event, whatever its version. A run was interrupted, or an
    /// operator triggered one.
    pub(super) due_event: Option<Event>,
    pub(super) runs: Seldom<Vec<Run>>,
    /// The updates that wait to run, oldest first. Only PARALLEL has more than one.
    pub(super) waiting: Queue<Waiting>,
    /// The updates whose content is being decoded, or is to be decoded, oldest first.
    pub(super) undecoded: Queue<Undecoded>,
    /// Taken only once an update was accepted, because most watches have none for a long time.
    pub(super) past: Seldom<Past>,
    /// The update that a guard holds. Boxed, because few watches have one.
    pub(super) held: Option<Box<Held>>,
    /// The held version that an operator forced, until the store's next report. Boxed like `held`.
    pub(super) forced: Option<Box<Version>>,
    // `Snapshot` describes the rest.
    pub(super) discarded: Option<Box<Version>>,
    pub(super) failures: u32,
    pub(super) stopped: bool,
    /// Boxed, because few watches are paused.
    pub(super) pause: Option<Box<Pause>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Active,
    /// No loaded config file registers the watch.
    Retired,
    /// The daemon stops.
    Stopping,
}

/// Whether the next content that is seen runs as [`Event::Load`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    No,
    Due,
    /// The content runs unless it was applied, or ignored by DISCARD, under this definition.
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
    /// The [`Watch::definition`] of the run. The first run of a newer definition waits for its end.
    pub(super) definition: u64,
    /// The [`Watch::subject`] of the run. A result for one subject says nothing about another.
    pub(super) subject: u64,
    pub(super) phase: Phase,
    /// The timeout of a run whose program is not executing yet. It has not begun.
    pub(super) timeout: Option<Duration>,
    /// The number of the update.
    pub(super) number: u64,
    /// How often the update failed before this run.
    pub(super) failures: u32,
    /// How often the update could not be started before this run.
    pub(super) starved: u32,
    /// When the run was due, as in [`Effect::Spawn`](super::Effect::Spawn).
    pub(super) since: Time,
    /// `None` for a run of a former daemon: its update must run again, whatever the result.
    pub(super) update: Option<RunUpdate>,
}

impl Run {
    /// Makes sure that the run is told to end at `latest`, for `why` unless it is told so before.
    pub(super) fn end_by(&mut self, latest: Time, why: Reason) {
        match &mut self.phase {
            Phase::Running { until, reason } if until.is_none_or(|until| until > latest) => {
                *until = Some(latest);
                *reason = why;
            }
            Phase::Running { .. } | Phase::Terminated { .. } | Phase::Killed => {}
        }
    }
}

/// The update of a run.
#[derive(Debug)]
pub(super) struct RunUpdate {
    pub(super) event: Event,
    pub(super) version: Version,
    pub(super) origin: Origin,
    /// The size of the content.
    pub(super) size: u64,
    /// The content, as long as the update may have to run again. A large node has many runs in PARALLEL, so
    /// that they would hold a lot.
    pub(super) content: Option<Content>,
    pub(super) decoded: Option<Decoded>,
}

impl RunUpdate {
    pub(super) fn of(update: &Update) -> Self {
        let Update { event, version, origin, content, decoded } = update;
        let (size, content, decoded) = (content.size(), Some(content.clone()), decoded.clone());
        Self { event: *event, version: *version, origin: *origin, size, content, decoded }
    }

    /// Returns the update if it can run again as it is.
    pub(super) fn again(self) -> Option<Update> {
        let Self { event, version, origin, size: _, content, decoded } = self;
        Some(Update { event, version, origin, content: content?, decoded })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The program executes, or is about to. At `until`, the run is told to end for `reason`.
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

impl Watch {
    /// Makes a watch that a file registers. `snapshot` is the state from before.
    pub fn new(policy: Arc<Policy>, snapshot: Snapshot) -> Self {
        let mut watch = Self::unloaded();
        watch.load(policy, snapshot, true);
        watch
    }

    /// Makes a watch that no loaded config file registers. [`Self::adopt`] can add runs of a former daemon.
    pub fn unloaded() -> Self {
        Self {
            policy: Arc::new(Policy::UNLOADED),
            life: Life::Retired,
            definition: 0,
            subject: 0,
            seen: None,
            observed: false,
            load: Load::No,
            due_event: None,
            runs: Seldom::default(),
            waiting: Queue::default(),
            undecoded: Queue::default(),
            past: Seldom::default(),
            held: None,
            forced: None,
            discarded: None,
            failures: 0,
            stopped: false,
            pause: None,
        }
    }

    /// Takes over a run of a former daemon, whose timeout ends at `until`. As after a spawn, the caller must
    /// send one [`Input::Ended`](super::Input::Ended).
    pub fn adopt(&mut self, until: Option<Time>, generator: &mut Generator) -> RunId {
        let id = generator.run_id();
        self.runs.push(Run {
            id,
            definition: self.definition,
            subject: self.subject,
            phase: Phase::Running { until, reason: Reason::Timeout },
            timeout: None,
            number: 0,
            failures: 0,
            starved: 0,
            since: Time::ZERO,
            update: None,
        });
        id
    }

    pub(super) fn load(&mut self, policy: Arc<Policy>, snapshot: Snapshot, same_definition: bool) {
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
            pause,
        } = snapshot;
        if !same_definition {
            self.definition += 1;
            // The subject may have changed, too.
            self.subject += 1;
        }
        // While the daemon stops, a load must not start anything.
        if self.life == Life::Retired {
            self.life = Life::Active;
        }
        self.load = Load::of(&policy);
        self.policy = policy;
        (self.seen, self.observed) = (seen, false);
        self.due_event = pending;
        (self.past.applied, self.discarded) = (applied, discarded.map(Box::new));
        self.held = held.map(|version| {
            let event = pending.unwrap_or(Event::Load);
            Box::new(Held { event, version, hold_reason: HoldReason::HeldBefore })
        });
        (self.forced, self.past.admitted) = (None, admitted);
        self.past.applied_size = applied_size;
        (self.failures, self.stopped) = (failures, stopped);
        // What this daemon was told is newer than the record.
        self.pause = self.pause.take().or(pause);
        self.past.rest();
    }

    /// Returns the state from which the next daemon can continue.
    pub fn snapshot(&self) -> Snapshot {
        let undecoded = self.undecoded.back().map(|undecoded| undecoded.update.event);
        let waiting = self.waiting.back().map(|waiting| waiting.update.event);
        let ours = self.runs.iter().filter(|run| run.subject == self.subject);
        let running = ours.filter_map(|run| Some(run.update.as_ref()?.event)).next_back();
        Snapshot {
            seen: self.seen,
            pending: undecoded
                .or(waiting)
                .or(running)
                .or(self.due_event)
                .or(self.held().map(|held| held.event)),
            applied: self.past.applied,
            discarded: self.discarded.as_deref().copied(),
            held: self.held().map(|held| held.version),
            // Forced content counts as admitted, even if the store has not reported it again.
            admitted: self.forced.as_deref().copied().or(self.past.admitted),
            applied_size: self.past.applied_size,
            failures: self.failures,
            stopped: self.stopped,
            pause: self.pause.clone(),
        }
    }

    /// Returns the update that a guard holds, if there is one.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_deref()
    }

    pub fn policy(&self) -> &Arc<Policy> {
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

    /// Returns the number of updates that were accepted.
    pub fn accepted_updates(&self) -> u64 {
        self.past.accepted
    }

    /// Returns the contents of the updates that wait to be decoded or to run, oldest first.
    pub fn waiting_contents(&self) -> impl Iterator<Item = &Content> {
        let undecoded = self.undecoded.iter().map(|undecoded| &undecoded.update.content);
        self.waiting.iter().map(|waiting| &waiting.update.content).chain(undecoded)
    }

    /// Returns a number that is another one whenever [`Self::waiting_contents`] has changed.
    pub fn waiting_changes(&self) -> u64 {
        self.waiting.changes() + self.undecoded.changes()
    }

    /// Returns the number of updates that wait to be decoded or to run.
    pub fn waiting_updates(&self) -> usize {
        self.waiting.len() + self.undecoded.len()
    }

    /// Whether the watch waits for the content of an update to be decoded.
    pub fn awaits_decoding(&self) -> bool {
        !self.undecoded.is_empty()
    }

    /// Returns since when a due update has waited for [`Input::MayStart`](super::Input::MayStart), if one
    /// does.
    pub fn waits_for_place_since(&self) -> Option<Time> {
        self.past.asked_at.filter(|_| self.may_start() && !self.waiting.is_empty())
    }

    /// Whether the watch still waits for a store report before it knows if it must run.
    pub fn awaits_observation(&self) -> bool {
        !self.observed || self.due_event.is_some() || self.load != Load::No
    }

    /// Returns the number of runs that failed in a row, under the present definition.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}
