//! Tables that fit a terminal.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::text::printable;

/// Spaces between two columns.
const GAP: usize = 2;

/// No column is made narrower than this, because nobody could read it.
const MIN_COLUMN_WIDTH: usize = 8;

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const BUSY: Style = AnsiColor::Cyan.on_default();
pub const BAD: Style = AnsiColor::Red.on_default();
pub const ODD: Style = AnsiColor::Yellow.on_default();
pub const PLAIN: Style = Style::new();
const HEADER: Style = Style::new().bold();

/// One line of text, with its control characters escaped, and its style.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub fn new(text: impl AsRef<str>, style: Style) -> Self {
        Self { text: printable(text.as_ref().as_bytes()), style }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, PLAIN)
    }
}

/// Rows below a header. Styles are escape codes, which [`print`](super::stdout::print) removes if they are
/// not wanted.
pub struct Table<const COLUMNS: usize> {
    rows: Vec<[Cell; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub fn new(header: [&str; COLUMNS]) -> Self {
        Self { rows: vec![header.map(|name| Cell::new(name, HEADER))] }
    }

    pub fn row(&mut self, row: [Cell; COLUMNS]) {
        self.rows.push(row);
    }

    /// Renders the table. If `width` is given, the widest columns are cut until the lines fit.
    pub fn render(&self, width: Option<usize>) -> String {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (column, cell) in widths.iter_mut().zip(row) {
                *column = (*column).max(cell.text.width());
            }
        }
        if let Some(width) = width {
            fit(&mut widths, width);
        }
        let mut text = String::new();
        for row in &self.rows {
            let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
            for (index, (cell, width)) in row.iter().zip(widths).enumerate().take(last + 1) {
                let shown = cut(&cell.text, width);
                let style = cell.style;
                // Writing to a string cannot fail.
                let _ = write!(text, "{style}{shown}{style:#}");
                if index < last {
                    text.extend(std::iter::repeat_n(' ', width - shown.width() + GAP));
                }
            }
            text.push('\n');
        }
        text
    }
}

fn fit(widths: &mut [usize], limit: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > limit {
        match widths.iter_mut().max() {
            Some(widest) if *widest > MIN_COLUMN_WIDTH => *widest -= 1,
            Some(_) | None => return,
        }
    }
}

/// Returns the beginning of the text that fits into `width`, with `…` in place of the rest.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut taken = 0;
    let fits = |c: &char| {
        taken += c.width().unwrap_or(0);
        taken < width
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// Returns the width of stdout in columns, if stdout is a terminal.
pub fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0.into())
}

/// Returns a duration in a few characters: `0.4s`, `12s`, `5m12s`, `3h02m`, `4d07h`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..10 => format!("{seconds:.1}s"),
        10..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
        86_400.. => format!("{}d{:02}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<3> {
        let mut table = Table::new(["WATCH", "STATE", "NOTE"]);
        table.row(["git.twc:deploy".into(), Cell::new("idle", GOOD), "".into()]);
        table.row(["x".into(), "running".into(), "forged\nrow \u{1b}[31m".into()]);
        table
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_line_up_and_nothing_in_a_cell_can_break_a_row() {
        let shown = plain(&table().render(None));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "WATCH           STATE    NOTE",
                "git.twc:deploy  idle",
                "x               running  forged\\nrow \\u{1b}[31m",
            ]
        );
    }

    #[test]
    fn a_table_is_no_wider_than_the_terminal_as_long_as_it_can_be_read() {
        let shown = plain(&table().render(Some(40)));
        assert!(shown.lines().all(|line| line.width() <= 40), "{shown}");
        assert!(shown.contains('…'), "{shown}");
        let shown = plain(&table().render(Some(3)));
        assert!(shown.contains("running") && shown.contains("git.twc…"), "{shown}");
    }

    #[test]
    fn wide_characters_count_as_two() {
        let mut table = Table::new(["A", "B"]);
        table.row(["日本".into(), "x".into()]);
        table.row(["abcd".into(), "y".into()]);
        let shown = plain(&table.render(None));
        assert!(shown.contains("日本  x") && shown.contains("abcd  y"), "{shown}");
    }

    #[test]
    fn durations_are_short() {
        let shown = [0.04, 9.96, 12.7, 312.0, 10_920.0, 370_800.0].map(duration);
        assert_eq!(shown, ["0.0s", "10.0s", "12s", "5m12s", "3h02m", "4d07h"]);
    }
}
