//! Explains why an action could not be started: which step failed, what it concerns, and the remedy.
//!
//! The child can report only the step and the number of the error. [`program`] looks at the program, its
//! interpreter and the directories on the way as the action's user would, and finds what the number means.

use std::io;

use nix::libc;

mod access;
mod binary;
mod program;

use super::start_error::StartError;
use crate::model::{ExecContext, Identity, UNLIMITED};
use crate::sys::{SetupError, Step};
use crate::text::printable;
use access::Accessor;
use program::Attempt;

/// Returns the error of an action whose process could not be prepared, or whose program could not be
/// executed. `image` is what was to be executed.
pub fn explain(
    SetupError { step, error }: SetupError,
    identity: &Identity,
    exec_context: &ExecContext,
    image: &crate::sys::launch::Image,
) -> StartError {
    let who = Accessor::of(identity);
    let (what, remedy) = match step {
        Step::Basics | Step::Files => return StartError::Start(error),
        Step::Identify => {
            let remedy = "the state directory must be writable, with room in it";
            ("noting its process in the state directory".to_owned(), Some(remedy.to_owned()))
        }
        Step::Fork => ("a new process".to_owned(), no_process(&error)),
        Step::Limit(resource) => {
            let value = match exec_context.limits.get(&resource) {
                None | Some(&UNLIMITED) => "unlimited".to_owned(),
                Some(value) => value.to_string(),
            };
            let remedy =
                "a daemon without CAP_SYS_RESOURCE cannot raise a hard limit: raise the daemon's own";
            let is_denied = error.raw_os_error() == Some(libc::EPERM);
            (format!("rlimits {} {value}", resource.name()), is_denied.then(|| remedy.to_owned()))
        }
        Step::Nice => {
            let remedy = "a daemon without CAP_SYS_NICE cannot raise a priority: leave `nice` out";
            let what = format!("nice {}", exec_context.nice.unwrap_or_default());
            (what, is_refusal(&error).then(|| remedy.to_owned()))
        }
        Step::Keyring => {
            let remedy = "the keyrings of the daemon's user are used up: raise kernel.keys.root_maxkeys";
            ("a session keyring".to_owned(), Some(remedy.to_owned()))
        }
        Step::Groups | Step::Gid | Step::Uid | Step::Verification => {
            return identity_error(step, error, identity);
        }
        Step::Cwd => {
            let cwd = exec_context.cwd.as_str();
            let what = format!("cwd {}", printable(cwd.as_bytes()));
            (what, access::directory(cwd.as_ref(), &who, &error))
        }
        Step::Descriptors => ("keeping the daemon's descriptors from the action".to_owned(), None),
        Step::NoNewPrivs => ("no_new_privs".to_owned(), None),
        Step::Program => {
            let attempt = Attempt::new(image, &exec_context.cwd, who);
            return StartError::Explained { what: None, remedy: attempt.explain(&error), error };
        }
    };
    StartError::Explained { what: Some(what), error, remedy }
}

/// Returns the error of a process that cannot take on its identity. `step` is what failed.
pub fn identity_error(step: Step, error: io::Error, identity: &Identity) -> StartError {
    let (uid, gid) = identity.change.as_ref().map_or((identity.uid, identity.gid), |ids| (ids.uid, ids.gid));
    let (id, ids, map, capability) = match step {
        Step::Groups => ("its supplementary groups".to_owned(), "groups", "gid_map", "CAP_SETGID"),
        Step::Gid => (format!("gid {gid}"), "group", "gid_map", "CAP_SETGID"),
        _ => (format!("uid {uid}"), "user", "uid_map", "CAP_SETUID"),
    };
    let what = format!("becoming {} ({id})", printable(identity.user.as_bytes()));
    let remedy = match error.raw_os_error() {
        Some(libc::EINVAL | libc::EOVERFLOW) => format!(
            "the user namespace of the daemon (a rootless container?) does not have this {ids}, see \
             /proc/self/{map}: map more ids into it, or leave out `uid` and `gid`"
        ),
        Some(libc::EPERM) => format!(
            "the daemon may not change to other users: it needs {capability}, and a user namespace that \
             allows setgroups; grant that, or leave out `uid` and `gid`"
        ),
        Some(libc::EAGAIN) => "this user has as many processes as its limit allows".to_owned(),
        _ => "leave out `uid` and `gid` to run it as the daemon's user".to_owned(),
    };
    StartError::Explained { what: Some(what), error, remedy: Some(remedy) }
}

/// Returns the error of content that cannot be put into a file for the action.
pub fn content_error(error: io::Error) -> StartError {
    let remedy = match error.raw_os_error() {
        Some(libc::EFBIG) => {
            Some("the daemon's limit on the size of files (RLIMIT_FSIZE) is smaller: raise it")
        }
        Some(libc::ENOSPC | libc::ENOMEM) => Some("no memory or space is left for it"),
        Some(libc::EMFILE) => Some("the daemon has no descriptor left: raise RLIMIT_NOFILE (`LimitNOFILE=`)"),
        _ => None,
    };
    StartError::Explained { what: Some("its stdin".to_owned()), error, remedy: remedy.map(str::to_owned) }
}

fn no_process(error: &io::Error) -> Option<String> {
    let remedy = match error.raw_os_error()? {
        libc::EAGAIN => {
            "no process is left: raise pids.max of the control group (`TasksMax=`), RLIMIT_NPROC of the \
             daemon's user, or kernel.pid_max"
        }
        libc::ENOMEM => "no memory is left for it, in the machine or in the control group",
        libc::EPERM | libc::ENOSYS => "the seccomp profile of the container does not allow clone()",
        _ => return None,
    };
    Some(remedy.to_owned())
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}
