//! The world around one watch, and the rules that the watch must keep.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::moves::Move;
use crate::model::{Content, Guard, Policy, RunMode, RunOnLoad, Share, State, Version, WatchCommand};
use crate::watch::{
    Effect, Event, Generator, Input, KILL_AFTER, Record, Recovery, RunId, RunResult, Snapshot, Time, Watch,
};

mod restarts;

/// A run that has not ended.
struct Live {
    definition: u64,
    subject: u64,
    version: Version,
    /// Whether a former daemon started it.
    orphan: bool,
    /// Whether the watch knows that its program is executing.
    started: bool,
    terminated: Option<Time>,
    killed: bool,
}

/// What the ledger knows of the watch.
#[derive(Clone, Default)]
struct Noted {
    definition: u64,
    subject: u64,
    snapshot: Snapshot,
    /// The [`World::cleared`] of that time.
    cleared: BTreeSet<i64>,
    /// The subject of a run that, as far as the ledger knows, has started and not ended.
    begun: Option<u64>,
}

/// One watch with its node, its ledger and its runs. Each step asserts the rules.
pub(super) struct World {
    pub(super) watch: Watch,
    pub(super) policy: Policy,
    definition: u64,
    subject: u64,
    noted: Noted,
    lags: bool,
    /// Whether the watch waits for a place.
    asks: bool,
    /// Whether the daemon has places for runs.
    has_places: bool,
    generator: Generator,
    now: Time,
    /// Incarnation and revision; `None` is a missing node.
    node: Option<(i64, i64)>,
    next: i64,
    pub(super) retired: bool,
    live: BTreeMap<RunId, Live>,
    pub(super) ever: BTreeSet<RunId>,
    pub(super) last_run: Option<Version>,
    /// The newest run that succeeded in this definition.
    pub(super) applied: Option<(RunId, Version)>,
    pub(super) discarded: Option<Version>,
    /// The size of each revision.
    bytes: BTreeMap<i64, u64>,
    /// The newest run of this subject that succeeded, with the size of its content.
    applied_size: Option<(RunId, u64)>,
    /// The revisions that may run under this definition.
    passed: BTreeSet<i64>,
    /// The revisions that ran or were forced, as far as the ledger knew.
    cleared: BTreeSet<i64>,
    /// The revisions that a guard held.
    held: BTreeSet<i64>,
    /// The revisions that this daemon reported as held.
    pub(super) said: BTreeSet<i64>,
    /// The first state of a watch with `run_on_load: false`, which runs nothing.
    pub(super) skipped: Option<Version>,
    first_state: bool,
    /// Whether a retry was announced, so that the same content may run once more.
    retrying: bool,
    pub(super) stopped: bool,
    paused: bool,
    last_start: Option<Time>,
}

impl World {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            watch: Watch::new(policy.clone(), Snapshot::default()),
            policy,
            definition: 0,
            subject: 0,
            noted: Noted::default(),
            lags: false,
            asks: false,
            has_places: true,
            generator: Generator::new(7),
            now: Time::ZERO,
            node: None,
            next: 1,
            retired: false,
            live: BTreeMap::new(),
            ever: BTreeSet::new(),
            last_run: None,
            applied: None,
            discarded: None,
            bytes: BTreeMap::new(),
            applied_size: None,
            passed: BTreeSet::new(),
            cleared: BTreeSet::new(),
            held: BTreeSet::new(),
            said: BTreeSet::new(),
            skipped: None,
            first_state: true,
            retrying: false,
            stopped: false,
            paused: false,
            last_start: None,
        }
    }

    pub(super) fn apply(&mut self, step: Move) {
        match step {
            Move::Change(bytes) => {
                self.change(bytes);
                self.observe();
            }
            Move::ChangeUnseen(bytes) => self.change(bytes),
            Move::Delete => {
                self.node = None;
                self.observe();
            }
            Move::DeleteUnseen => self.node = None,
            Move::Resync => self.observe(),
            Move::RunResult(n, end) => {
                let run = self.live.keys().nth(n % self.live.len().max(1)).copied();
                if let Some(run) = run {
                    self.end(run, end);
                }
            }
            Move::Started(n) => {
                let run = self.live.keys().nth(n % self.live.len().max(1)).copied();
                if let Some((run, live)) = run.and_then(|run| Some((run, self.live.get_mut(&run)?))) {
                    live.started = true;
                    self.feed(Input::Started { run });
                }
            }
            Move::Shed => self.feed(Input::MustShed),
            Move::Sleep(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.feed(Input::Tick);
            }
            Move::Redefine(policy, same_subject) => self.redefine(policy, same_subject),
            Move::Retire => {
                self.retired = true;
                self.feed(Input::Retired);
                let Snapshot { applied, applied_size, paused, .. } = self.noted.snapshot;
                self.noted.snapshot = Snapshot { applied, applied_size, paused, ..Snapshot::default() };
            }
            // The daemon takes no commands for a watch that no file registers.
            Move::Trigger { .. }
            | Move::ForceTooLate(_)
            | Move::ForceAndCrash
            | Move::Pause
            | Move::Resume
            | Move::Kill
                if self.retired => {}
            Move::Trigger { force } => {
                self.trigger(force);
                self.observe();
            }
            Move::ForceTooLate(bytes) => {
                self.trigger(true);
                self.change(bytes);
                self.observe();
            }
            Move::ForceAndCrash => {
                self.trigger(true);
                self.crash(0);
                self.observe();
            }
            Move::Pause => self.order(Input::Paused, true),
            Move::Resume => self.order(Input::Resumed, false),
            Move::Kill => {
                self.feed(Input::Killed);
                let living = self.live.values().filter(|live| live.terminated.is_none()).count();
                assert_eq!(living, 0, "an operator's kill spared a run");
            }
            Move::Lag(lags) => self.lags = lags,
            Move::Places(has_places) => {
                self.has_places = has_places;
                if has_places {
                    self.place();
                }
            }
            Move::Place => self.place(),
            Move::Crash(survivors) => self.crash(survivors),
            Move::Restart(ends) => {
                self.feed(Input::Stopping { grace: Duration::from_secs(1) });
                for end in ends.into_iter().cycle() {
                    let Some((&run, live)) = self.live.first_key_value() else { break };
                    if end == RunResult::Interrupted && !live.orphan {
                        self.last_run = None;
                    }
                    self.end(run, end);
                }
                self.note();
                self.start_again();
            }
        }
    }

    fn place(&mut self) {
        if std::mem::take(&mut self.asks) {
            self.feed(Input::MayStart);
        }
    }

    /// Pauses or resumes. The ledger knows of it before the operator gets a reply.
    fn order(&mut self, input: Input, paused: bool) {
        self.paused = paused;
        self.feed(input);
        self.note();
    }

    fn trigger(&mut self, force: bool) {
        if self.watch.answer(WatchCommand::Trigger { force }, false).is_err() {
            let before = self.watch.snapshot();
            self.feed(Input::Triggered { force });
            assert_eq!(self.watch.snapshot(), before, "a refused command changed something");
            return;
        }
        let held = self.watch.held().map(|held| held.version.revision);
        self.stopped &= held.is_some() && !force;
        if force && let Some(held) = held {
            self.passed.insert(held);
            self.cleared.insert(held);
            self.held.remove(&held);
            self.said.remove(&held);
        }
        self.feed(Input::Triggered { force });
        // The ledger knows of it before the operator gets a reply.
        if force {
            self.note();
        }
    }

    /// Whether the guard holds this revision.
    pub(super) fn is_suspicious(&self, revision: i64) -> bool {
        let bytes = self.bytes[&revision];
        let Guard { max_data, not_empty, max_shrink } = self.policy.guard;
        let shrinks = |limit: Share| {
            self.applied_size.is_some_and(|(_, last)| {
                bytes < last && (last - bytes) as f64 > limit.percent() / 100.0 * last as f64 + 1e-9
            })
        };
        max_data.is_some_and(|limit| bytes > limit)
            || not_empty && bytes == 0
            || max_shrink.is_some_and(shrinks)
    }

    fn end(&mut self, run: RunId, end: RunResult) {
        let live = self.live.remove(&run).expect("a live run");
        // A program that is executing has been started.
        let end = if live.started && end == RunResult::Starved { RunResult::Failed } else { end };
        let ours = !live.orphan && live.subject == self.subject;
        if end == RunResult::Succeeded && ours && self.applied_size.is_none_or(|(newest, _)| run > newest) {
            self.applied_size = Some((run, self.bytes[&live.version.revision]));
        }
        let revision = live.version.revision;
        // The update may be tried again under another definition, which judges it again.
        if end == RunResult::Starved
            && ours
            && !self.held.contains(&revision)
            && !self.is_suspicious(revision)
        {
            self.passed.insert(revision);
        }
        let newer = self.applied.is_none_or(|(newest, _)| run > newest);
        if end == RunResult::Succeeded && !live.orphan && live.definition == self.definition && newer {
            self.applied = Some((run, live.version));
        }
        let end = if live.orphan { RunResult::Interrupted } else { end };
        self.feed(Input::Ended { run, end });
    }

    fn note(&mut self) {
        if !self.retired {
            let snapshot = self.watch.snapshot();
            let (definition, subject, cleared) = (self.definition, self.subject, self.cleared.clone());
            self.noted = Noted { definition, subject, snapshot, cleared, begun: None };
        }
    }

    fn change(&mut self, bytes: u8) {
        let incarnation = self.node.map_or(self.next, |(incarnation, _)| incarnation);
        self.node = Some((incarnation, self.next));
        self.bytes.insert(self.next, bytes.into());
        self.next += 1;
    }

    pub(super) fn version(&self) -> Option<Version> {
        self.node.map(|(incarnation, revision)| Version { incarnation, revision, number: revision })
    }

    fn observe(&mut self) {
        let state = match self.version() {
            None => State::Absent,
            Some(version) => {
                let revision = version.revision;
                let is_applied = self.applied.is_some_and(|(_, applied)| applied == version);
                if is_applied || !self.held.contains(&revision) && !self.is_suspicious(revision) {
                    self.passed.insert(revision);
                }
                let bytes = vec![0; self.bytes[&revision] as usize];
                State::Present { version, content: Content::Data(bytes.into()) }
            }
        };
        if std::mem::take(&mut self.first_state) && self.policy.run_on_load == RunOnLoad::Never {
            self.skipped = self.version();
        }
        self.feed(Input::Observed(state));
    }

    fn redefine(&mut self, policy: Policy, same_subject: bool) {
        self.definition += 1;
        self.policy = policy.clone();
        if self.retired || !same_subject {
            self.subject += 1;
            self.first_state = true;
            (self.last_run, self.applied_size) = (None, None);
        }
        let passed = std::mem::take(&mut self.passed);
        self.passed = passed.into_iter().filter(|revision| !self.is_suspicious(*revision)).collect();
        (self.cleared, self.held, self.said) = Default::default();
        (self.stopped, self.applied) = (false, None);
        if std::mem::take(&mut self.retired) {
            let snapshot = Snapshot { paused: self.paused, ..Snapshot::default() };
            self.feed(Input::Loaded { policy, snapshot, same_definition: false });
        } else {
            self.feed(Input::Redefined { policy, same_subject });
        }
        // The daemon refreshes the subject.
        self.observe();
    }

    fn feed(&mut self, input: Input) {
        let may_start = matches!(input, Input::MayStart);
        let effects = self.watch.step(self.now, input, &mut self.generator);
        let spawns = effects.iter().filter(|effect| matches!(effect, Effect::Spawn { .. })).count();
        assert!(spawns <= usize::from(may_start), "took a place that was not given");
        if spawns > 0 {
            // The ledger knows of a run before it starts, and of everything else some time later.
            self.noted.begun = Some(self.subject);
        }
        let holds = effects.iter().any(|effect| matches!(effect, Effect::Held { .. }));
        let notifies = effects.iter().any(|effect| matches!(effect, Effect::Notify { .. }));
        assert!(!(holds && notifies), "notified of what is held");
        for effect in effects {
            self.check(effect);
        }
        if !self.lags {
            self.note();
        }
        assert_eq!(self.watch.live_runs(), self.live.len());
        if self.has_places {
            self.place();
        }
    }

    fn check(&mut self, effect: Effect) {
        match effect {
            Effect::WantsStart => {
                assert!(!self.retired && !self.paused && !self.stopped, "asked for a place for nothing");
                assert!(!std::mem::replace(&mut self.asks, true), "asked twice for one place");
            }
            Effect::Spawn { run, update, since } => {
                assert!(!self.retired, "spawned after retirement");
                assert!(!self.paused, "spawned while paused");
                assert!(since <= self.now, "late since the future");
                assert!(self.ever.insert(run), "a run id twice");
                let cap = match self.policy.run_mode {
                    RunMode::Queue | RunMode::Discard => 1,
                    RunMode::Parallel => self.policy.max_parallel as usize,
                };
                assert!(self.live.len() < cap, "too many at once");
                assert!(
                    self.live.values().all(|live| live.definition == self.definition),
                    "did not wait for the action of an older definition"
                );
                assert!(!self.stopped, "spawned after a failure that stops");
                assert!(self.passed.contains(&update.version.revision), "ran what was never let through");
                self.cleared.insert(update.version.revision);
                let interval = self.policy.throttle.min_interval;
                let rested = self.last_start.replace(self.now).is_none_or(|last| self.now >= last + interval);
                assert!(rested, "started too soon after the last start");
                let asked = matches!(update.event, Event::Load | Event::Trigger);
                let again = std::mem::take(&mut self.retrying) || asked;
                if !again && self.policy.run_mode != RunMode::Parallel {
                    assert_ne!(self.last_run, Some(update.version), "ran twice for one change");
                }
                self.last_run = Some(update.version);
                let definition = self.definition;
                let version = update.version;
                let (subject, orphan, started) = (self.subject, false, false);
                let (terminated, killed) = (None, false);
                let live = Live { definition, subject, version, orphan, started, terminated, killed };
                self.live.insert(run, live);
            }
            Effect::Notify { run, .. } => assert!(self.live.contains_key(&run)),
            Effect::Terminate { run, .. } => {
                let live = self.live.get_mut(&run).expect("terminated a run that is not live");
                assert_eq!(live.terminated.replace(self.now), None, "terminated twice");
            }
            Effect::Kill { run } => {
                let live = self.live.get_mut(&run).expect("killed a run that is not live");
                let since = live.terminated.expect("killed before it was terminated");
                assert!(self.now >= since + KILL_AFTER, "killed before the grace was over");
                assert!(!std::mem::replace(&mut live.killed, true), "killed twice");
            }
            Effect::Discarded { version } => {
                assert_eq!(self.policy.run_mode, RunMode::Discard);
                assert!(
                    self.live.values().any(|live| !live.orphan),
                    "ignored in favour of a run whose end nobody will know"
                );
                self.discarded = Some(version);
            }
            Effect::Held { version, .. } => {
                let revision = version.revision;
                assert!(!self.cleared.contains(&revision), "held what had been let through");
                self.passed.remove(&revision);
                assert!(self.said.insert(revision), "said twice that it is held");
                self.held.insert(revision);
            }
            // This can happen in other modes, for an update that was put off before the definition changed.
            Effect::Superseded { .. } => {}
            Effect::Retry { failures, after, .. } => {
                let retry = self.policy.retry.expect("tried again without retry");
                assert!(failures <= retry.attempts && after <= retry.max_delay.max(retry.delay));
                self.retrying = true;
            }
            Effect::Postponed { .. } => self.retrying = true,
            Effect::GaveUp { stopped, .. } => self.stopped |= stopped,
            Effect::Forget => assert!(self.retired && self.live.is_empty()),
        }
    }

    /// Lets the store catch up, resumes the watch, and ends every run.
    pub(super) fn settle(&mut self) {
        self.apply(Move::Places(true));
        self.apply(Move::Resume);
        self.observe();
        for _ in 0..=4 * self.next {
            self.apply(Move::RunResult(0, RunResult::Succeeded));
            // This is longer than any throttle or delay.
            self.apply(Move::Sleep(60));
        }
        assert!(self.live.is_empty(), "runs go on for ever");
    }
}
