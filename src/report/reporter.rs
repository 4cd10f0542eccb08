//! Passes reports to the metrics and to the log.

use std::sync::Arc;

use super::degraded::{Degraded, Part};
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

    /// Reports that a part of the daemon does not work; see [`super::degraded`]. `what` says why and has the
    /// remedy. Logged only if the part worked before.
    pub fn degraded(&self, part: impl Into<Part>, what: impl Into<String>) {
        let (part, what) = (part.into(), what.into());
        if self.log.degradations().add(part.clone(), what.clone()) {
            self.report(&Report::Degraded { part: &part, what: &what });
        }
    }

    /// Reports that a part works. Logged only if it was reported as degraded before.
    pub fn recovered(&self, part: &str) {
        self.recovered_as(part, "works again");
    }

    /// Like [`Self::recovered`], for what is well again but did not fail: `how` follows the name of the part.
    pub fn recovered_as(&self, part: &str, how: &str) {
        if let Some(Degraded { since, .. }) = self.log.degradations().remove(part) {
            let downtime = since.elapsed().unwrap_or_default();
            self.report(&Report::Recovered { part, how, downtime });
        }
    }

    /// What does not work at the moment.
    pub fn all_degraded(&self) -> Vec<Degraded> {
        self.log.degraded()
    }

    /// See [`Log::dropped_lines`].
    pub fn dropped_lines(&self) -> u64 {
        self.log.dropped_lines()
    }
}
