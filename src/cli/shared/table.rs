//! Tables that fit a terminal.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::text::printable;

/// Spaces between two columns.
const GAP: usize = 2;

/// A path that is cut in its middle keeps this width, or is left out.
const MIN_PATH_WIDTH: usize = 12;

/// Words that are cut at their end keep this width, that of `exit code 255`, as long as a column can be left
/// out.
const MIN_WORDS_WIDTH: usize = 13;

/// Words that need more are cut down to this width before a path is cut: half of the lines of a terminal.
const LONG_WORDS_WIDTH: usize = 40;

/// No column is made narrower than this, because nobody could read it.
const MIN_COLUMN_WIDTH: usize = 8;

/// What happens to a column of a table that is wider than the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// It is never cut, because people copy what is in it.
    Whole,
    /// It is left out, after paths and words were cut.
    Optional,
    /// It is cut in the middle (`/a/…/leaf`), and left out last.
    Path,
    /// It is cut at the end, and keeps this width as long as a column can be left out.
    Words(usize),
}

impl Fit {
    /// The width down to which it is cut, if it may be cut.
    fn min_width(self) -> Option<usize> {
        match self {
            Self::Whole | Self::Optional => None,
            Self::Path => Some(MIN_PATH_WIDTH),
            Self::Words(min) => Some(min),
        }
    }
}

/// A column with the name in its header.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    name: &'static str,
    fit: Fit,
}

impl Column {
    /// A column that is never cut.
    pub const fn whole(name: &'static str) -> Self {
        Self { name, fit: Fit::Whole }
    }

    /// A column that a narrow terminal does not show.
    pub const fn optional(name: &'static str) -> Self {
        Self { name, fit: Fit::Optional }
    }

    /// A column of paths, which are cut in the middle.
    pub const fn path(name: &'static str) -> Self {
        Self { name, fit: Fit::Path }
    }

    /// A column of words, which are cut at the end.
    pub const fn words(name: &'static str) -> Self {
        Self { name, fit: Fit::Words(MIN_WORDS_WIDTH) }
    }

    /// A column of words that are understood only in this width.
    pub const fn long_words(name: &'static str, min: usize) -> Self {
        Self { name, fit: Fit::Words(min) }
    }
}

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
    columns: [Column; COLUMNS],
    rows: Vec<[Cell; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub fn new(columns: [Column; COLUMNS]) -> Self {
        Self { columns, rows: vec![columns.map(|column| Cell::new(column.name, HEADER))] }
    }

    pub fn row(&mut self, row: [Cell; COLUMNS]) {
        self.rows.push(row);
    }

    /// Renders the table without the columns of these names. If `width` is given, columns are cut and left
    /// out until the lines fit, as their [`Fit`] says. Lines that do not even fit then are too long.
    pub fn render(&self, width: Option<usize>, without: &[&str]) -> String {
        let mut widths = self.widths(without);
        if let Some(width) = width {
            widths = self.fit(widths, width);
        }
        let mut text = String::new();
        for row in &self.rows {
            let shown = row.iter().zip(widths).zip(self.columns);
            let shown: Vec<_> = shown
                .filter_map(|((cell, width), column)| width.map(|width| (cell, width, column.fit)))
                .collect();
            let last = shown.iter().rposition(|(cell, ..)| !cell.text.is_empty()).unwrap_or(0);
            for (index, (cell, width, fit)) in shown.into_iter().enumerate().take(last + 1) {
                let shown = match fit {
                    Fit::Whole => cell.text.clone(),
                    Fit::Path => cut_path(&cell.text, width),
                    Fit::Optional | Fit::Words(_) => cut(&cell.text, width),
                };
                let style = cell.style;
                // Writing to a string cannot fail.
                let _ = write!(text, "{style}{shown}{style:#}");
                if index < last {
                    text.extend(std::iter::repeat_n(' ', width.saturating_sub(shown.width()) + GAP));
                }
            }
            text.push('\n');
        }
        text
    }

    /// Whether the table without the columns of these names fits, if paths are cut and words at `words`.
    pub fn fits(&self, width: usize, without: &[&str], words: usize) -> bool {
        let min = |fit| match fit {
            Fit::Whole | Fit::Optional => None,
            Fit::Path => fit.min_width(),
            Fit::Words(_) => Some(words),
        };
        self.shrink(&mut self.widths(without), width, min)
    }

    fn widths(&self, without: &[&str]) -> [Option<usize>; COLUMNS] {
        let mut widths = self.columns.map(|column| (!without.contains(&column.name)).then_some(0));
        for row in &self.rows {
            for (column, cell) in widths.iter_mut().zip(row) {
                *column = column.map(|column| column.max(cell.text.width()));
            }
        }
        widths
    }

    /// Returns the widths that fit into `limit`, without those of columns that are left out. If nothing fits
    /// because of a few long cells that are never cut, these stand out of their column, so that only their
    /// own rows are too long.
    fn fit(&self, whole: [Option<usize>; COLUMNS], limit: usize) -> [Option<usize>; COLUMNS] {
        let (widths, fits) = self.try_fit(whole, limit);
        if fits {
            return widths;
        }
        let mut narrow = whole;
        for (at, width) in narrow.iter_mut().enumerate() {
            let Some(width) = width.as_mut().filter(|_| self.columns[at].fit == Fit::Whole) else { continue };
            let cells = self.rows.iter().map(|row| row[at].text.width());
            *width = cells.filter(|cell| *cell <= limit / 2).max().unwrap_or(*width);
        }
        self.try_fit(narrow, limit).0
    }

    /// Returns the widths, and whether they fit.
    fn try_fit(&self, whole: [Option<usize>; COLUMNS], limit: usize) -> ([Option<usize>; COLUMNS], bool) {
        let mut shown = whole;
        loop {
            let mut widths = shown;
            let long_words = |fit| match fit {
                Fit::Words(min) => Some(min.max(LONG_WORDS_WIDTH)),
                Fit::Whole | Fit::Optional | Fit::Path => None,
            };
            let paths = |fit: Fit| fit.min_width().filter(|_| fit == Fit::Path);
            if self.shrink(&mut widths, limit, long_words)
                || self.shrink(&mut widths, limit, paths)
                || self.shrink(&mut widths, limit, Fit::min_width)
            {
                return (widths, true);
            }
            let first = |fit| (0..COLUMNS).find(|at| shown[*at].is_some() && self.columns[*at].fit == fit);
            match first(Fit::Optional).or_else(|| first(Fit::Path)) {
                Some(left_out) => shown[left_out] = None,
                None => {
                    let min = |fit: Fit| fit.min_width().map(|_| MIN_COLUMN_WIDTH);
                    let fits = self.shrink(&mut widths, limit, min);
                    return (widths, fits);
                }
            }
        }
    }

    /// Narrows the columns that may be cut, the widest one first. Returns whether all fits.
    fn shrink(
        &self,
        widths: &mut [Option<usize>; COLUMNS],
        limit: usize,
        min: impl Fn(Fit) -> Option<usize>,
    ) -> bool {
        loop {
            let shown = widths.iter().flatten();
            let gaps = GAP * shown.clone().count().saturating_sub(1);
            if shown.sum::<usize>() + gaps <= limit {
                return true;
            }
            let shown = widths.iter_mut().zip(self.columns);
            let wide = shown.filter_map(|(width, column)| width.as_mut().zip(min(column.fit)));
            match wide.filter(|(width, min)| **width > *min).max_by_key(|(width, _)| **width) {
                Some((widest, _)) => *widest -= 1,
                None => return false,
            }
        }
    }
}

/// Returns the beginning of the text that fits into `width`, with `…` in place of the rest.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    beginning(text, width.saturating_sub(1)) + "…"
}

/// Returns the path with `…` in place of its middle: its last component stays if there is room for it, and
/// the first ones that still fit (`/services/…/leader`).
fn cut_path(path: &str, width: usize) -> String {
    if path.width() <= width {
        return path.to_owned();
    }
    let leaf = path.rfind('/').map_or(path, |slash| &path[slash..]);
    let room = width.saturating_sub(1);
    if leaf.width() > room {
        // The end of a name tells more than its beginning (`shard-17`).
        let end: String = path.chars().rev().collect();
        let end: String = beginning(&end, room).chars().rev().collect();
        return format!("…{end}");
    }
    let head = beginning(path, room - leaf.width());
    // A head of whole components, if it has one.
    let head = head.rfind('/').filter(|slash| *slash > 0).map_or(&*head, |slash| &head[..=slash]);
    format!("{head}…{leaf}")
}

/// Returns as many characters from the beginning of the text as fit into `width`.
fn beginning(text: &str, width: usize) -> String {
    let mut taken = 0;
    let fits = |c: &char| {
        taken += c.width().unwrap_or(0);
        taken <= width
    };
    text.chars().take_while(fits).collect()
}

/// Returns the width of stdout in columns, if stdout is a terminal.
pub fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0.into())
}

/// Returns a duration in a few characters: `43ms`, `1.4s`, `12s`, `5m12s`, `3h02m`, `4d07h`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0 => format!("{}ms", (seconds.max(0.0) * 1000.0) as u64),
        1..10 => format!("{seconds:.1}s"),
        10..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
        86_400.. => format!("{}d{:02}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<4> {
        let mut table = Table::new([
            Column::whole("WATCH"),
            Column::path("NODE"),
            Column::optional("STATE"),
            Column::words("NOTE"),
        ]);
        table.row(["git.twc:deploy".into(), "/git/head".into(), Cell::new("idle", GOOD), "".into()]);
        table.row(["x".into(), "/n".into(), "running".into(), "forged\nrow \u{1b}[31m".into()]);
        table
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_line_up_and_nothing_in_a_cell_can_break_a_row() {
        let shown = plain(&table().render(None, &[]));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "WATCH           NODE       STATE    NOTE",
                "git.twc:deploy  /git/head  idle",
                "x               /n         running  forged\\nrow \\u{1b}[31m",
            ]
        );
    }

    #[test]
    fn a_narrow_table_is_cut_and_then_leaves_columns_out_but_names_stay_whole() {
        let shown = |width: usize| {
            let shown = plain(&table().render(Some(width), &[]));
            let fits = shown.lines().all(|line| line.width() <= width);
            (fits, shown.lines().nth(2).unwrap_or_default().to_owned())
        };
        assert_eq!(shown(57), (true, "x               /n         running  forged\\nrow \\u{1b}[3…".into()));
        assert_eq!(shown(49), (true, "x               /n         running  forged\\nrow …".into()));
        assert_eq!(shown(48), (true, "x               /n         forged\\nrow \\u{1b}[3…".into()));
        assert_eq!(shown(39), (true, "x               forged\\nrow \\u{1b}[31m".into()));
        assert_eq!(shown(24), (true, "x               forged\\…".into()));
        let shown = plain(&table().render(Some(3), &[]));
        assert!(shown.contains("git.twc:deploy"), "{shown}");
        let shown = plain(&table().render(Some(80), &["STATE", "NOTE"]));
        assert_eq!(shown.lines().nth(1), Some("git.twc:deploy  /git/head"));
    }

    #[test]
    fn a_name_longer_than_the_terminal_spoils_only_its_own_row() {
        let mut table = table();
        let long = format!("long.twc:{}", "x".repeat(75));
        table.row([long.as_str().into(), "/n".into(), "running".into(), "a note that is read".into()]);
        let shown = plain(&table.render(Some(80), &[]));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1], "git.twc:deploy  /git/head  idle");
        assert_eq!(lines[2], "x               /n         running  forged\\nrow \\u{1b}[31m");
        assert_eq!(lines[3], format!("{long}  /n         running  a note that is read"));
    }

    #[test]
    fn a_path_is_cut_in_its_middle() {
        let cut = |width| cut_path("/services/search/eu-west/leader", width);
        assert_eq!(cut(31), "/services/search/eu-west/leader");
        assert_eq!(cut(30), "/services/search/…/leader");
        assert_eq!(cut(20), "/services/…/leader");
        assert_eq!(cut(12), "/ser…/leader");
        assert_eq!(cut(6), "…eader");
        assert_eq!(cut_path("/日本/日本/日本", 10), "/日…/日本");
    }

    #[test]
    fn wide_characters_count_as_two() {
        let mut table = Table::new([Column::whole("A"), Column::whole("B")]);
        table.row(["日本".into(), "x".into()]);
        table.row(["abcd".into(), "y".into()]);
        let shown = plain(&table.render(None, &[]));
        assert!(shown.contains("日本  x") && shown.contains("abcd  y"), "{shown}");
    }

    #[test]
    fn durations_are_short() {
        let shown = [-1.0, 0.0432, 0.9996, 1.44, 9.94, 12.7, 312.0, 10_920.0, 370_800.0].map(duration);
        assert_eq!(shown, ["0ms", "43ms", "999ms", "1.4s", "9.9s", "12s", "5m12s", "3h02m", "4d07h"]);
    }
}
