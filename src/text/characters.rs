//! Names the characters that people do not see, or take for others.

use super::printable::{is_emoji_style, is_invisible};

/// Returns the error for a character that a script or a settings file cannot have where it stands.
pub fn unexpected(c: char) -> String {
    let remedy = match c {
        '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{2018}'..='\u{201b}' | '\u{2032}'..='\u{2033}' => {
            "write a plain \" instead"
        }
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "write a plain - instead",
        _ if is_odd_space(c) => "write a plain space instead",
        '\r' => "end the line with a newline",
        _ if c.is_control() || is_invisible(c) => "remove it (it does not show)",
        '\u{ff01}'..='\u{ff5e}' => "write it in ASCII instead",
        _ if c.is_alphanumeric() => "names have only the letters a to z, digits and _; quote a text",
        _ => "remove it, or quote the text that it is in",
    };
    format!("{} cannot stand here; {remedy}", named(c))
}

/// Returns a warning, which starts with `LINE:COLUMN`, if `text` has characters that do not show: its strings
/// and comments may not be what they look like. Comments begin with `comment`.
pub fn hidden_characters(text: &str, comment: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let hidden = |(line, code)| hidden(code, comment).map(move |found| (line, found));
    let mut found = text.lines().enumerate().flat_map(hidden);
    let (line, (column, c)) = found.next()?;
    let more = match found.count() {
        0 => String::new(),
        more => format!(" (and {more} more in this file)"),
    };
    let (line, column, what) = (line + 1, column + 1, described(c));
    let escape = match u32::from(c) {
        number @ ..=0xffff => format!("\\u{number:04X}"),
        number => format!("\\U{number:08X}"),
    };
    Some(format!("{line}:{column}: {what}{more}; remove it, or write it as {escape} in a string"))
}

/// Returns what is odd about `name`, if it has a character that does not show. Another name may look the
/// same.
pub fn hidden_character(name: &str) -> Option<String> {
    hidden(name, "\n").next().map(|(_, c)| described(c))
}

/// Returns `U+200B ZERO WIDTH SPACE does not show`.
fn described(c: char) -> String {
    let what = if is_odd_space(c) { "looks like a plain space and is none" } else { "does not show" };
    format!("{} {what}", named(c))
}

/// Returns the hidden characters of a line, with their columns from 0. Odd spaces are usual in comments.
fn hidden(line: &str, comment: &str) -> impl Iterator<Item = (usize, char)> {
    let comment = line.match_indices(comment).find(|(at, _)| !line[..*at].ends_with(':'));
    let comment = comment.map_or(line.len(), |(at, _)| line[..at].chars().count());
    let mut before = '\0';
    line.chars().enumerate().filter(move |(column, c)| {
        let is_style = is_emoji_style(std::mem::replace(&mut before, *c), *c);
        is_invisible(*c) && !is_style || is_odd_space(*c) && *column < comment
    })
}

/// Whether `c` is a space, but not the one that the language and shells take for one.
fn is_odd_space(c: char) -> bool {
    c.is_whitespace() && !c.is_ascii() && !is_invisible(c)
}

/// Returns `U+00A0 NO-BREAK SPACE`, or the character itself if it shows and has no name here.
fn named(c: char) -> String {
    let number = u32::from(c);
    match NAMES.iter().find(|(named, _)| *named == c) {
        Some((_, name)) => format!("U+{number:04X} {name}"),
        None if c.is_control() || c.is_whitespace() || is_invisible(c) => format!("U+{number:04X}"),
        None => format!("U+{number:04X} ({c})"),
    }
}

/// The names in Unicode of the characters that word processors, web pages and attackers put into a text.
#[rustfmt::skip]
const NAMES: &[(char, &str)] = &[
    ('\0', "NULL"), ('\r', "CARRIAGE RETURN"), ('\u{1b}', "ESCAPE"), ('\u{7f}', "DELETE"),
    ('\u{85}', "NEXT LINE"), ('\u{a0}', "NO-BREAK SPACE"), ('\u{ad}', "SOFT HYPHEN"),
    ('\u{ab}', "LEFT-POINTING DOUBLE ANGLE QUOTATION MARK"),
    ('\u{bb}', "RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK"),
    ('\u{61c}', "ARABIC LETTER MARK"), ('\u{1680}', "OGHAM SPACE MARK"),
    ('\u{2000}', "EN QUAD"), ('\u{2001}', "EM QUAD"), ('\u{2002}', "EN SPACE"), ('\u{2003}', "EM SPACE"),
    ('\u{2004}', "THREE-PER-EM SPACE"), ('\u{2005}', "FOUR-PER-EM SPACE"), ('\u{2006}', "SIX-PER-EM SPACE"),
    ('\u{2007}', "FIGURE SPACE"), ('\u{2008}', "PUNCTUATION SPACE"), ('\u{2009}', "THIN SPACE"),
    ('\u{200a}', "HAIR SPACE"), ('\u{200b}', "ZERO WIDTH SPACE"), ('\u{200c}', "ZERO WIDTH NON-JOINER"),
    ('\u{200d}', "ZERO WIDTH JOINER"), ('\u{200e}', "LEFT-TO-RIGHT MARK"), ('\u{200f}', "RIGHT-TO-LEFT MARK"),
    ('\u{2010}', "HYPHEN"), ('\u{2011}', "NON-BREAKING HYPHEN"), ('\u{2012}', "FIGURE DASH"),
    ('\u{2013}', "EN DASH"), ('\u{2014}', "EM DASH"), ('\u{2015}', "HORIZONTAL BAR"),
    ('\u{2018}', "LEFT SINGLE QUOTATION MARK"), ('\u{2019}', "RIGHT SINGLE QUOTATION MARK"),
    ('\u{201a}', "SINGLE LOW-9 QUOTATION MARK"), ('\u{201c}', "LEFT DOUBLE QUOTATION MARK"),
    ('\u{201d}', "RIGHT DOUBLE QUOTATION MARK"), ('\u{201e}', "DOUBLE LOW-9 QUOTATION MARK"),
    ('\u{2026}', "HORIZONTAL ELLIPSIS"), ('\u{2028}', "LINE SEPARATOR"), ('\u{2029}', "PARAGRAPH SEPARATOR"),
    ('\u{202a}', "LEFT-TO-RIGHT EMBEDDING"), ('\u{202b}', "RIGHT-TO-LEFT EMBEDDING"),
    ('\u{202c}', "POP DIRECTIONAL FORMATTING"), ('\u{202d}', "LEFT-TO-RIGHT OVERRIDE"),
    ('\u{202e}', "RIGHT-TO-LEFT OVERRIDE"), ('\u{202f}', "NARROW NO-BREAK SPACE"),
    ('\u{205f}', "MEDIUM MATHEMATICAL SPACE"), ('\u{2060}', "WORD JOINER"),
    ('\u{2066}', "LEFT-TO-RIGHT ISOLATE"), ('\u{2067}', "RIGHT-TO-LEFT ISOLATE"),
    ('\u{2068}', "FIRST STRONG ISOLATE"), ('\u{2069}', "POP DIRECTIONAL ISOLATE"),
    ('\u{2212}', "MINUS SIGN"), ('\u{3000}', "IDEOGRAPHIC SPACE"), ('\u{3164}', "HANGUL FILLER"),
    ('\u{feff}', "ZERO WIDTH NO-BREAK SPACE (byte order mark)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_cannot_stand_in_a_script_is_named_with_its_remedy() {
        for (c, expected) in [
            ('\u{a0}', "U+00A0 NO-BREAK SPACE cannot stand here; write a plain space instead"),
            ('\u{3000}', "U+3000 IDEOGRAPHIC SPACE cannot stand here; write a plain space instead"),
            ('\u{200b}', "U+200B ZERO WIDTH SPACE cannot stand here; remove it"),
            ('\u{feff}', "U+FEFF ZERO WIDTH NO-BREAK SPACE (byte order mark) cannot stand here; remove it"),
            ('\u{202e}', "U+202E RIGHT-TO-LEFT OVERRIDE cannot stand here; remove it"),
            ('\u{201c}', "U+201C LEFT DOUBLE QUOTATION MARK cannot stand here; write a plain \" instead"),
            ('\u{2013}', "U+2013 EN DASH cannot stand here; write a plain - instead"),
            ('\u{430}', "U+0430 (\u{430}) cannot stand here; names have only the letters a to z"),
            ('\u{e0041}', "U+E0041 cannot stand here; remove it (it does not show)"),
        ] {
            let error = unexpected(c);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn hidden_characters_in_strings_and_comments_are_warned_of_once_a_file() {
        for (text, expected) in [
            ("let a = \"\u{e4} \u{6f22}\"; // caf\u{e9} :\u{a0}ok \u{26a0}\u{fe0f}", None),
            (
                "let a = 1;\n// x \u{202e}\u{2066}",
                Some("2:6: U+202E RIGHT-TO-LEFT OVERRIDE does not show (and 1 more in this file); remove it"),
            ),
            (
                "let a = \"\u{e0041}\";",
                Some("1:10: U+E0041 does not show; remove it, or write it as \\U000E0041"),
            ),
            (
                "let a = \"http://a\u{a0}b\";",
                Some("1:18: U+00A0 NO-BREAK SPACE looks like a plain space and is none; remove it"),
            ),
        ] {
            let warning = hidden_characters(text, "//");
            match (&warning, expected) {
                (Some(warning), Some(expected)) => assert!(warning.starts_with(expected), "{warning}"),
                (found, expected) => assert_eq!(found.is_some(), expected.is_some(), "{text}: {found:?}"),
            }
        }
    }
}
