//! How much may be assembled, and how long it is waited for.

use std::time::Duration;

/// The most bytes of data in one tree, which the daemon keeps in memory: 64 times the largest node of a
/// ZooKeeper.
pub(in crate::store) const MAX_BYTES: u64 = 64 << 20;

/// How long a tree must be quiet before its state is sent. All reports on one transaction arrive within a
/// fraction of this time, and starting an action takes about as long.
pub(in crate::store) const DEBOUNCE: Duration = Duration::from_millis(2);

/// The longest wait for a tree that is never quiet. A burst of a thousand changes then sends ten states a
/// second instead of a thousand: assembling the largest tree takes a hundredth of this time.
pub(in crate::store) const MAX_DEBOUNCE: Duration = Duration::from_millis(100);

/// The longest wait for a tree in which some node is always being read. After it, the nodes of one state may
/// have been true at different moments.
pub(super) const COHERENCE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a tree is left alone that could not be put together for want of memory.
pub(super) const MEMORY_RETRY: Duration = Duration::from_secs(1);

/// How long until the nodes of a tree are read again that did not fit into the memory.
pub(super) const STARVED_RETRY: Duration = Duration::from_secs(10);
