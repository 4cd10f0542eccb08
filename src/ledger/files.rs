//! The ledger's files on the disk, and the check that they are still the ones that were opened.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::error::LedgerError;

/// The name of the database in the state directory.
pub const FILE: &str = "ledger.db";

/// The name under which the last damaged ledger is kept for examination.
const DAMAGED: &str = "ledger.damaged.db";

/// The name under which a ledger is kept that an operator did not want to use.
const RESET: &str = "ledger.reset.db";

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

/// The directory that the daemon has locked and uses; none until it is first seen. A clone is the same one.
#[derive(Clone, Debug)]
pub struct DirInUse(Arc<Mutex<Option<Inode>>>);

impl DirInUse {
    fn of(dir: &Path) -> Self {
        let inode = fs::metadata(dir).ok().map(|metadata| Inode::of(&metadata));
        Self(Arc::new(Mutex::new(inode)))
    }

    /// Whether another directory than the one in use has this path, or none.
    pub fn is_not_at(&self, path: &Path) -> bool {
        let found = fs::metadata(path).ok().map(|metadata| Inode::of(&metadata));
        self.get().is_some_and(|inode| found != Some(inode))
    }

    fn get(&self) -> Option<Inode> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, inode: Inode) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(inode);
    }
}

/// The paths of a ledger.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
    dir_in_use: DirInUse,
    /// The lock on a directory that took the place of the one that the daemon has locked.
    dir_lock: Option<Arc<Flock<File>>>,
    main: PathBuf,
    wal: PathBuf,
    shm: PathBuf,
}

impl Files {
    pub(super) fn new(dir: &Path) -> Self {
        let main = dir.join(FILE);
        let (wal, shm) = (with_suffix(&main, WAL), with_suffix(&main, SHM));
        Self { dir: dir.into(), dir_in_use: DirInUse::of(dir), dir_lock: None, main, wal, shm }
    }

    pub(super) fn dir_in_use(&self) -> DirInUse {
        self.dir_in_use.clone()
    }

    /// Whether a file of any kind has the database's name. An error means that nobody can tell.
    pub(super) fn exist(&self) -> io::Result<bool> {
        match fs::symlink_metadata(&self.main) {
            Ok(_) => Ok(true),
            Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The URI under which SQLite opens the database for reading, without creating a file. Only a database
    /// with a log can be open elsewhere; any other is read as it is.
    pub(super) fn read_only_uri(&self) -> String {
        let mut uri = "file:".to_owned();
        for byte in self.main.as_os_str().as_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                    uri.push((*byte).into())
                }
                _ => uri += &format!("%{byte:02X}"),
            }
        }
        uri + if self.has_log() { "?mode=ro" } else { "?mode=ro&immutable=1" }
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

    /// The size of the write-ahead log in bytes; 0 if it cannot be examined.
    pub(super) fn log_size(&self) -> u64 {
        fs::metadata(&self.wal).map_or(0, |metadata| metadata.len())
    }

    pub(super) fn main(&self) -> &Path {
        &self.main
    }

    /// Creates the database if there is none, and returns whether it did. Only its owner can read it, because
    /// the output of actions may hold secrets. SQLite gives the log and its index the same mode.
    pub(super) fn create(&self) -> Result<bool, LedgerError> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.main) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.check_kind().map(|()| false),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses a database whose format SQLite got later than the version that this program contains: to that
    /// version it looks damaged.
    pub(super) fn check_format(&self) -> Result<(), LedgerError> {
        let mut header = [0; HEADER_BYTES as usize];
        let read = File::open(&self.main)?.read(&mut header)?;
        let is_database = header[..read].starts_with(b"SQLite format 3\0");
        // The formats that a program must know to write, to read, and to understand the tables.
        let formats = [header[18], header[19], header[47]];
        if is_database && formats.iter().zip([2, 2, 4]).any(|(format, known)| *format > known) {
            return Err(LedgerError::Refused(
                "it has the format of a newer SQLite; start a newer Twitcher".into(),
            ));
        }
        Ok(())
    }

    /// Refuses anything but a regular file. The log of a link, for example, would be beside its target, where
    /// no check sees it.
    pub(super) fn check_kind(&self) -> Result<(), LedgerError> {
        let kind = fs::symlink_metadata(&self.main)?.file_type();
        let refused = |reason: &str| Err(LedgerError::Refused(reason.into()));
        match () {
            () if kind.is_file() => Ok(()),
            () if kind.is_symlink() => refused(
                "it is a symbolic link; put the file itself there, or name its directory with --state-dir",
            ),
            () if kind.is_dir() => refused("it is a directory; remove it"),
            () => refused("it is not a regular file; remove it"),
        }
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

    /// Checks that the directory is still the one that the daemon has locked. If it was deleted, or replaced
    /// by one without a ledger, creates and locks it, because nothing else keeps a second daemon out of it.
    pub(super) fn check_dir(&mut self) -> Result<(), LedgerError> {
        let found = match fs::metadata(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound && self.dir_in_use.get().is_some() => {
                DirBuilder::new().mode(0o700).create(&self.dir)?;
                fs::metadata(&self.dir)?
            }
            found => found?,
        };
        let now = Inode::of(&found);
        match self.dir_in_use.get() {
            Some(then) if then == now => {}
            Some(_) => self.replace_dir()?,
            // It was missing when the daemon locked what it uses.
            None => self.lock_dir()?,
        }
        self.dir_in_use.set(now);
        Ok(())
    }

    fn replace_dir(&mut self) -> Result<(), LedgerError> {
        if self.exist()? {
            // Perhaps a file system that was mounted late, with the ledger of an earlier daemon.
            return Err(LedgerError::Unavailable(
                "its directory was replaced by another one that has a ledger; restart the daemon to use it"
                    .into(),
            ));
        }
        self.lock_dir()
    }

    fn lock_dir(&mut self) -> Result<(), LedgerError> {
        match Flock::lock(File::open(&self.dir)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                self.dir_lock = Some(Arc::new(lock));
                Ok(())
            }
            Err((_, Errno::EWOULDBLOCK)) => Err(LedgerError::Unavailable(
                "its directory was replaced, and another twitcher uses the new one; stop one of them".into(),
            )),
            // A file system without locks. The daemon has said so when it locked the first one.
            Err(_) => Ok(()),
        }
    }

    /// Renames what is left of a damaged ledger, over the files that were set aside before. Returns the new
    /// path of the database, if there was one. A connection that is still open must not be touched again.
    pub(super) fn quarantine(&self) -> io::Result<Option<PathBuf>> {
        self.set_aside(DAMAGED)
    }

    /// Renames an intact ledger that an operator wants to do without. Returns its new path, if there was one.
    pub(super) fn reset(&self) -> Result<Option<PathBuf>, String> {
        let failed = |error: io::Error| format!("{}: {error}", self.main.display());
        if !self.exist().map_err(failed)? {
            return Ok(None);
        }
        let earlier = self.dir.join(RESET);
        match fs::symlink_metadata(&earlier) {
            Ok(_) => Err(format!(
                "{} is there from an earlier reset; delete it to reset again, or start without the flag",
                earlier.display()
            )),
            Err(_) => self.set_aside(RESET).map_err(failed),
        }
    }

    fn set_aside(&self, name: &str) -> io::Result<Option<PathBuf>> {
        let kept = self.dir.join(name);
        // The database goes last: if it went first and the rest failed, SQLite would apply the old log to a
        // new database.
        move_over(&self.wal, &with_suffix(&kept, WAL))?;
        move_over(&self.shm, &with_suffix(&kept, SHM))?;
        let was_there = move_over(&self.main, &kept)?;
        Ok(was_there.then_some(kept))
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
        Err(error) if error.kind() == ErrorKind::NotFound => displaced("was deleted"),
        Err(error) => displaced(&format!("cannot be examined: {error}")),
    }
}

/// Renames `from` to `to`, or removes `to` if there is no `from`: a log must not outlive its database.
/// Returns whether there was a `from`.
fn move_over(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => match fs::remove_file(to) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(false),
        },
        Err(error) => Err(error),
    }
}
