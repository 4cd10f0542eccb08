//! Descriptors whose end takes as long as the half wants.

use std::io::{ErrorKind, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt};

use super::*;

/// How long each takes to be closed while its peer reads nothing, and the time that is too long for a daemon.
const LINGER: Duration = Duration::from_secs(60);
const TOO_LONG: Duration = Duration::from_secs(30);

/// Makes a socket that lingers, and its peer.
fn lingering() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (peer, _) = listener.accept().unwrap();
    sockopt::set_socket_linger(&socket, Some(LINGER)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let filled = loop {
        if let Err(error) = socket.write(&[0; 1 << 16]) {
            break error;
        }
    };
    assert_eq!(filled.kind(), ErrorKind::WouldBlock);
    // A close waits on one that blocks.
    socket.set_nonblocking(false).unwrap();
    (socket.into(), peer)
}

impl Fake {
    fn send_files(&self, files: &[OwnedFd]) {
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&files));
        let frame = frame::encode(&data(), &[]).unwrap();
        sendmsg(&self.socket, &[io::IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL).unwrap();
    }
}

#[test]
fn a_descriptor_that_takes_long_to_close_holds_nobody_up() {
    let began = std::time::Instant::now();
    let (sockets, peers): (Vec<_>, Vec<_>) = (0..5).map(|_| lingering()).unzip();
    let mut sockets = sockets.into_iter();
    let mut next = || sockets.next().unwrap();
    let (one, two, behind, last) = (next(), [next(), next()], next(), next());
    // It is no content.
    let found = violation(true, async |fake| {
        fake.send_files(&[one]);
        heard(fake).await;
    });
    assert!(matches!(found, Violation::File(_)), "{found:?}");
    // There are two.
    let found = violation(true, async |fake| {
        fake.send_files(&two);
        drop(two);
        heard(fake).await;
    });
    assert_eq!(found, Violation::Packet);
    // It is still in the queue when the half is ended.
    let found = violation(true, async |fake| {
        fake.send_frame(&[0; 50], None).await;
        fake.send_files(&[behind]);
        heard(fake).await;
    });
    assert!(matches!(found, Violation::Frame(_)), "{found:?}");
    // The daemon ends.
    let ended = played(Facet::Data, async |mut fake| {
        fake.connect().await;
        drop(std::mem::replace(&mut fake.daemon, StoreChannel::with_room(1).0));
        while !matches!(receive_now(fake.socket.as_fd()), Err(ReceiveError::Ended)) {
            yield_now().await;
        }
        fake.send_files(&[last]);
    });
    assert!(matches!(ended, Err(Closed)));
    assert!(began.elapsed() < TOO_LONG, "{:?}", began.elapsed());
    drop(peers);
}
