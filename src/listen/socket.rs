//! Creates the file of a Unix socket, and removes it.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use thiserror::Error;

/// The place and the permissions of the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    pub path: PathBuf,
    /// The file mode; `None` leaves it to the umask. A user who may write to the socket can connect.
    pub mode: Option<u32>,
    /// `None` keeps this process's group.
    pub group: Option<u32>,
}

/// The kernel's limit: 108 bytes with the NUL at the end.
const MAX_PATH_BYTES: usize = 107;

/// Why the socket could not be created. Who asked for it knows its path, and how to name another one.
#[derive(Debug, Error)]
pub enum SocketError {
    #[error("its path has more than {MAX_PATH_BYTES} bytes, which the kernel does not allow")]
    TooLong,
    #[error("another process answers there")]
    Taken,
    #[error("there is something that is not a socket; remove it")]
    NoSocket,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A listening socket and its file.
#[derive(Debug)]
pub struct BoundSocket {
    listener: UnixListener,
    file: SocketFile,
}

impl BoundSocket {
    pub fn split(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

/// The socket's file, which is removed on drop.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still leads to this socket. A path that cannot be looked at counts as unchanged.
    pub fn is_there(&self) -> bool {
        match inode(&self.path) {
            Ok(inode) => inode == self.inode,
            Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        }
    }
}

/// Creates a listening socket. Replaces the socket of a process that has ended, and nothing else.
///
/// The socket gets its name only after its mode and group, so that nobody else can connect before.
pub fn bind(options: &SocketOptions) -> Result<BoundSocket, SocketError> {
    let path = &options.path;
    if path.as_os_str().len() > MAX_PATH_BYTES {
        return Err(SocketError::TooLong);
    }
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(SocketError::NoSocket),
        Ok(_) if answers(path)? => return Err(SocketError::Taken),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    // A short name, so that this path is not too long if the socket's path is not.
    let temporary = path.with_file_name(format!(".{:x}", std::process::id()));
    let bound = listen(options, &temporary);
    if bound.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    Ok(bound?)
}

fn listen(options: &SocketOptions, temporary: &Path) -> io::Result<BoundSocket> {
    // An earlier process with our pid may have left this file.
    let _ = fs::remove_file(temporary);
    let listener = UnixListener::bind(temporary)?;
    listener.set_nonblocking(true)?;
    chown(temporary, None, options.group)?;
    if let Some(mode) = options.mode {
        fs::set_permissions(temporary, Permissions::from_mode(mode))?;
    }
    fs::rename(temporary, &options.path)?;
    let path = options.path.clone();
    Ok(BoundSocket { listener, file: SocketFile { inode: inode(&path)?, path } })
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have replaced the file.
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Whether a process listens at `path`. Does not wait, because one that hangs would never accept.
fn answers(path: &Path) -> io::Result<bool> {
    let ours = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    match connect(ours.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EAGAIN) => Ok(true),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_its_mode_from_the_start_and_is_removed_with_its_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let options =
            SocketOptions { path: dir.path().join("run/control.sock"), mode: Some(0o660), group: None };
        let bound = bind(&options).unwrap();
        assert_eq!(fs::metadata(&options.path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(bind(&options), Err(SocketError::Taken)));
        assert_eq!(fs::read_dir(dir.path().join("run")).unwrap().count(), 1);
        drop(bound);
        assert!(!options.path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_an_older_daemon_does_not_remove_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let options = SocketOptions { path: dir.path().join("control.sock"), mode: Some(0o600), group: None };
        drop(UnixListener::bind(&options.path).unwrap());
        let first = bind(&options).unwrap();
        fs::remove_file(&options.path).unwrap();
        let second = bind(&options).unwrap();
        drop(first);
        assert!(options.path.exists());
        drop(second);
    }

    #[test]
    fn a_path_may_be_as_long_as_the_kernel_allows_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let options = |length: usize| {
            let parent =
                dir.path().join("x".repeat(length - dir.path().as_os_str().len() - "//control.sock".len()));
            SocketOptions { path: parent.join("control.sock"), mode: Some(0o600), group: None }
        };
        assert_eq!(options(MAX_PATH_BYTES).path.as_os_str().len(), MAX_PATH_BYTES);
        drop(bind(&options(MAX_PATH_BYTES)).unwrap());
        assert!(matches!(bind(&options(MAX_PATH_BYTES + 1)), Err(SocketError::TooLong)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_no_socket_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let options = SocketOptions { path: dir.path().join("control.sock"), mode: Some(0o600), group: None };
        fs::write(&options.path, "precious").unwrap();
        assert!(matches!(bind(&options), Err(SocketError::NoSocket)));
        assert_eq!(fs::read_to_string(&options.path).unwrap(), "precious");
    }
}
