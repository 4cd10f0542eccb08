//! Tests of single situations, in the words of the contract.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::model::{
    Content, OnFailure, Origin, Pause, Policy, Retry, RunMode, RunOnLoad, State, Throttle, TransactionId,
    Version, WatchCommand,
};

mod commands;
mod condition;
mod decoding;
mod deletion;
mod failures;
mod guard;
mod lateness;
mod lifecycle;
mod operators;
mod places;
mod restart;
mod run_modes;
mod throttles;

const QUEUE: Policy = Policy::DEFAULT;
const DISCARD: Policy = Policy { run_mode: RunMode::Discard, ..QUEUE };
const PARALLEL: Policy = Policy { run_mode: RunMode::Parallel, ..QUEUE };

/// A watch with a clock and run ids of its own.
struct Bench {
    watch: Watch,
    generator: Generator,
    now: Time,
    /// How late the last run started. Most tests ignore this, so `step` takes it out of the effects.
    late: Duration,
    /// Whether [`Effect::WantsStart`] is answered at once. Most tests do not see the question.
    has_places: bool,
}

impl Bench {
    fn new(policy: Policy) -> Self {
        Self::of(Watch::new(policy.into(), Snapshot::default()))
    }

    fn of(watch: Watch) -> Self {
        Self { watch, generator: Generator::new(0), now: Time::ZERO, late: Duration::ZERO, has_places: true }
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = self.watch.step(self.now, input, &mut self.generator);
        while let (true, Some(index)) =
            (self.has_places, effects.iter().position(|e| *e == Effect::WantsStart))
        {
            effects.remove(index);
            effects.extend(self.watch.step(self.now, Input::MayStart, &mut self.generator));
        }
        for effect in &mut effects {
            if let Effect::Spawn { since, .. } = effect {
                self.late = self.now - std::mem::take(since);
            }
        }
        effects
    }

    /// The store reports this revision of this incarnation.
    fn see(&mut self, incarnation: i64, revision: i64) -> Vec<Effect> {
        self.step(Input::Observed(present(incarnation, revision)))
    }

    fn miss(&mut self) -> Vec<Effect> {
        self.step(Input::Observed(State::Absent))
    }

    fn end(&mut self, run: u64) -> Vec<Effect> {
        self.step(Input::Ended { run: RunId(run), end: RunResult::Succeeded })
    }

    fn fail(&mut self, run: u64) -> Vec<Effect> {
        self.step(Input::Ended { run: RunId(run), end: RunResult::Failed })
    }

    /// The program of the run is executing now.
    fn execute(&mut self, run: u64) -> Vec<Effect> {
        self.step(Input::Started { run: RunId(run), executed: self.now })
    }

    /// Moves the clock to the watch's deadline.
    fn at_deadline(&mut self) -> Vec<Effect> {
        self.now = self.watch.deadline().expect("a deadline");
        self.step(Input::Tick)
    }

    fn at(&mut self, seconds: u64) -> Vec<Effect> {
        self.now = Time::from_secs(seconds);
        self.step(Input::Tick)
    }

    fn load(&mut self, policy: Policy, snapshot: Snapshot, same_definition: bool) -> Vec<Effect> {
        self.step(Input::Loaded { policy: policy.into(), snapshot, same_definition })
    }

    /// Makes the next daemon's watch from the snapshot. `orphan` is the timeout of a run that lives on.
    fn reborn(&self, policy: Policy, orphan: Option<Option<Time>>) -> Self {
        let mut next = Self::of(Watch::unloaded());
        if let Some(until) = orphan {
            assert_eq!(next.watch.adopt(until, &mut next.generator), RunId(1));
        }
        assert_eq!(next.load(policy, self.watch.snapshot(), true), []);
        next
    }

    fn interrupt(&mut self, run: u64) -> Vec<Effect> {
        self.step(Input::Ended { run: RunId(run), end: RunResult::Interrupted })
    }

    fn redefine(&mut self, policy: Policy) -> Vec<Effect> {
        self.step(Input::Redefined { policy: policy.into(), same_subject: true })
    }
}

fn content(revision: i64) -> Content {
    Content::Data(revision.to_be_bytes().as_slice().into())
}

fn origin(revision: i64) -> Origin {
    Origin { transaction: Some(TransactionId::Zxid(revision)), at: Some(revision) }
}

fn version(incarnation: i64, revision: i64) -> Version {
    Version { incarnation, revision, number: revision }
}

fn present(incarnation: i64, revision: i64) -> State {
    let (version, origin) = (version(incarnation, revision), origin(revision));
    State::Present { version, origin, content: content(revision) }
}

fn spawn(run: u64, event: Event, incarnation: i64, revision: i64) -> Effect {
    let (version, content) = (version(incarnation, revision), content(revision));
    let update = Update { event, version, origin: origin(revision), content, decoded: None };
    Effect::Spawn { run: RunId(run), update, since: Time::ZERO }
}

/// A pause that only an operator ends.
fn pause() -> Input {
    Input::Paused(Box::default())
}

fn input(command: WatchCommand) -> Input {
    match command {
        WatchCommand::Trigger { force } => Input::Triggered { force },
        WatchCommand::Pause => pause(),
        WatchCommand::Resume => Input::Resumed,
        WatchCommand::Kill => Input::Killed,
    }
}

/// What the calendar says at the core's time `now`.
fn calendar(now: Time) -> SystemTime {
    UNIX_EPOCH + 1000 * SECOND + now
}

/// Returns what a daemon starts from that begins at the core's time zero.
fn recovered(recovery: Recovery) -> Snapshot {
    recovery.snapshot(Time::ZERO, calendar(Time::ZERO))
}

const RETRY: Policy = Policy {
    retry: Some(Retry { attempts: 2, delay: Duration::from_secs(4), max_delay: Duration::from_secs(6) }),
    ..QUEUE
};

/// Returns the delay of the [`Effect::Retry`] that is the only effect.
fn retried(effects: &[Effect], run: u64, failures: u32) -> Duration {
    match effects {
        [Effect::Retry { run: RunId(of), failures: count, after }] if (*of, *count) == (run, failures) => {
            *after
        }
        other => panic!("{other:?}"),
    }
}

fn throttled(throttle: Throttle) -> Policy {
    Policy { throttle, ..QUEUE }
}

const SECOND: Duration = Duration::from_secs(1);

/// Lets a run starve, and returns the delay of the [`Effect::Postponed`] that is the only effect.
fn starve(bench: &mut Bench, run: u64) -> Duration {
    match &bench.step(Input::Ended { run: RunId(run), end: RunResult::Starved })[..] {
        [Effect::Postponed { run: RunId(of), after }] if *of == run => *after,
        other => panic!("{other:?}"),
    }
}

const SILENT: Policy = Policy { run_on_load: RunOnLoad::Never, ..QUEUE };

const CHANGED: Policy = Policy { run_on_load: RunOnLoad::Changed, ..QUEUE };

/// Makes a watch that is up to date with revision 1.
fn settled(policy: Policy) -> Bench {
    let mut bench = Bench::new(QUEUE);
    bench.see(1, 1);
    bench.end(1);
    bench.policy(policy);
    bench
}

impl Bench {
    /// Continues with a watch that had this policy from the start.
    fn policy(&mut self, policy: Policy) {
        let snapshot = self.watch.snapshot();
        *self = Self { now: self.now, ..Self::of(Watch::new(policy.into(), snapshot)) };
    }
}
