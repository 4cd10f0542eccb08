//! Processes that an action left behind, and that still write to its output.
//!
//! The daemon reads and drops what they write. When it stops, it hands the pipes to a process of their own,
//! `twitcher drain`: without a reader, the next write would end them with SIGPIPE.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::rc::{Rc, Weak};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::model::Resource;
use crate::sys::{Confinement, HelperUser, confine};

/// A pipe's default capacity, and the pause after each round of reads: together some 12 MiB/s for each pipe.
/// A process that writes a byte at a time wakes up the reader no more often than one that writes much.
const CHUNK: usize = 64 * 1024;
const PAUSE: Duration = Duration::from_millis(5);

thread_local! {
    /// The pipes from which tasks of this thread read.
    static OPEN: RefCell<Vec<Weak<OwnedFd>>> = const { RefCell::new(Vec::new()) };
}

/// Shares a pipe from which a task of this thread will read until its last writer ends.
pub fn share(pipe: OwnedFd) -> Rc<OwnedFd> {
    let pipe = Rc::new(pipe);
    OPEN.with_borrow_mut(|open| {
        // Only when the list is full, so that each pipe costs little.
        if open.len() == open.capacity() {
            open.retain(|pipe| pipe.strong_count() > 0);
        }
        open.push(Rc::downgrade(&pipe));
    });
    pipe
}

/// Starts a process that reads and drops what processes that were left behind write, until the last of them
/// has ended. Does nothing if there are none. Call it once all runs are over, on the thread that called
/// [`share`].
pub fn hand_over() -> io::Result<()> {
    let pipes: Vec<Rc<OwnedFd>> =
        OPEN.with_borrow_mut(|open| open.drain(..).filter_map(|pipe| pipe.upgrade()).collect());
    let pipes: Vec<_> = pipes.into_iter().filter(|pipe| has_writer(pipe)).collect();
    if pipes.is_empty() {
        return Ok(());
    }
    let numbers: Vec<RawFd> = pipes.iter().map(|pipe| pipe.as_raw_fd()).collect();
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let mut command = Command::new("/proc/self/exe");
    // Operators look for processes by this name.
    command.arg0("twitcher").arg("drain").arg(words.join(","));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let limits = vec![(Resource::Fsize, 0)];
    let user = HelperUser::Unique;
    let confinement = Confinement {
        user,
        reads_all: false,
        limits,
        kept: numbers,
        renumbered: None,
        dies_with_thread: false,
    };
    confine(&mut command, confinement);
    // Nobody waits for it: it outlives this process.
    command.spawn().map(drop)
}

fn has_writer(pipe: &OwnedFd) -> bool {
    let mut ends = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    let _ = poll(&mut ends, PollTimeout::ZERO);
    !ends[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}

/// Reads and drops what comes out of the pipes, until the last writer of each has ended. Their descriptors do
/// not block.
pub fn drain(mut pipes: Vec<File>) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    while !pipes.is_empty() {
        let mut ends: Vec<_> =
            pipes.iter().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut ends, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = ends.iter().map(|end| end.any().unwrap_or(true)).collect();
        let mut ready = ready.into_iter();
        pipes.retain_mut(|pipe| {
            if !ready.next().unwrap_or(false) {
                return true;
            }
            match pipe.read(&mut chunk) {
                Ok(length) => length > 0,
                Err(error) => {
                    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
                }
            }
        });
        sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn draining_ends_with_the_last_writer() {
        let (mut files, mut writers) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (reader, writer) = io::pipe().unwrap();
            files.push(File::from(OwnedFd::from(reader)));
            writers.push(writer);
        }
        let drained = std::thread::spawn(move || drain(files));
        for mut writer in writers {
            // More than a pipe holds.
            writer.write_all(&[b'x'; 3 * CHUNK]).unwrap();
        }
        drained.join().unwrap().unwrap();
    }
}
