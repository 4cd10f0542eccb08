//! Validators: programs that accept or refuse payloads.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::sync::Semaphore;

use super::left_behind;
use crate::model::Resource;
use crate::sys::{Confinement, HelperUser, confine, memfd, signal_group};
use crate::text::printable;

/// How long a validator may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many run at once.
const MAX_RUNNING: usize = 4;

/// How much of what it says is told to the author.
const MAX_SAID: u64 = 4096;

/// What it may leave on the disk or in memory files, in bytes, and how many processes it may have.
const MAX_FILE: u64 = 16 << 20;
const MAX_PROCESSES: u64 = 64;

/// The number of the descriptor with the old payload.
const OLD_PAYLOAD: i32 = 3;

/// How often its end is looked for. It is no child that anything waits for otherwise.
const POLL: Duration = Duration::from_millis(2);

/// Runs a program for each payload.
pub struct Validator {
    command: Vec<String>,
    running: Arc<Semaphore>,
}

/// What a validator looks at.
pub struct Candidate {
    pub key: String,
    pub author: String,
    /// On stdin.
    pub new: Vec<u8>,
    /// At descriptor 3; empty if there is none.
    pub old: Vec<u8>,
}

/// Why a payload is not saved.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("{0}")]
    Refused(String),
    #[error("the validator {program} cannot be asked, so nothing is saved: {why}")]
    Unable { program: String, why: String },
}

impl Validator {
    /// `None` if everything is accepted.
    pub fn new(command: &[String]) -> Option<Self> {
        let running = Arc::new(Semaphore::new(MAX_RUNNING));
        (!command.is_empty()).then(|| Self { command: command.to_vec(), running })
    }

    /// Has the program look at a payload, as a user without rights, with no environment but its two words.
    pub async fn check(&self, candidate: Candidate) -> Result<(), Refusal> {
        let unable = |why: String| Refusal::Unable { program: self.command[0].clone(), why };
        let permit = Arc::clone(&self.running).acquire_owned().await;
        let permit = permit.map_err(|error| unable(error.to_string()))?;
        let command = self.command.clone();
        let run = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            run(&command, &candidate, TIMEOUT)
        });
        match run.await.map_err(|error| unable(error.to_string()))? {
            Ok(()) => Ok(()),
            Err(Ended::Refused(said)) => Err(Refusal::Refused(said)),
            Err(Ended::Unable(why)) => Err(unable(why)),
        }
    }
}

enum Ended {
    Refused(String),
    Unable(String),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Unable(error.to_string())
    }
}

fn run(words: &[String], candidate: &Candidate, timeout: Duration) -> Result<(), Ended> {
    let (new, old, mut said) = (memfd(&candidate.new)?, memfd(&candidate.old)?, memfd(b"")?);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::from(new)).stdout(Stdio::null());
    // What it leaves running keeps this open, and nobody waits for that.
    command.stderr(Stdio::from(said.try_clone()?));
    confine(
        &mut command,
        Confinement {
            user: HelperUser::Unique,
            reads_all: false,
            limits: vec![(Resource::Fsize, MAX_FILE), (Resource::Nproc, MAX_PROCESSES)],
            kept: Vec::new(),
            renumbered: Some((old.as_raw_fd(), OLD_PAYLOAD)),
            dies_with_thread: true,
        },
    );
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.env("TWITCHER_KEY", &candidate.key).env("TWITCHER_AUTHOR", &candidate.author);
    match wait(left_behind::spawn(&mut command)?, timeout)? {
        None => Err(Ended::Unable(format!("it took longer than {} s, and was killed", timeout.as_secs()))),
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Ended::Refused(reason(&mut said, status)?)),
    }
}

/// Waits for the end, and kills what is left of its session. `None` if it takes too long.
fn wait(child: Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let (pid, deadline) = (Pid::from_raw(child.id().cast_signed()), Instant::now() + timeout);
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let mut has_ended = false;
    while !has_ended && Instant::now() < deadline {
        has_ended = waitid(Id::Pid(pid), look)? != WaitStatus::StillAlive;
        if !has_ended {
            thread::sleep(POLL);
        }
    }
    // It leads a session of its own, and its number is its own until it is reaped.
    let _ = signal_group(pid, Signal::SIGKILL as i32);
    let status = left_behind::reap(child)?;
    Ok(has_ended.then_some(status))
}

fn reason(said: &mut File, status: ExitStatus) -> io::Result<String> {
    said.rewind()?;
    let mut bytes = Vec::new();
    said.take(MAX_SAID).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text.lines().map(|line| printable(line.as_bytes())).collect();
    let text = lines.join("\n");
    Ok(match text.trim() {
        "" => format!("the validator refuses the payload ({status})"),
        text => text.to_owned(),
    })
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
