//! Keeps a ledger usable: finds out what is wrong with the files, reports that once, and opens them again.

use std::collections::HashMap;
use std::fs;
use std::mem;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::checkpoint::Checkpointer;
use super::database::{self, BUSY_TIMEOUT, Database};
use super::error::LedgerError;
use super::event::LedgerEvent;
use super::files::Files;
use super::retention::{Pruning, Retention};
use super::runs::Context;

/// The pause between two attempts to open a lost ledger. A full disk rarely gets space sooner, and an attempt
/// may cost the daemon [`BUSY_TIMEOUT`].
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause of a ledger that is flapping. Each loss and return writes two log lines.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(10 * 60);

/// If the ledger is lost within this many pauses after it came back, it is flapping.
const STABLE_PAUSES: u32 = 10;

/// The limits of a ledger. Only tests change the defaults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The pause between two attempts to open a lost ledger, unless it is flapping.
    pub pause: Duration,
    pub retention: Retention,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pause: RETRY_PAUSE, retention: Retention::default() }
    }
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

/// The daemon's ledger, which may be lost and come back.
///
/// No write fails: when a lost ledger is back, the daemon records its state again. No call waits for another
/// process longer than [`database::BUSY_TIMEOUT`].
pub struct Ledger {
    files: Files,
    context: Context,
    limits: Limits,
    health: Health,
    checkpointer: Checkpointer,
    next_event: Option<LedgerEvent>,
    /// Why the files must be set aside before a ledger is opened; `None` if they need not.
    suspect_reason: Option<String>,
    /// The event that the files were set aside, until a new ledger is open.
    quarantined: Option<LedgerEvent>,
    /// Whether the last event was [`LedgerEvent::Lost`].
    lost_reported: bool,
    /// The pause between two attempts, which doubles each time that a flapping ledger is lost.
    pause: Duration,
    /// Whether any record, of this daemon or an earlier one, may be lost.
    records_lost: bool,
    /// When the ledger was last opened again.
    back: Option<Instant>,
    /// Why the ledger was last lost.
    lost_reason: String,
}

impl Ledger {
    /// Opens or creates the ledger in `state_dir`. If that fails, the first event says why.
    pub fn open(state_dir: &Path) -> Self {
        Self::open_with(state_dir, Limits::default())
    }

    pub(super) fn open_with(state_dir: &Path, limits: Limits) -> Self {
        let files = Files::new(state_dir);
        // Without the boot id, a process is identified by its pid and start time alone.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut ledger = Self {
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
            lost_reason: String::new(),
            limits,
        };
        let found = fs::symlink_metadata(ledger.files.main());
        let existed = found.is_ok();
        if found.is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0) {
            // SQLite would take the file for a new database, and nobody would learn that the old one is gone.
            ledger.suspect_reason = Some("it is empty".into());
        }
        match ledger.attempt() {
            Ok(database) => {
                ledger.health = Health::Usable(database);
                ledger.next_event = ledger.quarantined.take();
            }
            Err(error) => ledger.lose(error),
        }
        // The ledger may be incomplete even if it can be read: perhaps the last daemon could not write it.
        ledger.records_lost = existed && ledger.next_event.is_some();
        ledger
    }

    /// Returns what happened to the ledger since the last call. After `Quarantined` and `Back`, the caller
    /// must record all watches and all live runs again, because those in the ledger are gone or out of date.
    pub fn next_event(&mut self) -> Option<LedgerEvent> {
        self.next_event.take()
    }

    /// Whether any record may be lost.
    pub fn may_have_lost_records(&self) -> bool {
        self.records_lost
    }

    /// The size of the database and its write-ahead log, in bytes.
    pub fn size(&self) -> u64 {
        self.files.size()
    }

    /// Whether any record waits for [`Self::commit`].
    pub fn is_dirty(&self) -> bool {
        match &self.health {
            Health::Usable(database) => database.is_dirty(),
            Health::Lost { .. } => false,
        }
    }

    /// Runs `query`. If that fails, returns the default, and [`Self::lost_reason`] or the next event says
    /// why.
    pub(super) fn read<T: Default>(
        &mut self,
        query: impl FnOnce(&Connection, &mut Context) -> rusqlite::Result<T>,
    ) -> T {
        self.retry();
        let Health::Usable(database) = &self.health else {
            // A ledger that cannot be written can perhaps be read.
            let found =
                self.open_read_only().and_then(|connection| Ok(query(&connection, &mut self.context)?));
            self.records_lost |= found.is_err() && self.files.exist();
            return found.unwrap_or_default();
        };
        let found = database.reader(&self.files);
        match found.and_then(|connection| Ok(query(connection, &mut self.context)?)) {
            Ok(found) => found,
            Err(error) => {
                self.recover(error);
                T::default()
            }
        }
    }

    /// Opens a lost ledger that is locked, or on a full or read-only disk. Its records may be out of date,
    /// which at worst makes updates run again.
    fn open_read_only(&self) -> Result<Connection, LedgerError> {
        match &self.suspect_reason {
            Some(reason) => Err(LedgerError::Damaged(reason.clone())),
            None => database::open_read_only(&self.files),
        }
    }

    /// Makes one write of about `size` bytes, to be committed by [`Self::commit`].
    pub(super) fn write(
        &mut self,
        size: usize,
        statement: impl FnOnce(&Connection, &mut Context) -> rusqlite::Result<()>,
    ) {
        self.retry();
        let Health::Usable(database) = &mut self.health else { return };
        let writer = database.writer(&self.files, size);
        let written = writer.and_then(|connection| Ok(statement(connection, &mut self.context)?));
        if let Err(error) = written {
            self.recover(error);
        }
    }

    /// Makes `count` writes and commits them. A single write with nothing else to commit becomes a
    /// transaction of its own, which is faster.
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
        if let Err(error) = written {
            self.recover(error);
        }
    }

    /// Makes all records survive the daemon's death. They may not survive a crash of the machine, which no
    /// run survives either.
    pub fn commit(&mut self) {
        self.retry();
        let Health::Usable(database) = &mut self.health else { return };
        if let Err(error) = database.commit(&self.files) {
            self.recover(error);
        } else if database.needs_checkpoint() && self.checkpointer.request(database.file_ids()) {
            database.checkpoint_requested();
        }
    }

    #[cfg(test)]
    pub(super) fn wait_for_checkpoint(&mut self) -> bool {
        self.checkpointer.is_idle(Duration::from_secs(20))
    }

    /// Returns the time to call [`Self::retry`]; `None` unless the ledger is lost.
    pub fn retry_at(&self) -> Option<Instant> {
        match self.health {
            Health::Lost { since } => Some(since + self.pause),
            Health::Usable(_) => None,
        }
    }

    /// Why the ledger cannot be used; `None` if it can.
    pub fn lost_reason(&self) -> Option<&str> {
        match self.health {
            Health::Lost { .. } => Some(&self.lost_reason),
            Health::Usable(_) => None,
        }
    }

    /// Tries to open a lost ledger again if it is time. All calls that read or write do so too, but an idle
    /// daemon makes no such calls.
    pub fn retry(&mut self) {
        match self.health {
            Health::Lost { since } if since.elapsed() >= self.pause => self.reopen(),
            Health::Lost { .. } | Health::Usable(_) => {}
        }
    }

    /// Handles an error: opens the ledger again, or a new one, or gives the ledger up for a while.
    /// Uncommitted writes are lost. When the daemon receives the event (`Back` or `Quarantined`), it writes
    /// its state again.
    fn recover(&mut self, error: LedgerError) {
        self.records_lost = true;
        if let Health::Usable(database) = mem::replace(&mut self.health, Health::lost()) {
            database.abandon(&self.files);
        }
        match error {
            LedgerError::Damaged(reason) | LedgerError::Displaced(reason) => {
                self.suspect_reason = Some(reason.clone());
                if self.is_flapping() {
                    // Something keeps damaging the files, and each new ledger writes another log line.
                    self.lose(LedgerError::Unavailable(format!("again, {reason}")));
                } else {
                    self.reopen();
                }
            }
            LedgerError::Unavailable(_) => self.lose(error),
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
            Err(error) => self.lose(error),
        }
    }

    fn attempt(&mut self) -> Result<Database, LedgerError> {
        self.files.check_dir()?;
        // A running checkpoint could open the old database with the new write-ahead log, or files that are
        // being renamed.
        if !self.checkpointer.is_idle(BUSY_TIMEOUT) {
            return Err(LedgerError::Unavailable(
                "its checkpoint does not end; check whether the disk is failing".into(),
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
            Err(error @ LedgerError::Unavailable(_)) => return Err(error),
        };
        self.context.pruning = Pruning::new(self.limits.retention);
        Ok(database)
    }

    /// Sets aside the files if they are suspect.
    fn quarantine_suspect(&mut self) -> Result<(), LedgerError> {
        let Some(reason) = &self.suspect_reason else { return Ok(()) };
        let path = self.files.quarantine()?.map(|path| path.display().to_string());
        let reason = format!("{}: {reason}", self.files.main().display());
        self.suspect_reason = None;
        self.quarantined = Some(LedgerEvent::Quarantined { path, reason });
        Ok(())
    }

    /// Gives the ledger up until the next attempt. Only the first of several failed attempts is reported.
    fn lose(&mut self, error: LedgerError) {
        self.lost_reason = format!("{}: {}", self.files.main().display(), error.into_reason());
        if !self.lost_reported {
            self.lost_reported = true;
            self.pause =
                if self.is_flapping() { MAX_RETRY_PAUSE.min(self.pause * 2) } else { self.limits.pause };
            self.next_event = Some(LedgerEvent::Lost { reason: self.lost_reason.clone() });
        }
        self.health = Health::lost();
    }

    /// Whether the ledger came back only shortly before now.
    fn is_flapping(&self) -> bool {
        self.back.is_some_and(|back| back.elapsed() < self.pause * STABLE_PAUSES)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.checkpointer.stop();
        if let Health::Usable(database) = mem::replace(&mut self.health, Health::lost()) {
            database.close(&self.files);
        }
    }
}
