//! An open ledger: a connection with its transaction, and the files below it.

use std::fs;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::LedgerError;
use super::files::{FileIds, Files};
use super::schema::{self, Found};

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
        if !files.create()? {
            // A connection that may write changes even a file that it then refuses.
            open_unchanged(files)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(files.main(), flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Only `close` has the time for a checkpoint at the end.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let found = schema::identify(&connection)?;
        connection.execute_batch(SETTINGS)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        schema::prepare(&connection, &found)?;
        connection.execute_batch("COMMIT")?;
        // A killed daemon may have left a large log.
        let pages = usize::try_from(files.log_size()).unwrap_or(usize::MAX) / PAGE_BYTES;
        Ok(Self { file_ids: files.file_ids()?, connection, in_transaction: false, pages })
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

/// Opens a connection that only reads, and so works on a disk that is full or read-only. An older ledger is
/// converted in memory.
pub(super) fn open_read_only(files: &Files) -> Result<Connection, LedgerError> {
    match open_unchanged(files)? {
        (_, Found::Nothing) => Ok(schema::empty()?),
        (connection, Found::Ledger { version }) => {
            schema::check_watches(&connection)?;
            if schema::is_present(&connection, version)? {
                return Ok(connection);
            }
            Ok(schema::upgraded_copy(&files.read_only_uri())?)
        }
    }
}

/// Opens a ledger without any change to its files, and finds out what it is.
fn open_unchanged(files: &Files) -> Result<(Connection, Found), LedgerError> {
    files.check_kind()?;
    files.check_format()?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(files.read_only_uri(), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let found = schema::identify(&connection)?;
    Ok((connection, found))
}

/// Writes a complete copy of the database. Returns false if there is no database.
pub(super) fn copy(from: &Files, to: &Files) -> Result<bool, LedgerError> {
    if !from.exist()? {
        return Ok(false);
    }
    let (connection, _) = open_unchanged(from)?;
    if from.has_log() {
        let path = to.main().to_string_lossy();
        connection.execute("VACUUM INTO ?1", [&*path])?;
    } else {
        // Nobody has the database open, and opening it for more would create files beside it.
        fs::copy(from.main(), to.main())?;
    }
    Ok(true)
}
