//! What takes the lines of the log: a stream, or a log daemon on this machine.

use std::io;
use std::time::Duration;

use super::line::LogLine;

/// How long a log daemon may take for a line. While it hangs, lines wait in the queue.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The target of the log. It may fail at any time, and work again later.
pub trait Output {
    /// The target's name in log lines and messages.
    fn name(&self) -> String;

    /// What an operator can do while lines cannot be written.
    fn remedy(&self) -> &'static str;

    /// Whether lines go to stderr as well while they cannot be written.
    fn falls_back(&self) -> bool;

    /// Writes lines, the first one first. Returns how many of them got out whole, and why no more did.
    fn write(&mut self, lines: &[LogLine]) -> (usize, io::Result<()>);
}

/// A connection to a log daemon.
pub trait LogDaemon: Sized {
    /// The log daemon's name, with the path of its socket.
    const NAME: &str;
    const REMEDY: &str;

    fn connect() -> io::Result<Self>;

    /// Blocks for at most [`SEND_TIMEOUT`].
    fn send(&mut self, line: &LogLine) -> io::Result<()>;
}

/// Sends lines to a log daemon, which may be missing, restart or hang.
pub struct Connection<D>(Option<D>);

impl<D> Connection<D> {
    pub fn new() -> Self {
        Self(None)
    }
}

impl<D: LogDaemon> Connection<D> {
    fn send(&mut self, line: &LogLine) -> io::Result<()> {
        if let Some(daemon) = &mut self.0
            && daemon.send(line).is_ok()
        {
            return Ok(());
        }
        // The log daemon was probably restarted, so try a new socket.
        self.0 = None;
        let mut daemon = D::connect()?;
        daemon.send(line)?;
        self.0 = Some(daemon);
        Ok(())
    }
}

impl<D: LogDaemon> Output for Connection<D> {
    fn name(&self) -> String {
        D::NAME.to_owned()
    }

    fn remedy(&self) -> &'static str {
        D::REMEDY
    }

    fn falls_back(&self) -> bool {
        true
    }

    fn write(&mut self, lines: &[LogLine]) -> (usize, io::Result<()>) {
        for (sent, line) in lines.iter().enumerate() {
            if let Err(error) = self.send(line) {
                return (sent, Err(error));
            }
        }
        (lines.len(), Ok(()))
    }
}
