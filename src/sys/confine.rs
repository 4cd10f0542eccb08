//! Takes the daemon's rights from a child that does a part of its work.

use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;

use super::descriptors::mark_close_on_exec_except;
use super::filter::stay_apart;
use super::identity::join_new_keyring;
use super::limits::lower_limit;
use super::syscall::{check, check_long};
use crate::model::Resource;

/// What a helper is left with. Beside this, it has a session of its own, cwd `/`, no environment, no core
/// dumps, and it can gain no privileges.
pub struct Confinement {
    /// Who it becomes if the daemon is root.
    pub user: HelperUser,
    /// Whether it may read all files, whatever their modes: it keeps CAP_DAC_READ_SEARCH, which a program
    /// that it executes has too. It has no other capability, and none at all if it stays root.
    pub reads_all: bool,
    /// Each value becomes both the soft and the hard limit, unless they are lower already.
    pub limits: Vec<(Resource, u64)>,
    /// The descriptors that it keeps beside 0, 1 and 2.
    pub kept: Vec<RawFd>,
    /// A descriptor, and the number that it has in the helper. The number must be in use in this process.
    pub renumbered: Option<(RawFd, RawFd)>,
    /// Whether it dies with the thread that starts it.
    pub dies_with_thread: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelperUser {
    /// An id that no other process has, so that none can be steered by another.
    Unique,
    /// These ids, without supplementary groups. Root's own id has no capabilities either.
    Ids { uid: u32, gid: u32 },
}

/// The first id of a range that no distribution assigns: systemd's UIDS-GIDS documentation lists 0x7000_0000
/// to 0x7fff_fffe as unused. The child adds its pid, which has at most 22 bits.
const FIRST_ID: u32 = 0x7000_0000;

/// The first id of systemd's range for dynamic users, 61184 to 65519. Most user namespaces map this range,
/// even if they do not map the other.
const FIRST_DYNAMIC_ID: u32 = 61184;
const DYNAMIC_IDS: u32 = 65520 - FIRST_DYNAMIC_ID;

/// Confines the process that `command` will start.
pub fn confine(command: &mut Command, confinement: Confinement) {
    command.env_clear().current_dir("/");
    let root = nix::unistd::geteuid().is_root();
    // SAFETY: between fork and exec, `apply` makes system calls only: it neither allocates nor locks.
    unsafe { command.pre_exec(move || confinement.apply(root)) };
}

impl Confinement {
    fn apply(&self, root: bool) -> io::Result<()> {
        mark_close_on_exec_except(None)?;
        // SAFETY: plain system calls on integers.
        unsafe {
            check(libc::setsid())?;
            for number in &self.kept {
                check(libc::fcntl(*number, libc::F_SETFD, 0))?;
            }
            if let Some((from, to)) = self.renumbered {
                check(libc::dup2(from, to))?;
                // The same number stays as it was.
                check(libc::fcntl(to, libc::F_SETFD, 0))?;
            }
        }
        let has_own_id = root && {
            join_new_keyring()?;
            empty_bounding_set(self.reads_all);
            if self.reads_all {
                // SAFETY: a plain system call on integers. It ends with the next exec.
                check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) })?;
            }
            self.user.become_it()?
        };
        if has_own_id && self.reads_all {
            keep_reading()?
        } else {
            give_up_capabilities()?
        }
        // SAFETY: plain system calls on integers.
        unsafe {
            if self.dies_with_thread {
                // A change of identity clears this setting, so it comes after.
                check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            }
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        }
        lower_limit(libc::RLIMIT_CORE, 0)?;
        // If the limit on processes were set before the change of identity, exec would count the processes of
        // the old one. It counts all processes of an id, so it makes no sense for one that others have.
        let mut limits =
            self.limits.iter().filter(|(resource, _)| has_own_id || *resource != Resource::Nproc);
        limits.try_for_each(|(resource, value)| lower_limit(resource.number(), *value))
    }
}

impl HelperUser {
    /// Changes the identity. Returns whether it is another one now. A user namespace may map no id but its
    /// root's. All actions then run as that root, so refusing to start the helper would protect nothing.
    fn become_it(self) -> io::Result<bool> {
        // SAFETY: plain system calls on integers; no list is read where its length is 0.
        let (pid, groups) = unsafe { (libc::getpid() as u32, libc::setgroups(0, std::ptr::null())) };
        let taken = check(groups).and_then(|_| match self {
            Self::Unique => take_ids(FIRST_ID + pid, FIRST_ID + pid).or_else(|_| {
                let id = FIRST_DYNAMIC_ID + pid % DYNAMIC_IDS;
                take_ids(id, id)
            }),
            Self::Ids { uid, gid } => take_ids(uid, gid),
        });
        match taken {
            Ok(()) => Ok(self != Self::Ids { uid: 0, gid: 0 }),
            // EPERM: the namespace denies setgroups. EINVAL: it does not map the id.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EINVAL)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn take_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain system calls on integers. The group goes first, because only root can change it.
    unsafe {
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid)).map(drop)
    }
}

/// Gives up what the calling process may do as root, for ever: from now on it is this user, without groups
/// and capabilities, and does nothing to root's session, as far as the kernel has seccomp. Does nothing for
/// other users. Call it before the first thread is started.
pub fn give_up_root(user: HelperUser) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    user.become_it()?;
    give_up_capabilities()?;
    // A change of identity makes a process visible again to others of its user.
    super::process::make_undumpable()?;
    // SAFETY: a plain system call on integers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // A command is worth more than this, where there is no seccomp.
    let _ = stay_apart();
    Ok(())
}

/// Takes every capability out of those that this process could ever get, but leaves the one to read all
/// files if `reads_all`. Without CAP_SETPCAP this fails, and then only "no new privileges" keeps it from
/// getting any.
fn empty_bounding_set(reads_all: bool) {
    for capability in (0..64).filter(|capability| !reads_all || *capability != DAC_READ_SEARCH) {
        // SAFETY: a plain system call on integers. It fails beyond the last capability of the kernel.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } < 0 {
            return;
        }
    }
}

/// The number of the capability to read all files and search all directories.
const DAC_READ_SEARCH: u32 = 2;

/// The version of the structures of capset(2) with 64 bits.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// The lower 32 capabilities of a process, and the others: effective, permitted, inheritable.
type Capabilities = [[u32; 3]; 2];

/// Keeps the capability to read all files, also when this process executes a program, and gives up all
/// others.
fn keep_reading() -> io::Result<()> {
    set_capabilities([[1 << DAC_READ_SEARCH; 3], [0; 3]])?;
    // SAFETY: a plain system call on integers.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, DAC_READ_SEARCH, 0, 0) })
        .map(drop)
}

/// Gives up all capabilities. Root's id would get them back when it executes a program, but with "no new
/// privileges" the kernel gives it no more than it had.
pub fn give_up_capabilities() -> io::Result<()> {
    set_capabilities([[0; 3]; 2])
}

fn set_capabilities(capabilities: Capabilities) -> io::Result<()> {
    let header = [CAPABILITY_VERSION_3, 0];
    // SAFETY: the pointers are to live locals of the size that this version has.
    unsafe {
        // Fails on kernels before 4.3, which have no ambient capabilities.
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        check_long(libc::syscall(libc::SYS_capset, header.as_ptr(), capabilities.as_ptr()))
    }
}

/// Whether this process can leave a child the right to read all files, as `Confinement::reads_all` says.
/// Containers may lack the capability, and secure bits may forbid that it is passed on.
pub fn can_pass_reading_on() -> bool {
    let (header, mut own) = ([CAPABILITY_VERSION_3, 0], Capabilities::default());
    // SAFETY: the pointers are to live locals of the size that this version has; the other call is on
    // integers.
    let (read, secure_bits) = unsafe {
        let read = libc::syscall(libc::SYS_capget, header.as_ptr(), own.as_mut_ptr());
        (check_long(read), libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0))
    };
    let [[_, permitted, _], _] = own;
    read.is_ok() && permitted & 1 << DAC_READ_SEARCH != 0 && secure_bits == 0
}
