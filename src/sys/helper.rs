//! A child that does a part of the daemon's work: its start and its end.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::children::{note_own_child, reap_own_child};
use super::confine::{Confinement, confine};

/// A confined child. When this is dropped, the child is killed.
pub struct Helper {
    child: Child,
    has_ended: bool,
}

impl Helper {
    /// Runs `program subcommand`, where `program` is a Twitcher. The daemon passes `/proc/self/exe`, which
    /// works even after an upgrade replaced the file, and if the child may not enter its directory.
    pub fn start(
        program: &Path,
        subcommand: &str,
        [stdin, stdout, stderr]: [Stdio; 3],
        confinement: Confinement,
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        // What `ps` shows is no path of ours.
        command.arg0("twitcher").arg(subcommand);
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        confine(&mut command, confinement);
        let child = command.spawn()?;
        note_own_child(child.id().cast_signed());
        Ok(Self { child, has_ended: false })
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// The child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Kills the child and what it started. Waits for nothing.
    pub fn kill(&mut self) {
        if !self.has_ended {
            // The child is not reaped yet, so the group is still its own.
            let _ = killpg(self.pid(), Signal::SIGKILL);
            let _ = self.child.kill();
        }
    }

    /// Reaps the child if it has ended. Returns how it ended, or why that is unknown; `None` while it lives.
    pub fn try_reap(&mut self) -> Option<io::Result<ExitStatus>> {
        let pid = self.pid().as_raw();
        let ended = reap_own_child(pid, || self.child.try_wait().transpose())?;
        self.has_ended = true;
        Some(ended)
    }

    /// Kills the child, and waits for its end.
    pub fn end(&mut self) {
        self.kill();
        if !self.has_ended {
            let _ = waitid(Id::Pid(self.pid()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            // Only one that could not be waited for is left to its end.
            self.try_reap();
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.kill();
        // One that takes longer is left to the process that adopts it when this one ends.
        self.try_reap();
    }
}
