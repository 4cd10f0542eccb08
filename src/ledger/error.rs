//! What can be wrong with the ledger, by what is to be done about it.

use std::io;

use rusqlite::{Error, ErrorCode};

#[derive(Debug)]
pub(super) enum LedgerError {
    /// What it holds makes no sense: it is to be set aside. Its connection can be closed.
    Damaged(String),
    /// Someone deleted, replaced or truncated its files under the connection, which must not be touched any more.
    Displaced(String),
    /// It cannot be used now, and may be later. Says the remedy, where one is known.
    Unavailable(String),
}

impl LedgerError {
    pub(super) fn into_reason(self) -> String {
        let (LedgerError::Damaged(reason)
        | LedgerError::Displaced(reason)
        | LedgerError::Unavailable(reason)) = self;
        reason
    }
}

impl From<Error> for LedgerError {
    fn from(error: Error) -> Self {
        match &error {
            Error::SqliteFailure(failure, _) => by_code(failure.code, &error),
            // All else is about what was read: our own statements are right.
            _ => LedgerError::Damaged(error.to_string()),
        }
    }
}

impl From<io::Error> for LedgerError {
    fn from(error: io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "; create the directory",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room there",
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                "; make it writable for the daemon"
            }
            _ => "",
        };
        LedgerError::Unavailable(format!("{error}{remedy}"))
    }
}

fn by_code(code: ErrorCode, error: &Error) -> LedgerError {
    let unusable = |remedy| LedgerError::Unavailable(format!("{error}{remedy}"));
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            unusable("; end the transaction of whatever else has it open")
        }
        ErrorCode::DiskFull => unusable("; make room there"),
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            unusable("; make the directory and the file writable for the daemon")
        }
        ErrorCode::SystemIoFailure => unusable("; see whether the disk is full or failing"),
        // A row that no daemon writes, or a table that is not as we made it.
        ErrorCode::DatabaseCorrupt
        | ErrorCode::NotADatabase
        | ErrorCode::SchemaChanged
        | ErrorCode::ConstraintViolation
        | ErrorCode::TypeMismatch
        | ErrorCode::Unknown => LedgerError::Damaged(error.to_string()),
        // Want of memory, and what cannot happen.
        _ => unusable(""),
    }
}
