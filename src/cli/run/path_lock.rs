//! Locks on paths, which keep a second daemon away even after others have moved the file or directory of the
//! first one.
//!
//! A lock on a directory follows it when it is moved, and a new one at its path has none. So the daemon also
//! listens at an abstract address of the kernel that is made of the place. Nobody can remove this address,
//! and it ends with the daemon. Daemons in other network namespaces do not see it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen, socket,
};
use nix::unistd::geteuid;

use crate::text::StableHash;

/// How long it may take on a busy machine. It usually takes less than 1 ms.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

pub const LOCK_POLL: Duration = Duration::from_millis(10);

/// How many daemons can look who the holder is until [`PathLock::tidy`] is called.
const BACKLOG: i32 = 128;

/// A lock that the daemon holds as long as it lives.
#[derive(Debug)]
pub struct PathLock(UnixListener);

/// Another process of this user or of root has the lock.
#[derive(Debug)]
pub struct TakenPath {
    /// `None` if this process cannot see the other one.
    pub pid: Option<i32>,
}

impl PathLock {
    /// Locks the name of a file or directory in the directory above it, whatever has this name. Returns
    /// `None` where that is not possible: other users could prevent it, so it must not keep a daemon away.
    pub fn of_path(path: &Path) -> Result<Option<Self>, TakenPath> {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        Self::wait_for(above, "path", name)
    }

    /// Locks what this config directory says about this store.
    pub fn of_configs(config_path: &Path, store: &str) -> Result<Option<Self>, TakenPath> {
        Self::wait_for(config_path, "configs", OsStr::new(store))
    }

    /// Waits like the other locks, since a process that a dead daemon has made can still hold it.
    fn wait_for(directory: &Path, kind: &str, name: &OsStr) -> Result<Option<Self>, TakenPath> {
        let Ok(address) = address(directory, kind, name) else { return Ok(None) };
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            match Self::attempt(&address) {
                Err(Errno::EADDRINUSE) => {}
                attempt => return Ok(attempt.ok()),
            }
            if Instant::now() >= deadline {
                return holder(&address).map_or(Ok(None), Err);
            }
            std::thread::sleep(LOCK_POLL);
        }
    }

    fn attempt(address: &UnixAddr) -> Result<Self, Errno> {
        let socket = new_socket()?;
        bind(socket.as_raw_fd(), address)?;
        let lock = Self(socket.into());
        lock.listen()?;
        Ok(lock)
    }

    /// Lets the next daemon see the calling process as the holder. It must be the daemon, not the parent that
    /// forked it.
    pub fn claim(&self) {
        // The kernel keeps the credentials of the last call. If this fails, the next daemon names the parent.
        let _ = self.listen();
    }

    fn listen(&self) -> Result<(), Errno> {
        listen(&self.0, Backlog::new(BACKLOG)?)
    }

    /// Makes room for daemons that look who the holder is. Each leaves a connection behind.
    pub fn tidy(&self) {
        while self.0.accept().is_ok() {}
    }
}

fn new_socket() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
}

fn address(directory: &Path, kind: &str, name: &OsStr) -> io::Result<UnixAddr> {
    let place = fs::metadata(directory)?;
    let mut hash = StableHash::default();
    hash.add(kind);
    hash.add_number(place.dev().cast_signed());
    hash.add_number(place.ino().cast_signed());
    // Names of other bytes than UTF-8 collide at worst.
    hash.add(&String::from_utf8_lossy(name.as_bytes()));
    Ok(UnixAddr::new_abstract(format!("twitcher/{}", hash.finish()).as_bytes())?)
}

/// Returns who has the lock, unless it is another user, who could only be in the way.
fn holder(address: &UnixAddr) -> Option<TakenPath> {
    let ours = new_socket().ok()?;
    connect(ours.as_raw_fd(), address).ok()?;
    let holder = getsockopt(&ours, PeerCredentials).ok()?;
    let is_trusted = holder.uid() == 0 || holder.uid() == geteuid().as_raw();
    is_trusted.then(|| TakenPath { pid: Some(holder.pid()).filter(|pid| *pid > 0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_locked_when_its_directory_is_moved() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        fs::create_dir(&path).unwrap();
        let lock = PathLock::of_path(&path).unwrap().unwrap();
        fs::rename(&path, directory.path().join("moved")).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        for _ in 0..2 {
            assert_eq!(PathLock::of_path(&path).unwrap_err().pid, Some(pid));
        }
        let address = address(directory.path(), "path", OsStr::new("state")).unwrap();
        while holder(&address).is_some() {}
        lock.tidy();
        assert!(holder(&address).is_some());
        assert!(PathLock::of_path(&directory.path().join("moved")).unwrap().is_some());
        let configs = || PathLock::of_configs(directory.path(), "zk://one");
        let other = PathLock::of_configs(directory.path(), "zk://two").unwrap();
        let first = configs().unwrap();
        assert!(first.is_some() && other.is_some() && configs().is_err());
        drop((lock, first));
        assert!(PathLock::of_path(&path).unwrap().is_some() && configs().unwrap().is_some());
    }
}
