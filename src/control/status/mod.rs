//! What operators see: plain data, which is the JSON of the control socket and of `--json`.
//!
//! The JSON is stable: fields may be added, but none goes or changes its meaning. Times are RFC 3339 in UTC,
//! and durations are seconds. A value that is unknown or does not apply is `null`.
//!
//! * [`daemon`] is the status of the daemon as a whole, [`watch`] that of each watch.
//! * [`health`] finds what is wrong with them.

mod daemon;
mod health;
mod watch;

pub use daemon::{ConfigError, DaemonStatus, LedgerStatus, StoreStatus};
pub use health::problems;
pub use watch::{RunStatus, WatchStatus};
