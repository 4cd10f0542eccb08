//! Starts the halves of one store, on a thread of its own, because a start can hang: it looks at the store's
//! directory, and executes a file. [`remedy`](super::remedy) says what helps where one cannot be started.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::sync::oneshot;

use super::remedy::with_remedy;
use super::socket;
use super::task::Task;
use super::user::{HalfUser, half_user};
use crate::model::Resource;
use crate::store::memory;
use crate::store::settings::StoreSettings;
use crate::sys::{Confinement, Helper, MAX_BLOB};

/// How halves are started.
#[derive(Clone, Debug)]
pub struct HalfOptions {
    /// The Twitcher that is executed. The daemon gives `/proc/self/exe`, which works even after an upgrade
    /// replaced the file.
    pub program: PathBuf,
    /// The limit on the memory of each half in bytes; `None` is no limit.
    pub memory: Option<u64>,
}

/// Room for the socket, inotify, connections, name resolution, and contents that are about to be sent.
const MAX_DESCRIPTORS: u64 = 128;

/// Room for a lock on each member of a directory as well.
const MAX_KEEPER_DESCRIPTORS: u64 = 16 << 10;

/// The longest file that a keeper writes is a member, which is a node: the longest node of a directory. A
/// half writes the longest content, which is a tree, to a file in memory.
const MAX_KEEPER_FILE: u64 = 16 << 20;

/// Name resolution and file reading take threads. Where there is seccomp, it can start no process at all.
const MAX_PROCESSES: u64 = 512;

/// A half that was started.
pub(super) struct Started {
    pub(super) helper: Helper,
    pub(super) socket: OwnedFd,
    /// What it writes to stderr. Does not block.
    pub(super) stderr: OwnedFd,
    pub(super) user: String,
}

/// The thread that starts the halves of one store, or its keepers. It ends when this is dropped.
pub(super) struct Starter {
    requests: Sender<oneshot::Sender<io::Result<Started>>>,
}

impl Starter {
    pub(super) fn new(settings: StoreSettings, options: HalfOptions, task: Task) -> io::Result<Self> {
        let (requests, received) = channel::<oneshot::Sender<io::Result<Started>>>();
        thread::Builder::new().name("store".into()).spawn(move || {
            while let Ok(reply) = received.recv() {
                // A half that nobody waits for any more is killed when it is dropped.
                let _ = reply.send(start(&settings, &options, task));
            }
        })?;
        Ok(Self { requests })
    }

    pub(super) async fn start(&self) -> io::Result<Started> {
        let (reply, started) = oneshot::channel();
        let ended = || io::Error::other("the thread that starts it has ended");
        self.requests.send(reply).map_err(|_| ended())?;
        started.await.map_err(|_| ended())?
    }
}

fn start(settings: &StoreSettings, options: &HalfOptions, task: Task) -> io::Result<Started> {
    let HalfUser { user, name, is_own, reads_all } = half_user(settings, task)?;
    let (ours, theirs) = socket::pair()?;
    let (descriptors, longest_file) = match task {
        Task::Follow => (MAX_DESCRIPTORS, MAX_BLOB),
        Task::Keep(_) => (MAX_KEEPER_DESCRIPTORS, MAX_KEEPER_FILE),
    };
    let mut limits = vec![(Resource::Nofile, descriptors), (Resource::Fsize, longest_file)];
    limits.extend(options.memory.map(|memory| (Resource::As, memory.saturating_add(memory::of_program()))));
    if is_own {
        limits.push((Resource::Nproc, MAX_PROCESSES));
    }
    let dies_with_thread = task.dies_with_us();
    let confinement =
        Confinement { user, reads_all, limits, kept: Vec::new(), renumbered: None, dies_with_thread };
    let pipes = [Stdio::from(theirs), Stdio::null(), Stdio::piped()];
    let started = Helper::start(&options.program, task.subcommand(), pipes, confinement);
    let mut helper = started.map_err(|error| with_remedy(error, &name))?;
    let Some(stderr) = helper.child().stderr.take() else { unreachable!("it was asked for as a pipe") };
    let stderr = OwnedFd::from(stderr);
    fcntl(&stderr, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(Started { helper, socket: ours, stderr, user: name })
}
