//! The runs: which are about to start, which are live, and how each of them ended.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::clock::Clock;
use super::launch::{is_out_of_descriptors, is_starvation, launch, program_name};
use super::run_end::{EndKind, RunEnd};
use super::watches::WatchId;
use crate::action::orphan::Orphan;
use crate::action::payload::Payload;
use crate::action::proc::{self, ProcessId};
use crate::action::run::{self, Handle};
use crate::action::spawn::{Process, Spawner};
use crate::control::status::RunStatus;
use crate::ledger::Intent;
use crate::model::WatchSpec;
use crate::report::{NodeRef, PreviousRun, Report, Reporter, RunName, RunReport};
use crate::text::Timestamp;
use crate::watch::{Reason, RunId, Time, Update};

/// The part of the daemon that does not work while actions have all descriptors that they may have.
const ACTIONS: &str = "actions";

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
                if is_out_of_descriptors(error.cause()) {
                    self.log.degraded(ACTIONS, error.to_string());
                }
                self.log.report(&Report::Run { run: run_name(&intent, run), what });
                let how = EndKind::NeverStarted { starved: is_starvation(error.cause()) };
                let _ = self.end_sender.send(RunEnd { watch, run, how });
                return Err(Box::new(StartFailure { intent, why }));
            }
        };
        self.log.recovered(ACTIONS);
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

    /// How many runs are live or about to start.
    pub fn taken_places(&self) -> usize {
        self.live.len() + self.starting.len()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::run::ExitStatus;
    use crate::daemon::fixtures::{block_on, key, reporter, spec, subject, version};
    use crate::model::{Action, Content};
    use crate::watch::Event;

    fn pending(runs: &Runs) -> PendingStart {
        let update = Update { event: Event::Load, version: version(1), content: Content::Data([].into()) };
        let intent = Intent {
            run: runs.full_id(RunId(7)),
            watch: key("a"),
            store: "default".into(),
            subject: subject("/n"),
            definition: 1,
            version: version(1),
            event: Event::Load,
            started: std::time::SystemTime::now(),
            timeout: None,
        };
        let payload = Payload::Data([].into());
        PendingStart { watch: WatchId(1), run: RunId(7), update, since: Time::ZERO, payload, intent }
    }

    fn runs() -> Runs {
        Runs::new(reporter(), Clock::start(), Spawner::new().expect("limits"))
    }

    #[test]
    fn a_run_is_live_from_its_start_to_its_end() {
        block_on(async {
            let mut runs = runs();
            let start = pending(&runs);
            assert!(runs.start(start, &spec("a", "/n")).is_ok());
            assert_eq!(runs.count(), 1);
            assert!(runs.get(RunId(7)).is_some_and(|live| live.matches_id("7") && !live.matches_id("8")));
            let end = runs.next_end().await.expect("its end");
            assert_eq!((end.watch, end.run), (WatchId(1), RunId(7)));
            assert!(matches!(end.how, EndKind::Ended(Ok(ExitStatus::Exited(0)), _)));
            let ended = runs.remove(RunId(7)).expect("a live run");
            assert_eq!(ended.unsaved_process, ended.live.process);
            assert!(runs.count() == 0 && !runs.has_unsaved());
        });
    }

    #[test]
    fn a_signal_reaches_a_live_run_and_is_noted() {
        block_on(async {
            let mut runs = runs();
            // One that has ended: nothing happens.
            runs.signal(RunId(7), Signal::Kill);
            let start = pending(&runs);
            let words = ["sleep".to_owned(), "60".to_owned()];
            let sleeping = WatchSpec { action: Action::Command(words.into()), ..spec("a", "/n") };
            assert!(runs.start(start, &sleeping).is_ok());
            runs.signal(RunId(7), Signal::Terminate(Reason::Timeout));
            let end = runs.next_end().await.expect("its end");
            assert!(matches!(end.how, EndKind::Ended(Ok(ExitStatus::Signaled(15)), _)));
            assert_eq!(runs.get(RunId(7)).and_then(|live| live.ended_by), Some(Reason::Timeout));
        });
    }

    #[test]
    fn a_program_that_cannot_be_started_ends_its_run() {
        block_on(async {
            let mut runs = runs();
            let start = pending(&runs);
            let missing =
                WatchSpec { action: Action::Command(["/no/such".to_owned()].into()), ..spec("a", "/n") };
            let failure = runs.start(start, &missing).expect_err("no such program");
            assert!(failure.why.contains("/no/such"), "{}", failure.why);
            assert_eq!(runs.count(), 0);
            let end = runs.next_end().await.expect("its end");
            assert!(matches!(end.how, EndKind::NeverStarted { starved: false }));
        });
    }

    #[test]
    fn the_ids_of_another_daemon_are_others() {
        let id = runs().full_id(RunId(7));
        assert!(id.ends_with(&format!(".{:x}-7", std::process::id())), "{id}");
    }
}
