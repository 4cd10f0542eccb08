//! Keeps a ledger usable: finds out what is wrong with the files, reports that once, and opens them again.

use std::collections::HashMap;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::checkpoint::Checkpointer;
use super::database::{self, BUSY_TIMEOUT, Database};
use super::error::LedgerError;
use super::event::LedgerEvent;
use super::files::{DirInUse, Files};
use super::growth::Growth;
use super::limits::Limits;
use super::retention::Pruning;
use super::runs::{self, Context};

/// The longest pause of a ledger that is flapping. Each loss and return writes two log lines.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(10 * 60);

/// How often the files are checked when nothing is written. One check takes some microseconds.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// How often an oversized log is examined: a reader leaves without a notice.
const OVERSIZED_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How often a daemon that starts looks whether it can read the ledger.
const START_POLL: Duration = Duration::from_millis(50);

/// If the ledger is lost within this many pauses after it came back, it is flapping.
const STABLE_PAUSES: u32 = 10;

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
    growth: Growth,
    /// The last event about the growth.
    growth_event: Option<LedgerEvent>,
    /// When the files were last checked.
    checked: Instant,
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
    /// Opens or creates the ledger in `state_dir`. If it cannot be written, the first event says why.
    ///
    /// Returns an error, and changes nothing, if there is a ledger whose content this program cannot know: it
    /// must not run what may be paused, stopped, held or running already. A damaged ledger is none.
    pub fn open(state_dir: &Path) -> Result<Self, String> {
        Self::open_with(state_dir, Limits::default())
    }

    /// Sets aside the ledger in `state_dir`, so that [`Self::open`] creates a new one. Returns its new path,
    /// or `None` if there is no ledger.
    pub fn reset(state_dir: &Path) -> Result<Option<PathBuf>, String> {
        Files::new(state_dir).reset().map_err(|error| format!("--ledger-reset: {error}"))
    }

    pub(super) fn open_with(state_dir: &Path, limits: Limits) -> Result<Self, String> {
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
            growth: Growth::new(limits.log_bytes),
            growth_event: None,
            checked: Instant::now(),
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
        let deadline = Instant::now() + limits.start_timeout;
        let mut was_just_locked = false;
        loop {
            match ledger.attempt() {
                Ok(database) => {
                    ledger.health = Health::Usable(database);
                    ledger.next_event = ledger.quarantined.take();
                    break;
                }
                Err(error) => match ledger.unreadable(&error) {
                    // Who has locked it may have left between the attempt and this look at it.
                    None if existed && !was_just_locked && matches!(error, LedgerError::Unavailable(_)) => {
                        was_just_locked = true;
                    }
                    None => {
                        ledger.lose(error);
                        break;
                    }
                    Some(LedgerError::Unavailable(_)) if Instant::now() < deadline => {
                        thread::sleep(START_POLL);
                    }
                    Some(reason) => return Err(ledger.refusal(reason)),
                },
            }
        }
        // The ledger may be incomplete even if it can be read: perhaps the last daemon could not write it.
        ledger.records_lost = existed && ledger.next_event.is_some();
        Ok(ledger)
    }

    /// After a failed attempt, returns why nobody can know what an existing ledger records; `None` if it can
    /// be read, or if there is none.
    fn unreadable(&self, error: &LedgerError) -> Option<LedgerError> {
        if let LedgerError::Refused(reason) = error {
            return Some(LedgerError::Refused(reason.clone()));
        }
        match self.files.exist() {
            Ok(false) => None,
            Ok(true) => match self.open_read_only() {
                // What is damaged says nothing any more.
                Ok(_) | Err(LedgerError::Damaged(_) | LedgerError::Displaced(_)) => None,
                Err(error @ (LedgerError::Unavailable(_) | LedgerError::Refused(_))) => Some(error),
            },
            Err(error) => Some(error.into()),
        }
    }

    fn refusal(&self, reason: LedgerError) -> String {
        let (what, remedy) = match reason {
            LedgerError::Refused(_) => (
                "cannot be used",
                "To do without what it records, start once with --ledger-reset: every watch then counts as \
                 new, and what was paused, stopped or held can run",
            ),
            LedgerError::Damaged(_) | LedgerError::Displaced(_) | LedgerError::Unavailable(_) => {
                ("cannot be read", "It may record that watches are paused, or that actions are still running")
            }
        };
        let file = self.files.main().display();
        format!("the ledger {file} {what}, so nothing was started: {}. {remedy}", reason.into_reason())
    }

    /// Returns what happened to the ledger since the last call. After `Quarantined` and `Back`, the caller
    /// must record all watches and all live runs again, because those in the ledger are gone or out of date.
    pub fn next_event(&mut self) -> Option<LedgerEvent> {
        self.next_event.take().or_else(|| self.growth_event.take())
    }

    /// Why the log grows, and no output is recorded; `None` if it is.
    pub fn growth(&self) -> Option<String> {
        self.growth.problem()
    }

    /// How many runs have no output in the ledger because its log was too large.
    pub fn outputs_dropped(&self) -> u64 {
        self.growth.outputs_dropped
    }

    /// Returns the part of a run's output to be recorded.
    pub(super) fn affordable<'a>(&mut self, output: &'a [u8]) -> &'a [u8] {
        if !self.growth.is_oversized() || output.is_empty() {
            return output;
        }
        self.growth.outputs_dropped += 1;
        &[]
    }

    fn measure_log(&mut self) {
        if self.growth.measured(self.files.log_size()) {
            self.context.pruning.suspended = self.growth.is_oversized();
            self.growth_event = Some(match self.growth.problem() {
                Some(reason) => {
                    LedgerEvent::Oversized { reason: format!("{}: {reason}", self.files.main().display()) }
                }
                None => LedgerEvent::Shrunk,
            });
        }
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
            self.records_lost |= found.is_err() && self.files.exist().unwrap_or(true);
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
        match database.commit(&self.files) {
            Ok(()) if database.needs_checkpoint() => {
                self.request_checkpoint();
                self.measure_log();
            }
            Ok(()) => {}
            Err(error) => self.recover(error),
        }
    }

    fn request_checkpoint(&mut self) {
        if let Health::Usable(database) = &mut self.health
            && self.checkpointer.request(database.file_ids())
        {
            database.checkpoint_requested();
        }
    }

    #[cfg(test)]
    pub(super) fn wait_for_checkpoint(&mut self) -> bool {
        self.checkpointer.is_idle(Duration::from_secs(20))
    }

    /// The state directory as it is used at the moment, for others to compare.
    pub fn dir_in_use(&self) -> DirInUse {
        self.files.dir_in_use()
    }

    /// Returns the time to call [`Self::maintain`].
    pub fn maintain_at(&self) -> Instant {
        match self.health {
            Health::Lost { since } => since + self.pause,
            Health::Usable(_) if self.growth.is_oversized() => self.checked + OVERSIZED_CHECK_INTERVAL,
            Health::Usable(_) => self.checked + CHECK_INTERVAL,
        }
    }

    /// Why the ledger cannot be used; `None` if it can.
    pub fn lost_reason(&self) -> Option<&str> {
        match self.health {
            Health::Lost { .. } => Some(&self.lost_reason),
            Health::Usable(_) => None,
        }
    }

    /// Does what is due although nothing is read or written: tries to open a lost ledger again, finds out
    /// whether the files of a usable one are still there, and whether its log can be emptied.
    pub fn maintain(&mut self) {
        self.retry();
        let Health::Usable(database) = &mut self.health else { return };
        self.checked = Instant::now();
        if let Err(error) = database.reader(&self.files) {
            return self.recover(error);
        }
        self.measure_log();
        if self.growth.is_oversized() {
            self.request_checkpoint();
        }
    }

    /// Tries to open a lost ledger again if it is time. All calls that read or write do so too.
    fn retry(&mut self) {
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
            LedgerError::Unavailable(_) | LedgerError::Refused(_) => self.lose(error),
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
            Err(error @ (LedgerError::Unavailable(_) | LedgerError::Refused(_))) => return Err(error),
        };
        self.context.pruning = Pruning::new(self.limits.retention);
        self.context.pruning.suspended = self.growth.is_oversized();
        self.context.rows.clear();
        runs::find_unfinished(database.reader(&self.files)?, &mut self.context)?;
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
