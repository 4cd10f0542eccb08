//! Performing what the core asks for: starting actions and signalling them.

use std::io;
use std::time::{Duration, SystemTime};

use nix::libc;
use tokio::time::Instant;

use super::persist::LastRun;
use super::{Daemon, EndKind, LiveRun, PendingStart, RunEnd, WatchId, run_name};
use crate::act::function::{ActEvent, ActRequest};
use crate::action::payload::Payload;
use crate::action::proc;
use crate::action::run::{self, Handle};
use crate::action::spawn::{Launch, Process, Program};
use crate::ledger::{Intent, RunOutcome};
use crate::model::{Action, WatchSpec};
use crate::report::{NodeRef, Report, RunName, RunReport};
use crate::watch::{Effect, RunId, Time, Update};

/// How often it is said of a watch that an update is held: all are counted, and the last is in the status.
const HELD_LOG_BURST: u32 = 10;
const HELD_LOG_WINDOW: Duration = Duration::from_secs(10);

impl Daemon {
    pub(super) fn perform(&mut self, id: WatchId, effect: Effect) {
        match effect {
            Effect::Spawn { run, update, since } => self.prepare_start(id, run, update, since),
            Effect::Notify { run, signal } => {
                let _ = self.signal(run, RunReport::Notified { signal }, |handle| handle.notify(signal));
            }
            Effect::Terminate { run, reason } => {
                let sent = self.signal(run, RunReport::Terminated { reason }, Handle::terminate);
                if let (true, Some(live)) = (sent, self.runs.get_mut(&run)) {
                    live.ended_by = Some(reason);
                }
            }
            Effect::Kill { run } => {
                let sent = self.signal(run, RunReport::Killed, Handle::kill);
                if let (true, Some(live)) = (sent, self.runs.get_mut(&run)) {
                    live.killed = Some(Instant::now());
                }
            }
            Effect::Discarded { version } => {
                let watch = self.entries[&id].key();
                self.log.report(&Report::Discarded { watch, version: version.number });
            }
            Effect::Held { version, hold_reason } => {
                let Some(entry) = self.entries.get_mut(&id) else { return };
                // Whoever writes the node decides how often.
                let recent = entry.held_log_window.filter(|(since, _)| since.elapsed() < HELD_LOG_WINDOW);
                let (since, times) = recent.unwrap_or((Instant::now(), 0));
                entry.held_log_window = Some((since, times + 1));
                let warn = times < HELD_LOG_BURST;
                let Some(spec) = entry.spec() else { return };
                let (watch, node, version) = (&spec.id, NodeRef::of(spec), version.number);
                self.log.report(&Report::Held { watch, node, version, hold_reason, warn });
            }
            Effect::Superseded { total } => {
                let watch = self.entries[&id].key();
                self.log.report(&Report::Superseded { watch, total });
            }
            Effect::Retry { run, failures, after } => {
                let entry = &self.entries[&id];
                let attempts =
                    entry.spec().and_then(|spec| spec.policy.retry).map_or(0, |retry| retry.attempts);
                self.record_retry(id, run, after, RunReport::Retry { failures, attempts, after });
            }
            Effect::Postponed { run, after } => {
                self.record_retry(id, run, after, RunReport::Postponed { after });
            }
            Effect::GaveUp { failures, stopped } => {
                let watch = self.entries[&id].key();
                self.log.report(&Report::GaveUp { watch, failures, stopped });
            }
            Effect::Forget => {
                if let Some(entry) = self.entries.remove(&id) {
                    self.by_key.remove(entry.key());
                }
            }
        }
    }

    /// Returns whether the signal was sent: a run may have ended just now, and then there is nothing to say.
    fn signal(
        &mut self,
        run: RunId,
        what: RunReport<'_>,
        send: impl FnOnce(&Handle) -> io::Result<()>,
    ) -> bool {
        self.start_all();
        let Some(live) = self.runs.get(&run) else { return false };
        let sent = send(&live.handle).is_ok();
        if sent {
            self.log.report(&Report::Run { run: run_name(&live.intent, run), what });
        }
        sent
    }

    /// Notes that another run will follow this one, which is over.
    fn record_retry(&mut self, watch: WatchId, run: RunId, after: Duration, what: RunReport<'_>) {
        let id = self.run_id(run);
        let Some(entry) = self.entries.get_mut(&watch) else { return };
        let Some(spec) = entry.spec() else { return };
        let run = RunName { watch: &spec.id, subject: &spec.subject, number: run, id: &id };
        self.log.report(&Report::Run { run, what });
        if let Some(failure) = &mut entry.failure {
            failure.next_try = Some(SystemTime::now() + after);
            self.unsaved_watches.insert(watch);
        }
    }

    fn prepare_start(&mut self, watch: WatchId, run: RunId, update: Update, since: Time) {
        let Some(entry) = self.entries.get_mut(&watch) else { return };
        let payload = entry.payload_for(run, &update);
        let entry = &self.entries[&watch];
        // The core starts nothing of what no file registers.
        let Some(spec) = entry.spec() else { return };
        if payload == Payload::Changes(Vec::new()) {
            let name =
                RunName { watch: &spec.id, subject: &spec.subject, number: run, id: &self.run_id(run) };
            self.log.report(&Report::Run { run: name, what: RunReport::Unchanged });
            let _ = self.ends.send(RunEnd { watch, run, how: EndKind::Unchanged });
            return;
        }
        let intent = self.intent(entry, spec, run, &update);
        self.starting.push(PendingStart { watch, run, update, since, payload, intent });
    }

    /// Starts what is to be started, of which the next daemon knows by then, whatever becomes of us.
    pub(super) fn start_all(&mut self) {
        if self.starting.is_empty() {
            return;
        }
        let starting = std::mem::take(&mut self.starting);
        if self.is_dry_run() {
            return self.plan_runs(starting);
        }
        self.ledger.record_intents(starting.iter().map(|start| &start.intent));
        for start in starting {
            self.start(start);
        }
    }

    fn start(&mut self, PendingStart { watch: id, run, update, since, payload, intent }: PendingStart) {
        let Some(spec) = self.entries.get(&id).and_then(|entry| entry.spec()) else { return };
        let started = Instant::now();
        match self.spawner.spawn(self.launch(spec, &intent.run, &update, &payload)) {
            Ok(process) => {
                let what = RunReport::Started {
                    event: update.event,
                    node: NodeRef::of(spec),
                    version: update.version.number,
                    pid: process.leader.as_raw(),
                    latency: self.now().saturating_sub(since),
                };
                self.log.report(&Report::Run { run: run_name(&intent, run), what });
                // A process that we do not reap cannot be gone.
                let mark = proc::id_of(process.leader).ok();
                self.unsaved_processes.insert(run);
                let handle = self.follow(id, run, intent.clone(), process);
                let live = LiveRun { intent, process: mark, handle, started, ended_by: None, killed: None };
                self.runs.insert(run, live);
            }
            Err(error) => {
                let command = match &spec.action {
                    Action::Command(words) => &words[0],
                    Action::Function { .. } => "twitcher act",
                };
                let what = RunReport::NotStarted { command, error: &error };
                let why = what.to_string();
                self.ledger.ended(&intent.run, RunOutcome::NotStarted(&why), &[]);
                self.log.report(&Report::Run { run: run_name(&intent, run), what });
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.fail(why);
                    entry.last_run = Some(Box::new(LastRun {
                        run,
                        event: update.event,
                        version: update.version.number,
                        started: intent.started,
                        took: Duration::ZERO,
                        ending: RunOutcome::NotStarted(""),
                    }));
                }
                // Through the queue and not at once: a thousand that cannot start must not nest.
                let how = EndKind::NeverStarted { starved: is_starvation(error.cause()) };
                let _ = self.ends.send(RunEnd { watch: id, run, how });
            }
        }
    }

    fn follow(&self, watch: WatchId, run: RunId, intent: Intent, process: Process) -> Handle {
        let (log, ends) = (self.log.clone(), self.ends.clone());
        let print = move |printed| {
            log.report(&Report::Run { run: run_name(&intent, run), what: RunReport::Printed(&printed) });
        };
        run::follow(process, print, move |outcome, output| {
            // The daemon may have stopped by now.
            let _ = ends.send(RunEnd { watch, run, how: EndKind::Ended(outcome, output) });
        })
    }

    fn launch<'a>(
        &self,
        spec: &'a WatchSpec,
        run: &str,
        update: &'a Update,
        payload: &'a Payload,
    ) -> Launch<'a> {
        let program = match &spec.action {
            Action::Command(words) => Program::Command(words),
            Action::Function { program, index, .. } => {
                let event = ActEvent {
                    znode: spec.subject.path.to_string(),
                    event: update.event.as_str().to_owned(),
                    version: update.version.number,
                    watch: spec.id.description.to_string(),
                    payload: payload.clone(),
                };
                let request = ActRequest { program: program.clone(), index: *index, event };
                Program::Function { request: request.encode() }
            }
        };
        let variables = vec![
            ("TWITCHER_WATCH", spec.id.description.to_string()),
            ("TWITCHER_ZNODE", spec.subject.path.to_string()),
            ("TWITCHER_EVENT", update.event.as_str().to_owned()),
            ("TWITCHER_VERSION", update.version.number.to_string()),
            ("TWITCHER_RUN_ID", run.to_owned()),
        ];
        let stdin = spec.pipe_stdin.then(|| payload.stdin());
        Launch { program, identity: &spec.identity, exec_context: &spec.exec_context, stdin, variables }
    }
}

/// Whether the machine, and not the command, is why a process could not be started.
fn is_starvation(error: &io::Error) -> bool {
    let of_the_machine = [libc::EMFILE, libc::ENFILE, libc::EAGAIN, libc::ENOMEM, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|error| of_the_machine.contains(&error))
}
