//! The errors of the cache, sorted by the reaction to them.

use std::io::{self, ErrorKind};

use rusqlite::ErrorCode;

/// Why the cache cannot be used.
#[derive(Debug, PartialEq)]
pub enum Trouble {
    /// The content of the file is wrong. The file is set aside.
    Damaged(String),
    /// It may be usable later. The text ends with the remedy if one is known.
    Unavailable(String),
}

impl Trouble {
    pub fn why(&self) -> &str {
        match self {
            Trouble::Damaged(why) | Trouble::Unavailable(why) => why,
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        let rusqlite::Error::SqliteFailure(failure, _) = error else { return Trouble::Damaged(text) };
        let remedy = match failure.code {
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::SchemaChanged
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::Unknown => return Trouble::Damaged(text),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => "; end the process that has it open",
            ErrorCode::DiskFull => "; make room there",
            ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                "; make the directory and the file writable for the daemon"
            }
            ErrorCode::SystemIoFailure => "; check whether the disk is full or failing",
            _ => "",
        };
        Trouble::Unavailable(text + remedy)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.downcast::<rusqlite::Error>() {
            Ok(error) => error.into(),
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                Trouble::Unavailable(format!("{error}; make room there"))
            }
            Err(error) => Trouble::Unavailable(error.to_string()),
        }
    }
}
