//! What the end of a start means to its run.

use super::run_end::RunEnd;
use super::watches::WatchId;
use crate::ledger::Intent;
use crate::watch::{RunId, Time};

/// A run whose process could not be started.
pub struct StartFailure {
    pub watch: WatchId,
    pub run: RunId,
    pub intent: Intent,
    pub why: String,
    /// Whether the reason passes: then the run is only put off.
    pub starved: bool,
}

/// What the end of a start means.
pub enum StartOutcome {
    /// The program has been executing since `executed`.
    Started {
        watch: WatchId,
        run: RunId,
        executed: Time,
    },
    /// There is nothing to do.
    Nothing,
    Failed(Box<StartFailure>),
    /// The run was told to end before its program was executed.
    Ended(RunEnd),
}
