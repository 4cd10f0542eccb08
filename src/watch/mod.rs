//! The pure core: what a watch does about what it is told.
//!
//! [`Watch::step`] takes the time and an [`Input`] and returns [`Effect`]s. It does no IO, reads no clock
//! and draws no random numbers, so every promise about run modes, timeouts and retirement can be tested by
//! tables (`tests.rs`) and by properties (`properties.rs`).
//!
//! [`terms`] has what goes in and out of it, [`standing`] what of it outlives the daemon, [`condition`] how it is in one
//! word.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::spec::{OnFailure, Retry, RunMode, RunOnLoad, Throttle};
use crate::store::{State, Version};

mod condition;
#[cfg(test)]
mod properties;
mod standing;
mod supply;
mod terms;
#[cfg(test)]
mod tests;

pub use condition::Condition;
pub use standing::{Past, Record, Seen, Standing};
pub use supply::Supply;
pub use terms::*;

/// How a starved update is put off: whoever holds what is missing may let go of it soon, or not for long.
const STARVED: Retry =
    Retry { attempts: u32::MAX, delay: Duration::from_secs(1), max_delay: Duration::from_secs(30) };

/// Of a watch that starts nothing.
const UNLOADED: Policy = Policy {
    run_mode: RunMode::Queue,
    run_on_load: RunOnLoad::Never,
    notify_signal: None,
    timeout: None,
    max_parallel: 1,
    on_children: false,
    retry: None,
    on_failure: OnFailure::Keep,
    throttle: Throttle { debounce: Duration::ZERO, min_interval: Duration::ZERO, splay: Duration::ZERO },
};

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
    /// How many updates were accepted, and when the last was.
    accepted: u64,
    accepted_at: Time,
    started_at: Option<Time>,
    /// The newest update that was run, and the newest that was run with success.
    ran: u64,
    succeeded: u64,
    // As in `Standing`.
    applied: Option<Version>,
    discarded: Option<Version>,
    failures: u32,
    stopped: bool,
    paused: bool,
}

impl Watch {
    /// A watch that a file registers, and of which `standing` is known from before.
    pub fn new(policy: Policy, standing: Standing) -> Self {
        let mut watch = Self::unloaded();
        watch.load(policy, standing, true);
        watch
    }

    /// A watch that no file registers (yet), and of which actions of a former daemon may still run; see
    /// [`Self::adopt`].
    pub fn unloaded() -> Self {
        Self {
            policy: UNLOADED,
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
            accepted: 0,
            accepted_at: Time::ZERO,
            started_at: None,
            ran: 0,
            succeeded: 0,
            applied: None,
            discarded: None,
            failures: 0,
            stopped: false,
            paused: false,
        }
    }

    /// Takes over a run of a former daemon, which has until then: to be answered by [`Input::Ended`] as if it had been
    /// an [`Effect::Spawn`].
    pub fn adopt(&mut self, until: Option<Time>, supply: &mut Supply) -> RunId {
        let id = supply.run_id();
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
    pub fn step(&mut self, now: Time, input: Input, supply: &mut Supply) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Observed(state) => {
                let before = self.seen;
                if let Some(update) = self.observe(state) {
                    // A former daemon's run may have exactly this, and then it is no news to it.
                    let news =
                        self.change(before, update.version).is_some() || update.event == Event::Trigger;
                    if news && !self.paused {
                        self.notify(&mut effects);
                    }
                    self.accept(update, now, supply, &mut effects);
                }
            }
            Input::Ended { run, end } => self.ended(run, end, now, supply, &mut effects),
            Input::Loaded { policy, standing, same_definition } => {
                self.load(policy, standing, same_definition);
            }
            Input::Redefined { policy, same_subject } => self.redefine(policy, same_subject),
            Input::Retired => {
                self.life = Life::Retired;
                self.waiting.clear();
            }
            Input::Triggered => self.trigger(),
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
        self.start_waiting(now, supply, &mut effects);
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
    pub fn standing(&self) -> Standing {
        let waiting = self.waiting.back().map(|waiting| waiting.update.event);
        let ours = self.runs.iter().filter(|run| run.subject == self.subject);
        let running = ours.filter_map(|run| Some(run.update.as_ref()?.event)).next_back();
        Standing {
            seen: self.seen,
            owed: waiting.or(running).or(self.interrupted),
            applied: self.applied,
            discarded: self.discarded,
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
    pub fn awaits_word(&self) -> bool {
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

    /// Turns a state into the update it is, if it is one.
    fn observe(&mut self, state: State) -> Option<Update> {
        match self.life {
            Life::Active => {}
            Life::Retired | Life::Stopping => return None,
        }
        self.observed = true;
        let State::Present { version, content } = state else {
            self.seen = Some(Seen::Absent);
            self.load = Load::No;
            self.interrupted = None;
            return None;
        };
        let before = self.seen.replace(Seen::Present(version));
        let load = std::mem::replace(&mut self.load, Load::No);
        let owed = self.interrupted.take();
        let event = match load {
            Load::Due => Event::Load,
            Load::DueIfNew if owed.is_none() && self.is_done_with(version) => return None,
            Load::DueIfNew => Event::Load,
            Load::No => match (self.change(before, version), owed) {
                (_, Some(asked @ (Event::Load | Event::Trigger))) => asked,
                (Some(event), _) | (None, Some(event)) => event,
                (None, None) => return None,
            },
        };
        Some(Update { event, version, content })
    }

    /// Whether nothing is left to do about this version, as far as is known of it.
    fn is_done_with(&self, version: Version) -> bool {
        [self.applied, self.discarded].into_iter().flatten().any(|done| done.is_same_state(version))
    }

    /// What kind of change leads to `version`, if any does.
    fn change(&self, before: Option<Seen>, version: Version) -> Option<Event> {
        // Loaded without `run_on_load`: what was there before is no update.
        before?.change(version, self.policy.on_children)
    }

    /// Decides what becomes of an update; whether it starts at once is [`Self::start_waiting`]'s business.
    fn accept(&mut self, update: Update, now: Time, supply: &mut Supply, effects: &mut Vec<Effect>) {
        let asked = matches!(update.event, Event::Load | Event::Trigger);
        if self.policy.run_mode == RunMode::Discard && self.is_busy() && !self.paused && !asked {
            self.discarded = Some(update.version);
            effects.push(Effect::Discarded { version: update.version });
            return;
        }
        self.accepted += 1;
        self.accepted_at = now;
        // What failed and waits to be tried again is out of date now.
        self.waiting.retain(|waiting| waiting.failures == 0);
        let not_before = match update.event {
            // Somebody waits for it, on this host alone.
            Event::Trigger => now,
            Event::Load | Event::Created | Event::Changed | Event::Children => {
                now + supply.delay(self.policy.throttle.splay)
            }
        };
        let number = self.accepted;
        let mut waiting = Waiting { update, number, failures: 0, starved: 0, not_before, since: not_before };
        match self.policy.run_mode {
            RunMode::Parallel if !self.stopped => {
                if self.waiting.len() >= MAX_WAITING
                    && let Some(newest) = self.waiting.back_mut()
                {
                    std::mem::swap(newest, &mut waiting);
                    self.supersede(effects);
                } else {
                    self.waiting.push_back(waiting);
                }
            }
            RunMode::Queue | RunMode::Discard | RunMode::Parallel => self.replace_waiting(waiting),
        }
    }

    /// Whether the action runs, as DISCARD means it: what waits to start is no reason to ignore anything, it takes
    /// the newer content. Nor is a run of another definition, or of a former daemon, which something must follow.
    fn is_busy(&self) -> bool {
        let ours = |run: &Run| run.definition == self.definition && run.update.is_some();
        self.runs.iter().any(ours) && self.waiting.is_empty()
    }

    fn replace_waiting(&mut self, mut newer: Waiting) {
        if let Some(older) = self.waiting.pop_back() {
            // It waits no longer than the one it replaces, or a busy node would put it off for ever.
            if newer.update.event != Event::Trigger {
                newer.not_before = older.not_before;
                newer.since = older.since.max(self.accepted_at);
            }
            newer.update.event = match (older.update.event, newer.update.event) {
                // It is still the first run of this definition, or the one that was asked for, only with newer content.
                (asked @ Event::Load, _)
                | (asked @ Event::Trigger, Event::Created | Event::Changed | Event::Children) => asked,
                (_, event) => event,
            };
        }
        self.waiting.clear();
        self.waiting.push_back(newer);
    }

    fn ended(&mut self, run: RunId, end: End, now: Time, supply: &mut Supply, effects: &mut Vec<Effect>) {
        let Some(index) = self.runs.iter().position(|live| live.id == run) else { return };
        let ended = self.runs.remove(index);
        if end != End::Starved {
            self.ran = self.ran.max(ended.number);
        }
        let Some(update) = &ended.update else { return };
        if self.life == Life::Retired || ended.subject != self.subject {
            return;
        }
        let same_definition = ended.definition == self.definition;
        // A newer update is a better reason to run than the trouble with this one.
        let newest = ended.number == self.accepted;
        match end {
            End::Interrupted => self.interrupted = Some(update.event),
            End::Starved if newest || self.policy.run_mode == RunMode::Parallel => {
                let starved = ended.starved + 1;
                let after = supply.pause(&STARVED, starved);
                effects.push(Effect::PutOff { run, after });
                self.try_again(Run { starved, ..ended }, now + after);
            }
            End::Starved => {}
            End::Succeeded if same_definition => {
                self.failures = 0;
                if ended.number > self.succeeded {
                    self.succeeded = ended.number;
                    self.applied = Some(update.version);
                }
            }
            End::Failed if same_definition => self.failed(ended, newest, now, supply, effects),
            // It ran, but says nothing about the definition that there is now.
            End::Succeeded | End::Failed => {}
        }
    }

    fn failed(
        &mut self,
        ended: Run,
        newest: bool,
        now: Time,
        supply: &mut Supply,
        effects: &mut Vec<Effect>,
    ) {
        self.failures += 1;
        let failures = ended.failures + 1;
        match self.policy.retry {
            Some(retry) if failures <= retry.attempts && newest => {
                let after = supply.pause(&retry, failures);
                if self.life == Life::Active {
                    effects.push(Effect::Retry { run: ended.id, failures, after });
                }
                let not_before = now + after;
                self.try_again(Run { failures, starved: 0, since: not_before, ..ended }, not_before);
            }
            Some(retry) if failures <= retry.attempts => {}
            None if self.policy.on_failure == OnFailure::Keep => {}
            Some(_) | None => self.give_up(failures, effects),
        }
    }

    fn try_again(&mut self, run: Run, not_before: Time) {
        let Run { update: Some(update), number, failures, starved, since, .. } = run else { return };
        let place = self.waiting.partition_point(|waiting| waiting.number < number);
        self.waiting.insert(place, Waiting { update, number, failures, starved, not_before, since });
    }

    fn give_up(&mut self, failures: u32, effects: &mut Vec<Effect>) {
        self.stopped = self.policy.on_failure == OnFailure::Stop;
        effects.push(Effect::GaveUp { failures, stopped: self.stopped });
        if self.stopped {
            self.keep_newest();
        }
    }

    fn notify(&self, effects: &mut Vec<Effect>) {
        if self.policy.run_mode != RunMode::Queue {
            return;
        }
        let Some(signal) = self.policy.notify_signal else { return };
        let running = self.runs.iter().filter(|run| run.definition == self.definition);
        effects.extend(running.map(|run| Effect::Notify { run: run.id, signal }));
    }

    fn load(&mut self, policy: Policy, standing: Standing, same_definition: bool) {
        let Standing { seen, owed, applied, discarded, failures, stopped, paused } = standing;
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
        self.interrupted = owed;
        (self.applied, self.discarded) = (applied, discarded);
        (self.failures, self.stopped) = (failures, stopped);
        self.paused |= paused;
    }

    fn trigger(&mut self) {
        match self.life {
            Life::Active => {
                self.stopped = false;
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
    }

    fn supersede(&mut self, effects: &mut Vec<Effect>) {
        self.superseded += 1;
        effects.push(Effect::Superseded { total: self.superseded });
    }

    fn keep_newest(&mut self) {
        let superfluous = self.waiting.len().saturating_sub(1);
        self.waiting.drain(..superfluous);
    }

    fn end_all_by(&mut self, latest: Time, why: Reason) {
        for run in &mut self.runs {
            match &mut run.phase {
                Phase::Running { until, reason } if until.is_none_or(|until| until > latest) => {
                    *until = Some(latest);
                    *reason = why;
                }
                Phase::Running { .. } | Phase::Terminated { .. } | Phase::Killed => {}
            }
        }
    }

    fn expire(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for run in self.runs.iter_mut().filter(|run| run.phase.deadline().is_some_and(|due| due <= now)) {
            run.phase = match run.phase {
                Phase::Running { reason, .. } => {
                    effects.push(Effect::Terminate { run: run.id, reason });
                    Phase::Terminated { kill_at: now + KILL_AFTER }
                }
                Phase::Terminated { .. } | Phase::Killed => {
                    effects.push(Effect::Kill { run: run.id });
                    Phase::Killed
                }
            };
        }
    }

    fn start_waiting(&mut self, now: Time, supply: &mut Supply, effects: &mut Vec<Effect>) {
        while self.may_start()
            && self.start_due().is_some_and(|due| due <= now)
            && let Some(Waiting { update, number, failures, starved, since, .. }) = self.waiting.pop_front()
        {
            // What was put off must not run after what came later: the last content has to be the last that ran.
            if starved > 0
                && self.runs.iter().map(|run| run.number).chain([self.ran]).any(|other| other > number)
            {
                self.supersede(effects);
                continue;
            }
            let run = supply.run_id();
            let until = self.policy.timeout.map(|timeout| now + timeout);
            let since = since.max(self.throttled_until());
            self.started_at = Some(now);
            self.runs.push(Run {
                id: run,
                definition: self.definition,
                subject: self.subject,
                phase: Phase::Running { until, reason: Reason::Timeout },
                number,
                failures,
                starved,
                since,
                update: Some(update.clone()),
            });
            effects.push(Effect::Spawn { run, update, since });
        }
    }

    /// When the oldest waiting update may start as far as time is concerned.
    fn start_due(&self) -> Option<Time> {
        self.waiting.front().map(|waiting| waiting.not_before.max(self.throttled_until()))
    }

    /// When `debounce` and `min_interval` let an update start. [`Time::ZERO`] without them.
    fn throttled_until(&self) -> Time {
        let Throttle { debounce, min_interval, .. } = self.policy.throttle;
        let calm = (!debounce.is_zero()).then(|| self.accepted_at + debounce);
        let started = self.started_at.filter(|_| !min_interval.is_zero());
        let rested = started.map(|started| started + min_interval);
        calm.max(rested).unwrap_or_default()
    }

    fn may_start(&self) -> bool {
        let limit = match self.policy.run_mode {
            RunMode::Queue | RunMode::Discard => 1,
            RunMode::Parallel => self.policy.max_parallel,
        };
        self.life == Life::Active
            && !self.stopped
            && !self.paused
            // What waits from before a redefinition or a trigger waits on, so that it merges with the content to come.
            && self.load == Load::No
            && self.interrupted.is_none()
            && self.runs.len() < limit
            && self.runs.iter().all(|run| run.definition == self.definition)
    }
}

impl Phase {
    fn deadline(self) -> Option<Time> {
        match self {
            Phase::Running { until, .. } => until,
            Phase::Terminated { kill_at } => Some(kill_at),
            Phase::Killed => None,
        }
    }
}
