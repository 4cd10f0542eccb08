//! Fuzzes what gets into the log: the output of actions, and names. One line must stay one line without
//! control characters, and must not be longer than promised.

use std::time::Duration;

use arbitrary::Unstructured;
use twitcher::action::output::{BURST, LineSplitter, MAX_LINE, RateLimiter};
use twitcher::report::line::{MAX_LINE_BYTES, lines};
use twitcher::text::printable;

/// The length of the longest escape of one byte, such as `\u{1b}`.
const LONGEST_ESCAPE: usize = "\\u{ffff}".len();

/// The length of what is added to a line that was cut.
const CUT: usize = " ... (18446744073709551615 more bytes cut)".len();

/// The first byte of `data` says into how many pieces the rest is split.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let pieces: u8 = input.arbitrary().unwrap_or(1);
    let text = input.take_rest();

    let whole = split([text]);
    let length = text.len().div_ceil(usize::from(pieces).max(1)).max(1);
    assert_eq!(split(text.chunks(length)), whole, "it is about how the bytes came");
    let ends = text.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(whole.len(), ends + usize::from(text.last().is_some_and(|last| *last != b'\n')));
    for line in &whole {
        assert!(is_printable(line), "{line:?}");
        assert!(line.len() <= MAX_LINE * LONGEST_ESCAPE + CUT);
        assert_eq!(printable(line.as_bytes()), *line, "what is printable stays as it is");
    }

    // Names of watches and messages of stores and scripts reach the log this way.
    let report = String::from_utf8_lossy(text);
    let logged = lines(&report);
    assert!(!logged.is_empty());
    for (number, line) in logged.iter().enumerate() {
        assert!(is_printable(line) && line.len() <= MAX_LINE_BYTES + CUT, "{line:?}");
        assert!(number == 0 || line.starts_with("  "), "it poses as a line of its own: {line:?}");
    }
}

fn split<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let (mut lines, mut found) = (LineSplitter::default(), Vec::new());
    // So many lines are logged at once.
    for piece in pieces.into_iter().flat_map(|piece| piece.chunks(BURST as usize)) {
        let mut limiter = RateLimiter::new(Duration::ZERO);
        lines.push(piece, &mut limiter, Duration::ZERO, |_, line| found.push(line));
    }
    found.extend(lines.finish());
    found
}

fn is_printable(line: &str) -> bool {
    !line.contains(char::is_control)
}
