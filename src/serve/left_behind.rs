//! The processes that validators leave behind.
//!
//! The server ends the session of a validator with the validator. A process that has left the session would
//! live on. So the server is the subreaper of all that it starts: a process whose parent has ended becomes
//! its child, and is killed after the next end of a validator, unless it is in the session of one that runs.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::{Pid, getsid};

use crate::sys::children;

/// The validators that run; `None` if this process is no subreaper, and has children of others.
static RUNNING: Mutex<Option<BTreeSet<i32>>> = Mutex::new(None);

/// How long is waited for killed processes to end. What they have started comes to light only then.
const TIMEOUT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(1);

fn with_running<T>(work: impl FnOnce(&mut Option<BTreeSet<i32>>) -> T) -> T {
    work(&mut RUNNING.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Has this process end what validators leave behind. All its children must be validators from now on.
pub fn adopt() -> io::Result<()> {
    set_child_subreaper(true)?;
    with_running(|running| *running = Some(BTreeSet::new()));
    Ok(())
}

/// Starts a validator. Nobody takes it for left behind before it is known.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    with_running(|running| {
        let child = command.spawn()?;
        running.as_mut().map(|running| running.insert(child.id().cast_signed()));
        Ok(child)
    })
}

/// Reaps a validator, which has ended or was killed, and ends what it has left behind.
pub fn reap(mut child: Child) -> io::Result<ExitStatus> {
    let pid = child.id().cast_signed();
    // One that does not end at once holds up nobody else.
    let _ = waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    let status = with_running(|running| {
        let status = child.wait();
        running.as_mut().map(|running| running.remove(&pid));
        status
    });
    let deadline = Instant::now() + TIMEOUT;
    while with_running(|running| running.as_ref().is_some_and(end_strays)) && Instant::now() < deadline {
        thread::sleep(POLL);
    }
    status
}

/// Kills and reaps the children that are no validators that run, nor in the session of one. Returns whether
/// there were any.
fn end_strays(running: &BTreeSet<i32>) -> bool {
    let is_stray = |pid: &Pid| {
        !running.contains(&pid.as_raw()) && !getsid(Some(*pid)).is_ok_and(|id| running.contains(&id.as_raw()))
    };
    let strays: Vec<Pid> = children().into_iter().map(Pid::from_raw).filter(is_stray).collect();
    for stray in &strays {
        // Its number is its own until it is reaped here.
        let _ = kill(*stray, Signal::SIGKILL);
        let _ = waitpid(*stray, Some(WaitPidFlag::WNOHANG));
    }
    !strays.is_empty()
}
