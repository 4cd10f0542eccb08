//! Counts the daemon's reports.

use prometheus::core::Collector;
use prometheus::{
    DEFAULT_BUCKETS, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry, Result,
};

use crate::ledger::RunOutcome;
use crate::model::StoreName;
use crate::report::{PreviousRun, Report, RunReport, ServiceReport};
use crate::service::CheckResult;

/// Buckets in seconds above Prometheus' defaults (5 ms to 10 s), because a deployment may take an hour.
const LONG_BUCKETS: [f64; 6] = [30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0];

/// Buckets in seconds below the defaults, because a start usually takes about 3 ms.
const SHORT_BUCKETS: [f64; 2] = [0.001, 0.0025];

pub(super) struct Counters {
    runs: IntCounterVec,
    run_duration: Histogram,
    start_latency: Histogram,
    discarded: IntCounter,
    superseded: IntCounter,
    held: IntCounter,
    retries: IntCounter,
    postponed: IntCounter,
    store_disconnects: IntCounterVec,
    resync_findings: IntCounter,
    config_loaded: IntCounter,
    config_failed: IntCounter,
    service_checks: IntCounterVec,
    service_changes: IntCounter,
}

impl Counters {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help)?);
        let counters = |name: &str, help: &str, label: &str| {
            register(registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
        };
        let histogram = |name: &str, help: &str, buckets: &[&[f64]]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.concat());
            register(registry, Histogram::with_opts(options)?)
        };
        let runs = counters("twitcher_runs_total", "Finished runs, by outcome.", "outcome")?;
        for name in RunOutcome::NAMES {
            runs.with_label_values(&[name]);
        }
        let loads =
            counters("twitcher_config_loads_total", "Loads of changed config files, by result.", "result")?;
        let store_disconnects =
            counters("twitcher_store_disconnects_total", "Lost connections to the store.", "store")?;
        store_disconnects.with_label_values(&[StoreName::DEFAULT]);
        let service_checks =
            counters("twitcher_service_checks_total", "Finished checks of services, by result.", "result")?;
        for result in [CheckResult::Passed, CheckResult::Failed, CheckResult::NotStarted] {
            service_checks.with_label_values(&[result.as_str()]);
        }
        Ok(Self {
            service_checks,
            service_changes: counter(
                "twitcher_service_changes_total",
                "Members of services that were announced or withdrawn.",
            )?,
            runs,
            run_duration: histogram(
                "twitcher_run_duration_seconds",
                "Duration of runs whose program was started.",
                &[DEFAULT_BUCKETS, &LONG_BUCKETS],
            )?,
            start_latency: histogram(
                "twitcher_start_latency_seconds",
                "Time until the action's program executes, from the arrival of the update, or from the end \
                 of its throttles and of the pause before a retry, whichever is later. Includes waiting \
                 for other runs.",
                &[&SHORT_BUCKETS, DEFAULT_BUCKETS, &LONG_BUCKETS],
            )?,
            discarded: counter(
                "twitcher_updates_discarded_total",
                "Updates that run mode DISCARD ignored because the action was running.",
            )?,
            superseded: counter(
                "twitcher_updates_superseded_total",
                "Updates that run mode PARALLEL never ran because newer ones replaced them.",
            )?,
            held: counter(
                "twitcher_updates_held_total",
                "Updates that a guard held (`max_data`, `guard`), each time that one was judged.",
            )?,
            retries: counter("twitcher_retries_total", "Retries scheduled for failed updates.")?,
            postponed: counter(
                "twitcher_starts_put_off_total",
                "Starts postponed because descriptors, memory or processes ran short.",
            )?,
            store_disconnects,
            resync_findings: counter(
                "twitcher_resync_findings_total",
                "Changes that a resync found although no watch had announced them. None is expected.",
            )?,
            config_loaded: loads.with_label_values(&["loaded"]),
            config_failed: loads.with_label_values(&["failed"]),
        })
    }

    pub(super) fn count(&self, report: &Report<'_>) {
        match report {
            Report::Run { what, .. } => self.count_run(what),
            Report::PreviousRun { what: PreviousRun::Ended(_), .. } => self.end(RunOutcome::Unknown),
            Report::Discarded { .. } => self.discarded.inc(),
            Report::Superseded { .. } => self.superseded.inc(),
            Report::Held { .. } => self.held.inc(),
            Report::StoreDisconnected { store, .. } => {
                let name = store.map_or(StoreName::DEFAULT, |name| name.as_str());
                self.store_disconnects.with_label_values(&[name]).inc();
            }
            Report::NodeChangeMissed { .. } => self.resync_findings.inc(),
            Report::ConfigLoaded { .. } => self.config_loaded.inc(),
            Report::ConfigFailed { .. } => self.config_failed.inc(),
            Report::Service { what: ServiceReport::Checked(result), .. } => {
                self.service_checks.with_label_values(&[result.as_str()]).inc();
            }
            Report::Service { what: ServiceReport::Announced | ServiceReport::Withdrawn, .. } => {
                self.service_changes.inc();
            }
            Report::Service { .. }
            | Report::MembersConnected { .. }
            | Report::MembersDisconnected { .. }
            | Report::Starting { .. }
            | Report::Ready { .. }
            | Report::Welcome { .. }
            | Report::Stopping { .. }
            | Report::Stopped
            | Report::PlacesTaken { .. }
            | Report::PlacesFree
            | Report::Problem { .. }
            | Report::Degraded { .. }
            | Report::Recovered { .. }
            | Report::Advice { .. }
            | Report::StoreHalfStarted { .. }
            | Report::StoreConnected { .. }
            | Report::StoreRefused { .. }
            | Report::StoreExposed { .. }
            | Report::StoreDegraded { .. }
            | Report::NodeObserved { .. }
            | Report::NodeUnreadable { .. }
            | Report::NodeReadable { .. }
            | Report::ConfigReload { .. }
            | Report::Serving { .. }
            | Report::Ordered { .. }
            | Report::Deleted { .. }
            | Report::StaysPaused { .. }
            | Report::PauseOver { .. }
            | Report::ConfigRemoved { .. }
            | Report::ConfigWarning { .. }
            | Report::WatchAdded { .. }
            | Report::WatchChanged { .. }
            | Report::WatchRemoved { .. }
            | Report::PreviousRun {
                what: PreviousRun::StillRunning { .. } | PreviousRun::Unwatchable(..),
                ..
            }
            | Report::Ledger { .. }
            | Report::GaveUp { .. }
            | Report::StaysStopped { .. } => {}
        }
    }

    fn count_run(&self, what: &RunReport<'_>) {
        match what {
            RunReport::Started { latency, .. } => self.start_latency.observe(latency.as_secs_f64()),
            RunReport::NotStarted { .. } => self.end(RunOutcome::NotStarted("")),
            RunReport::Ended { outcome, ended_by, took, is_ordered: _, runs_again: _ } => {
                self.end(RunOutcome::of(outcome, *ended_by));
                self.run_duration.observe(took.as_secs_f64());
            }
            RunReport::Lost { .. } => self.end(RunOutcome::Unknown),
            RunReport::Retry { .. } => self.retries.inc(),
            RunReport::Postponed { .. } => self.postponed.inc(),
            RunReport::Unchanged
            | RunReport::Printed(_)
            | RunReport::Notified { .. }
            | RunReport::Terminated { .. }
            | RunReport::Killed
            | RunReport::Unkillable { .. } => {}
        }
    }

    fn end(&self, outcome: RunOutcome<'_>) {
        self.runs.with_label_values(&[outcome.name()]).inc();
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
