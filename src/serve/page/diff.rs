//! What has changed from one payload to another: side by side, or below each other where there is less room.

use std::time::{Duration, Instant};

use maud::{Markup, html};
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

use super::payload::{LineEnds, as_text, facts};
use super::shown::Shown;
use super::words::{Part, compare};
use crate::text::count;

/// So many equal lines are shown before and after a change.
const CONTEXT: usize = 3;

/// So many lines are shown on one side. Whoever changed more sees both versions as a whole.
const MAX_LINES: usize = 2000;

/// After so long, a comparison gets coarse.
const TIME: Duration = Duration::from_millis(300);

/// What is shown of two payloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diff {
    Equal,
    /// At least one of them is no text.
    Binary(String),
    Texts(Vec<Block>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Equal lines that are left out.
    Skipped(usize),
    /// Equal lines; the first is the one with these numbers.
    Equal { old: usize, new: usize, lines: Vec<String> },
    /// Lines that only one side has, or that have other words; the first are the ones with these numbers.
    Changed { old: usize, new: usize, old_lines: Vec<Vec<Part>>, new_lines: Vec<Vec<Part>> },
    /// There is more than is shown.
    Cut,
}

impl Diff {
    pub fn new(old: &[u8], new: &[u8]) -> Self {
        if old == new {
            return Self::Equal;
        }
        let (Some(old), Some(new)) = (as_text(old), as_text(new)) else {
            return Self::Binary(format!("Before: {}. After: {}.", facts(old), facts(new)));
        };
        // How lines end is shown only where it is a difference.
        if LineEnds::of(old) == LineEnds::Crlf && LineEnds::of(new) == LineEnds::Crlf {
            return Self::Texts(blocks(&old.replace("\r\n", "\n"), &new.replace("\r\n", "\n")));
        }
        Self::Texts(blocks(old, new))
    }

    pub fn view(&self) -> Markup {
        match self {
            Self::Equal => html! { p.cut { "Both are the same, byte for byte." } },
            Self::Binary(sizes) => html! { p.cut { "They differ. At least one is no text. " (sizes) } },
            Self::Texts(blocks) => html! {
                div.diff { @for block in blocks { (block.view()) } }
            },
        }
    }
}

impl Block {
    fn view(&self) -> Markup {
        match self {
            Self::Skipped(lines) => html! { p.skipped { (count(*lines as u64, "equal line")) } },
            Self::Cut => html! { p.skipped { "There is more than is shown here. Look at both versions." } },
            Self::Equal { old, new, lines } => html! {
                div.block {
                    @for (number, line) in (*old..).zip(lines) {
                        div.side.old { (number_of(number)) code { (Shown(line)) } }
                    }
                    // The equal lines of the other side are nothing new to those who hear the page.
                    @for (number, line) in (*new..).zip(lines) {
                        div.side.new.again aria-hidden="true" { (number_of(number)) code { (Shown(line)) } }
                    }
                }
            },
            Self::Changed { old, new, old_lines, new_lines } => html! {
                div.block {
                    @for (number, line) in (*old..).zip(old_lines) {
                        div.side.old.changed {
                            (number_of(number)) span.sign { span.unseen { "removed: " } "−" }
                            code { del { (parts(line)) } }
                        }
                    }
                    @for (number, line) in (*new..).zip(new_lines) {
                        div.side.new.changed {
                            (number_of(number)) span.sign { span.unseen { "added: " } "+" }
                            code { ins { (parts(line)) } }
                        }
                    }
                }
            },
        }
    }
}

fn number_of(number: usize) -> Markup {
    html! { span.number aria-hidden="true" data-number=(number) {} }
}

fn parts(line: &[Part]) -> Markup {
    html! {
        @for (differs, text) in line {
            @if *differs { mark { (Shown(text)) } } @else { (Shown(text)) }
        }
    }
}

fn blocks(old: &str, new: &str) -> Vec<Block> {
    let deadline = Instant::now() + TIME;
    let (old, new) = (lines(old), lines(new));
    let operations = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline));
    let mut blocks = Vec::new();
    let mut shown = 0;
    let count = operations.len();
    for (index, operation) in operations.into_iter().enumerate() {
        if shown >= MAX_LINES {
            blocks.push(Block::Cut);
            break;
        }
        let (olds, news) = (operation.old_range(), operation.new_range());
        if let DiffOp::Equal { old_index, new_index, len } = operation {
            let head = if index == 0 { 0 } else { CONTEXT };
            let tail = if index + 1 == count { 0 } else { CONTEXT };
            let equal = |from: usize, to: usize| {
                let lines = old[old_index + from..old_index + to].iter().map(|line| without_end(line));
                Block::Equal { old: old_index + from + 1, new: new_index + from + 1, lines: lines.collect() }
            };
            // One line in place of a note that one line is left out.
            if len <= head + tail + 1 {
                blocks.push(equal(0, len));
            } else {
                blocks.extend((head > 0).then(|| equal(0, head)));
                blocks.push(Block::Skipped(len - head - tail));
                blocks.extend((tail > 0).then(|| equal(len - tail, len)));
            }
            shown += len.min(head + tail + 1);
        } else {
            let (from_old, from_new) = (olds.start + 1, news.start + 1);
            let most = MAX_LINES - shown;
            let is_cut = olds.len().max(news.len()) > most;
            let (olds, news) = (&old[olds], &new[news]);
            let (olds, news) = (&olds[..olds.len().min(most)], &news[..news.len().min(most)]);
            shown += olds.len().max(news.len());
            let (old_texts, new_texts) = (ends_said(olds), ends_said(news));
            let texts = |lines: &'_ [String]| -> Vec<Vec<Part>> {
                lines.iter().map(|line| vec![(false, line.clone())]).collect()
            };
            let (old_lines, new_lines) = if olds.is_empty() || news.is_empty() {
                (texts(&old_texts), texts(&new_texts))
            } else {
                let old: Vec<&str> = old_texts.iter().map(String::as_str).collect();
                let new: Vec<&str> = new_texts.iter().map(String::as_str).collect();
                compare(&old, &new, deadline)
            };
            blocks.push(Block::Changed { old: from_old, new: from_new, old_lines, new_lines });
            if is_cut {
                blocks.push(Block::Cut);
                break;
            }
        }
    }
    blocks
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn without_end(line: &str) -> String {
    line.strip_suffix('\n').unwrap_or(line).to_owned()
}

/// Returns lines without their ends. A last line that has none says so.
fn ends_said(lines: &[&str]) -> Vec<String> {
    let said = |line: &&str| match line.strip_suffix('\n') {
        Some(line) => line.to_owned(),
        None => format!("{line} (no newline at the end)"),
    };
    lines.iter().map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(old: &str, new: &str) -> Vec<Block> {
        match Diff::new(old.as_bytes(), new.as_bytes()) {
            Diff::Texts(blocks) => blocks,
            other => panic!("{other:?}"),
        }
    }

    fn numbered(lines: std::ops::RangeInclusive<usize>) -> String {
        lines.map(|line| format!("line {line}\n")).collect()
    }

    #[test]
    fn equal_lines_far_from_a_change_are_left_out() {
        let old = numbered(1..=20);
        let new = old.replace("line 10\n", "line ten\n");
        let equal = |first: usize| Block::Equal {
            old: first,
            new: first,
            lines: (first..first + 3).map(|line| format!("line {line}")).collect(),
        };
        let changed = Block::Changed {
            old: 10,
            new: 10,
            old_lines: vec![vec![(false, "line ".to_owned()), (true, "10".to_owned())]],
            new_lines: vec![vec![(false, "line ".to_owned()), (true, "ten".to_owned())]],
        };
        assert_eq!(diff(&old, &new), [Block::Skipped(6), equal(7), changed, equal(11), Block::Skipped(7)]);
    }

    #[test]
    fn whatever_differs_can_be_seen() {
        assert_eq!(Diff::new(b"a", b"a"), Diff::Equal);
        let shown = |old: &str, new: &str| Diff::new(old.as_bytes(), new.as_bytes()).view().into_string();
        assert!(shown("a\n", "a").contains("no newline at the end"));
        assert!(shown("a\r\n", "a\n").contains("<span class=\"hidden\">\\r</span>"));
        assert!(!shown("a\r\nb\r\n", "a\r\nc\r\n").contains("class=\"hidden\""));
        assert!(shown("a\u{200b}b\n", "ab\n").contains("\\u{200b}"));
        assert!(shown("", "a\n").contains("<ins>a</ins>"));
        assert!(Diff::new(b"\xff", b"a").view().into_string().contains("binary, 1 byte"));
    }

    #[test]
    fn markup_in_both_sides_is_text() {
        let shown = Diff::new(b"<b>x</b>\n<i>\n", b"<b>y</b>\n<i>\n").view().into_string();
        assert!(shown.contains("&lt;b&gt;") && shown.contains("&lt;i&gt;"), "{shown}");
        assert!(!shown.contains("<b>") && !shown.contains("<i>"), "{shown}");
    }

    #[test]
    fn a_large_difference_is_cut_and_takes_no_long_time() {
        let (old, new) = (numbered(1..=30_000), numbered(30_001..=60_000));
        let began = Instant::now();
        let blocks = diff(&old, &new);
        assert_eq!(blocks.last(), Some(&Block::Cut));
        let Block::Changed { old_lines, new_lines, .. } = &blocks[0] else { panic!("nothing has changed") };
        assert_eq!((old_lines.len(), new_lines.len()), (MAX_LINES, MAX_LINES));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}
