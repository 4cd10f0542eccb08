//! Reaping children without waiting for what another process decides.
//!
//! A process that traces a child learns of its end first, and until it has taken notice the kernel gives the
//! child's status to nobody else. So a call that waits could take as long as the tracer likes.

use std::fs;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::time::sleep;

use crate::sys;

/// The first pause between two attempts. A child that was killed is usually gone by then.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause: nobody waits for the child any more, and it only takes a process number.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Reaps a child of ours as soon as that is possible. Can be dropped at any time, and called again.
pub async fn reap(child: Pid) -> io::Result<WaitStatus> {
    let mut pause = FIRST_PAUSE;
    loop {
        let reaped =
            sys::reap_own_child(child.as_raw(), || match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => None,
                done => Some(done),
            });
        if let Some(done) = reaped {
            return Ok(done?);
        }
        sleep(pause).await;
        pause = MAX_PAUSE.min(pause * 2);
    }
}

/// Why a process is still there although it was killed, or was seen to end: in words, as far as /proc tells.
pub fn what_holds(process: Pid) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    explain(&status)
}

fn explain(status: &str) -> String {
    let value = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    match (value("TracerPid"), value("State").and_then(|state| state.chars().next())) {
        (Some(tracer), _) if tracer != "0" => format!("process {tracer} traces it"),
        (_, Some('D')) => "the kernel does not let it go: it waits for a device or a file system".to_owned(),
        _ => "the kernel does not say why".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_process_is_told_in_words() {
        for (status, expected) in [
            ("Name:\tx\nState:\tZ (zombie)\nTracerPid:\t42\n", "process 42 traces it"),
            ("State:\tD (disk sleep)\nTracerPid:\t0\n", "a device or a file system"),
            ("State:\tZ (zombie)\nTracerPid:\t0\n", "does not say"),
            ("", "does not say"),
        ] {
            let explained = explain(status);
            assert!(explained.contains(expected), "{explained}");
        }
    }
}
