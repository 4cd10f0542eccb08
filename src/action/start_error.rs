//! The error of an action that could not be started.

use std::io;
use std::time::Duration;

use thiserror::Error;

/// Why an action could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The program cannot be executed, or the machine lacks something that every action needs.
    #[error(transparent)]
    Start(#[from] io::Error),
    /// A setting of the watch cannot be applied; `what` names the key and its value.
    #[error("{what}: {error}")]
    ExecContext { what: String, error: io::Error },
    /// `what` is the step or the setting that failed; `None`: the program cannot be executed. `remedy` says
    /// what the error means and what to do about it.
    #[error(
        "{}{error}{}",
        .what.as_ref().map(|what| format!("{what}: ")).unwrap_or_default(),
        .remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default()
    )]
    Explained { what: Option<String>, error: io::Error, remedy: Option<String> },
    /// The start was given up. The error's cause is a timeout.
    #[error("could not be started within {:.1} s: {doing} hangs", after.as_secs_f64())]
    Hangs { doing: String, after: Duration, error: io::Error },
    /// The run was told to end before it was its turn to start, or its turn did not come: all other starts
    /// hang.
    #[error("waited {:.1} s for other starts that take long", after.as_secs_f64())]
    Queued { after: Duration, error: io::Error },
    /// An earlier start of the same watch hangs.
    #[error("an earlier start of this watch still hangs, at {doing}")]
    StillHangs { doing: String, error: io::Error },
}

impl StartError {
    /// Whether the start was given up, because it took too long or its run was told to end.
    pub fn is_given_up(&self) -> bool {
        match self {
            Self::Hangs { .. } | Self::Queued { .. } => true,
            Self::Start(_) | Self::ExecContext { .. } | Self::Explained { .. } | Self::StillHangs { .. } => {
                false
            }
        }
    }

    pub fn cause(&self) -> &io::Error {
        match self {
            Self::Start(error)
            | Self::ExecContext { error, .. }
            | Self::Explained { error, .. }
            | Self::Hangs { error, .. }
            | Self::Queued { error, .. }
            | Self::StillHangs { error, .. } => error,
        }
    }
}
