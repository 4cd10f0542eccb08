//! Versioned configuration: commits, the journal that keeps all of them, and the keeper that publishes the
//! newest ones.
//!
//! A [`Commit`](crate::model::Commit) is the header of one version of a key's value. A [`Journal`] is the
//! table in a database that keeps every version; it is the system of record. A keeper is the node below which
//! the newest commit of each key, its *head*, is published. A *namespace* is a journal with at most one
//! keeper.
//!
//! ```text
//!  save ──▶ Journal ──▶ publisher ──▶ {path}/data/{key} in a store ──▶ daemons that watch it
//! ```
//!
//! Nothing here decides a version in memory: the database does, so several servers can share one.

mod commit;
mod journal;
mod keeper;
mod key;
mod publisher;

pub use commit::{FullCommit, encode};
pub use journal::{
    Answer, Conflict, CorruptCommit, Database, Heads, Journal, JournalError, Page, ServerAddress, Size,
    Table, TargetError, has_password, open,
};
pub use keeper::{Comparison, Difference, Intruder, PublishError};
pub use key::{Key, KeyError};
pub use publisher::{KeeperSettings, Publisher, PublisherEvent, PublisherStatus, Round};
