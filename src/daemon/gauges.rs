//! How the daemon is at the moment.

use std::collections::HashSet;

use super::{Daemon, WatchId};
use crate::metrics::{DEFAULT_STORE, Gauges, Tally};

impl Daemon {
    /// One pass over the watches.
    pub(super) fn gauges(&self) -> Gauges {
        let unreadable = || self.subjects.values().filter(|subscribers| subscribers.unreadable.is_some());
        let blind: HashSet<WatchId> = unreadable().flat_map(|node| &node.watches).copied().collect();
        let loaded = self.entries.iter().filter(|(_, entry)| !entry.retired);
        Gauges {
            watches: Tally::of(loaded.map(|(id, entry)| (entry.key(), &entry.watch, blind.contains(id)))),
            running_actions: self.runs.len(),
            stores: vec![(DEFAULT_STORE.to_owned(), self.store_connected)],
            nodes_unreadable: unreadable().count(),
            config_errors: self.failing_files.len(),
            ledger_usable: self.ledger.retry_at().is_none(),
            ledger_bytes: self.ledger.size(),
            log_lines_dropped: self.log.dropped_lines(),
        }
    }
}
