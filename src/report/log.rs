//! Where log lines go. A thread of its own writes them: a full pipe, a slow disk or a missing log daemon
//! must not hold up an action.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, atomic};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::forwarder::{LogForwarder, RECONNECT_DELAY};
use super::journal::{self, Journal};
use super::syslog::Syslog;
use super::{Level, Report};
use crate::text::{TIMESTAMP_FORMAT, printable};

/// Lines that wait for a slow sink before new ones are dropped and counted: some 400 KiB of usual lines.
pub const MAX_QUEUED_LINES: usize = 4096;

/// Longer lines are cut: one that takes more than a datagram may (some 200 KiB by default) would never get through, and
/// hold up all after it. An action's longest line is 24 KiB: 4 KiB of which each byte is escaped.
pub const MAX_LINE_BYTES: usize = 32 << 10;

/// How long a stopping daemon waits for its last lines to be written.
const FLUSH: Duration = Duration::from_secs(2);

/// Where the log goes.
#[derive(Debug)]
pub enum Target {
    Stdout,
    Stderr,
    /// Opened for appending.
    File(File),
    /// Facility daemon, through `/dev/log`.
    Syslog,
    /// Systemd's, with [`LogLine::fields`].
    Journal,
}

/// A handle to the log. Cheap to clone; it never blocks.
#[derive(Clone)]
pub struct Log {
    lines: SyncSender<LogLine>,
    dropped: Arc<atomic::AtomicU64>,
    /// All that were ever dropped, here and behind, said or not.
    all_dropped: Arc<atomic::AtomicU64>,
    level: Level,
    /// Whether anybody reads [`LogLine::fields`].
    structured: bool,
}

/// A line on its way to the log, printable and not too long.
pub struct LogLine {
    pub level: Level,
    pub at: OffsetDateTime,
    pub text: String,
    /// What it is about, for the journal; empty for others.
    pub fields: Vec<u8>,
}

impl LogLine {
    pub fn new(level: Level, text: String) -> Self {
        Self { level, at: OffsetDateTime::now_utc(), text, fields: Vec::new() }
    }
}

/// Waits for the last lines when the daemon ends.
pub struct Writer(JoinHandle<()>);

impl Log {
    /// Starts the writing thread. A missing syslog is no error: its lines wait.
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
        let dropped = Arc::new(atomic::AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&mut sink, &queue, &lost))?;
        Ok((Self { lines, dropped, all_dropped, level, structured }, Writer(thread)))
    }

    /// How many lines were dropped since the start because the log was slow or away.
    pub fn dropped_lines(&self) -> u64 {
        self.all_dropped.load(atomic::Ordering::Relaxed)
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
                    self.dropped.fetch_add(1, atomic::Ordering::Relaxed);
                    self.all_dropped.fetch_add(1, atomic::Ordering::Relaxed);
                }
            }
        }
    }
}

/// The log lines of a report. An error in a config comes with the offending line below it, and such a line is
/// indented; any other newline, and any other control character, is somebody's text and must forge nothing.
pub fn lines(report: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in report.split('\n') {
        let line_text = printable(line.as_bytes());
        match lines.last_mut() {
            Some(last) if !line.starts_with("  ") => {
                last.push_str("\\n");
                last.push_str(&line_text);
            }
            Some(_) | None => lines.push(line_text),
        }
    }
    lines.iter_mut().for_each(cut);
    lines
}

fn cut(line: &mut String) {
    if line.len() > MAX_LINE_BYTES {
        let end = (0..=MAX_LINE_BYTES).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        let more = line.len() - end;
        line.truncate(end);
        line.push_str(&format!(" ... ({more} more bytes cut)"));
    }
}

impl Writer {
    /// Waits until all is written, at most [`FLUSH`]. Every [`Log`] must have been dropped.
    pub fn finish(self) {
        let deadline = Instant::now() + FLUSH;
        while !self.0.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn write_all(sink: &mut Sink, queue: &Receiver<LogLine>, lost: &atomic::AtomicU64) {
    loop {
        let line = match queue.recv_timeout(sink.flush_timeout()) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let more = queue.try_iter();
        for line in line.into_iter().chain(more) {
            sink.write(line);
        }
        let lost = lost.swap(0, atomic::Ordering::Relaxed);
        if lost > 0 {
            let text = format!("{lost} log lines dropped: the log is too slow");
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
    /// How long to wait for a line before [`Self::flush`] is due.
    fn flush_timeout(&self) -> Duration {
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
                // A closed pipe or a full disk: there is nowhere left to say so.
                let _ = writeln!(stream, "{at} {:<7} {}", name(line.level), line.text);
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

fn name(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warning => "WARNING",
        Level::Notice => "NOTICE",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
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
        let said = text.lines().filter(|line| line.contains("dropped"));
        let said: Vec<u64> = said.map(|line| line.split(' ').nth(2).unwrap().parse().unwrap()).collect();
        assert_eq!(said.iter().sum::<u64>(), dropped);
        assert_eq!(
            text.lines().filter(|line| line.contains("stopped")).count() as u64 + dropped,
            sent as u64
        );
    }

    #[test]
    fn only_indented_lines_are_lines_of_their_own() {
        assert_eq!(lines("a.twc:1:2: wrong\n  | x\n  | ^"), ["a.twc:1:2: wrong", "  | x", "  | ^"]);
        assert_eq!(lines("evil\nFORGED \x1b[31m\r"), ["evil\\nFORGED \\u{1b}[31m\\r"]);
        assert_eq!(lines(""), [""]);
    }

    #[test]
    fn a_line_that_no_datagram_takes_is_cut() {
        let [line] = &lines(&"ü".repeat(MAX_LINE_BYTES))[..] else { panic!("one line") };
        assert_eq!(
            *line,
            format!("{} ... ({MAX_LINE_BYTES} more bytes cut)", "ü".repeat(MAX_LINE_BYTES / 2))
        );
    }
}
