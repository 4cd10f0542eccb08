//! What every journal promises, whatever database it is in.

use futures_util::future::BoxFuture;

use super::error::{CorruptCommit, JournalError};
use crate::commits::commit::FullCommit;
use crate::commits::key::Key;
use crate::model::Commit;

/// What a journal replies, later.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, JournalError>>;

/// A table of commits. The versions of a key are 1, 2, 3, … without a gap, and none of them ever changes.
///
/// Each call is one statement or transaction. A journal whose database is away gives
/// [`JournalError::Unavailable`], and works again once the database is back.
pub trait Journal: Send + Sync {
    /// Returns the heads of keys, sorted by key.
    fn heads<'a>(&'a self, page: &'a Page) -> Answer<'a, Heads>;

    /// Returns one version of a key, or its head.
    fn commit<'a>(&'a self, key: &'a Key, version: Option<i64>) -> Answer<'a, Option<FullCommit>>;

    /// Returns the headers of a key's commits before the version `before`, newest first; at most `limit`.
    /// Leaves out those that cannot be read.
    fn log<'a>(&'a self, key: &'a Key, before: Option<i64>, limit: usize) -> Answer<'a, Vec<Commit>>;

    /// Keeps a commit whose version is one more than that of the head, which is 0 without a head. Once this
    /// has returned, the commit survives a crash of the machine. An error means that the commit was not kept,
    /// but [`JournalError::Unavailable`] that this is not known.
    fn save(&self, commit: FullCommit) -> Answer<'_, Result<(), Conflict>>;

    /// Returns how much the journal has.
    fn size(&self) -> Answer<'_, Size>;
}

/// Which heads are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only keys after this one.
    pub after: Option<Key>,
    /// So many at most; at least one if there is one.
    pub limit: usize,
    /// The page ends with the payload that goes beyond so many bytes. A payload that is
    /// saved here has 1 MiB at most.
    pub bytes: usize,
    /// Also the keys that were removed.
    pub with_removed: bool,
    /// Otherwise the payloads are left empty.
    pub with_payloads: bool,
}

/// A part of the heads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    pub commits: Vec<FullCommit>,
    /// Heads before the last of them, or at the end of all, that cannot be read.
    pub corrupt: Vec<CorruptCommit>,
    /// Whether there may be more after the last of them. Then there is a last one.
    pub has_more: bool,
}

/// A commit was not kept, because its version is not the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The version that would have been right.
    pub expected: i64,
}

/// How much a journal has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Keys, also removed ones.
    pub keys: u64,
    pub commits: u64,
    /// Commits that were met since the start and cannot be read.
    pub corrupt: u64,
}
