//! The only unsafe code of the crate: what must happen between fork and exec, and the few system calls
//! that no safe wrapper in our dependencies offers.
//!
//! [`launch`] is for actions, [`confine_evaluator`] for the child that evaluates configs.
//!
//! The daemon has threads, so between fork and exec only async-signal-safe calls are allowed: no
//! allocation, no locks. Everything the child needs is prepared before the fork.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::model::{Credentials, Resource};

mod exec_context;
pub mod launch;

pub use exec_context::{SetupError, Step};

/// The kernel's number of signals, on every architecture but MIPS, and the size of a set of them.
const MAX_SIGNAL: libc::c_int = 64;
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
    pub umask: libc::mode_t,
    pub nice: Option<i32>,
    /// Soft and hard in one.
    pub limits: Vec<(Resource, u64)>,
    pub cwd: CString,
    pub no_new_privs: bool,
}

/// To be called in the child: gives it a session of its own, default signal dispositions and an empty mask, no core
/// dumps, no descriptor of the daemon's, and what `setup` says; the identity is verified.
fn set_up(setup: &ChildSetup, read_back: &mut [libc::gid_t]) -> Result<(), SetupError> {
    // SAFETY: all of these are plain system calls without pointers into shared state; `sigset` is a
    // local. They are async-signal-safe or bare syscalls.
    unsafe {
        check(libc::setsid())?;
        libc::umask(setup.umask);
        // All zero is SIG_DFL without flags. The raw call, because libc refuses the two signals that it keeps
        // for itself, and whoever started us may have ignored those, too.
        let default = KernelSigaction::default();
        for signal in 1..=MAX_SIGNAL {
            // Fails for SIGKILL and SIGSTOP, which need nothing.
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, 0, SIGSET_BYTES);
        }
        let mut sigset = std::mem::zeroed();
        libc::sigemptyset(&mut sigset);
        check(libc::sigprocmask(libc::SIG_SETMASK, &sigset, std::ptr::null_mut()))?;
        change_limit(libc::RLIMIT_CORE, |limit| limit.rlim_cur = 0)?;
        change_limit(libc::RLIMIT_NOFILE, |limit| limit.rlim_cur = setup.nofile.min(limit.rlim_max))?;
    }
    // What may take the privileges that the change of identity gives up comes before it.
    setup.raise_limits()?;
    if let Some(credentials) = &setup.credentials {
        join_new_keyring()?;
        become_user(credentials, read_back)?;
    }
    setup.apply_limits_and_cwd()?;
    mark_close_on_exec_except(setup.keep)?;
    setup.set_no_new_privs()
}

/// Takes a new session keyring. Whoever is in a session has what its keyring holds, of whatever user they are: without this
/// the keys of the administrator who started the daemon.
///
/// To be called as root, who has room for one per process; other users have little.
fn join_new_keyring() -> io::Result<()> {
    // SAFETY: a bare syscall; without a name there is no pointer.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, 0) };
    match check_long(joined) {
        // A kernel without keys, and containers where no process, the action's neither, may ask for one.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        joined => joined,
    }
}

/// Changes groups, gid and uid, in this order (each step needs the privilege that the next gives up), and
/// makes sure that the change took and cannot be undone.
///
/// This process is a copy of the daemon, with all that it knows, until it executes the action's program. The kernel hides
/// it from others of the new user with each of these changes, unless `fs.suid_dumpable` is 1, which it documents as
/// "insecure", for debugging only.
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
fn mark_close_on_exec_except(keep: Option<RawFd>) -> io::Result<()> {
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
unsafe fn change_limit(
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

/// Ten times the 25 MiB of address space that 10,000 registrations were measured to need, unoptimized.
const MAX_MEMORY: u64 = 256 << 20;

/// The interpreter's frames are large; its own limits on depth end well below this.
const MAX_STACK: u64 = 64 << 20;

/// Seconds of CPU in a whole life. The parent ends every evaluation after 2 s and replaces a child that has
/// used [`crate::config::evaluate::MAX_CHILD_BUSY`]; this one is for an evaluator whose parent is gone.
const MAX_CPU_SECONDS: u64 = 60;

/// stdin, stdout, stderr and what the loader opens before `main`.
const MAX_DESCRIPTORS: u64 = 16;

/// First of the ids that nobody assigns: systemd's UIDS-GIDS documentation has `0x7000_0000` up to
/// `0x7fff_fffe` as unused. A pid has 22 bits at most.
const FIRST_ID: u32 = 0x7000_0000;

/// systemd's range for dynamic users (61184 to 65519), mapped in most user namespaces where the other is not.
const FIRST_DYNAMIC_ID: u32 = 61184;
const DYNAMIC_IDS: u32 = 65520 - FIRST_DYNAMIC_ID;

/// Confines what `command` starts: own session, cwd `/`, no environment, no descriptors but 0, 1 and 2, limits
/// on memory, CPU and files, death with the calling thread; and, where the caller is root, an identity that no
/// other process has.
///
/// The calling thread must live as long as the child is wanted.
pub fn confine_evaluator(command: &mut Command) {
    command.env_clear().current_dir("/");
    let root = nix::unistd::geteuid().is_root();
    // SAFETY: between fork and exec, `become_evaluator` makes system calls only: it neither allocates nor locks.
    unsafe { command.pre_exec(move || become_evaluator(root)) };
}

fn become_evaluator(root: bool) -> io::Result<()> {
    // SAFETY: plain system calls on integers and on a local structure that outlives them.
    unsafe {
        check(libc::setsid())?;
        mark_close_on_exec_except(None)?;
        if root && leave_root()? {
            // After the change, or exec would count the processes that the old identity has.
            limit(libc::RLIMIT_NPROC, 0)?;
        }
        // After the change of identity, which clears it.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
    }
    limit(libc::RLIMIT_AS, MAX_MEMORY)?;
    limit(libc::RLIMIT_CPU, MAX_CPU_SECONDS)?;
    limit(libc::RLIMIT_FSIZE, 0)?;
    limit(libc::RLIMIT_CORE, 0)?;
    limit(libc::RLIMIT_NOFILE, MAX_DESCRIPTORS)?;
    limit(libc::RLIMIT_STACK, MAX_STACK)
}

/// Returns whether the identity changed. In a user namespace that maps no id but its root's there is none to change
/// to; every action runs as that one then, and nothing is gained by refusing to load.
fn leave_root() -> io::Result<bool> {
    // SAFETY: plain system calls on integers; no list is read where its length is 0.
    let (pid, groups) = unsafe { (libc::getpid() as u32, libc::setgroups(0, std::ptr::null())) };
    let taken = check(groups).and_then(|_| {
        take_identity(FIRST_ID + pid).or_else(|_| take_identity(FIRST_DYNAMIC_ID + pid % DYNAMIC_IDS))
    });
    match taken {
        Ok(()) => Ok(true),
        // EPERM: the namespace denies setgroups. EINVAL: it does not map the id.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EINVAL)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn take_identity(id: u32) -> io::Result<()> {
    // SAFETY: plain system calls on integers. The group goes first: without root it could not be changed.
    unsafe {
        check(libc::setresgid(id, id, id))?;
        check(libc::setresuid(id, id, id)).map(drop)
    }
}

/// Lowers a limit. One that is lower already stays.
fn limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    // SAFETY: the closure only assigns.
    unsafe {
        change_limit(resource, |limit| {
            let value = value.min(limit.rlim_max);
            *limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        })
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
pub fn memfd(content: &[u8]) -> io::Result<File> {
    use std::io::{Seek, Write};
    // SAFETY: the name is a literal with its NUL; the descriptor it returns is ours alone.
    let mut file = unsafe {
        let fd = libc::memfd_create(c"twitcher".as_ptr(), libc::MFD_CLOEXEC);
        File::from(OwnedFd::from_raw_fd(check(fd)?))
    };
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// Makes the calling process invisible to others of its user: no tracing, no `/proc/PID/mem`, and no core dump whatever its
/// limit says. Copies of it are as invisible, until they execute a program.
///
/// Its files in /proc are root's then. It can read its own all the same, but write to one only as root.
pub fn make_undumpable() -> io::Result<()> {
    nix::sys::prctl::set_dumpable(false).map_err(io::Error::from)
}

/// Takes over descriptor `number`, which a parent passed on, and marks it close-on-exec.
///
/// To be called once per number, before anything else could have opened it. Refuses 0, 1 and 2.
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

/// Undoes what whoever started us may have left: an ignored SIGCHLD, with which no child's exit could be told, and
/// blocked signals, with which nobody could stop us. To be called before the first thread is started.
pub fn reset_inherited_signals() {
    // SAFETY: installs no handler, and `none` is a live local.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Forks, and returns true in the child. To be called before the first thread is started: only the calling one would
/// survive.
pub fn fork() -> io::Result<bool> {
    // SAFETY: there is one thread, so the child finds everything as it left it.
    let pid = check(unsafe { libc::fork() })?;
    Ok(pid == 0)
}

/// Makes all threads allocate from one heap. To be called before the first is started.
///
/// What the config thread frees would otherwise stay in a heap of its own, where nobody else can use it.
pub fn use_single_malloc_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two numbers; other threads are not there yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
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
