//! The config directory, followed as it changes.
//!
//! A thread of its own, named "config": evaluation blocks for up to 2 s a file, and user databases for longer.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::catalog::{Catalog, MAX_SETTLE_TIME};
use super::evaluate::Evaluator;
use super::hints::Hints;
use crate::model::{StoreNames, WatchSpec};
use crate::trust::Trust;

/// What the loader tells the daemon.
#[derive(Clone, Debug)]
pub enum FileChange {
    /// All watches of the file, changed or not. `file` is the path below the config directory. A warning is given
    /// once, until it ceases to hold.
    Loaded {
        file: String,
        watches: Vec<WatchSpec>,
        warnings: Vec<String>,
    },
    /// The file cannot be loaded: its last good watches stay. `error` starts with the path. Given once per error.
    Failed {
        file: String,
        error: String,
    },
    Removed {
        file: String,
    },
    /// What lies at `path`, a directory or what may be one, cannot be read or is not trusted: of what is there nothing is
    /// loaded, and what it registered before stays. `path` is below the config directory and ends with a slash, `./` is
    /// the config directory itself. Given once per error.
    Inaccessible {
        path: String,
        error: String,
    },
    /// That no longer holds.
    Accessible {
        path: String,
    },
    /// About a directory; once, until it ceases to hold.
    Warning(String),
    /// Changes cannot be followed as they should; once per series.
    Degraded(String),
    /// Every file that was there at the start has been given. Once.
    FirstScanDone,
    /// So many calls of [`Loader::rescan`] are answered, the oldest first: what was there when they were made has been
    /// given.
    Rescanned {
        requests: usize,
    },
}

/// Editors write a file in several steps, and packages many files: quiet for so long, it is over.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// But no longer than this, or a busy directory would never be looked at. With the catalog's settling
/// (0.6 s at most) it stays within the second that the contract gives.
const MAX_DEBOUNCE: Duration = Duration::from_millis(300);

/// Hints can be lost.
const RESCAN_INTERVAL: Duration = Duration::from_secs(60);

/// Where hints cannot be had, scans keep the contract's second alone.
const POLL_INTERVAL: Duration = Duration::from_millis(700);

/// Why the thread wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something may have changed.
    Hint,
    /// Somebody asks for a full look: also try again what failed for reasons outside the files.
    Rescan,
    Stop,
}

/// The running loader; it ends when this is dropped.
#[derive(Debug)]
pub struct Loader {
    wake: Sender<Wake>,
}

impl Loader {
    /// Scans now, and tries again what failed for an unknown user or for time. [`FileChange::Rescanned`] answers it.
    pub fn rescan(&self) {
        // The thread ends before this only if `sink` panicked, which the daemon sees elsewhere.
        let _ = self.wake.send(Wake::Rescan);
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        let _ = self.wake.send(Wake::Stop);
    }
}

/// Loads all of `root` that is to be trusted, whose watches may name these `stores`, and follows it. `sink` is called on the loader's thread
/// and may block.
///
/// # Errors
///
/// `root` cannot be read now. Later on, that removes nothing and is only a [`FileChange::Inaccessible`].
pub fn start(
    root: PathBuf,
    trust: Trust,
    stores: StoreNames,
    sink: impl Fn(FileChange) + Send + 'static,
) -> io::Result<Loader> {
    start_with(root, trust, stores, "/proc/self/exe".into(), sink)
}

/// As [`start`], with `program evaluate` as the evaluator.
pub fn start_with(
    root: PathBuf,
    trust: Trust,
    stores: StoreNames,
    program: PathBuf,
    sink: impl Fn(FileChange) + Send + 'static,
) -> io::Result<Loader> {
    let root = std::path::absolute(root)?;
    std::fs::read_dir(&root)?;
    let (wake, woken) = mpsc::channel();
    let to_self = wake.clone();
    thread::Builder::new().name("config".into()).spawn(move || {
        let hints = Hints::new(&root, to_self);
        let trouble = hints.as_ref().err().map(|error| format!("cannot follow changes, so polling: {error}"));
        let hints = hints.unwrap_or_else(|_| Hints::none(&root));
        let mut catalog = Catalog::new(root, trust, stores, Evaluator::new(program), hints, Box::new(sink));
        if let Some(trouble) = trouble {
            catalog.hints_failed(trouble);
        }
        follow(&mut catalog, &woken);
    })?;
    Ok(Loader { wake })
}

/// The calls of [`Loader::rescan`] that are not answered yet.
#[derive(Default)]
struct Requests {
    open: usize,
    /// When the look that they asked for was over.
    looked: Option<Instant>,
}

impl Requests {
    fn add(&mut self, requests: usize) {
        self.open += requests;
        self.looked = None;
    }

    /// Returns how many, if any, are answered by a look that began then; `unsettled` if it left something to be seen
    /// twice. What was in sight at the look that they asked for is taken as it is after [`MAX_SETTLE_TIME`], whatever has
    /// come since.
    fn answered(&mut self, began: Instant, unsettled: bool) -> Option<usize> {
        let looked = *self.looked.get_or_insert_with(Instant::now);
        if self.open == 0 || unsettled && began.saturating_duration_since(looked) < MAX_SETTLE_TIME {
            return None;
        }
        Some(std::mem::take(&mut self.open))
    }
}

fn follow(catalog: &mut Catalog, woken: &Receiver<Wake>) {
    let mut full = true;
    let mut next_full = Instant::now();
    let mut requests = Requests::default();
    loop {
        let began = Instant::now();
        let again = catalog.pass(full);
        if full {
            next_full = Instant::now() + RESCAN_INTERVAL;
        }
        if let Some(requests) = requests.answered(began, again.is_some()) {
            catalog.emit(FileChange::Rescanned { requests });
        }
        let until_full = next_full.saturating_duration_since(Instant::now());
        let idle = if catalog.has_hints() { until_full } else { until_full.min(POLL_INTERVAL) };
        let asked = match woken.recv_timeout(again.unwrap_or(idle).min(idle)) {
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Wake::Rescan) => true,
            Ok(Wake::Hint) => match debounce(woken) {
                Some(rescan) => rescan,
                None => return,
            },
            Err(RecvTimeoutError::Timeout) => false,
        };
        if asked {
            // One look serves all who asked before it.
            let more: Vec<_> = woken.try_iter().collect();
            if more.contains(&Wake::Stop) {
                return;
            }
            requests.add(1 + more.iter().filter(|wake| **wake == Wake::Rescan).count());
        }
        full = asked || Instant::now() >= next_full;
    }
}

/// Waits until the hints cease. Returns whether a full scan is asked for, which ends the waiting; `None`: stop.
fn debounce(woken: &Receiver<Wake>) -> Option<bool> {
    let limit = Instant::now() + MAX_DEBOUNCE;
    loop {
        match woken.recv_timeout(DEBOUNCE.min(limit.saturating_duration_since(Instant::now()))) {
            Ok(Wake::Hint) => {}
            Ok(Wake::Rescan) => return Some(true),
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => return Some(false),
        }
        if Instant::now() >= limit {
            return Some(false);
        }
    }
}
