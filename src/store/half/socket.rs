//! One end of the socket between the daemon and the half of a store. Each message is one packet.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, RecvMsg, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg,
    socketpair,
};
use serde::Serialize;
use tokio::io::unix::AsyncFd;

use super::frame::{self, FrameError, MAX_FRAME};
use crate::model::{Blob, Exposed};
use crate::sys::watch_socket;

/// The most descriptors that one packet can have (SCM_MAX_FD of the kernel). There must be room for all.
const MAX_FILES: usize = 253;

/// Room for one descriptor to send.
const SENT_CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(1));

/// Room for what can come.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(MAX_FILES));

/// A packet to send.
pub(super) struct Packet {
    pub(super) frame: Vec<u8>,
    /// A blob that is a file.
    pub(super) file: Option<Blob>,
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
    /// No packet of ours looks like this. It had these descriptors, whose end may take long.
    Malformed(Vec<OwnedFd>),
    /// A descriptor came for which this process has no number.
    NoDescriptors,
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

    pub(super) fn into_inner(self) -> OwnedFd {
        self.0.into_inner()
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

    /// Takes the next packet, if it has come.
    pub(super) fn try_receive(&self) -> Option<Result<Received, ReceiveError>> {
        match receive_now(self.0.get_ref().as_fd()) {
            Err(ReceiveError::System(error)) if error.kind() == ErrorKind::WouldBlock => None,
            received => Some(received),
        }
    }

    /// Returns whether the other end is closed, however much of what came from it was not received yet.
    pub(super) fn is_hung_up(&self) -> bool {
        // This is told whatever is asked for. If it cannot be known, it shows when everything is received.
        let mut ends = [PollFd::new(self.0.get_ref().as_fd(), PollFlags::empty())];
        poll(&mut ends, PollTimeout::ZERO).is_ok_and(|ended| ended > 0)
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

    /// Tells the other end that nothing comes any more, and that nothing it sends arrives.
    pub(super) fn shut_down(&self) {
        let _ = rustix::net::shutdown(self.0.get_ref(), rustix::net::Shutdown::Both);
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
    thread_local! {
        // Shared by all packets: most are short, and to clear so many bytes for each takes longer than to
        // receive it.
        static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_FRAME].into());
    }
    let mut files = copies(socket)?;
    let (received, frame) = BUFFER.with_borrow_mut(|buffer| {
        let mut control = RecvAncillaryBuffer::default();
        let received = receive_by(socket, buffer, &mut control, RecvFlags::empty())?;
        let frame = buffer[..received.bytes.min(MAX_FRAME)].to_vec();
        Ok((received, frame))
    })?;
    if files.len() > 1 || received.flags.contains(ReturnFlags::TRUNC) {
        return Err(ReceiveError::Malformed(files));
    }
    // No frame of ours is empty.
    match received.bytes {
        0 if files.is_empty() => return Err(ReceiveError::Ended),
        0 => return Err(ReceiveError::Malformed(files)),
        _ => {}
    }
    Ok(Received { frame, file: files.pop() })
}

/// Takes copies of the descriptors that the next packet has.
///
/// What this process has no number for, the kernel closes when it hands a packet over, on the thread that
/// asks for it and for as long as that takes. So the packet itself is taken without its descriptors, and only
/// when this process has copies of all: then none of those that are closed is the last.
fn copies(socket: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, ReceiveError> {
    let seen = receive_by(socket, &mut [], &mut RecvAncillaryBuffer::default(), RecvFlags::PEEK)?;
    if !seen.flags.contains(ReturnFlags::CTRUNC) {
        return Ok(Vec::new());
    }
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let seen = receive_by(socket, &mut [], &mut control, RecvFlags::PEEK)?;
    let (mut files, mut is_other) = (Vec::new(), false);
    for message in control.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(rights) => files.extend(rights),
            _ => is_other = true,
        }
    }
    // There was room for all that can come.
    let is_lost = seen.flags.contains(ReturnFlags::CTRUNC);
    if is_other || (is_lost && !files.is_empty()) {
        return Err(ReceiveError::Malformed(files));
    }
    if is_lost { Err(ReceiveError::NoDescriptors) } else { Ok(files) }
}

fn receive_by(
    socket: BorrowedFd<'_>,
    frame: &mut [u8],
    control: &mut RecvAncillaryBuffer<'_>,
    flags: RecvFlags,
) -> Result<RecvMsg, ReceiveError> {
    loop {
        let mut parts = [IoSliceMut::new(frame)];
        match recvmsg(socket, &mut parts, control, flags | RecvFlags::CMSG_CLOEXEC) {
            // The other end was closed before it had read all. What it had sent comes behind this error.
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
            Err(error) => return Err(ReceiveError::System(error.into())),
            Ok(received) => return Ok(received),
        }
    }
}

/// Sends a packet. Does not wait.
pub(super) fn send_now(socket: BorrowedFd<'_>, frame: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); SENT_CONTROL_BYTES];
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
        for length in [MAX_FRAME - 1, MAX_FRAME] {
            send(&vec![b'x'; length], None);
            assert_eq!(receive_now(here.as_fd()).unwrap().frame.len(), length);
        }
        send(&vec![b'x'; MAX_FRAME + 1], None);
        let malformed = || match receive_now(here.as_fd()) {
            Err(ReceiveError::Malformed(files)) => files.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(malformed(), 0);
        for (bytes, count) in [(b"three".as_slice(), 2), (b"", 1), (b"all", MAX_FILES)] {
            let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let files = vec![file.as_fd(); count];
            control.push(SendAncillaryMessage::ScmRights(&files));
            sendmsg(&there, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
            assert_eq!(malformed(), count, "the kernel closed none");
        }
        send(b"last words", None);
        // It reads nothing of this any more.
        send_now(here.as_fd(), b"unread", None).unwrap();
        drop(there);
        assert!(matches!(receive_now(here.as_fd()), Ok(Received { frame, .. }) if frame == b"last words"));
        assert!(matches!(receive_now(here.as_fd()), Err(ReceiveError::Ended)));
    }
}
