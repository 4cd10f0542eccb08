//! The error of an action that could not be started.

use std::io;

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
}

impl StartError {
    pub fn cause(&self) -> &io::Error {
        match self {
            Self::Start(error) | Self::ExecContext { error, .. } | Self::Explained { error, .. } => error,
        }
    }
}
