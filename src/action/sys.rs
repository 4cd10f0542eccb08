//! The only unsafe code of the crate: what must happen between fork and exec, and the two system calls
//! that no safe wrapper in our dependencies offers.
//!
//! The daemon has threads, so between fork and exec only async-signal-safe calls are allowed: no
//! allocation, no locks. Everything the child needs is prepared before the fork.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::config::spec::Credentials;

/// The kernel's number of signals, on every architecture but MIPS, and the size of a set of them.
const LAST_SIGNAL: libc::c_int = 64;
const SIGSET_BYTES: usize = 8;

/// The kernel's `struct sigaction`, at least as large as on any architecture.
#[derive(Default)]
#[repr(C)]
struct KernelSigaction([u64; 4]);

/// What an action's process becomes before it executes its program.
pub struct ChildSetup {
    /// `None` keeps the daemon's identity.
    pub credentials: Option<Credentials>,
    /// A descriptor beside 0, 1 and 2 that the program gets, under its number.
    pub keep: Option<RawFd>,
    /// The soft limit on descriptors that the daemon itself was started with.
    pub nofile: libc::rlim_t,
}

/// Arranges that the child of `command` gets a session of its own, umask 022, default signal dispositions
/// and an empty mask, no core dumps, no descriptor of the daemon's, and `setup`'s identity, verified.
///
/// A failure of any of it comes back as the error of [`Command::spawn`]; the program is not executed.
pub fn prepare_child(command: &mut Command, setup: ChildSetup) {
    // Room for one more than we set: a group too many must show.
    let mut read_back = vec![0 as libc::gid_t; setup.credentials.as_ref().map_or(0, |c| c.groups.len()) + 1];
    let child = move || {
        // SAFETY: all of these are plain system calls without pointers into shared state; `sigset` is a
        // local. They are async-signal-safe or bare syscalls.
        unsafe {
            check(libc::setsid())?;
            libc::umask(0o022);
            // All zero is SIG_DFL without flags. The raw call, because libc refuses the two signals that it keeps
            // for itself, and whoever started us may have ignored those, too.
            let default = KernelSigaction::default();
            for signal in 1..=LAST_SIGNAL {
                // Fails for SIGKILL and SIGSTOP, which need nothing.
                libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, 0, SIGSET_BYTES);
            }
            let mut sigset = std::mem::zeroed();
            libc::sigemptyset(&mut sigset);
            check(libc::sigprocmask(libc::SIG_SETMASK, &sigset, std::ptr::null_mut()))?;
            soften(libc::RLIMIT_CORE, |limit| limit.rlim_cur = 0)?;
            soften(libc::RLIMIT_NOFILE, |limit| limit.rlim_cur = setup.nofile.min(limit.rlim_max))?;
        }
        if let Some(credentials) = &setup.credentials {
            become_user(credentials, &mut read_back)?;
        }
        close_on_exec_but(setup.keep)
    };
    // SAFETY: the closure only makes async-signal-safe calls, on memory that was allocated before the fork.
    unsafe { command.pre_exec(child) };
}

/// Changes groups, gid and uid, in this order (each step needs the privilege that the next gives up), and
/// makes sure that the change took and cannot be undone.
fn become_user(credentials: &Credentials, read_back: &mut [libc::gid_t]) -> io::Result<()> {
    let Credentials { uid, gid, groups } = credentials;
    // SAFETY: bare syscalls; the pointers come with the length of their live slices. The raw syscalls are
    // used on purpose: libc's wrappers take a lock to change all threads, and we may hold none here.
    unsafe {
        check_long(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        check_long(libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid))?;
        check_long(libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid))?;

        let (mut real, mut effective, mut saved) = (0, 0, 0);
        check(libc::getresuid(&mut real, &mut effective, &mut saved))?;
        if [real, effective, saved] != [*uid; 3] {
            return Err(not_permitted());
        }
        check(libc::getresgid(&mut real, &mut effective, &mut saved))?;
        if [real, effective, saved] != [*gid; 3] {
            return Err(not_permitted());
        }
        let count = libc::getgroups(read_back.len() as libc::c_int, read_back.as_mut_ptr());
        let held = &read_back[..usize::try_from(check(count)?).unwrap_or(0)];
        if held.len() > groups.len() || held.iter().any(|group| !groups.contains(group)) {
            return Err(not_permitted());
        }
        if *uid != 0 && libc::syscall(libc::SYS_setuid, 0) == 0 {
            return Err(not_permitted());
        }
    }
    Ok(())
}

/// Marks every descriptor from 3 on close-on-exec, `keep` excepted. Marked and not closed, because the pipe
/// that carries an exec failure back is among them.
fn close_on_exec_but(keep: Option<RawFd>) -> io::Result<()> {
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
    // SAFETY: clears the flags of a descriptor we hold.
    check(unsafe { libc::fcntl(keep, libc::F_SETFD, 0) }).map(drop)
}

/// # Safety
/// To be called between fork and exec only with a `change` that is async-signal-safe.
unsafe fn soften(
    resource: libc::__rlimit_resource_t,
    change: impl FnOnce(&mut libc::rlimit),
) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live local for both calls.
    unsafe {
        check(libc::getrlimit(resource, &mut limit))?;
        change(&mut limit);
        check(libc::setrlimit(resource, &limit)).map(drop)
    }
}

/// Becomes readable when the process ends. The caller must not have reaped `pid`, and must be inside a
/// runtime.
pub fn watch_process(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: a bare syscall; the descriptor it returns is ours alone.
    let pidfd = unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), libc::PIDFD_NONBLOCK);
        check_long(fd)?;
        OwnedFd::from_raw_fd(fd as RawFd)
    };
    // SAFETY: an `OwnedFd` stays open and the same until it is dropped, here by the `AsyncFd`.
    unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }.map_err(io::Error::from)
}

/// Sends `signal` (1 to 64, real-time signals included) to every process of the group `leader` leads.
///
/// The caller must hold `leader` unreaped: only then is the group's number certain to be still its own.
pub fn signal_group(leader: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: a bare syscall without pointers.
    check(unsafe { libc::killpg(leader.as_raw(), signal) }).map(drop)
}

/// An anonymous file with `content`, to be read from its beginning.
pub fn memfd(content: &[u8]) -> io::Result<std::fs::File> {
    use std::io::{Seek, Write};
    // SAFETY: the name is a literal with its NUL; the descriptor it returns is ours alone.
    let mut file = unsafe {
        let fd = libc::memfd_create(c"twitcher".as_ptr(), libc::MFD_CLOEXEC);
        std::fs::File::from(OwnedFd::from_raw_fd(check(fd)?))
    };
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

fn not_permitted() -> io::Error {
    io::Error::from_raw_os_error(libc::EPERM)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_long(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
