//! Changes from root to an action's user, between fork and exec.

use std::io;

use nix::libc;

use super::step::{SetupError, Step};
use super::syscall::{check, check_long};
use crate::model::Credentials;

/// Gives the process a new session keyring. A process can use all keys in its session's keyring, whatever
/// user it runs as. Without this call, they are the keys of the administrator who started the daemon.
///
/// Call it as root, whose quota allows one keyring per process; the quota of other users is small.
pub(super) fn join_new_keyring() -> io::Result<()> {
    // SAFETY: a bare syscall; without a name there is no pointer.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, 0) };
    match check_long(joined) {
        // The kernel has no keys, or this container lets no process use them, and so not the action.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        joined => joined,
    }
}

/// Changes groups, gid and uid in this order, because each step needs the privilege that the next one gives
/// up. Then verifies that the change took effect and cannot be undone.
///
/// Until it executes the action's program, this process is a copy of the daemon with all its secrets. With
/// each of these changes the kernel hides it from other processes of the new user, unless `fs.suid_dumpable`
/// is 1, which the kernel documents as insecure and for debugging only.
///
/// `read_back` is a buffer for one group more than `credentials` contains.
pub(super) fn become_user(
    credentials: &Credentials,
    read_back: &mut [libc::gid_t],
) -> Result<(), SetupError> {
    let Credentials { uid, gid, groups } = credentials;
    // SAFETY: bare syscalls; the pointers come with the length of their live slices. The raw syscalls are
    // used on purpose: libc's wrappers take a lock to change all threads, and we may hold none here.
    unsafe {
        let set = check_long(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()));
        set.map_err(|error| Step::Groups.failed(error))?;
        let set = check_long(libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid));
        set.map_err(|error| Step::Gid.failed(error))?;
        let set = check_long(libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid));
        set.map_err(|error| Step::Uid.failed(error))?;
    }
    verify(credentials, read_back).map_err(|error| Step::Verification.failed(error))
}

/// Fails unless this process has exactly these ids and groups, and cannot become root again.
fn verify(Credentials { uid, gid, groups }: &Credentials, read_back: &mut [libc::gid_t]) -> io::Result<()> {
    // SAFETY: the pointers are live locals, or come with the length of their live slice.
    unsafe {
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

fn not_permitted() -> io::Error {
    io::Error::from_raw_os_error(libc::EPERM)
}
