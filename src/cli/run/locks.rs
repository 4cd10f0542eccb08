//! The locks that keep a second daemon away: on the state directory, and on the pid file.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::fstat;
use nix::unistd::geteuid;
use thiserror::Error;

use crate::trust::{self, Location, Place};

/// How long it may take on a busy machine. It usually takes less than 1 ms.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

const LOCK_POLL: Duration = Duration::from_millis(10);

#[derive(Debug, Error)]
pub enum LockError {
    #[error(
        "{} is in use by another twitcher{}; stop that one, or give this one its own {what}",
        .path.display(),
        .pid.as_ref().map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    Taken { path: PathBuf, pid: Option<String>, what: &'static str },
    #[error("{what} {}: {source}", .path.display())]
    Io { path: PathBuf, what: &'static str, source: io::Error },
}

/// A lock that the daemon holds as long as it lives. The kernel releases it when the daemon dies.
pub type Lock = Flock<File>;

/// Locks the state directory itself, not a file in it, which could not be created on a full or read-only
/// disk.
pub fn lock_state_dir(path: &Path) -> Result<Lock, LockError> {
    let what = "state directory";
    let io = |source| LockError::Io { path: path.to_owned(), what, source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
    let directory = File::open(path).map_err(io)?;
    lock(directory).map_err(|(_, error)| match error {
        Errno::EWOULDBLOCK => LockError::Taken { path: path.to_owned(), pid: None, what },
        error => io(error.into()),
    })
}

/// Returns the warning that users other than root can change the state of root's daemon.
pub fn untrusted_state_dir_warning(path: &Path, lock: &Lock) -> Option<String> {
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
    place: Place,
    file: Lock,
}

impl PidFile {
    pub fn lock(path: PathBuf) -> Result<Self, LockError> {
        let what = "pid file";
        loop {
            let io = |source| LockError::Io { path: path.clone(), what, source };
            let place = Place::find(&path).map_err(io)?;
            let file = place.open(OFlag::O_RDWR | OFlag::O_CREAT, 0o600).map_err(io)?;
            let file = match lock(file) {
                Ok(file) => file,
                Err((file, Errno::EWOULDBLOCK)) => {
                    let pid = io::read_to_string(file).ok().map(|pid| pid.trim().to_owned());
                    let pid = pid.filter(|pid| !pid.is_empty());
                    return Err(LockError::Taken { path, pid, what });
                }
                Err((_, error)) => return Err(io(error.into())),
            };
            // If a daemon ended in between, it removed the file, and the locked file has no name.
            if let (Ok(ours), Ok(named)) = (file.metadata(), fs::metadata(&path))
                && (ours.dev(), ours.ino()) == (named.dev(), named.ino())
            {
                return Ok(Self { place, file });
            }
        }
    }

    /// Writes the id of the calling process, which must be the daemon, not the parent that forked it.
    pub fn write(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        let mut file: &File = &self.file;
        writeln!(file, "{}", std::process::id())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another user may have exchanged a directory on the way.
        let _ = fstat(&*self.file).map(|file| self.place.remove(&file));
    }
}
