//! Confines the process that reads what processes of former actions still write.

use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;

use super::descriptors::mark_close_on_exec_except;
use super::evaluator::leave_root;
use super::limits::lower_limit;
use super::syscall::check;

/// Confines the process that `command` will start: a session of its own, cwd `/`, no environment, the
/// descriptors `kept` beside 0, 1 and 2, and no files to write. If the caller is root, the process also gets
/// an identity that no other process has.
pub fn confine_drain(command: &mut Command, kept: Vec<RawFd>) {
    command.env_clear().current_dir("/");
    let root = nix::unistd::geteuid().is_root();
    // SAFETY: between fork and exec, `become_drain` makes system calls only: it neither allocates nor locks.
    unsafe { command.pre_exec(move || become_drain(root, &kept)) };
}

fn become_drain(root: bool, kept: &[RawFd]) -> io::Result<()> {
    mark_close_on_exec_except(None)?;
    // SAFETY: plain system calls on integers.
    unsafe {
        check(libc::setsid())?;
        for number in kept {
            check(libc::fcntl(*number, libc::F_SETFD, 0))?;
        }
        if root {
            leave_root()?;
        }
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
    }
    lower_limit(libc::RLIMIT_FSIZE, 0)?;
    lower_limit(libc::RLIMIT_CORE, 0)
}
