//! Loads the config directory and follows its changes.
//!
//! The loader has its own thread, "config", because an evaluation can block for 2 s, and a user database for
//! longer.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::catalog::{Catalog, MAX_SETTLE_TIME};
use super::evaluate::Evaluator;
pub use super::file_change::FileChange;
use super::hints::Hints;
use super::resolve::Accounts;
use crate::model::StoreNames;
use crate::sys::kernel::{THREAD_CALLS, cannot};
use crate::trust::Trust;

/// The directory is scanned when no hint has come for this time, because editors write a file in several
/// steps, and packages write many files.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// A busy directory is scanned after this time, even if hints keep coming. Files settle for 0.6 s at most, so
/// changes take effect within the second that the contract promises.
const MAX_DEBOUNCE: Duration = Duration::from_millis(300);

/// The shortest time between full scans. Each may evaluate a file that takes 2 s.
const MIN_FULL_INTERVAL: Duration = Duration::from_secs(60);

/// The time between scans if hints fail. It keeps the second that the contract promises.
const POLL_INTERVAL: Duration = Duration::from_millis(700);

/// The time between scans while a part of the directory cannot be read.
const PARTIAL_INTERVAL: Duration = Duration::from_secs(5);

/// The reason why the thread wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// Something may have changed.
    Hint,
    /// A full scan is due, which also retries files with temporary errors.
    Rescan,
    Stop,
}

/// A handle to the running loader. Dropping it ends the loader.
#[derive(Debug)]
pub struct Loader {
    wake: Sender<Wake>,
}

impl Loader {
    /// Scans now, and retries files with temporary errors, such as an unknown user. [`FileChange::Rescanned`]
    /// reports the end.
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

/// Starts the loader, which loads the trusted files below `root` and follows their changes. Watches may name
/// `stores`. Scans come every `rescan_interval` even without a hint, because hints can be lost. `sink` is
/// called on the loader's thread and may block.
///
/// # Errors
///
/// `root` cannot be read. Later, the same error is a [`FileChange::Inaccessible`], and removes no watch.
pub fn start(
    root: PathBuf,
    trust: Trust,
    stores: StoreNames,
    rescan_interval: Duration,
    accounts: fn() -> Accounts,
    sink: impl Fn(FileChange) + Send + 'static,
) -> io::Result<Loader> {
    start_evaluating(root, (trust, stores, accounts), rescan_interval, "/proc/self/exe".into(), sink)
}

/// Starts the loader with `program evaluate` as the evaluator; see [`start`].
pub fn start_with(
    root: PathBuf,
    trust: Trust,
    stores: StoreNames,
    rescan_interval: Duration,
    program: PathBuf,
    sink: impl Fn(FileChange) + Send + 'static,
) -> io::Result<Loader> {
    start_evaluating(root, (trust, stores, Accounts::default), rescan_interval, program, sink)
}

fn start_evaluating(
    root: PathBuf,
    (trust, stores, accounts): (Trust, StoreNames, fn() -> Accounts),
    rescan_interval: Duration,
    program: PathBuf,
    sink: impl Fn(FileChange) + Send + 'static,
) -> io::Result<Loader> {
    let root = std::path::absolute(root)?;
    std::fs::read_dir(&root).map_err(|error| {
        io::Error::new(error.kind(), format!("config directory {}: {error}", root.display()))
    })?;
    let (wake, woken) = mpsc::channel();
    let to_self = wake.clone();
    let started = thread::Builder::new().name("config".into()).spawn(move || {
        let hints = Hints::new(&root, move || {
            // An error means that the loader has ended.
            let _ = to_self.send(Wake::Hint);
        });
        let mut catalog =
            Catalog::new(root, trust, (stores, accounts), Evaluator::new(program), hints, Box::new(sink));
        follow(&mut catalog, &woken, rescan_interval);
    });
    started.map_err(cannot("start the thread that reads the configs", THREAD_CALLS))?;
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
    /// left files `unsettled` ends no call, unless [`MAX_SETTLE_TIME`] has passed since the first scan. By
    /// then, every file that this first scan found was read, even if it still changes.
    fn done(&mut self, began: Instant, unsettled: bool) -> Option<usize> {
        let scanned = *self.scanned.get_or_insert_with(Instant::now);
        if self.open == 0 || unsettled && began.saturating_duration_since(scanned) < MAX_SETTLE_TIME {
            return None;
        }
        Some(std::mem::take(&mut self.open))
    }
}

fn follow(catalog: &mut Catalog, woken: &Receiver<Wake>, rescan_interval: Duration) {
    let mut full = true;
    let mut next_full = Instant::now();
    let mut requests = Requests::default();
    loop {
        let began = Instant::now();
        let again = catalog.pass(full);
        if full {
            next_full = Instant::now() + rescan_interval.max(MIN_FULL_INTERVAL);
        }
        if let Some(requests) = requests.done(began, again.is_some()) {
            catalog.emit(FileChange::Rescanned { requests });
        }
        let until_full = next_full.saturating_duration_since(Instant::now());
        let interval = match () {
            () if catalog.polls() => rescan_interval.min(POLL_INTERVAL),
            () if catalog.is_partial() => rescan_interval.min(PARTIAL_INTERVAL),
            () => rescan_interval,
        };
        let idle = until_full.min(interval);
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

/// Waits until no more hints come. Returns whether a call of [`Loader::rescan`] ended the wait. `None`: stop.
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
