//! Makes text safe for a log and a terminal.

/// Returns `bytes` as text, with U+FFFD for invalid UTF-8, and with control characters and invisible
/// characters escaped like in Rust.
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::with_capacity(text.len());
    let mut before = '\0';
    for c in text.chars() {
        if is_hidden(before, c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        before = c;
    }
    line
}

/// Whether `c`, which follows `before`, is a control character, or one that does not show.
pub fn is_hidden(before: char, c: char) -> bool {
    c.is_control() || is_invisible(c) && !is_emoji_style(before, c)
}

/// Whether a terminal or editor shows nothing for `c`, or shows the characters beside it in another order.
/// Two texts that differ only in such characters look the same.
///
/// These are the characters of Unicode's property `Default_Ignorable_Code_Point`, the separators of lines and
/// paragraphs, and the annotation controls.
pub fn is_invisible(c: char) -> bool {
    // Most text needs only this comparison.
    c >= '\u{ad}'
        && matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            // Zero width, and the marks of direction.
            | '\u{200b}'..='\u{200f}'
            // The separators of lines and paragraphs, and embeddings and overrides of direction.
            | '\u{2028}'..='\u{202e}'
            // The word joiner, invisible operators, and isolates of direction.
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            // Variation selectors.
            | '\u{fe00}'..='\u{fe0f}'
            // The byte order mark.
            | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            // Tags, and more variation selectors.
            | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Whether `c` only selects the style of the symbol before it, as in many an emoji.
pub(super) fn is_emoji_style(before: char, c: char) -> bool {
    matches!(c, '\u{fe0e}' | '\u{fe0f}') && before >= '\u{2000}' && !is_invisible(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_does_not_show_is_escaped() {
        for (text, expected) in [
            ("plain ä 漢 é", "plain ä 漢 é"),
            ("\u{1b}[31m\r\n\t\0", "\\u{1b}[31m\\r\\n\\t\\u{0}"),
            // A control character of the second set starts a sequence, too.
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("a\u{202e}b\u{202a}\u{2066}\u{2069}", "a\\u{202e}b\\u{202a}\\u{2066}\\u{2069}"),
            ("\u{200b}\u{200d}\u{200f}\u{61c}", "\\u{200b}\\u{200d}\\u{200f}\\u{61c}"),
            ("\u{feff}a\u{ad}\u{2060}", "\\u{feff}a\\u{ad}\\u{2060}"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
            ("\u{e0041}\u{e0100}\u{3164}", "\\u{e0041}\\u{e0100}\\u{3164}"),
            ("\u{26a0}\u{fe0f} ok, a\u{fe0f}", "\u{26a0}\u{fe0f} ok, a\\u{fe0f}"),
        ] {
            assert_eq!(printable(text.as_bytes()), expected);
        }
        assert_eq!(printable(b"\xff"), "\u{fffd}");
    }
}
