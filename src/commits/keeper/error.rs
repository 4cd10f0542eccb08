//! Why commits are not published.

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
