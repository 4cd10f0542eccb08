//! What a watch says of its action's surroundings, as the child sets it between fork and exec.

use std::io::{self, Write};

use nix::libc;

use super::{ChildSetup, change_limit, check, check_long};
use crate::model::Resource;

/// What a child can fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What all actions have.
    Basics,
    Limit(Resource),
    Nice,
    Cwd,
    NoNewPrivs,
    Program,
}

impl Step {
    /// Each has its place in it, by which the child names it.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let limits = Resource::ALL.into_iter().map(Self::Limit);
        [Self::Basics, Self::Nice, Self::Cwd, Self::NoNewPrivs, Self::Program].into_iter().chain(limits)
    }

    pub(super) fn failed(self, error: io::Error) -> SetupError {
        SetupError { step: self, error }
    }
}

/// Why a child could not become its program.
#[derive(Debug)]
pub struct SetupError {
    pub step: Step,
    pub error: io::Error,
}

impl From<io::Error> for SetupError {
    fn from(error: io::Error) -> Self {
        Step::Basics.failed(error)
    }
}

impl ChildSetup {
    /// With the daemon's privileges: what may take them.
    pub(super) fn raise_limits(&self) -> Result<(), SetupError> {
        for (resource, value) in &self.limits {
            raise_hard_limit(*resource, *value).map_err(|error| Step::Limit(*resource).failed(error))?;
        }
        match self.nice {
            Some(nice) => set_nice(nice).map_err(|error| Step::Nice.failed(error)),
            None => Ok(()),
        }
    }

    /// As the action's user. With lower limits before, the kernel would hold the processes that the user has already
    /// against the program (EAGAIN); and a directory that its user cannot enter is not for the action.
    pub(super) fn apply_limits_and_cwd(&self) -> Result<(), SetupError> {
        for (resource, value) in &self.limits {
            set_limit(*resource, *value).map_err(|error| Step::Limit(*resource).failed(error))?;
        }
        // SAFETY: the path ends with its NUL.
        let entered = check(unsafe { libc::chdir(self.cwd.as_ptr()) });
        entered.map(drop).map_err(|error| Step::Cwd.failed(error))
    }

    pub(super) fn set_no_new_privs(&self) -> Result<(), SetupError> {
        if !self.no_new_privs {
            return Ok(());
        }
        // SAFETY: takes integers.
        let done = check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) });
        done.map(drop).map_err(|error| Step::NoNewPrivs.failed(error))
    }
}

/// Raises the hard limit, where it is below `value`.
fn raise_hard_limit(resource: Resource, value: u64) -> io::Result<()> {
    // SAFETY: the closure only compares and assigns.
    unsafe { change_limit(number(resource), |limit| limit.rlim_max = limit.rlim_max.max(value)) }
}

fn set_limit(resource: Resource, value: u64) -> io::Result<()> {
    // SAFETY: the closure only assigns.
    unsafe {
        change_limit(number(resource), |limit| {
            *limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        })
    }
}

fn number(resource: Resource) -> libc::__rlimit_resource_t {
    resource as i32 as libc::__rlimit_resource_t
}

/// Of the longest, -20.
const NICE_DIGITS: usize = 3;

/// Sets the calling process's nice, and that of its session, which it leads: where the kernel weighs sessions before
/// processes (autogroup), the one alone would tell it nothing but how to share among the action's own processes.
fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: a bare syscall on integers; 0 is the calling process.
    check_long(unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice) })?;
    let mut digits = [0; NICE_DIGITS];
    let mut left: &mut [u8] = &mut digits;
    // Writes into the array alone.
    let _ = write!(left, "{nice}");
    let length = NICE_DIGITS - left.len();
    // Where there is no autogroup there is no such file. And the kernel takes only some of these a second, but from root.
    // Nor can a hidden process of another user than root write to its own (see `make_undumpable`). Whom this one shows itself to for
    // a moment are processes of the daemon's user, and unless that is root, they can read all that the daemon can.
    // SAFETY: the path ends with its NUL, and the array is live and at least so long; the rest are integers.
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
