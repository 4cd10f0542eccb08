//! A daemon that ends by itself: when all that was pending has run, or, in a rehearsal, is known.

use tokio::time::Instant;

use super::{Daemon, Duration, PendingStart};
use crate::control::status::{DaemonStatus, WatchStatus};
use crate::model::RunOnLoad;
use crate::watch::{Condition, Event};

/// Until when the daemon works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// It is told to stop.
    Stopped,
    /// Nothing is pending any more. What a store holds that is away is waited for so long.
    Idle { timeout: Duration },
    /// It is known what would be started. Nothing is.
    Planned { timeout: Duration },
}

/// How often we look whether all is done: no wait that people notice, and no work to speak of for ten thousand watches.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A run that was not started, because this is a rehearsal.
#[derive(Clone, Debug)]
pub struct PlannedRun {
    /// As the log names it.
    pub watch: String,
    pub event: &'static str,
    pub version: i64,
    pub why: &'static str,
}

/// How things stood when the daemon ended.
#[derive(Clone, Debug)]
pub struct FinalStatus {
    pub daemon: DaemonStatus,
    pub watches: Vec<WatchStatus>,
    pub planned: Vec<PlannedRun>,
}

fn why(event: Event, run_on_load: RunOnLoad) -> &'static str {
    match (event, run_on_load) {
        (Event::Load, RunOnLoad::Always) => "run_on_load is true",
        (Event::Load, RunOnLoad::Changed) => "it was not applied in this definition",
        (Event::Load, RunOnLoad::Never) => "it was interrupted, or nobody knows whether it ran",
        (Event::Created, _) => "the node was created since, or its run was interrupted",
        (Event::Changed, _) => "the node changed since, or its run was interrupted",
        (Event::Children, _) => "the node's children changed since, or its run was interrupted",
        (Event::Trigger, _) => "an operator asked for it",
    }
}

impl Daemon {
    pub(super) fn is_dry_run(&self) -> bool {
        matches!(self.until, Until::Planned { .. })
    }

    pub(super) fn plan_runs(&mut self, starting: Vec<PendingStart>) {
        for PendingStart { watch, update, .. } in starting {
            let Some(spec) = self.entries.get(&watch).and_then(|entry| entry.loaded()) else { continue };
            self.planned.push(PlannedRun {
                watch: spec.id.to_string(),
                event: update.event.as_str(),
                version: update.version.number,
                why: why(update.event, spec.policy.run_on_load),
            });
        }
    }

    /// Whether the daemon has done what it was started for.
    pub(super) fn is_done(&mut self) -> bool {
        let (timeout, is_dry_run) = match self.until {
            Until::Stopped => return false,
            Until::Idle { timeout } => (timeout, false),
            Until::Planned { timeout } => (timeout, true),
        };
        if !self.scan.is_done() || !self.runs.is_empty() {
            return false;
        }
        let waits_since = *self.scanned_at.get_or_insert_with(Instant::now);
        let given_up = waits_since.elapsed() >= timeout;
        self.entries.values().all(|entry| {
            let Some(spec) = entry.loaded() else { return true };
            let unreadable = self.unreadable(spec).is_some();
            if entry.watch.awaits_observation() && !unreadable {
                return given_up && !self.stores[&spec.store].is_connected();
            }
            match entry.watch.condition(unreadable) {
                Condition::Running | Condition::Retrying | Condition::Waiting => is_dry_run,
                Condition::Unknown
                | Condition::Paused
                | Condition::Stopped
                | Condition::Held
                | Condition::Failed
                | Condition::Unreadable
                | Condition::Absent
                | Condition::Idle => true,
            }
        })
    }

    /// How things stand; `None` if it was to work until it is stopped, as nobody asks then.
    pub(super) fn final_status(&mut self) -> Option<FinalStatus> {
        if self.until == Until::Stopped {
            return None;
        }
        let watches = self.entries.values().filter_map(|entry| self.watch_status(entry)).collect();
        Some(FinalStatus { daemon: self.status(), watches, planned: std::mem::take(&mut self.planned) })
    }
}
