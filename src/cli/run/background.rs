//! `--daemonize`: the daemon goes into the background.

use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};

use crate::sys;
use crate::sys::kernel::cannot;

/// The daemon in the background, while the process that the user started waits for it to be ready.
pub struct Background {
    report: PipeWriter,
}

impl Background {
    /// Forks, and returns in the child, which leads a session of its own and is in `/`. The parent exits with
    /// 0 once the child is ready, and with 1 if the child ends before. The child keeps stderr to report
    /// errors.
    pub fn enter() -> io::Result<Self> {
        let cannot = cannot("go into the background (--daemonize)", "pipe2, clone, setsid or chdir");
        let (mut heard, report) = io::pipe().map_err(&cannot)?;
        if sys::fork().map_err(&cannot)? {
            drop(heard);
            nix::unistd::setsid().map_err(|error| cannot(error.into()))?;
            std::env::set_current_dir("/").map_err(&cannot)?;
            return Ok(Self { report });
        }
        drop(report);
        let ready = heard.read_exact(&mut [0]).is_ok();
        std::process::exit(i32::from(!ready))
    }

    /// Lets the parent exit with 0, and closes the terminal. A log that goes to stdout has a descriptor of
    /// its own.
    pub fn ready(mut self) -> io::Result<()> {
        close_terminal().map_err(cannot("open /dev/null in place of the terminal", "openat or dup2"))?;
        self.report.write_all(&[0])
    }
}

fn close_terminal() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}
