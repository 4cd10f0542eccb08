//! The resource usage of the daemon's process, under the names that all Prometheus clients use.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Pid;
use prometheus::proto::MetricFamily;

use super::family::{counter, gauge};
use crate::action::proc;

/// Reads the metrics of this process.
pub(super) struct Process {
    /// When the process was started, since the epoch. Computed only once, because after a change of the clock
    /// the result would look like a restart.
    started: Duration,
}

impl Process {
    pub(super) fn this() -> Self {
        let age = proc::id_of(Pid::this()).map(proc::age).unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: now.saturating_sub(age) }
    }

    /// Returns the metrics of the process, except those that cannot be read.
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let start = gauge(
            "process_start_time_seconds",
            "When the process was started, since the Unix epoch.",
            self.started.as_secs_f64(),
        );
        let mut families = vec![start];
        if let Ok(usage) = proc::usage() {
            families.extend([
                counter(
                    "process_cpu_seconds_total",
                    "Processor time, user and system.",
                    usage.processor.as_secs_f64(),
                ),
                gauge("process_resident_memory_bytes", "Resident memory.", usage.resident as f64),
                gauge("process_virtual_memory_bytes", "Virtual memory.", usage.virtual_memory as f64),
                gauge("process_threads", "Threads.", usage.threads as f64),
            ]);
        }
        if let Ok(open) = proc::open_descriptors() {
            families.push(gauge("process_open_fds", "Open descriptors.", open as f64));
        }
        if let Ok((soft_limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            families.push(gauge("process_max_fds", "Limit on open descriptors.", soft_limit as f64));
        }
        families
    }
}
