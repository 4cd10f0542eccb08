//! Leaves a process no system calls but those that its work needs, by seccomp.
//!
//! A process that reads foreign input makes few calls. Whoever takes it over finds no other: it cannot start
//! a process, open a file for writing, or signal anybody, whatever its user and the files' modes permit. All
//! other calls fail with ENOSYS, as on a kernel that does not have them, because libraries know what to do
//! then: the C library starts a thread by `clone` where there is no `clone3`, for example.

use std::env::consts::ARCH;
use std::io;

use seccompiler::{BpfProgram, Error, SeccompAction, SeccompFilter, apply_filter};

use nix::libc;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod apart;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod argument;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod table;
mod work;

pub use work::Work;

/// Forbids the calling thread, and those that it will start, all system calls that `work` does not need. Call
/// it before the first thread is started. The process can gain no privileges from now on.
///
/// Fails where the kernel has no seccomp, and for an architecture whose system calls nobody has looked at.
pub fn allow_only(work: Work) -> io::Result<()> {
    apply(&program(work)?)
}

/// Forbids the calling thread, and those that it will start, to start a process, to reach another one, and to
/// type into a terminal: what a command of root's could do to root's session, whoever it has become. Call it
/// before the first thread is started. The process can gain no privileges from now on.
///
/// Fails where [`allow_only`] does.
pub fn stay_apart() -> io::Result<()> {
    apply(&program_apart()?)
}

fn apply(program: &BpfProgram) -> io::Result<()> {
    apply_filter(program).map_err(|error| match error {
        Error::Prctl(error) | Error::Seccomp(error) => error,
        error => io::Error::other(error.to_string()),
    })
}

/// Returns whether [`allow_only`] works here. Changes nothing.
pub fn can_allow_only() -> bool {
    // No filter is at this address, which the kernel finds before anything else.
    let filter: *const libc::sock_fprog = std::ptr::null();
    // SAFETY: the kernel reads nothing from a null pointer, and installs nothing.
    let tried = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, filter) };
    let has_seccomp = tried < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT);
    has_seccomp && program(Work::Computing).is_ok()
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn program(work: Work) -> io::Result<BpfProgram> {
    compiled(table::rules(work)?, DENIED, SeccompAction::Allow)
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn program_apart() -> io::Result<BpfProgram> {
    let program = compiled(apart::rules()?, SeccompAction::Allow, DENIED)?;
    Ok(apart::NO_OTHER_NUMBERS.into_iter().chain(program).collect())
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const DENIED: SeccompAction = SeccompAction::Errno(libc::ENOSYS as u32);

/// Compiles a filter that does `mismatch` with all calls but those of `rules`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn compiled(
    rules: argument::Rules,
    mismatch: SeccompAction,
    matching: SeccompAction,
) -> io::Result<BpfProgram> {
    let arch = ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, mismatch, matching, arch);
    filter.and_then(BpfProgram::try_from).map_err(io::Error::other)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn program(_: Work) -> io::Result<BpfProgram> {
    program_apart()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn program_apart() -> io::Result<BpfProgram> {
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("no filter for {ARCH}")))
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests;
