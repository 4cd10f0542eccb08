//! Where a child notes who it is before it executes its program, so that the next daemon finds it even if
//! this one dies at once.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::libc;

use super::syscall::check;

/// Two integers of a file: the number of a process, and a time since boot in nanoseconds.
///
/// The process exists at this time. So a process with this number is the same one if it did not start later.
#[derive(Clone, Debug)]
pub struct Slot {
    pub file: Arc<File>,
    pub offset: libc::off_t,
}

/// The size of what a process writes into its slot.
pub const IDENTITY_BYTES: usize = 16;

impl Slot {
    /// Notes the calling process. Async-signal-safe.
    pub(super) fn identify(&self) -> io::Result<()> {
        let mut identity = [0; IDENTITY_BYTES];
        let (pid, at) = identity.split_at_mut(IDENTITY_BYTES / 2);
        // SAFETY: async-signal-safe calls on live locals.
        unsafe {
            let mut now: libc::timespec = std::mem::zeroed();
            check(libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now))?;
            pid.copy_from_slice(&(libc::getpid() as u64).to_ne_bytes());
            at.copy_from_slice(&(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64).to_ne_bytes());
            let file = self.file.as_raw_fd();
            match libc::pwrite(file, identity.as_ptr().cast(), IDENTITY_BYTES, self.offset) {
                length if length < 0 => Err(io::Error::last_os_error()),
                length if length as usize == IDENTITY_BYTES => Ok(()),
                _ => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            }
        }
    }
}
