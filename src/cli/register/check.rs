//! One health check: a command of the shell.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use crate::action::process_watch::ProcessWatch;
use crate::action::reap::reap;
use crate::service::CheckResult;
use crate::sys;
use crate::text::printable;

/// How long a check may take.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// How much of the end of a check's output is kept.
const MAX_OUTPUT: usize = 1000;

pub struct Outcome {
    pub result: CheckResult,
    /// The last line of the output, or why there is none.
    pub said: String,
}

impl Outcome {
    fn not_started(error: &io::Error) -> Self {
        let said = format!("the check cannot be started: {error}");
        Self { result: CheckResult::NotStarted, said }
    }
}

/// Runs a check. When this is dropped, the check is killed.
pub async fn run(script: &OsStr) -> Outcome {
    match start(script) {
        Ok((check, pipe)) => follow(check, pipe).await,
        Err(error) => Outcome::not_started(&error),
    }
}

fn start(script: &OsStr) -> io::Result<(Running, AsyncFd<Rc<OwnedFd>>)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let pipe = sys::watch_pipe(Rc::new(read))?;
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write);
    command.process_group(0);
    sys::unblock_signals_of(&mut command);
    let child = command.spawn()?;
    let pid = child.id().cast_signed();
    sys::note_own_child(pid);
    Ok((Running { leader: Pid::from_raw(pid), is_reaped: false }, pipe))
}

/// A check whose process was not reaped.
struct Running {
    leader: Pid,
    is_reaped: bool,
}

impl Running {
    fn kill(&self) {
        let _ = sys::signal_group(self.leader, nix::libc::SIGKILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill();
        }
    }
}

async fn follow(mut check: Running, pipe: AsyncFd<Rc<OwnedFd>>) -> Outcome {
    let mut output = Vec::new();
    let watch = ProcessWatch::of_child(check.leader);
    let ended = async {
        let mut is_open = true;
        loop {
            tokio::select! {
                biased;
                ended = watch.ended() => return ended,
                ready = pipe.readable(), if is_open => match ready {
                    Ok(mut ready) => {
                        let rest = read(pipe.get_ref(), &mut output);
                        is_open = rest != Rest::None;
                        if rest == Rest::Later {
                            ready.clear_ready();
                        }
                    }
                    Err(_) => is_open = false,
                },
            }
        }
    };
    let is_overdue = timeout(TIMEOUT, ended).await.is_err();
    if is_overdue {
        check.kill();
    }
    let status = reap(check.leader).await;
    check.is_reaped = true;
    // Processes that the check left behind may write on, and nobody reads that.
    read(pipe.get_ref(), &mut output);
    let last = output.split(|byte| *byte == b'\n').rev().find(|line| !line.trim_ascii().is_empty());
    let last = last.map(|line| printable(line.trim_ascii()));
    let ended = match (is_overdue, status) {
        (true, _) => format!("it took longer than {} s and was killed", TIMEOUT.as_secs()),
        (false, Ok(WaitStatus::Exited(_, 0))) => {
            return Outcome { result: CheckResult::Passed, said: last.unwrap_or_default() };
        }
        (false, Ok(WaitStatus::Exited(_, code))) => format!("exit code {code}"),
        (false, Ok(WaitStatus::Signaled(_, signal, _))) => format!("ended by {signal}"),
        (false, Ok(_)) => "it ended in an unknown way".to_owned(),
        (false, Err(error)) => error.to_string(),
    };
    let said = match last {
        Some(last) => format!("{ended}: {last}"),
        None => ended,
    };
    Outcome { result: CheckResult::Failed, said }
}

/// What is left to be read.
#[derive(PartialEq, Eq)]
enum Rest {
    None,
    Now,
    /// Nothing for the present.
    Later,
}

/// Reads what is there, and keeps the end of it. Reads only so much at once that a check that floods its
/// output holds up nothing.
fn read(pipe: &OwnedFd, output: &mut Vec<u8>) -> Rest {
    let mut part = [0; 4096];
    for _ in 0..64 {
        match nix::unistd::read(pipe.as_fd(), &mut part) {
            Ok(0) => return Rest::None,
            Ok(length) => {
                output.extend_from_slice(&part[..length]);
                output.drain(..output.len().saturating_sub(MAX_OUTPUT));
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Rest::Later,
            Err(_) => return Rest::None,
        }
    }
    Rest::Now
}
