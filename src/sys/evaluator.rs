//! Confines the child that evaluates configs.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;

use super::descriptors::mark_close_on_exec_except;
use super::limits::lower_limit;
use super::syscall::check;

/// The limit on address space: ten times the measured 25 MiB of 10,000 registrations in an unoptimized build.
const MAX_MEMORY: u64 = 256 << 20;

/// The limit on the stack. The interpreter's frames are large, but its own limits on depth end a script well
/// below this.
const MAX_STACK: u64 = 64 << 20;

/// CPU seconds in the child's whole life. The parent ends each evaluation after 2 s, and replaces a child
/// that has used [`MAX_CHILD_BUSY`](crate::config::evaluate::MAX_CHILD_BUSY); this limit is for a child whose
/// parent is gone.
const MAX_CPU_SECONDS: u64 = 60;

/// Room for stdin, stdout, stderr and the files that the dynamic loader opens before `main`.
const MAX_DESCRIPTORS: u64 = 16;

/// The first id of a range that no distribution assigns: systemd's UIDS-GIDS documentation lists 0x7000_0000
/// to 0x7fff_fffe as unused. The child adds its pid, which has at most 22 bits.
const FIRST_ID: u32 = 0x7000_0000;

/// The first id of systemd's range for dynamic users, 61184 to 65519. Most user namespaces map this range,
/// even if they do not map the other.
const FIRST_DYNAMIC_ID: u32 = 61184;
const DYNAMIC_IDS: u32 = 65520 - FIRST_DYNAMIC_ID;

/// Confines the process that `command` will start: a session of its own, cwd `/`, no environment, no
/// descriptors except 0, 1 and 2, limits on memory, CPU and files, and death with the calling thread. If the
/// caller is root, the process also gets an identity that no other process has.
///
/// The calling thread must live as long as the child is needed.
pub fn confine_evaluator(command: &mut Command) {
    command.env_clear().current_dir("/");
    let root = nix::unistd::geteuid().is_root();
    // SAFETY: between fork and exec, `become_evaluator` makes system calls only: it neither allocates nor
    // locks.
    unsafe { command.pre_exec(move || become_evaluator(root)) };
}

fn become_evaluator(root: bool) -> io::Result<()> {
    // SAFETY: plain system calls on integers.
    unsafe {
        check(libc::setsid())?;
        mark_close_on_exec_except(None)?;
        if root && leave_root()? {
            // If this limit were set before the change, exec would count the processes of the old identity.
            lower_limit(libc::RLIMIT_NPROC, 0)?;
        }
        // A change of identity clears this setting, so it comes after.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
    }
    lower_limit(libc::RLIMIT_AS, MAX_MEMORY)?;
    lower_limit(libc::RLIMIT_CPU, MAX_CPU_SECONDS)?;
    lower_limit(libc::RLIMIT_FSIZE, 0)?;
    lower_limit(libc::RLIMIT_CORE, 0)?;
    lower_limit(libc::RLIMIT_NOFILE, MAX_DESCRIPTORS)?;
    lower_limit(libc::RLIMIT_STACK, MAX_STACK)
}

/// Returns whether the identity changed. A user namespace may map no id but its root's. All actions then run
/// as that root, so refusing to load configs would protect nothing.
pub(super) fn leave_root() -> io::Result<bool> {
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
    // SAFETY: plain system calls on integers. The group goes first, because only root can change it.
    unsafe {
        check(libc::setresgid(id, id, id))?;
        check(libc::setresuid(id, id, id)).map(drop)
    }
}
