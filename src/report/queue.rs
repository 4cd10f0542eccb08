//! The lines that wait for the target of the log, which may be missing, restart, hang or be full.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::libc::PIPE_BUF;

use super::display::readable;
use super::fallback;
use super::last_words;
use super::level::Level;
use super::line::{LogLine, MAX_QUEUED_BYTES, MAX_QUEUED_LINES};
use super::log_state::{LogState, PART};
use super::output::Output;

/// The pause between two attempts to write while writing fails. An attempt costs some microseconds.
pub const RETRY_DELAY: Duration = Duration::from_millis(250);

/// A log daemon that worked before may be away for this long: it restarts.
const RESTART_TIME: Duration = Duration::from_secs(1);

/// At least as long as the time and the level before a line's text.
const MAX_PREFIX_BYTES: usize = 64;

/// How many lines are written at once at most, so that a flood does not collect in memory.
const MAX_BATCH: usize = 256;

/// Keeps at most [`MAX_QUEUED_LINES`] lines while they cannot be written, and tries again. Each line gets
/// out, or is counted as dropped.
pub struct LogQueue<O> {
    output: O,
    state: Arc<LogState>,
    unsent: VecDeque<LogLine>,
    unsent_bytes: usize,
    has_worked: bool,
    outage: Option<Outage>,
}

/// The time during which no line can be written.
struct Outage {
    began: Instant,
    next_attempt: Instant,
    /// The last error.
    why: String,
    /// How many lines were dropped.
    dropped: u64,
    /// Whether the outage was reported.
    reported: bool,
    /// Whether nobody sees lines on stderr.
    unseen: bool,
}

impl<O: Output> LogQueue<O> {
    pub fn new(output: O, state: Arc<LogState>) -> Self {
        let (unsent, unsent_bytes) = (VecDeque::new(), 0);
        Self { output, state, unsent, unsent_bytes, has_worked: false, outage: None }
    }

    /// Queues a line for [`Self::send`] that is about the log itself, and was not reported.
    pub fn write_own(&mut self, line: LogLine) {
        self.state.add_pending();
        self.write(line);
    }

    /// Queues a line for [`Self::send`]. If the queue is full, the oldest line is dropped.
    pub fn write(&mut self, line: LogLine) {
        self.unsent_bytes += line.text.len();
        self.unsent.push_back(line);
        if self.outage.is_none() && self.unsent.len() >= MAX_BATCH {
            self.send();
        }
        while self.unsent.len() > MAX_QUEUED_LINES || self.unsent_bytes > MAX_QUEUED_BYTES {
            // The first line may be written in part.
            let Some(dropped) = self.unsent.remove(1) else { break };
            self.unsent_bytes -= dropped.text.len();
            if !dropped.is_copied {
                self.state.count_dropped(1);
                self.state.settle(1);
                self.outage.iter_mut().for_each(|outage| outage.dropped += 1);
            }
        }
    }

    /// When [`Self::send`] must be called even if no line comes.
    pub fn next_attempt_in(&self) -> Duration {
        match &self.outage {
            Some(outage) => outage.next_attempt.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        }
    }

    /// Writes the lines, if it is time. Lines that cannot be written stay.
    pub fn send(&mut self) {
        while !self.unsent.is_empty() {
            let lines = &*self.unsent.make_contiguous();
            let lines = match &self.outage {
                Some(outage) if Instant::now() < outage.next_attempt => return self.copy_lines(),
                // One line shows whether writing works again.
                Some(_) => &lines[..1],
                None => piece(lines),
            };
            let (output, state) = (&mut self.output, &self.state);
            let (sent, result) = state.writing(|| output.write(lines));
            for line in self.unsent.drain(..sent) {
                self.unsent_bytes -= line.text.len();
                self.state.settle(u64::from(!line.is_copied));
            }
            match result {
                Ok(()) => self.works(),
                Err(error) => {
                    self.fails(&error);
                    return self.copy_lines();
                }
            }
        }
    }

    /// Makes a last attempt. What cannot be written is dropped.
    pub fn finish(mut self) {
        self.outage.iter_mut().for_each(|outage| outage.next_attempt = Instant::now());
        self.send();
        let dropped = self.unsent.iter().filter(|line| !line.is_copied).count() as u64;
        self.state.count_dropped(dropped);
        self.state.settle(dropped);
        if let Some(outage) = self.outage.filter(|_| dropped > 0) {
            let text = format!("{dropped} log lines dropped at the end: {}", outage.why);
            last_words::say(LogLine::own(self.state.format, Level::Warning, text));
        }
    }

    fn works(&mut self) {
        self.has_worked = true;
        let Some(Outage { began, dropped, why, reported, .. }) = self.outage.take() else { return };
        let was_degraded = self.state.degradations.remove(PART).is_some();
        let time = readable(began.elapsed());
        let text = match dropped {
            0 if !was_degraded => None,
            0 => Some(format!("the log could not be written for {time}, and is complete: {why}")),
            _ => Some(format!("{dropped} log lines dropped: the log could not be written for {time}: {why}")),
        };
        if let Some(text) = text {
            let line = LogLine::own(self.state.format, Level::Warning, text);
            self.unsent_bytes += line.text.len();
            self.state.add_pending();
            self.unsent.push_front(line);
        }
        if reported && self.output.falls_back() {
            let text = format!("the log goes to {}", self.output.name());
            let _ = fallback::say(&LogLine::own(self.state.format, Level::Notice, text).to_text());
        }
    }

    fn fails(&mut self, error: &io::Error) {
        let now = Instant::now();
        let outage = self.outage.get_or_insert_with(|| Outage {
            began: now,
            next_attempt: now,
            why: String::new(),
            dropped: 0,
            reported: false,
            unseen: false,
        });
        outage.next_attempt = now + RETRY_DELAY;
        outage.why = format!("{}: {error}", self.output.name());
        let falls_back = self.output.falls_back();
        if falls_back && self.has_worked && outage.began.elapsed() < RESTART_TIME {
            return;
        }
        let (why, remedy) = (&outage.why, self.output.remedy());
        if !std::mem::replace(&mut outage.reported, true) {
            let text = match falls_back {
                true => format!("{why}; the log goes to stderr meanwhile; {remedy}"),
                false => format!("{why}; the log waits until it can be written; {remedy}"),
            };
            let line = LogLine::own(self.state.format, Level::Warning, text);
            outage.unseen = fallback::say(&line.to_text()).is_err();
        }
        let what = match falls_back {
            // Where there never was a log daemon, stderr is the log.
            true if !outage.unseen && !self.has_worked => return,
            true if !outage.unseen => format!("{why}; lines go to stderr meanwhile; {remedy}"),
            true | false => {
                format!("{why}; the newest {MAX_QUEUED_LINES} lines wait, older ones are lost; {remedy}")
            }
        };
        self.state.degradations.add(PART, what);
    }

    /// Copies lines to stderr that have not been there, if the outage was reported there.
    fn copy_lines(&mut self) {
        let Some(outage) = self.outage.as_ref().filter(|outage| outage.reported && !outage.unseen) else {
            return;
        };
        if !self.output.falls_back() {
            return;
        }
        debug_assert!(outage.reported);
        for line in self.unsent.iter_mut().filter(|line| !line.is_copied) {
            if fallback::say(&line.to_text()).is_err() {
                break;
            }
            line.is_copied = true;
            self.state.settle(1);
        }
    }
}

/// The first lines, as many as a pipe takes in one piece: all of them or, while it is full, none. So whoever
/// gives up a write that blocks knows which lines did not get out.
fn piece(lines: &[LogLine]) -> &[LogLine] {
    let mut bytes = 0;
    let fits = |line: &&LogLine| {
        bytes += line.text.len() + MAX_PREFIX_BYTES;
        bytes <= PIPE_BUF
    };
    &lines[..lines.iter().take_while(fits).count().max(1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LogFormat;

    /// Takes as many lines as it has room for.
    struct Limited {
        room: usize,
        lines: Vec<String>,
    }

    impl Output for Limited {
        fn name(&self) -> String {
            "the target".into()
        }

        fn remedy(&self) -> &'static str {
            "wait"
        }

        fn falls_back(&self) -> bool {
            false
        }

        fn write(&mut self, lines: &[LogLine]) -> (usize, io::Result<()>) {
            let sent = self.room.min(lines.len());
            self.room -= sent;
            self.lines.extend(lines[..sent].iter().map(|line| line.text.clone()));
            let result = if sent == lines.len() { Ok(()) } else { Err(io::Error::other("full")) };
            (sent, result)
        }
    }

    fn queue(room: usize) -> LogQueue<Limited> {
        LogQueue::new(
            Limited { room, lines: Vec::new() },
            Arc::new(LogState::new("x".into(), LogFormat::Text)),
        )
    }

    fn write(queue: &mut LogQueue<Limited>, numbers: std::ops::Range<usize>) {
        numbers.for_each(|number| queue.write(LogLine::new(Level::Debug, number.to_string())));
        queue.send();
    }

    fn room(queue: &mut LogQueue<Limited>) {
        queue.output.room = usize::MAX;
        queue.outage.as_mut().unwrap().next_attempt = Instant::now();
        queue.send();
    }

    #[test]
    fn lines_that_cannot_be_written_wait_and_the_log_is_degraded_meanwhile() {
        let mut queue = queue(1);
        write(&mut queue, 0..3);
        let degraded = queue.state.degraded();
        let [degraded] = &degraded[..] else { panic!("{degraded:?}") };
        assert!(degraded.part == "log" && degraded.what.starts_with("the target: full; "), "{degraded:?}");
        room(&mut queue);
        let lines = &queue.output.lines;
        assert!(lines.len() == 4 && lines[2].ends_with("and is complete: the target: full"), "{lines:?}");
        assert_eq!((&*lines[0], &*lines[1], &*lines[3]), ("0", "1", "2"));
        assert!(queue.state.degraded().is_empty() && queue.state.dropped() == 0);
    }

    #[test]
    fn what_finds_no_room_in_the_queue_is_counted_and_said() {
        let mut queue = queue(0);
        write(&mut queue, 0..MAX_QUEUED_LINES + 3);
        assert_eq!(queue.state.dropped(), 3);
        room(&mut queue);
        let lines = &queue.output.lines;
        assert_eq!(lines.len(), MAX_QUEUED_LINES + 1);
        // The first line could have been written in part.
        assert_eq!((&*lines[0], &*lines[2]), ("0", "4"));
        assert!(lines[1].starts_with("3 log lines dropped: ") && lines[1].ends_with(": full"), "{lines:?}");
    }

    #[test]
    fn long_lines_take_no_more_memory_than_the_queue_may() {
        let mut queue = queue(0);
        let text = "x".repeat(MAX_QUEUED_BYTES / 8);
        (0..20).for_each(|_| queue.write(LogLine::new(Level::Debug, text.clone())));
        assert_eq!((queue.unsent.len(), queue.state.dropped()), (8, 12));
        queue.send();
        let state = queue.state.clone();
        queue.finish();
        assert_eq!(state.dropped(), 20);
    }
}
