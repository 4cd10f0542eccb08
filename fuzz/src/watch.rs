//! Histories of a watch: what configs, stores, operators, the clock and the ledger tell it.
//!
//! The properties of the crate make possible histories. These need not be possible.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arbitrary::{Result, Unstructured};
use twitcher::model::{
    Content, Facet, Guard, OnFailure, Pause, Policy, Retry, RunMode, RunOnLoad, Share, State, Throttle,
    Version,
};
use twitcher::watch::{
    Effect, Event, Generator, Input, KILL_AFTER, Record, Recovery, RunId, RunResult, Seen, Snapshot, Time,
    Watch,
};

/// Longer histories find nothing that shorter ones do not.
const MAX_MOVES: usize = 300;

/// The longest time that a config can set, in seconds.
const A_YEAR: u64 = 366 * 24 * 60 * 60;

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let (Ok((policy, facet)), Ok(recovery)) = (policy(&mut input), recovery(&mut input)) else { return };
    live(policy, facet, recovery, &mut input);
}

/// Takes a watch through a history, and checks the rules at each step.
pub fn live(policy: Policy, facet: Facet, recovery: Recovery, input: &mut Unstructured<'_>) {
    let mut generator = Generator::new(7);
    let watch = Watch::new(policy.clone().into(), recovery.snapshot(Time::ZERO, calendar(Time::ZERO)));
    let mut world = World {
        watch,
        policy,
        facet,
        now: Time::ZERO,
        has_places: true,
        asks: false,
        loaded_again: false,
        retired: false,
        ended: false,
        live: BTreeMap::new(),
    };
    for _ in 0..MAX_MOVES {
        let Ok(Some(step)) = world.next(input) else { break };
        world.feed(step, &mut generator);
    }
    // Every history comes to an end.
    world.has_places = true;
    world.answer(&mut generator);
    world.feed(Input::Retired, &mut generator);
    while let Some(run) = world.live.keys().next().copied() {
        world.feed(world.end(run, RunResult::Failed), &mut generator);
    }
    assert!(world.ended, "it never ended");
}

struct World {
    watch: Watch,
    policy: Policy,
    facet: Facet,
    now: Time,
    /// Whether the daemon has places for runs (`max_actions`).
    has_places: bool,
    /// Whether the watch waits for a place.
    asks: bool,
    /// Whether it was loaded although it was not retired, so that an update of the definition before may
    /// wait.
    loaded_again: bool,
    retired: bool,
    ended: bool,
    /// The live runs, and when each was told to end.
    live: BTreeMap<RunId, Option<Time>>,
}

impl World {
    /// Returns the next input, or `None` if no bytes are left.
    fn next(&mut self, input: &mut Unstructured<'_>) -> Result<Option<Input>> {
        if input.is_empty() {
            return Ok(None);
        }
        Ok(Some(match input.int_in_range(0..=16)? {
            0..=2 => Input::Observed(state(self.facet, input)?),
            3 | 4 => match self.live.keys().nth(input.choose_index(self.live.len().max(1))?).copied() {
                Some(run) => self.end(run, end(input)?),
                None => Input::Tick,
            },
            5 => {
                self.now += Duration::from_secs(input.int_in_range(0..=A_YEAR)?);
                Input::Tick
            }
            6 | 7 => {
                self.now = self.watch.deadline().map_or(self.now, |due| due.max(self.now));
                Input::Tick
            }
            8 => {
                (self.policy, self.facet) = policy(input)?;
                self.loaded_again |= !std::mem::take(&mut self.retired);
                let recovery = recovery(input)?;
                let (policy, snapshot) =
                    (self.policy.clone(), recovery.snapshot(self.now, calendar(self.now)));
                Input::Loaded { policy: policy.into(), snapshot, same_definition: input.arbitrary()? }
            }
            9 => {
                (self.policy, self.facet) = policy(input)?;
                Input::Redefined { policy: self.policy.clone().into(), same_subject: input.arbitrary()? }
            }
            10 => Input::Triggered { force: input.arbitrary()? },
            11 => {
                let length = if input.arbitrary()? { Some(seconds(input)?) } else { None };
                Input::Paused(Pause::new(length, self.now, calendar(self.now)).into())
            }
            12 => Input::Resumed,
            13 => {
                self.has_places = !self.has_places;
                Input::Tick
            }
            // The daemon has no bytes left for what waits.
            14 => Input::MustShed,
            15 => match self.live.keys().nth(input.choose_index(self.live.len().max(1))?).copied() {
                Some(run) => Input::Started { run, executed: self.now },
                None => Input::Tick,
            },
            _ => Input::Killed,
        }))
    }

    fn end(&self, run: RunId, end: RunResult) -> Input {
        Input::Ended { run, end }
    }

    fn feed(&mut self, input: Input, generator: &mut Generator) {
        self.retired |= matches!(input, Input::Retired);
        if let Input::Ended { run, .. } = input {
            self.live.remove(&run);
        }
        let admitted = self.watch.snapshot().admitted;
        for effect in self.watch.step(self.now, input, generator) {
            if let (Effect::Held { version, .. }, Some(admitted)) = (&effect, admitted) {
                assert!(!version.is_same_state(admitted), "what was let through is held");
            }
            assert!(!self.asks || effect != Effect::WantsStart, "asked twice for one place");
            self.asks |= effect == Effect::WantsStart;
            self.check(effect);
        }
        if self.asks && self.has_places {
            return self.answer(generator);
        }
        assert_eq!(self.watch.live_runs(), self.live.len());
        let snapshot = self.watch.snapshot();
        let record = Record { snapshot: snapshot.clone(), same_subject: true, same_definition: true };
        let recovery = Recovery { record: Some(record), ..Recovery::default() };
        let remembered = recovery.snapshot(self.now, calendar(self.now));
        // The end of a pause moves with the calendar.
        assert_eq!(remembered.pause.is_some(), snapshot.pause.is_some(), "a pause is not remembered");
        let rest = |snapshot| Snapshot { pause: None, ..snapshot };
        assert_eq!(rest(remembered), rest(snapshot), "it is not remembered");
        assert!(
            self.watch.next_start().is_none_or(|start| start > self.now),
            "an update is due and does not start"
        );
    }

    /// Answers the wish of the watch to start a run, if it has one.
    fn answer(&mut self, generator: &mut Generator) {
        if std::mem::take(&mut self.asks) {
            self.feed(Input::MayStart, generator);
        }
    }

    fn check(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { run, since, update } => {
                assert!(!self.retired, "spawned after retirement");
                assert!(since <= self.now, "late since the future");
                assert!(
                    update.event != Event::Deleted || self.policy.run_on_delete || self.loaded_again,
                    "a deletion runs without `run_on_delete`"
                );
                assert_eq!(self.live.insert(run, None), None, "a run id twice");
                let limit = match self.policy.run_mode {
                    RunMode::Queue | RunMode::Discard => 1,
                    RunMode::Parallel => self.policy.max_parallel as usize,
                };
                assert!(self.live.len() <= limit, "too many at once");
            }
            Effect::Terminate { run, .. } => {
                let told = self.live.get_mut(&run).expect("terminated a run that is not live");
                assert_eq!(told.replace(self.now), None, "terminated twice");
            }
            Effect::Kill { run } => {
                let told = self.live[&run].expect("killed before it was terminated");
                assert!(self.now >= told + KILL_AFTER, "killed before the grace was over");
            }
            Effect::Notify { run, .. } => assert!(self.live.contains_key(&run)),
            Effect::Deleted => assert!(!self.policy.run_on_delete, "a deletion is ignored that is to run"),
            Effect::Discarded { .. } => assert_eq!(self.policy.run_mode, RunMode::Discard),
            Effect::Forget => {
                assert!(self.retired && self.live.is_empty());
                self.ended = true;
            }
            // The others only report.
            _ => {}
        }
    }
}

fn policy(input: &mut Unstructured<'_>) -> Result<(Policy, Facet)> {
    let run_mode = *input.choose(&[RunMode::Queue, RunMode::Discard, RunMode::Parallel])?;
    let retry = if input.arbitrary()? {
        Some(Retry { attempts: input.arbitrary()?, delay: seconds(input)?, max_delay: seconds(input)? })
    } else {
        None
    };
    let policy = Policy {
        run_mode,
        run_on_load: *input.choose(&[RunOnLoad::Never, RunOnLoad::Always, RunOnLoad::Changed])?,
        notify_signal: input.arbitrary::<bool>()?.then_some(10),
        timeout: if input.arbitrary()? { Some(seconds(input)?) } else { None },
        max_parallel: input.int_in_range(1..=4)?,
        retry,
        ..Policy::DEFAULT
    };
    let facet = if input.arbitrary()? { Facet::Children } else { Facet::Data };
    let policy = Policy {
        on_failure: *input.choose(&[OnFailure::Keep, OnFailure::Stop])?,
        throttle: Throttle {
            debounce: seconds(input)?,
            debounce_max: if input.arbitrary()? { Some(seconds(input)?) } else { None },
            min_interval: seconds(input)?,
            splay: seconds(input)?,
        },
        guard: guard(input)?,
        run_on_delete: input.arbitrary()?,
        ..policy
    };
    Ok((policy, facet))
}

fn guard(input: &mut Unstructured<'_>) -> Result<Guard> {
    Ok(Guard {
        max_data: if input.arbitrary()? { Some(input.int_in_range(0..=3)?) } else { None },
        not_empty: input.arbitrary()?,
        max_shrink: *input.choose(&[
            None,
            Share::of_percent(0.0),
            Share::of_percent(50.0),
            Share::of_percent(100.0),
        ])?,
    })
}

/// Returns a time, and zero in half of the cases.
fn seconds(input: &mut Unstructured<'_>) -> Result<Duration> {
    Ok(match input.int_in_range(0..=3)? {
        0 | 1 => Duration::ZERO,
        2 => Duration::from_secs(input.int_in_range(0..=10)?),
        _ => Duration::from_secs(input.int_in_range(0..=A_YEAR)?),
    })
}

fn recovery(input: &mut Unstructured<'_>) -> Result<Recovery> {
    let snapshot = Snapshot {
        seen: match input.int_in_range(0..=2)? {
            0 => None,
            1 => Some(Seen::Absent),
            _ => Some(Seen::Present(version(input)?)),
        },
        pending: event(input)?,
        applied: ran(input)?,
        discarded: ran(input)?,
        failures: *input.choose(&[0, 1, u32::MAX])?,
        stopped: input.arbitrary()?,
        pause: if input.arbitrary()? { Some(pause(input)?.into()) } else { None },
        held: ran(input)?,
        admitted: ran(input)?,
        applied_size: *input.choose(&[None, Some(0), Some(2), Some(u64::MAX)])?,
    };
    let (same_subject, same_definition) = input.arbitrary()?;
    let record = Record { snapshot, same_subject, same_definition };
    let record = input.arbitrary::<bool>()?.then_some(record);
    Ok(Recovery { record, interrupted: event(input)?, record_lost: input.arbitrary()? })
}

fn pause(input: &mut Unstructured<'_>) -> Result<Pause> {
    let mut time = || Ok(if input.arbitrary()? { Some(calendar(seconds(input)?)) } else { None });
    Ok(Pause { since: time()?, until: time()?, ..Pause::default() })
}

/// What the calendar says at the core's time `now`.
fn calendar(now: Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(A_YEAR) + now
}

fn event(input: &mut Unstructured<'_>) -> Result<Option<Event>> {
    if input.arbitrary()? { input.choose(&Event::ALL).copied().map(Some) } else { Ok(None) }
}

fn end(input: &mut Unstructured<'_>) -> Result<RunResult> {
    input
        .choose(&[RunResult::Succeeded, RunResult::Failed, RunResult::Starved, RunResult::Interrupted])
        .copied()
}

fn state(facet: Facet, input: &mut Unstructured<'_>) -> Result<State> {
    if input.arbitrary()? {
        return Ok(State::Absent);
    }
    let size = input.int_in_range(0..=4)?;
    let content = match facet {
        Facet::Children => Content::Children { lines: b"n\n".repeat(size).into(), count: size as u64 },
        Facet::Members => Content::Members { object: vec![b'm'; size].into(), count: size as u64 },
        Facet::Data | Facet::Tree => Content::Data(vec![0; size].into()),
    };
    Ok(State::Present { version: version(input)?, origin: Default::default(), content })
}

/// Returns what an update may have had as its version.
fn ran(input: &mut Unstructured<'_>) -> Result<Option<Version>> {
    Ok(match input.int_in_range(0..=3)? {
        0 | 1 => None,
        2 => Some(Version::DELETION),
        _ => Some(version(input)?),
    })
}

/// Returns one of few versions, so that equal ones come again, including extreme numbers. No node has the
/// version that stands for a deletion.
fn version(input: &mut Unstructured<'_>) -> Result<Version> {
    let number = |input: &mut Unstructured<'_>| input.choose(&[0, 1, 2, -1, i64::MAX, i64::MIN + 1]).copied();
    Ok(Version { incarnation: number(input)?, revision: number(input)?, number: number(input)? })
}
