//! The metrics of the daemon, in Prometheus' text format.
//!
//! * [`registry`] holds the metrics and encodes them.
//! * [`counters`] counts the daemon's reports.
//! * [`gauges`] and [`watch_counts`] describe the daemon at the moment of a request, [`process`] its process;
//!   [`family`] makes such metrics.
//!
//! docs/operations.md repeats the name, labels and help of each metric; a test compares them with the code.

mod counters;
mod family;
mod gauges;
mod process;
mod registry;
#[cfg(test)]
mod tests;
mod watch_counts;

pub use gauges::Gauges;
pub use registry::{CONTENT_TYPE, Metrics};
pub use watch_counts::{MAX_FAILING, WatchCounts};
