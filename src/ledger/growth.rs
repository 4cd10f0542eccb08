//! Limits the write-ahead log. It cannot be emptied while another process reads the ledger in one long
//! transaction, so whoever may read the ledger could fill the disk.

/// From this size on, the output of runs is not recorded any more: it is most of what is written. What the
/// next daemon has to know still is: which runs started and ended, and the state of the watches.
pub(super) const MAX_LOG_BYTES: u64 = 64 * 1024 * 1024;

/// How large the log has become.
#[derive(Debug)]
pub(super) struct Growth {
    max: u64,
    log_bytes: u64,
    is_oversized: bool,
    /// How many runs have no output in the ledger for that reason.
    pub outputs_dropped: u64,
}

impl Growth {
    pub(super) fn new(max: u64) -> Self {
        Self { max, log_bytes: 0, is_oversized: false, outputs_dropped: 0 }
    }

    /// Takes the size of the log. Returns whether [`Self::is_oversized`] changed.
    pub(super) fn measured(&mut self, log_bytes: u64) -> bool {
        self.log_bytes = log_bytes;
        let was = self.is_oversized;
        // Every log gets much smaller once nobody reads it, so a small step back means nothing.
        self.is_oversized = log_bytes >= self.max || (was && log_bytes >= self.max / 4);
        was != self.is_oversized
    }

    /// Whether the output of runs is not recorded.
    pub(super) fn is_oversized(&self) -> bool {
        self.is_oversized
    }

    /// What is wrong; `None` if nothing is.
    pub(super) fn problem(&self) -> Option<String> {
        self.is_oversized.then(|| {
            format!(
                "its log (-wal) has {} MiB, because another process keeps a transaction open; the output of \
                 actions is not recorded until that process ends (`fuser` names it)",
                self.log_bytes >> 20
            )
        })
    }
}
