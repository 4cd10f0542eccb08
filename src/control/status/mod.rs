//! The status of the daemon and its watches: the JSON of the control socket and of `--json`.
//!
//! The JSON is stable: fields may be added, but are never removed and never change their meaning. Times are
//! RFC 3339 in UTC, and durations are seconds. An unknown value, or one that does not apply, is `null`.
//!
//! * [`daemon`] is the status of the daemon as a whole, [`watch`] that of each watch, and [`service`] that of
//!   each service.
//! * [`health`] finds their problems.

mod daemon;
mod health;
mod service;
mod watch;

pub use daemon::{ConfigError, DaemonStatus, DegradedPart, LedgerStatus, StoreStatus};
pub use health::problems;
pub use service::{STORE_AWAY, ServiceStatus};
pub use watch::{PauseStatus, RunStatus, WatchStatus};
