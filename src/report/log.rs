//! The log, written on a thread of its own: a full pipe, a slow disk or a missing log daemon must not delay
//! an action.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::degraded::{Degradations, Degraded};
use super::event::Report;
use super::journal::{self, Journal};
use super::last_words;
use super::level::Level;
use super::line::{LogLine, MAX_QUEUED_LINES, lines, whole};
use super::log_state::LogState;
use super::output::{Connection, Output};
use super::queue::LogQueue;
use super::stream::LogStream;
use super::syslog::Syslog;
use crate::model::LogFormat;
use crate::sys::kernel::{THREAD_CALLS, cannot};

/// How long a stopping daemon waits until its last lines are written.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Lines that come one after another are written together, those of so long at once. To wake the writing
/// thread for each takes longer than to write it, and the actions need the processors.
const BATCH_TIME: Duration = Duration::from_millis(2);

/// The destination of the log.
#[derive(Debug)]
pub enum Target {
    /// stdout, stderr or a file.
    Stream(LogStream),
    /// The local syslog, with facility `daemon`.
    Syslog,
    /// systemd's journal, which also gets [`LogLine::fields`].
    Journal,
}

/// A handle to the log. A clone is cheap, and no call blocks.
#[derive(Clone)]
pub struct Log {
    /// `None` is the end.
    lines: SyncSender<Option<LogLine>>,
    state: Arc<LogState>,
    level: Level,
    /// Whether the target takes [`LogLine::fields`].
    structured: bool,
    format: LogFormat,
}

/// A handle to the writing thread. Its drop waits at most [`FINISH_TIMEOUT`] until all lines are written, and
/// says where it can how many are not. Lines that come later are dropped.
pub struct Writer {
    thread: JoinHandle<()>,
    lines: SyncSender<Option<LogLine>>,
    state: Arc<LogState>,
}

impl Log {
    /// Starts the writing thread. A missing log daemon is not an error: lines wait for it, and go to stderr.
    pub fn start(target: Target, level: Level, format: LogFormat) -> io::Result<(Self, Writer)> {
        let structured = matches!(target, Target::Journal);
        let (lines, queue) = sync_channel(MAX_QUEUED_LINES);
        let (state, thread) = match target {
            Target::Stream(stream) => start(stream, queue, format),
            Target::Syslog => start(Connection::<Syslog>::new(), queue, format),
            Target::Journal => start(Connection::<Journal>::new(), queue, format),
        }?;
        let writer = Writer { thread, lines: lines.clone(), state: Arc::clone(&state) };
        Ok((Self { lines, state, level, structured, format }, writer))
    }

    /// How many lines were dropped since the start because the log was slow or missing.
    pub fn dropped_lines(&self) -> u64 {
        self.state.dropped()
    }

    /// Where parts report that they do not work.
    pub fn degradations(&self) -> &Degradations {
        &self.state.degradations
    }

    /// What does not work at the moment, the log included.
    pub fn degraded(&self) -> Vec<Degraded> {
        self.state.degraded()
    }

    /// Whether a report of this level is logged at all.
    pub fn wants(&self, level: Level) -> bool {
        level <= self.level
    }

    /// Logs a line of a program that is no daemon, and has no reports.
    pub fn say(&self, level: Level, text: &str) {
        if !self.wants(level) {
            return;
        }
        for text in lines(text) {
            self.send(LogLine::new(level, text));
        }
    }

    pub fn report(&self, report: &Report<'_>) {
        let level = report.level();
        if !self.wants(level) {
            return;
        }
        let fields = if self.structured { journal::fields(&report.context()) } else { Vec::new() };
        let is_bare = matches!(report, Report::Welcome { .. });
        let texts = lines(&report.to_string());
        let lines = match self.format {
            LogFormat::Text => {
                let line = |text| LogLine { is_bare, ..LogLine::new(level, text) };
                texts.into_iter().map(line).collect()
            }
            // An object holds all lines of a report.
            LogFormat::Json => vec![LogLine::json(level, &whole(&texts), &report.context())],
        };
        for line in lines {
            self.send(LogLine { fields: fields.clone(), ..line });
        }
    }

    fn send(&self, line: LogLine) {
        // Counted first, because the line may be written before the call returns.
        self.state.add_pending();
        match self.lines.try_send(Some(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.state.settle(1);
                self.state.count_crowded_out();
            }
        }
    }
}

impl Writer {
    /// Waits for the last lines; see [`Writer`].
    pub fn finish(self) {}
}

impl Drop for Writer {
    fn drop(&mut self) {
        let deadline = Instant::now() + FINISH_TIMEOUT;
        let mut is_told = false;
        while !self.thread.is_finished() && Instant::now() < deadline {
            // The queue may be full.
            is_told = is_told || self.lines.try_send(None).is_ok();
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.thread.is_finished() {
            return;
        }
        let lost = self.state.give_up_pending();
        if lost > 0 {
            let target = &self.state.target;
            let text = format!(
                "{lost} log lines dropped at the end: {target} takes no lines: its disk hangs, or its reader \
                 does not read"
            );
            last_words::say(LogLine::own(self.state.format, Level::Warning, text));
        }
    }
}

fn start(
    output: impl Output + Send + 'static,
    lines: Receiver<Option<LogLine>>,
    format: LogFormat,
) -> io::Result<(Arc<LogState>, JoinHandle<()>)> {
    let state = Arc::new(LogState::new(output.name(), format));
    let queue = LogQueue::new(output, state.clone());
    let shared = state.clone();
    let thread =
        std::thread::Builder::new().name("log".into()).spawn(move || write_all(queue, &lines, &shared));
    Ok((state, thread.map_err(cannot("start the thread that writes the log", THREAD_CALLS))?))
}

fn write_all(mut queue: LogQueue<impl Output>, lines: &Receiver<Option<LogLine>>, state: &LogState) {
    let mut has_ended = false;
    let mut last_write = None;
    while !has_ended {
        match lines.recv_timeout(queue.next_attempt_in()) {
            Ok(Some(line)) => queue.write(line),
            Ok(None) => break,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        for line in lines.try_iter() {
            match line {
                Some(line) => queue.write(line),
                None => has_ended = true,
            }
        }
        let dropped = state.take_crowded_out();
        if dropped > 0 {
            let text = format!("{dropped} log lines dropped: the log is too slow");
            queue.write_own(LogLine::own(state.format, Level::Warning, text));
        }
        queue.send();
        // A line that comes alone was written at once.
        let now = Instant::now();
        if last_write.replace(now).is_some_and(|last| last + BATCH_TIME > now) {
            std::thread::sleep(BATCH_TIME);
        }
    }
    queue.finish();
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_log_that_takes_nothing_drops_lines_and_tells_how_many_it_dropped() {
        let (read, write) = io::pipe().unwrap();
        let stream = LogStream::of("a pipe", File::from(std::os::fd::OwnedFd::from(write)));
        let target = Target::Stream(stream);
        let (log, writer) = Log::start(target, Level::Debug, LogFormat::Text).unwrap();
        assert_eq!(log.dropped_lines(), 0);
        let sent = 4 * MAX_QUEUED_LINES;
        (0..sent).for_each(|_| log.report(&Report::Stopped));
        let dropped = log.dropped_lines();
        assert!(dropped > 0);
        let reader = std::thread::spawn(move || io::read_to_string(read).unwrap());
        // Another handle stays, as one of another thread may.
        writer.finish();
        let text = reader.join().unwrap();
        let counts = text.lines().filter(|line| line.contains("dropped"));
        let counts: Vec<u64> = counts.map(|line| line.split(' ').nth(2).unwrap().parse().unwrap()).collect();
        assert_eq!(counts.iter().sum::<u64>(), dropped);
        assert_eq!(
            text.lines().filter(|line| line.contains("stopped")).count() as u64 + dropped,
            sent as u64
        );
    }
}
