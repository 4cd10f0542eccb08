//! Where a journal is: the database and the table.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use super::address::ServerAddress;

/// A database: `sqlite:/PATH`, or the address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// A file that only this machine's servers open.
    Sqlite(PathBuf),
    Server(ServerAddress),
}

/// The name of a table: letters, digits and `_`, at most 48 characters, beginning with a letter. So it needs
/// no quotes in any database, and leaves room for the suffixes of other tables and indexes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table(String);

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// What it is instead may be a password.
    #[error(
        "this is no database; write sqlite:/PATH/commits.db, or postgres://USER@HOST/DATABASE, or \
         mysql://USER@HOST/DATABASE"
    )]
    Database,
    #[error("the database's address is wrong: {0}")]
    Address(String),
    #[error("{0:?} names no file; write an absolute path: sqlite:/PATH/commits.db")]
    Path(String),
    #[error(
        "{0:?} cannot be the name of a table; write a letter, and then at most 47 lower-case letters, digits \
         and _"
    )]
    Table(String),
}

impl FromStr for Database {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Some(address) = ServerAddress::parse(text) {
            return address.map(Self::Server).map_err(TargetError::Address);
        }
        let Some(path) = text.strip_prefix("sqlite:") else {
            return Err(TargetError::Database);
        };
        // As in other URLs, a host could stand between two slashes and a third one.
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') || path.ends_with('/') {
            return Err(TargetError::Path(text.to_owned()));
        }
        Ok(Self::Sqlite(path.into()))
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Server(address) => address.fmt(f),
        }
    }
}

impl Table {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Table {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let is_letter = |byte: u8| byte.is_ascii_lowercase();
        let is_name = text.bytes().next().is_some_and(is_letter)
            && text.len() <= 48
            && text.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit() || byte == b'_');
        // SQLite's own tables, and those of this program, have these names.
        if !is_name || text.starts_with("sqlite_") || text.starts_with("twitcher_") {
            return Err(TargetError::Table(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_a_url_with_an_absolute_path() {
        let path = "sqlite:/var/lib/twitcher/commits.db";
        assert_eq!(path.parse(), Ok(Database::Sqlite("/var/lib/twitcher/commits.db".into())));
        assert_eq!("sqlite:///a/b.db".parse::<Database>().unwrap().to_string(), "sqlite:/a/b.db");
        for wrong in ["sqlite:", "sqlite:commits.db", "sqlite://host/a.db", "sqlite:/a/"] {
            assert_eq!(wrong.parse::<Database>(), Err(TargetError::Path(wrong.into())));
        }
        for wrong in ["", "/a.db", "oracle://x", "SQLITE:/a"] {
            assert_eq!(wrong.parse::<Database>(), Err(TargetError::Database));
        }
    }

    #[test]
    fn a_table_has_a_name_that_needs_no_quotes() {
        for name in ["diary", "a", "a_1", &"x".repeat(48)] {
            assert_eq!(name.parse::<Table>().unwrap().as_str(), name);
        }
        let long = "x".repeat(49);
        for wrong in ["", "1a", "_a", "A", "a-b", "a;b", "a\"b", "é", &long, "sqlite_x", "twitcher_x"] {
            assert_eq!(wrong.parse::<Table>(), Err(TargetError::Table(wrong.into())), "{wrong}");
        }
    }
}
