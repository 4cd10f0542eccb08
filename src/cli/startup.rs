//! What happens once, before the daemon's loop: locks, the pid file, the background, limits, signals.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, PipeWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::O_NOFOLLOW;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;
use signal_hook::iterator::Signals;
use thiserror::Error;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::sys;
use crate::trust::{Location, trusted};

/// What starting a process may take on a machine that is short of everything; 1 ms is usual.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

const LOCK_POLL: Duration = Duration::from_millis(10);

#[derive(Debug, Error)]
pub enum LockError {
    #[error("{} is in use by another twitcher{}; stop that one, or give this one its own {what}",
        .path.display(), .pid.as_ref().map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Taken { path: PathBuf, pid: Option<String>, what: &'static str },
    #[error("{what} {}: {source}", .path.display())]
    Io { path: PathBuf, what: &'static str, source: io::Error },
}

/// Held as long as the daemon lives; the kernel lets go of it when the daemon dies, however it does.
pub type Lock = Flock<File>;

/// Locks the state directory itself and not a file in it, so that a full or read-only one still serves.
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

/// What is wrong with the state directory, if others than root could make up there what root's daemon goes by.
pub fn untrusted_state_dir_warning(path: &Path, lock: &Lock) -> Option<String> {
    let metadata = lock.metadata().ok().filter(|_| geteuid().is_root())?;
    let judged = trusted(path, metadata.uid(), metadata.mode(), Location::Inside);
    judged.err().map(|untrusted| untrusted.warning())
}

/// Waits for a lock as long as a daemon that is gone may seem to hold it: a process that it was about to start has it
/// until it executes its program. So whoever gets the lock also knows that every such process is the action by now.
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

/// The pid file: locked while the daemon lives, removed when it ends. Whoever could read it could lock it as well, and keep
/// the next daemon from its start.
pub struct PidFile {
    path: PathBuf,
    file: Lock,
}

impl PidFile {
    pub fn lock(path: PathBuf) -> Result<Self, LockError> {
        let what = "pid file";
        loop {
            let io = |source| LockError::Io { path: path.clone(), what, source };
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(O_NOFOLLOW)
                .open(&path)
                .map_err(io)?;
            let file = match lock(file) {
                Ok(file) => file,
                Err((file, Errno::EWOULDBLOCK)) => {
                    let pid = io::read_to_string(file).ok().map(|pid| pid.trim().to_owned());
                    let pid = pid.filter(|pid| !pid.is_empty());
                    return Err(LockError::Taken { path, pid, what });
                }
                Err((_, error)) => return Err(io(error.into())),
            };
            // A daemon that ended in between took the file with it: what we locked is nobody's any more.
            if let (Ok(ours), Ok(named)) = (file.metadata(), fs::metadata(&path))
                && (ours.dev(), ours.ino()) == (named.dev(), named.ino())
            {
                return Ok(Self { path, file });
            }
        }
    }

    /// To be called by the process that stays.
    pub fn write(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        let mut file: &File = &self.file;
        writeln!(file, "{}", std::process::id())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A daemon that goes to the background, while the process that was called waits to hear how its start went.
pub struct Background {
    report: PipeWriter,
}

impl Background {
    /// Returns in the child, which leads a session of its own and is in `/`. The calling process ends here: with 0 once
    /// the child is ready, with 1 if it ends before; the child says why, it still has the same stderr.
    pub fn enter() -> io::Result<Self> {
        let (mut heard, report) = io::pipe()?;
        if sys::fork()? {
            drop(heard);
            nix::unistd::setsid()?;
            std::env::set_current_dir("/")?;
            return Ok(Self { report });
        }
        drop(report);
        let ready = heard.read_exact(&mut [0]).is_ok();
        std::process::exit(i32::from(!ready))
    }

    /// Lets the calling process end well, and lets go of its terminal. With `keep_stdout` the log goes there.
    pub fn ready(mut self, keep_stdout: bool) -> io::Result<()> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        if !keep_stdout {
            nix::unistd::dup2_stdout(&null)?;
        }
        nix::unistd::dup2_stderr(&null)?;
        self.report.write_all(&[0])
    }
}

/// Lets the daemon have as many descriptors as it may: each running action takes three.
pub fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// These signals as they come, from a thread of their own.
pub fn signals(wanted: &[i32]) -> io::Result<UnboundedReceiver<i32>> {
    let mut signals = Signals::new(wanted)?;
    let (sender, receiver) = unbounded_channel();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Makes sure that there is a directory of configs before the daemon goes where nobody sees its errors.
pub fn require_directory(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(ErrorKind::NotADirectory.into()),
        Err(error) => Err(error),
    }
    .map_err(|error| {
        let remedy = "create it, or name another with --config-path";
        io::Error::other(format!("config directory {}: {error}; {remedy}", path.display()))
    })
}
