//! The process that keeps the member in the store.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;

use crate::action::reap::reap;
use crate::cli::keep::Said;
use crate::store::{KeeperEvent, KeeperOrder};
use crate::sys;
use crate::sys::kernel::{THREAD_CALLS, cannot};

/// How long it may take to withdraw the member. A store that answers does so within a second.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(1700);

/// The longest line that the process says, and how many are kept. It talks to a network, and is not believed.
const MAX_LINE: u64 = 64 << 10;
const MAX_LINES: usize = 64;

/// How long a process that is done may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(1);

pub struct KeeperProcess {
    child: Child,
    /// Takes orders, as lines, for the thread that writes them. `None` if there will be no more.
    orders: Option<mpsc::Sender<Vec<u8>>>,
    said: Receiver<Said>,
}

impl KeeperProcess {
    /// Starts the process, which takes the store from these words of a command line. It says on stderr what
    /// is wrong with them; the error is how it ended.
    pub async fn start(words: &[OsString]) -> Result<Self, StartError> {
        let mut command = Command::new("/proc/self/exe");
        command.arg("keep").args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C ends it only by way of this process.
        command.process_group(0);
        sys::unblock_signals_of(&mut command);
        let mut child = command.spawn().map_err(StartError::Spawn)?;
        sys::note_own_child(child.id().cast_signed());
        let orders = child.stdin.take().map(write_orders).transpose().map_err(StartError::Spawn)?;
        let said = match child.stdout.take() {
            Some(stdout) => lines(stdout).map_err(StartError::Spawn)?,
            None => channel(1).1,
        };
        let mut process = Self { child, orders, said };
        match process.said.recv().await {
            Some(Said::Ready) => Ok(process),
            Some(Said::Event(_)) | None => Err(StartError::Ended(process.end().await)),
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits for what it tells next; `None` if it has ended. Can be dropped at any time.
    pub async fn next(&mut self) -> Option<KeeperEvent> {
        match self.said.recv().await? {
            Said::Event(event) => Some(event),
            Said::Ready => None,
        }
    }

    /// Gives an order. That the process is gone is told by [`Self::next`].
    pub fn order(&mut self, order: &KeeperOrder) {
        let Some(orders) = &self.orders else { return };
        let Ok(mut line) = serde_json::to_vec(order) else { return };
        line.push(b'\n');
        let _ = orders.send(line);
    }

    /// Has the process withdraw the member and end. Returns whether it has done so in time.
    pub async fn close(mut self) -> bool {
        self.orders = None;
        let ended = async { while self.said.recv().await.is_some() {} };
        let is_done = timeout(CLOSE_TIMEOUT, ended).await.is_ok();
        if !is_done {
            self.kill();
        }
        let status = self.end().await;
        is_done && matches!(status, Some(WaitStatus::Exited(_, 0)))
    }

    /// Waits for the end of the process, and hastens it. Returns how it ended.
    pub async fn end(mut self) -> Option<WaitStatus> {
        self.orders = None;
        if let Ok(status) = timeout(END_TIMEOUT, reap(self.pid())).await {
            return status.ok();
        }
        self.kill();
        timeout(END_TIMEOUT, reap(self.pid())).await.ok()?.ok()
    }

    /// Kills the process, which was not reaped.
    fn kill(&self) {
        let _ = nix::sys::signal::kill(self.pid(), Signal::SIGKILL);
    }
}

pub enum StartError {
    Spawn(io::Error),
    /// It has said why.
    Ended(Option<WaitStatus>),
}

/// Writes orders on a thread of its own, since a process that hangs does not read them.
fn write_orders(mut stdin: ChildStdin) -> io::Result<mpsc::Sender<Vec<u8>>> {
    let (orders, taken) = mpsc::channel::<Vec<u8>>();
    let write = move || while taken.recv().is_ok_and(|line| stdin.write_all(&line).is_ok()) {};
    let started = std::thread::Builder::new().name("orders".into()).spawn(write);
    started.map_err(cannot("start the thread that gives orders to the keeper", THREAD_CALLS))?;
    Ok(orders)
}

/// Reads what the process says, on a thread of its own.
fn lines(stdout: impl Read + Send + 'static) -> io::Result<Receiver<Said>> {
    let (sender, said) = channel(MAX_LINES);
    let mut stdout = BufReader::new(stdout);
    let read = move || loop {
        let mut line = Vec::new();
        if !stdout.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            return;
        }
        let Ok(said) = serde_json::from_slice(&line) else { return };
        if sender.blocking_send(said).is_err() {
            return;
        }
    };
    let started = std::thread::Builder::new().name("keeper".into()).spawn(read);
    started.map_err(cannot("start the thread that listens to the keeper", THREAD_CALLS))?;
    Ok(said)
}
