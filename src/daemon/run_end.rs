//! How a run ended, and what that means.

use std::io;

use super::watches::WatchId;
use crate::action::run::ExitStatus;
use crate::ledger::RunOutcome;
use crate::watch::{Reason, RunId, RunResult};

/// The end of a run. Every [`crate::watch::Effect::Spawn`] is answered by one.
pub struct RunEnd {
    pub watch: WatchId,
    pub run: RunId,
    pub how: EndKind,
}

pub enum EndKind {
    /// The process ended; the bytes are the tail of its output.
    Ended(io::Result<ExitStatus>, Vec<u8>),
    /// The run was not started, because there was nothing to do.
    Unchanged,
    /// The run was not started, because nobody knows yet who its user is.
    PutOff,
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

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn how_a_process_ended_and_why_it_was_told_to_make_the_verdict() {
        let lost = || Err(io::Error::from(ErrorKind::Other));
        let (exited, signaled) =
            (|code| Ok(ExitStatus::Exited(code)), |signal| Ok(ExitStatus::Signaled(signal)));
        for (status, told, expected) in [
            (exited(0), None, (RunResult::Succeeded, RunOutcome::Exited(0))),
            (exited(1), None, (RunResult::Failed, RunOutcome::Exited(1))),
            (signaled(9), None, (RunResult::Failed, RunOutcome::Signaled(9))),
            // However it ends: it was told to.
            (exited(0), Some(Reason::Timeout), (RunResult::Failed, RunOutcome::TimedOut)),
            (signaled(15), Some(Reason::Kill), (RunResult::Failed, RunOutcome::Killed)),
            (exited(0), Some(Reason::Stop), (RunResult::Interrupted, RunOutcome::Interrupted)),
            (Ok(ExitStatus::Unknown), None, (RunResult::Interrupted, RunOutcome::Unknown)),
            (Ok(ExitStatus::Unknown), Some(Reason::Timeout), (RunResult::Interrupted, RunOutcome::Unknown)),
            (lost(), None, (RunResult::Failed, RunOutcome::Unknown)),
        ] {
            assert_eq!(verdict(&status, told), expected, "{status:?}, told to end by {told:?}");
        }
    }
}
