//! Resource limits of the calling process. All functions are async-signal-safe.

use std::io;

use nix::libc::{self, __rlimit_resource_t};

use super::syscall::check;
use crate::model::Resource;

/// # Safety
/// Between fork and exec, `change` must be async-signal-safe.
pub(super) unsafe fn change_limit(
    resource: __rlimit_resource_t,
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

/// Lowers the soft and the hard limit to `value`, unless they are lower already.
pub(super) fn lower_limit(resource: __rlimit_resource_t, value: u64) -> io::Result<()> {
    // SAFETY: the closure only compares and assigns.
    unsafe {
        change_limit(resource, |limit| {
            let value = value.min(limit.rlim_max);
            *limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        })
    }
}

/// Raises the hard limit to `value`, unless it is higher already.
pub(super) fn raise_hard_limit(resource: Resource, value: u64) -> io::Result<()> {
    // SAFETY: the closure only compares and assigns.
    unsafe { change_limit(resource.number(), |limit| limit.rlim_max = limit.rlim_max.max(value)) }
}

/// Sets the soft and the hard limit.
pub(super) fn set_limit(resource: Resource, value: u64) -> io::Result<()> {
    // SAFETY: the closure only assigns.
    unsafe {
        change_limit(resource.number(), |limit| {
            *limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        })
    }
}

impl Resource {
    pub(super) fn number(self) -> __rlimit_resource_t {
        self as i32 as __rlimit_resource_t
    }
}
