//! `--daemonize`: the daemon goes into the background.

use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};

use crate::sys;

/// The daemon in the background, while the process that the user started waits for it to be ready.
pub struct Background {
    report: PipeWriter,
}

impl Background {
    /// Forks, and returns in the child, which leads a session of its own and is in `/`. The parent exits with
    /// 0 once the child is ready, and with 1 if the child ends before. The child keeps stderr to report
    /// errors.
    pub fn enter() -> io::Result<Self> {
        let (mut heard, report) = io::pipe()?;
        if sys::fork()? {
            drop(heard);
            nix::unistd::setsid()?;
            std::env::set_current_dir("/")?;
            return Ok(Self { report });
        }
        drop(report);
        let ready = heard.read_exact(&mut [0]).is_ok();
        std::process::exit(i32::from(!ready))
    }

    /// Lets the parent exit with 0, and closes the terminal. A log that goes to stdout has a descriptor of
    /// its own.
    pub fn ready(mut self) -> io::Result<()> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        nix::unistd::dup2_stdout(&null)?;
        nix::unistd::dup2_stderr(&null)?;
        self.report.write_all(&[0])
    }
}
