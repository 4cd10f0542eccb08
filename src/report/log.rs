//! The log, written on a thread of its own: a full pipe, a slow disk or a missing log daemon must not delay
//! an action.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, atomic};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::degraded::Degradations;
use super::event::Report;
use super::forwarder::{LogForwarder, RECONNECT_DELAY};
use super::journal::{self, Journal};
use super::level::Level;
use super::line::{LogLine, MAX_QUEUED_LINES, lines};
use super::syslog::Syslog;
use crate::text::TIMESTAMP_FORMAT;

/// How long a stopping daemon waits until its last lines are written.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// The destination of the log.
#[derive(Debug)]
pub enum Target {
    Stdout,
    Stderr,
    /// A file that is open for appending.
    File(File),
    /// The local syslog, with facility `daemon`.
    Syslog,
    /// systemd's journal, which also gets [`LogLine::fields`].
    Journal,
}

/// A handle to the log. A clone is cheap, and no call blocks.
#[derive(Clone)]
pub struct Log {
    lines: SyncSender<LogLine>,
    /// How many lines dropped here no log line reports yet.
    unreported_drops: Arc<atomic::AtomicU64>,
    /// How many lines were dropped since the start, here and in the forwarder.
    all_dropped: Arc<atomic::AtomicU64>,
    level: Level,
    /// Whether the target takes [`LogLine::fields`].
    structured: bool,
    degradations: Degradations,
}

/// A handle to the writing thread.
pub struct Writer(JoinHandle<()>);

impl Log {
    /// Starts the writing thread. A missing log daemon is not an error: lines wait for it.
    pub fn start(target: Target, level: Level) -> io::Result<(Self, Writer)> {
        let all_dropped = Arc::new(atomic::AtomicU64::new(0));
        let structured = matches!(target, Target::Journal);
        let mut sink = match target {
            Target::Stdout => Sink::Stream(Box::new(BufWriter::new(io::stdout()))),
            Target::Stderr => Sink::Stream(Box::new(BufWriter::new(io::stderr()))),
            Target::File(file) => Sink::Stream(Box::new(BufWriter::new(file))),
            Target::Syslog => Sink::Syslog(LogForwarder::new(all_dropped.clone())),
            Target::Journal => Sink::Journal(LogForwarder::new(all_dropped.clone())),
        };
        let (lines, queue) = sync_channel(MAX_QUEUED_LINES);
        let unreported_drops = Arc::new(atomic::AtomicU64::new(0));
        let drops = Arc::clone(&unreported_drops);
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&mut sink, &queue, &drops))?;
        let degradations = Degradations::default();
        Ok((Self { lines, unreported_drops, all_dropped, level, structured, degradations }, Writer(thread)))
    }

    /// How many lines were dropped since the start because the log was slow or missing.
    pub fn dropped_lines(&self) -> u64 {
        self.all_dropped.load(atomic::Ordering::Relaxed)
    }

    /// What does not work at the moment, the log included.
    pub fn degradations(&self) -> &Degradations {
        &self.degradations
    }

    /// Whether a report of this level is logged at all.
    pub fn wants(&self, level: Level) -> bool {
        level <= self.level
    }

    pub fn report(&self, report: &Report<'_>) {
        let level = report.level();
        if !self.wants(level) {
            return;
        }
        let fields = if self.structured { journal::fields(&report.context()) } else { Vec::new() };
        for text in lines(&report.to_string()) {
            match self.lines.try_send(LogLine { fields: fields.clone(), ..LogLine::new(level, text) }) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.unreported_drops.fetch_add(1, atomic::Ordering::Relaxed);
                    self.all_dropped.fetch_add(1, atomic::Ordering::Relaxed);
                }
            }
        }
    }
}

impl Writer {
    /// Waits at most [`FINISH_TIMEOUT`] until all lines are written. Drop every [`Log`] first; otherwise this
    /// waits for the whole time.
    pub fn finish(self) {
        let deadline = Instant::now() + FINISH_TIMEOUT;
        while !self.0.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn write_all(sink: &mut Sink, queue: &Receiver<LogLine>, unreported_drops: &atomic::AtomicU64) {
    loop {
        let line = match queue.recv_timeout(sink.next_flush_in()) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let more = queue.try_iter();
        for line in line.into_iter().chain(more) {
            sink.write(line);
        }
        let dropped = unreported_drops.swap(0, atomic::Ordering::Relaxed);
        if dropped > 0 {
            let text = format!("{dropped} log lines dropped: the log is too slow");
            sink.write(LogLine::new(Level::Warning, text));
        }
        sink.flush();
    }
    sink.flush();
}

enum Sink {
    Stream(Box<dyn Write + Send>),
    Syslog(LogForwarder<Syslog>),
    Journal(LogForwarder<Journal>),
}

impl Sink {
    fn next_flush_in(&self) -> Duration {
        let is_done = match self {
            Sink::Stream(_) => true,
            Sink::Syslog(syslog) => syslog.is_empty(),
            Sink::Journal(journal) => journal.is_empty(),
        };
        if is_done { Duration::MAX } else { RECONNECT_DELAY }
    }

    fn write(&mut self, line: LogLine) {
        match self {
            Sink::Stream(stream) => {
                let at = line.at.format(TIMESTAMP_FORMAT).unwrap_or_default();
                // An error cannot be reported: this is the log.
                let _ = writeln!(stream, "{at} {:<7} {}", line.level.as_str(), line.text);
            }
            Sink::Syslog(syslog) => syslog.write(line),
            Sink::Journal(journal) => journal.write(line),
        }
    }

    fn flush(&mut self) {
        match self {
            Sink::Stream(stream) => {
                let _ = stream.flush();
            }
            Sink::Syslog(syslog) => syslog.send_unsent(),
            Sink::Journal(journal) => journal.send_unsent(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_takes_nothing_drops_lines_and_tells_how_many_it_dropped() {
        let (read, write) = io::pipe().unwrap();
        let target = Target::File(File::from(std::os::fd::OwnedFd::from(write)));
        let (log, writer) = Log::start(target, Level::Debug).unwrap();
        assert_eq!(log.dropped_lines(), 0);
        let sent = 4 * MAX_QUEUED_LINES;
        (0..sent).for_each(|_| log.report(&Report::Stopped));
        let dropped = log.dropped_lines();
        assert!(dropped > 0);
        drop(log);
        let text = io::read_to_string(read).unwrap();
        writer.finish();
        let counts = text.lines().filter(|line| line.contains("dropped"));
        let counts: Vec<u64> = counts.map(|line| line.split(' ').nth(2).unwrap().parse().unwrap()).collect();
        assert_eq!(counts.iter().sum::<u64>(), dropped);
        assert_eq!(
            text.lines().filter(|line| line.contains("stopped")).count() as u64 + dropped,
            sent as u64
        );
    }
}
