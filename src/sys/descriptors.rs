//! File descriptors that pass from one process to another.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::libc;

use super::syscall::{check, check_long};

/// Creates an anonymous file with `content`, positioned at its beginning.
pub fn memfd(content: &[u8]) -> io::Result<File> {
    // SAFETY: the name is a literal with its NUL; the descriptor that it returns is ours alone.
    let mut file = unsafe {
        let fd = libc::memfd_create(c"twitcher".as_ptr(), libc::MFD_CLOEXEC);
        File::from(OwnedFd::from_raw_fd(check(fd)?))
    };
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// Takes over descriptor `number`, which the parent passed on, and marks it close-on-exec.
///
/// Call it once per number, before this process opens files. Refuses 0, 1 and 2.
pub fn inherited(number: i32) -> io::Result<File> {
    if number <= 2 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the number is known to be open once F_SETFD succeeded, and per this function's contract nobody
    // else in this process owns it.
    unsafe {
        check(libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC))?;
        Ok(File::from_raw_fd(number))
    }
}

/// Marks every descriptor above 2 except `keep` close-on-exec. Does not close them, because the pipe that
/// reports a failed exec is among them. Async-signal-safe.
pub(super) fn mark_close_on_exec_except(keep: Option<RawFd>) -> io::Result<()> {
    let range = |first: libc::c_uint, last: libc::c_uint| {
        if first > last {
            return Ok(());
        }
        // SAFETY: a bare syscall without pointers.
        check_long(unsafe {
            libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC as libc::c_uint)
        })
    };
    let Some(keep) = keep else { return range(3, libc::c_uint::MAX) };
    let number = keep as libc::c_uint;
    range(3, number - 1)?;
    range(number + 1, libc::c_uint::MAX)?;
    // SAFETY: clears the flags of a descriptor that we hold.
    check(unsafe { libc::fcntl(keep, libc::F_SETFD, 0) }).map(drop)
}
