//! The journal: a table in a database with all commits of a namespace.
//!
//! | database | file | table |
//! |---|---|---|
//! | SQLite, in this process | `sqlite.rs`, `sqlite.sql` | the columns of a commit, one by one |
//!
//! All of them keep the same promises, which are those of [`Journal`].

mod error;
mod interface;
mod sqlite;
mod statements;
mod target;

use std::sync::Arc;

pub use error::JournalError;
pub use interface::{Answer, Conflict, Heads, Journal, PAGE_BYTES, Page, Size};
pub use target::{Database, Table, TargetError};

/// Opens the journal, and makes its table where there is none. A table that a newer version has made is
/// refused, and not touched.
pub async fn open(database: &Database, table: &Table) -> Result<Arc<dyn Journal>, JournalError> {
    match database {
        Database::Sqlite(path) => Ok(Arc::new(sqlite::SqliteJournal::open(path, table).await?)),
    }
}
