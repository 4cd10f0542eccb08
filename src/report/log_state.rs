//! What the threads that log share with the one that writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::degraded::{Degradations, Degraded};
use crate::model::LogFormat;

/// The part that is degraded while lines cannot be written.
pub const PART: &str = "log";

/// A write that takes longer is no busy disk any more.
const STALL_TIME: Duration = Duration::from_secs(5);

/// The state of the log.
pub struct LogState {
    /// The target's name.
    pub target: String,
    pub format: LogFormat,
    pub degradations: Degradations,
    /// How many lines were dropped since the start.
    dropped: AtomicU64,
    /// How many lines were reported, and are neither written nor dropped yet.
    pending: AtomicU64,
    /// How many lines were dropped for want of room, and no line tells of them yet.
    crowded_out: AtomicU64,
    /// When the write began that is under way.
    writing_since: Mutex<Option<SystemTime>>,
}

impl LogState {
    pub fn new(target: String, format: LogFormat) -> Self {
        Self {
            target,
            format,
            degradations: Degradations::default(),
            dropped: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            crowded_out: AtomicU64::new(0),
            writing_since: Mutex::new(None),
        }
    }

    /// Counts a line that is lost.
    pub fn count_dropped(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    /// Counts a line that is to be written.
    pub fn add_pending(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that lines are written, or counted as dropped.
    pub fn settle(&self, lines: u64) {
        // Those that were given up at the daemon's end may be written after all.
        let _ = self
            .pending
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pending| pending.checked_sub(lines));
    }

    /// Drops all lines that are not written yet. Returns how many they are.
    pub fn give_up_pending(&self) -> u64 {
        let lines = self.pending.swap(0, Ordering::Relaxed);
        self.count_dropped(lines);
        lines
    }

    /// Counts a line that is lost because the writing thread has too many lines to write.
    pub fn count_crowded_out(&self) {
        self.count_dropped(1);
        self.crowded_out.fetch_add(1, Ordering::Relaxed);
    }

    pub fn take_crowded_out(&self) -> u64 {
        self.crowded_out.swap(0, Ordering::Relaxed)
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Calls `write`, which may block for ever.
    pub fn writing<T>(&self, write: impl FnOnce() -> T) -> T {
        *self.writing_since() = Some(SystemTime::now());
        let done = write();
        *self.writing_since() = None;
        done
    }

    /// All that does not work at the moment, including a log that takes no lines.
    pub fn degraded(&self) -> Vec<Degraded> {
        let mut all = self.degradations.all();
        let since = *self.writing_since();
        let stalled = since.filter(|since| since.elapsed().is_ok_and(|passed| passed > STALL_TIME));
        if let Some(since) = stalled.filter(|_| all.iter().all(|degraded| degraded.part != PART)) {
            let what = format!(
                "{} takes no lines: its disk hangs, or its reader does not read; {} lines dropped so far",
                self.target,
                self.dropped()
            );
            all.push(Degraded { part: PART.into(), what, since });
        }
        all
    }

    fn writing_since(&self) -> MutexGuard<'_, Option<SystemTime>> {
        self.writing_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
