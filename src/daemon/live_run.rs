//! A run that has not ended: its process is being started, or lives.

use std::time::Duration;

use tokio::time::Instant;

use super::starter::Start;
use crate::action::proc::ProcessId;
use crate::action::run::Handle;
use crate::control::status::RunStatus;
use crate::ledger::Intent;
use crate::model::WatchSpec;
use crate::report::RunName;
use crate::text::Timestamp;
use crate::watch::{Reason, RunId};

pub struct LiveRun {
    /// The ledger's record. Kept, because a ledger that lost it has to be told again.
    pub intent: Intent,
    pub stage: Stage,
    /// When its program was executed; until then, when the start was handed over.
    pub started: Instant,
    /// Why it was told to end, if it was.
    pub ended_by: Option<Reason>,
    /// When it was sent SIGKILL.
    pub killed: Option<Instant>,
    /// Whether it outlived SIGKILL for so long that nobody waits for its end any more.
    pub is_unkillable: bool,
}

pub enum Stage {
    /// The signals are sent as soon as the program is executed.
    Starting { start: Start, signals: Vec<Signal> },
    /// `process` is `None` if /proc cannot be read.
    Running { process: Option<ProcessId>, handle: Handle },
}

/// A signal that the core wants sent.
#[derive(Clone, Copy)]
pub enum Signal {
    /// `notify_signal`.
    Notify(i32),
    Terminate(Reason),
    Kill,
}

impl LiveRun {
    pub fn new(intent: Intent, stage: Stage, started: Instant) -> Self {
        Self { intent, stage, started, ended_by: None, killed: None, is_unkillable: false }
    }

    /// A run that was told to end before its start began.
    pub fn unstarted(intent: Intent, ended_by: Reason) -> Self {
        let stage = Stage::Starting { start: Start::default(), signals: Vec::new() };
        Self { ended_by: Some(ended_by), ..Self::new(intent, stage, Instant::now()) }
    }

    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Its process, if there is one and it is known.
    pub fn process(&self) -> Option<ProcessId> {
        match self.stage {
            Stage::Starting { .. } => None,
            Stage::Running { process, .. } => process,
        }
    }

    pub fn pid(&self) -> Option<i32> {
        match &self.stage {
            Stage::Starting { .. } => None,
            Stage::Running { handle, .. } => Some(handle.leader().as_raw()),
        }
    }

    pub fn status(&self) -> RunStatus {
        RunStatus {
            run: self.intent.run.clone(),
            pid: self.pid(),
            event: self.intent.event.as_str().into(),
            version: self.intent.version.number,
            cause: self.intent.cause.clone(),
            started: Timestamp(self.intent.started),
            seconds: self.age().as_secs_f64(),
            killed_seconds: self.killed.map(|at| at.elapsed().as_secs_f64()),
        }
    }

    /// How reports name it.
    pub fn report_name(&self, run: RunId) -> RunName<'_> {
        RunName { pid: self.pid(), ..run_name(&self.intent, run) }
    }

    /// Its name in the log with its process: `git.twc:deploy run 7 (pid 4711)`.
    pub fn name(&self, run: RunId) -> String {
        let name = run_name(&self.intent, run);
        self.pid().map_or_else(|| name.to_string(), |pid| format!("{name} (pid {pid})"))
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
    // The ledger has the name of a store with its identity.
    let store = intent.store.split(' ').next().unwrap_or_default();
    let Intent { watch, subject, run, cause, .. } = intent;
    RunName { watch, subject, number, id: run, store, pid: None, cause: Some(cause) }
}

/// How reports name a run of this watch.
pub fn run_name_of<'a>(spec: &'a WatchSpec, number: RunId, id: &'a str) -> RunName<'a> {
    let (watch, subject, store) = (&spec.id, &spec.subject, spec.store.as_str());
    RunName { watch, subject, number, id, store, pid: None, cause: None }
}
