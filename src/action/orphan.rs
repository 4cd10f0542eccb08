//! Actions that outlived their daemon.
//!
//! They are no children of ours: init reaps them, and how they ended nobody can tell. That they ended shows a pidfd.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;

use super::proc::{self, ProcessId, ProcessStat};
use crate::sys;

/// A run of a former daemon that has not ended.
pub struct Orphan {
    pub leader: Pid,
    pub process: ProcessId,
    /// Readable when the leader has ended.
    pub pidfd: AsyncFd<OwnedFd>,
    pub age: Duration,
}

/// The process of a run whose end is not known; `None` if it has ended.
///
/// Its number and its start since boot identify it. Only where its daemon died before it could note them, it is known
/// by its environment, which a process can overwrite. By then it has executed its program: until it does, it holds the
/// lock on the state directory, which we waited for (see `cli::run::locks`).
pub fn find(run: &str, process: Option<ProcessId>) -> io::Result<Option<Orphan>> {
    let living = match process {
        Some(ProcessId { pid, started }) => proc::read_stat(pid).filter(|living| living.started == started),
        None => proc::processes().filter(leads_session).find(|living| has_run_id(living.pid, run)),
    };
    living.map_or(Ok(None), hold)
}

/// An action leads a session of its own, and what it starts usually does not.
fn leads_session(living: &ProcessStat) -> bool {
    living.pid == living.session
}

fn has_run_id(pid: i32, run: &str) -> bool {
    let wanted = format!("TWITCHER_RUN_ID={run}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

fn hold(living: ProcessStat) -> io::Result<Option<Orphan>> {
    let leader = Pid::from_raw(living.pid);
    let pidfd = match sys::watch_process(leader) {
        Ok(pidfd) => pidfd,
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => return Ok(None),
        Err(error) => return Err(error),
    };
    // Looked at again, now that the descriptor holds it: the number may have gone to another in between.
    let same = proc::read_stat(living.pid).is_some_and(|now| now.started == living.started);
    let process = ProcessId { pid: living.pid, started: living.started };
    Ok(same.then(|| Orphan { leader, process, pidfd, age: proc::age(process) }))
}
