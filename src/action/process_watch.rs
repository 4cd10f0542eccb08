//! Waiting for the end of a process, also where the kernel offers no descriptors of processes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::proc::{self, ProcessId};
use crate::sys;

/// The pauses between two looks at a process, the first and the longest. Short actions are the common ones;
/// at the longest, 256 running actions cost 2,560 looks a second, some 25 ms of processor time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Tells when a process has ended. It need not be a child of ours, but must not be reaped by others before.
pub enum ProcessWatch {
    Descriptor(AsyncFd<OwnedFd>),
    /// A child that is looked at again and again.
    PolledChild(Pid),
    /// A process of a former daemon that is looked at again and again.
    PolledOrphan(ProcessId),
}

impl ProcessWatch {
    /// Watches a child that nobody has reaped. This cannot fail: a process that was started must be followed,
    /// so a missing system call or descriptor only delays the news of its end.
    pub fn of_child(pid: Pid) -> Self {
        match sys::watch_process(pid) {
            Ok(descriptor) => Self::Descriptor(descriptor),
            Err(_) => Self::PolledChild(pid),
        }
    }

    /// Watches a process that is no child of ours. `None` if it has ended.
    pub fn of_orphan(process: ProcessId) -> Option<Self> {
        match sys::watch_process(Pid::from_raw(process.pid)) {
            Ok(descriptor) => Some(Self::Descriptor(descriptor)),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => None,
            Err(_) => Some(Self::PolledOrphan(process)),
        }
    }

    /// Whether the process has ended, also if [`Self::ended`] has not returned yet.
    pub fn has_ended(&self) -> bool {
        match self {
            Self::Descriptor(descriptor) => {
                let mut ended = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
                matches!(nix::poll::poll(&mut ended, PollTimeout::ZERO), Ok(1..))
            }
            Self::PolledChild(child) => !is_child_alive(*child),
            Self::PolledOrphan(process) => !is_orphan_alive(*process),
        }
    }

    /// Returns once the process has ended.
    pub async fn ended(&self) -> io::Result<()> {
        match self {
            Self::Descriptor(descriptor) => descriptor.readable().await.map(drop),
            Self::PolledChild(child) => poll(|| is_child_alive(*child)).await,
            Self::PolledOrphan(process) => poll(|| is_orphan_alive(*process)).await,
        }
    }
}

async fn poll(is_alive: impl Fn() -> bool) -> io::Result<()> {
    let mut pause = FIRST_PAUSE;
    while is_alive() {
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
    Ok(())
}

/// Whether the child runs. Does not reap it. Waiting for it could still block: a process that traces it can
/// hide its end, and then only /proc tells.
fn is_child_alive(child: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(waitid(Id::Pid(child), flags), Ok(WaitStatus::StillAlive)) && !proc::is_zombie(child)
}

/// Whether the process runs. A zombie does not.
fn is_orphan_alive(ProcessId { pid, started }: ProcessId) -> bool {
    proc::read_stat(pid).is_some_and(|now| now.started == started)
}
