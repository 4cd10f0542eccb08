//! What operators ask through the control socket.

use std::collections::BTreeMap;

use super::memory::LastRun;
use super::{Daemon, Entry, Live, WatchId};
use crate::control::status::{ConfigError, DaemonStatus, LedgerStatus, RunStatus, WatchStatus};
use crate::control::{Answer, Done, Question, RUNS_AT_ONCE, Refusal, WATCHES_AT_ONCE, name};
use crate::ledger::{Ending, RunRecord, Which};
use crate::model::{Order, RunMode, StoreName, Subject, WatchKey, WatchSpec};
use crate::report::{Holding, Report, force_command};
use crate::text::{Timestamp, count};
use crate::watch::{Held, Input, Seen};

impl Daemon {
    pub(super) fn answer(&mut self, question: Question) {
        match question {
            Question::Daemon(answer) => tell(answer, self.status()),
            Question::Watch { named, answer } => {
                let found = self.find(&named);
                tell(
                    answer,
                    found.and_then(|id| self.watch_status(&self.entries[&id]).ok_or_else(|| gone(&named))),
                );
            }
            Question::Watches { after, answer } => tell(answer, self.watches(after)),
            // Who was told that there is no answer must not be obeyed after all.
            Question::Order { answer, .. } if answer.is_closed() => {}
            Question::Order { order, watch, answer } => tell(answer, self.obey(order, &watch)),
            Question::Reload(answer) => self.read_configs(answer),
            Question::History { which, before, answer } => tell(answer, self.history(&which, before)),
            Question::Output { run, answer } => tell(answer, self.output(&run)),
            Question::Gauges(answer) => tell(answer, self.gauges()),
        }
    }

    fn find(&self, named: &str) -> Result<WatchId, Refusal> {
        name::find(named, self.entries.values().map(|entry| entry.key())).map(|key| self.by_key[key])
    }

    fn read_configs(&mut self, answer: Answer<Result<Done, Refusal>>) {
        if let Err(refusal) = self.require_going() {
            return tell(answer, Err(refusal));
        }
        self.reload("an operator", Some(answer));
    }

    /// So many rescans are done, the oldest first: answers those who asked for them.
    pub(super) fn reloaded(&mut self, rescans: usize) {
        let rescans = rescans.min(self.reloads.len());
        for answer in self.reloads.drain(..rescans).flatten() {
            tell(answer, read(&self.failing_files, self.watches));
        }
    }

    fn require_going(&self) -> Result<(), Refusal> {
        if self.stopping { Err(Refusal::Unavailable("the daemon is stopping".into())) } else { Ok(()) }
    }

    fn obey(&mut self, order: Order, named: &str) -> Result<Done, Refusal> {
        let id = self.find(named)?;
        self.require_going()?;
        let entry = &self.entries[&id];
        let (key, spec) = (entry.key().clone(), entry.loaded());
        let (standing, running) = (entry.watch.standing(), entry.watch.live_runs());
        let (input, done) = match (order, spec) {
            (Order::Kill, _) if running == 0 => {
                return Err(Refusal::Conflict(format!("{key}: no action of it is running")));
            }
            (Order::Kill, _) => (Input::Killed, "sent SIGTERM, and SIGKILL in 5 s to what is left then"),
            (Order::Trigger { .. } | Order::Pause | Order::Resume, None) => {
                return Err(Refusal::Conflict(format!(
                    "{key}: no file registers it; `twitcher kill` can end its action"
                )));
            }
            (Order::Trigger { .. }, Some(_)) if standing.paused => {
                return Err(Refusal::Conflict(format!("{key} is paused; `twitcher resume` it first")));
            }
            (Order::Trigger { .. }, Some(spec)) if standing.seen == Some(Seen::Absent) => {
                let node = &spec.subject.path;
                return Err(Refusal::Conflict(format!(
                    "{key}: there is no node {node}, and so nothing to run with"
                )));
            }
            (Order::Trigger { force }, Some(spec)) => {
                if let (false, Some(held)) = (force, held(entry, spec)) {
                    let remedy = force_command(&key.to_string());
                    return Err(Refusal::Conflict(format!(
                        "{key}: {held}, and is held; `{remedy}` runs it all the same"
                    )));
                }
                let done = match () {
                    () if self.unreadable(spec).is_some() || standing.seen.is_none() => {
                        "runs as soon as its node can be read"
                    }
                    () if running > 0 && spec.run_mode != RunMode::Parallel => {
                        "runs again when the running action has ended"
                    }
                    () if force && standing.held.is_some() => "runs with what was held",
                    () => "runs with what its node has now",
                };
                (Input::Triggered { force }, done)
            }
            (Order::Pause, Some(_)) if standing.paused => return Ok(said(&key, "was paused already")),
            (Order::Pause, Some(_)) => {
                (Input::Paused, "paused: it goes on observing, and nothing is started")
            }
            (Order::Resume, Some(_)) if !standing.paused => return Ok(said(&key, "was not paused")),
            (Order::Resume, Some(_)) if entry.watch.waiting_updates() > 0 => {
                (Input::Resumed, "resumed: what came meanwhile runs now")
            }
            (Order::Resume, Some(_)) => (Input::Resumed, "resumed"),
        };
        let place = spec.map(|spec| (spec.store.clone(), spec.subject.clone()));
        self.log.report(&Report::Ordered { watch: &key, order });
        self.step(id, input);
        match order {
            // Before it is said to be so, it has to outlive us.
            Order::Pause | Order::Resume | Order::Trigger { force: true } => {
                self.remember(id);
                self.ledger.commit();
            }
            Order::Kill | Order::Trigger { force: false } => {}
        }
        match (order, place) {
            (Order::Trigger { .. }, Some((store, subject))) => {
                self.stores[&store].subscriptions().refresh(&subject);
            }
            (Order::Pause | Order::Resume | Order::Kill, _) | (Order::Trigger { .. }, None) => {}
        }
        let until_restart = match (order, self.ledger.trouble()) {
            (Order::Pause | Order::Resume, Some(_)) => " (until a restart: the ledger cannot be written)",
            (Order::Pause | Order::Resume | Order::Trigger { .. } | Order::Kill, _) => "",
        };
        Ok(said(&key, &format!("{done}{until_restart}")))
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
                usable: self.ledger.trouble().is_none(),
                reason: self.ledger.trouble().map(Into::into),
            },
            config_errors: self.failing_files.iter().map(error).collect(),
            watches: self.watches,
        }
    }

    fn watches(&self, after: Option<u64>) -> Vec<(u64, WatchStatus)> {
        let next = WatchId(after.map_or(0, |after| after.saturating_add(1)));
        let some =
            self.entries.range(next..).filter_map(|(id, entry)| Some((id.0, self.watch_status(entry)?)));
        some.take(WATCHES_AT_ONCE).collect()
    }

    /// The store and the node. Of a watch that no file registers, a run that still lives says so.
    fn place<'a>(&'a self, entry: &'a Entry) -> Option<(&'a str, &'a Subject)> {
        if let Some(spec) = entry.spec() {
            return Some((spec.store.as_str(), &spec.subject));
        }
        let Live { intent, .. } = entry.watch.runs().find_map(|run| self.runs.get(&run))?;
        // It may be one that the settings name no more.
        let store = self.stores.called(&intent.store).map_or(&*intent.store, StoreName::as_str);
        Some((store, &intent.subject))
    }

    /// Why the node cannot be read, if it cannot.
    pub(super) fn unreadable(&self, spec: &WatchSpec) -> Option<&str> {
        self.stores[&spec.store].subjects.get(&spec.subject)?.unreadable.as_deref()
    }

    /// `None` once the last of a watch that no file registers has ended.
    pub(super) fn watch_status(&self, entry: &Entry) -> Option<WatchStatus> {
        let (now, key) = (self.now(), entry.key());
        let (store, subject) = self.place(entry)?;
        let standing = entry.watch.standing();
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
            paused: standing.paused,
            stopped: standing.stopped,
            version: match standing.seen {
                Some(Seen::Present(version)) => Some(version.number),
                Some(Seen::Absent) | None => None,
            },
            applied_version: standing.applied.map(|version| version.number),
            runs: entry.watch.runs().filter_map(|run| self.runs.get(&run)).map(run_status).collect(),
            waiting: entry.watch.waiting_updates(),
            next_start_seconds: next_start.map(|left| left.as_secs_f64()),
            failures: standing.failures,
            held: entry.spec().and_then(|spec| held(entry, spec)),
            error: unreadable.map(|reason| format!("cannot be read: {reason}")).or(failure.map(Into::into)),
            last_run: entry.last_run.as_ref().map(|last| last.record(&self.stamp, entry, subject)),
            notified: entry.spec().is_some_and(|spec| spec.notify_signal.is_some()),
        })
    }

    fn history(&mut self, which: &Which, before: Option<i64>) -> Result<Vec<(i64, RunRecord)>, Refusal> {
        let page = self.ledger.history(which, before, RUNS_AT_ONCE).map_err(Refusal::Unavailable)?;
        if let (true, None, Some(named)) = (page.is_empty(), before, &which.watch) {
            // No such run of it, or there is no such watch, nor was there one.
            let any = Which { failed: false, ..which.clone() };
            if self.ledger.history(&any, None, 1).map_err(Refusal::Unavailable)?.is_empty() {
                self.find(named)?;
            }
        }
        Ok(page)
    }

    fn output(&mut self, run: &str) -> Result<Vec<u8>, Refusal> {
        if let Some(live) = self.runs.values().find(|live| live.is_called(run)) {
            return Err(Refusal::Conflict(format!(
                "{} still runs; what it prints is in the log, and kept when it has ended",
                live.intent.run
            )));
        }
        let output = self.ledger.output(run).map_err(Refusal::Unavailable)?;
        output.ok_or_else(|| {
            let run = crate::text::printable(run.as_bytes());
            Refusal::Unknown(format!("the ledger has no run {run}; `twitcher history` lists them"))
        })
    }
}

fn tell<T>(answer: Answer<T>, value: T) {
    // Whoever asked may have left.
    let _ = answer.send(value);
}

/// What came of reading the configs.
fn read(failing: &BTreeMap<String, String>, watches: usize) -> Result<Done, Refusal> {
    let errors: Vec<&str> = failing.values().map(String::as_str).collect();
    match errors.is_empty() {
        true => Ok(Done { watch: None, done: format!("{} loaded", count(watches as u64, "watch")) }),
        false => Err(Refusal::Conflict(format!(
            "{}\nnot loaded: what these files registered before stays",
            errors.join("\n")
        ))),
    }
}

/// What is held of it, and why.
fn held(entry: &Entry, spec: &WatchSpec) -> Option<String> {
    let Held { version, suspicion, .. } = *entry.watch.held()?;
    Some(Holding { version: version.number, suspicion, facet: spec.subject.facet }.to_string())
}

fn gone(named: &str) -> Refusal {
    Refusal::Unknown(format!("{named} has just ended, and no file registers it"))
}

fn said(key: &WatchKey, done: &str) -> Done {
    Done { watch: Some(key.to_string()), done: done.into() }
}

fn run_status(live: &Live) -> RunStatus {
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
    fn record(&self, stamp: &str, entry: &Entry, subject: &Subject) -> RunRecord {
        let not_started = matches!(self.ending, Ending::NotStarted(_));
        let failure = entry.failure.as_ref().filter(|_| not_started);
        RunRecord {
            run: format!("{stamp}-{}", self.run),
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

impl Live {
    /// By its id, or by the number that the log has.
    fn is_called(&self, run: &str) -> bool {
        let is_number = !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_digit());
        let by_number = || self.intent.run.rsplit_once('-').is_some_and(|(_, number)| number == run);
        self.intent.run == run || is_number && by_number()
    }
}
