//! What may be in the output of actions, and in names that are logged: one line stays one line, nothing in it is a control
//! character, and none is longer than promised.

use arbitrary::Unstructured;
use twitcher::action::output::{LineSplitter, MAX_LINE};
use twitcher::report::log::{MAX_LINE_BYTES, lines};
use twitcher::text::printable;

/// The longest that a byte gets by being escaped: `\u{1b}`.
const LONGEST_ESCAPE: usize = "\\u{ffff}".len();

/// What is added to a line that was cut.
const CUT: usize = " ... (18446744073709551615 more bytes cut)".len();

/// The first bytes say how the rest comes in pieces.
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

    // As the names of watches and the words of stores and scripts get there.
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
    for piece in pieces {
        lines.push(piece, |line| found.push(line));
    }
    found.extend(lines.finish());
    found
}

fn is_printable(line: &str) -> bool {
    !line.contains(char::is_control)
}
