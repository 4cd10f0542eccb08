//! The limits of a ledger.

use std::time::Duration;

use super::growth::MAX_LOG_BYTES;
use super::retention::Retention;

/// The pause between two attempts to open a lost ledger. A full disk rarely gets space sooner, and an attempt
/// may cost the daemon [`BUSY_TIMEOUT`](super::database::BUSY_TIMEOUT).
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// How long a daemon that starts waits for a ledger that cannot be read. Another process may have it locked
/// for a moment.
const START_TIMEOUT: Duration = Duration::from_secs(3);

/// The limits of a ledger. Only tests change the defaults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The pause between two attempts to open a lost ledger, unless it is flapping.
    pub pause: Duration,
    /// How long [`Ledger::open`](super::Ledger::open) waits for a ledger that cannot be read.
    pub start_timeout: Duration,
    /// The size of the write-ahead log from which on no output is recorded.
    pub log_bytes: u64,
    pub retention: Retention,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pause: RETRY_PAUSE,
            start_timeout: START_TIMEOUT,
            log_bytes: MAX_LOG_BYTES,
            retention: Retention::default(),
        }
    }
}
