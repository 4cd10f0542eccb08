//! Lines on stderr, where they go while the log cannot be written.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

use nix::libc::{PIPE_BUF, makedev};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::stat::fstat;
use nix::unistd::write;

/// How long stderr may take for a piece of a line. A reader that reads at all takes less.
const PATIENCE_MILLISECONDS: u8 = 100;

/// Writes text to stderr, but does not wait for a reader that does not read.
///
/// # Errors
///
/// Nobody sees it, because stderr leads to `/dev/null`, is closed, or is full.
pub fn say(text: &str) -> io::Result<()> {
    let stderr = io::stderr();
    // Major and minor number of /dev/null (null(4)).
    if fstat(stderr.as_fd())?.st_rdev == makedev(1, 3) {
        return Err(io::Error::other("stderr leads to /dev/null"));
    }
    // A pipe that is ready takes at least PIPE_BUF bytes at once.
    for piece in text.as_bytes().chunks(PIPE_BUF) {
        let mut rest = piece;
        while !rest.is_empty() {
            if poll(&mut [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)], PATIENCE_MILLISECONDS)? == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            rest = &rest[write(stderr.as_fd(), rest)?..];
        }
    }
    Ok(())
}
