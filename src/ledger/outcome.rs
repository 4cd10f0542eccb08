//! The outcomes of runs, under the names that the ledger, the history and the metrics use.

use crate::action::run::ExitStatus;
use crate::watch::Reason;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome<'a> {
    /// It ended with this exit code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// The daemon ended it at its timeout.
    TimedOut,
    /// An operator ended it.
    Killed,
    /// It could not be started, for this reason.
    NotStarted(&'a str),
    /// The daemon stopped, and ended it first.
    Interrupted,
    /// Its daemon died before it ended, so its exit status is unknown.
    Unknown,
}

impl RunOutcome<'static> {
    /// Returns the outcome of a run that ended with `status`; `ended_by` is the daemon's reason if the daemon
    /// ended it.
    pub fn of(status: &ExitStatus, ended_by: Option<Reason>) -> Self {
        match (status, ended_by) {
            (ExitStatus::Unknown, None | Some(Reason::Timeout | Reason::Stop | Reason::Kill)) => {
                RunOutcome::Unknown
            }
            (ExitStatus::Exited(_) | ExitStatus::Signaled(_), Some(Reason::Stop)) => RunOutcome::Interrupted,
            (ExitStatus::Exited(_) | ExitStatus::Signaled(_), Some(Reason::Timeout)) => RunOutcome::TimedOut,
            (ExitStatus::Exited(_) | ExitStatus::Signaled(_), Some(Reason::Kill)) => RunOutcome::Killed,
            (ExitStatus::Exited(code), None) => RunOutcome::Exited(*code),
            (ExitStatus::Signaled(signal), None) => RunOutcome::Signaled(*signal),
        }
    }
}

impl<'a> RunOutcome<'a> {
    /// All values of [`Self::name`].
    pub const NAMES: [&'static str; 8] =
        ["success", "exit", "signal", "timeout", "killed", "not_started", "interrupted", "unknown"];

    pub fn name(self) -> &'static str {
        match self {
            RunOutcome::Exited(0) => "success",
            RunOutcome::Exited(_) => "exit",
            RunOutcome::Signaled(_) => "signal",
            RunOutcome::TimedOut => "timeout",
            RunOutcome::Killed => "killed",
            RunOutcome::NotStarted(_) => "not_started",
            RunOutcome::Interrupted => "interrupted",
            RunOutcome::Unknown => "unknown",
        }
    }

    pub fn exit_code(self) -> Option<i32> {
        if let RunOutcome::Exited(code) = self { Some(code) } else { None }
    }

    pub fn signal(self) -> Option<i32> {
        if let RunOutcome::Signaled(signal) = self { Some(signal) } else { None }
    }

    /// Why the run was not started.
    pub fn error(self) -> Option<&'a str> {
        if let RunOutcome::NotStarted(error) = self { Some(error) } else { None }
    }
}
