//! The cache keeps the last data of each node that is followed for its data, in `cache.db` in the state
//! directory, so that `twitcher get --cached` has an answer while the store is away.
//!
//! The loop only notes what stores report, and never waits for the disk: a thread of its own writes the notes
//! and answers questions. A note that is not written yet is part of the answer. The thread copies contents as
//! they are; nothing here looks at them.
//!
//! What is known of a content is never more than was seen. Each content belongs to the connection in which
//! the store reported it, and was current until that connection ended ([`notes::Until`]). While a connection
//! lasts, the thread records from time to time that it does ([`shared::BEAT`]), so that the next daemon knows
//! until when this one was connected, even if it is killed.
//!
//! The daemon works without the cache. Damage begins it anew, and a full disk is reported once; meanwhile the
//! notes wait, within [`notes::MAX_HELD_BYTES`].
//!
//! * [`handle`] is what the loop and the control socket use.
//! * [`notes`] holds what is to be written, [`shared`] is where the thread fetches it, and [`worker`] is the
//!   thread.
//! * [`database`] opens the file, [`rows`] defines the SQL statements, and [`trouble`] their errors.
//! * [`answer`] puts rows and notes together.

mod answer;
mod database;
mod handle;
mod notes;
mod rows;
mod shared;
#[cfg(test)]
mod tests;
mod trouble;
mod worker;

pub use answer::{Answer, CachedNode};
pub use handle::{Cache, CacheReader, StoreCache};
