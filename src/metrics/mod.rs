//! What the daemon counts and measures, in Prometheus' text format.
//!
//! * [`registry`] holds the metrics and encodes them.
//! * [`counters`] counts the daemon's reports as they are made.
//! * [`gauges`] and [`watch_counts`] describe the daemon at the moment of a request, [`process`] its process;
//!   [`family`] makes such metrics.
//!
//! The name, labels and help of each metric are written where it is made, and again in docs/operations.md; a
//! test compares the two.

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
