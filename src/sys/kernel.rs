//! Finds out what the kernel can do, before anything is started.
//!
//! Kernels differ in age, and the seccomp profile of a container can forbid single system calls: they fail
//! with EPERM or ENOSYS, as on an older kernel. Twitcher does without each call that is newer than Linux
//! 3.17.

use std::fmt;
use std::fs;
use std::io;
use std::thread;

use nix::libc;

use super::descriptors::{close_range, memfd_create};
use super::process::pidfd_open;

/// A system call that this process must do without.
#[derive(Debug)]
pub struct MissingCall {
    name: &'static str,
    /// The first version of Linux that has it.
    since: &'static str,
    error: io::Error,
    consequence: &'static str,
}

impl fmt::Display for MissingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, since, error, consequence } = self;
        write!(
            f,
            "the system call {name} fails: {error}; {consequence}; use Linux {since} or newer, and allow it \
             in the seccomp profile of the container"
        )
    }
}

/// Tries the newer system calls that Twitcher uses, and returns those that fail. None of the attempts has an
/// effect.
pub fn missing_calls() -> Vec<MissingCall> {
    let missing = |name, since, consequence, tried: io::Result<()>| {
        tried.err().map(|error| MissingCall { name, since, error, consequence })
    };
    [
        missing(
            "pidfd_open",
            "5.3",
            "the end of an action is noticed up to 0.1 s late",
            pidfd_open(std::process::id() as libc::pid_t).map(drop),
        ),
        missing(
            "close_range",
            "5.11",
            "starting an action takes a little longer",
            // No descriptor has this number.
            close_range(libc::c_uint::MAX),
        ),
        missing(
            "memfd_create",
            "3.17",
            "the content for actions is written to nameless files in the directory for temporary files",
            memfd_create(0).map(drop),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Fails with the remedy if this process lacks something that it cannot do without.
pub fn require() -> Result<(), String> {
    fs::read_link("/proc/self/exe").and_then(|_| fs::read("/proc/self/stat")).map_err(|error| {
        format!(
            "/proc is needed to start and follow processes, and cannot be used: {error}; mount it (`mount -t \
             proc proc /proc`)"
        )
    })?;
    let started = thread::Builder::new().spawn(|| {});
    started.map(drop).map_err(|error| {
        format!(
            "cannot start a thread: {error}; if that is `Operation not permitted`, the seccomp profile of \
             the container is older than the C library and refuses clone3: update the container engine"
        )
    })
}

/// Makes an error that says what this process cannot do, why, and the remedy. `calls` names the system calls
/// that this takes, because a bare "Operation not permitted" tells nobody what to permit.
pub fn cannot(doing: &str, calls: &str) -> impl Fn(io::Error) -> io::Error {
    move |error| {
        let remedy = match error.raw_os_error() {
            Some(libc::EMFILE) => "raise the limit on open files (RLIMIT_NOFILE, `LimitNOFILE=`)".to_owned(),
            Some(libc::ENFILE) => "raise the machine's limit on open files (fs.file-max)".to_owned(),
            Some(libc::EAGAIN | libc::ENOMEM) => {
                "raise the limit on processes (RLIMIT_NPROC, `TasksMax=`), or free memory".to_owned()
            }
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::EINVAL) => {
                format!("the kernel or the seccomp filter of a container refuses {calls}: allow it")
            }
            _ => format!("the system call is {calls}"),
        };
        io::Error::new(error.kind(), format!("cannot {doing}: {error}; {remedy}"))
    }
}

/// The system calls with which a thread is started.
pub const THREAD_CALLS: &str = "clone3, clone or mmap";

/// The system calls with which this process waits for events.
pub const EVENT_CALLS: &str = "epoll_create1, epoll_ctl, eventfd2 or fcntl";

/// Says what to do where inotify fails with this error.
pub fn inotify_remedy(number: Option<i32>) -> &'static str {
    match number {
        Some(libc::ENOSPC) => "raise fs.inotify.max_user_watches",
        Some(libc::EMFILE | libc::ENFILE) => {
            "raise the limit on open files (RLIMIT_NOFILE, `LimitNOFILE=`), or raise \
             fs.inotify.max_user_instances"
        }
        Some(libc::EACCES) => "make every directory in it readable for the user of this process",
        Some(libc::EPERM | libc::ENOSYS | libc::EINVAL) => {
            "allow inotify_init1 and inotify_add_watch: the kernel or the seccomp filter of a container \
             refuses them"
        }
        _ => "raise fs.inotify.max_user_instances and fs.inotify.max_user_watches",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_read_is_no_limit_to_raise() {
        let remedy = inotify_remedy(Some(libc::EACCES));
        assert!(remedy.contains("readable") && !remedy.contains("raise"), "{remedy}");
        assert!(inotify_remedy(Some(libc::ENOSPC)).contains("max_user_watches"));
    }
}
