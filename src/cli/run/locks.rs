//! The locks that keep a second daemon away: on the state directory, and on the pid file.
//!
//! Both are locks on the file or directory, which every daemon on the machine and on a network file system
//! sees, and locks on the path ([`super::path_lock`]).

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::fstat;
use nix::unistd::geteuid;
use thiserror::Error;

use super::path_lock::{LOCK_POLL, LOCK_TIMEOUT, PathLock, TakenPath};
use crate::trust::{self, Location, Place};

#[derive(Debug, Error)]
pub enum LockError {
    #[error(
        "{} is in use by another twitcher{}; stop that one, or give this one its own {what}",
        .path.display(),
        .pid.as_ref().map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    Taken { path: PathBuf, pid: Option<String>, what: &'static str },
    #[error(
        "{} is in use by another twitcher{}, although its {what} is no longer there; stop that one, or give \
         this one its own {what}",
        .path.display(),
        .taken.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    TakenPath { path: PathBuf, taken: TakenPath, what: &'static str },
    #[error("{what} {}: {source}", .path.display())]
    Io { path: PathBuf, what: &'static str, source: io::Error },
}

/// A lock that the daemon holds as long as it lives. The kernel releases it when the daemon dies.
type Lock = Flock<File>;

/// An open file or directory, which is locked if its file system has locks.
pub struct LockedFile {
    file: Result<Lock, (File, Errno)>,
    /// Dropped with the file.
    path: Option<PathLock>,
}

impl LockedFile {
    /// Why a second daemon may not be kept away, and what to do; `None` if it is.
    pub fn problem(&self, path: &Path) -> Option<String> {
        let error = self.file.as_ref().err()?.1;
        let who = match self.path {
            Some(_) => "a daemon in a container or on another host",
            None => "a second daemon",
        };
        Some(format!(
            "{}: cannot be locked ({}), so {who} is not kept away; use a file system with locks, such as a \
             local one, and restart the daemon",
            path.display(),
            error.desc()
        ))
    }

    /// The lock on the path, if it can be locked.
    pub fn path(&self) -> Option<&PathLock> {
        self.path.as_ref()
    }
}

impl Deref for LockedFile {
    type Target = File;

    fn deref(&self) -> &File {
        match &self.file {
            Ok(lock) => lock,
            Err((file, _)) => file,
        }
    }
}

/// Locks the state directory itself, not a file in it, which could not be created on a full or read-only
/// disk.
pub fn lock_state_dir(path: &Path) -> Result<LockedFile, LockError> {
    let what = "state directory";
    let io = |source| LockError::Io { path: path.to_owned(), what, source };
    let taken = |taken| LockError::TakenPath { path: path.to_owned(), taken, what };
    let mut path_lock = lock_path(path, what)?;
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
    if let Ok(None) = path_lock {
        // The directory above may have been missing.
        path_lock = PathLock::of_path(path);
    }
    let directory = File::open(path).map_err(io)?;
    match lock(directory) {
        Err((_, Errno::EWOULDBLOCK)) => {
            let pid = path_lock.err().and_then(|taken| taken.pid).map(|pid| pid.to_string());
            Err(LockError::Taken { path: path.to_owned(), pid, what })
        }
        file => Ok(LockedFile { file, path: path_lock.map_err(taken)? }),
    }
}

/// Locks the path. If another daemon has it, and nothing is there, nothing may be created there. If something
/// is there, a lock on that may tell more.
fn lock_path(path: &Path, what: &'static str) -> Result<Result<Option<PathLock>, TakenPath>, LockError> {
    match PathLock::of_path(path) {
        Err(taken) if fs::symlink_metadata(path).is_err() => {
            Err(LockError::TakenPath { path: path.to_owned(), taken, what })
        }
        path_lock => Ok(path_lock),
    }
}

/// Returns the warning that users other than root can change the state of root's daemon.
pub fn untrusted_state_dir_warning(path: &Path, lock: &LockedFile) -> Option<String> {
    let metadata = lock.metadata().ok().filter(|_| geteuid().is_root())?;
    let judged = trust::check(path, metadata.uid(), metadata.mode(), Location::Inside);
    judged.err().map(|untrusted| untrusted.warning())
}

/// Locks the file. Waits up to [`LOCK_TIMEOUT`], because a dead daemon may seem to hold the lock: a process
/// that the daemon has made keeps the lock until it has noted who it is (see `action::slots`). So once this
/// has the lock, the next daemon finds every such process.
fn lock(file: File) -> Result<Lock, (File, Errno)> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    let mut file = file;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((refused, Errno::EWOULDBLOCK)) if Instant::now() < deadline => file = refused,
            result => return result,
        }
        std::thread::sleep(LOCK_POLL);
    }
}

/// The pid file, locked while the daemon lives and removed when it ends. Its mode is 0600, because a user who
/// can open the file can lock it, and so keep the next daemon from starting.
pub struct PidFile {
    path: PathBuf,
    held: Mutex<Held>,
}

/// The file that is locked at the moment.
struct Held {
    place: Place,
    file: LockedFile,
}

impl PidFile {
    pub fn lock(path: PathBuf) -> Result<Self, LockError> {
        let what = "pid file";
        let path_lock = lock_path(&path, what)?;
        let (path, mut held) = Self::hold(path)?;
        let taken = |taken| LockError::TakenPath { path: path.clone(), taken, what };
        held.file.path = path_lock.map_err(taken)?;
        Ok(Self { path, held: Mutex::new(held) })
    }

    /// Opens the file, or makes it, and locks it, but not its path.
    fn hold(path: PathBuf) -> Result<(PathBuf, Held), LockError> {
        let what = "pid file";
        loop {
            let io = |source| LockError::Io { path: path.clone(), what, source };
            let place = Place::find(&path).map_err(io)?;
            let file = place.open(OFlag::O_RDWR | OFlag::O_CREAT, 0o600).map_err(io)?;
            let file = match lock(file) {
                Err((file, Errno::EWOULDBLOCK)) => {
                    let pid = io::read_to_string(file).ok().map(|pid| pid.trim().to_owned());
                    let pid = pid.filter(|pid| !pid.is_empty());
                    return Err(LockError::Taken { path, pid, what });
                }
                file => LockedFile { file, path: None },
            };
            // If a daemon ended in between, it removed the file, and the locked file has no name.
            if is_at(&file, &path).unwrap_or(false) {
                return Ok((path, Held { place, file }));
            }
        }
    }

    /// Writes the id of the calling process, which must be the daemon, not the parent that forked it.
    pub fn write(&self) -> Result<(), LockError> {
        let io = |source| LockError::Io { path: self.path.clone(), what: "pid file", source };
        let held = self.held();
        held.file.path().inspect(|lock| lock.claim());
        write(&held.file).map_err(io)
    }

    /// See [`LockedFile::problem`].
    pub fn problem(&self) -> Option<String> {
        self.held().file.problem(&self.path)
    }

    /// Writes the file again if others have removed or overwritten it.
    ///
    /// # Errors
    ///
    /// It cannot be written, or another file is there, which may be another daemon's.
    pub fn renew(&self) -> Result<(), String> {
        let failed = |error: io::Error| format!("{}: {error}", self.path.display());
        let mut held = self.held();
        held.file.path().inspect(|lock| lock.tidy());
        match is_at(&held.file, &self.path) {
            Ok(true) if fs::read_to_string(&self.path).is_ok_and(|text| text == text_of_pid()) => Ok(()),
            Ok(true) => write(&held.file).map_err(failed),
            Ok(false) => Err(format!(
                "{}: another file is there now; remove it, and the daemon writes its own within 10 s",
                self.path.display()
            )),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (_, mut new) = Self::hold(self.path.clone()).map_err(|error| error.to_string())?;
                new.file.path = held.file.path.take();
                *held = new;
                write(&held.file).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // No caller panics while it holds the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let held = self.held();
        // Another file may be there by now, and another user may have exchanged a directory on the way.
        let _ = fstat(&*held.file).map(|file| held.place.remove(&file));
    }
}

/// Whether the path leads to this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (ours, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino()))
}

fn write(file: &File) -> io::Result<()> {
    file.set_len(0)?;
    // Earlier writes have moved the position.
    file.write_all_at(text_of_pid().as_bytes(), 0)
}

fn text_of_pid() -> String {
    format!("{}\n", std::process::id())
}
