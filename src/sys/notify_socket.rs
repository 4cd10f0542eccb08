//! Sending messages to systemd, which may be busy, hang or be gone.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::kernel::cannot;

/// The socket on which systemd listens.
///
/// We do not use `sd_notify::notify`: it blocks while systemd's queue is full, takes an abstract name for a
/// path, and needs a new descriptor each time, when actions may have taken the last one.
pub struct NotifySocket {
    pub name: OsString,
    socket: UnixDatagram,
}

impl NotifySocket {
    pub fn new(name: OsString) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .map_err(cannot("tell systemd that this process is alive (NOTIFY_SOCKET)", "socket or ioctl"))?;
        Ok(Self { name, socket })
    }

    /// Returns false if systemd has no room for the message now.
    pub fn send(&self, message: &str) -> io::Result<bool> {
        match self.socket.send_to_addr(message.as_bytes(), &address(&self.name)?) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(ErrorKind::InvalidInput, "neither a path nor an abstract name")),
    }
}
