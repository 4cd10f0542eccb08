//! The lines of the log, and their greatest length and number.

use anstyle::{AnsiColor, Style};
use time::OffsetDateTime;

use super::context::LogContext;
use super::json;
use super::level::Level;
use crate::model::LogFormat;
use crate::text::{TIMESTAMP_FORMAT, beginning, printable};

/// How many lines wait for a slow or missing log before lines are dropped. Usual lines take about 400 KiB.
pub const MAX_QUEUED_LINES: usize = 4096;

/// How many bytes these lines may have: ten times what usual lines take.
pub const MAX_QUEUED_BYTES: usize = 4 << 20;

/// Longer lines are cut. A line that does not fit into a datagram (about 200 KiB by default) would never
/// arrive, and would block all lines behind it. An action's longest line has 24 KiB: 4 KiB of bytes, each an
/// escape of six characters.
pub const MAX_LINE_BYTES: usize = 32 << 10;

/// One line, printable and at most [`MAX_LINE_BYTES`] long.
pub struct LogLine {
    pub level: Level,
    pub at: OffsetDateTime,
    /// In JSON the whole object.
    pub text: String,
    /// The encoded [`LogContext`](super::context::LogContext) for the journal; empty for other logs.
    pub fields: Vec<u8>,
    /// Whether the line goes to a stream without its time and level: it has them already, or it is for a
    /// newcomer only.
    pub is_bare: bool,
    /// Whether the line is on stderr already.
    pub is_copied: bool,
}

impl LogLine {
    /// Makes a line about the log itself.
    pub fn own(format: LogFormat, level: Level, text: String) -> Self {
        match format {
            LogFormat::Text => Self::new(level, text),
            LogFormat::Json => Self::json(level, &text, &LogContext::default()),
        }
    }

    /// Makes a line whose text is a JSON object. `message` is printable.
    pub fn json(level: Level, message: &str, context: &LogContext<'_>) -> Self {
        let line = Self::new(level, String::new());
        Self { text: json::encode(line.at, level, message, context), is_bare: true, ..line }
    }

    pub fn new(level: Level, text: String) -> Self {
        Self {
            level,
            at: OffsetDateTime::now_utc(),
            text,
            fields: Vec::new(),
            is_bare: false,
            is_copied: false,
        }
    }

    /// The line in a stream, with its time and level and a newline.
    pub fn to_text(&self) -> String {
        self.styled(Style::new())
    }

    /// The line on a terminal, its level in the level's colour.
    pub fn to_coloured_text(&self) -> String {
        self.styled(match self.level {
            Level::Error => AnsiColor::Red.on_default().bold(),
            Level::Warning => AnsiColor::Yellow.on_default(),
            Level::Notice => Style::new().bold(),
            Level::Info => Style::new(),
            Level::Debug => Style::new().dimmed(),
        })
    }

    fn styled(&self, style: Style) -> String {
        if self.is_bare {
            return format!("{}\n", self.text.trim_end());
        }
        let at = self.at.format(TIMESTAMP_FORMAT).unwrap_or_default();
        format!("{at} {style}{:<7}{style:#} {}\n", self.level.as_str(), self.text)
    }
}

/// Returns a message as a line of a log in JSON, without a newline.
pub fn json_line(level: Level, message: &str) -> String {
    LogLine::json(level, &whole(&lines(message)), &LogContext::default()).text
}

/// Splits a report into log lines. Indented lines, which quote a config below its error, stay lines. Any
/// other newline or control character comes from somebody's data, and is escaped, so that it cannot forge a
/// line.
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

/// Joins the lines of a report, within the limit of one line.
pub fn whole(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    cut(&mut text);
    text
}

fn cut(line: &mut String) {
    if line.len() > MAX_LINE_BYTES {
        let end = beginning(line, MAX_LINE_BYTES).len();
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
