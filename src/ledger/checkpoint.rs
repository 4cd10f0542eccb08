//! Copies the write-ahead log into the database (a checkpoint), on a thread of its own because the copying
//! waits for the disk, and the daemon's loop must not.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row};

use super::files::{FileIds, Files};

/// The most passes of one checkpoint. A pass takes two syncs. If the passes do not catch up with the daemon's
/// writes, the next checkpoint may find a quieter time.
const MAX_PASSES: usize = 8;

/// A log of 16 MiB. Above this size a checkpoint makes the daemon wait, so that the log cannot fill the disk
/// however much the daemon writes.
const MAX_WAL_PAGES: i64 = 4096;

/// How long a checkpoint above that size waits for the daemon's transaction, and then for readers while the
/// daemon cannot write. No transaction of the daemon takes longer, and the daemon waits longer before it
/// gives up ([`BUSY_TIMEOUT`](super::database::BUSY_TIMEOUT)).
const FULL_CHECKPOINT_TIMEOUT: Duration = Duration::from_millis(10);

/// Makes checkpoints on a thread, which starts with the first request and has a connection only while it
/// works.
pub(super) struct Checkpointer {
    files: Files,
    worker: Option<Worker>,
}

struct Worker {
    jobs: SyncSender<FileIds>,
    done: Receiver<()>,
    /// Whether a job is not reported as done.
    busy: bool,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    pub(super) fn new(files: Files) -> Self {
        Self { files, worker: None }
    }

    /// Requests a checkpoint. Returns false if one is being made already, or no thread can be started.
    pub(super) fn request(&mut self, file_ids: FileIds) -> bool {
        if !self.is_idle(Duration::ZERO) {
            return false;
        }
        let Some(mut worker) = self.worker.take().or_else(|| Worker::start(self.files.clone())) else {
            return false;
        };
        worker.busy = worker.jobs.try_send(file_ids).is_ok();
        let requested = worker.busy;
        self.worker = Some(worker);
        requested
    }

    /// Waits at most `timeout` for a running checkpoint. Returns whether none is running.
    pub(super) fn is_idle(&mut self, timeout: Duration) -> bool {
        let Some(worker) = &mut self.worker else { return true };
        worker.busy = worker.busy && worker.done.recv_timeout(timeout).is_err();
        !worker.busy
    }

    /// Waits for the present job, and ends the thread.
    pub(super) fn stop(&mut self) {
        let Some(Worker { jobs, done, busy: _, thread }) = self.worker.take() else { return };
        drop((jobs, done));
        // This fails if the thread panicked, which is reported when it happens.
        let _ = thread.join();
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Worker {
    /// Returns `None` if no thread can be started: the write-ahead log then grows until one can.
    fn start(files: Files) -> Option<Self> {
        let (jobs, received) = sync_channel(1);
        let (reply, done) = sync_channel(1);
        let work = move || {
            for file_ids in received {
                checkpoint(&files, &file_ids);
                if reply.send(()).is_err() {
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
    // The last connection to close would delete the log by its name, which may be another file's by now.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    // The daemon's own connection meets the same error, and reports it.
    let _ = catch_up(&connection);
    if files.check(file_ids).is_err() {
        // See `Database::abandon`.
        std::mem::forget(connection);
    }
}

/// Copies the log in passes until all of it is copied, because only then does the log start over. Each pass
/// copies what was written during the one before, so passes get shorter until one fits between two commits.
fn catch_up(connection: &Connection) -> rusqlite::Result<()> {
    let (mut log, mut copied) = (0, 0);
    for _ in 0..MAX_PASSES {
        let before = copied;
        // A passive checkpoint waits for nobody, and nobody waits for it.
        (log, copied) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], pages)?;
        if copied >= log || copied == before {
            break;
        }
    }
    if log > MAX_WAL_PAGES {
        // The daemon cannot write while the rest is copied and synced, but it does not wait for slow readers.
        // The file shrinks if nobody reads it.
        connection.busy_timeout(FULL_CHECKPOINT_TIMEOUT)?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], pages)?;
    }
    Ok(())
}

/// Reads the number of pages in the log, and how many of them are copied.
fn pages(row: &Row<'_>) -> rusqlite::Result<(i64, i64)> {
    Ok((row.get(1)?, row.get(2)?))
}
