//! Where reports go.

use std::sync::Arc;

use super::{Log, Report};

/// Counts reports. It is called for every report, and must not block.
pub trait Count: Send + Sync {
    fn count(&self, report: &Report<'_>);
}

/// Counts every report, and logs those that the log wants. Cheap to clone; it never blocks.
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

    /// As [`Log::dropped_lines`].
    pub fn dropped_lines(&self) -> u64 {
        self.log.dropped_lines()
    }
}
