//! Speaks to a daemon in the place of the process that serves its store, as one would that somebody has taken
//! over. It shares no code with the program under test.

use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, SocketType, recvmsg, sendmsg, shutdown, sockopt::socket_type,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde_json::Value;

use super::process::Process;
use super::wait::DEADLINE;

/// The most descriptors that the kernel passes on at once.
pub const MAX_DESCRIPTORS: usize = 253;

/// The seals that make a file in memory unchangeable.
pub const ALL_SEALS: SealFlags =
    SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);

/// Stands in for a process that it has stopped, on that process' socket.
pub struct Impostor {
    pub half: Process,
    socket: OwnedFd,
}

impl Impostor {
    /// Stops the process and takes its socket. Only root can. Returns `None` if the process has ended.
    pub fn of(half: Process) -> Option<Self> {
        let pidfd = pidfd_open(Pid::from_raw(half.0)?, PidfdFlags::empty()).ok()?;
        half.signal(Signal::SIGSTOP);
        let numbers = fs::read_dir(format!("/proc/{}/fd", half.0)).ok()?.flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut sockets = numbers.filter_map(|number| {
            let file = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).ok()?;
            (socket_type(&file).ok()? == SocketType::SEQPACKET).then_some(file)
        });
        Some(Self { half, socket: sockets.next()? })
    }

    /// Says a message with these bytes behind it and these descriptors. Fails if the daemon does not listen
    /// any more.
    pub fn say_with(&self, message: &Value, body: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send(&frame(message.to_string().as_bytes(), body), files)
    }

    pub fn say(&self, message: &Value) -> io::Result<()> {
        self.say_with(message, b"", &[])
    }

    /// Says this again and again, for so long or until nobody listens. Returns how much was said. A daemon
    /// that puts off to hear it leaves no room for the next message, perhaps for half a minute.
    pub fn flood(&self, length: Duration, messages: &[Value]) -> u64 {
        let (until, mut said) = (Instant::now() + length, 0);
        for message in messages.iter().cycle() {
            let left = until.saturating_duration_since(Instant::now());
            let has_room = || self.wait(PollFlags::POLLOUT, left).is_ok();
            if left.is_zero() || !has_room() || self.say(message).is_err() {
                break;
            }
            said += 1;
        }
        said
    }

    /// Sends one packet. Waits until there is room for it.
    pub fn send(&self, packet: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        loop {
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !files.is_empty() {
                assert!(control.push(SendAncillaryMessage::ScmRights(files)), "too many descriptors");
            }
            match sendmsg(&self.socket, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::AGAIN) => self.wait(PollFlags::POLLOUT, DEADLINE)?,
                // The kernel passes on only so many descriptors at once.
                Err(rustix::io::Errno::TOOMANYREFS) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for what the daemon says next. Returns the message, and the bytes that came with it.
    pub fn hear(&self) -> io::Result<(Value, Vec<u8>)> {
        self.wait(PollFlags::POLLIN, DEADLINE)?;
        let mut packet = vec![0; 64 << 10];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut packet)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let (header, mut body) = unframe(&packet[..received.bytes]);
        for message in control.drain() {
            let RecvAncillaryMessage::ScmRights(files) = message else { continue };
            for file in files {
                let mut file = File::from(file);
                file.rewind()?;
                file.read_to_end(&mut body)?;
            }
        }
        Ok((serde_json::from_slice(&header).expect("JSON"), body))
    }

    /// Closes the connection, as the process may that lives on.
    pub fn hang_up(&self) {
        shutdown(&self.socket, Shutdown::Both).expect("hang up");
    }

    /// Ends the process in whose place it speaks, and says no more itself. Returns that process.
    pub fn end(self) -> Process {
        if self.half.is_alive() {
            self.half.signal(Signal::SIGKILL);
        }
        self.half
    }

    fn wait(&self, what: PollFlags, timeout: Duration) -> io::Result<()> {
        let timeout = PollTimeout::try_from(timeout).expect("not too long");
        match poll(&mut [PollFd::new(self.socket.as_fd(), what)], timeout)? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }
}

/// One message as it is sent: the length of the header, the header, and the bytes.
pub fn frame(header: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).expect("a short header");
    [&length.to_le_bytes(), header, body].concat()
}

/// The header and the bytes of a message.
fn unframe(packet: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (length, rest) = packet.split_at(4);
    let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
    let (header, body) = rest.split_at(usize::try_from(length).expect("a short header"));
    (header.to_vec(), body.to_vec())
}

/// Makes a file in memory with these seals.
pub fn memory_file(content: &[u8], seals: SealFlags) -> OwnedFd {
    let file = memfd_create("content", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
    let mut file = File::from(file.expect("a file in memory"));
    file.write_all(content).expect("write it");
    if !seals.is_empty() {
        fcntl_add_seals(&file, seals).expect("seal it");
    }
    file.into()
}
