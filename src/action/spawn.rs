//! Starting an action's process.

use std::borrow::Cow;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::fchown;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

use crate::config::spec::Identity;
use crate::sys;

/// The same for every user, as `sudo` and `cron` have it: an action's commands must not depend on how the
/// daemon was started.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to start, and with what.
pub struct Launch<'a> {
    pub program: Program<'a>,
    pub identity: &'a Identity,
    /// `None` is `/dev/null`.
    pub stdin: Option<Cow<'a, [u8]>>,
    /// The `TWITCHER_*` variables.
    pub variables: Vec<(&'static str, String)>,
}

pub enum Program<'a> {
    /// Program and arguments, never empty.
    Command(&'a [String]),
    /// A function action: our own binary as `twitcher act`, with this request.
    Function { request: Vec<u8> },
}

/// A started action. Its process leads a session and process group of its own.
pub struct Process {
    /// Not reaped: whoever holds this must wait for it.
    pub leader: Pid,
    /// Readable when the leader has ended.
    pub pidfd: AsyncFd<OwnedFd>,
    pub stdout: pipe::Receiver,
    pub stderr: pipe::Receiver,
}

/// What all launches share, taken once at start.
#[derive(Clone, Copy, Debug)]
pub struct Spawner {
    nofile: u64,
}

impl Spawner {
    /// To be called before the daemon raises its own limits: actions get the limits it was started with.
    pub fn new() -> io::Result<Self> {
        let (nofile, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        Ok(Self { nofile })
    }

    /// Starts the process and returns once its program is executing, or could not be executed.
    pub fn spawn(&self, launch: Launch<'_>) -> io::Result<Process> {
        let request = match &launch.program {
            Program::Command(_) => None,
            Program::Function { request } => Some(sys::memfd(request)?),
        };
        let (candidates, arguments) = match &launch.program {
            Program::Command(words) => (candidates(&words[0])?, strings(words.iter().cloned())?),
            // Not our path: the action's user may not reach it, and an upgrade may have replaced it.
            Program::Function { .. } => {
                let descriptor = request.as_ref().map(|file| file.as_raw_fd().to_string());
                let words = ["twitcher".to_owned(), "act".to_owned()].into_iter().chain(descriptor);
                (vec![c"/proc/self/exe".to_owned()], strings(words)?)
            }
        };
        let stdin = match launch.stdin {
            // Complete before exec: a daemon that dies hands no cut content over.
            Some(content) => sys::memfd(&content)?,
            None => File::open("/dev/null")?,
        };
        let (stdout, child_stdout) = output_pipe(launch.identity)?;
        let (stderr, child_stderr) = output_pipe(launch.identity)?;
        let identity = launch.identity;
        let own = [
            ("PATH", PATH),
            ("HOME", &identity.home),
            ("USER", &identity.user),
            ("LOGNAME", &identity.user),
            ("SHELL", &identity.shell),
        ];
        let told = launch.variables.iter().map(|(name, value)| (*name, value.as_str()));
        let environment =
            strings(own.into_iter().chain(told).map(|(name, value)| format!("{name}={value}")))?;
        let stdio = [stdin.into(), child_stdout, child_stderr];
        let setup = sys::ChildSetup {
            credentials: identity.change.clone(),
            keep: request.as_ref().map(AsRawFd::as_raw_fd),
            nofile: self.nofile,
        };
        let leader =
            sys::launch::start(&sys::launch::Image { candidates, arguments, environment, stdio }, &setup)?;
        let pidfd = match sys::watch_process(leader) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                // We could not see it end, so it must not live: never two at once.
                let _ = nix::sys::signal::killpg(leader, nix::sys::signal::SIGKILL);
                let _ = nix::sys::wait::waitpid(leader, None);
                return Err(error);
            }
        };
        Ok(Process { leader, pidfd, stdout, stderr })
    }
}

/// Where `program` may lie: where it says so itself, or somewhere in [`PATH`].
fn candidates(program: &str) -> io::Result<Vec<CString>> {
    if program.contains('/') {
        return strings([program.to_owned()]);
    }
    strings(PATH.split(':').map(|directory| format!("{directory}/{program}")))
}

/// An error if one of them has a NUL.
fn strings(strings: impl IntoIterator<Item = String>) -> io::Result<Vec<CString>> {
    Ok(strings.into_iter().map(CString::new).collect::<Result<_, _>>()?)
}

/// A pipe whose write end belongs to the action's user, so that it can open `/dev/stdout` anew.
fn output_pipe(identity: &Identity) -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let writer = OwnedFd::from(writer);
    if let Some(credentials) = &identity.change {
        fchown(&writer, Some(credentials.uid), Some(credentials.gid))?;
    }
    let reader = OwnedFd::from(reader);
    nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    Ok((pipe::Receiver::from_owned_fd(reader)?, writer))
}
