//! Actions that outlived their daemon.
//!
//! An orphan is no child of ours: init reaps it, so nobody can tell how it ended. A
//! [`ProcessWatch`] tells that it ended.

use std::fs;
use std::io;
use std::time::Duration;

use nix::unistd::Pid;

use super::proc::{self, ProcessId, ProcessStat};
use super::process_watch::ProcessWatch;

/// A run of a former daemon that has not ended.
pub struct Orphan {
    pub leader: Pid,
    pub process: ProcessId,
    /// Tells when the leader has ended.
    pub watch: ProcessWatch,
    pub age: Duration,
}

/// Finds the process of a run whose end is not known; `None` if it has ended.
///
/// The process is identified by its number and its start since boot. If its daemon died before it could note
/// these, the process is identified by its environment, which it can overwrite. By now it has executed its
/// program: until it does, it holds the lock on the state directory, which we waited for (see
/// `cli::run::locks`).
pub fn find(run: &str, process: Option<ProcessId>) -> io::Result<Option<Orphan>> {
    let living = match process {
        Some(ProcessId { pid, started }) => proc::read_stat(pid).filter(|living| living.started == started),
        None => proc::processes().filter(leads_session).find(|living| has_run_id(living.pid, run)),
    };
    living.map_or(Ok(None), hold)
}

/// An action leads a session of its own; processes that it starts usually do not.
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
    let process = ProcessId { pid: living.pid, started: living.started };
    let Some(watch) = ProcessWatch::of_orphan(process) else { return Ok(None) };
    // Read again, now that a descriptor may hold the process: the number may have gone to another in between.
    let same = proc::read_stat(living.pid).is_some_and(|now| now.started == living.started);
    Ok(same.then(|| Orphan { leader, process, watch, age: proc::age(process) }))
}
