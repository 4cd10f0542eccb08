//! The ledger: what must outlive the daemon, in `ledger.db` in the state directory.
//!
//! It is an embedded SQLite database, which an operator can read with `sqlite3` while the daemon runs. For
//! each watch it records what was observed and applied last ([`Snapshot`](crate::watch::Snapshot)), and for
//! each run how it began and ended.
//!
//! The daemon works without it. Damage, deletion, or a full or read-only disk is reported once
//! ([`LedgerEvent`]), and until the ledger is back only a death of the daemon loses anything. A record that
//! is older than the truth makes an update run again; it never loses one.
//!
//! * [`handle`] is what the daemon calls; [`records`] and [`outcome`] are the plain data that it passes.
//! * [`supervisor`] keeps the ledger usable, and reports what happens to it ([`event`], [`error`]).
//! * [`database`] is an open connection, [`files`] are the files that it rests on, and [`checkpoint`] copies
//!   the write-ahead log back into the database.
//! * [`watches`], [`runs`] and [`history`] have the SQL statements, [`column`] the formats of their values,
//!   and [`retention`] deletes old runs.

mod checkpoint;
mod column;
mod database;
mod error;
mod event;
mod files;
mod handle;
mod history;
mod outcome;
mod records;
mod retention;
mod runs;
mod supervisor;
#[cfg(test)]
mod tests;
mod watches;

pub use event::LedgerEvent;
pub use files::FILE;
pub use handle::{Ledger, copy};
pub use history::{RunFilter, RunRecord};
pub use outcome::RunOutcome;
pub use records::{Intent, StoredWatch, UnfinishedRun, WatchRecord};
