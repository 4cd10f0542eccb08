//! Performing what the core asks for: starting actions and signalling them.

use std::io;
use std::time::{Duration, SystemTime};

use nix::libc;
use tokio::time::Instant;

use super::{Daemon, Live, Over, RunEnd, Start, WatchId};
use crate::action::given::Given;
use crate::action::proc;
use crate::action::run::{self, Handle};
use crate::action::spawn::{Launch, Process, Program};
use crate::config::function::{ActEvent, ActRequest};
use crate::config::spec::{Action, WatchKey, WatchSpec};
use crate::ledger::Ending;
use crate::report::{Report, RunReport};
use crate::watch::{Effect, RunId, Update};

impl Daemon {
    pub(super) fn perform(&mut self, id: WatchId, effect: Effect) {
        match effect {
            Effect::Spawn { run, update } => self.intend(id, run, update),
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
                let _ = self.signal(run, RunReport::Killed, Handle::kill);
            }
            Effect::Discarded { version } => {
                let watch = self.entries[&id].key();
                self.log.report(&Report::Discarded { watch, version: version.number });
            }
            Effect::Superseded { total } => {
                let watch = self.entries[&id].key();
                self.log.report(&Report::Superseded { watch, total });
            }
            Effect::Retry { run, failures, after } => {
                let entry = &self.entries[&id];
                let attempts = entry.spec().and_then(|spec| spec.retry).map_or(0, |retry| retry.attempts);
                let what = RunReport::Retry { failures, attempts, after };
                self.log.report(&Report::Run { watch: entry.key(), run, what });
                self.next_try(id, after);
            }
            Effect::PutOff { run, after } => {
                let watch = self.entries[&id].key();
                self.log.report(&Report::Run { watch, run, what: RunReport::PutOff { after } });
                self.next_try(id, after);
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
            self.log.report(&Report::Run { watch: &live.intent.watch, run, what });
        }
        sent
    }

    fn next_try(&mut self, id: WatchId, after: Duration) {
        if let Some(failure) = self.entries.get_mut(&id).and_then(|entry| entry.failure.as_mut()) {
            failure.next_try = Some(SystemTime::now() + after);
            self.unremembered.insert(id);
        }
    }

    fn intend(&mut self, watch: WatchId, run: RunId, update: Update) {
        let Some(entry) = self.entries.get_mut(&watch) else { return };
        let given = entry.give(run, &update.content);
        let entry = &self.entries[&watch];
        // The core starts nothing of what no file registers.
        let Some(spec) = entry.spec() else { return };
        if given == Given::Changes(Vec::new()) {
            self.log.report(&Report::Run { watch: &spec.id, run, what: RunReport::Needless });
            let _ = self.ends.send(RunEnd { watch, run, how: Over::Needless });
            return;
        }
        let intent = self.intent(entry, spec, run, &update);
        self.starting.push(Start { watch, run, update, given, intent });
    }

    /// Starts what is to be started, of which the next daemon knows by then, whatever becomes of us.
    pub(super) fn start_all(&mut self) {
        if self.starting.is_empty() {
            return;
        }
        let starting = std::mem::take(&mut self.starting);
        self.ledger.intend(starting.iter().map(|start| &start.intent));
        for start in starting {
            self.start(start);
        }
    }

    fn start(&mut self, Start { watch: id, run, update, given, intent }: Start) {
        let Some(spec) = self.entries.get(&id).and_then(|entry| entry.spec()) else { return };
        let started = Instant::now();
        match self.spawner.spawn(self.launch(spec, &intent.run, &update, &given)) {
            Ok(process) => {
                let what = RunReport::Started {
                    event: update.event,
                    subject: &spec.subject,
                    version: update.version.number,
                    pid: process.leader.as_raw(),
                };
                self.log.report(&Report::Run { watch: &spec.id, run, what });
                // A process that we do not reap cannot be gone.
                let mark = proc::mark(process.leader).ok();
                self.unidentified.insert(run);
                let handle = self.follow(id, run, spec.id.clone(), process);
                let live = Live { intent, process: mark, handle, started, ended_by: None };
                self.runs.insert(run, live);
            }
            Err(error) => {
                let command = match &spec.action {
                    Action::Command(words) => &words[0],
                    Action::Function { .. } => "twitcher act",
                };
                let what = RunReport::NotStarted { command, error: &error };
                let why = what.to_string();
                self.ledger.ended(&intent.run, Ending::NotStarted(&why), &[]);
                self.log.report(&Report::Run { watch: &spec.id, run, what });
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.fail(why);
                }
                // Through the queue and not at once: a thousand that cannot start must not nest.
                let how = Over::NeverStarted { starved: is_starvation(&error) };
                let _ = self.ends.send(RunEnd { watch: id, run, how });
            }
        }
    }

    fn follow(&self, watch: WatchId, run: RunId, key: WatchKey, process: Process) -> Handle {
        let (log, ends) = (self.log.clone(), self.ends.clone());
        let print = move |printed| {
            log.report(&Report::Run { watch: &key, run, what: RunReport::Printed(&printed) });
        };
        run::follow(process, print, move |outcome, output| {
            // The daemon may have stopped by now.
            let _ = ends.send(RunEnd { watch, run, how: Over::Ended(outcome, output) });
        })
    }

    fn launch<'a>(&self, spec: &'a WatchSpec, run: &str, update: &'a Update, given: &'a Given) -> Launch<'a> {
        let program = match &spec.action {
            Action::Command(words) => Program::Command(words),
            Action::Function { program, index, .. } => {
                let event = ActEvent {
                    znode: spec.subject.path.to_string(),
                    event: update.event.as_str().to_owned(),
                    version: update.version.number,
                    watch: spec.id.description.to_string(),
                    given: given.clone(),
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
        let stdin = spec.pipe_stdin.then(|| given.stdin());
        Launch { program, identity: &spec.identity, stdin, variables }
    }
}

/// Whether the machine, and not the command, is why a process could not be started.
fn is_starvation(error: &io::Error) -> bool {
    let of_the_machine = [libc::EMFILE, libc::ENFILE, libc::EAGAIN, libc::ENOMEM, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|error| of_the_machine.contains(&error))
}
