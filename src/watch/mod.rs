//! The pure core: what a watch does about what it is told.
//!
//! [`Watch::step`] takes the time and an [`Input`] and returns [`Effect`]s. It does no IO, reads no clock
//! and draws no random numbers, so every promise about run modes, timeouts and retirement can be tested by
//! tables (`tests.rs`) and by properties (`properties.rs`).
//!
//! [`types`] has what goes in and out of it, [`snapshot`] what of it outlives the daemon, [`guard`] which updates are not
//! run unasked, [`condition`] how it is in one word.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{Guard, OnFailure, Retry, RunMode, RunOnLoad, Throttle, Version};

mod condition;
mod generator;
mod guard;
#[cfg(test)]
mod properties;
mod runs;
mod snapshot;
#[cfg(test)]
mod tests;
mod types;
mod updates;

pub use condition::Condition;
pub use generator::Generator;
pub use guard::{Held, HoldReason};
pub use snapshot::{Record, Recovery, Seen, Snapshot};
pub use types::*;

/// How a starved update is put off: whoever holds what is missing may let go of it soon, or not for long.
const STARVATION_RETRY: Retry =
    Retry { attempts: u32::MAX, delay: Duration::from_secs(1), max_delay: Duration::from_secs(30) };

impl Policy {
    /// Of a watch that starts nothing.
    pub const UNLOADED: Self = Self {
        run_mode: RunMode::Queue,
        run_on_load: RunOnLoad::Never,
        notify_signal: None,
        timeout: None,
        max_parallel: 1,
        on_children: false,
        retry: None,
        on_failure: OnFailure::Keep,
        throttle: Throttle { debounce: Duration::ZERO, min_interval: Duration::ZERO, splay: Duration::ZERO },
        guard: Guard { max_data: None, not_empty: false, max_shrink: None },
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Active,
    Retired,
    Stopping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running { until: Option<Time>, reason: Reason },
    Terminated { kill_at: Time },
    Killed,
}

/// Whether the next content seen is to be run as [`Event::Load`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    No,
    Due,
    /// Unless it was applied, or ignored by DISCARD, in this definition.
    DueIfNew,
}

impl Load {
    fn of(policy: &Policy) -> Self {
        match policy.run_on_load {
            RunOnLoad::Never => Load::No,
            RunOnLoad::Always => Load::Due,
            RunOnLoad::Changed => Load::DueIfNew,
        }
    }
}

#[derive(Debug)]
struct Run {
    id: RunId,
    /// Which definition it belongs to: the first run of a newer one waits for it.
    definition: u64,
    /// Which node: what is owed to one is not owed to another.
    subject: u64,
    phase: Phase,
    /// Which of the accepted updates it runs, and how often that failed before.
    number: u64,
    failures: u32,
    starved: u32,
    /// As in [`Effect::Spawn`].
    since: Time,
    /// Kept, because it may have to be run again. `None` for a run of a former daemon: whatever becomes of it, what
    /// it ran is still owed.
    update: Option<Update>,
}

/// An update on its way to a run.
#[derive(Debug)]
struct Waiting {
    update: Update,
    number: u64,
    /// How often it was tried.
    failures: u32,
    /// How often it could not even be tried.
    starved: u32,
    not_before: Time,
    /// As in [`Effect::Spawn`], but for `debounce` and `min_interval`.
    since: Time,
}

/// The state of one watch.
#[derive(Debug)]
pub struct Watch {
    policy: Policy,
    life: Life,
    definition: u64,
    subject: u64,
    /// What the store said last; `None` until its first word on this subject.
    seen: Option<Seen>,
    /// Whether `seen` is this daemon's own observation, and not a former one's.
    observed: bool,
    load: Load,
    /// The next content seen is run for this reason, whatever its version: a run of it was interrupted.
    interrupted: Option<Event>,
    runs: Vec<Run>,
    /// Updates to run, oldest first. At most one but in PARALLEL.
    waiting: VecDeque<Waiting>,
    superseded: u64,
    /// What is not to be run unless an operator wants it. Boxed, because few have one.
    held: Option<Box<Held>>,
    /// What was held when an operator forced it, until the store says whether it is still there.
    forced: Option<Version>,
    /// How many updates were accepted, and when the last was.
    accepted: u64,
    accepted_at: Time,
    started_at: Option<Time>,
    /// The newest update that was run, and the newest that was run with success.
    ran: u64,
    succeeded: u64,
    // As in `Snapshot`.
    applied: Option<Version>,
    discarded: Option<Version>,
    admitted: Option<Version>,
    applied_size: Option<u64>,
    failures: u32,
    stopped: bool,
    paused: bool,
}

impl Watch {
    /// A watch that a file registers, and of which `snapshot` is known from before.
    pub fn new(policy: Policy, snapshot: Snapshot) -> Self {
        let mut watch = Self::unloaded();
        watch.load(policy, snapshot, true);
        watch
    }

    /// A watch that no file registers (yet), and of which actions of a former daemon may still run; see
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

    /// Takes over a run of a former daemon, which has until then: to be answered by [`Input::Ended`] as if it had been
    /// an [`Effect::Spawn`].
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

    /// Tells the watch what happened and returns what is to be done about it, in this order.
    ///
    /// `now` must not go backwards. Every [`Effect::Spawn`] must be answered by exactly one
    /// [`Input::Ended`].
    pub fn step(&mut self, now: Time, input: Input, generator: &mut Generator) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Observed(state) => {
                let before = self.seen;
                if let Some(update) = self.observe(state)
                    && let Some(update) = self.admit(update, &mut effects)
                {
                    // A former daemon's run may have exactly this, and then it is no news to it.
                    let is_new =
                        self.change(before, update.version).is_some() || update.event == Event::Trigger;
                    if is_new && !self.paused {
                        self.notify(&mut effects);
                    }
                    self.accept(update, now, generator, &mut effects);
                }
            }
            Input::Ended { run, end } => self.ended(run, end, now, generator, &mut effects),
            Input::Loaded { policy, snapshot, same_definition } => {
                self.load(policy, snapshot, same_definition);
            }
            Input::Redefined { policy, same_subject } => self.redefine(policy, same_subject),
            Input::Retired => {
                self.life = Life::Retired;
                self.waiting.clear();
                self.held = None;
            }
            Input::Triggered { force } => self.trigger(force),
            Input::Paused => self.paused = true,
            Input::Resumed => self.resume(&mut effects),
            Input::Killed => self.end_all_by(now, Reason::Kill),
            Input::Stopping { grace } => {
                // What waits stays owed: it is the next daemon's.
                self.life = Life::Stopping;
                self.end_all_by(now + grace, Reason::Stop);
            }
            Input::Tick => {}
        }
        self.expire(now, &mut effects);
        self.start_waiting(now, generator, &mut effects);
        if self.life == Life::Retired && self.runs.is_empty() {
            effects.push(Effect::Forget);
        }
        effects
    }

    /// When [`Input::Tick`] is due at the latest.
    pub fn deadline(&self) -> Option<Time> {
        self.runs.iter().filter_map(|run| run.phase.deadline()).chain(self.next_start()).min()
    }

    /// What must outlive the daemon, so that the next one goes on where this one ends.
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
            // It is cleared also where the store has not said yet that it is still there.
            admitted: self.forced.or(self.admitted),
            applied_size: self.applied_size,
            failures: self.failures,
            stopped: self.stopped,
            paused: self.paused,
        }
    }

    /// How many runs have not ended.
    pub fn live_runs(&self) -> usize {
        self.runs.len()
    }

    /// How many updates are to be run and do not run yet.
    pub fn waiting_updates(&self) -> usize {
        self.waiting.len()
    }

    /// Whether something is to be decided when the store says next what the node is.
    pub fn awaits_observation(&self) -> bool {
        !self.observed || self.interrupted.is_some() || self.load != Load::No
    }

    /// The runs that have not ended, oldest first.
    pub fn runs(&self) -> impl Iterator<Item = RunId> {
        self.runs.iter().map(|run| run.id)
    }

    /// When the next update starts, if it waits for nothing but that.
    pub fn next_start(&self) -> Option<Time> {
        if self.may_start() { self.start_due() } else { None }
    }

    /// How many runs failed in a row, in the present definition.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn notify(&self, effects: &mut Vec<Effect>) {
        if self.policy.run_mode != RunMode::Queue {
            return;
        }
        let Some(signal) = self.policy.notify_signal else { return };
        let running = self.runs.iter().filter(|run| run.definition == self.definition);
        effects.extend(running.map(|run| Effect::Notify { run: run.id, signal }));
    }

    fn load(&mut self, policy: Policy, snapshot: Snapshot, same_definition: bool) {
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
        // A definition that is loaded while the daemon stops must not start anything.
        if self.life == Life::Retired {
            self.life = Life::Active;
        }
        self.load = Load::of(&policy);
        self.policy = policy;
        (self.seen, self.observed) = (seen, false);
        self.interrupted = pending;
        (self.applied, self.discarded) = (applied, discarded);
        let former = |version| Held {
            event: pending.unwrap_or(Event::Load),
            version,
            hold_reason: HoldReason::HeldBefore,
        };
        self.held = held.map(|version| Box::new(former(version)));
        (self.forced, self.admitted) = (None, admitted);
        self.applied_size = applied_size;
        (self.failures, self.stopped) = (failures, stopped);
        self.paused |= paused;
    }

    fn trigger(&mut self, force: bool) {
        match self.life {
            Life::Active if self.held.is_some() && !force => {}
            Life::Active => {
                self.stopped = false;
                self.forced = self.held().map(|held| held.version);
                self.interrupted = Some(Event::Trigger);
            }
            Life::Retired | Life::Stopping => {}
        }
    }

    fn resume(&mut self, effects: &mut Vec<Effect>) {
        // What came meanwhile was not said to a running action that wants to be told.
        if std::mem::take(&mut self.paused) && !self.waiting.is_empty() {
            self.notify(effects);
        }
    }

    fn redefine(&mut self, policy: Policy, same_subject: bool) {
        if !same_subject {
            self.subject += 1;
            self.seen = None;
            self.interrupted = None;
            self.waiting.clear();
            (self.held, self.applied_size) = (None, None);
        }
        if policy.run_mode != RunMode::Parallel {
            self.keep_newest();
        }
        // A new definition has not failed yet, nor succeeded.
        self.waiting.iter_mut().for_each(|waiting| waiting.failures = 0);
        self.definition += 1;
        (self.applied, self.discarded) = (None, None);
        (self.failures, self.stopped) = (0, false);
        self.load = Load::of(&policy);
        self.policy = policy;
        self.recheck_guard();
    }

    fn supersede(&mut self, effects: &mut Vec<Effect>) {
        self.superseded += 1;
        effects.push(Effect::Superseded { total: self.superseded });
    }

    fn keep_newest(&mut self) {
        let excess = self.waiting.len().saturating_sub(1);
        self.waiting.drain(..excess);
    }
}
