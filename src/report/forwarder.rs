//! Hands lines to a log daemon on this machine, which may be missing, be restarted or hang.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::level::Level;
use super::line::{LogLine, MAX_QUEUED_LINES};

/// The wait between two attempts to connect to a log daemon that is away.
pub const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// A connection to a log daemon.
pub trait LogDaemon: Sized {
    /// Its name in log lines.
    const NAME: &str;

    fn connect() -> io::Result<Self>;

    /// Blocks for at most [`RECONNECT_DELAY`].
    fn send(&mut self, line: &LogLine) -> io::Result<()>;
}

/// Keeps at most [`MAX_QUEUED_LINES`] lines while the log daemon is away, and reconnects when it is back.
pub struct LogForwarder<D> {
    daemon: Option<D>,
    unsent: VecDeque<LogLine>,
    /// Lines that were dropped and are not reported yet.
    dropped: u64,
    /// All lines dropped since the start, also by [`super::log`].
    all_dropped: Arc<AtomicU64>,
    next_attempt: Option<Instant>,
}

impl<D: LogDaemon> LogForwarder<D> {
    pub fn new(all_dropped: Arc<AtomicU64>) -> Self {
        Self { daemon: None, unsent: VecDeque::new(), dropped: 0, all_dropped, next_attempt: None }
    }

    /// Takes a line that [`Self::send_unsent`] will send. If there are too many, the oldest is dropped.
    pub fn write(&mut self, line: LogLine) {
        if self.unsent.len() == MAX_QUEUED_LINES {
            self.unsent.pop_front();
            self.dropped += 1;
            self.all_dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.unsent.push_back(line);
    }

    pub fn is_empty(&self) -> bool {
        self.unsent.is_empty()
    }

    pub fn send_unsent(&mut self) {
        while let Some(line) = self.unsent.front() {
            let Some(daemon) = connected(&mut self.daemon, &mut self.next_attempt) else { return };
            if daemon.send(line).is_err() {
                // Most likely the log daemon was restarted, so a new socket will do.
                self.daemon = None;
                let again = connected(&mut self.daemon, &mut self.next_attempt);
                if again.is_none_or(|daemon| daemon.send(line).is_err()) {
                    self.daemon = None;
                    self.next_attempt = Some(Instant::now() + RECONNECT_DELAY);
                    return;
                }
            }
            self.unsent.pop_front();
            let dropped = std::mem::take(&mut self.dropped);
            if dropped > 0 {
                let text = format!("{dropped} log lines dropped: {} was away", D::NAME);
                self.unsent.push_front(LogLine::new(Level::Warning, text));
            }
        }
    }
}

fn connected<'a, D: LogDaemon>(
    daemon: &'a mut Option<D>,
    next_attempt: &mut Option<Instant>,
) -> Option<&'a mut D> {
    if daemon.is_none() && next_attempt.is_none_or(|at| at <= Instant::now()) {
        *daemon = D::connect().ok();
        *next_attempt = daemon.is_none().then(|| Instant::now() + RECONNECT_DELAY);
    }
    daemon.as_mut()
}

#[cfg(test)]
mod tests {
    use super::super::syslog::Syslog;
    use super::*;

    #[test]
    fn what_is_dropped_while_a_log_daemon_is_away_is_counted() {
        let count = Arc::new(AtomicU64::new(0));
        let mut forwarder = LogForwarder::<Syslog>::new(count.clone());
        (0..MAX_QUEUED_LINES + 3).for_each(|_| forwarder.write(LogLine::new(Level::Debug, "x".into())));
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }
}
