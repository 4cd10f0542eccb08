//! Reading what an action prints: both of its streams, into log lines and the tail that is kept.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::output::{ByteBudget, LineSplitter, LogDecision, Piece, Printed, RateLimiter, Stream, Tail};
use crate::sys;

/// A pipe's default capacity: one read empties it.
const CHUNK: usize = 64 * 1024;

/// The pause between two reads of a flood, if there is only one. With [`CHUNK`] it bounds all flooding
/// actions together to some 12 MiB/s, so that their output does not take the daemon's processor: while a
/// flood is not read, its pipe fills, and the action waits.
const FLOOD_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause, however many actions flood.
const MAX_FLOOD_PAUSE: Duration = Duration::from_secs(1);

/// How much is read without a pause when a run has ended: the largest pipe that a user may have. A pipe holds
/// the end of the output, which must be in the log before the run is over.
const LAST_BYTES: usize = 1 << 20;

/// Takes the output of one run until [`Self::close`]. What comes later is read and dropped.
pub(super) struct Sink {
    print: Box<dyn Fn(Printed)>,
    streams: RefCell<Streams>,
    started: Instant,
    /// Until the run has ended.
    open: Cell<bool>,
    /// How many bytes may be read without a pause.
    last_bytes: Cell<usize>,
    /// Ends the pauses.
    hurried: Notify,
    /// How many bytes were taken.
    total: Cell<u64>,
    /// Whether somebody reads the output while the action runs.
    followed: Cell<bool>,
}

struct Streams {
    stdout: LineSplitter,
    stderr: LineSplitter,
    limiter: RateLimiter,
    bytes: ByteBudget,
    tail: Tail,
}

impl Sink {
    /// `print` gets each line that may be logged.
    pub(super) fn new(print: impl Fn(Printed) + 'static) -> Self {
        let streams = Streams {
            stdout: LineSplitter::default(),
            stderr: LineSplitter::default(),
            limiter: RateLimiter::new(Duration::ZERO),
            bytes: ByteBudget::new(Duration::ZERO),
            tail: Tail::default(),
        };
        Self {
            print: Box::new(print),
            streams: RefCell::new(streams),
            started: Instant::now(),
            open: Cell::new(true),
            last_bytes: Cell::new(0),
            hurried: Notify::new(),
            total: Cell::new(0),
            followed: Cell::new(false),
        }
    }

    /// Takes bytes that were read from `stream`. Returns whether the run floods, and is to be read slowly.
    fn take(&self, stream: Stream, bytes: &[u8]) -> bool {
        let now = self.started.elapsed();
        let Streams { stdout, stderr, limiter, bytes: budget, tail } = &mut *self.streams.borrow_mut();
        let is_over_budget = budget.spend(bytes.len(), now);
        if !self.open.get() {
            return is_over_budget;
        }
        tail.push(bytes);
        self.total.set(tail.total());
        let lines = match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        lines.push(bytes, limiter, now, |suppressed, line| self.line(stream, suppressed, line));
        let is_hurried = self.last_bytes.get() > 0;
        self.last_bytes.set(self.last_bytes.get().saturating_sub(bytes.len()));
        !is_hurried && (is_over_budget || limiter.is_suppressing())
    }

    fn line(&self, stream: Stream, suppressed: Option<u64>, line: String) {
        if let Some(count) = suppressed {
            (self.print)(Printed::Suppressed(count));
        }
        (self.print)(Printed::Line(stream, line));
    }

    /// Returns what comes after the first `from` bytes of the output, as far as it is kept, for somebody who
    /// comes back for the rest.
    pub(super) fn follow(&self, from: u64) -> Piece {
        self.followed.set(true);
        if !self.open.get() {
            // The daemon is about to be told the end of it.
            return Piece { from, bytes: Vec::new() };
        }
        self.streams.borrow().tail.since(from)
    }

    /// Returns how many bytes the action printed, if somebody read them while it ran.
    pub(super) fn followed_bytes(&self) -> Option<u64> {
        self.followed.get().then(|| self.total.get())
    }

    /// Has the rest of the output read without pauses, because the run has ended.
    pub(super) fn hurry(&self) {
        self.last_bytes.set(LAST_BYTES);
        self.hurried.notify_waiters();
    }

    /// Prints the unfinished lines and what was suppressed, and returns the tail of the output.
    pub(super) fn close(&self) -> Vec<u8> {
        self.open.set(false);
        let now = self.started.elapsed();
        let Streams { stdout, stderr, limiter, tail, bytes: _ } = &mut *self.streams.borrow_mut();
        for (stream, lines) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
            let Some(line) = lines.finish() else { continue };
            match limiter.spend(now) {
                LogDecision::Suppress => {}
                LogDecision::Log => self.line(stream, None, line),
                LogDecision::LogAfter(count) => self.line(stream, Some(count), line),
            }
        }
        match limiter.take_suppressed() {
            0 => {}
            count => (self.print)(Printed::Suppressed(count)),
        }
        std::mem::take(tail).finish()
    }
}

/// Reads `pipe`, which does not block, to its end into `sink`, also after the sink was closed: a process that
/// was left behind must get no SIGPIPE.
pub(super) async fn drain(pipe: Rc<OwnedFd>, stream: Stream, sink: Rc<Sink>) {
    let mut flood = None;
    loop {
        match read_until_flood(&pipe, stream, &sink, &mut flood).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
            // The kernel has no memory to watch one more pipe.
            Err(_) => sleep(MAX_FLOOD_PAUSE).await,
        }
        let pause = flood.get_or_insert_with(Flood::begin).pause();
        let _ = timeout(pause, sink.hurried.notified()).await;
    }
}

/// Reads until the stream is to be read no more for a moment. The pipe is watched only meanwhile: otherwise
/// each write of a flood, even of one byte, would wake up the daemon.
async fn read_until_flood(
    pipe: &Rc<OwnedFd>,
    stream: Stream,
    sink: &Sink,
    flood: &mut Option<Flood>,
) -> io::Result<()> {
    let watched = sys::watch_pipe(Rc::clone(pipe))?;
    loop {
        let mut ready = watched.readable().await?;
        match ready.try_io(|pipe| read_once(pipe.get_ref(), stream, sink)) {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => {
                *flood = None;
                tokio::task::yield_now().await;
            }
            Ok(Err(error)) => return Err(error),
            // The pipe was empty after all.
            Err(_) => {}
        }
    }
}

/// Reads once, and returns whether the run floods.
fn read_once(pipe: &OwnedFd, stream: Stream, sink: &Sink) -> io::Result<bool> {
    thread_local! {
        // Shared by all runs: a thousand may wait for output at once, most print little, and to clear so many
        // bytes for each read takes longer than to read.
        static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
    }
    BUFFER.with_borrow_mut(|buffer| match nix::unistd::read(pipe, buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok(sink.take(stream, &buffer[..length])),
    })
}

/// A stream that floods. All floods share one budget.
struct Flood;

thread_local! {
    static FLOODS: Cell<u32> = const { Cell::new(0) };
}

impl Flood {
    fn begin() -> Self {
        FLOODS.set(FLOODS.get() + 1);
        Self
    }

    /// Returns how long this stream is not read.
    fn pause(&self) -> Duration {
        (FLOOD_PAUSE * FLOODS.get()).min(MAX_FLOOD_PAUSE)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        FLOODS.set(FLOODS.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::task::{LocalSet, spawn_local};

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
        assert!(!sink.take(Stream::Stdout, b"one\ntw"));
        assert!(!sink.take(Stream::Stderr, b"err"));
        assert_eq!(sink.close(), b"one\ntwerr");
        assert!(!sink.take(Stream::Stdout, b"late\n"));
        assert_eq!(*printed.borrow(), ["Stdout: one", "Stdout: tw", "Stderr: err"]);
    }

    #[test]
    fn a_follower_gets_what_is_new_and_nothing_twice() {
        let (sink, _) = sink();
        sink.take(Stream::Stdout, b"one");
        assert_eq!(sink.followed_bytes(), None);
        assert_eq!(sink.follow(0), Piece { from: 0, bytes: b"one".into() });
        sink.take(Stream::Stderr, b"two");
        assert_eq!(sink.follow(3), Piece { from: 3, bytes: b"two".into() });
        assert_eq!(sink.follow(6), Piece { from: 6, bytes: Vec::new() });
        sink.take(Stream::Stdout, b"end");
        assert_eq!(sink.close(), b"onetwoend");
        assert_eq!(sink.follow(6), Piece { from: 6, bytes: Vec::new() }, "it comes with the end of the run");
        assert_eq!(sink.followed_bytes(), Some(9));
    }

    #[test]
    fn a_flood_of_lines_is_read_slowly_and_counted() {
        let (sink, printed) = sink();
        let flood = "x\n".repeat(BURST as usize + 1000);
        assert!(sink.take(Stream::Stdout, flood.as_bytes()));
        sink.close();
        let printed = printed.borrow();
        assert_eq!(printed.len(), BURST as usize + 1);
        assert_eq!(printed.last().map(String::as_str), Some("1000 suppressed"));
    }

    #[test]
    fn a_flood_without_lines_is_read_slowly_also_after_the_run() {
        let (sink, _) = sink();
        let flood = |sink: &Sink| (0..1000).any(|_| sink.take(Stream::Stdout, &[0; CHUNK]));
        assert!(flood(&sink));
        sink.hurry();
        let free = (0..1000).take_while(|_| !sink.take(Stream::Stdout, &[0; CHUNK])).count();
        assert_eq!(free, LAST_BYTES / CHUNK, "the end of the output is read at once");
        sink.close();
        assert!(flood(&sink));
    }

    #[test]
    fn floods_share_their_budget() {
        let floods: Vec<Flood> = (0..50).map(|_| Flood::begin()).collect();
        assert_eq!(floods[0].pause(), 50 * FLOOD_PAUSE);
        drop(floods);
        assert_eq!(Flood::begin().pause(), FLOOD_PAUSE);
    }

    #[test]
    fn the_end_of_a_run_ends_the_pause_of_its_flood() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        LocalSet::new().block_on(&runtime.unwrap(), async {
            let _others: Vec<Flood> = (0..1000).map(|_| Flood::begin()).collect();
            let (sink, _) = sink();
            let sink = Rc::new(sink);
            sink.streams.borrow_mut().bytes.spend(usize::MAX, Duration::ZERO);
            let (mut writer, pipe) = tokio::net::unix::pipe::pipe().unwrap();
            let pipe = pipe.into_nonblocking_fd().unwrap();
            writer.write_all(b"begin ").await.unwrap();
            let mut drained = spawn_local(drain(Rc::new(pipe), Stream::Stdout, Rc::clone(&sink)));
            while sink.streams.borrow().tail.is_empty() {
                tokio::task::yield_now().await;
            }
            writer.write_all(b"end").await.unwrap();
            drop(writer);
            sink.hurry();
            tokio::select! {
                biased;
                ended = &mut drained => ended.unwrap(),
                () = tokio::time::sleep(MAX_FLOOD_PAUSE) => panic!("the pause was not ended"),
            }
            assert_eq!(sink.close(), b"begin end");
        });
    }
}
