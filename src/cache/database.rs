//! The file of the cache: how it is opened, set aside and removed.

use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, geteuid};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::rows::{self, Kind};
use super::trouble::Trouble;

/// The names in the state directory: of the cache, and of what is left of a damaged one.
const FILE: &str = "cache.db";
const DAMAGED: &str = "cache.damaged.db";

/// The suffix that SQLite appends for its write-ahead log.
const LOG: &str = "-wal";

/// Only the owner reads the file, whoever may read the nodes.
const MODE: u32 = 0o600;

/// Nobody else opens the file, so SQLite keeps the index of the log in its own memory. In a file it would be
/// mapped, and truncating that would be a SIGBUS.
const LOCK: &str = "PRAGMA locking_mode = EXCLUSIVE";

/// The part of SQLite that opens files and takes no locks on them.
const UNLOCKED: &str = "unix-none";

/// - `auto_vacuum`: a cache that gets smaller can give its place back.
/// - `journal_mode`, `synchronous`: what is written survives the death of the daemon; the file survives a
///   crash of the machine.
/// - `journal_size_limit`: the size at which SQLite copies the log into the file.
/// - `cache_size`: 128 KiB hold the pages of an index on the way to a row. The default of 2 MiB is more than
///   the rest of the daemon uses.
const SETTINGS: &str = "
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA journal_size_limit = 4194304;
    PRAGMA cache_size = -128;
    PRAGMA temp_store = MEMORY;
";

/// The paths of the cache.
#[derive(Clone, Debug)]
pub struct Files {
    main: PathBuf,
    log: PathBuf,
    damaged: PathBuf,
}

/// An open cache.
pub struct Database {
    pub connection: Connection,
    /// Whether its file system is read-only.
    pub is_read_only: bool,
    /// Device and number of the file.
    inode: (u64, u64),
}

impl Files {
    pub fn new(state_dir: &Path) -> Self {
        let main = state_dir.join(FILE);
        let log = state_dir.join(format!("{FILE}{LOG}"));
        Self { main, log, damaged: state_dir.join(DAMAGED) }
    }

    pub fn main(&self) -> &Path {
        &self.main
    }

    /// Opens the cache, or creates it. One of another version is begun anew.
    pub fn open(&self) -> Result<Database, Trouble> {
        if let Some(database) = self.open_present()? {
            return Ok(database);
        }
        [&self.log, &self.main].into_iter().try_for_each(|path| remove(path))?;
        let begun = self.open_present()?;
        begun.ok_or_else(|| Trouble::Unavailable("a cache of another version was put there".to_owned()))
    }

    /// Opens the cache, or creates it. `None` if it is one of another version.
    fn open_present(&self) -> Result<Option<Database>, Trouble> {
        match OpenOptions::new().write(true).create_new(true).mode(MODE).open(&self.main) {
            // The log of a file that was deleted is not one of the new file.
            Ok(_) => remove(&self.log)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        let found = fs::symlink_metadata(&self.main)?;
        if !found.is_file() {
            return Err(Trouble::Unavailable("it is not a regular file; remove it".to_owned()));
        }
        self.require_owner(&found)?;
        keep_private(&self.main, &found)?;
        match fs::symlink_metadata(&self.log) {
            Ok(log) => keep_private(&self.log, &log)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let inode = (found.dev(), found.ino());
        if access(&self.main, AccessFlags::W_OK) == Err(Errno::EROFS) {
            let connection = self.open_read_only()?;
            return Ok(Some(Database { connection, is_read_only: true, inode }));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.main, flags)?;
        // A daemon that stops must not wait for the disk.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.execute_batch(LOCK)?;
        let kind = rows::kind(&connection)?;
        if kind == Kind::Other {
            return Ok(None);
        }
        connection.execute_batch(SETTINGS)?;
        if kind == Kind::New {
            connection.execute_batch(rows::TABLES)?;
        }
        Ok(Some(Database { connection, is_read_only: false, inode }))
    }

    /// Opens a cache that can only be read. A file that cannot be written cannot be locked either, and nobody
    /// else opens it.
    fn open_read_only(&self) -> Result<Connection, Trouble> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags_and_vfs(&self.main, flags, UNLOCKED)?;
        connection.execute_batch(LOCK)?;
        match rows::kind(&connection)? {
            Kind::Cache => Ok(connection),
            Kind::New | Kind::Other => {
                Err(Trouble::Unavailable("it cannot be begun on a read-only file system".to_owned()))
            }
        }
    }

    /// Refuses a file of another user, who could read in it what only this daemon may see. The owner of the
    /// directory can replace every file in it; on a network file system, that can be root by another name.
    fn require_owner(&self, found: &Metadata) -> Result<(), Trouble> {
        let directory = self.main.parent().map(fs::metadata).transpose()?;
        let owners = [Some(geteuid().as_raw()), directory.map(|directory| directory.uid())];
        match owners.contains(&Some(found.uid())) {
            true => Ok(()),
            false => Err(Trouble::Damaged(format!("it belongs to another user ({})", found.uid()))),
        }
    }

    /// Whether the file of an open cache is still the one that has its name.
    pub fn has(&self, database: &Database) -> bool {
        fs::symlink_metadata(&self.main).is_ok_and(|found| (found.dev(), found.ino()) == database.inode)
    }

    /// Renames a damaged cache, over one that was set aside before. Returns its new path.
    pub fn set_aside(&self) -> io::Result<&Path> {
        remove(&self.log)?;
        fs::rename(&self.main, &self.damaged)?;
        Ok(&self.damaged)
    }

    /// Removes the cache, which nobody has open.
    pub fn remove(&self) -> io::Result<()> {
        [&self.log, &self.main, &self.damaged].into_iter().try_for_each(|path| remove(path))
    }
}

/// Takes the file from all but its owner.
fn keep_private(path: &Path, found: &Metadata) -> io::Result<()> {
    match found.is_file() && found.mode() & 0o777 != MODE {
        true => fs::set_permissions(path, Permissions::from_mode(MODE)),
        false => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if ![ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
