//! The runs: which are about to start, which are live, and how each of them ended.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::clock::Clock;
use super::launch::{is_starvation, launch, program_name};
use super::watches::WatchId;
use crate::action::orphan::Orphan;
use crate::action::payload::Payload;
use crate::action::proc::{self, ProcessId};
use crate::action::run::{self, ExitStatus, Handle};
use crate::action::spawn::{Process, Spawner};
use crate::control::status::RunStatus;
use crate::ledger::{Intent, RunOutcome};
use crate::model::WatchSpec;
use crate::report::{NodeRef, PreviousRun, Report, Reporter, RunName, RunReport};
use crate::text::Timestamp;
use crate::watch::{Reason, RunId, RunResult, Time, Update};

#[cfg(test)]
mod tests;

pub struct Runs {
    log: Reporter,
    clock: Clock,
    spawner: Spawner,
    /// Sets the run ids of this daemon apart from those of any other.
    id_prefix: String,
    starting: Vec<PendingStart>,
    live: HashMap<RunId, LiveRun>,
    /// The live runs whose process the ledger does not know yet.
    unsaved: BTreeSet<RunId>,
    /// The end of every run goes into this channel once, and comes out in a later turn.
    end_sender: UnboundedSender<RunEnd>,
    ends: UnboundedReceiver<RunEnd>,
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

pub struct LiveRun {
    /// The ledger's record. Kept, because a ledger that lost it has to be told again.
    pub intent: Intent,
    pub process: Option<ProcessId>,
    pub handle: Handle,
    pub started: Instant,
    /// Why it was told to end, if it was.
    pub ended_by: Option<Reason>,
    /// When it was sent SIGKILL.
    pub killed: Option<Instant>,
}

/// The end of a run. Every [`crate::watch::Effect::Spawn`] is answered by one.
pub struct RunEnd {
    pub watch: WatchId,
    pub run: RunId,
    pub how: EndKind,
}

pub enum EndKind {
    /// The process ended; the bytes are the tail of its output.
    Ended(io::Result<ExitStatus>, Vec<u8>),
    /// The process could not be started, which was reported then. `starved` is true if the machine had no
    /// descriptor, memory or process left for it.
    NeverStarted { starved: bool },
    /// The run was not started, because there was nothing to do.
    Unchanged,
}

/// A run that was live.
pub struct EndedRun {
    pub live: LiveRun,
    /// The process, if the ledger does not know it.
    pub unsaved_process: Option<ProcessId>,
}

/// A run whose process could not be started.
pub struct StartFailure {
    pub intent: Intent,
    pub why: String,
}

/// A signal that the core wants sent.
#[derive(Clone, Copy)]
pub enum Signal {
    /// `notify_signal`.
    Notify(i32),
    Terminate(Reason),
    Kill,
}

/// What the end of a run means to its watch, and how the ledger names it. `told` is why the run was told to
/// end, if it was. An error is a process that we could not wait for.
pub fn verdict(status: &io::Result<ExitStatus>, told: Option<Reason>) -> (RunResult, RunOutcome<'static>) {
    let Ok(status) = status else { return (RunResult::Failed, RunOutcome::Unknown) };
    let outcome = RunOutcome::of(status, told);
    let result = match outcome {
        RunOutcome::Exited(0) => RunResult::Succeeded,
        RunOutcome::Exited(_)
        | RunOutcome::Signaled(_)
        | RunOutcome::TimedOut
        | RunOutcome::Killed
        | RunOutcome::NotStarted(_) => RunResult::Failed,
        RunOutcome::Interrupted | RunOutcome::Unknown => RunResult::Interrupted,
    };
    (result, outcome)
}

impl Runs {
    pub fn new(log: Reporter, clock: Clock, spawner: Spawner) -> Self {
        let started = clock.started().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (end_sender, ends) = unbounded_channel();
        Self {
            log,
            clock,
            spawner,
            id_prefix: format!("{:x}.{:x}", started.as_millis(), std::process::id()),
            starting: Vec::new(),
            live: HashMap::new(),
            unsaved: BTreeSet::new(),
            end_sender,
            ends,
        }
    }

    /// The id that a run of this daemon has in the ledger: no other run has it, ever.
    pub fn full_id(&self, run: RunId) -> String {
        format!("{}-{run}", self.id_prefix)
    }

    pub fn report(&self, run: RunId, spec: &WatchSpec, what: RunReport<'_>) {
        let run = RunName { watch: &spec.id, subject: &spec.subject, number: run, id: &self.full_id(run) };
        self.log.report(&Report::Run { run, what });
    }

    // Starting.

    pub fn prepare(&mut self, start: PendingStart) {
        self.starting.push(start);
    }

    /// Ends a run that has nothing to do, without starting it.
    pub fn skip(&mut self, watch: WatchId, run: RunId, spec: &WatchSpec) {
        self.report(run, spec, RunReport::Unchanged);
        let _ = self.end_sender.send(RunEnd { watch, run, how: EndKind::Unchanged });
    }

    /// The runs that were prepared. The caller starts each of them once the ledger knows all of them.
    pub fn take_starting(&mut self) -> Vec<PendingStart> {
        std::mem::take(&mut self.starting)
    }

    /// Starts a run of the watch that `spec` defines.
    pub fn start(&mut self, start: PendingStart, spec: &WatchSpec) -> Result<(), Box<StartFailure>> {
        let PendingStart { watch, run, update, since, payload, intent } = start;
        let started = Instant::now();
        let process = match self.spawner.spawn(launch(spec, &intent.run, &update, &payload)) {
            Ok(process) => process,
            Err(error) => {
                let what = RunReport::NotStarted { command: program_name(spec), error: &error };
                let why = what.to_string();
                self.log.report(&Report::Run { run: run_name(&intent, run), what });
                let how = EndKind::NeverStarted { starved: is_starvation(error.cause()) };
                let _ = self.end_sender.send(RunEnd { watch, run, how });
                return Err(Box::new(StartFailure { intent, why }));
            }
        };
        let what = RunReport::Started {
            event: update.event,
            node: NodeRef::of(spec),
            version: update.version.number,
            pid: process.leader.as_raw(),
            latency: self.clock.now().saturating_sub(since),
        };
        self.log.report(&Report::Run { run: run_name(&intent, run), what });
        // Never an error: a process that we did not reap cannot be gone.
        let id = proc::id_of(process.leader).ok();
        let handle = self.follow(watch, run, intent.clone(), process);
        self.enter(run, LiveRun { intent, process: id, handle, started, ended_by: None, killed: None });
        Ok(())
    }

    fn follow(&self, watch: WatchId, run: RunId, intent: Intent, process: Process) -> Handle {
        let (log, ends) = (self.log.clone(), self.end_sender.clone());
        let print = move |printed| {
            log.report(&Report::Run { run: run_name(&intent, run), what: RunReport::Printed(&printed) });
        };
        run::follow(process, print, move |status, output| {
            // The daemon may have stopped by now.
            let _ = ends.send(RunEnd { watch, run, how: EndKind::Ended(status, output) });
        })
    }

    /// Takes over a run that a former daemon started.
    pub fn adopt(&mut self, watch: WatchId, run: RunId, intent: Intent, orphan: Orphan) {
        let what = PreviousRun::StillRunning { run, id: &intent.run, pid: orphan.leader.as_raw() };
        self.log.report(&Report::PreviousRun { watch: &intent.watch, what });
        let now = Instant::now();
        let started = now.checked_sub(orphan.age).unwrap_or(now);
        let process = Some(orphan.process);
        let ends = self.end_sender.clone();
        let handle = run::follow_orphan(orphan, move |status| {
            // The daemon may have stopped by now.
            let _ = ends.send(RunEnd { watch, run, how: EndKind::Ended(status, Vec::new()) });
        });
        self.enter(run, LiveRun { intent, process, handle, started, ended_by: None, killed: None });
    }

    fn enter(&mut self, run: RunId, live: LiveRun) {
        self.unsaved.insert(run);
        self.live.insert(run, live);
    }

    // While they live.

    /// Sends a signal, unless the run has ended just now: then there is nothing to report.
    pub fn signal(&mut self, run: RunId, signal: Signal) {
        let Some(live) = self.live.get_mut(&run) else { return };
        let (sent, what) = match signal {
            Signal::Notify(signal) => (live.handle.notify(signal), RunReport::Notified { signal }),
            Signal::Terminate(reason) => (live.handle.terminate(), RunReport::Terminated { reason }),
            Signal::Kill => (live.handle.kill(), RunReport::Killed),
        };
        if sent.is_err() {
            return;
        }
        self.log.report(&Report::Run { run: run_name(&live.intent, run), what });
        match signal {
            Signal::Notify(_) => {}
            Signal::Terminate(reason) => live.ended_by = Some(reason),
            Signal::Kill => live.killed = Some(Instant::now()),
        }
    }

    pub fn get(&self, run: RunId) -> Option<&LiveRun> {
        self.live.get(&run)
    }

    pub fn iter(&self) -> impl Iterator<Item = &LiveRun> {
        self.live.values()
    }

    /// How many runs are live.
    pub fn count(&self) -> usize {
        self.live.len()
    }

    pub fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// The runs whose process the ledger does not know. The caller tells it.
    pub fn take_unsaved(&mut self) -> BTreeSet<RunId> {
        std::mem::take(&mut self.unsaved)
    }

    // Their end.

    /// The next run that is over. Can be dropped at any time.
    pub async fn next_end(&mut self) -> Option<RunEnd> {
        self.ends.recv().await
    }

    /// Drops a live run that has ended.
    pub fn remove(&mut self, run: RunId) -> Option<EndedRun> {
        let live = self.live.remove(&run)?;
        let is_unsaved = self.unsaved.remove(&run);
        let unsaved_process = live.process.filter(|_| is_unsaved);
        Some(EndedRun { live, unsaved_process })
    }
}

impl LiveRun {
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn status(&self) -> RunStatus {
        RunStatus {
            run: self.intent.run.clone(),
            pid: self.handle.leader().as_raw(),
            event: self.intent.event.as_str().into(),
            version: self.intent.version.number,
            started: Timestamp(self.intent.started),
            seconds: self.age().as_secs_f64(),
            killed_seconds: self.killed.map(|at| at.elapsed().as_secs_f64()),
        }
    }

    /// Whether `run` is its id, or the number that the log has.
    pub fn matches_id(&self, run: &str) -> bool {
        let is_number = !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_digit());
        let by_number = || self.intent.run.rsplit_once('-').is_some_and(|(_, number)| number == run);
        self.intent.run == run || is_number && by_number()
    }
}

/// How reports name a run.
pub fn run_name(intent: &Intent, number: RunId) -> RunName<'_> {
    RunName { watch: &intent.watch, subject: &intent.subject, number, id: &intent.run }
}
