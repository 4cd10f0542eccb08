//! What a process does, which decides what it is left.

/// The work of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Talks to servers of a store.
    NetworkStore,
    /// Reads a directory that is a store.
    DirectoryStore,
    /// Keeps files in such a directory.
    DirectoryKeeper,
    /// Reads requests, computes, and writes replies, on descriptors that are open.
    Computing,
}
