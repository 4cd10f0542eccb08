//! The world around one watch, and the rules that the watch must keep.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::moves::Move;
use crate::model::{
    Content, Decoded, Format, Guard, Pause, Policy, RunOnLoad, Share, State, Version, WatchCommand,
};
use crate::watch::{
    DecodingId, Effect, Event, Generator, Input, Record, Recovery, RunId, RunResult, Snapshot, Time, Verdict,
    Watch,
};

mod orders;
mod restarts;

/// A run that has not ended.
pub(super) struct Live {
    pub(super) definition: u64,
    pub(super) subject: u64,
    pub(super) version: Version,
    /// Whether a former daemon started it.
    pub(super) orphan: bool,
    /// Since when its program has been executing, if the watch knows that.
    pub(super) executed: Option<Time>,
    pub(super) spawned: Time,
    /// The timeout of its definition.
    pub(super) timeout: Option<Duration>,
    pub(super) terminated: Option<Time>,
    pub(super) killed: bool,
}

impl Live {
    /// When its timeout is over, if it has begun.
    pub(super) fn timeout_at(&self) -> Option<Time> {
        Some(self.executed? + self.timeout?)
    }
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

/// What the calendar says at the core's time `now`.
fn calendar(now: Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1000) + now
}

/// One watch with its node, its ledger and its runs. Each step asserts the rules.
pub(super) struct World {
    pub(super) watch: Watch,
    pub(super) policy: Policy,
    pub(super) definition: u64,
    pub(super) subject: u64,
    noted: Noted,
    lags: bool,
    /// Whether the watch waits for a place.
    pub(super) asks: bool,
    /// Whether the daemon has places for runs.
    has_places: bool,
    generator: Generator,
    pub(super) now: Time,
    /// Incarnation and revision; `None` is a missing node.
    pub(super) node: Option<(i64, i64)>,
    next: i64,
    pub(super) retired: bool,
    pub(super) live: BTreeMap<RunId, Live>,
    pub(super) ever: BTreeSet<RunId>,
    pub(super) last_run: Option<Version>,
    /// The newest run that succeeded in this definition.
    pub(super) applied: Option<(RunId, Version)>,
    pub(super) discarded: Option<Version>,
    /// The size of each revision.
    bytes: BTreeMap<i64, u64>,
    /// The newest run of this subject that succeeded, with the size of its content; `None` for a deletion.
    applied_size: Option<(RunId, Option<u64>)>,
    /// The revisions that may run under this definition.
    pub(super) passed: BTreeSet<i64>,
    /// The revisions that ran or were forced, as far as the ledger knew.
    pub(super) cleared: BTreeSet<i64>,
    /// The revisions that a guard held.
    pub(super) held: BTreeSet<i64>,
    /// The revisions that this daemon reported as held.
    pub(super) said: BTreeSet<i64>,
    /// The first state of a watch with `run_on_load: false`, which runs nothing.
    pub(super) skipped: Option<Version>,
    first_state: bool,
    /// Whether a retry was announced, so that the same content may run once more.
    pub(super) retrying: bool,
    pub(super) stopped: bool,
    /// Whether the node was deleted while the definition had no `run_on_delete`.
    pub(super) deleted_unrun: bool,
    /// Whether the node existed at the last report.
    seen_present: bool,
    /// Whether its deletion was reported.
    pub(super) deletion_told: bool,
    /// Whether an operator triggered a run for the deletion.
    pub(super) deletion_triggered: bool,
    /// Whether the next report follows a load or a trigger, which may run for a deletion again.
    asked: bool,
    pub(super) paused: bool,
    /// When the last pause ends by itself.
    pub(super) pause_ends: Option<Time>,
    pub(super) last_start: Option<Time>,
    /// The decodings that were asked for, with the sizes of their contents, oldest first.
    pub(super) decoding: VecDeque<(DecodingId, u64)>,
    /// The last one that came to an end.
    decoded: Option<DecodingId>,
}

/// Contents with this size modulo 3 do not decode.
fn faulty_size(decode: Option<Format>) -> u64 {
    match decode {
        None => 3,
        Some(Format::Json) => 1,
        Some(Format::Cbor | Format::Properties | Format::Commit) => 2,
    }
}

impl World {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            watch: Watch::new(policy.clone().into(), Snapshot::default()),
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
            bytes: BTreeMap::from([(Version::DELETION.revision, 0)]),
            applied_size: None,
            passed: BTreeSet::new(),
            cleared: BTreeSet::new(),
            held: BTreeSet::new(),
            said: BTreeSet::new(),
            skipped: None,
            first_state: true,
            retrying: false,
            stopped: false,
            deleted_unrun: false,
            seen_present: false,
            deletion_told: false,
            deletion_triggered: false,
            asked: true,
            paused: false,
            pause_ends: None,
            last_start: None,
            decoding: VecDeque::new(),
            decoded: None,
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
            Move::Started(n, ago) => {
                let starting: Vec<_> =
                    self.live.iter_mut().filter(|(_, live)| live.executed.is_none()).collect();
                let count = starting.len().max(1);
                if let Some((&run, live)) = starting.into_iter().nth(n % count) {
                    // The watch may be told late.
                    let executed = self.now.saturating_sub(Duration::from_secs(ago)).max(live.spawned);
                    live.executed = Some(executed);
                    self.feed(Input::Started { run, executed });
                }
            }
            Move::Verdict => self.decode_next(),
            Move::VerdictAgain => {
                if let Some(decoding) = self.decoded {
                    // A pause may end with any input.
                    let known = |world: &Self| Snapshot { pause: None, ..world.watch.snapshot() };
                    let before = known(self);
                    let verdict = Verdict::Faulty("again".into());
                    self.feed(Input::Decoded { decoding, verdict });
                    assert_eq!(known(self), before, "a verdict counted twice");
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
                let Snapshot { applied, applied_size, pause, .. } = self.noted.snapshot.clone();
                self.noted.snapshot = Snapshot { applied, applied_size, pause, ..Snapshot::default() };
            }
            // The daemon takes no commands for a watch that no file registers.
            Move::Trigger { .. }
            | Move::ForceTooLate(_)
            | Move::ForceAndCrash
            | Move::Pause(_)
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
            Move::Pause(seconds) => {
                let length = seconds.map(Duration::from_secs);
                let pause = Pause::new(length, self.now, calendar(self.now));
                self.pause_ends = pause.ends;
                self.order(Input::Paused(Box::new(pause)), true);
            }
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

    fn end(&mut self, run: RunId, end: RunResult) {
        let live = self.live.remove(&run).expect("a live run");
        // A program that is executing has been started.
        let end = if live.executed.is_some() && end == RunResult::Starved { RunResult::Failed } else { end };
        let ours = !live.orphan && live.subject == self.subject;
        if end == RunResult::Succeeded && ours && self.applied_size.is_none_or(|(newest, _)| run > newest) {
            let size = (live.version != Version::DELETION).then(|| self.bytes[&live.version.revision]);
            self.applied_size = Some((run, size));
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
        // It has not run. A definition that decodes its content first tries it again without a word.
        if end == RunResult::Starved && ours {
            self.last_run = self.last_run.filter(|last| *last != live.version);
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

    /// The node's version, or that of its deletion if this runs the action.
    pub(super) fn state_to_run(&self) -> Option<Version> {
        self.version().or(self.policy.run_on_delete.then_some(Version::DELETION))
    }

    /// Whether the action has applied content of this subject since it applied the last deletion.
    pub(super) fn has_applied_content(&self) -> bool {
        self.applied_size.is_some_and(|(_, size)| size.is_some())
            || self.applied.is_some_and(|(_, version)| version != Version::DELETION)
    }

    /// Whether the action has applied content of this subject, or runs with some.
    fn is_given_content(&self) -> bool {
        self.has_applied_content() || self.live.values().any(|live| live.subject == self.subject)
    }

    fn observe(&mut self) {
        if self.retired {
            return self.feed(Input::Observed(State::Absent));
        }
        if let Some(version) = self.state_to_run() {
            let revision = version.revision;
            let is_applied = self.applied.is_some_and(|(_, applied)| applied == version);
            if is_applied || !self.held.contains(&revision) && !self.is_suspicious(revision) {
                self.passed.insert(revision);
            }
        }
        let asked = std::mem::take(&mut self.asked);
        let state = match self.version() {
            None => {
                self.deleted_unrun |= !self.policy.run_on_delete;
                if std::mem::take(&mut self.seen_present) {
                    self.last_run = self.last_run.filter(|last| *last != Version::DELETION);
                }
                self.retrying |= asked;
                State::Absent
            }
            Some(version) => {
                self.forget_deletion();
                self.seen_present = true;
                let revision = version.revision;
                let bytes = vec![0; self.bytes[&revision] as usize];
                State::Present { version, origin: Default::default(), content: Content::Data(bytes.into()) }
            }
        };
        if std::mem::take(&mut self.first_state) && self.policy.run_on_load == RunOnLoad::Never {
            self.skipped = self.state_to_run();
        }
        self.feed(Input::Observed(state));
    }

    /// The next deletion is another one.
    fn forget_deletion(&mut self) {
        let deletion = Version::DELETION;
        (self.deleted_unrun, self.deletion_told, self.deletion_triggered) = (false, false, false);
        self.last_run = self.last_run.filter(|last| *last != deletion);
        self.discarded = self.discarded.filter(|discarded| *discarded != deletion);
        for revisions in [&mut self.cleared, &mut self.held, &mut self.said] {
            revisions.remove(&deletion.revision);
        }
    }

    fn redefine(&mut self, policy: Policy, same_subject: bool) {
        self.definition += 1;
        self.policy = policy.clone();
        (self.asked, self.deletion_told) = (true, false);
        self.deleted_unrun &= self.policy.run_on_load == RunOnLoad::Never || !self.is_given_content();
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
            let pause = self.noted.snapshot.pause.as_ref();
            let pause = pause.map(|pause| Box::new(pause.carried_over(self.now, calendar(self.now))));
            if let (None, Some(pause)) = (self.watch.pause(), &pause) {
                (self.paused, self.pause_ends) = (true, pause.ends);
            }
            let snapshot = Snapshot { pause, ..Snapshot::default() };
            self.feed(Input::Loaded { policy: policy.into(), snapshot, same_definition: false });
        } else {
            self.feed(Input::Redefined { policy: policy.into(), same_subject });
        }
        // The daemon refreshes the subject.
        self.observe();
    }

    /// The contents that wait, and how often they changed.
    fn waiting(&self) -> (Vec<Content>, u64) {
        (self.watch.waiting_contents().cloned().collect(), self.watch.waiting_changes())
    }

    fn feed(&mut self, input: Input) {
        let (may_start, now) = (matches!(input, Input::MayStart), self.now);
        let waiting = self.waiting();
        let effects = self.watch.step(self.now, input, &mut self.generator);
        let (now_waiting, changes) = self.waiting();
        assert!(changes != waiting.1 || now_waiting == waiting.0, "what waits changed and nobody can tell");
        let spawns = effects.iter().filter(|effect| matches!(effect, Effect::Spawn { .. })).count();
        assert!(spawns <= usize::from(may_start), "took a place that was not given");
        if spawns > 0 {
            // The ledger knows of a run before it starts, and of everything else some time later.
            self.noted.begun = Some(self.subject);
        }
        let holds = effects.iter().any(|effect| matches!(effect, Effect::Held { .. }));
        let notifies = effects.iter().any(|effect| matches!(effect, Effect::Notify { .. }));
        // At the end of a pause, it is notified of what waited.
        let is_over = effects.iter().any(|effect| matches!(effect, Effect::PauseOver));
        assert!(!(holds && notifies) || is_over, "notified of what is held");
        for effect in effects {
            self.check(effect);
        }
        if !self.lags {
            self.note();
        }
        assert_eq!(self.watch.pause().is_some(), self.paused, "paused without an operator's wish");
        let paused_on = self.paused && !self.retired && self.pause_ends.is_some_and(|ends| ends < now);
        assert!(!paused_on, "a pause is longer than its operator asked for");
        assert_eq!(self.watch.live_runs(), self.live.len());
        let overdue =
            |live: &&Live| live.terminated.is_none() && live.timeout_at().is_some_and(|at| at <= now);
        assert_eq!(self.live.values().filter(overdue).count(), 0, "runs longer than its timeout");
        if self.has_places {
            self.place();
        }
    }

    /// Lets the store catch up, resumes the watch, and ends every run.
    pub(super) fn settle(&mut self) {
        self.apply(Move::Places(true));
        self.apply(Move::Resume);
        self.observe();
        for _ in 0..=4 * self.next {
            while !self.decoding.is_empty() {
                self.decode_next();
            }
            self.apply(Move::RunResult(0, RunResult::Succeeded));
            // This is longer than any throttle or delay.
            self.apply(Move::Sleep(60));
        }
        assert!(self.live.is_empty(), "runs go on for ever");
    }
}
