//! Loads the config directory and follows its changes.
//!
//! This runs on a thread of its own, named "config", because an evaluation can block it for 2 s, and a user
//! database for longer.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::catalog::{Catalog, MAX_SETTLE_TIME};
use super::evaluate::Evaluator;
pub use super::file_change::FileChange;
use super::hints::Hints;
use crate::model::StoreNames;
use crate::trust::Trust;

/// The time without hints after which the directory is scanned. Editors write a file in several steps, and
/// packages write many files.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// The longest wait for a time without hints, so that a busy directory is scanned as well. With the time that
/// the catalog lets files settle (0.6 s at most), changes take effect within the second that the contract
/// gives.
const MAX_DEBOUNCE: Duration = Duration::from_millis(300);

/// The time between full scans, because hints can be lost.
const RESCAN_INTERVAL: Duration = Duration::from_secs(60);

/// The time between scans without hints. It keeps the second of the contract.
const POLL_INTERVAL: Duration = Duration::from_millis(700);

/// Why the thread wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// Something may have changed.
    Hint,
    /// Somebody asks for a full scan, which also tries again what failed for reasons outside the files.
    Rescan,
    Stop,
}

/// The running loader. It ends when this is dropped.
#[derive(Debug)]
pub struct Loader {
    wake: Sender<Wake>,
}

impl Loader {
    /// Scans now, and tries again what failed for an unknown user or for time. [`FileChange::Rescanned`]
    /// reports that this is done.
    pub fn rescan(&self) {
        // The thread has ended only if `sink` panicked, which the daemon notices elsewhere.
        let _ = self.wake.send(Wake::Rescan);
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        let _ = self.wake.send(Wake::Stop);
    }
}

/// Starts the loader: loads the files below `root` that are trusted, and follows their changes. Watches may
/// name `stores`. `sink` is called on the loader's thread and may block.
///
/// # Errors
///
/// `root` cannot be read. If that happens later, it is a [`FileChange::Inaccessible`] and removes nothing.
pub fn start(
    root: PathBuf,
    trust: Trust,
    stores: StoreNames,
    sink: impl Fn(FileChange) + Send + 'static,
) -> io::Result<Loader> {
    start_with(root, trust, stores, "/proc/self/exe".into(), sink)
}

/// Starts the loader with `program evaluate` as the evaluator; see [`start`].
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
        let hints = Hints::new(&root, move || {
            // An error means that the loader has ended.
            let _ = to_self.send(Wake::Hint);
        });
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

/// The calls of [`Loader::rescan`] that are not reported as done yet.
#[derive(Default)]
struct Requests {
    open: usize,
    /// The end of the first scan after them.
    scanned: Option<Instant>,
}

impl Requests {
    fn add(&mut self, requests: usize) {
        self.open += requests;
        self.scanned = None;
    }

    /// Returns the number of calls, if any, that are done after a scan that began at `began`. A scan that
    /// left files `unsettled` ends none, unless [`MAX_SETTLE_TIME`] has passed since the first scan: by then,
    /// every file that this one found was taken, even if it still changes.
    fn done(&mut self, began: Instant, unsettled: bool) -> Option<usize> {
        let scanned = *self.scanned.get_or_insert_with(Instant::now);
        if self.open == 0 || unsettled && began.saturating_duration_since(scanned) < MAX_SETTLE_TIME {
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
        if let Some(requests) = requests.done(began, again.is_some()) {
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
            // One scan is enough for all calls before it.
            let more: Vec<_> = woken.try_iter().collect();
            if more.contains(&Wake::Stop) {
                return;
            }
            requests.add(1 + more.iter().filter(|wake| **wake == Wake::Rescan).count());
        }
        full = asked || Instant::now() >= next_full;
    }
}

/// Waits until the hints cease. Returns whether a call of [`Loader::rescan`] ended the wait; `None` means
/// stop.
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
