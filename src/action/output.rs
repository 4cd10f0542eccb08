//! What an action prints, as log lines: cut, escaped and limited, so that no action can flood, forge or
//! garble the log.

use std::fmt::Write;
use std::time::Duration;

use crate::text::printable;

/// Longer lines are cut; in bytes. RFC 5424 asks every syslog receiver to take 2 KiB and most take 8; a line
/// also carries its prefix.
pub const MAX_LINE: usize = 4096;

/// How many lines a run may log at once.
pub const BURST: u32 = 1000;

/// How many lines a second a run may log in the long run.
pub const RATE: u32 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A piece of an action's output, ready for the log.
#[derive(Debug)]
pub enum Printed {
    Line(Stream, String),
    /// This many lines of a flood were not logged.
    Suppressed(u64),
}

/// Splits a byte stream into printable lines.
#[derive(Debug, Default)]
pub struct LineSplitter {
    partial: Vec<u8>,
    /// Bytes of the current line beyond [`MAX_LINE`].
    cut: usize,
}

impl LineSplitter {
    /// Takes the next bytes. Asks `limiter` about each line that they complete, and renders only those that
    /// may be logged, for `emit`. `now` is the time of all of them: once one is suppressed, the rest of them
    /// are only counted.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        limiter: &mut RateLimiter,
        now: Duration,
        mut emit: impl FnMut(Option<u64>, String),
    ) {
        while let Some(end) = position_of_newline(bytes) {
            let before = match limiter.spend(now) {
                LogDecision::Log => None,
                LogDecision::LogAfter(count) => Some(count),
                LogDecision::Suppress => {
                    let last = bytes.iter().rposition(|&byte| byte == b'\n').unwrap_or(end);
                    limiter.suppress(bytes[end + 1..=last].iter().filter(|&&byte| byte == b'\n').count());
                    self.clear();
                    bytes = &bytes[last + 1..];
                    break;
                }
            };
            self.extend(&bytes[..end]);
            emit(before, self.take());
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    /// Returns the last line, if the stream did not end with a newline.
    pub fn finish(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn extend(&mut self, bytes: &[u8]) {
        let fitting = bytes.len().min(MAX_LINE - self.partial.len());
        self.partial.extend_from_slice(&bytes[..fitting]);
        self.cut += bytes.len() - fitting;
    }

    fn take(&mut self) -> String {
        let mut line = printable(&self.partial);
        if self.cut > 0 {
            let _ = write!(line, " ... ({} more bytes cut)", self.cut);
        }
        self.clear();
        line
    }

    fn clear(&mut self) {
        self.partial.clear();
        self.cut = 0;
    }
}

fn position_of_newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n')
}

/// How many bytes of a run's output are kept after its end.
pub const MAX_TAIL_BYTES: usize = 64 * 1024;

/// The last bytes of an action's output, both streams together.
#[derive(Debug, Default)]
pub struct Tail {
    bytes: Vec<u8>,
    /// How many bytes there were, with those that are not kept.
    total: u64,
}

/// A part of an action's output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// How many bytes came before it.
    pub from: u64,
    pub bytes: Vec<u8>,
}

impl Piece {
    /// Returns what comes after the first `from` bytes of the output, as far as this piece has it.
    pub fn since(&self, from: u64) -> Self {
        part(&self.bytes, self.from + self.bytes.len() as u64, from)
    }
}

/// Returns what comes after the first `from` of `total` bytes, of which `last` are the last ones.
fn part(last: &[u8], total: u64, from: u64) -> Piece {
    let from = from.clamp(total - last.len() as u64, total);
    let bytes = last[last.len() - (total - from) as usize..].to_vec();
    Piece { from, bytes }
}

impl Tail {
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        // Not at every piece: so each byte is moved at most once more.
        if self.bytes.len() > 2 * MAX_TAIL_BYTES {
            self.cut();
        }
    }

    /// Returns at most [`MAX_TAIL_BYTES`] bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.cut();
        self.bytes
    }

    /// Returns what comes after the first `from` bytes, as far as it is kept.
    pub fn since(&self, from: u64) -> Piece {
        part(&self.bytes, self.total, from)
    }

    /// Returns how many bytes there were.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn cut(&mut self) {
        let excess = self.bytes.len().saturating_sub(MAX_TAIL_BYTES);
        self.bytes.drain(..excess);
    }
}

/// A token bucket over a run's lines, both streams together. Time is the run's age.
#[derive(Debug)]
pub struct RateLimiter {
    /// How many lines may be logged now; fractions come from short refills.
    tokens: f64,
    refilled: Duration,
    suppressed: u64,
}

/// Whether a line may be logged.
#[derive(Debug, PartialEq, Eq)]
pub enum LogDecision {
    Log,
    /// The line may be logged, and this many before it were suppressed.
    LogAfter(u64),
    Suppress,
}

impl RateLimiter {
    pub fn new(now: Duration) -> Self {
        Self { tokens: f64::from(BURST), refilled: now, suppressed: 0 }
    }

    /// Decides about one line.
    pub fn spend(&mut self, now: Duration) -> LogDecision {
        let refill = now.saturating_sub(self.refilled).as_secs_f64() * f64::from(RATE);
        self.tokens = (self.tokens + refill).min(f64::from(BURST));
        self.refilled = now;
        // Once suppressing, stay silent until a tenth of the burst is back: a flood is said in few lines.
        let needed = if self.suppressed > 0 { f64::from(BURST / 10) } else { 1.0 };
        if self.tokens < needed {
            self.suppressed += 1;
            return LogDecision::Suppress;
        }
        self.tokens -= 1.0;
        match self.take_suppressed() {
            0 => LogDecision::Log,
            count => LogDecision::LogAfter(count),
        }
    }

    /// Counts further lines that are suppressed, after [`Self::spend`] suppressed one of the same time.
    fn suppress(&mut self, count: usize) {
        self.suppressed += count as u64;
    }

    /// Returns how many lines were suppressed since the last call that returned any.
    pub fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }

    /// Whether lines are being suppressed.
    pub fn is_suppressing(&self) -> bool {
        self.suppressed > 0
    }
}

/// How many bytes a run may print at once before it is read slowly.
const BYTE_BURST: u32 = 4 << 20;

/// How many bytes a second a run may print in the long run without being read slowly.
const BYTE_RATE: u32 = 1 << 20;

/// What a read costs at least, in bytes: so a run that prints a byte at a time is read less often, too.
const MIN_READ: usize = 4096;

/// A token bucket over the bytes that are read of a run, both streams together. Time is the run's age.
#[derive(Debug)]
pub struct ByteBudget {
    /// Negative if the run has printed too much.
    tokens: f64,
    refilled: Duration,
}

impl ByteBudget {
    pub fn new(now: Duration) -> Self {
        Self { tokens: f64::from(BYTE_BURST), refilled: now }
    }

    /// Counts one read. Returns true if the run has printed more than its budget.
    pub fn spend(&mut self, bytes: usize, now: Duration) -> bool {
        let refill = now.saturating_sub(self.refilled).as_secs_f64() * f64::from(BYTE_RATE);
        let cost = bytes.max(MIN_READ) as f64;
        // A flood is over a second after it ebbs.
        let floor = -f64::from(BYTE_RATE);
        self.tokens = ((self.tokens + refill).min(f64::from(BYTE_BURST)) - cost).max(floor);
        self.refilled = now;
        self.tokens < 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut limiter) = (LineSplitter::default(), RateLimiter::new(Duration::ZERO));
        let mut out = Vec::new();
        for chunk in chunks {
            lines.push(chunk, &mut limiter, Duration::ZERO, |_, line| out.push(line));
        }
        out.extend(lines.finish());
        out
    }

    #[test]
    fn lines_are_split_wherever_the_chunks_end() {
        assert_eq!(lines_of(&[b"a\nb", b"c\n", b"", b"\nd"]), ["a", "bc", "", "d"]);
    }

    #[test]
    fn control_characters_and_broken_utf8_cannot_reach_the_log() {
        assert_eq!(lines_of(&[b"\x1b[31mred\r\0\xff\n"]), ["\\u{1b}[31mred\\r\\u{0}\u{fffd}"]);
    }

    #[test]
    fn the_tail_is_the_last_of_the_output() {
        let mut tail = Tail::default();
        tail.push(b"lost");
        for _ in 0..4 {
            tail.push(&[b'x'; MAX_TAIL_BYTES]);
        }
        tail.push(b"end");
        let kept = tail.finish();
        assert_eq!(kept.len(), MAX_TAIL_BYTES);
        assert!(kept.ends_with(b"xend"));
        assert_eq!(Tail::default().finish(), b"");
    }

    #[test]
    fn a_part_of_the_output_begins_where_the_last_one_ended_or_where_it_is_kept() {
        let mut tail = Tail::default();
        assert_eq!(tail.since(0), Piece::default());
        tail.push(b"abc");
        assert_eq!(tail.since(1), Piece { from: 1, bytes: b"bc".into() });
        assert_eq!(tail.since(9), Piece { from: 3, bytes: Vec::new() });
        tail.push(&[b'x'; 2 * MAX_TAIL_BYTES]);
        let kept = tail.since(1);
        assert_eq!((kept.from, kept.bytes.len()), (MAX_TAIL_BYTES as u64 + 3, MAX_TAIL_BYTES));
        assert_eq!(kept.since(kept.from + 7).bytes.len(), MAX_TAIL_BYTES - 7);
    }

    #[test]
    fn a_long_line_is_cut_and_says_by_how_much() {
        let lines = lines_of(&[&[b'x'; 3000], &[b'x'; 3000], b"\nshort\n"]);
        assert_eq!(lines[0], format!("{} ... (1904 more bytes cut)", "x".repeat(MAX_LINE)));
        assert_eq!(lines[1], "short");
    }

    #[test]
    fn lines_that_are_suppressed_are_counted_and_not_rendered() {
        let (mut lines, mut limiter) = (LineSplitter::default(), RateLimiter::new(Duration::ZERO));
        let mut rendered = Vec::new();
        let mut push = |bytes: &[u8], limiter: &mut RateLimiter, seconds| {
            lines.push(bytes, limiter, Duration::from_secs(seconds), |before, line| {
                rendered.push((before, line))
            });
        };
        push("y\n".repeat(BURST as usize + 5000).as_bytes(), &mut limiter, 0);
        push(b"part of a line", &mut limiter, 0);
        push(b" that is suppressed\nand then ", &mut limiter, 0);
        push(b"one that is not\n", &mut limiter, 1);
        assert_eq!(rendered.len(), BURST as usize + 1);
        assert_eq!(rendered.pop(), Some((Some(5001), "and then one that is not".to_owned())));
    }

    #[test]
    fn a_run_is_over_its_budget_by_many_bytes_or_by_many_reads() {
        for (size, reads) in [(1 << 16, BYTE_BURST >> 16), (1, BYTE_BURST >> 12)] {
            let mut budget = ByteBudget::new(Duration::ZERO);
            assert!((0..reads).all(|_| !budget.spend(size, Duration::ZERO)), "{size}");
            assert!((0..1000).all(|_| budget.spend(size, Duration::ZERO)), "{size}");
            assert!(!budget.spend(size, Duration::from_secs(2)), "{size}: it has ebbed");
        }
    }

    #[test]
    fn a_flood_is_suppressed_counted_and_said_once_it_ebbs() {
        let mut limiter = RateLimiter::new(Duration::ZERO);
        let now = Duration::ZERO;
        assert!((0..BURST).all(|_| limiter.spend(now) == LogDecision::Log));
        assert!((0..5000).all(|_| limiter.spend(now) == LogDecision::Suppress));
        assert!(limiter.is_suppressing());
        assert_eq!(limiter.spend(Duration::from_secs(1)), LogDecision::LogAfter(5000));
        assert_eq!(limiter.spend(Duration::from_secs(1)), LogDecision::Log);
        assert!(!limiter.is_suppressing());
    }
}
