//! Properties: what must hold after any sequence of inputs, legal in that runs end after they start.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::{Content, Share, State};

/// Of a node, and one more.
const MAX_BYTES: u8 = 9;

/// What the world does next.
#[derive(Clone, Debug)]
enum Move {
    /// The node changes to so many bytes, and the store sees it.
    Change(u8),
    /// The node changes, but something newer comes before the store reads it.
    ChangeUnseen(u8),
    Delete,
    DeleteUnseen,
    /// The store says again what is there.
    Resync,
    /// The `n`th live run ends, modulo their number.
    RunResult(usize, RunResult),
    Sleep(u64),
    Redefine(Policy, bool),
    Retire,
    /// What operators ask for.
    Trigger {
        force: bool,
    },
    /// The node changes before the store is asked.
    ForceTooLate(u8),
    /// The daemon is killed before the store is asked.
    ForceAndCrash,
    Pause,
    Resume,
    Kill,
    /// Whether the ledger learns of everything at once, or only with the next start of an action.
    Lag(bool),
    /// The daemon is killed and started again; of the live runs, those survive whose bit is set.
    Crash(u8),
    /// The daemon is stopped and started again; the live runs end like this, in turn.
    Restart(Vec<RunResult>),
}

fn policy() -> impl Strategy<Value = Policy> {
    let mode = prop_oneof![Just(RunMode::Queue), Just(RunMode::Discard), Just(RunMode::Parallel)];
    let timeout = proptest::option::of((1..20u64).prop_map(Duration::from_secs));
    let seconds = |limit: u64| (0..limit).prop_map(Duration::from_secs);
    let retry = (1..4u32, 1..4u64, 1..8u64).prop_map(|(attempts, delay, max_delay)| Retry {
        attempts,
        delay: Duration::from_secs(delay),
        max_delay: Duration::from_secs(max_delay),
    });
    let on_failure = prop_oneof![3 => Just(OnFailure::Keep), 1 => Just(OnFailure::Stop)];
    let throttle = (seconds(5), seconds(5), seconds(5))
        .prop_map(|(debounce, min_interval, splay)| Throttle { debounce, min_interval, splay });
    let throttle = prop_oneof![Just(Throttle::default()), throttle];
    let failure = (proptest::option::of(retry), on_failure, throttle, guard());
    let run_on_load = prop_oneof![Just(RunOnLoad::Never), Just(RunOnLoad::Always), Just(RunOnLoad::Changed)];
    (mode, run_on_load, any::<bool>(), timeout, 1..4usize, failure).prop_map(
        |(run_mode, run_on_load, notify, timeout, max_parallel, (retry, on_failure, throttle, guard))| {
            Policy {
                run_mode,
                run_on_load,
                notify_signal: notify.then_some(10),
                timeout,
                max_parallel,
                on_children: false,
                retry,
                on_failure,
                throttle,
                guard,
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

/// While the daemon stops.
fn last_end() -> impl Strategy<Value = RunResult> {
    prop_oneof![2 => Just(RunResult::Interrupted), 1 => Just(RunResult::Succeeded), 1 => Just(RunResult::Failed)]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (0..MAX_BYTES).prop_map(Move::Change),
        2 => (0..MAX_BYTES).prop_map(Move::ChangeUnseen),
        2 => Just(Move::Delete),
        1 => Just(Move::DeleteUnseen),
        3 => Just(Move::Resync),
        6 => (0..8usize, end()).prop_map(|(run, end)| Move::RunResult(run, end)),
        4 => (0..10u64).prop_map(Move::Sleep),
        2 => (policy(), any::<bool>()).prop_map(|(policy, same)| Move::Redefine(policy, same)),
        1 => Just(Move::Retire),
        2 => any::<bool>().prop_map(|force| Move::Trigger { force }),
        1 => (0..MAX_BYTES).prop_map(Move::ForceTooLate),
        1 => Just(Move::ForceAndCrash),
        1 => Just(Move::Pause),
        2 => Just(Move::Resume),
        1 => Just(Move::Kill),
        1 => any::<bool>().prop_map(Move::Lag),
        2 => any::<u8>().prop_map(Move::Crash),
        1 => proptest::collection::vec(last_end(), 1..4).prop_map(Move::Restart),
    ];
    proptest::collection::vec(one, 0..60)
}

/// A run as seen from outside.
struct Live {
    definition: u64,
    subject: u64,
    version: Version,
    /// Of a former daemon.
    orphan: bool,
    terminated: Option<Time>,
    killed: bool,
}

/// What the ledger has of the watch.
#[derive(Clone, Default)]
struct Noted {
    definition: u64,
    subject: u64,
    snapshot: Snapshot,
    /// What must not be held any more, by then.
    cleared: BTreeSet<i64>,
    /// The subject of a run that has begun, and not ended as far as the ledger knows.
    begun: Option<u64>,
}

/// The world around one watch, and the rules it must keep.
struct World {
    watch: Watch,
    policy: Policy,
    definition: u64,
    subject: u64,
    noted: Noted,
    lags: bool,
    generator: Generator,
    now: Time,
    /// Incarnation and revision; `None` is a missing node.
    node: Option<(i64, i64)>,
    next: i64,
    retired: bool,
    live: BTreeMap<RunId, Live>,
    ever: BTreeSet<RunId>,
    last_run: Option<Version>,
    /// The newest run that succeeded in this definition.
    applied: Option<(RunId, Version)>,
    discarded: Option<Version>,
    /// Of each revision.
    bytes: BTreeMap<i64, u64>,
    /// How much the newest run had that succeeded, of this subject.
    applied_size: Option<(RunId, u64)>,
    /// The revisions that may run in this definition; those that did or were forced, as far as the ledger had heard of
    /// it; those that a guard held, and those of which this daemon said so.
    passed: BTreeSet<i64>,
    cleared: BTreeSet<i64>,
    held: BTreeSet<i64>,
    said: BTreeSet<i64>,
    /// The first state without `run_on_load`, which runs nothing.
    skipped: Option<Version>,
    first_state: bool,
    /// A retry was announced, so the same content may run once more.
    retrying: bool,
    stopped: bool,
    paused: bool,
    last_start: Option<Time>,
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            watch: Watch::new(policy.clone(), Snapshot::default()),
            policy,
            definition: 0,
            subject: 0,
            noted: Noted::default(),
            lags: false,
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

    fn apply(&mut self, step: Move) {
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
            // The daemon takes no orders about what no file registers.
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

    /// To pause or to resume, which the ledger knows before the operator has an answer.
    fn order(&mut self, input: Input, paused: bool) {
        self.paused = paused;
        self.feed(input);
        self.note();
    }

    fn trigger(&mut self, force: bool) {
        let held = self.watch.held().map(|held| held.version.revision);
        self.stopped &= held.is_some() && !force;
        if force && let Some(held) = held {
            self.passed.insert(held);
            self.cleared.insert(held);
            self.held.remove(&held);
            self.said.remove(&held);
        }
        self.feed(Input::Triggered { force });
        // As what is forced is known before the operator has an answer.
        if force {
            self.note();
        }
    }

    /// Whether the guard has anything against this revision.
    fn is_suspicious(&self, revision: i64) -> bool {
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
        let ours = !live.orphan && live.subject == self.subject;
        if end == RunResult::Succeeded && ours && self.applied_size.is_none_or(|(newest, _)| run > newest) {
            self.applied_size = Some((run, self.bytes[&live.version.revision]));
        }
        let revision = live.version.revision;
        // It may be tried again in another definition, which judges it anew.
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

    fn crash(&mut self, survivors: u8) {
        // What an older daemon ran has run again, or is about to.
        if self.live.values().any(|live| !live.orphan) {
            // What they ran with must run again.
            (self.last_run, self.discarded) = (None, None);
        }
        let live = std::mem::take(&mut self.live).into_values().enumerate();
        let survive = live.filter(|(n, _)| survivors >> (n % 8) & 1 == 1);
        let survive: Vec<_> = survive.map(|(_, live)| live).collect();
        // Numbered anew: the next daemon's ids are its own.
        self.live = survive
            .into_iter()
            .zip(u64::MAX / 2..)
            .map(|(live, id)| (RunId(id), Live { orphan: true, terminated: None, killed: false, ..live }))
            .collect();
        self.start_again();
        // What the ledger had not heard of may run once more.
        self.retrying = true;
    }

    /// Another daemon goes by what the ledger has.
    fn start_again(&mut self) {
        self.watch = Watch::unloaded();
        let orphans = std::mem::take(&mut self.live);
        let same_definition = orphans.values().all(|live| live.definition == self.definition);
        for (_, orphan) in orphans {
            let id =
                self.watch.adopt(self.policy.timeout.map(|timeout| self.now + timeout), &mut self.generator);
            self.ever.insert(id);
            self.live.insert(id, orphan);
        }
        self.last_start = None;
        if self.retired {
            return;
        }
        let snapshot = self.recalled();
        // What the ledger had not heard of is not known to have been applied.
        self.applied = snapshot.applied.map(|version| (RunId(0), version));
        self.applied_size = snapshot.applied_size.map(|bytes| (RunId(0), bytes));
        let revisions =
            |version: Option<Version>| version.map(|version| version.revision).into_iter().collect();
        self.passed = revisions(snapshot.admitted);
        self.held = revisions(snapshot.held.filter(|held| snapshot.admitted != Some(*held)));
        let is_same = (self.noted.definition, self.noted.subject) == (self.definition, self.subject);
        self.cleared = if is_same { self.noted.cleared.clone() } else { BTreeSet::new() };
        self.said = BTreeSet::new();
        self.first_state |= snapshot.seen.is_none();
        self.retrying |= snapshot.pending.is_some();
        self.stopped = snapshot.stopped;
        self.feed(Input::Loaded { policy: self.policy.clone(), snapshot, same_definition });
    }

    fn recalled(&self) -> Snapshot {
        let Noted { definition, subject, snapshot, begun, .. } = self.noted;
        let record = Record {
            snapshot,
            same_subject: subject == self.subject,
            same_definition: definition == self.definition,
        };
        let interrupted = begun.filter(|subject| *subject == self.subject).map(|_| Event::Changed);
        Recovery { record: Some(record), interrupted, record_lost: false }.snapshot()
    }

    fn change(&mut self, bytes: u8) {
        let incarnation = self.node.map_or(self.next, |(incarnation, _)| incarnation);
        self.node = Some((incarnation, self.next));
        self.bytes.insert(self.next, bytes.into());
        self.next += 1;
    }

    fn version(&self) -> Option<Version> {
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
        // As the daemon does: a refresh follows.
        self.observe();
    }

    fn feed(&mut self, input: Input) {
        let effects = self.watch.step(self.now, input, &mut self.generator);
        if effects.iter().any(|effect| matches!(effect, Effect::Spawn { .. })) {
            // Before an action starts, the ledger knows of it; of all else some time later.
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
    }

    fn check(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { run, update, since } => {
                assert!(!self.retired, "spawned after retirement");
                assert!(!self.paused, "spawned while paused");
                assert!(since <= self.now, "late since the future");
                assert!(self.ever.insert(run), "a run id twice");
                let cap = match self.policy.run_mode {
                    RunMode::Queue | RunMode::Discard => 1,
                    RunMode::Parallel => self.policy.max_parallel,
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
                let (subject, orphan, terminated, killed) = (self.subject, false, None, false);
                self.live.insert(run, Live { definition, subject, version, orphan, terminated, killed });
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
            // In other modes, too, for what was put off before the definition changed.
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

    /// The store catches up, whoever paused it resumes it, and every run ends.
    fn settle(&mut self) {
        self.apply(Move::Resume);
        self.observe();
        for _ in 0..=4 * self.next {
            self.apply(Move::RunResult(0, RunResult::Succeeded));
            // Longer than any throttle or pause.
            self.apply(Move::Sleep(60));
        }
        assert!(self.live.is_empty(), "runs go on for ever");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn every_rule_holds_after_any_history(policy in policy(), moves in moves()) {
        let mut world = World::new(policy);
        for step in moves {
            world.apply(step);
        }
        world.settle();
        if let (false, false, Some(version)) = (world.retired, world.stopped, world.version()) {
            let held = world.watch.held().map(|held| held.version);
            prop_assert!(
                [world.last_run, world.discarded, world.skipped, held].contains(&Some(version)),
                "at rest the last content {:?} is not the last that ran ({:?})", version, world.last_run
            );
        }
        if let Some(held) = world.watch.held() {
            prop_assert_eq!(Some(held.version), world.version(), "what is held is there no more");
            let expected = if world.stopped { Condition::Stopped } else { Condition::Held };
            prop_assert_eq!(world.watch.condition(false), expected);
            prop_assert!(world.said.contains(&held.version.revision), "held without a word");
        }
        prop_assert_eq!(world.watch.deadline(), None, "a deadline without a run");
    }

    #[test]
    fn at_rest_a_restart_runs_nothing_that_is_done(policy in policy(), moves in moves(), crash in any::<bool>()) {
        let mut world = World::new(policy);
        for step in moves {
            world.apply(step);
        }
        world.apply(Move::Lag(false));
        world.settle();
        let before = world.ever.len();
        let applied = world.applied.map(|(_, version)| version);
        let Snapshot { discarded, admitted, .. } = world.watch.snapshot();
        let done = world.version().is_none_or(|version| [applied, discarded].contains(&Some(version)));
        let held = world.watch.held().map(|held| held.version);
        let holds = |version: Version| {
            let cleared = [applied, admitted].contains(&Some(version));
            held == Some(version) || !cleared && world.is_suspicious(version.revision)
        };
        let holds = world.version().is_some_and(holds);
        let expected = match world.policy.run_on_load {
            _ if world.retired || world.stopped || holds => 0,
            RunOnLoad::Never => 0,
            RunOnLoad::Changed => usize::from(!done),
            RunOnLoad::Always => usize::from(world.version().is_some()),
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
