//! A commit, as Rainer keeps it in a node: a header and a payload.
//!
//! ```text
//! <length of the header in bytes, decimal>\n<header, JSON>\n<payload>\n
//! ```

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Fault, json};
use crate::model::Commit;

/// The length of the header is a number of at most so many digits.
const MAX_DIGITS: usize = 9;

/// Reads the data of the node `name`. Returns the header, and the payload as a part of the data.
pub fn decode<'a>(bytes: &'a [u8], name: &str) -> Result<(Commit, &'a [u8]), Fault> {
    let digits = bytes.iter().take(MAX_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
    let length = std::str::from_utf8(&bytes[..digits]).ok().and_then(|digits| digits.parse::<usize>().ok());
    let length = match length.filter(|_| digits <= MAX_DIGITS) {
        Some(length) if bytes.get(digits) == Some(&b'\n') => length,
        Some(_) | None => {
            return Err(Fault::at_byte(
                digits,
                "a commit begins with the length of its header, and a newline",
            ));
        }
    };
    let start = digits + 1;
    let Some(text) = bytes.get(start..start + length) else {
        return Err(Fault::at_byte(
            bytes.len(),
            format!("the header has {length} bytes, and ends too early"),
        ));
    };
    let header = read_header(text).map_err(|what| Fault::at_byte(start, what))?;
    if header.key != name {
        let what = format!("the commit's key {:?} is not the node's name {name:?}", header.key);
        return Err(Fault::at_byte(start, what));
    }
    // Rainer skips one byte after the header and one after the payload, and looks at neither.
    let Some(payload) = bytes.get(start + length + 1..).and_then(|rest| rest.split_last()) else {
        return Err(Fault::at_byte(bytes.len(), "the commit ends before its payload does"));
    };
    Ok((header, payload.1))
}

/// Returns the data of the node of a commit: the opposite of [`decode`].
pub fn encode(header: &Commit, payload: &[u8]) -> Vec<u8> {
    let header = serde_json::to_vec(header).unwrap_or_else(|_| unreachable!("texts and numbers are JSON"));
    let mut data = header.len().to_string().into_bytes();
    data.push(b'\n');
    data.extend_from_slice(&header);
    data.push(b'\n');
    data.extend_from_slice(payload);
    data.push(b'\n');
    data
}

fn read_header(text: &[u8]) -> Result<Commit, String> {
    // This finds duplicate keys as well.
    json::parse(text).map_err(|fault| format!("the header is wrong in {fault}"))?;
    let header: Commit =
        serde_json::from_slice(text).map_err(|error| format!("the header is wrong: {error}"))?;
    if header.version < 1 {
        return Err(format!("the header has version {}; versions begin with 1", header.version));
    }
    if OffsetDateTime::parse(&header.mtime, &Rfc3339).is_err() {
        return Err(format!("the header's mtime {:?} is no time", header.mtime));
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = concat!(
        "112\n",
        r#"{"author":"gian","comment":"rofl","key":"foo","mtime":"2014-02-11T14:01:28.839-08:00","#,
        r#""version":1,"empty":false}"#,
        "\n{\"hey\":\"what\"}\n",
    );

    #[test]
    fn a_commit_is_a_header_and_a_payload() {
        let (header, payload) = decode(EXAMPLE.as_bytes(), "foo").unwrap();
        assert_eq!((&*header.author, &*header.comment, header.version), ("gian", "rofl", 1));
        assert_eq!((&*header.mtime, header.empty), ("2014-02-11T14:01:28.839-08:00", false));
        assert_eq!(payload, br#"{"hey":"what"}"#);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let (header, payload) = decode(EXAMPLE.as_bytes(), "foo").unwrap();
        assert_eq!(encode(&header, payload), EXAMPLE.as_bytes());
        for payload in [payload, b"", b"\n", b"\0\xff\n\n"] {
            assert_eq!(decode(&encode(&header, payload), "foo").unwrap(), (header.clone(), payload));
        }
    }

    #[test]
    fn what_is_no_commit_is_told_with_its_place() {
        let says = |text: &str| decode(text.as_bytes(), "foo").expect_err("a fault").to_string();
        let begins = "a commit begins with the length of its header, and a newline";
        for text in ["", "x", "{}", "-1\n", "99999999999999999999\n{}"] {
            let digits = text.chars().take(MAX_DIGITS + 1).take_while(char::is_ascii_digit).count();
            assert_eq!(says(text), format!("byte {digits}: {begins}"), "{text}");
        }
        assert_eq!(says("9\n{}\n\n"), "byte 6: the header has 9 bytes, and ends too early");
        assert_eq!(
            says("2\n{}\n\n"),
            "byte 2: the header is wrong: missing field `author` at line 1 column 2"
        );
        assert!(says("2\n{x\n\n").starts_with("byte 2: the header is wrong in line 1, column 2: "));
        let cut = EXAMPLE.find("\n{\"hey").unwrap();
        assert_eq!(says(&EXAMPLE[..=cut]), "byte 117: the commit ends before its payload does");
        let other = decode(EXAMPLE.as_bytes(), "bar").expect_err("a fault").to_string();
        assert_eq!(other, "byte 4: the commit's key \"foo\" is not the node's name \"bar\"");
        assert!(says(&EXAMPLE.replace("\"version\":1", "\"version\":0")).contains("version 0"));
        assert!(says(&EXAMPLE.replace("2014-02-11T", "2014-13-11T")).contains("is no time"));
        assert!(says(&EXAMPLE.replace("\"empty\":false", "\"author\":\"eva\"")).contains("byte"));
    }
}
