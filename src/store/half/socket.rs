//! One end of the socket between the daemon and the half of a store. Each message is one packet.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use tokio::io::unix::AsyncFd;

use super::frame::{self, FrameError, MAX_FRAME};
use crate::model::{Blob, Exposed};
use crate::sys::watch_socket;

/// Room for one descriptor. The kernel closes those for which there is no room, and says so.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(1));

/// A packet to send.
pub(super) struct Packet {
    frame: Vec<u8>,
    /// A blob that is a file.
    file: Option<Blob>,
}

/// Makes the packets of one message. A body that is too long lies in a file in memory, or, where there are
/// none, comes in several messages that begin with `more`.
pub(super) fn packets<T: Serialize>(message: &T, more: &T, body: &Blob) -> Result<Vec<Packet>, FrameError> {
    let packet =
        |message, inline: &[u8], file| frame::encode(message, inline).map(|frame| Packet { frame, file });
    match body.expose() {
        Exposed::Inline(bytes) if bytes.len() <= Blob::MAX_INLINE => Ok(vec![packet(message, bytes, None)?]),
        Exposed::Inline(bytes) => {
            let parts = bytes.chunks(Blob::MAX_INLINE);
            let last = parts.len() - 1;
            let packets = parts
                .enumerate()
                .map(|(place, part)| packet(if place == last { message } else { more }, part, None));
            packets.collect()
        }
        Exposed::Sealed(_) => Ok(vec![packet(message, &[], Some(body.clone()))?]),
    }
}

/// A packet that came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) frame: Vec<u8>,
    pub(super) file: Option<OwnedFd>,
}

#[derive(Debug)]
pub(super) enum ReceiveError {
    /// The other end is closed.
    Ended,
    /// No packet of ours looks like this.
    Malformed,
    System(io::Error),
}

pub(super) struct Socket(AsyncFd<OwnedFd>);

/// Makes both ends.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

impl Socket {
    /// Takes an end, which must not block. Must be called inside a tokio runtime.
    pub(super) fn new(end: OwnedFd) -> io::Result<Self> {
        watch_socket(end).map(Self)
    }

    /// Waits for the next packet. Can be dropped at any time.
    pub(super) async fn receive(&self) -> Result<Received, ReceiveError> {
        loop {
            let mut guard = self.0.readable().await.map_err(ReceiveError::System)?;
            match receive_now(self.0.get_ref().as_fd()) {
                Err(ReceiveError::System(error)) if error.kind() == ErrorKind::WouldBlock => {
                    guard.clear_ready();
                }
                received => return received,
            }
        }
    }

    /// Waits until there may be room for a packet. Can be dropped at any time.
    pub(super) async fn room(&self) {
        // An error shows in the attempt to send.
        let _ = self.0.writable().await;
    }

    /// Sends a packet. Returns false if there is no room now.
    pub(super) fn send(&self, packet: &Packet) -> io::Result<bool> {
        let sent = self.0.try_io(tokio::io::Interest::WRITABLE, |socket| {
            send_now(socket.as_fd(), packet.frame.as_slice(), packet.file.as_ref().and_then(file))
        });
        match sent {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tells the other end that nothing comes any more. What it sends can still be received.
    pub(super) fn close_sending(&self) {
        // Fails only if the other end is gone.
        let _ = rustix::net::shutdown(self.0.get_ref(), rustix::net::Shutdown::Write);
    }
}

fn file(blob: &Blob) -> Option<BorrowedFd<'_>> {
    match blob.expose() {
        Exposed::Sealed(file) => Some(file.as_fd()),
        Exposed::Inline(_) => None,
    }
}

/// Takes a packet that has come. Does not wait.
pub(super) fn receive_now(socket: BorrowedFd<'_>) -> Result<Received, ReceiveError> {
    let mut frame = vec![0; MAX_FRAME];
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut frame)];
        match recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Err(ReceiveError::Ended),
            Err(error) => return Err(ReceiveError::System(error.into())),
            Ok(received) => break received,
        }
    };
    let mut files: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(rights) => files.extend(rights),
            _ => return Err(ReceiveError::Malformed),
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) || files.len() > 1 {
        return Err(ReceiveError::Malformed);
    }
    // No frame of ours is empty.
    if received.bytes == 0 {
        return Err(if files.is_empty() { ReceiveError::Ended } else { ReceiveError::Malformed });
    }
    frame.truncate(received.bytes);
    Ok(Received { frame, file: files.pop() })
}

/// Sends a packet. Does not wait.
pub(super) fn send_now(socket: BorrowedFd<'_>, frame: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = file.map(|file| [file]);
    if let Some(files) = &files {
        control.push(SendAncillaryMessage::ScmRights(files));
    }
    let sent = sendmsg(socket, &[IoSlice::new(frame)], &mut control, SendFlags::NOSIGNAL);
    sent.map(drop).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sys::seal;

    #[test]
    fn a_packet_arrives_whole_or_is_malformed() {
        let (here, there) = pair().unwrap();
        let send = |frame: &[u8], file: Option<&OwnedFd>| {
            send_now(there.as_fd(), frame, file.map(AsFd::as_fd)).unwrap();
        };
        let blob = seal(Arc::from([7; 100_000].as_slice()));
        let file = file(&blob).unwrap().try_clone_to_owned().unwrap();
        send(b"one", None);
        send(b"two", Some(&file));
        let received = receive_now(here.as_fd()).unwrap();
        assert!(received.frame == b"one" && received.file.is_none());
        let received = receive_now(here.as_fd()).unwrap();
        assert!(received.frame == b"two" && received.file.is_some());
        send(&vec![b'x'; MAX_FRAME + 1], None);
        assert!(matches!(receive_now(here.as_fd()), Err(ReceiveError::Malformed)));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd(), file.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&files));
        sendmsg(&there, &[IoSlice::new(b"three")], &mut control, SendFlags::empty()).unwrap();
        assert!(matches!(receive_now(here.as_fd()), Err(ReceiveError::Malformed)));
        drop(there);
        assert!(matches!(receive_now(here.as_fd()), Err(ReceiveError::Ended)));
    }
}
