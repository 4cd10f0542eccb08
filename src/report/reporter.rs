//! Where reports go.

use std::sync::Arc;

use super::{Log, Report};
use crate::metrics::Metrics;

/// Counts every report, and logs those that the log wants. Cheap to clone; it never blocks.
#[derive(Clone)]
pub struct Reporter {
    log: Log,
    metrics: Arc<Metrics>,
}

impl Reporter {
    pub fn new(log: Log, metrics: Arc<Metrics>) -> Self {
        Self { log, metrics }
    }

    pub fn report(&self, report: &Report<'_>) {
        self.metrics.count(report);
        self.log.report(report);
    }

    /// As [`Log::dropped_lines`].
    pub fn dropped_lines(&self) -> u64 {
        self.log.dropped_lines()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Gauges;
    use crate::report::{Level, log::Target};

    #[test]
    fn a_report_that_is_not_logged_is_counted_all_the_same() {
        let mut path = tempfile::NamedTempFile::new().unwrap();
        let target = Target::File(path.as_file_mut().try_clone().unwrap());
        let (log, writer) = Log::start(target, Level::Error).unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let reporter = Reporter::new(log, Arc::clone(&metrics));
        reporter.report(&Report::StoreDisconnected { store: None, reason: "gone" });
        reporter.report(&Report::ConfigFailed { error: "a.twc: wrong" });
        drop(reporter);
        writer.finish();
        let text = metrics.encode(&Gauges::default());
        assert!(text.contains("twitcher_store_disconnects_total{store=\"default\"} 1\n"), "{text}");
        assert!(text.contains("twitcher_config_loads_total{result=\"failed\"} 1\n"), "{text}");
        let logged = std::fs::read_to_string(path.path()).unwrap();
        assert!(logged.contains("a.twc: wrong") && !logged.contains("gone"), "{logged}");
    }
}
