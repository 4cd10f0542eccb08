//! Starts an action's process without copying the daemon's memory.
//!
//! fork() copies the page tables, and both sides then fault on every page that they write, which takes longer
//! than the rest of a start. So the child borrows the daemon's memory until it executes its program, and the
//! daemon stands still meanwhile, as with vfork() and posix_spawn().
//!
//! The child gets a copy of the memory only in two cases. It takes on another identity: no process of that
//! user may reach one that shares the daemon's memory. Or it takes another nice value, for which it must be
//! dumpable for a moment (see [`super::setup`]).
//!
//! Several threads start processes at once. A child that another thread makes meanwhile has a copy of our
//! pipe: only once it has closed this copy do we see that our own child has executed its program. So a child
//! closes what is not its own before any step that can take long.

use std::ffi::{CStr, CString};
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::libc::{self, c_char, c_int, c_void};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::attempt::{Attempt, kill_all};
use super::children::note_own_child;
use super::descriptors::close_except;
use super::setup::{ChildSetup, note_signals};
use super::slot::Slot;
use super::step::{SetupError, Step};
use super::syscall::check;

/// The child's stack until it executes its program. It is far more than needed, because it cannot grow.
const STACK_BYTES: usize = 64 * 1024;

/// The parent checks at this interval whether the child was stopped, and whether the start was given up. A
/// start usually takes 1 ms.
const POLL_MILLIS: u8 = 10;

const SHELL: &CStr = c"/bin/sh";

/// A program and what it gets.
pub struct Image {
    /// The paths to try in this order, as a shell does with PATH; never empty.
    pub candidates: Vec<CString>,
    /// The program's name and its arguments; never empty.
    pub arguments: Vec<CString>,
    pub environment: Vec<CString>,
    /// stdin, stdout and stderr, none of which may be below 3.
    pub stdio: [OwnedFd; 3],
    /// A descriptor above 2 that the program gets under the same number.
    pub keep: Option<OwnedFd>,
}

/// A start that failed.
#[derive(Debug)]
pub struct StartFailure {
    pub error: SetupError,
    /// The child, which was killed, and is to be reaped when that is possible.
    pub child: Option<Pid>,
    /// Whether the start was given up; the error only tells at which step.
    pub given_up: bool,
}

impl From<SetupError> for StartFailure {
    fn from(error: SetupError) -> Self {
        Self { error, child: None, given_up: false }
    }
}

/// Everything that the child touches. The pointers are valid as long as [`start`] waits, or, where the child
/// has a copy of the memory, in that copy.
struct Child<'a> {
    candidates: &'a [CString],
    arguments: Vec<*const c_char>,
    /// The arguments of the shell that runs a script without an interpreter line. The second is the script.
    shell_arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    stdio: [RawFd; 3],
    setup: &'a ChildSetup,
    read_back: Vec<libc::gid_t>,
    keep: Option<RawFd>,
    slot: Option<&'a Slot>,
    attempt: &'a Attempt,
    /// Whether `attempt` is the parent's, not a copy.
    shares_memory: bool,
    report: RawFd,
}

/// Starts `image` with `setup`. Returns once it is executing, could not be executed, or `attempt` was given
/// up. While the kernel does not let go of a child that shares our memory, it does not return at all.
///
/// The child notes who it is in `slot` before it does anything else.
pub fn start(
    image: &Image,
    setup: &ChildSetup,
    slot: Option<&Slot>,
    attempt: &Attempt,
) -> Result<Pid, StartFailure> {
    note_signals();
    let (reports, report) = io::pipe().map_err(SetupError::from)?;
    let arguments = pointers(&image.arguments);
    let script = [SHELL.as_ptr(), ptr::null()];
    let mut child = Child {
        candidates: &image.candidates,
        shell_arguments: script.into_iter().chain(arguments[1..].iter().copied()).collect(),
        arguments,
        environment: pointers(&image.environment),
        stdio: image.stdio.each_ref().map(AsRawFd::as_raw_fd),
        setup,
        // Room for one more group than is set, so that a group too many shows.
        read_back: vec![0; setup.credentials.as_ref().map_or(0, |c| c.groups.len()) + 1],
        keep: image.keep.as_ref().map(AsRawFd::as_raw_fd),
        slot,
        attempt,
        shares_memory: setup.credentials.is_none() && setup.nice.is_none(),
        report: report.as_raw_fd(),
    };
    if child.stdio.iter().chain(&child.keep).any(|fd| *fd < 3) {
        return Err(SetupError::from(io::Error::from_raw_os_error(libc::EBADF)).into());
    }
    if attempt.is_given_up() {
        return Err(given_up(attempt, None));
    }
    let memory = if child.shares_memory { libc::CLONE_VM | libc::CLONE_VFORK } else { 0 };
    let mut stack = Vec::<u128>::with_capacity(STACK_BYTES / size_of::<u128>());
    // SAFETY: the child runs on a stack of its own, makes only async-signal-safe calls on what `child` holds,
    // and is gone from our memory when clone returns. No handler of ours can run in it: all signals are
    // blocked until it has reset them. The kernel writes the child's number into a live integer.
    let pid = unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let top = stack.as_mut_ptr().add(stack.capacity());
        let pid = check(libc::clone(
            child_main,
            top.cast(),
            memory | libc::SIGCHLD | libc::CLONE_PARENT_SETTID,
            (&raw mut child).cast::<c_void>(),
            attempt.child.as_ptr(),
        ));
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        Pid::from_raw(pid.map_err(|error| Step::Fork.failed(error))?)
    };
    note_own_child(pid.as_raw());
    drop(report);
    let outcome = wait_for_exec(pid, reports, attempt);
    let is_given_up = attempt.finish();
    if is_given_up || outcome.is_err() {
        // The child may be about to end, but it could be stopped before it does. Who gave the start up may
        // not have known the child yet, and then the program executes now. The number is ours until the
        // caller gets it.
        kill_all(pid);
        if attempt.step() == Step::Identify {
            // The caller gives the slot to another run, so the child must not write into it any more.
            let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        }
    }
    if is_given_up {
        return Err(given_up(attempt, Some(pid)));
    }
    match outcome {
        Ok(()) => Ok(pid),
        Err(error) => Err(StartFailure { error, child: Some(pid), given_up: false }),
    }
}

fn given_up(attempt: &Attempt, child: Option<Pid>) -> StartFailure {
    let error = attempt.step().failed(io::Error::from_raw_os_error(libc::ETIMEDOUT));
    StartFailure { error, child, given_up: true }
}

/// Waits until the child has reported a failure, has closed the pipe by executing its program, or the start
/// is given up. Returns an error also if the child was stopped: any process of the user that it becomes can
/// do that.
fn wait_for_exec(child: Pid, mut reports: PipeReader, attempt: &Attempt) -> Result<(), SetupError> {
    loop {
        match poll(&mut [PollFd::new(reports.as_fd(), PollFlags::POLLIN)], POLL_MILLIS) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => {
                let mut report = [0; REPORT_BYTES];
                match reports.read(&mut report)? {
                    0 => return Ok(()),
                    REPORT_BYTES => match decode(report) {
                        Ok(step) => attempt.enter(step),
                        Err(error) => return Err(error),
                    },
                    // The kernel writes and reads so few bytes at once.
                    _ => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
                }
                continue;
            }
            Err(error) => return Err(io::Error::from(error).into()),
        }
        if attempt.is_given_up() {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT).into());
        }
        let stopped = waitid(Id::Pid(child), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG);
        if let Ok(WaitStatus::Stopped(..)) = stopped {
            // Its program may have been executed meanwhile, and have stopped itself.
            if let Ok(1..) = poll(&mut [PollFd::new(reports.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) {
                continue;
            }
            let what = "another process of its user stopped it before it was executed";
            return Err(io::Error::other(what).into());
        }
    }
}

/// The child reports in two parts: the position of a step in [`Step::all`], and the number of the error with
/// which it failed; 0 if the step only begins.
const REPORT_BYTES: usize = 1 + size_of::<c_int>();

fn encode(step: Step, error: c_int) -> [u8; REPORT_BYTES] {
    let mut report = [0; REPORT_BYTES];
    report[0] = step.position();
    report[1..].copy_from_slice(&error.to_ne_bytes());
    report
}

fn decode([step, number @ ..]: [u8; REPORT_BYTES]) -> Result<Step, SetupError> {
    match (Step::at(step), c_int::from_ne_bytes(number)) {
        (step, 0) => Ok(step),
        (step, number) => Err(step.failed(io::Error::from_raw_os_error(number))),
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

extern "C" fn child_main(child: *mut c_void) -> c_int {
    // SAFETY: this is what `start` gave to clone, and nobody else uses it now.
    let child = unsafe { &mut *child.cast::<Child<'_>>() };
    let SetupError { step, error } = child.execute();
    child.send(encode(step, error.raw_os_error().unwrap_or(libc::EINVAL)));
    127
}

/// Whether the file may be a script without an interpreter line. A program for another machine is none, and a
/// shell would make nonsense of it. Async-signal-safe.
fn is_text(path: &CStr) -> bool {
    let mut head = [0; 256];
    // SAFETY: the path ends with its NUL, `head` is live and has the given length, and the descriptor is
    // ours.
    let length = unsafe {
        let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK);
        if file < 0 {
            return false;
        }
        let length = libc::read(file, head.as_mut_ptr().cast(), head.len());
        libc::close(file);
        length
    };
    // As POSIX has it for shells: no NUL in the first line.
    let line = head[..usize::try_from(length).unwrap_or(0)].split(|byte| *byte == b'\n').next();
    line.is_some_and(|line| !line.contains(&0))
}

impl Child<'_> {
    /// Executes the program. Returns only if that fails.
    fn execute(&mut self) -> SetupError {
        match self.prepare() {
            Ok(()) => {
                self.enter(Step::Program);
                Step::Program.failed(self.execute_program())
            }
            Err(failure) => failure,
        }
    }

    fn execute_program(&mut self) -> io::Error {
        let mut denied = None;
        for candidate in self.candidates {
            // SAFETY: the arrays end with a null, and what they point to outlives the call.
            unsafe {
                libc::execve(candidate.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) => denied = Some(error),
                Some(libc::ENOEXEC) if !is_text(candidate) => return error,
                Some(libc::ENOEXEC) => {
                    self.shell_arguments[1] = candidate.as_ptr();
                    // SAFETY: see above.
                    unsafe {
                        libc::execve(
                            SHELL.as_ptr(),
                            self.shell_arguments.as_ptr(),
                            self.environment.as_ptr(),
                        );
                    }
                    return io::Error::last_os_error();
                }
                _ => return error,
            }
        }
        denied.unwrap_or(io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn prepare(&mut self) -> Result<(), SetupError> {
        if let Some(slot) = self.slot {
            self.enter(Step::Identify);
            slot.identify().map_err(|error| Step::Identify.failed(error))?;
            self.enter(Step::Basics);
        }
        for (number, fd) in self.stdio.iter().enumerate() {
            // SAFETY: a bare syscall without pointers.
            check(unsafe { libc::dup2(*fd, number as c_int) })?;
        }
        // Also our copy of the lock on the state directory: the next daemon takes the lock as the sign that
        // each child has noted who it is.
        let closed = close_except([self.report, self.keep.unwrap_or(0)]);
        closed.map_err(|error| Step::Descriptors.failed(error))?;
        if let Some(keep) = self.keep {
            // SAFETY: clears the flags of a descriptor that we hold.
            check(unsafe { libc::fcntl(keep, libc::F_SETFD, 0) })?;
        }
        let Self { setup, attempt, shares_memory, report, .. } = *self;
        setup.apply(&mut self.read_back, |step| enter(attempt, shares_memory, report, step))
    }

    fn enter(&self, step: Step) {
        enter(self.attempt, self.shares_memory, self.report, step);
    }

    fn send(&self, report: [u8; REPORT_BYTES]) {
        send(self.report, report);
    }
}

/// Tells the parent that a step begins which can take long.
fn enter(attempt: &Attempt, shares_memory: bool, report: RawFd, step: Step) {
    match shares_memory {
        true => attempt.step.store(step.position(), Ordering::Relaxed),
        false => send(report, encode(step, 0)),
    }
}

fn send(pipe: RawFd, report: [u8; REPORT_BYTES]) {
    // SAFETY: `report` is a live local.
    unsafe { libc::write(pipe, report.as_ptr().cast(), report.len()) };
}

#[cfg(test)]
mod tests;
