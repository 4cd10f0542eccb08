//! What operators ask through the control socket.

use std::collections::BTreeMap;

use super::persist::LastRun;
use super::{Daemon, Entry, LiveRun, WatchId};
use crate::control::status::{ConfigError, DaemonStatus, LedgerStatus, RunStatus, WatchStatus};
use crate::control::{
    CommandResult, DaemonRequest, RUNS_PER_PAGE, ReplySender, RequestError, WATCHES_PER_PAGE, name,
};
use crate::ledger::{RunFilter, RunOutcome, RunRecord};
use crate::model::{StoreName, Subject, WatchCommand, WatchKey, WatchSpec};
use crate::report::{HeldSummary, Report, force_command};
use crate::text::{Timestamp, count};
use crate::watch::{Accepted, Held, Refusal, Seen};

const STOPPING: &str = "the daemon is stopping";

impl Daemon {
    pub(super) fn reply(&mut self, request: DaemonRequest) {
        match request {
            DaemonRequest::Daemon(reply) => send_reply(reply, self.status()),
            DaemonRequest::Watch { named, reply } => {
                let found = self.find(&named);
                send_reply(
                    reply,
                    found.and_then(|id| self.watch_status(&self.entries[&id]).ok_or_else(|| gone(&named))),
                );
            }
            DaemonRequest::Watches { after, reply } => send_reply(reply, self.watches(after)),
            // Who was told that there is no answer must not be obeyed after all.
            DaemonRequest::WatchCommand { reply, .. } if reply.is_closed() => {}
            DaemonRequest::WatchCommand { command, watch, reply } => {
                send_reply(reply, self.execute(command, &watch))
            }
            DaemonRequest::Reload(reply) => self.read_configs(reply),
            DaemonRequest::History { filter, before, reply } => {
                send_reply(reply, self.history(&filter, before))
            }
            DaemonRequest::Output { run, reply } => send_reply(reply, self.output(&run)),
            DaemonRequest::Gauges(reply) => send_reply(reply, self.gauges()),
        }
    }

    fn find(&self, named: &str) -> Result<WatchId, RequestError> {
        name::find(named, self.entries.values().map(|entry| entry.key())).map(|key| self.by_key[key])
    }

    fn read_configs(&mut self, reply: ReplySender<Result<CommandResult, RequestError>>) {
        if let Err(refusal) = self.require_running() {
            return send_reply(reply, Err(refusal));
        }
        self.reload("an operator", Some(reply));
    }

    /// So many rescans are done, the oldest first: answers those who asked for them.
    pub(super) fn reloaded(&mut self, rescans: usize) {
        let rescans = rescans.min(self.reloads.len());
        for reply in self.reloads.drain(..rescans).flatten() {
            send_reply(reply, read(&self.failing_files, self.watches));
        }
    }

    fn require_running(&self) -> Result<(), RequestError> {
        if self.stopping { Err(RequestError::Unavailable(STOPPING.into())) } else { Ok(()) }
    }

    fn execute(&mut self, command: WatchCommand, named: &str) -> Result<CommandResult, RequestError> {
        let id = self.find(named)?;
        let entry = &self.entries[&id];
        let unreadable = entry.spec().is_some_and(|spec| self.unreadable(spec).is_some());
        let key = entry.key().clone();
        let accepted = entry.watch.answer(command, unreadable).map_err(|refusal| refused(entry, refusal))?;
        if !accepted.changes_something() {
            return Ok(said(&key, done(accepted)));
        }
        let store_and_subject = entry.loaded().map(|spec| (spec.store.clone(), spec.subject.clone()));
        self.log.report(&Report::Ordered { watch: &key, command });
        self.step(id, command.into());
        match command {
            // Before it is said to be so, it has to outlive us.
            WatchCommand::Pause | WatchCommand::Resume | WatchCommand::Trigger { force: true } => {
                self.save_watch(id);
                self.ledger.commit();
            }
            WatchCommand::Kill | WatchCommand::Trigger { force: false } => {}
        }
        match (command, store_and_subject) {
            (WatchCommand::Trigger { .. }, Some((store, subject))) => {
                self.stores[&store].subscriptions().refresh(&subject);
            }
            (WatchCommand::Pause | WatchCommand::Resume | WatchCommand::Kill, _)
            | (WatchCommand::Trigger { .. }, None) => {}
        }
        let until_restart = match (command, self.ledger.lost_reason()) {
            (WatchCommand::Pause | WatchCommand::Resume, Some(_)) => {
                " (until a restart: the ledger cannot be written)"
            }
            (
                WatchCommand::Pause
                | WatchCommand::Resume
                | WatchCommand::Trigger { .. }
                | WatchCommand::Kill,
                _,
            ) => "",
        };
        Ok(said(&key, &format!("{}{until_restart}", done(accepted))))
    }

    pub(super) fn status(&self) -> DaemonStatus {
        let state = match () {
            () if self.stopping => "stopping",
            () if self.scan.is_done() => "running",
            () => "starting",
        };
        let error =
            |(file, error): (&String, &String)| ConfigError { file: file.clone(), error: error.clone() };
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started: Timestamp(self.started),
            state: state.into(),
            config_path: self.config_path.display().to_string(),
            untrusted_allowed: self.untrusted_allowed,
            stores: self.stores.status(),
            ledger: LedgerStatus {
                usable: self.ledger.lost_reason().is_none(),
                reason: self.ledger.lost_reason().map(Into::into),
            },
            config_errors: self.failing_files.iter().map(error).collect(),
            watches: self.watches,
        }
    }

    fn watches(&self, after: Option<u64>) -> Vec<(u64, WatchStatus)> {
        let next = WatchId(after.map_or(0, |after| after.saturating_add(1)));
        let some =
            self.entries.range(next..).filter_map(|(id, entry)| Some((id.0, self.watch_status(entry)?)));
        some.take(WATCHES_PER_PAGE).collect()
    }

    /// The store and the node. Of a watch that no file registers, a run that still lives says so.
    fn store_and_subject<'a>(&'a self, entry: &'a Entry) -> Option<(&'a str, &'a Subject)> {
        if let Some(spec) = entry.spec() {
            return Some((spec.store.as_str(), &spec.subject));
        }
        let LiveRun { intent, .. } = entry.watch.runs().find_map(|run| self.runs.get(&run))?;
        // It may be one that the settings name no more.
        let store = self.stores.by_identity(&intent.store).map_or(&*intent.store, StoreName::as_str);
        Some((store, &intent.subject))
    }

    /// Why the node cannot be read, if it cannot.
    pub(super) fn unreadable(&self, spec: &WatchSpec) -> Option<&str> {
        self.stores[&spec.store].subjects.get(&spec.subject)?.unreadable.as_deref()
    }

    /// `None` once the last of a watch that no file registers has ended.
    pub(super) fn watch_status(&self, entry: &Entry) -> Option<WatchStatus> {
        let (now, key) = (self.now(), entry.key());
        let (store, subject) = self.store_and_subject(entry)?;
        let snapshot = entry.watch.snapshot();
        let unreadable = entry.spec().and_then(|spec| self.unreadable(spec));
        let failure = entry.failure.as_ref().map(|failure| failure.what.as_str());
        let next_start = entry.watch.next_start().map(|at| at.saturating_sub(now));
        Some(WatchStatus {
            watch: key.to_string(),
            file: key.file.to_string(),
            description: key.description.to_string(),
            store: store.to_string(),
            znode: subject.path.to_string(),
            watch_type: subject.facet.as_str().into(),
            state: entry.watch.condition(unreadable.is_some()).as_str().into(),
            registered: !entry.retired,
            paused: snapshot.paused,
            stopped: snapshot.stopped,
            version: match snapshot.seen {
                Some(Seen::Present(version)) => Some(version.number),
                Some(Seen::Absent) | None => None,
            },
            applied_version: snapshot.applied.map(|version| version.number),
            runs: entry.watch.runs().filter_map(|run| self.runs.get(&run)).map(run_status).collect(),
            waiting: entry.watch.waiting_updates(),
            next_start_seconds: next_start.map(|left| left.as_secs_f64()),
            failures: snapshot.failures,
            held: entry.watch.held().map(|held| held_summary(held, subject)),
            error: unreadable.map(|reason| format!("cannot be read: {reason}")).or(failure.map(Into::into)),
            last_run: entry.last_run.as_ref().map(|last| last.record(&self.run_id_prefix, entry, subject)),
            notified: entry.spec().is_some_and(|spec| spec.policy.notify_signal.is_some()),
        })
    }

    fn history(
        &mut self,
        filter: &RunFilter,
        before: Option<i64>,
    ) -> Result<Vec<(i64, RunRecord)>, RequestError> {
        let page = self.ledger.history(filter, before, RUNS_PER_PAGE).map_err(RequestError::Unavailable)?;
        if let (true, None, Some(named)) = (page.is_empty(), before, &filter.watch) {
            // No such run of it, or there is no such watch, nor was there one.
            let any = RunFilter { failed: false, ..filter.clone() };
            if self.ledger.history(&any, None, 1).map_err(RequestError::Unavailable)?.is_empty() {
                self.find(named)?;
            }
        }
        Ok(page)
    }

    fn output(&mut self, run: &str) -> Result<Vec<u8>, RequestError> {
        if let Some(live) = self.runs.values().find(|live| live.matches_id(run)) {
            return Err(RequestError::Conflict(format!(
                "{} still runs; what it prints is in the log, and kept when it has ended",
                live.intent.run
            )));
        }
        let output = self.ledger.output(run).map_err(RequestError::Unavailable)?;
        output.ok_or_else(|| {
            let run = crate::text::printable(run.as_bytes());
            RequestError::Unknown(format!("the ledger has no run {run}; `twitcher history` lists them"))
        })
    }
}

fn send_reply<T>(reply: ReplySender<T>, value: T) {
    // Whoever asked may have left.
    let _ = reply.send(value);
}

/// What came of reading the configs.
fn read(failing: &BTreeMap<String, String>, watches: usize) -> Result<CommandResult, RequestError> {
    let errors: Vec<&str> = failing.values().map(String::as_str).collect();
    match errors.is_empty() {
        true => Ok(CommandResult { watch: None, done: format!("{} loaded", count(watches as u64, "watch")) }),
        false => Err(RequestError::Conflict(format!(
            "{}\nnot loaded: what these files registered before stays",
            errors.join("\n")
        ))),
    }
}

/// What comes of a command, in the operator's words.
fn done(accepted: Accepted) -> &'static str {
    match accepted {
        Accepted::RunsOnceReadable => "runs as soon as its node can be read",
        Accepted::RunsNext => "runs again when the running action has ended",
        Accepted::RunsHeld => "runs with what was held",
        Accepted::RunsPresent => "runs with what its node has now",
        Accepted::Paused => "paused: it goes on observing, and nothing is started",
        Accepted::AlreadyPaused => "was paused already",
        Accepted::Resumed { waiting: true } => "resumed: what came meanwhile runs now",
        Accepted::Resumed { waiting: false } => "resumed",
        Accepted::NotPaused => "was not paused",
        Accepted::Killed => "sent SIGTERM, and SIGKILL in 5 s to what is left then",
    }
}

/// Why a command is refused, in the operator's words, and what to do.
fn refused(entry: &Entry, refusal: Refusal) -> RequestError {
    let key = entry.key();
    let subject = entry.spec().map(|spec| &spec.subject);
    RequestError::Conflict(match refusal {
        Refusal::Stopping => return RequestError::Unavailable(STOPPING.into()),
        Refusal::NothingRuns => format!("{key}: no action of it is running"),
        Refusal::NotRegistered => {
            format!("{key}: no file registers it; `twitcher kill` can end its action")
        }
        Refusal::Paused => format!("{key} is paused; `twitcher resume` it first"),
        Refusal::NoNode => {
            let node = subject.map(|subject| subject.path.as_str()).unwrap_or_default();
            format!("{key}: there is no node {node}, and so nothing to run with")
        }
        Refusal::Held(held) => {
            let summary = subject.map(|subject| held_summary(&held, subject)).unwrap_or_default();
            let remedy = force_command(&key.to_string());
            format!("{key}: {summary}, and is held; `{remedy}` runs it all the same")
        }
    })
}

fn held_summary(held: &Held, subject: &Subject) -> String {
    let Held { version, hold_reason, .. } = *held;
    HeldSummary { version: version.number, hold_reason, facet: subject.facet }.to_string()
}

fn gone(named: &str) -> RequestError {
    RequestError::Unknown(format!("{named} has just ended, and no file registers it"))
}

fn said(key: &WatchKey, done: &str) -> CommandResult {
    CommandResult { watch: Some(key.to_string()), done: done.into() }
}

fn run_status(live: &LiveRun) -> RunStatus {
    RunStatus {
        run: live.intent.run.clone(),
        pid: live.handle.leader().as_raw(),
        event: live.intent.event.as_str().into(),
        version: live.intent.version.number,
        started: Timestamp(live.intent.started),
        seconds: live.started.elapsed().as_secs_f64(),
        killed_seconds: live.killed.map(|at| at.elapsed().as_secs_f64()),
    }
}

impl LastRun {
    fn record(&self, run_id_prefix: &str, entry: &Entry, subject: &Subject) -> RunRecord {
        let not_started = matches!(self.ending, RunOutcome::NotStarted(_));
        let failure = entry.failure.as_ref().filter(|_| not_started);
        RunRecord {
            run: format!("{run_id_prefix}-{}", self.run),
            watch: entry.key().to_string(),
            znode: subject.path.to_string(),
            event: self.event.as_str().into(),
            version: self.version,
            started: Timestamp(self.started),
            seconds: Some(self.took.as_secs_f64()),
            outcome: self.ending.name().into(),
            exit_code: self.ending.exit_code(),
            signal: self.ending.signal(),
            error: failure.map(|failure| failure.what.clone()),
        }
    }
}

impl LiveRun {
    /// By its id, or by the number that the log has.
    fn matches_id(&self, run: &str) -> bool {
        let is_number = !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_digit());
        let by_number = || self.intent.run.rsplit_once('-').is_some_and(|(_, number)| number == run);
        self.intent.run == run || is_number && by_number()
    }
}
