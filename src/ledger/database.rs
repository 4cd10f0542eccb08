//! An open ledger: a connection with its transaction, and the files below it.

use std::time::Duration;
use std::{fs, io};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::error::LedgerError;
use super::files::{FileIds, Files};

/// How long a call waits for another process's transaction, while the whole daemon stands still. A single
/// statement of an operator ends within this time; a transaction that an operator keeps open does not.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// A checkpoint is due after this many written pages: SQLite's own default, a log of about 4 MiB.
const CHECKPOINT_PAGES: usize = 1000;

/// An upper bound: a write changes one leaf of its table and one of an index, and the writes of a commit
/// share some.
const PAGES_PER_WRITE: usize = 2;

/// SQLite's page size in bytes.
const PAGE_BYTES: usize = 4096;

/// The version of the tables in `schema.sql`. It grows with every change that an older daemon could not
/// handle.
const SCHEMA_VERSION: i64 = 3;

/// The previous version of the tables.
const PREVIOUS_VERSION: i64 = 2;

/// Upgrades the previous version, so that an upgrade of the daemon loses no pause and no run.
const UPGRADE_FROM_PREVIOUS: &str = "
    ALTER TABLE watches ADD COLUMN applied_size INTEGER;
    ALTER TABLE watches ADD COLUMN held_incarnation INTEGER;
    ALTER TABLE watches ADD COLUMN held_revision INTEGER;
    ALTER TABLE watches ADD COLUMN held_number INTEGER;
    ALTER TABLE watches ADD COLUMN admitted_incarnation INTEGER;
    ALTER TABLE watches ADD COLUMN admitted_revision INTEGER;
    ALTER TABLE watches ADD COLUMN admitted_number INTEGER;
";

/// Settings of the daemon's connection.
///
/// - `synchronous`: commits are not synced. They take about 15 µs, and survive the daemon's death, but
///   perhaps not a crash of the machine.
/// - `wal_autocheckpoint`: `checkpoint.rs` makes the checkpoints.
/// - `journal_size_limit`: after a checkpoint, the log shrinks to the size that it has between two.
/// - `cache_size`: 256 KiB hold the few pages that are written. The default of 2 MiB is more than the rest of
///   the daemon uses.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA journal_size_limit = 4194304;
    PRAGMA cache_size = -256;
    PRAGMA temp_store = MEMORY;
";

/// The daemon's connection to its ledger.
pub(super) struct Database {
    connection: Connection,
    file_ids: FileIds,
    in_transaction: bool,
    /// An estimate of the pages written since the last request of a checkpoint.
    pages: usize,
}

impl Database {
    /// Opens or creates the files, and writes to them, so success proves that the ledger can be written.
    pub(super) fn open(files: &Files) -> Result<Self, LedgerError> {
        files.create()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(files.main(), flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Only `close` has the time for a checkpoint at the end.
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

    /// Returns the connection, for reading.
    pub(super) fn reader(&self, files: &Files) -> Result<&Connection, LedgerError> {
        files.check(&self.file_ids)?;
        Ok(&self.connection)
    }

    /// Returns the connection, for writing about `size` bytes in a transaction that [`Self::commit`] ends.
    pub(super) fn writer(&mut self, files: &Files, size: usize) -> Result<&Connection, LedgerError> {
        if !self.in_transaction {
            files.check(&self.file_ids)?;
            // With IMMEDIATE, a lock of another process makes this statement fail, and not a later write.
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.in_transaction = true;
        }
        self.pages += PAGES_PER_WRITE + size / PAGE_BYTES;
        Ok(&self.connection)
    }

    /// Returns the connection for one write that is a transaction of its own. To be fast, this checks only
    /// the file whose loss would kill the daemon; the next call checks the others.
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

    /// Drops the connection after an error, with all uncommitted writes.
    pub(super) fn abandon(self, files: &Files) {
        if files.check(&self.file_ids).is_err() {
            // Closing the connection would read the mapped -shm file, which is a SIGBUS if the file was
            // truncated, and would delete files by their names, which may be other files' by now. So each
            // time that somebody tampers with the files, one connection leaks.
            std::mem::forget(self.connection);
        }
    }

    /// Commits everything, copies the log into the database and deletes the log.
    pub(super) fn close(mut self, files: &Files) {
        let committed = self.commit(files);
        if committed.is_ok() {
            // If this fails, the log stays, and the next daemon reads it.
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        }
        self.abandon(files);
    }
}

/// Opens a connection that only reads, and so works on a disk that is full or read-only.
pub(super) fn open_read_only(files: &Files) -> Result<Connection, LedgerError> {
    files.check_kind()?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(files.main(), flags)?;
    match connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
        PREVIOUS_VERSION | SCHEMA_VERSION => check_watches(&connection)?,
        _ => return Err(LedgerError::Damaged("its version is unknown to this daemon".into())),
    }
    Ok(connection)
}

/// Writes a complete copy of the database. Returns false if there is no database.
pub(super) fn copy(from: &Files, to: &Files) -> Result<bool, LedgerError> {
    if let Err(error) = fs::symlink_metadata(from.main()) {
        return if error.kind() == io::ErrorKind::NotFound { Ok(false) } else { Err(error.into()) };
    }
    if from.has_log() {
        let path = to.main().to_string_lossy();
        open_read_only(from)?.execute("VACUUM INTO ?1", [&*path])?;
    } else {
        // Nobody has the database open, and opening it here would create files beside it.
        fs::copy(from.main(), to.main())?;
    }
    Ok(true)
}

/// Creates the tables in an empty file, or checks that they are ours and undamaged.
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
        0 => return Err(LedgerError::Damaged("it is another program's database".into())),
        version => {
            return Err(LedgerError::Damaged(format!(
                "its version is {version}, this daemon knows only {SCHEMA_VERSION}"
            )));
        }
    }
    // This write also finds out whether the database can be written.
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    connection.execute_batch("COMMIT")?;
    Ok(())
}

/// Checks the table of watches for damage, because the table is small and the daemon's decisions depend on
/// it. The table of runs can be a hundred times as large; its damage is found when a damaged row is read or
/// written.
fn check_watches(connection: &Connection) -> Result<(), LedgerError> {
    let found = connection.query_row("PRAGMA quick_check(watches)", [], |row| row.get::<_, String>(0))?;
    if found == "ok" {
        return Ok(());
    }
    Err(LedgerError::Damaged(found))
}
