//! Lines on their way to the log.

use time::OffsetDateTime;

use super::level::Level;
use crate::text::printable;

/// How many lines wait for a slow or missing log before lines are dropped and counted: some 400 KiB of usual
/// lines.
pub const MAX_QUEUED_LINES: usize = 4096;

/// Longer lines are cut. A line that does not fit into a datagram (some 200 KiB by default) would never
/// arrive, and would hold up all lines behind it. An action's longest line has 24 KiB: 4 KiB of bytes that
/// each become an escape of six.
pub const MAX_LINE_BYTES: usize = 32 << 10;

/// One line, printable and at most [`MAX_LINE_BYTES`] long.
pub struct LogLine {
    pub level: Level,
    pub at: OffsetDateTime,
    pub text: String,
    /// Fields for the journal, which say what the line is about; empty for other logs.
    pub fields: Vec<u8>,
}

impl LogLine {
    pub fn new(level: Level, text: String) -> Self {
        Self { level, at: OffsetDateTime::now_utc(), text, fields: Vec::new() }
    }
}

/// The log lines of a report.
///
/// An error in a config is followed by lines that quote the config, and these are indented. Any other
/// newline, and any other control character, comes from somebody's data; it is escaped, so that it cannot
/// forge a line.
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

#[cfg(test)]
mod tests {
    use super::*;

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
