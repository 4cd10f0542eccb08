//! Payloads, as people see them.

use maud::{Markup, html};

use super::shown::Shown;
use crate::text::{self, count};

/// How much of a text is shown. The rest is behind a link.
const MAX_BYTES: usize = 128 << 10;
const MAX_LINES: usize = 2000;

/// How much of a binary payload is shown, in bytes and a line.
const MAX_HEX: usize = 256;
const HEX_LINE: usize = 16;

/// How lines end. An editor in a browser knows only one way, so the other is restored when its text is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnds {
    Lf,
    Crlf,
    /// Some in this way and some in that, or with carriage returns elsewhere.
    Mixed,
}

/// The longest text that is edited in a browser, in bytes.
const MAX_EDITED: usize = 256 << 10;

/// Returns a payload that can be edited in a browser.
pub fn as_editable(payload: &[u8]) -> Option<&str> {
    as_text(payload).filter(|text| text.len() <= MAX_EDITED)
}

/// Returns a payload as text. `None` if it is binary: no UTF-8, or with characters that are no text.
pub fn as_text(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?;
    let is_text = text.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r'));
    is_text.then_some(text)
}

impl LineEnds {
    pub fn of(text: &str) -> Self {
        let (returns, both) = (text.matches('\r').count(), text.matches("\r\n").count());
        match (returns, both, text.matches('\n').count()) {
            (0, _, _) => Self::Lf,
            (returns, both, lines) if returns == both && both == lines => Self::Crlf,
            _ => Self::Mixed,
        }
    }

    /// Returns the text of an editor, which ends its lines with CRLF, with these ends.
    pub fn restore(self, edited: &str) -> String {
        let text = edited.replace("\r\n", "\n").replace('\r', "\n");
        match self {
            Self::Crlf => text.replace('\n', "\r\n"),
            Self::Lf | Self::Mixed => text,
        }
    }

    /// What is to be known of them.
    pub fn note(self) -> Option<&'static str> {
        match self {
            Self::Lf => None,
            Self::Crlf => Some("lines end with CRLF"),
            Self::Mixed => Some("some lines end with CRLF"),
        }
    }
}

/// Returns `3 lines, 120 bytes`, and whatever is odd about it.
pub fn facts(payload: &[u8]) -> String {
    let size = count(payload.len() as u64, "byte");
    match as_text(payload) {
        None => format!("binary, {size}"),
        Some("") => "empty".to_owned(),
        Some(text) => {
            let lines = count(text.lines().count() as u64, "line");
            let note = LineEnds::of(text).note().map(|note| format!(", {note}")).unwrap_or_default();
            let open = if text.ends_with('\n') { "" } else { ", no newline at the end" };
            format!("{lines}, {size}{note}{open}")
        }
    }
}

/// Shows a payload, and where the whole of it is if that is too much.
pub fn view(payload: &[u8], whole: &str) -> Markup {
    let Some(text) = as_text(payload) else { return binary(payload, whole) };
    let (part, is_cut) = beginning(text);
    html! {
        @if !text.is_empty() {
            pre.payload tabindex="0" aria-label="Payload" {
                @for line in part.lines() { span.line { (Shown(line)) } "\n" }
            }
        }
        @if is_cut {
            p.cut { "This is only its beginning. " a href=(whole) { "See the whole payload" } }
        }
    }
}

fn beginning(text: &str) -> (&str, bool) {
    let mut end = text::beginning(text, MAX_BYTES).len();
    if let Some((at, _)) = text[..end].match_indices('\n').nth(MAX_LINES - 1) {
        end = at + 1;
    }
    (&text[..end], end < text.len())
}

fn binary(payload: &[u8], whole: &str) -> Markup {
    let lines = payload[..payload.len().min(MAX_HEX)].chunks(HEX_LINE).enumerate();
    html! {
        pre.payload.hex tabindex="0" aria-label="The first bytes of the payload" {
            @for (index, bytes) in lines { (hex_line(index * HEX_LINE, bytes)) "\n" }
        }
        p.cut {
            "This is no text: it is shown in hexadecimal"
            @if payload.len() > MAX_HEX { ", its first " (MAX_HEX) " bytes" }
            ". " a href=(whole) { "Get the whole payload" }
        }
    }
}

fn hex_line(offset: usize, bytes: &[u8]) -> String {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = bytes.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' });
    format!("{offset:04x}  {:<47}  {}", hex.join(" "), text.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shown_as_text_and_anything_else_as_bytes() {
        let shown = view(b"<script>alert(1)</script>\n", "/a").into_string();
        assert!(shown.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{shown}");
        assert!(!shown.contains("beginning"));
        for binary in [&b"\xff<b>"[..], b"a\0b", b"\x1b[31m"] {
            let shown = view(binary, "/\"a").into_string();
            assert!(shown.contains("This is no text") && shown.contains("/&quot;a"), "{shown}");
            assert!(!shown.contains("<b>"));
        }
        assert_eq!(hex_line(16, b"\xffAb\0"), format!("0010  {:<47}  .Ab.", "ff 41 62 00"));
        assert_eq!(facts(b"\xff"), "binary, 1 byte");
        assert_eq!(facts(b"a\r\nb"), "2 lines, 4 bytes, lines end with CRLF, no newline at the end");
    }

    #[test]
    fn a_large_payload_is_cut() {
        let (lines, long) = ("a\n".repeat(MAX_LINES + 1), "é".repeat(MAX_BYTES));
        for text in [&lines, &long] {
            let shown = view(text.as_bytes(), "/whole").into_string();
            assert!(shown.contains("<a href=\"/whole\">") && shown.len() < 300_000, "{}", shown.len());
        }
        let lines = "a\n".repeat(MAX_LINES);
        assert!(!view(lines.as_bytes(), "/whole").into_string().contains("/whole"));
    }

    #[test]
    fn lines_end_as_they_did_before() {
        assert_eq!(LineEnds::of("a\nb"), LineEnds::Lf);
        assert_eq!(LineEnds::of("a\r\nb\r\n"), LineEnds::Crlf);
        for mixed in ["a\r\nb\n", "a\rb\n", "a\r"] {
            assert_eq!(LineEnds::of(mixed), LineEnds::Mixed, "{mixed:?}");
        }
        assert_eq!(LineEnds::Lf.restore("a\r\nb\r\n"), "a\nb\n");
        assert_eq!(LineEnds::Crlf.restore("a\r\nb"), "a\r\nb");
    }
}
