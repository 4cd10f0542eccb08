//! What the daemon counts and measures, in the text format that Prometheus reads.
//!
//! * [`counters`] counts the daemon's reports, as each happens.
//! * [`gauges`] and [`watch_counts`] have what is true of the daemon at the moment that somebody asks.
//! * [`process`] has what the process uses of the machine.
//!
//! Each metric's name, labels and help stand where it is made, and again in docs/operations.md, which a test compares.

use prometheus::{Registry, TextEncoder};

use crate::report::{Count, Report};
use counters::Counters;
use process::Process;

mod counters;
mod family;
mod gauges;
mod process;
mod watch_counts;

pub use gauges::Gauges;
pub use watch_counts::{MAX_FAILING, WatchCounts};

/// The media type of what [`Metrics::encode`] gives.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The metrics of one daemon, shared by its threads.
pub struct Metrics {
    registry: Registry,
    counters: Counters,
    process: Process,
}

impl Metrics {
    /// # Errors
    ///
    /// Two metrics have one name, or one has a name that cannot be: a mistake in this program.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        Ok(Self { counters: Counters::register(&registry)?, registry, process: Process::this() })
    }

    /// All there is, sorted by name, with `gauges` for what the daemon knows now. Reads /proc, and takes a millisecond
    /// where thousands of descriptors are open: not for the daemon's own thread.
    pub fn encode(&self, gauges: &Gauges) -> String {
        let mut families = self.registry.gather();
        families.push(family::labelled(
            "twitcher_build_info",
            "Always 1: what runs is in the label.",
            "version",
            [(env!("CARGO_PKG_VERSION"), 1.0)],
        ));
        families.extend(gauges.families());
        families.extend(self.process.families());
        // One that has no values just now has no place in the format either.
        families.retain(|family| !family.get_metric().is_empty());
        families.sort_by(|one, other| one.name().cmp(other.name()));
        let mut text = String::new();
        // It fails for a family without a name or values only.
        let _ = TextEncoder::new().encode_utf8(&families, &mut text);
        text
    }
}

/// A report costs some atomic additions at most.
impl Count for Metrics {
    fn count(&self, report: &Report<'_>) {
        self.counters.count(report);
    }
}

#[cfg(test)]
mod tests;
