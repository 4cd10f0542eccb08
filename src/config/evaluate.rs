//! The parent's side of script evaluation: a child that is asked, watched and replaced.
//!
//! Whatever a script does, it does in the child, and to the child only. A dead or late child is an error of the
//! one file it was busy with; the next file gets a new child.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::facts::is_variable_name;
use super::modules::{EXTENSION, ModuleSource};
use super::reply_check::first_invalid_key;
use super::script::{Reply, Request};
use crate::config::registered::RawWatch;
use crate::sys;

/// What the contract gives one file, its modules included.
const DEADLINE: Duration = Duration::from_secs(2);

/// Files per child. A start costs some milliseconds, so more would gain nothing; fewer keep what one file might
/// leave behind from adding up.
const MAX_FILES_PER_CHILD: usize = 256;

/// Of evaluation, after which a child is replaced; well before its CPU limit.
pub const MAX_CHILD_BUSY: Duration = Duration::from_secs(20);

/// 10,000 watches of ordinary length were measured as 3 MB, so the most watches of one file are 30 MB.
const MAX_REPLY_BYTES: usize = 128 << 20;

/// Modules of one file. Each unknown one costs an evaluation.
const MAX_MODULES: usize = 64;

/// Environment variables that one file may ask for; the same goes for them.
const MAX_VARIABLES: usize = 64;

/// What became of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluation {
    Loaded {
        watches: Vec<RawWatch>,
        warnings: Vec<String>,
    },
    /// `transient`: it may go better with the same content (it ran out of time, or no process could be made).
    Failed {
        message: String,
        transient: bool,
    },
}

/// Evaluates files, one after the other. Belongs to one thread that lives as long as it is used.
pub struct Evaluator {
    program: PathBuf,
    child: Option<EvaluatorChild>,
}

struct EvaluatorChild {
    /// `None` where somebody else answers.
    child: Option<Child>,
    requests: File,
    replies: File,
    files: usize,
    busy: Duration,
}

/// Why there is no reply.
enum EvalError {
    TimedOut,
    Died,
    /// It gave this a value that no config can.
    InvalidReply(&'static str),
    System(io::Error),
}

impl From<io::Error> for EvalError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl Evaluator {
    /// `program` is run as `program evaluate`; the daemon's own is `/proc/self/exe`, which works also after an
    /// upgrade replaced the file, and where the path leads through directories closed to others.
    pub fn new(program: PathBuf) -> Self {
        Self { program, child: None }
    }

    /// One whose child has said all that it ever says, a reply with each `read`: for whoever wants to know what replies
    /// come to that no interpreter gives. The next child cannot be started.
    pub fn with_replies(replies: File) -> io::Result<Self> {
        let requests = File::options().write(true).open("/dev/null")?;
        let process = EvaluatorChild { child: None, requests, replies, files: 0, busy: Duration::ZERO };
        Ok(Self { program: PathBuf::new(), child: Some(process) })
    }

    /// Ends the child, if there is one: it is not to wait for the next change, which may never come.
    pub fn stop_child(&mut self) {
        self.child = None;
    }

    /// Evaluates one file. `request.modules` grows by what `read` gives for each module asked for, so that
    /// afterwards it has all that were used, missing ones included; and `request.facts` by the variables asked for.
    pub fn evaluate(
        &mut self,
        request: &mut Request,
        read: &mut dyn FnMut(&str) -> ModuleSource,
    ) -> Evaluation {
        let deadline = Instant::now() + DEADLINE;
        let started = Instant::now();
        let outcome = loop {
            let reused = self.child.is_some();
            match self.ask(request, deadline) {
                // It may have been killed while it waited, which is no fault of this file.
                Err(EvalError::Died) if reused => self.child = None,
                Ok(Reply::Loaded { watches, warnings }) => break Evaluation::Loaded { watches, warnings },
                Ok(Reply::Failed { message }) => break Evaluation::Failed { message, transient: false },
                Ok(Reply::TimedOut { message }) => break Evaluation::Failed { message, transient: true },
                Ok(Reply::NeedsModule { path }) => {
                    // The child is not to be trusted with what it asks for, nor how often.
                    if request.modules.len() >= MAX_MODULES || request.modules.contains_key(&path) {
                        let message = format!("{}: more than {MAX_MODULES} modules", request.path);
                        break Evaluation::Failed { message, transient: false };
                    }
                    let source = read(&path);
                    request.modules.insert(path, source);
                }
                Ok(Reply::NeedsVariable { name }) => {
                    let known = &request.facts.variables;
                    if known.len() >= MAX_VARIABLES || known.contains_key(&name) || !is_variable_name(&name) {
                        let message =
                            format!("{}: more than {MAX_VARIABLES} environment variables", request.path);
                        break Evaluation::Failed { message, transient: false };
                    }
                    request.facts.look_up(name);
                }
                Err(failure) => {
                    self.child = None;
                    break failed(failure, &request.path);
                }
            }
        };
        if let Some(process) = &mut self.child {
            process.files += 1;
            process.busy += started.elapsed();
            if process.files >= MAX_FILES_PER_CHILD || process.busy >= MAX_CHILD_BUSY {
                self.child = None;
            }
        }
        outcome
    }

    fn ask(&mut self, request: &Request, deadline: Instant) -> Result<Reply, EvalError> {
        let process = match &mut self.child {
            Some(process) => process,
            none => none.insert(EvaluatorChild::start(&self.program)?),
        };
        let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
        line.push(b'\n');
        process.send(&line, deadline)?;
        let reply = process.receive(deadline)?;
        let reply = serde_json::from_slice(&reply).map_err(|_| EvalError::Died)?;
        let first_invalid_key = match &reply {
            Reply::Loaded { watches, .. } => first_invalid_key(watches),
            // Other files there hold secrets.
            Reply::NeedsModule { path } => (!path.ends_with(EXTENSION)).then_some("import"),
            Reply::Failed { .. } | Reply::TimedOut { .. } | Reply::NeedsVariable { .. } => None,
        };
        first_invalid_key.map_or(Ok(reply), |what| Err(EvalError::InvalidReply(what)))
    }
}

fn failed(failure: EvalError, path: &str) -> Evaluation {
    let (reason, transient) = match failure {
        EvalError::TimedOut => ("the config did not end within 2 s".to_owned(), true),
        EvalError::Died => ("evaluation ran out of memory or stack".to_owned(), false),
        EvalError::InvalidReply(what) => {
            let reason = format!(
                "its evaluation gave `{what}` a value that no config can give; restart the daemon to have it evaluated \
                 again, and report it"
            );
            (reason, false)
        }
        EvalError::System(error) => (format!("cannot evaluate: {error}"), true),
    };
    Evaluation::Failed { message: format!("{path}: {reason}"), transient }
}

impl EvaluatorChild {
    fn start(program: &PathBuf) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg("evaluate").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        sys::confine_evaluator(&mut command);
        let mut child = command.spawn()?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both were asked for as pipes");
        };
        let (requests, replies) = (OwnedFd::from(requests), OwnedFd::from(replies));
        for end in [&requests, &replies] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        let (requests, replies) = (requests.into(), replies.into());
        Ok(Self { child: Some(child), requests, replies, files: 0, busy: Duration::ZERO })
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), EvalError> {
        while !bytes.is_empty() {
            match self.requests.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => wait(&self.requests, PollFlags::POLLOUT, deadline)?,
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::BrokenPipe => return Err(EvalError::Died),
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(())
    }

    fn receive(&mut self, deadline: Instant) -> Result<Vec<u8>, EvalError> {
        let mut line = Vec::new();
        let mut chunk = [0; 64 << 10];
        while line.last() != Some(&b'\n') {
            match self.replies.read(&mut chunk) {
                Ok(0) => return Err(EvalError::Died),
                Ok(_) if line.len() > MAX_REPLY_BYTES => return Err(EvalError::Died),
                Ok(length) => line.extend_from_slice(&chunk[..length]),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => wait(&self.replies, PollFlags::POLLIN, deadline)?,
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(line)
    }
}

impl Drop for EvaluatorChild {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // The leader is not reaped yet, so the group is still its own.
        if let Ok(pid) = i32::try_from(child.id()) {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn wait(file: &File, flags: PollFlags, deadline: Instant) -> Result<(), EvalError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(EvalError::TimedOut);
    }
    // Rounded up: rounded down, the last millisecond would be a busy loop.
    let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(file.as_fd(), flags)], timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(EvalError::System(error.into())),
    }
}
