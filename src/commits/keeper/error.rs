//! Why commits are not published, or not read.

use thiserror::Error;

use crate::commits::journal::JournalError;
use crate::store::ClientError;

/// Why journal and store are not compared, or nothing is published.
#[derive(Debug, Error)]
pub enum PublishError {
    #[error(transparent)]
    Store(#[from] ClientError),
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] JournalError),
    /// There is no connection to the store, for this reason.
    #[error("the store is away: {0}")]
    Away(String),
    #[error("the publisher has stopped")]
    Stopped,
}

/// Why a commit is not saved in a keeper without a journal.
#[derive(Debug, Error)]
pub enum SaveError {
    /// Another commit of this or a higher version is there.
    #[error(
        "commit {version} of {key} was saved at the same time as another one: the store has version {found}"
    )]
    Concurrent { key: String, version: i64, found: i64 },
    #[error(transparent)]
    Store(#[from] ClientError),
    /// No node can have this, for this reason.
    #[error("commit {version} of {key} cannot be saved: {why}")]
    Impossible { key: String, version: i64, why: String },
}

/// Why a commit cannot be read from a keeper.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error(transparent)]
    Store(#[from] ClientError),
    #[error("the node of {key} is no commit: {why}")]
    Corrupt { key: String, why: String },
    #[error("{key} names no node: {why}")]
    Impossible { key: String, why: String },
}
