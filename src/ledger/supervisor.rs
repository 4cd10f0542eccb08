//! Keeps a ledger usable: finds out what is wrong with it, says so once, and gets it back.

use std::collections::HashMap;
use std::fs;
use std::mem;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::LedgerEvent;
use super::checkpoint::Checkpointer;
use super::database::{self, BUSY_TIMEOUT, Database};
use super::error::LedgerError;
use super::files::Files;
use super::runs::{DEFAULT_RETENTION, Pruning, Retention};

/// How long a lost ledger is left alone: a full disk is not emptied sooner, and a try may cost [`BUSY_TIMEOUT`].
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// How long it is left alone at most if it gets lost over and over: two lines of log each time.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10 * 60);

/// A ledger that was back for less than so many pauses is lost over and over.
const STABLE_PAUSES: u32 = 10;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub pause: Duration,
    pub retention: Retention,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pause: RETRY_DELAY, retention: DEFAULT_RETENTION }
    }
}

/// What the statements need beside their arguments.
pub(super) struct Context {
    pub boot: String,
    pub pruning: Pruning,
    /// The rows of the runs that go on: there is no index on their names, which would cost each run a page. After
    /// trouble, some may be another's.
    pub rows: HashMap<String, i64>,
}

enum Health {
    Usable(Database),
    Lost { since: Instant },
}

impl Health {
    fn lost() -> Self {
        Health::Lost { since: Instant::now() }
    }
}

pub(super) struct Supervisor {
    files: Files,
    context: Context,
    limits: Limits,
    health: Health,
    checkpointer: Checkpointer,
    next_event: Option<LedgerEvent>,
    /// Why the files that lie there must be set aside before anything is opened.
    suspect_reason: Option<String>,
    /// That they were, as long as there was no new ledger to say it with.
    quarantined: Option<LedgerEvent>,
    /// Whether [`LedgerEvent::Lost`] was the last that was said.
    lost_reported: bool,
    /// How long the ledger is left alone when it is lost.
    pause: Duration,
    /// Whether what a former daemon wrote was lost.
    records_lost: bool,
    /// When the ledger was made usable again.
    back: Option<Instant>,
    /// Why it was lost last.
    trouble: String,
}

impl Supervisor {
    pub(super) fn open(state_dir: &Path, limits: Limits) -> Self {
        let files = Files::new(state_dir);
        // Without it, a process is told by its pid and start time alone.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut supervisor = Self {
            checkpointer: Checkpointer::new(files.clone()),
            files,
            context: Context {
                boot: boot.trim().into(),
                pruning: Pruning::new(limits.retention),
                rows: HashMap::new(),
            },
            health: Health::lost(),
            next_event: None,
            suspect_reason: None,
            quarantined: None,
            lost_reported: false,
            pause: limits.pause,
            records_lost: false,
            back: None,
            trouble: String::new(),
            limits,
        };
        let found = fs::symlink_metadata(supervisor.files.main());
        let existed = found.is_ok();
        if found.is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0) {
            // SQLite takes it for a new one, and so would we.
            supervisor.suspect_reason = Some("it is empty".into());
        }
        match supervisor.attempt() {
            Ok(database) => {
                supervisor.health = Health::Usable(database);
                supervisor.next_event = supervisor.quarantined.take();
            }
            Err(trouble) => supervisor.lose(trouble),
        }
        // What could be read of it is not all, if its last daemon could not write it either.
        supervisor.records_lost = existed && supervisor.next_event.is_some();
        supervisor
    }

    pub(super) fn next_event(&mut self) -> Option<LedgerEvent> {
        self.next_event.take()
    }

    pub(super) fn may_have_lost_records(&self) -> bool {
        self.records_lost
    }

    pub(super) fn size(&self) -> u64 {
        self.files.size()
    }

    pub(super) fn is_dirty(&self) -> bool {
        match &self.health {
            Health::Usable(database) => database.is_dirty(),
            Health::Lost { .. } => false,
        }
    }

    pub(super) fn read<T: Default>(
        &mut self,
        query: impl FnOnce(&Connection, &mut Context) -> rusqlite::Result<T>,
    ) -> T {
        self.retry();
        let Health::Usable(database) = &self.health else {
            // What cannot be written may be read all the same.
            let found = self.look().and_then(|connection| Ok(query(&connection, &mut self.context)?));
            self.records_lost |= found.is_err() && self.files.exist();
            return found.unwrap_or_default();
        };
        let found = database.reader(&self.files);
        match found.and_then(|connection| Ok(query(connection, &mut self.context)?)) {
            Ok(found) => found,
            Err(trouble) => {
                self.recover(trouble);
                T::default()
            }
        }
    }

    /// A connection to a lost ledger: to one that is locked, or on a full or read-only disk. It has what was told until
    /// then, which makes things run again at worst.
    fn look(&self) -> Result<Connection, LedgerError> {
        match &self.suspect_reason {
            Some(reason) => Err(LedgerError::Damaged(reason.clone())),
            None => database::look(&self.files),
        }
    }

    /// Does one write of about `size` bytes; to be committed.
    pub(super) fn write(
        &mut self,
        size: usize,
        statement: impl FnOnce(&Connection, &mut Context) -> rusqlite::Result<()>,
    ) {
        self.retry();
        let Health::Usable(database) = &mut self.health else { return };
        let writer = database.writer(&self.files, size);
        let written = writer.and_then(|connection| Ok(statement(connection, &mut self.context)?));
        if let Err(trouble) = written {
            self.recover(trouble);
        }
    }

    /// Does `count` writes and commits them. A single one with nothing else to commit is a transaction of its own, which
    /// is the shortest way to the disk.
    pub(super) fn write_through(
        &mut self,
        count: usize,
        statements: impl FnOnce(&Connection, &mut Context) -> rusqlite::Result<()>,
    ) {
        if count != 1 || self.is_dirty() {
            self.write(0, statements);
            return self.commit();
        }
        self.retry();
        let Health::Usable(database) = &mut self.health else { return };
        let writer = database.autocommit_writer(&self.files);
        let written = writer.and_then(|connection| Ok(statements(connection, &mut self.context)?));
        if let Err(trouble) = written {
            self.recover(trouble);
        }
    }

    pub(super) fn commit(&mut self) {
        self.retry();
        let Health::Usable(database) = &mut self.health else { return };
        if let Err(trouble) = database.commit(&self.files) {
            self.recover(trouble);
        } else if database.needs_checkpoint() && self.checkpointer.ask(database.file_ids()) {
            database.checkpoint_requested();
        }
    }

    #[cfg(test)]
    pub(super) fn checkpoint_ends(&mut self) -> bool {
        self.checkpointer.is_idle(Duration::from_secs(20))
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        match self.health {
            Health::Lost { since } => Some(since + self.pause),
            Health::Usable(_) => None,
        }
    }

    /// Why it is lost, if it is.
    pub(super) fn lost_reason(&self) -> Option<&str> {
        match self.health {
            Health::Lost { .. } => Some(&self.trouble),
            Health::Usable(_) => None,
        }
    }

    /// Tries a lost ledger again, if it is time.
    pub(super) fn retry(&mut self) {
        match self.health {
            Health::Lost { since } if since.elapsed() >= self.pause => self.reopen(),
            Health::Lost { .. } | Health::Usable(_) => {}
        }
    }

    /// Whatever was not committed is lost; it is told again after the news.
    fn recover(&mut self, trouble: LedgerError) {
        self.records_lost = true;
        if let Health::Usable(database) = mem::replace(&mut self.health, Health::lost()) {
            database.leave(&self.files);
        }
        match trouble {
            LedgerError::Damaged(reason) | LedgerError::Displaced(reason) => {
                self.suspect_reason = Some(reason.clone());
                if self.is_flapping() {
                    // Whatever does that will do it again: the log would fill with it.
                    self.lose(LedgerError::Unavailable(format!("again, {reason}")));
                } else {
                    self.reopen();
                }
            }
            LedgerError::Unavailable(_) => self.lose(trouble),
        }
    }

    fn reopen(&mut self) {
        match self.attempt() {
            Ok(database) => {
                self.health = Health::Usable(database);
                self.back = Some(Instant::now());
                self.lost_reported = false;
                self.next_event = Some(self.quarantined.take().unwrap_or(LedgerEvent::Back));
            }
            Err(trouble) => self.lose(trouble),
        }
    }

    fn attempt(&mut self) -> Result<Database, LedgerError> {
        self.files.check_dir()?;
        // It would open the old database and the new one's log, or read what is being renamed.
        if !self.checkpointer.is_idle(BUSY_TIMEOUT) {
            return Err(LedgerError::Unavailable(
                "its checkpoint does not end; see whether the disk is failing".into(),
            ));
        }
        self.quarantine_suspect()?;
        let database = match Database::open(&self.files) {
            Ok(database) => database,
            Err(LedgerError::Damaged(reason) | LedgerError::Displaced(reason)) => {
                self.suspect_reason = Some(reason);
                self.quarantine_suspect()?;
                Database::open(&self.files)?
            }
            Err(trouble @ LedgerError::Unavailable(_)) => return Err(trouble),
        };
        self.context.pruning = Pruning::new(self.limits.retention);
        Ok(database)
    }

    /// Sets aside the files that are in doubt, if any are.
    fn quarantine_suspect(&mut self) -> Result<(), LedgerError> {
        let Some(reason) = &self.suspect_reason else { return Ok(()) };
        let path = self.files.quarantine()?.map(|path| path.display().to_string());
        let reason = format!("{}: {reason}", self.files.main().display());
        self.suspect_reason = None;
        self.quarantined = Some(LedgerEvent::Quarantined { path, reason });
        Ok(())
    }

    /// Says so once, however often it is tried again.
    fn lose(&mut self, trouble: LedgerError) {
        self.trouble = format!("{}: {}", self.files.main().display(), trouble.into_reason());
        if !self.lost_reported {
            self.lost_reported = true;
            self.pause =
                if self.is_flapping() { MAX_RETRY_DELAY.min(self.pause * 2) } else { self.limits.pause };
            self.next_event = Some(LedgerEvent::Lost { reason: self.trouble.clone() });
        }
        self.health = Health::lost();
    }

    fn is_flapping(&self) -> bool {
        self.back.is_some_and(|back| back.elapsed() < self.pause * STABLE_PAUSES)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.checkpointer.end();
        if let Health::Usable(database) = mem::replace(&mut self.health, Health::lost()) {
            database.close(&self.files);
        }
    }
}
