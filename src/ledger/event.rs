//! Events of the ledger itself.

/// A change in the state of the ledger, for the log and for the daemon's next steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerEvent {
    /// The file was damaged or taken away, and a new one was created. The rest of the old one is now at
    /// `path`; `None` if nothing was left.
    Quarantined { path: Option<String>, reason: String },
    /// The ledger cannot be used. The daemon goes on without it, and tries again.
    Lost { reason: String },
    /// The ledger can be used again.
    Back,
    /// The write-ahead log is so large that the output of runs is not recorded any more.
    Oversized { reason: String },
    /// The write-ahead log is small again, and the output of runs is recorded.
    Shrunk,
}
