//! The ledger's files on the disk, and whether they still are the ones that were opened.

use std::ffi::OsString;
use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::FILE;
use super::error::LedgerError;

/// Where a damaged ledger is kept for whoever wants to look at it; one is enough.
const DAMAGED: &str = "ledger.damaged.db";

/// What SQLite appends to a database's name for its log and the log's index.
const WAL: &str = "-wal";
const SHM: &str = "-shm";

/// A database begins with a header of this size, from the first transaction on.
const HEADER: u64 = 100;

/// Names a file for as long as someone has it open.
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

/// The files of an open database.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileIds {
    main: Inode,
    wal: Inode,
    shm: Inode,
    /// SQLite maps it into memory and never shrinks it: touching what was cut off would be a SIGBUS.
    shm_size: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
    /// The directory that the daemon has locked.
    dir_inode: Option<Inode>,
    main: PathBuf,
    wal: PathBuf,
    shm: PathBuf,
}

impl Files {
    pub(super) fn new(dir: &Path) -> Self {
        let main = dir.join(FILE);
        let dir_inode = fs::metadata(dir).ok().map(|metadata| Inode::of(&metadata));
        Self { dir: dir.into(), dir_inode, wal: with(&main, WAL), shm: with(&main, SHM), main }
    }

    /// Whether there is anything by the ledger's name.
    pub(super) fn exist(&self) -> bool {
        fs::symlink_metadata(&self.main).is_ok()
    }

    /// Whether there is what is not yet in the database, or whoever writes it has it open.
    pub(super) fn has_log(&self) -> bool {
        fs::symlink_metadata(&self.wal).is_ok()
    }

    /// Of the database and its log, in bytes. What cannot be looked at counts nothing.
    pub(super) fn size(&self) -> u64 {
        [&self.main, &self.wal].into_iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum()
    }

    pub(super) fn main(&self) -> &Path {
        &self.main
    }

    /// Makes sure that there is a file to open, and that nobody but its owner can read it: the output of actions
    /// may hold secrets. The log and its index get the same mode from SQLite.
    pub(super) fn create(&self) -> Result<(), LedgerError> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.main) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.check_kind(),
            Err(error) => Err(error.into()),
        }
    }

    /// A link's log would lie beside its target, where nobody looks after it.
    pub(super) fn check_kind(&self) -> Result<(), LedgerError> {
        if fs::symlink_metadata(&self.main)?.is_file() {
            return Ok(());
        }
        Err(LedgerError::Damaged("it is no regular file".into()))
    }

    /// To be taken when all three exist, which is after the first transaction.
    pub(super) fn file_ids(&self) -> io::Result<FileIds> {
        let shm = fs::metadata(&self.shm)?;
        Ok(FileIds {
            main: Inode::of(&fs::metadata(&self.main)?),
            wal: Inode::of(&fs::metadata(&self.wal)?),
            shm: Inode::of(&shm),
            shm_size: shm.len(),
        })
    }

    /// Whether a connection to the files of `file_ids` may be touched. Costs some microseconds.
    pub(super) fn check(&self, file_ids: &FileIds) -> Result<(), LedgerError> {
        same(&self.main, file_ids.main, HEADER, "it")?;
        self.check_mapped(file_ids)?;
        same(&self.wal, file_ids.wal, 0, "its -wal file")
    }

    /// The same for the one file that is mapped into memory.
    pub(super) fn check_mapped(&self, file_ids: &FileIds) -> Result<(), LedgerError> {
        same(&self.shm, file_ids.shm, file_ids.shm_size, "its -shm file")
    }

    /// Fails if the directory is gone, or another: then it is not the one that keeps a second daemon out.
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

    /// Renames whatever there is of the ledger, over what was set aside before, and returns the new path if there
    /// was anything. No connection may be open that will be touched again.
    pub(super) fn quarantine(&self) -> io::Result<Option<PathBuf>> {
        let damaged = self.dir.join(DAMAGED);
        // The database last: without it, SQLite takes no log for its own; a new one would be fed the old one's.
        move_over(&self.wal, &with(&damaged, WAL))?;
        move_over(&self.shm, &with(&damaged, SHM))?;
        let was_there = move_over(&self.main, &damaged)?;
        Ok(was_there.then_some(damaged))
    }
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn same(path: &Path, inode: Inode, min_size: u64, what: &str) -> Result<(), LedgerError> {
    let displaced = |how: &str| Err(LedgerError::Displaced(format!("{what} {how}")));
    match fs::metadata(path) {
        Ok(metadata) if Inode::of(&metadata) != inode => displaced("was replaced"),
        Ok(metadata) if metadata.len() < min_size => displaced("was truncated"),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => displaced("was deleted"),
        Err(error) => displaced(&format!("cannot be looked at: {error}")),
    }
}

/// Renames `from` to `to`, or else removes `to`: a log must not outlive its database. Returns whether there was
/// anything to rename.
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
