//! Why a journal does not do what it is asked.

use std::fmt;

use thiserror::Error;

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JournalError {
    /// The database cannot be reached or written now. A save may have been kept or not, unless the text says
    /// more.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// What is there is no journal of this version. Somebody must do something about it.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Corrupt(#[from] CorruptCommit),
}

/// A row that is no commit, because somebody else wrote it. It holds up its own key only.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct CorruptCommit {
    /// As far as it is a text.
    pub key: String,
    pub version: i64,
    pub why: String,
}

impl fmt::Display for CorruptCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, version, why } = self;
        write!(f, "commit {version} of {key} cannot be read: {why}")
    }
}

pub(super) fn unavailable<E: fmt::Display>(error: E) -> JournalError {
    JournalError::Unavailable(error.to_string())
}
