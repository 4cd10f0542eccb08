//! Sends lines to a log daemon on this machine, which may be missing, restart or hang.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::level::Level;
use super::line::{LogLine, MAX_QUEUED_LINES};

/// The delay between two attempts to connect to a missing log daemon.
pub const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// A connection to a log daemon.
pub trait LogDaemon: Sized {
    /// The log daemon's name in log lines.
    const NAME: &str;

    fn connect() -> io::Result<Self>;

    /// Blocks for at most [`RECONNECT_DELAY`].
    fn send(&mut self, line: &LogLine) -> io::Result<()>;
}

/// Keeps at most [`MAX_QUEUED_LINES`] lines while there is no connection to the log daemon, and reconnects.
pub struct LogForwarder<D> {
    daemon: Option<D>,
    unsent: VecDeque<LogLine>,
    /// How many dropped lines no log line reports yet.
    unreported_drops: u64,
    /// How many lines were dropped since the start, here and in [`super::log`].
    all_dropped: Arc<AtomicU64>,
    next_attempt: Option<Instant>,
}

impl<D: LogDaemon> LogForwarder<D> {
    pub fn new(all_dropped: Arc<AtomicU64>) -> Self {
        Self { daemon: None, unsent: VecDeque::new(), unreported_drops: 0, all_dropped, next_attempt: None }
    }

    /// Queues a line for [`Self::send_unsent`]. If the queue is full, the oldest line is dropped.
    pub fn write(&mut self, line: LogLine) {
        if self.unsent.len() == MAX_QUEUED_LINES {
            self.unsent.pop_front();
            self.unreported_drops += 1;
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
                // The log daemon was probably restarted, so try a new socket.
                self.daemon = None;
                let again = connected(&mut self.daemon, &mut self.next_attempt);
                if again.is_none_or(|daemon| daemon.send(line).is_err()) {
                    self.daemon = None;
                    self.next_attempt = Some(Instant::now() + RECONNECT_DELAY);
                    return;
                }
            }
            self.unsent.pop_front();
            let dropped = std::mem::take(&mut self.unreported_drops);
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
