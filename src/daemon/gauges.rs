//! How the daemon is at the moment.

use std::collections::HashSet;

use super::{Daemon, WatchId};
use crate::metrics::{DEFAULT_STORE, Gauges, Tally};

impl Daemon {
    /// One pass over the watches: some 0.1 µs each if none was touched lately.
    #[expect(dead_code, reason = "nobody asks yet")]
    pub(super) fn gauges(&self) -> Gauges {
        let unreadable: Vec<_> = self.subjects.values().filter(|node| node.unreadable).collect();
        let blind: HashSet<WatchId> = unreadable.iter().flat_map(|node| &node.watches).copied().collect();
        let loaded = self.entries.iter().filter(|(_, entry)| !entry.retired);
        Gauges {
            watches: Tally::of(loaded.map(|(id, entry)| (entry.key(), &entry.watch, blind.contains(id)))),
            running_actions: self.runs.len(),
            stores: vec![(DEFAULT_STORE.to_owned(), self.store_connected)],
            nodes_unreadable: unreadable.len(),
            config_errors: self.failing_files.len(),
            ledger_usable: self.ledger.retry_at().is_none(),
            ledger_bytes: self.ledger.size(),
            log_lines_dropped: self.log.dropped_lines(),
        }
    }
}
