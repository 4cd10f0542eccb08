//! Brings the log back into the database, on a thread of its own: that waits for the disk, and the daemon's loop
//! must not.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row};

use super::files::{FileIds, Files};

/// Each takes two syncs. If so many do not catch up, the daemon is busy, and the next call may find a better time.
const MAX_PASSES: usize = 8;

/// A log of 16 MiB, of which the disk must not be filled however busy the daemon is.
const MAX_WAL_PAGES: i64 = 4096;

/// How long the daemon may be kept from writing by a checkpoint that waits for a reader: no transaction of ours takes
/// longer, and the daemon waits longer before it gives up.
const FULL_CHECKPOINT_TIMEOUT: Duration = Duration::from_millis(10);

/// The thread sleeps until it is told to work, and is there from the first time on. It has a connection only while
/// it works, so that nothing of it has to be looked after meanwhile.
pub(super) struct Checkpointer {
    files: Files,
    worker: Option<Worker>,
}

struct Worker {
    jobs: SyncSender<FileIds>,
    done: Receiver<()>,
    /// Whether it was given a job that it has not said to be done.
    busy: bool,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    pub(super) fn new(files: Files) -> Self {
        Self { files, worker: None }
    }

    /// Has a checkpoint made soon, unless one is being made. Returns whether it will be.
    pub(super) fn ask(&mut self, file_ids: FileIds) -> bool {
        if !self.is_idle(Duration::ZERO) {
            return false;
        }
        let Some(mut worker) = self.worker.take().or_else(|| Worker::start(self.files.clone())) else {
            return false;
        };
        worker.busy = worker.jobs.try_send(file_ids).is_ok();
        let asked = worker.busy;
        self.worker = Some(worker);
        asked
    }

    /// Whether nothing of it touches the files, or will not after at most `timeout`.
    pub(super) fn is_idle(&mut self, timeout: Duration) -> bool {
        let Some(worker) = &mut self.worker else { return true };
        worker.busy = worker.busy && worker.done.recv_timeout(timeout).is_err();
        !worker.busy
    }

    /// Ends the thread, when it has done what it is at.
    pub(super) fn end(&mut self) {
        let Some(Worker { jobs, done, busy: _, thread }) = self.worker.take() else { return };
        drop((jobs, done));
        // It fails if the thread panicked, which then has been said.
        let _ = thread.join();
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Worker {
    /// `None` if there are no threads left: then the log grows until there are.
    fn start(files: Files) -> Option<Self> {
        let (jobs, orders) = sync_channel(1);
        let (ready, done) = sync_channel(1);
        let work = move || {
            for file_ids in orders {
                checkpoint(&files, &file_ids);
                if ready.send(()).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("ledger".into()).spawn(work).ok()?;
        Some(Self { jobs, done, busy: false, thread })
    }
}

fn checkpoint(files: &Files, file_ids: &FileIds) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if files.check(file_ids).is_err() {
        return;
    }
    let Ok(connection) = Connection::open_with_flags(files.main(), flags) else { return };
    // Were it the last one, it would delete the log by its name, whosever that is by now.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    // What goes wrong here goes wrong again where it is said.
    let _ = catch_up(&connection);
    if files.check(file_ids).is_err() {
        // As in `Database::leave`.
        std::mem::forget(connection);
    }
}

/// The log begins anew only if nothing was written while the last of it was copied. So each pass is shorter than the
/// one before, until one falls between two commits.
fn catch_up(connection: &Connection) -> rusqlite::Result<()> {
    let mut left = 0;
    for _ in 0..MAX_PASSES {
        // It waits for nobody, and nobody for it.
        let (log, copied) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], pages)?;
        if copied >= log {
            return Ok(());
        }
        left = log;
    }
    if left > MAX_WAL_PAGES {
        // This keeps the daemon from writing while the rest is synced, but not while it waits for a reader.
        connection.busy_timeout(FULL_CHECKPOINT_TIMEOUT)?;
        connection.query_row("PRAGMA wal_checkpoint(FULL)", [], pages)?;
    }
    Ok(())
}

/// How many pages the log has, and how many of them are copied.
fn pages(row: &Row<'_>) -> rusqlite::Result<(i64, i64)> {
    Ok((row.get(1)?, row.get(2)?))
}
