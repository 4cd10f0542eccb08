//! Where log lines go. A thread of its own writes them: a full pipe, a slow disk or a missing syslog daemon
//! must not hold up an action.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, atomic};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use syslog::{Facility, Formatter3164, Logger, LoggerBackend};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::{Level, Report};
use crate::action::output::printable;

/// Lines that wait for a slow sink before new ones are dropped and counted: some 400 KiB of usual lines.
const QUEUE: usize = 4096;

/// How long a missing syslog daemon is left alone between two attempts.
const RECONNECT: Duration = Duration::from_secs(1);

/// How long a stopping daemon waits for its last lines to be written.
const FLUSH: Duration = Duration::from_secs(2);

const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Where the log goes.
#[derive(Debug)]
pub enum Target {
    Stdout,
    /// Opened for appending.
    File(File),
    /// Facility daemon, through `/dev/log`.
    Syslog,
}

/// A handle to the log. Cheap to clone; it never blocks.
#[derive(Clone)]
pub struct Log {
    lines: SyncSender<Line>,
    dropped: Arc<atomic::AtomicU64>,
    /// All that were ever dropped, here and behind, said or not.
    all_dropped: Arc<atomic::AtomicU64>,
    level: Level,
}

struct Line {
    level: Level,
    at: OffsetDateTime,
    text: String,
}

/// Waits for the last lines when the daemon ends.
pub struct Writer(JoinHandle<()>);

impl Log {
    /// Starts the writing thread. A missing syslog is no error: its lines wait.
    pub fn start(target: Target, level: Level) -> io::Result<(Self, Writer)> {
        let all_dropped = Arc::new(atomic::AtomicU64::new(0));
        let mut sink = match target {
            Target::Stdout => Sink::Stream(Box::new(BufWriter::new(io::stdout()))),
            Target::File(file) => Sink::Stream(Box::new(BufWriter::new(file))),
            Target::Syslog => {
                Sink::Syslog(Syslog { all_dropped: Arc::clone(&all_dropped), ..Syslog::default() })
            }
        };
        let (lines, queue) = sync_channel(QUEUE);
        let dropped = Arc::new(atomic::AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&mut sink, &queue, &lost))?;
        Ok((Self { lines, dropped, all_dropped, level }, Writer(thread)))
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
        let at = OffsetDateTime::now_utc();
        for text in lines(&report.to_string()) {
            match self.lines.try_send(Line { level, at, text }) {
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
fn lines(report: &str) -> Vec<String> {
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
    lines
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

fn write_all(sink: &mut Sink, queue: &Receiver<Line>, lost: &atomic::AtomicU64) {
    loop {
        let line = match queue.recv_timeout(sink.patience()) {
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
            sink.write(Line { level: Level::Warning, at: OffsetDateTime::now_utc(), text });
        }
        sink.flush();
    }
    sink.flush();
}

enum Sink {
    Stream(Box<dyn Write + Send>),
    Syslog(Syslog),
}

impl Sink {
    /// How long to wait for a line before [`Self::flush`] is due.
    fn patience(&self) -> Duration {
        match self {
            Sink::Syslog(syslog) if !syslog.unsent.is_empty() => RECONNECT,
            Sink::Syslog(_) | Sink::Stream(_) => Duration::MAX,
        }
    }

    fn write(&mut self, line: Line) {
        match self {
            Sink::Stream(stream) => {
                let at = line.at.format(TIMESTAMP).unwrap_or_default();
                // A closed pipe or a full disk: there is nowhere left to say so.
                let _ = writeln!(stream, "{at} {:<7} {}", name(line.level), line.text);
            }
            Sink::Syslog(syslog) => syslog.write(line),
        }
    }

    fn flush(&mut self) {
        match self {
            Sink::Stream(stream) => {
                let _ = stream.flush();
            }
            Sink::Syslog(syslog) => syslog.send_unsent(),
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

/// Keeps lines while there is no `/dev/log`, and connects anew when it was restarted.
#[derive(Default)]
struct Syslog {
    logger: Option<Logger<LoggerBackend, Formatter3164>>,
    unsent: VecDeque<Line>,
    dropped: u64,
    all_dropped: Arc<atomic::AtomicU64>,
    next_attempt: Option<Instant>,
}

impl Syslog {
    fn write(&mut self, line: Line) {
        if self.unsent.len() == QUEUE {
            self.unsent.pop_front();
            self.dropped += 1;
            self.all_dropped.fetch_add(1, atomic::Ordering::Relaxed);
        }
        self.unsent.push_back(line);
    }

    fn send_unsent(&mut self) {
        while let Some(line) = self.unsent.front() {
            let Some(logger) = connected(&mut self.logger, &mut self.next_attempt) else { return };
            if send(logger, line).is_err() {
                // Most likely the daemon behind the socket was restarted: once more on a new socket.
                self.logger = None;
                let again = connected(&mut self.logger, &mut self.next_attempt);
                if again.is_none_or(|logger| send(logger, line).is_err()) {
                    self.logger = None;
                    self.next_attempt = Some(Instant::now() + RECONNECT);
                    return;
                }
            }
            self.unsent.pop_front();
            let dropped = std::mem::take(&mut self.dropped);
            if dropped > 0 {
                let text = format!("{dropped} log lines dropped: syslog was away");
                self.unsent.push_front(Line { level: Level::Warning, at: OffsetDateTime::now_utc(), text });
            }
        }
    }
}

fn connected<'a>(
    logger: &'a mut Option<Logger<LoggerBackend, Formatter3164>>,
    next_attempt: &mut Option<Instant>,
) -> Option<&'a mut Logger<LoggerBackend, Formatter3164>> {
    if logger.is_none() && next_attempt.is_none_or(|at| at <= Instant::now()) {
        *logger = connect().ok();
        *next_attempt = logger.is_none().then(|| Instant::now() + RECONNECT);
    }
    logger.as_mut()
}

fn connect() -> io::Result<Logger<LoggerBackend, Formatter3164>> {
    let socket = UnixDatagram::unbound()?;
    socket.connect("/dev/log")?;
    // A syslog daemon that hangs must not hang us for ever: what it does not take waits in our queue.
    socket.set_write_timeout(Some(RECONNECT))?;
    let formatter = Formatter3164 {
        facility: Facility::LOG_DAEMON,
        hostname: None,
        process: "twitcher".into(),
        pid: std::process::id(),
    };
    Ok(Logger::new(LoggerBackend::Unix(socket), formatter))
}

fn send(logger: &mut Logger<LoggerBackend, Formatter3164>, line: &Line) -> syslog::Result<()> {
    match line.level {
        Level::Error => logger.err(&line.text),
        Level::Warning => logger.warning(&line.text),
        Level::Notice => logger.notice(&line.text),
        Level::Info => logger.info(&line.text),
        Level::Debug => logger.debug(&line.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A debug line.
    fn line() -> Line {
        Line { level: Level::Debug, at: OffsetDateTime::now_utc(), text: "x".into() }
    }

    #[test]
    fn a_log_that_takes_nothing_drops_lines_and_tells_how_many_it_dropped() {
        let (read, write) = io::pipe().unwrap();
        let target = Target::File(File::from(std::os::fd::OwnedFd::from(write)));
        let (log, writer) = Log::start(target, Level::Debug).unwrap();
        assert_eq!(log.dropped_lines(), 0);
        let sent = 4 * QUEUE;
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
    fn what_is_dropped_while_syslog_is_away_is_counted() {
        let mut syslog = Syslog::default();
        (0..QUEUE + 3).for_each(|_| syslog.write(line()));
        assert_eq!(syslog.all_dropped.load(atomic::Ordering::Relaxed), 3);
    }

    #[test]
    fn only_indented_lines_are_lines_of_their_own() {
        assert_eq!(lines("a.twc:1:2: wrong\n  | x\n  | ^"), ["a.twc:1:2: wrong", "  | x", "  | ^"]);
        assert_eq!(lines("evil\nFORGED \x1b[31m\r"), ["evil\\nFORGED \\u{1b}[31m\\r"]);
        assert_eq!(lines(""), [""]);
    }
}
