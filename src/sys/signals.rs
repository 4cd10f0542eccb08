//! The signals that a child starts with.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;

use super::syscall::check;

/// Has the command start with no signal blocked, whatever this process blocks: it would inherit that.
pub fn unblock_signals_of(command: &mut Command) {
    // SAFETY: the call is async-signal-safe.
    unsafe { command.pre_exec(unblock_all) };
}

/// Unblocks all signals in the calling process, which has one thread. Async-signal-safe.
pub(super) fn unblock_all() -> io::Result<()> {
    // SAFETY: `none` is a live local, and the calls are async-signal-safe.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        check(libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut())).map(drop)
    }
}
