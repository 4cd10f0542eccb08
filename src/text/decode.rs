//! Decodes the bytes of a text file that people edit.

use std::path::Path;

/// Why a file is no text that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// The line and the column of the first wrong byte, from 1.
    pub at: Option<(usize, usize)>,
    pub reason: String,
}

impl TextError {
    /// Returns the path with the place in the file: `PATH:2:17`, or `PATH`.
    pub fn place(&self, path: &Path) -> String {
        let place = self.at.map(|(line, column)| format!(":{line}:{column}"));
        format!("{}{}", path.display(), place.unwrap_or_default())
    }

    /// Returns the whole message about the file with this path.
    pub fn at(&self, path: &Path) -> String {
        format!("{}: {}", self.place(path), self.reason)
    }
}

impl From<String> for TextError {
    fn from(reason: String) -> Self {
        Self { at: None, reason }
    }
}

/// Returns the text of a file in UTF-8, without the byte order mark that some editors put first.
pub fn decode(bytes: Vec<u8>) -> Result<String, TextError> {
    const REMEDY: &str = "save it as UTF-8";
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(format!("it is UTF-16; {REMEDY}").into());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let reason = format!("not UTF-8 (byte {:#04x}); {REMEDY}", bytes[at]);
        TextError { at: Some(position(&String::from_utf8_lossy(&bytes[..at]))), reason }
    })?;
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    match text.find('\0') {
        Some(at) => {
            let utf_16 =
                if text.matches('\0').count() >= text.len() / 3 { "it seems to be UTF-16; " } else { "" };
            let reason = format!("{utf_16}U+0000 NULL; {REMEDY}, without this character");
            Err(TextError { at: Some(position(&text[..at])), reason })
        }
        None => Ok(text),
    }
}

/// Returns the line and column, from 1, of the character after `before`.
pub fn position(before: &str) -> (usize, usize) {
    let line = before.matches('\n').count() + 1;
    (line, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utf_8_and_what_is_not_is_named() {
        for (bytes, expected) in [
            (&b"a\xc3\xa4"[..], Ok("a\u{e4}")),
            (b"\xef\xbb\xbfa", Ok("a")),
            (b"", Ok("")),
            (b"\xff\xfea\0", Err((None, "it is UTF-16"))),
            (b"\xfe\xff\0a", Err((None, "it is UTF-16"))),
            (b"a\0b\0c\0", Err((Some((1, 2)), "it seems to be UTF-16; U+0000 NULL; save it"))),
            (b"1\n\xc3\xa4\xe9x", Err((Some((2, 2)), "not UTF-8 (byte 0xe9); save it as UTF-8"))),
            (b"one\ntwo \0", Err((Some((2, 5)), "U+0000 NULL; save it as UTF-8"))),
        ] {
            match (decode(bytes.to_vec()), expected) {
                (Ok(text), Ok(expected)) => assert_eq!(text, expected),
                (Err(error), Err((at, reason))) => {
                    assert!(error.at == at && error.reason.starts_with(reason), "{error:?}");
                }
                (decoded, _) => panic!("{decoded:?}, not {expected:?}"),
            }
        }
    }
}
