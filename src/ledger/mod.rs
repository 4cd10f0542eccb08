//! The ledger stores what must outlive the daemon, in `ledger.db` in the state directory.
//!
//! The file is an SQLite database, which an operator can read with `sqlite3` while the daemon runs. For each
//! watch it records what was last observed and applied ([`Snapshot`](crate::watch::Snapshot)), and for each
//! run how it began and ended.
//!
//! The daemon works without the ledger. Damage, deletion, or a full or read-only disk is reported once
//! ([`LedgerEvent`]), and until the ledger is back only a death of the daemon loses records. An outdated
//! record makes an update run again; it never loses one.
//!
//! * [`supervisor`] keeps the ledger usable, and reports its failures ([`event`], [`error`]).
//! * [`queries`] are the daemon's writes and reads; [`records`], [`cause`] and [`outcome`] define their
//!   plain data.
//! * [`database`] is an open connection, [`files`] are the files below it, and [`checkpoint`] copies the
//!   write-ahead log back into the database.
//! * [`watches`], [`services`], [`runs`], [`history`] and [`member_history`] define the SQL statements,
//!   [`column`] the formats of values, and [`retention`] deletes old runs.

mod cause;
mod checkpoint;
mod column;
mod database;
mod error;
mod event;
mod files;
mod growth;
mod history;
mod limits;
mod member_history;
mod outcome;
mod queries;
mod records;
mod retention;
mod runs;
mod schema;
mod services;
mod supervisor;
#[cfg(test)]
mod tests;
mod watches;

pub use cause::RunCause;
pub use event::LedgerEvent;
pub use files::{DirInUse, FILE};
pub use history::{RunFilter, RunRecord};
pub use member_history::{MemberFilter, MemberRecord};
pub use outcome::RunOutcome;
pub use queries::copy;
pub use records::{Intent, StoredService, StoredWatch, UnfinishedRun, WatchRecord};
pub use supervisor::Ledger;
