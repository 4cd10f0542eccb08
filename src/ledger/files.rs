//! The ledger's files on the disk, and the check that they are still the ones that were opened.

use std::ffi::OsString;
use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::LedgerError;

/// The name of the database in the state directory.
pub const FILE: &str = "ledger.db";

/// The name under which the last damaged ledger is kept for examination.
const DAMAGED: &str = "ledger.damaged.db";

/// The suffixes that SQLite appends to a database's name for its write-ahead log and for the log's index.
const WAL: &str = "-wal";
const SHM: &str = "-shm";

/// The size of the header that a database has from its first transaction on.
const HEADER_BYTES: u64 = 100;

/// Identifies a file as long as somebody has it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), number: metadata.ino() }
    }
}

/// Identifies the files of an open database.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileIds {
    main: Inode,
    wal: Inode,
    shm: Inode,
    /// SQLite maps the `-shm` file into memory and never shrinks it. If somebody else shrinks it, an access
    /// to the missing part is a SIGBUS.
    shm_size: u64,
}

/// The paths of a ledger.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
    /// The directory that the daemon has locked; `None` until it is first seen.
    dir_inode: Option<Inode>,
    main: PathBuf,
    wal: PathBuf,
    shm: PathBuf,
}

impl Files {
    pub(super) fn new(dir: &Path) -> Self {
        let main = dir.join(FILE);
        let dir_inode = fs::metadata(dir).ok().map(|metadata| Inode::of(&metadata));
        Self { dir: dir.into(), dir_inode, wal: with_suffix(&main, WAL), shm: with_suffix(&main, SHM), main }
    }

    /// Whether a file of any kind has the database's name.
    pub(super) fn exist(&self) -> bool {
        fs::symlink_metadata(&self.main).is_ok()
    }

    /// Whether there is a write-ahead log. If so, the database may be incomplete without it, or be open.
    pub(super) fn has_log(&self) -> bool {
        fs::symlink_metadata(&self.wal).is_ok()
    }

    /// The size of the database and its write-ahead log in bytes. A file that cannot be examined counts as
    /// empty.
    pub(super) fn size(&self) -> u64 {
        [&self.main, &self.wal].into_iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum()
    }

    pub(super) fn main(&self) -> &Path {
        &self.main
    }

    /// Creates the database if there is none. Only its owner can read it, because the output of actions may
    /// hold secrets. SQLite gives the log and its index the same mode.
    pub(super) fn create(&self) -> Result<(), LedgerError> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.main) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.check_kind(),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses anything but a regular file. The log of a link, for example, would be beside its target, where
    /// no check sees it.
    pub(super) fn check_kind(&self) -> Result<(), LedgerError> {
        if fs::symlink_metadata(&self.main)?.is_file() {
            return Ok(());
        }
        Err(LedgerError::Damaged("it is not a regular file".into()))
    }

    /// Identifies the three files, all of which exist from the first transaction on.
    pub(super) fn file_ids(&self) -> io::Result<FileIds> {
        let shm = fs::metadata(&self.shm)?;
        Ok(FileIds {
            main: Inode::of(&fs::metadata(&self.main)?),
            wal: Inode::of(&fs::metadata(&self.wal)?),
            shm: Inode::of(&shm),
            shm_size: shm.len(),
        })
    }

    /// Checks that a connection to the files of `file_ids` may be touched. This takes some microseconds.
    pub(super) fn check(&self, file_ids: &FileIds) -> Result<(), LedgerError> {
        check_file(&self.main, file_ids.main, HEADER_BYTES, "it")?;
        self.check_mapped(file_ids)?;
        check_file(&self.wal, file_ids.wal, 0, "its -wal file")
    }

    /// Checks only the file that is mapped into memory.
    pub(super) fn check_mapped(&self, file_ids: &FileIds) -> Result<(), LedgerError> {
        check_file(&self.shm, file_ids.shm, file_ids.shm_size, "its -shm file")
    }

    /// Fails if the directory was deleted or replaced: the lock on it then does not keep a second daemon out.
    pub(super) fn check_dir(&mut self) -> Result<(), LedgerError> {
        let replaced = || LedgerError::Unavailable("its directory is gone; restart the daemon".into());
        match (self.dir_inode, fs::metadata(&self.dir)) {
            (Some(then), Ok(now)) if then != Inode::of(&now) => Err(replaced()),
            (Some(_), Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(replaced()),
            (_, Ok(now)) => {
                self.dir_inode = Some(Inode::of(&now));
                Ok(())
            }
            (_, Err(error)) => Err(error.into()),
        }
    }

    /// Renames what is left of the ledger, over the files that were set aside before. Returns the new path of
    /// the database, if there was one. A connection that is still open must not be touched again.
    pub(super) fn quarantine(&self) -> io::Result<Option<PathBuf>> {
        let damaged = self.dir.join(DAMAGED);
        // The database goes last: if it went first and the rest failed, SQLite would apply the old log to a
        // new database.
        move_over(&self.wal, &with_suffix(&damaged, WAL))?;
        move_over(&self.shm, &with_suffix(&damaged, SHM))?;
        let was_there = move_over(&self.main, &damaged)?;
        Ok(was_there.then_some(damaged))
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn check_file(path: &Path, inode: Inode, min_size: u64, what: &str) -> Result<(), LedgerError> {
    let displaced = |how: &str| Err(LedgerError::Displaced(format!("{what} {how}")));
    match fs::metadata(path) {
        Ok(metadata) if Inode::of(&metadata) != inode => displaced("was replaced"),
        Ok(metadata) if metadata.len() < min_size => displaced("was truncated"),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => displaced("was deleted"),
        Err(error) => displaced(&format!("cannot be examined: {error}")),
    }
}

/// Renames `from` to `to`, or removes `to` if there is no `from`: a log must not outlive its database.
/// Returns whether there was a `from`.
fn move_over(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::remove_file(to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(false),
        },
        Err(error) => Err(error),
    }
}
