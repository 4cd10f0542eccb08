//! Reading what an action prints: both of its streams, into log lines and the tail that is kept.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep};

use super::output::{LineSplitter, LogDecision, Printed, RateLimiter, Stream, Tail};

/// A pipe's default capacity: one read empties it.
const CHUNK: usize = 64 * 1024;

/// The pause between two reads of a flood. With [`CHUNK`] it bounds a flooding action to some 12 MiB/s, so
/// that its output does not take the daemon's processor.
const FLOOD_PAUSE: Duration = Duration::from_millis(5);

/// Takes the output of one run until [`Self::close`]. What comes later is read and dropped.
pub(super) struct Sink {
    print: Box<dyn Fn(Printed)>,
    streams: RefCell<Streams>,
    started: Instant,
    /// Until the run has ended.
    open: Cell<bool>,
}

struct Streams {
    stdout: LineSplitter,
    stderr: LineSplitter,
    limiter: RateLimiter,
    tail: Tail,
}

impl Sink {
    /// `print` gets each line that may be logged.
    pub(super) fn new(print: impl Fn(Printed) + 'static) -> Self {
        let streams = Streams {
            stdout: LineSplitter::default(),
            stderr: LineSplitter::default(),
            limiter: RateLimiter::new(Duration::ZERO),
            tail: Tail::default(),
        };
        Self {
            print: Box::new(print),
            streams: RefCell::new(streams),
            started: Instant::now(),
            open: Cell::new(true),
        }
    }

    /// Takes bytes that were read from `stream`. Returns the pause before the next read, if one is needed.
    fn take(&self, stream: Stream, bytes: &[u8]) -> Option<Duration> {
        if !self.open.get() {
            return (bytes.len() == CHUNK).then_some(FLOOD_PAUSE);
        }
        let Streams { stdout, stderr, limiter, tail } = &mut *self.streams.borrow_mut();
        tail.push(bytes);
        let lines = match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        lines.push(bytes, |line| self.line(limiter, stream, line));
        limiter.is_suppressing().then_some(FLOOD_PAUSE)
    }

    fn line(&self, limiter: &mut RateLimiter, stream: Stream, line: String) {
        match limiter.spend(self.started.elapsed()) {
            LogDecision::Suppress => {}
            LogDecision::Log => (self.print)(Printed::Line(stream, line)),
            LogDecision::LogAfter(count) => {
                (self.print)(Printed::Suppressed(count));
                (self.print)(Printed::Line(stream, line));
            }
        }
    }

    /// Prints the unfinished lines and what was suppressed, and returns the tail of the output.
    pub(super) fn close(&self) -> Vec<u8> {
        self.open.set(false);
        let Streams { stdout, stderr, limiter, tail } = &mut *self.streams.borrow_mut();
        for (stream, lines) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
            if let Some(line) = lines.finish() {
                self.line(limiter, stream, line);
            }
        }
        match limiter.take_suppressed() {
            0 => {}
            count => (self.print)(Printed::Suppressed(count)),
        }
        std::mem::take(tail).finish()
    }
}

/// Reads `pipe` to its end into `sink`, also after the sink was closed: a process that was left behind must
/// get no SIGPIPE.
pub(super) async fn drain(pipe: Rc<pipe::Receiver>, stream: Stream, sink: Rc<Sink>) {
    while pipe.readable().await.is_ok() {
        let pause = match read_once(&pipe, stream, &sink) {
            Ok(pause) => pause,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => return,
        };
        match pause {
            Some(pause) => sleep(pause).await,
            None => tokio::task::yield_now().await,
        }
    }
}

/// The buffer lives on the stack for one read only: a thousand runs may wait for output at once.
fn read_once(pipe: &pipe::Receiver, stream: Stream, sink: &Sink) -> io::Result<Option<Duration>> {
    let mut chunk = [0; CHUNK];
    match pipe.try_read(&mut chunk)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok(sink.take(stream, &chunk[..length])),
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::BURST;
    use super::*;

    fn sink() -> (Sink, Rc<RefCell<Vec<String>>>) {
        let printed = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&printed);
        let sink = Sink::new(move |line| {
            log.borrow_mut().push(match line {
                Printed::Line(stream, line) => format!("{stream:?}: {line}"),
                Printed::Suppressed(count) => format!("{count} suppressed"),
            });
        });
        (sink, printed)
    }

    #[test]
    fn unfinished_lines_are_printed_at_the_end_and_nothing_is_printed_after_it() {
        let (sink, printed) = sink();
        assert_eq!(sink.take(Stream::Stdout, b"one\ntw"), None);
        assert_eq!(sink.take(Stream::Stderr, b"err"), None);
        assert_eq!(sink.close(), b"one\ntwerr");
        assert_eq!(sink.take(Stream::Stdout, b"late\n"), None);
        assert_eq!(*printed.borrow(), ["Stdout: one", "Stdout: tw", "Stderr: err"]);
    }

    #[test]
    fn a_flood_is_read_slowly_and_counted() {
        let (sink, printed) = sink();
        let flood = "x\n".repeat(BURST as usize + 1000);
        assert_eq!(sink.take(Stream::Stdout, flood.as_bytes()), Some(FLOOD_PAUSE));
        sink.close();
        let printed = printed.borrow();
        assert!(printed.last().is_some_and(|last| last.ends_with(" suppressed")), "{:?}", printed.last());
        assert_eq!(sink.take(Stream::Stdout, &[b'x'; CHUNK]), Some(FLOOD_PAUSE));
    }
}
