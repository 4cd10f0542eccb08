//! Decodes the bytes of a text file that people edit.

/// Returns the text of a file in UTF-8, without the byte order mark that some editors put first. The error
/// says what else it is, as a text that follows the file's path.
pub fn decode(bytes: Vec<u8>) -> Result<String, String> {
    const REMEDY: &str = "save it as UTF-8";
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(format!("it is UTF-16; {REMEDY}"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let (line, column) = position(&String::from_utf8_lossy(&bytes[..at]));
        format!("not UTF-8 at line {line}, column {column} (byte {:#04x}); {REMEDY}", bytes[at])
    })?;
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    match text.find('\0') {
        Some(at) => {
            let (line, column) = position(&text[..at]);
            let utf_16 =
                if text.matches('\0').count() >= text.len() / 3 { "it seems to be UTF-16; " } else { "" };
            Err(format!(
                "{utf_16}U+0000 NULL at line {line}, column {column}; {REMEDY}, without this character"
            ))
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
            (b"\xff\xfea\0", Err("it is UTF-16")),
            (b"\xfe\xff\0a", Err("it is UTF-16")),
            (b"a\0b\0c\0", Err("it seems to be UTF-16; U+0000 NULL at line 1, column 2")),
            (b"1\n\xc3\xa4\xe9x", Err("not UTF-8 at line 2, column 2 (byte 0xe9); save it as UTF-8")),
            (b"one\ntwo \0", Err("U+0000 NULL at line 2, column 5; save it as UTF-8")),
        ] {
            match (decode(bytes.to_vec()), expected) {
                (Ok(text), Ok(expected)) => assert_eq!(text, expected),
                (Err(reason), Err(expected)) => assert!(reason.starts_with(expected), "{reason}"),
                (decoded, _) => panic!("{decoded:?}, not {expected:?}"),
            }
        }
    }
}
