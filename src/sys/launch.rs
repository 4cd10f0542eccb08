//! Starts an action's process without copying the daemon's memory.
//!
//! fork() copies the page tables, and both sides then fault on every page that they write, which takes longer
//! than the rest of a start. So the child borrows the daemon's memory until it executes its program, and the
//! daemon stands still meanwhile, as with vfork() and posix_spawn().
//!
//! The child gets a copy of the memory only in two cases. It takes on another identity: no process of that
//! user may reach one that shares the daemon's memory. Or it takes another nice value, for which it must be
//! dumpable for a moment (see [`super::setup`]).

use std::ffi::{CStr, CString};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_char, c_int, c_void};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use super::children::note_own_child;
use super::setup::ChildSetup;
use super::step::{SetupError, Step};
use super::syscall::check;

/// The child's stack until it executes its program. It is far more than needed, because it cannot grow.
const STACK_BYTES: usize = 64 * 1024;

/// The parent checks at this interval whether the child was stopped. A start usually takes 1 ms.
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
}

/// Everything that the child touches. The pointers are valid as long as [`start`] waits.
struct Child<'a> {
    candidates: &'a [CString],
    arguments: Vec<*const c_char>,
    /// The arguments of the shell that runs a script without an interpreter line. The second is the script.
    shell_arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    stdio: [RawFd; 3],
    setup: &'a ChildSetup,
    read_back: Vec<libc::gid_t>,
    failure: RawFd,
}

/// Starts `image` with `setup`. Returns once it is executing, or could not be executed.
pub fn start(image: &Image, setup: &ChildSetup) -> Result<Pid, SetupError> {
    let (mut failure, report) = io::pipe()?;
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
        failure: report.as_raw_fd(),
    };
    if child.stdio.iter().any(|fd| *fd < 3) {
        return Err(io::Error::from_raw_os_error(libc::EBADF).into());
    }
    let memory = match (&setup.credentials, setup.nice) {
        (None, None) => libc::CLONE_VM | libc::CLONE_VFORK,
        (Some(_), _) | (_, Some(_)) => 0,
    };
    let mut stack = Vec::<u128>::with_capacity(STACK_BYTES / size_of::<u128>());
    // SAFETY: the child runs on a stack of its own, makes only async-signal-safe calls on what `child` holds,
    // and is gone from our memory when clone returns. No handler of ours can run in it: all signals are
    // blocked until it has reset them.
    let pid = unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let top = stack.as_mut_ptr().add(stack.capacity());
        let pid = check(libc::clone(
            child_main,
            top.cast(),
            memory | libc::SIGCHLD,
            (&raw mut child).cast::<c_void>(),
        ));
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        Pid::from_raw(pid.map_err(|error| Step::Fork.failed(error))?)
    };
    note_own_child(pid.as_raw());
    drop(report);
    let mut reported = [0; REPORT_BYTES];
    let failure = match wait_for_exec(pid, failure.as_fd()).and_then(|()| failure.read_exact(&mut reported)) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(pid),
        Err(error) => error.into(),
        Ok(()) => {
            let [step, number @ ..] = reported;
            let step = Step::all().nth(step.into()).unwrap_or(Step::Basics);
            step.failed(io::Error::from_raw_os_error(c_int::from_ne_bytes(number)))
        }
    };
    // The child may be about to end, but it could be stopped before it does.
    let _ = kill(pid, Signal::SIGKILL);
    let _ = waitpid(pid, None);
    Err(failure)
}

/// Waits until the child has reported a failure, or has closed the pipe by executing its program. Returns an
/// error if the child was stopped: any process of the user that it becomes can do that, and the daemon would
/// stand still too.
fn wait_for_exec(child: Pid, failure: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(failure, PollFlags::POLLIN)], POLL_MILLIS) {
            Ok(0) => {}
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let stopped = waitid(Id::Pid(child), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG);
        if let Ok(WaitStatus::Stopped(..)) = stopped {
            // Its program may have been executed meanwhile, and have stopped itself.
            if let Ok(1..) = poll(&mut [PollFd::new(failure, PollFlags::POLLIN)], PollTimeout::ZERO) {
                return Ok(());
            }
            return Err(io::Error::other("another process of its user stopped it before it was executed"));
        }
    }
}

/// The child reports a failure in two parts: the position of the step in [`Step::all`], and the error's
/// number.
const REPORT_BYTES: usize = 1 + size_of::<c_int>();

fn encode_error(SetupError { step, error }: &SetupError) -> [u8; REPORT_BYTES] {
    let mut report = [0; REPORT_BYTES];
    report[0] = Step::all().position(|other| other == *step).unwrap_or(0) as u8;
    report[1..].copy_from_slice(&error.raw_os_error().unwrap_or(libc::EINVAL).to_ne_bytes());
    report
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

extern "C" fn child_main(child: *mut c_void) -> c_int {
    // SAFETY: this is what `start` gave to clone, and nobody else uses it now.
    let child = unsafe { &mut *child.cast::<Child<'_>>() };
    let report = encode_error(&child.execute());
    // SAFETY: `report` is a live local.
    unsafe { libc::write(child.failure, report.as_ptr().cast(), report.len()) };
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
            Ok(()) => Step::Program.failed(self.execute_program()),
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
        for (number, fd) in self.stdio.iter().enumerate() {
            // SAFETY: a bare syscall without pointers.
            check(unsafe { libc::dup2(*fd, number as c_int) })?;
        }
        self.setup.apply(&mut self.read_back)
    }
}
