//! Brings the log back into the database, on a thread of its own: that waits for the disk, and the daemon's loop
//! must not.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::files::{Files, Marks};

/// The thread sleeps until it is told to work, and is there from the first time on. It has a connection only while
/// it works, so that nothing of it has to be looked after meanwhile.
pub(super) struct Checkpointer {
    files: Files,
    worker: Option<Worker>,
}

struct Worker {
    jobs: SyncSender<Marks>,
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
    pub(super) fn ask(&mut self, marks: Marks) -> bool {
        if !self.is_idle(Duration::ZERO) {
            return false;
        }
        let Some(mut worker) = self.worker.take().or_else(|| Worker::start(self.files.clone())) else {
            return false;
        };
        worker.busy = worker.jobs.try_send(marks).is_ok();
        let asked = worker.busy;
        self.worker = Some(worker);
        asked
    }

    /// Whether nothing of it touches the files, or will not after at most `patience`.
    pub(super) fn is_idle(&mut self, patience: Duration) -> bool {
        let Some(worker) = &mut self.worker else { return true };
        worker.busy = worker.busy && worker.done.recv_timeout(patience).is_err();
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
            for marks in orders {
                checkpoint(&files, &marks);
                if ready.send(()).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("ledger".into()).spawn(work).ok()?;
        Some(Self { jobs, done, busy: false, thread })
    }
}

/// What goes wrong here goes wrong again where it is said: in the next transaction, or not at all.
fn checkpoint(files: &Files, marks: &Marks) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if files.check(marks).is_err() {
        return;
    }
    let Ok(connection) = Connection::open_with_flags(files.main(), flags) else { return };
    // Were it the last one, it would delete the log by its name, whosever that is by now.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    // PASSIVE waits for nobody, and nobody for it.
    let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    if files.check(marks).is_err() {
        // As in `Database::leave`.
        std::mem::forget(connection);
    }
}
