//! Following an action's process to its end: one that this daemon started, or an orphan of a former one.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, timeout};

use super::left_behind::share;
use super::orphan::Orphan;
use super::output::{Piece, Printed};
use super::proc::{self, ProcessStat};
use super::process_watch::ProcessWatch;
use super::reap::{reap, what_holds};
use super::sink::{Sink, drain};
use super::spawn::Process;
use crate::sys;

/// How long a run lasts beyond its leader while something that the leader left behind holds its output open;
/// from the contract.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a group that was told to end is checked for living members. Nothing tells us of the end of
/// processes that are not our children. A check costs one pass over /proc, some 10 ms where there are a
/// thousand processes, and only runs that overstay get here.
const GROUP_POLL: Duration = Duration::from_millis(250);

/// How long the status of a process that has ended is waited for. It is usually there at once; only a tracer
/// can hold it back, as long as it likes.
const REAP_TIMEOUT: Duration = Duration::from_secs(1);

/// How an action's process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Exited(i32),
    Signaled(i32),
    /// The process was not our child, so nobody can tell.
    Unknown,
}

/// What the daemon holds of a live run.
pub struct Handle {
    leader: Pid,
    watch: Rc<ProcessWatch>,
    control: Rc<RunControl>,
    /// `None` for an orphan, whose output went with its daemon.
    sink: Option<Rc<Sink>>,
}

/// What a handle shares with the task that follows the run.
struct RunControl {
    stage: Cell<Stage>,
    changed: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    Terminating,
    Killed,
    /// The leader was reaped, or somebody else holds it back. Its process id must not be used any more.
    Over,
}

impl Handle {
    fn new(leader: Pid, watch: ProcessWatch) -> Self {
        let control = RunControl { stage: Cell::new(Stage::Running), changed: Notify::new() };
        Self { leader, watch: Rc::new(watch), control: Rc::new(control), sink: None }
    }

    pub fn leader(&self) -> Pid {
        self.leader
    }

    /// Returns what comes after the first `from` bytes of the output, as far as it is kept; `None` if another
    /// daemon started the run.
    pub fn follow_output(&self, from: u64) -> Option<Piece> {
        self.sink.as_ref().map(|sink| sink.follow(from))
    }

    /// Returns how many bytes the action printed, if somebody read them while it ran.
    pub fn followed_bytes(&self) -> Option<u64> {
        self.sink.as_ref()?.followed_bytes()
    }

    /// Whether the leader has ended, also if the daemon has not been told yet: it may have stood still.
    pub fn has_ended(&self) -> bool {
        self.watch.has_ended()
    }

    /// Sends `signal` to the group. An error, ESRCH, if its leader has ended.
    pub fn notify(&self, signal: i32) -> io::Result<()> {
        self.send(signal)
    }

    /// Sends SIGTERM to the group. From now on the run only ends when the whole group has.
    pub fn terminate(&self) -> io::Result<()> {
        self.escalate(Stage::Terminating, Signal::SIGTERM)
    }

    /// Sends SIGKILL to the group.
    pub fn kill(&self) -> io::Result<()> {
        self.escalate(Stage::Killed, Signal::SIGKILL)
    }

    fn escalate(&self, stage: Stage, signal: Signal) -> io::Result<()> {
        if self.control.stage.get() != Stage::Over {
            self.control.stage.set(stage);
            self.control.changed.notify_one();
        }
        self.send(signal as i32)
    }

    fn send(&self, signal: i32) -> io::Result<()> {
        match self.control.stage.get() {
            // The number may be somebody else's by now.
            Stage::Over => Err(io::Error::from_raw_os_error(nix::libc::ESRCH)),
            Stage::Running | Stage::Terminating | Stage::Killed => sys::signal_group(self.leader, signal),
        }
    }
}

/// Follows `process` in a task of its own. `print` gets its output. `ended` is called once, with the tail of
/// the output, when the leader is reaped and the output is drained, at most [`DRAIN_TIMEOUT`] later. Output
/// that comes after that is still read, and dropped, so that a process left behind gets no SIGPIPE.
pub fn follow(
    process: Process,
    print: impl Fn(Printed) + 'static,
    ended: impl FnOnce(io::Result<ExitStatus>, Vec<u8>) + 'static,
) -> Handle {
    let Process { leader, watch, output, id: _, executed: _ } = process;
    let sink = Rc::new(Sink::new(print));
    let handle = Handle { sink: Some(Rc::clone(&sink)), ..Handle::new(leader, watch) };
    let (watch, control) = (Rc::clone(&handle.watch), Rc::clone(&handle.control));
    let drains: Vec<_> = output
        .into_iter()
        .map(|(stream, pipe)| spawn_local(drain(share(pipe), stream, Rc::clone(&sink))))
        .collect();
    spawn_local(async move {
        let outcome = match watch.ended().await {
            Ok(()) => {
                group_has_ended(leader, &control).await;
                exit_status(leader, &control).await
            }
            Err(error) => Err(error),
        };
        sink.hurry();
        let _ = timeout(DRAIN_TIMEOUT, all(drains)).await;
        ended(outcome, sink.close());
    });
    handle
}

/// Follows a run of a former daemon in a task of its own; nobody reads its output any more. `ended` is called
/// once.
pub fn follow_orphan(orphan: Orphan, ended: impl FnOnce(io::Result<ExitStatus>) + 'static) -> Handle {
    let Orphan { leader, watch, .. } = orphan;
    let handle = Handle::new(leader, watch);
    let (watch, control) = (Rc::clone(&handle.watch), Rc::clone(&handle.control));
    spawn_local(async move {
        let seen = watch.ended().await;
        // Init may have reaped the leader. Its number stays the group's as long as this has a member.
        others_have_ended(leader, &control).await;
        control.stage.set(Stage::Over);
        ended(seen.map(|()| ExitStatus::Unknown));
    });
    handle
}

async fn all(drains: Vec<JoinHandle<()>>) {
    for drain in drains {
        let _ = drain.await;
    }
}

/// Returns once the run may be reaped. A run that was told to end takes its whole group with it: while the
/// leader is unreaped the group's number is ours, and its members get what remains of the grace.
async fn group_has_ended(leader: Pid, control: &RunControl) {
    others_have_ended(leader, control).await;
    match control.stage.get() {
        Stage::Terminating | Stage::Killed => {
            // ESRCH: nobody is left, which is what we want.
            let _ = sys::signal_group(leader, Signal::SIGKILL as i32);
        }
        Stage::Running | Stage::Over => {}
    }
}

/// Returns once only the leader is left in a group that was told to end, or once the group was killed.
async fn others_have_ended(leader: Pid, control: &RunControl) {
    while control.stage.get() == Stage::Terminating && others_in_group(leader) {
        let _ = timeout(GROUP_POLL, control.changed.notified()).await;
    }
}

/// Reaps the leader, which has ended. If somebody holds it back, its status is unknown, the run is over all
/// the same, and the leader is reaped when that is possible.
async fn exit_status(leader: Pid, control: &RunControl) -> io::Result<ExitStatus> {
    let reaped = timeout(REAP_TIMEOUT, reap(leader)).await;
    control.stage.set(Stage::Over);
    match reaped {
        Ok(Ok(WaitStatus::Exited(_, code))) => Ok(ExitStatus::Exited(code)),
        Ok(Ok(WaitStatus::Signaled(_, signal, _))) => Ok(ExitStatus::Signaled(signal as i32)),
        Ok(Ok(other)) => Err(io::Error::other(format!("unexpected wait status {other:?}"))),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let why = what_holds(leader);
            spawn_local(reap(leader));
            Err(io::Error::other(format!(
                "process {leader} has ended, but its exit status cannot be read: {why}"
            )))
        }
    }
}

struct ProcessTable {
    at: Instant,
    living: Vec<ProcessStat>,
}

/// Whether a process other than `leader` is alive in its group.
fn others_in_group(leader: Pid) -> bool {
    thread_local! {
        // Shared, so that a hundred runs that overstay cost one pass over /proc, and not a hundred.
        static PROCESS_TABLE: RefCell<Option<ProcessTable>> = const { RefCell::new(None) };
    }
    PROCESS_TABLE.with_borrow_mut(|table| {
        if table.as_ref().is_none_or(|table| table.at.elapsed() >= GROUP_POLL) {
            *table = Some(ProcessTable { at: Instant::now(), living: proc::processes().collect() });
        }
        let mut living = table.iter().flat_map(|table| &table.living);
        living.any(|other| other.group == leader.as_raw() && other.pid != leader.as_raw())
    })
}
