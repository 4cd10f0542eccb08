//! The errors of the ledger, sorted by the reaction to them.

use std::io;

use rusqlite::{Error, ErrorCode};

#[derive(Debug)]
pub(super) enum LedgerError {
    /// The content is damaged: the files must be set aside. The connection can be closed.
    Damaged(String),
    /// The files were deleted, replaced or truncated under the connection, which must not be touched again.
    Displaced(String),
    /// The file is intact, and this program must not touch it: a ledger of a newer version, another program's
    /// database, or no regular file. An operator has to decide.
    Refused(String),
    /// The ledger cannot be used now, but may be later. The text ends with the remedy if one is known.
    Unavailable(String),
}

impl LedgerError {
    pub(super) fn into_reason(self) -> String {
        let (LedgerError::Damaged(reason)
        | LedgerError::Displaced(reason)
        | LedgerError::Refused(reason)
        | LedgerError::Unavailable(reason)) = self;
        reason
    }
}

impl From<Error> for LedgerError {
    fn from(error: Error) -> Self {
        match &error {
            Error::SqliteFailure(failure, _) => by_code(failure.code, &error),
            // Our own statements are correct, so all other errors are about what was read.
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
    let unavailable = |remedy| LedgerError::Unavailable(format!("{error}{remedy}"));
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            unavailable("; end the transaction of the other process that has it open")
        }
        ErrorCode::DiskFull => unavailable("; make room there"),
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            unavailable("; make the directory and the file writable for the daemon")
        }
        ErrorCode::SystemIoFailure => unavailable(
            "; check whether the disk is full or failing, and the limit on the size of files (RLIMIT_FSIZE)",
        ),
        // A row that no daemon writes, or a table that was changed.
        ErrorCode::DatabaseCorrupt
        | ErrorCode::NotADatabase
        | ErrorCode::SchemaChanged
        | ErrorCode::ConstraintViolation
        | ErrorCode::TypeMismatch
        | ErrorCode::Unknown => LedgerError::Damaged(error.to_string()),
        // No memory, or a code that our use of SQLite cannot cause.
        _ => unavailable(""),
    }
}
