//! Starting an action's process.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::fchown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Pid;
use tokio::runtime::Handle;

use super::diagnosis;
use super::output::Stream;
use super::payload::Payload;
use super::proc::{self, ProcessId};
use super::process_watch::ProcessWatch;
use super::reap::reap;
pub use super::start_error::StartError;
use crate::model::{ExecContext, Identity, Output};
use crate::sys::{self, DescriptorShares, Step};
use crate::text::printable;
use crate::trust::Place;

/// The default `PATH` of every action, whoever its user is. It is fixed, as in `sudo` and `cron`, so that an
/// action's commands do not depend on how the daemon was started.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to start, and with what.
pub struct Launch<'a> {
    pub program: Program<'a>,
    pub identity: &'a Identity,
    pub exec_context: &'a ExecContext,
    pub payload: &'a Payload,
    /// Whether the action reads the payload from its stdin, which is `/dev/null` otherwise.
    pub pipe_stdin: bool,
    /// The `TWITCHER_*` variables.
    pub variables: Vec<(&'static str, String)>,
}

pub enum Program<'a> {
    /// The program and its arguments, never empty.
    Command(&'a [Arc<str>]),
    /// A function action: our own binary runs as `twitcher act` with this request, which the payload follows.
    Function { request: Vec<u8> },
}

/// A start under way, which can be given up.
pub type Attempt = sys::Attempt;

/// Where a process notes who it is; see [`super::slots`].
pub type Slot = sys::Slot;

/// A started action. Its process leads a session and process group of its own.
pub struct Process {
    /// The process, not reaped: its owner must wait for it.
    pub leader: Pid,
    /// Sets it apart from others that get its number. `None` if /proc does not tell.
    pub id: Option<ProcessId>,
    /// Tells when the leader has ended.
    pub watch: ProcessWatch,
    pub output: Pipes,
    /// When its program was executed.
    pub executed: Instant,
}

/// The pipes from which we read an action's streams: two, or none if the output goes elsewhere.
pub type Pipes = Vec<(Stream, OwnedFd)>;

/// Starts processes; holds what all launches share.
#[derive(Clone, Copy, Debug)]
pub struct Spawner {
    nofile: u64,
    fsize: u64,
}

impl Spawner {
    /// Must be called before the daemon raises its own limits: actions get the limits that it was started
    /// with.
    pub fn new() -> io::Result<Self> {
        let read = |resource| getrlimit(resource).map_err(io::Error::from);
        let cannot = sys::kernel::cannot("read the limits that actions get", "prlimit64");
        let (nofile, _) = read(Resource::RLIMIT_NOFILE).map_err(&cannot)?;
        let (fsize, _) = read(Resource::RLIMIT_FSIZE).map_err(&cannot)?;
        Ok(Self { nofile, fsize })
    }

    /// Starts the process. Returns once its program is executing, could not be executed, or `attempt` was
    /// given up. This can take as long as a file system or another process likes, so call it from a thread
    /// for which nobody waits, inside a tokio runtime. The process notes who it is in `slot`.
    pub fn spawn(
        &self,
        launch: Launch<'_>,
        slot: Option<&Slot>,
        attempt: &Attempt,
    ) -> Result<Process, StartError> {
        let began = Instant::now();
        attempt.enter(Step::Files);
        let Launch { program, identity, exec_context, payload, pipe_stdin, variables } = launch;
        let (candidates, arguments, request) = match program {
            Program::Command(words) => {
                let path = exec_context.variables.get("PATH").map_or(PATH, String::as_str);
                (candidates(&words[0], path)?, strings(words.iter().map(|word| word.to_string()))?, None)
            }
            // Not the path of our binary: the action's user may not reach it, and an upgrade may have
            // replaced it.
            Program::Function { request } => {
                let request = payload.open_after(request)?;
                let words = ["twitcher".to_owned(), "act".to_owned(), request.as_raw_fd().to_string()];
                (vec![c"/proc/self/exe".to_owned()], strings(words)?, Some(request))
            }
        };
        // The content is complete before exec, so that a dying daemon hands over no cut content.
        let stdin = match pipe_stdin {
            true => payload.open().map_err(diagnosis::content_error)?.into(),
            false => File::open("/dev/null")?.into(),
        };
        let (output, [stdout, stderr]) = output(&exec_context.output, identity)?;
        keep_reserve([&stdin, &stdout, &stderr])?;
        let environment = environment(identity, &variables, exec_context)?;
        let setup = sys::ChildSetup {
            credentials: identity.change.clone(),
            nofile: self.nofile,
            fsize: self.fsize,
            umask: exec_context.umask,
            nice: exec_context.nice,
            limits: exec_context.limits.iter().map(|(resource, value)| (*resource, *value)).collect(),
            cwd: CString::new(exec_context.cwd.as_str()).map_err(io::Error::from)?,
            no_new_privs: exec_context.no_new_privs,
        };
        let stdio = [stdin, stdout, stderr];
        let keep = request.map(OwnedFd::from);
        let image = sys::launch::Image { candidates, arguments, environment, stdio, keep };
        attempt.enter(Step::Basics);
        let tick = proc::current_tick();
        let leader = sys::launch::start(&image, &setup, slot, attempt).map_err(|failure| {
            if let Some(child) = failure.child {
                Handle::current().spawn(reap(child));
            }
            match failure.given_up {
                true => hangs(failure.error.step, exec_context, began.elapsed()),
                false => diagnosis::explain(failure.error, identity, exec_context, &image),
            }
        })?;
        let executed = Instant::now();
        // A process that nobody has reaped cannot be gone.
        let id = proc::id_of_new(leader, tick).ok();
        Ok(Process { leader, id, watch: ProcessWatch::of_child(leader), output, executed })
    }
}

/// Fails if this process has so many descriptors open that actions may take no more. The kernel gives the
/// lowest free number to a new descriptor, so a number near the limit means that all below are taken.
fn keep_reserve(new: [&OwnedFd; 3]) -> Result<(), StartError> {
    let DescriptorShares { limit, reserved, .. } = DescriptorShares::now()?;
    let highest = new.into_iter().map(|end| end.as_raw_fd() as u64).max().unwrap_or_default();
    if highest < limit - reserved {
        return Ok(());
    }
    Err(StartError::Explained {
        what: Some("descriptors".to_owned()),
        error: io::Error::from_raw_os_error(libc::EMFILE),
        remedy: Some(format!(
            "actions have taken all but {reserved} of the {limit} that the daemon may have, and it needs \
             the rest itself: raise RLIMIT_NOFILE (`LimitNOFILE=`), or run fewer actions at once"
        )),
    })
}

/// The error of a start that was given up `after` so long, in this step.
pub fn hangs(step: Step, exec_context: &ExecContext, after: Duration) -> StartError {
    let error = io::Error::from_raw_os_error(libc::ETIMEDOUT);
    StartError::Hangs { doing: doing(step, exec_context), after, error }
}

/// The error of a start that was given up, or put off, before it began, `after` so long.
pub fn queued(after: Duration) -> StartError {
    StartError::Queued { after, error: io::Error::from_raw_os_error(libc::EAGAIN) }
}

/// The error of a start that is not tried, because an earlier one hangs in this step.
pub fn still_hangs(step: Step, exec_context: &ExecContext) -> StartError {
    // It is tried again, as if the machine had no process left.
    let error = io::Error::from_raw_os_error(libc::EAGAIN);
    StartError::StillHangs { doing: doing(step, exec_context), error }
}

fn doing(step: Step, exec_context: &ExecContext) -> String {
    match step {
        Step::Files => match &exec_context.output {
            Output::File(path) => format!("opening output {}", printable(path.as_bytes())),
            Output::Log | Output::Discard => "opening its pipes".to_owned(),
        },
        Step::Identify => "noting its process in the state directory".to_owned(),
        Step::Cwd => format!("entering cwd {}", printable(exec_context.cwd.as_bytes())),
        Step::Program => "executing its program".to_owned(),
        Step::Basics
        | Step::Fork
        | Step::Limit(_)
        | Step::Nice
        | Step::Keyring
        | Step::Groups
        | Step::Gid
        | Step::Uid
        | Step::Verification
        | Step::Descriptors
        | Step::NoNewPrivs => "making its process".to_owned(),
    }
}

/// The environment as `NAME=value`: the usual variables, unless the watch sets them, then `TWITCHER_*`
/// (`told`), then the watch's own.
fn environment(
    identity: &Identity,
    told: &[(&'static str, String)],
    exec_context: &ExecContext,
) -> io::Result<Vec<CString>> {
    let usual = [
        ("PATH", PATH),
        ("HOME", &identity.home),
        ("USER", &identity.user),
        ("LOGNAME", &identity.user),
        ("SHELL", &identity.shell),
    ];
    let usual = usual.into_iter().filter(|(name, _)| !exec_context.variables.contains_key(*name));
    let told = told.iter().map(|(name, value)| (*name, value.as_str()));
    let own = exec_context.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    strings(usual.chain(told).chain(own).map(|(name, value)| format!("{name}={value}")))
}

/// The paths at which `program` is looked for: itself if it has a slash, or below each directory of `path`.
fn candidates(program: &str, path: &str) -> io::Result<Vec<CString>> {
    if program.contains('/') {
        return strings([program.to_owned()]);
    }
    strings(path.split(':').map(|directory| match directory {
        // An empty entry means the working directory, as in shells.
        "" => program.to_owned(),
        directory => format!("{directory}/{program}"),
    }))
}

/// Fails if one of the strings has a NUL.
fn strings(strings: impl IntoIterator<Item = String>) -> io::Result<Vec<CString>> {
    Ok(strings.into_iter().map(CString::new).collect::<Result<_, _>>()?)
}

/// Opens the action's stdout and stderr, and returns our ends of them first.
fn output(output: &Output, identity: &Identity) -> Result<(Pipes, [OwnedFd; 2]), StartError> {
    let file = match output {
        Output::Log => {
            let (stdout, child_stdout) = output_pipe(identity)?;
            let (stderr, child_stderr) = output_pipe(identity)?;
            let ours = vec![(Stream::Stdout, stdout), (Stream::Stderr, stderr)];
            return Ok((ours, [child_stdout, child_stderr]));
        }
        Output::Discard => File::options().write(true).open("/dev/null")?,
        Output::File(path) => append_to(path).map_err(|error| {
            let what = format!("output {}", printable(path.as_bytes()));
            match error.raw_os_error() {
                Some(libc::EAGAIN) => StartError::Explained {
                    what: Some(what),
                    error,
                    remedy: Some("another process holds a lease on it (/proc/locks): end that".to_owned()),
                },
                _ => StartError::ExecContext { what, error },
            }
        })?,
    };
    Ok((Vec::new(), [file.try_clone()?.into(), file.into()]))
}

/// Opens the file as the daemon's user, and creates it if it is missing. No user who can write to a directory
/// on the way can choose which of root's files is written to.
fn append_to(path: &str) -> io::Result<File> {
    let flags = OFlag::O_APPEND | OFlag::O_WRONLY | OFlag::O_CREAT;
    let file = Place::find(path.as_ref())?.open(flags, 0o640)?;
    // The action's writes may wait.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

/// A pipe whose write end belongs to the action's user, so that it can open `/dev/stdout` anew.
fn output_pipe(identity: &Identity) -> Result<(OwnedFd, OwnedFd), StartError> {
    let (reader, writer) = io::pipe()?;
    let writer = OwnedFd::from(writer);
    if let Some(credentials) = &identity.change {
        // A user namespace that does not have the user refuses already this.
        fchown(&writer, Some(credentials.uid), Some(credentials.gid))
            .map_err(|error| diagnosis::identity_error(Step::Uid, error, identity))?;
    }
    let reader = OwnedFd::from(reader);
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(io::Error::from)?;
    Ok((reader, writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_as_a_shell_does() {
        for (program, path, expected) in [
            ("/bin/cat", "/x", vec!["/bin/cat"]),
            ("./cat", "/x", vec!["./cat"]),
            ("cat", "/x:/y", vec!["/x/cat", "/y/cat"]),
            ("cat", "/x::y", vec!["/x/cat", "cat", "y/cat"]),
            ("cat", "", vec!["cat"]),
        ] {
            let found = candidates(program, path).unwrap();
            assert_eq!(
                found,
                expected.into_iter().map(|path| CString::new(path).unwrap()).collect::<Vec<_>>()
            );
        }
        assert_eq!(candidates("cat", PATH).unwrap().len(), 6);
    }
}
