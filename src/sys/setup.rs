//! Prepares an action's process between fork and exec.
//!
//! The daemon has threads, so only async-signal-safe calls are allowed here: no allocation, no locks. The
//! parent prepares everything that the child needs before the fork.

use std::ffi::CString;
use std::io::{self, Write};
use std::sync::OnceLock;

use nix::libc;

use super::identity::{become_user, join_new_keyring};
use super::limits::{change_limit, raise_hard_limit, set_limit};
use super::signals::unblock_all;
use super::step::{SetupError, Step};
use super::syscall::{check, check_long};
use crate::model::{Credentials, Resource};

/// The highest signal number of the kernel on every architecture except MIPS.
const MAX_SIGNAL: libc::c_int = 64;

/// The size of the kernel's set of signals.
const SIGSET_BYTES: usize = 8;

/// The kernel's `struct sigaction`, at least as large as on any architecture.
#[derive(Default, PartialEq)]
#[repr(C)]
struct KernelSigaction([u64; 4]);

/// The properties that an action's process gets before it executes its program.
pub struct ChildSetup {
    /// `None` keeps the daemon's identity.
    pub credentials: Option<Credentials>,
    /// The soft limit on descriptors that the daemon itself was started with.
    pub nofile: libc::rlim_t,
    /// The soft limit on the size of files, likewise.
    pub fsize: libc::rlim_t,
    pub umask: libc::mode_t,
    pub nice: Option<i32>,
    /// Each value is both the soft and the hard limit.
    pub limits: Vec<(Resource, u64)>,
    pub cwd: CString,
    pub no_new_privs: bool,
}

impl ChildSetup {
    /// Gives the calling process a session of its own, default signal dispositions, an empty signal mask, no
    /// core dumps, and the properties in `self`. Call it only in the child. `read_back` is the buffer of
    /// [`become_user`]; `enter` is told of each step that can take long.
    pub(super) fn apply(
        &self,
        read_back: &mut [libc::gid_t],
        enter: impl Fn(Step),
    ) -> Result<(), SetupError> {
        // SAFETY: `umask` takes an integer, and the closures only compare and assign.
        unsafe {
            check(libc::setsid())?;
            libc::umask(self.umask);
            reset_signals()?;
            change_limit(libc::RLIMIT_CORE, |limit| limit.rlim_cur = 0)?;
            change_limit(libc::RLIMIT_NOFILE, |limit| limit.rlim_cur = self.nofile.min(limit.rlim_max))?;
            change_limit(libc::RLIMIT_FSIZE, |limit| limit.rlim_cur = self.fsize.min(limit.rlim_max))?;
        }
        // These steps may need the daemon's privileges, which the change of identity gives up.
        for (resource, value) in &self.limits {
            raise_hard_limit(*resource, *value).map_err(|error| Step::Limit(*resource).failed(error))?;
        }
        if let Some(nice) = self.nice {
            set_nice(nice).map_err(|error| Step::Nice.failed(error))?;
        }
        if let Some(credentials) = &self.credentials {
            join_new_keyring().map_err(|error| Step::Keyring.failed(error))?;
            become_user(credentials, read_back)?;
        }
        // If RLIMIT_NPROC were lowered before the change of identity, the kernel would count the processes
        // that the user already has, and the exec would fail with EAGAIN.
        for (resource, value) in &self.limits {
            set_limit(*resource, *value).map_err(|error| Step::Limit(*resource).failed(error))?;
        }
        // After the change of identity, because the action's user must be able to enter the directory.
        enter(Step::Cwd);
        // SAFETY: the path ends with its NUL.
        let entered = check(unsafe { libc::chdir(self.cwd.as_ptr()) });
        entered.map_err(|error| Step::Cwd.failed(error))?;
        if self.no_new_privs {
            // SAFETY: takes integers.
            let done = check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) });
            done.map_err(|error| Step::NoNewPrivs.failed(error))?;
        }
        Ok(())
    }
}

/// The signals whose disposition is not the default, as bits from signal 1 on.
static CHANGED_SIGNALS: OnceLock<u64> = OnceLock::new();

/// Notes which dispositions there are to reset, so that a child need not reset each. Called before the first
/// process is started and after all handlers are installed: nobody changes a disposition later. What libc
/// changes by itself are handlers, which do not outlive the execution of a program.
pub(super) fn note_signals() {
    CHANGED_SIGNALS.get_or_init(|| {
        let changed = (1..=MAX_SIGNAL).filter(|signal| {
            let mut present = KernelSigaction::default();
            // SAFETY: `present` is a live local of the kernel's layout.
            let read =
                unsafe { libc::syscall(libc::SYS_rt_sigaction, *signal, 0, &raw mut present, SIGSET_BYTES) };
            read != 0 || present != KernelSigaction::default()
        });
        changed.fold(0, |bits, signal| bits | (1 << (signal - 1)))
    });
}

/// Resets the signal mask and all dispositions, also of signals that the daemon's parent ignored.
fn reset_signals() -> io::Result<()> {
    let changed = CHANGED_SIGNALS.get().copied().unwrap_or(u64::MAX);
    // SAFETY: `default` is a live local, and the call is async-signal-safe. `rt_sigaction` is called
    // directly, because libc refuses the two signals that it keeps for itself.
    unsafe {
        // Zeros are SIG_DFL without flags.
        let default = KernelSigaction::default();
        for signal in (1..=MAX_SIGNAL).filter(|signal| changed & (1 << (signal - 1)) != 0) {
            // This fails for SIGKILL and SIGSTOP, whose dispositions cannot be changed.
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, 0, SIGSET_BYTES);
        }
    }
    unblock_all()
}

/// The length of `-20`.
const NICE_DIGITS: usize = 3;

/// Sets the nice value of the calling process, and of the session that it leads.
///
/// With autogroup, the kernel first divides CPU time among sessions. The nice value of a process then only
/// counts within its session, so the session's value is set too.
fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: a bare syscall on integers; 0 is the calling process.
    check_long(unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice) })?;
    let mut digits = [0; NICE_DIGITS];
    let mut left: &mut [u8] = &mut digits;
    // This cannot fail: every nice value fits into the array.
    let _ = write!(left, "{nice}");
    let length = NICE_DIGITS - left.len();
    // Errors are ignored: a kernel without autogroup has no such file. A kernel with autogroup limits the
    // rate of writes by users other than root.
    //
    // An undumpable process of a user other than root cannot write to its own file (see `make_undumpable`),
    // so this process is dumpable for a moment. Only processes of the daemon's own user can then see it; if
    // that user is not root, they can read everything that the daemon can anyway.
    // SAFETY: the path ends with its NUL, and the array is live and has `length` bytes; the rest are
    // integers.
    unsafe {
        check(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0))?;
        let file = libc::open(c"/proc/self/autogroup".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, digits.as_ptr().cast(), length);
            libc::close(file);
        }
        check(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0))?;
    }
    Ok(())
}
