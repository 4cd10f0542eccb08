//! Passes reports to the metrics and to the log.

use std::sync::Arc;

use super::event::Report;
use super::log::Log;

/// Counts reports. The daemon's loop calls it for every report, so it must not block.
pub trait Count: Send + Sync {
    fn count(&self, report: &Report<'_>);
}

/// Counts every report, and logs those of the log's level. A clone is cheap, and no call blocks.
#[derive(Clone)]
pub struct Reporter {
    log: Log,
    counts: Arc<dyn Count>,
}

impl Reporter {
    pub fn new(log: Log, counts: Arc<dyn Count>) -> Self {
        Self { log, counts }
    }

    pub fn report(&self, report: &Report<'_>) {
        self.counts.count(report);
        self.log.report(report);
    }

    /// See [`Log::dropped_lines`].
    pub fn dropped_lines(&self) -> u64 {
        self.log.dropped_lines()
    }
}
