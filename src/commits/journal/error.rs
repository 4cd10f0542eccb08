//! Why a journal does not do what it is asked.

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
    /// A commit cannot be read, because somebody else wrote it.
    #[error("commit {version} of {key} cannot be read: {why}")]
    Corrupt { key: String, version: i64, why: String },
}
