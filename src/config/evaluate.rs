//! The daemon's side of script evaluation, which happens in a confined child with a time limit.
//!
//! A script can harm only the child. If the child dies or is late, only the present file has an error, and
//! the next file gets a new child. The replies of the child are not trusted, because the daemon starts
//! actions as root from them.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::facts::is_variable_name;
use super::mistake::Mistake;
use super::modules::{EXTENSION, SCHEMA_EXTENSION};
use super::registration::{Registration, ServiceRegistration};
use super::request::{ModuleSource, Reply, Request};
use super::vocabulary::{KEYS, SERVICE_KEYS};
use crate::model::{Resource, StoreName};
use crate::sys::{AskError, Confinement, HelperUser, Respondent};

/// The time for one file with its modules, from the contract.
const DEADLINE: Duration = Duration::from_secs(2);

/// The time for the child to start, which is no time of a file: a host that has just booted may be busy.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// What the child says first.
pub const READY: &str = "ready\n";

/// The number of files after which a child is replaced, because files may leave memory behind in it. A start
/// costs a few milliseconds, so a larger number would gain nothing.
const MAX_FILES_PER_CHILD: usize = 256;

/// The evaluation time after which a child is replaced, well below its CPU limit.
const MAX_CHILD_BUSY: Duration = Duration::from_secs(20);

/// The reply for 10,000 ordinary watches had 3 MB when it was measured, so the largest file has 30 MB.
const MAX_REPLY_BYTES: usize = 128 << 20;

/// The largest number of modules of one file. Each costs an evaluation.
const MAX_MODULES: usize = 64;

/// The largest number of environment variables that one file may read. Each costs an evaluation.
const MAX_VARIABLES: usize = 64;

/// What the child may use.
const LIMITS: [(Resource, u64); 6] = [
    // Ten times the measured 25 MiB of 10,000 registrations in an unoptimized build.
    (Resource::As, 256 << 20),
    // For its whole life. The parent ends each evaluation after 2 s and replaces a child that has used
    // MAX_CHILD_BUSY; this limit is for a child whose parent is gone.
    (Resource::Cpu, 60),
    // stdin, stdout, stderr and the files that the dynamic loader opens before `main`.
    (Resource::Nofile, 16),
    // The interpreter's frames are large, but its own limits on depth end a script well below this.
    (Resource::Stack, 64 << 20),
    (Resource::Fsize, 0),
    (Resource::Nproc, 0),
];

/// The outcome for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluation {
    Loaded {
        watches: Vec<Registration>,
        services: Vec<ServiceRegistration>,
        doubts: Vec<Mistake>,
    },
    /// The file has mistakes. The registrations only serve to find more of them.
    Wrong {
        watches: Vec<Registration>,
        services: Vec<ServiceRegistration>,
        mistakes: Vec<Mistake>,
    },
    /// A transient error, such as a timeout, may not occur again with the same content.
    Failed {
        message: String,
        transient: bool,
    },
}

/// Evaluates files, one after the other, on one thread.
pub struct Evaluator {
    program: PathBuf,
    child: Option<EvaluatorChild>,
}

struct EvaluatorChild {
    respondent: Respondent,
    files: usize,
    busy: Duration,
}

/// The reason why there is no valid reply.
enum EvalError {
    NotReady,
    TimedOut,
    Died,
    /// This key has a value that no config can give it.
    InvalidReply(&'static str),
    System(io::Error),
}

impl From<AskError> for EvalError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::TimedOut => Self::TimedOut,
            AskError::Died => Self::Died,
            AskError::System(error) => Self::System(error),
        }
    }
}

impl From<io::Error> for EvalError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl Evaluator {
    /// Runs `program evaluate` as the child. The daemon passes `/proc/self/exe`, which works even after an
    /// upgrade replaced the file, and if the child may not enter its directory.
    pub fn new(program: PathBuf) -> Self {
        Self { program, child: None }
    }

    /// Makes an evaluator without a child. Each `read` of `replies` returns one reply. The fuzzer uses it for
    /// replies that no interpreter sends.
    pub fn with_replies(replies: File) -> io::Result<Self> {
        let child = EvaluatorChild::new(Respondent::with_replies(replies)?);
        Ok(Self { program: PathBuf::new(), child: Some(child) })
    }

    /// Ends the child, if there is one, because the next change may never come.
    pub fn stop_child(&mut self) {
        self.child = None;
    }

    /// Evaluates one file. Adds to `request` the modules that the file imports, as `read` returns them, also
    /// if they are missing, and the variables that the file reads.
    pub fn evaluate(
        &mut self,
        request: &mut Request,
        read: &mut dyn FnMut(&str) -> ModuleSource,
    ) -> Evaluation {
        let mut deadline = Instant::now() + DEADLINE;
        let mut started = Instant::now();
        let outcome = loop {
            let reused = self.child.is_some();
            if !reused {
                let starting = Instant::now();
                match EvaluatorChild::start(&self.program) {
                    Ok(child) => self.child = Some(child),
                    Err(failure) => break failed(failure, &request.path),
                }
                (deadline, started) = (deadline + starting.elapsed(), started + starting.elapsed());
            }
            match self.ask(request, deadline) {
                // The child may have died while it was idle, which is not the fault of this file.
                Err(EvalError::Died) if reused => self.child = None,
                Ok(Reply::Loaded { watches, services, doubts }) => {
                    break Evaluation::Loaded { watches, services, doubts };
                }
                Ok(Reply::Failed { watches, services, mistakes }) => {
                    break Evaluation::Wrong { watches, services, mistakes };
                }
                Ok(Reply::TimedOut { message }) => break Evaluation::Failed { message, transient: true },
                Ok(Reply::NeedsModule { path }) => {
                    // A child that is not trusted could ask for ever.
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
        let Some(process) = &mut self.child else { return Err(EvalError::Died) };
        let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
        line.push(b'\n');
        process.respondent.send(&line, deadline)?;
        let reply = process.respondent.receive(MAX_REPLY_BYTES, deadline)?;
        let reply = serde_json::from_slice(&reply).map_err(|_| EvalError::Died)?;
        let impossible = match &reply {
            Reply::Loaded { watches, services, doubts: _ } => first_impossible_key(watches, services),
            // Other files of the config directory hold secrets.
            Reply::NeedsModule { path } => {
                let is_known = [EXTENSION, SCHEMA_EXTENSION].iter().any(|it| path.ends_with(it));
                (!is_known).then_some("import")
            }
            Reply::Failed { .. } | Reply::TimedOut { .. } | Reply::NeedsVariable { .. } => None,
        };
        impossible.map_or(Ok(reply), |what| Err(EvalError::InvalidReply(what)))
    }
}

/// Returns the first key, if any, with a value that no config can give it.
fn first_impossible_key<'a>(
    watches: &'a [Registration],
    services: &'a [ServiceRegistration],
) -> Option<&'static str> {
    let mut descriptions = HashSet::new();
    let wrong = watches.iter().find_map(|watch| match descriptions.insert(watch.description.as_str()) {
        true => KEYS.iter().find(|key| !(key.is_possible)(watch)).map(|key| key.name),
        false => Some("description"),
    });
    let mut members = HashSet::new();
    let wrong_service = |it: &'a ServiceRegistration| match descriptions.insert(it.description.as_str()) {
        // Two services with one member would each withdraw that of the other.
        _ if !members.insert((it.store.as_deref().unwrap_or(StoreName::DEFAULT).to_owned(), it.path())) => {
            Some("address")
        }
        true => SERVICE_KEYS.iter().find(|key| !(key.is_possible)(it)).map(|key| key.name),
        false => Some("description"),
    };
    wrong.or_else(|| services.iter().find_map(wrong_service))
}

fn failed(failure: EvalError, path: &str) -> Evaluation {
    let (reason, transient) = match failure {
        EvalError::NotReady => {
            let seconds = START_DEADLINE.as_secs();
            (format!("the process that evaluates configs was not ready within {seconds} s"), true)
        }
        EvalError::TimedOut => ("the config did not end within 2 s".to_owned(), true),
        EvalError::Died => ("evaluation ran out of memory or stack".to_owned(), false),
        EvalError::InvalidReply(what) => {
            let reason = format!(
                "its evaluation gave `{what}` a value that no config can give; restart the daemon to \
                 evaluate it again, and report this"
            );
            (reason, false)
        }
        EvalError::System(error) => (format!("cannot evaluate: the process for it: {error}"), true),
    };
    Evaluation::Failed { message: format!("{path}: {reason}"), transient }
}

impl EvaluatorChild {
    /// Starts a child, and waits until it is ready.
    fn start(program: &Path) -> Result<Self, EvalError> {
        let confinement = Confinement {
            user: HelperUser::Unique,
            reads_all: false,
            limits: LIMITS.to_vec(),
            kept: Vec::new(),
            renumbered: None,
            dies_with_thread: true,
        };
        let mut respondent = Respondent::start(program, "evaluate", None, confinement)?;
        match respondent.receive(READY.len(), Instant::now() + START_DEADLINE) {
            Ok(said) if said == READY.as_bytes() => Ok(Self::new(respondent)),
            Ok(_) | Err(AskError::Died) => Err(EvalError::Died),
            Err(AskError::TimedOut) => Err(EvalError::NotReady),
            Err(AskError::System(error)) => Err(EvalError::System(error)),
        }
    }

    fn new(respondent: Respondent) -> Self {
        Self { respondent, files: 0, busy: Duration::ZERO }
    }
}
