//! An open ledger: a connection, its transaction, and the files it rests on.

use std::time::Duration;
use std::{fs, io};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::error::LedgerError;
use super::files::{FileIds, Files};

/// How long a call waits for somebody else's transaction, which holds up the whole daemon: an operator's statement is
/// over by then, an open transaction is not.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// SQLite's own default: a log of some 4 MiB.
const CHECKPOINT_PAGES: usize = 1000;

/// A write changes a leaf of its table and one of an index. Those of one commit share some, so this is the most.
const PAGES_PER_WRITE: usize = 2;

const PAGE: usize = 4096;

/// Of this number are the tables of `schema.sql`. It grows with whatever an older daemon could not cope with.
const SCHEMA_VERSION: i64 = 3;

/// The one before it, and what makes it the present one: so that an upgrade forgets no pause and no run.
const PREVIOUS_VERSION: i64 = 2;
const UPGRADE_FROM_PREVIOUS: &str = "
    ALTER TABLE watches ADD COLUMN applied_size INTEGER;
    ALTER TABLE watches ADD COLUMN held_incarnation INTEGER;
    ALTER TABLE watches ADD COLUMN held_revision INTEGER;
    ALTER TABLE watches ADD COLUMN held_number INTEGER;
    ALTER TABLE watches ADD COLUMN admitted_incarnation INTEGER;
    ALTER TABLE watches ADD COLUMN admitted_revision INTEGER;
    ALTER TABLE watches ADD COLUMN admitted_number INTEGER;
";

/// - A commit that is not synced survives the daemon's death, which is all that is promised, in some 15 µs.
/// - Checkpoints are the business of `checkpoint.rs`, and the log shrinks back to what one takes between two.
/// - The default cache of 2 MiB is more than the whole daemon; what is written is a few hot pages.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA journal_size_limit = 4194304;
    PRAGMA cache_size = -256;
    PRAGMA temp_store = MEMORY;
";

pub(super) struct Database {
    connection: Connection,
    file_ids: FileIds,
    in_transaction: bool,
    /// Written since a checkpoint was asked for, about.
    pages: usize,
}

impl Database {
    /// Opens the files, or begins new ones. On success, something was written: it can be used.
    pub(super) fn open(files: &Files) -> Result<Self, LedgerError> {
        files.create()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(files.main(), flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Only an orderly end has the time for it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.execute_batch(SETTINGS)?;
        prepare(&connection)?;
        Ok(Self { file_ids: files.file_ids()?, connection, in_transaction: false, pages: 0 })
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.in_transaction
    }

    pub(super) fn file_ids(&self) -> FileIds {
        self.file_ids
    }

    /// The connection, to read by.
    pub(super) fn reader(&self, files: &Files) -> Result<&Connection, LedgerError> {
        files.check(&self.file_ids)?;
        Ok(&self.connection)
    }

    /// The connection, in a transaction that is kept open until [`Self::commit`], to write about `size` bytes by.
    pub(super) fn writer(&mut self, files: &Files, size: usize) -> Result<&Connection, LedgerError> {
        if !self.in_transaction {
            files.check(&self.file_ids)?;
            // IMMEDIATE: if somebody else is at it, it is found out here and not between two writes.
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.in_transaction = true;
        }
        self.pages += PAGES_PER_WRITE + size / PAGE;
        Ok(&self.connection)
    }

    /// The connection outside of any transaction, for one write that is committed by itself and that somebody waits
    /// for. If the files are gone, it is the next to find out.
    pub(super) fn autocommit_writer(&mut self, files: &Files) -> Result<&Connection, LedgerError> {
        files.check_mapped(&self.file_ids)?;
        self.pages += PAGES_PER_WRITE;
        Ok(&self.connection)
    }

    pub(super) fn commit(&mut self, files: &Files) -> Result<(), LedgerError> {
        if self.in_transaction {
            files.check(&self.file_ids)?;
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            self.in_transaction = false;
        }
        Ok(())
    }

    pub(super) fn needs_checkpoint(&self) -> bool {
        self.pages >= CHECKPOINT_PAGES
    }

    pub(super) fn checkpoint_requested(&mut self) {
        self.pages = 0;
    }

    /// Gives it up after trouble, with what was not committed.
    pub(super) fn leave(self, files: &Files) {
        if files.check(&self.file_ids).is_err() {
            // Closing it would read the mapped -shm, whose loss is a SIGBUS, and delete files by their names, which
            // may be others' by now. What leaks is a connection for each time that someone meddles with the files.
            std::mem::forget(self.connection);
        }
    }

    /// Ends it in order: all is committed and brought into the database, and its log deleted.
    pub(super) fn close(mut self, files: &Files) {
        let committed = self.commit(files);
        if committed.is_ok() {
            // If this fails, the log stays, and is read by the next daemon.
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        }
        self.leave(files);
    }
}

/// A connection that only reads, and needs nothing written for that.
pub(super) fn look(files: &Files) -> Result<Connection, LedgerError> {
    files.check_kind()?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(files.main(), flags)?;
    match connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
        PREVIOUS_VERSION | SCHEMA_VERSION => check_watches(&connection)?,
        _ => return Err(LedgerError::Damaged("it is none of this daemon's".into())),
    }
    Ok(connection)
}

/// Writes a whole copy of what there is. Returns whether there was anything.
pub(super) fn copy(from: &Files, to: &Files) -> Result<bool, LedgerError> {
    if let Err(error) = fs::symlink_metadata(from.main()) {
        return if error.kind() == io::ErrorKind::NotFound { Ok(false) } else { Err(error.into()) };
    }
    if from.has_log() {
        let path = to.main().to_string_lossy();
        look(from)?.execute("VACUUM INTO ?1", [&*path])?;
    } else {
        // Nobody writes it, and to open it would leave files beside it.
        fs::copy(from.main(), to.main())?;
    }
    Ok(true)
}

/// Begins the tables in an empty file, or makes sure that they are ours and sound.
fn prepare(connection: &Connection) -> Result<(), LedgerError> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
    let is_empty =
        connection.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(())).optional()?.is_none();
    connection.execute_batch("BEGIN IMMEDIATE")?;
    match version {
        0 if is_empty => connection.execute_batch(include_str!("schema.sql"))?,
        SCHEMA_VERSION => check_watches(connection)?,
        PREVIOUS_VERSION => {
            check_watches(connection)?;
            connection.execute_batch(UPGRADE_FROM_PREVIOUS)?;
        }
        0 => return Err(LedgerError::Damaged("it is some other database".into())),
        version => {
            return Err(LedgerError::Damaged(format!(
                "its version is {version}, this daemon knows only {SCHEMA_VERSION}"
            )));
        }
    }
    // Written even where it is the same: that shows whether anything can be.
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    connection.execute_batch("COMMIT")?;
    Ok(())
}

/// Only the watches decide anything, and there are few. The runs can be a hundred times as much; damage among them is
/// found when they are read or written.
fn check_watches(connection: &Connection) -> Result<(), LedgerError> {
    let found = connection.query_row("PRAGMA quick_check(watches)", [], |row| row.get::<_, String>(0))?;
    if found == "ok" {
        return Ok(());
    }
    Err(LedgerError::Damaged(found))
}
