//! What the evaluator may: compute, and talk through the two pipes it was given.

use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;

/// Ten times the 25 MiB of address space that 10,000 registrations were measured to need, unoptimized.
const MEMORY: u64 = 256 << 20;

/// The interpreter's frames are large; its own limits on depth end well below this.
const STACK: u64 = 64 << 20;

/// Seconds of CPU in a whole life. The parent ends every evaluation after 2 s and replaces a child that has
/// used [`super::evaluate::LIFETIME`]; this one is for an evaluator whose parent is gone.
const CPU: u64 = 60;

/// stdin, stdout, stderr and what the loader opens before `main`.
const DESCRIPTORS: u64 = 16;

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
pub fn confine(command: &mut Command) {
    command.env_clear().current_dir("/");
    let root = nix::unistd::geteuid().is_root();
    // SAFETY: between fork and exec, `become_evaluator` makes system calls only: it neither allocates nor locks.
    unsafe { command.pre_exec(move || become_evaluator(root)) };
}

fn become_evaluator(root: bool) -> io::Result<()> {
    // SAFETY: plain system calls on integers and on a local structure that outlives them.
    unsafe {
        check(libc::setsid())?;
        // Marked rather than closed: the standard library still reports a failed exec through one of them.
        let marked =
            libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_uint);
        if marked != 0 && *libc::__errno_location() != libc::ENOSYS {
            return Err(io::Error::last_os_error());
        }
        if root && leave_root()? {
            // After the change, or exec would count the processes that the old identity has.
            limit(libc::RLIMIT_NPROC, 0)?;
        }
        // After the change of identity, which clears it.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
    }
    limit(libc::RLIMIT_AS, MEMORY)?;
    limit(libc::RLIMIT_CPU, CPU)?;
    limit(libc::RLIMIT_FSIZE, 0)?;
    limit(libc::RLIMIT_CORE, 0)?;
    limit(libc::RLIMIT_NOFILE, DESCRIPTORS)?;
    limit(libc::RLIMIT_STACK, STACK)
}

/// Returns whether the identity changed. In a user namespace that maps no id but its root's there is none to change
/// to; every action runs as that one then, and nothing is gained by refusing to load.
fn leave_root() -> io::Result<bool> {
    // SAFETY: plain system calls on integers; no list is read where its length is 0.
    let (pid, groups) = unsafe { (libc::getpid() as u32, libc::setgroups(0, std::ptr::null())) };
    let taken = check(groups).and_then(|()| {
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
        check(libc::setresuid(id, id, id))
    }
}

/// Lowers a limit. One that is lower already stays.
fn limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a valid local structure.
    unsafe {
        check(libc::getrlimit(resource, &mut limits))?;
        let value = value.min(limits.rlim_max);
        limits = libc::rlimit { rlim_cur: value, rlim_max: value };
        check(libc::setrlimit(resource, &limits))
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    // `last_os_error` only reads errno.
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the calling process invisible to others of its user: no tracing, no `/proc/PID/mem`.
pub fn hide() -> io::Result<()> {
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
