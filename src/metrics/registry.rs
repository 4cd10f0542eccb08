//! Registers all metrics of a daemon, and encodes them.

use prometheus::{Registry, TextEncoder};

use super::counters::Counters;
use super::family;
use super::gauges::Gauges;
use super::process::Process;
use crate::report::{Count, Report};

/// The media type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The metrics of one daemon, shared by its threads.
pub struct Metrics {
    registry: Registry,
    counters: Counters,
    process: Process,
}

impl Metrics {
    /// Makes and registers all metrics. Fails only by a bug: two metrics have the same name, or a name is
    /// invalid.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        Ok(Self { counters: Counters::register(&registry)?, registry, process: Process::this() })
    }

    /// Returns all metrics as text, sorted by name. `gauges` is the daemon's present state.
    ///
    /// The daemon's loop must not call this: it reads /proc, which takes a millisecond if thousands of
    /// descriptors are open.
    pub fn encode(&self, gauges: &Gauges) -> String {
        let mut families = self.registry.gather();
        families.push(family::labelled(
            "twitcher_build_info",
            "Always 1; `version` is the running version.",
            "version",
            [(env!("CARGO_PKG_VERSION"), 1.0)],
        ));
        families.extend(gauges.families());
        families.extend(self.process.families());
        // The format allows no metric without values.
        families.retain(|family| !family.get_metric().is_empty());
        families.sort_by(|one, other| one.name().cmp(other.name()));
        let mut text = String::new();
        // This fails only for a metric without a name or without values.
        let _ = TextEncoder::new().encode_utf8(&families, &mut text);
        text
    }
}

/// Counting a report takes a few atomic additions.
impl Count for Metrics {
    fn count(&self, report: &Report<'_>) {
        self.counters.count(report);
    }
}
