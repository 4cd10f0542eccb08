//! The runs: which are about to start, which are live, and how each of them ended.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::clock::Clock;
use super::launch::{Job, is_out_of_descriptors, is_starvation, program_name};
use super::live_run::{LiveRun, Signal, Stage, run_name, run_name_of};
use super::run_end::{EndKind, RunEnd};
use super::shortage::{Shortage, has_descriptors};
use super::start_outcome::{StartFailure, StartOutcome};
use super::starter::{MAX_QUEUED, REFILL_BELOW, StartEvent, Starter};
use super::watches::WatchId;
use crate::action::orphan::Orphan;
use crate::action::payload::Payload;
use crate::action::proc::{self, ProcessId};
use crate::action::reap::what_holds;
use crate::action::run::{self, ExitStatus, Handle};
use crate::action::slots::Slots;
use crate::action::spawn::{Process, Spawner, StartError};
use crate::ledger::Intent;
use crate::model::WatchSpec;
use crate::report::{NodeRef, PreviousRun, Report, Reporter, RunName, RunReport};
use crate::watch::{Reason, RunId, Time, Update};

/// The part of the daemon that does not work while actions have all descriptors that they may have.
const ACTIONS: &str = "actions";

/// A process that is alive this long after SIGKILL hangs in the kernel, or somebody holds it.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long starts may still take when the daemon stops.
const STOPPING_START_TIMEOUT: Duration = Duration::from_secs(1);

/// The name of the slots, as operators see it.
const SLOTS: &str = "starts";

pub struct Runs {
    log: Reporter,
    clock: Clock,
    starter: Starter<Job, RunEvent>,
    /// Where processes note who they are.
    slots: Slots,
    /// Sets the run ids of this daemon apart from those of any other.
    id_prefix: String,
    starting: Vec<PendingStart>,
    has_handed_over: bool,
    live: HashMap<RunId, LiveRun>,
    /// The live runs whose process the ledger does not know yet.
    unsaved: BTreeSet<RunId>,
    /// How many live runs the daemon's end does not wait for.
    unkillable: usize,
    /// The watches of which the log knows that one of their starts hangs.
    known_to_hang: HashSet<WatchId>,
    /// The shortage that [`ACTIONS`] tells of.
    shortage: Shortage,
    /// The runs that are over, but whose process may still write into its slot.
    hanging: HashSet<String>,
    /// What happens to runs goes into this channel, and comes out in a later turn.
    sender: UnboundedSender<RunEvent>,
    events: UnboundedReceiver<RunEvent>,
}

/// A run that starts as soon as the ledger knows of it.
pub struct PendingStart {
    pub watch: WatchId,
    pub run: RunId,
    pub update: Update,
    /// What the latency counts from, as in [`crate::watch::Effect::Spawn`].
    pub since: Time,
    pub payload: Payload,
    pub intent: Intent,
}

/// What happens to a run. [`RunEvent::End`] comes once for each run that has started.
pub enum RunEvent {
    Start(StartEvent<Job>),
    End(RunEnd),
    /// The run was sent SIGKILL [`KILL_TIMEOUT`] ago.
    KillTimeout(RunId),
    /// The daemon stops, and starts have taken long enough.
    StopStarts,
}

impl From<StartEvent<Job>> for RunEvent {
    fn from(event: StartEvent<Job>) -> Self {
        Self::Start(event)
    }
}

/// A run that was live.
pub struct EndedRun {
    pub live: LiveRun,
    /// The process, if the ledger does not know it.
    pub unsaved_process: Option<ProcessId>,
}

impl Runs {
    pub fn new(log: Reporter, clock: Clock, spawner: Spawner, slots: Slots) -> Self {
        let started = clock.started().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (sender, events) = unbounded_channel();
        Self {
            log,
            clock,
            starter: Starter::new(spawner, sender.clone()),
            slots,
            id_prefix: format!("{:x}.{:x}", started.as_millis(), std::process::id()),
            starting: Vec::new(),
            has_handed_over: false,
            live: HashMap::new(),
            unsaved: BTreeSet::new(),
            unkillable: 0,
            known_to_hang: HashSet::new(),
            shortage: Shortage::default(),
            hanging: HashSet::new(),
            sender,
            events,
        }
    }

    /// The id that a run of this daemon has in the ledger: no other run has it, ever.
    pub fn full_id(&self, run: RunId) -> String {
        format!("{}-{run}", self.id_prefix)
    }

    pub fn report(&self, run: RunId, spec: &WatchSpec, what: RunReport<'_>) {
        self.log.report(&Report::Run { run: run_name_of(spec, run, &self.full_id(run)), what });
    }

    // Starting.

    /// Whether another run can start soon.
    pub fn has_room(&self) -> bool {
        self.starting.len() + self.starter.queued() < MAX_QUEUED
    }

    /// Whether so few starts wait that others should join them.
    pub fn needs_more(&self) -> bool {
        self.starting.len() + self.starter.queued() <= REFILL_BELOW
    }

    /// Waits until more starts are needed. Can be dropped at any time.
    pub fn room(&self) -> impl Future<Output = ()> + use<> {
        self.starter.room()
    }

    pub fn prepare(&mut self, start: PendingStart) {
        self.starting.push(start);
    }

    /// Ends a run that has nothing to do, without starting it.
    pub fn skip(&mut self, watch: WatchId, run: RunId, spec: &WatchSpec) {
        self.report(run, spec, RunReport::Unchanged);
        let _ = self.sender.send(RunEvent::End(RunEnd { watch, run, how: EndKind::Unchanged }));
    }

    /// Ends a run that cannot be started yet. The core tries it again.
    pub fn put_off(&mut self, watch: WatchId, run: RunId) {
        let _ = self.sender.send(RunEvent::End(RunEnd { watch, run, how: EndKind::PutOff }));
    }

    /// The runs that were prepared. The caller starts each of them once the ledger knows all of them.
    pub fn take_starting(&mut self) -> Vec<PendingStart> {
        self.slots.check_again();
        std::mem::take(&mut self.starting)
    }

    /// Starts a run of the watch that `spec` defines. A [`StartEvent::Done`] follows.
    pub fn start(&mut self, start: PendingStart, spec: &WatchSpec) {
        self.has_handed_over = true;
        let PendingStart { watch, run, update, since, payload, intent } = start;
        let id = intent.run.clone();
        let slot = self.slots.take(&id);
        let start =
            self.starter.start(Job { watch, run, id, spec: spec.clone(), update, since, payload, slot });
        let stage = Stage::Starting { start, signals: Vec::new() };
        self.live.insert(run, LiveRun::new(intent, stage, Instant::now()));
    }

    /// Whether starts were handed over since the last call. Their tasks are waiting for the thread.
    pub fn take_handed_over(&mut self) -> bool {
        std::mem::take(&mut self.has_handed_over)
    }

    /// Sees to it that operators know whether processes can note who they are. If the ledger is lost as well,
    /// they are told of that alone: it has the same cause, and without it the notes are of no use.
    pub fn report_slots(&self, is_ledger_usable: bool) {
        match self.slots.problem() {
            Some(problem) if is_ledger_usable => self.log.degraded(SLOTS, problem),
            Some(_) | None => self.log.recovered(SLOTS),
        }
    }

    /// Finds out whether what starts lacked is there again.
    pub fn retry(&mut self, is_ledger_usable: bool) {
        if has_descriptors() {
            self.has_enough();
        }
        self.slots.retry();
        self.report_slots(is_ledger_usable);
    }

    /// Notes that starts find what they need at the moment.
    fn has_enough(&mut self) {
        if self.shortage.has_enough(Instant::now()) {
            self.log.recovered(ACTIONS);
        }
    }

    /// Takes what became of a start.
    pub fn start_ended(&mut self, event: StartEvent<Job>) -> StartOutcome {
        match event {
            StartEvent::Done { job, outcome: Ok(process), .. } => {
                self.known_to_hang.remove(&job.watch);
                self.started(&job, process)
            }
            StartEvent::Done { job, outcome: Err(error), hangs } => {
                if hangs {
                    self.hanging.insert(job.id.clone());
                } else if !matches!(error, StartError::StillHangs { .. }) {
                    self.known_to_hang.remove(&job.watch);
                }
                self.over(&job.id);
                self.not_started(&job, &error)
            }
            StartEvent::LetGo(job) => {
                self.known_to_hang.remove(&job.watch);
                self.hanging.remove(&job.id);
                self.over(&job.id);
                StartOutcome::Nothing
            }
        }
    }

    fn started(&mut self, job: &Arc<Job>, process: Process) -> StartOutcome {
        let Some(LiveRun { mut intent, stage: Stage::Starting { signals, .. }, .. }) =
            self.live.remove(&job.run)
        else {
            return StartOutcome::Nothing;
        };
        self.has_enough();
        let executed = process.executed;
        let late = Instant::now().into_std().saturating_duration_since(executed);
        let what = RunReport::Started {
            event: job.update.event,
            node: NodeRef::of(&job.spec),
            version: job.update.version.number,
            pid: process.leader.as_raw(),
            latency: self.clock.now().saturating_sub(job.since).saturating_sub(late),
        };
        self.log.report(&Report::Run { run: run_name(&intent, job.run), what });
        let id = process.id;
        // The next daemon knows only when the process was made. The timeout counts from when it executed its
        // program, which can be much later.
        let made_before = id.map_or(Duration::ZERO, proc::age).saturating_sub(executed.elapsed());
        intent.timeout = intent.timeout.map(|timeout| timeout.saturating_add(made_before));
        let handle = self.follow(job.watch, job.run, intent.clone(), process);
        self.enter(job.run, intent, Stage::Running { process: id, handle }, executed.into());
        for signal in signals {
            self.signal(job.run, signal);
        }
        StartOutcome::Started { watch: job.watch, run: job.run, executed: self.clock.time(executed.into()) }
    }

    fn not_started(&mut self, job: &Job, error: &StartError) -> StartOutcome {
        let &Job { watch, run, .. } = job;
        let told = self.live.get(&run).and_then(|live| live.ended_by);
        if let (true, Some(Reason::Stop | Reason::Kill)) = (error.is_given_up(), told) {
            // Its process was killed, if there was one.
            let how = EndKind::Ended(Ok(ExitStatus::Signaled(nix::libc::SIGKILL)), Vec::new());
            return StartOutcome::Ended(RunEnd { watch, run, how });
        }
        let Some(LiveRun { intent, .. }) = self.live.remove(&run) else { return StartOutcome::Nothing };
        let what = RunReport::NotStarted { command: program_name(&job.spec), error };
        let why = what.to_string();
        let is_crowded = matches!(error, StartError::Queued { .. }) && told.is_none();
        if is_crowded || is_out_of_descriptors(error.cause()) {
            self.shortage.refuse(Instant::now());
            self.log.degraded(ACTIONS, error.to_string());
        }
        let is_known = match error {
            StartError::StillHangs { .. } => !self.known_to_hang.insert(watch),
            StartError::Start(_)
            | StartError::ExecContext { .. }
            | StartError::Explained { .. }
            | StartError::Hangs { .. }
            | StartError::Queued { .. } => false,
        };
        if !is_known {
            self.log.report(&Report::Run { run: run_name(&intent, run), what });
        }
        // What hung may answer the next time, unless somebody did not want the run to go on.
        let starved = match error {
            StartError::Hangs { .. } => told.is_none(),
            _ => is_starvation(error.cause()),
        };
        StartOutcome::Failed(Box::new(StartFailure { watch, run, intent, why, starved }))
    }

    fn follow(&self, watch: WatchId, run: RunId, intent: Intent, process: Process) -> Handle {
        let (log, sender) = (self.log.clone(), self.sender.clone());
        let pid = Some(process.leader.as_raw());
        let print = move |printed| {
            let run = RunName { pid, ..run_name(&intent, run) };
            log.report(&Report::Run { run, what: RunReport::Printed(&printed) });
        };
        run::follow(process, print, move |status, output| {
            // The daemon may have stopped by now.
            let how = EndKind::Ended(status, output);
            let _ = sender.send(RunEvent::End(RunEnd { watch, run, how }));
        })
    }

    /// Finds out what a former daemon left of a run.
    pub fn slots_mut(&mut self) -> &mut Slots {
        &mut self.slots
    }

    /// Takes over a run that a former daemon started.
    pub fn adopt(&mut self, watch: WatchId, run: RunId, intent: Intent, orphan: Orphan) {
        let what = PreviousRun::StillRunning { run, id: &intent.run, pid: orphan.leader.as_raw() };
        self.log.report(&Report::PreviousRun { watch: &intent.watch, what });
        let now = Instant::now();
        let started = now.checked_sub(orphan.age).unwrap_or(now);
        let process = Some(orphan.process);
        let sender = self.sender.clone();
        let handle = run::follow_orphan(orphan, move |status| {
            // The daemon may have stopped by now.
            let how = EndKind::Ended(status, Vec::new());
            let _ = sender.send(RunEvent::End(RunEnd { watch, run, how }));
        });
        self.enter(run, intent, Stage::Running { process, handle }, started);
    }

    fn enter(&mut self, run: RunId, intent: Intent, stage: Stage, started: Instant) {
        self.unsaved.insert(run);
        self.live.insert(run, LiveRun::new(intent, stage, started));
    }

    // While they live.

    /// Sends a signal, unless the run has ended just now: then there is nothing to report, and how it ended
    /// counts. The daemon may have stood still for longer than a timeout, and the run have ended well.
    ///
    /// A run that is being started is given up if it is to end.
    pub fn signal(&mut self, run: RunId, signal: Signal) {
        let Some(live) = self.live.get_mut(&run) else { return };
        let (sent, what) = match &mut live.stage {
            Stage::Starting { start, signals } => {
                signals.push(signal);
                match signal {
                    Signal::Notify(_) => return,
                    Signal::Terminate(reason) => live.ended_by = Some(reason),
                    Signal::Kill => {}
                }
                return start.cancel();
            }
            Stage::Running { handle, .. } if live.ended_by.is_none() && handle.has_ended() => return,
            Stage::Running { handle, .. } => match signal {
                Signal::Notify(signal) => (handle.notify(signal), RunReport::Notified { signal }),
                Signal::Terminate(reason) => (handle.terminate(), RunReport::Terminated { reason }),
                Signal::Kill => (handle.kill(), RunReport::Killed),
            },
        };
        if sent.is_err() {
            return;
        }
        self.log.report(&Report::Run { run: live.report_name(run), what });
        match signal {
            Signal::Notify(_) => {}
            Signal::Terminate(reason) => live.ended_by = Some(reason),
            Signal::Kill => {
                live.killed = Some(Instant::now());
                let sender = self.sender.clone();
                spawn_local(async move {
                    sleep(KILL_TIMEOUT).await;
                    let _ = sender.send(RunEvent::KillTimeout(run));
                });
            }
        }
    }

    /// Says once that a run does not end although it was killed. From now on the daemon's end does not wait
    /// for it; its watch does.
    pub fn kill_timed_out(&mut self, run: RunId) {
        let Some(live) = self.live.get_mut(&run) else { return };
        let Stage::Running { handle, .. } = &live.stage else { return };
        if !std::mem::replace(&mut live.is_unkillable, true) {
            self.unkillable += 1;
        }
        let what = RunReport::Unkillable {
            pid: handle.leader().as_raw(),
            after: KILL_TIMEOUT,
            why: &what_holds(handle.leader()),
        };
        self.log.report(&Report::Run { run: live.report_name(run), what });
    }

    /// The daemon stops: it does not wait for starts that take long.
    pub fn stop(&self) {
        let sender = self.sender.clone();
        spawn_local(async move {
            sleep(STOPPING_START_TIMEOUT).await;
            let _ = sender.send(RunEvent::StopStarts);
        });
    }

    pub fn stop_starts(&mut self) {
        let is_starting = |live: &LiveRun| matches!(live.stage, Stage::Starting { .. });
        let starting: Vec<_> =
            self.live.iter().filter(|(_, live)| is_starting(live)).map(|(run, _)| *run).collect();
        for run in starting {
            self.signal(run, Signal::Terminate(Reason::Stop));
        }
    }

    pub fn get(&self, run: RunId) -> Option<&LiveRun> {
        self.live.get(&run)
    }

    pub fn iter(&self) -> impl Iterator<Item = &LiveRun> {
        self.live.values()
    }

    /// The names of the live runs, oldest first.
    pub fn names(&self) -> Vec<String> {
        let live: BTreeMap<_, _> = self.live.iter().collect();
        live.into_iter().map(|(run, live)| live.name(*run)).collect()
    }

    /// How many runs are live or being started.
    pub fn count(&self) -> usize {
        self.live.len()
    }

    /// How many runs the daemon's end waits for: those that are live or about to start, except those that
    /// nobody can end.
    pub fn awaited(&self) -> usize {
        self.live.len() + self.starting.len() - self.unkillable
    }

    /// How many runs have a place. Those that nobody can end need none: what they wait for may never come,
    /// and they would take the places of all watches for good.
    pub fn taken_places(&self) -> usize {
        self.awaited()
    }

    pub fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// The runs whose process the ledger does not know. The caller tells it.
    pub fn take_unsaved(&mut self) -> BTreeSet<RunId> {
        std::mem::take(&mut self.unsaved)
    }

    /// Notes that the ledger knows the processes of these runs, so that their slots can be used again.
    pub fn saved(&mut self, runs: impl IntoIterator<Item = RunId>) {
        for run in runs {
            if let Some(live) = self.live.get(&run) {
                self.slots.release(&live.intent.run);
            }
        }
    }

    // Their end.

    /// What happens next to runs, at most `count` events. Can be dropped at any time.
    pub async fn next_events(&mut self, count: usize) -> Vec<RunEvent> {
        let mut events = Vec::new();
        self.events.recv_many(&mut events, count).await;
        events
    }

    /// Drops a live run that has ended.
    pub fn remove(&mut self, run: RunId) -> Option<EndedRun> {
        let live = self.live.remove(&run)?;
        self.unkillable -= usize::from(live.is_unkillable);
        let is_unsaved = self.unsaved.remove(&run);
        let unsaved_process = live.process().filter(|_| is_unsaved);
        Some(EndedRun { live, unsaved_process })
    }

    /// Notes that a run is over, and that the ledger was told so. Its slot can be used again, unless its
    /// process could still write into it.
    pub fn over(&mut self, id: &str) {
        if !self.hanging.contains(id) {
            self.slots.release(id);
        }
    }
}

#[cfg(test)]
mod tests;
