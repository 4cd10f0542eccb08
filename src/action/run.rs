//! Following an action to its end: one that we started, or a former daemon.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::orphan::Orphan;
use super::output::{LineSplitter, LogDecision, RateLimiter, Tail};
use super::proc::{self, ProcessStat};
use super::spawn::Process;
use crate::sys;

/// How long a run lasts beyond its leader where something it left behind holds its output open; from the
/// contract.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How often we look whether a group that was told to end is empty. Nothing tells us of members that are
/// not our children; a look costs one pass over /proc, some 10 ms where there are a thousand processes, and only runs
/// that overstay get here.
const GROUP_POLL: Duration = Duration::from_millis(250);

/// A pipe's default capacity: one read empties it.
const CHUNK: usize = 64 * 1024;

/// The wait between two reads of a flood. With [`CHUNK`] it bounds a flooding action to some 12 MiB/s, so that
/// its output does not take the daemon's processor.
const FLOOD_PAUSE: Duration = Duration::from_millis(5);

/// How an action's process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Exited(i32),
    Signaled(i32),
    /// Nobody can tell: it was not our child.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A piece of an action's output, ready for the log.
#[derive(Debug)]
pub enum Printed {
    Line(Stream, String),
    /// So many lines of a flood were not logged.
    Suppressed(u64),
}

/// What the daemon holds of a live run.
pub struct Handle {
    leader: Pid,
    control: Rc<RunControl>,
}

struct RunControl {
    stage: Cell<Stage>,
    changed: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    Terminating,
    Killed,
    Reaped,
}

impl Handle {
    pub fn leader(&self) -> Pid {
        self.leader
    }

    /// Sends `signal` to the group. An error, ESRCH, if its leader has ended.
    pub fn notify(&self, signal: i32) -> io::Result<()> {
        self.send(signal)
    }

    /// SIGTERM to the group. From now on the run only ends when the whole group has.
    pub fn terminate(&self) -> io::Result<()> {
        self.escalate(Stage::Terminating, Signal::SIGTERM)
    }

    /// SIGKILL to the group.
    pub fn kill(&self) -> io::Result<()> {
        self.escalate(Stage::Killed, Signal::SIGKILL)
    }

    fn escalate(&self, stage: Stage, signal: Signal) -> io::Result<()> {
        if self.control.stage.get() != Stage::Reaped {
            self.control.stage.set(stage);
            self.control.changed.notify_one();
        }
        self.send(signal as i32)
    }

    fn send(&self, signal: i32) -> io::Result<()> {
        match self.control.stage.get() {
            // The number may be somebody else's by now.
            Stage::Reaped => Err(io::Error::from_raw_os_error(nix::libc::ESRCH)),
            Stage::Running | Stage::Terminating | Stage::Killed => sys::signal_group(self.leader, signal),
        }
    }
}

/// Follows `process` in a task of its own, gives its output to `print`, and calls `ended` once: when the
/// leader is reaped and the output is drained, at most [`DRAIN_TIMEOUT`] later. With it comes the last of the output. What
/// comes after that is still read, and dropped, so that a process left behind gets no SIGPIPE.
pub fn follow(
    process: Process,
    print: impl Fn(Printed) + 'static,
    ended: impl FnOnce(io::Result<ExitStatus>, Vec<u8>) + 'static,
) -> Handle {
    let Process { leader, pidfd, output } = process;
    let control = Rc::new(RunControl { stage: Cell::new(Stage::Running), changed: Notify::new() });
    let handle = Handle { leader, control: Rc::clone(&control) };
    let sink = Rc::new(Sink::new(print));
    let drains: Vec<_> =
        output.into_iter().map(|(stream, pipe)| spawn_local(drain(pipe, stream, Rc::clone(&sink)))).collect();
    spawn_local(async move {
        let outcome = match pidfd.readable().await {
            Ok(_) => {
                group_has_ended(leader, &control).await;
                reap(leader, &control)
            }
            Err(error) => Err(error),
        };
        let _ = timeout(DRAIN_TIMEOUT, all(drains)).await;
        ended(outcome, sink.close());
    });
    handle
}

/// The same for a run of a former daemon, whose output nobody reads any more.
pub fn follow_orphan(orphan: Orphan, ended: impl FnOnce(io::Result<ExitStatus>) + 'static) -> Handle {
    let Orphan { leader, pidfd, .. } = orphan;
    let control = Rc::new(RunControl { stage: Cell::new(Stage::Running), changed: Notify::new() });
    let handle = Handle { leader, control: Rc::clone(&control) };
    spawn_local(async move {
        let seen = pidfd.readable().await.map(drop);
        // Init may have reaped the leader. Its number stays the group's as long as this has a member.
        others_have_ended(leader, &control).await;
        control.stage.set(Stage::Reaped);
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
            // ESRCH: nobody left, which is what we want.
            let _ = sys::signal_group(leader, Signal::SIGKILL as i32);
        }
        Stage::Running | Stage::Reaped => {}
    }
}

/// Returns once nobody but its leader is left in a group that was told to end, or that was killed.
async fn others_have_ended(leader: Pid, control: &RunControl) {
    while control.stage.get() == Stage::Terminating && others_in_group(leader) {
        let _ = timeout(GROUP_POLL, control.changed.notified()).await;
    }
}

fn reap(leader: Pid, control: &RunControl) -> io::Result<ExitStatus> {
    let status = waitpid(leader, None);
    control.stage.set(Stage::Reaped);
    match status? {
        WaitStatus::Exited(_, code) => Ok(ExitStatus::Exited(code)),
        WaitStatus::Signaled(_, signal, _) => Ok(ExitStatus::Signaled(signal as i32)),
        other => Err(io::Error::other(format!("unexpected wait status {other:?}"))),
    }
}

/// Whether a process other than `leader` is alive in its group.
fn others_in_group(leader: Pid) -> bool {
    thread_local! {
        // Shared, so that a hundred runs that overstay cost one look, and not a hundred.
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

struct ProcessTable {
    at: Instant,
    living: Vec<ProcessStat>,
}

/// Where both streams of a run go.
struct Sink {
    print: Box<dyn Fn(Printed)>,
    streams: RefCell<Streams>,
    started: Instant,
    /// Until the run has ended.
    open: Cell<bool>,
}

struct Streams {
    stdout: LineSplitter,
    stderr: LineSplitter,
    limiter: RateLimiter,
    tail: Tail,
}

impl Sink {
    fn new(print: impl Fn(Printed) + 'static) -> Self {
        let streams = Streams {
            stdout: LineSplitter::default(),
            stderr: LineSplitter::default(),
            limiter: RateLimiter::new(Duration::ZERO),
            tail: Tail::default(),
        };
        Self {
            print: Box::new(print),
            streams: RefCell::new(streams),
            started: Instant::now(),
            open: Cell::new(true),
        }
    }

    /// Takes what a stream gave; says how long to wait before reading on, if at all.
    fn take(&self, stream: Stream, bytes: &[u8]) -> Option<Duration> {
        if !self.open.get() {
            return (bytes.len() == CHUNK).then_some(FLOOD_PAUSE);
        }
        let Streams { stdout, stderr, limiter, tail } = &mut *self.streams.borrow_mut();
        tail.push(bytes);
        let lines = match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        lines.push(bytes, |line| self.line(limiter, stream, line));
        limiter.is_suppressing().then_some(FLOOD_PAUSE)
    }

    fn line(&self, limiter: &mut RateLimiter, stream: Stream, line: String) {
        match limiter.spend(self.started.elapsed()) {
            LogDecision::Suppress => {}
            LogDecision::Log => (self.print)(Printed::Line(stream, line)),
            LogDecision::LogAfter(count) => {
                (self.print)(Printed::Suppressed(count));
                (self.print)(Printed::Line(stream, line));
            }
        }
    }

    /// Ends the run's share of the log: what comes later is dropped. Returns the last of what came.
    fn close(&self) -> Vec<u8> {
        self.open.set(false);
        let Streams { stdout, stderr, limiter, tail } = &mut *self.streams.borrow_mut();
        for (stream, lines) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
            if let Some(line) = lines.finish() {
                self.line(limiter, stream, line);
            }
        }
        match limiter.take_suppressed() {
            0 => {}
            count => (self.print)(Printed::Suppressed(count)),
        }
        std::mem::take(tail).finish()
    }
}

async fn drain(pipe: pipe::Receiver, stream: Stream, sink: Rc<Sink>) {
    while pipe.readable().await.is_ok() {
        let pause = match read_once(&pipe, stream, &sink) {
            Ok(pause) => pause,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => return,
        };
        match pause {
            Some(pause) => sleep(pause).await,
            None => tokio::task::yield_now().await,
        }
    }
}

/// The buffer lives on the stack for one read only: a thousand runs may wait for output at once.
fn read_once(pipe: &pipe::Receiver, stream: Stream, sink: &Sink) -> io::Result<Option<Duration>> {
    let mut chunk = [0; CHUNK];
    match pipe.try_read(&mut chunk)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok(sink.take(stream, &chunk[..length])),
    }
}
