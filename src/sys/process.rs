//! System calls about this process, its children and their groups.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use nix::libc;
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::syscall::{check, check_long};

/// Returns a descriptor that becomes readable when the process ends. The caller must not have reaped `pid`,
/// and must be inside a tokio runtime.
pub fn watch_process(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    let pidfd = pidfd_open(pid.as_raw())?;
    // SAFETY: an `OwnedFd` stays open and the same until it is dropped, here by the `AsyncFd`.
    unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }.map_err(io::Error::from)
}

/// Opens a descriptor of a process. It has no flags: nobody reads from it, and the flags came later than the
/// call.
pub(super) fn pidfd_open(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: a bare syscall; the descriptor that it returns is ours alone.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        check_long(fd)?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Watches the read end of a pipe for something to read. Must be called inside a tokio runtime.
pub fn watch_pipe(pipe: Rc<OwnedFd>) -> io::Result<AsyncFd<Rc<OwnedFd>>> {
    // SAFETY: an `OwnedFd` stays open and the same until its last owner drops it, here at the earliest the
    // `AsyncFd`.
    unsafe { AsyncFd::register_with_interest(pipe, Interest::READABLE) }.map_err(io::Error::from)
}

/// Watches a socket that this process owns, for reading and for writing. Must be called inside a tokio
/// runtime.
pub fn watch_socket(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays open and the same until it is dropped, here by the `AsyncFd`.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE) }
        .map_err(io::Error::from)
}

/// Sends `signal` (1 to 64, real-time signals included) to every process of the group that `leader` leads.
///
/// The caller must not have reaped `leader`: only then is the group's number certain to be still its own.
pub fn signal_group(leader: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: a bare syscall without pointers.
    check(unsafe { libc::killpg(leader.as_raw(), signal) }).map(drop)
}

/// How much sooner than this process a child is ended when the memory of the host or of the unit is full.
/// With this, a process that fills a tenth of the memory still goes first.
const OOM_DISTANCE: i32 = 100;

/// Has the kernel end this child before this process when memory is short. Only root may say that of a child
/// that is hidden.
pub fn die_first(child: Pid) {
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let score = own.trim().parse().unwrap_or(0) + OOM_DISTANCE;
    let _ = fs::write(format!("/proc/{child}/oom_score_adj"), score.min(MAX_OOM_SCORE).to_string());
}

/// The largest that the kernel takes.
const MAX_OOM_SCORE: i32 = 1000;

/// Hides the calling process from others of its user: no tracing, no `/proc/PID/mem`, and no core dump
/// whatever its limit says. Its forks are hidden too, until they execute a program.
///
/// Its files in /proc then belong to root. It can still read them, but write to them only as root.
pub fn make_undumpable() -> io::Result<()> {
    nix::sys::prctl::set_dumpable(false).map_err(io::Error::from)
}

/// Undoes what the parent process may have set: a umask that would open the daemon's files to others or close
/// them to itself, and what [`reset_inherited_signals`] does. Call it before the first thread is started.
pub fn reset_inherited() {
    // SAFETY: a plain system call on an integer.
    unsafe { libc::umask(0o022) };
    reset_inherited_signals();
}

/// Undoes what the parent process may have set: an ignored SIGCHLD, which would hide how children ended, and
/// blocked signals, with which nobody could stop this process. Call it before the first thread is started.
///
/// SIGXFSZ is ignored from now on: a write beyond the limit on the size of files then fails, as on a full
/// disk, and does not end the process.
pub fn reset_inherited_signals() {
    // SAFETY: installs no handler, and `none` is a live local.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Closes all descriptors above 2. Call it first of all, when they are all inherited.
pub fn close_inherited() {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<RawFd> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // SAFETY: per this function's contract nobody in this process owns it. The descriptor of the list
        // itself is closed already.
        unsafe { libc::close(number) };
    }
}

/// Forks, and returns true in the child. Call it before the first thread is started, because only the calling
/// thread survives.
pub fn fork() -> io::Result<bool> {
    // SAFETY: there is one thread, so the child finds everything as it left it.
    let pid = check(unsafe { libc::fork() })?;
    Ok(pid == 0)
}

/// Makes all threads allocate from one heap. Otherwise, memory that the config thread frees would stay in a
/// heap of its own, where no other thread can use it. Call it before the first thread is started.
pub fn use_single_malloc_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two numbers; no other thread exists yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
