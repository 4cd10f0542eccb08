//! The line of JSON that an action reads of a node in a tree.
//!
//! The daemon writes the beginning of the line, with the node's path, the event and the version. The store
//! has written the rest, the node's piece, which depends on the node's data.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// Writes the end of the line for a node with this data.
pub fn write_piece(data: &[u8], out: &mut impl Write) -> io::Result<()> {
    write!(out, r#""size":{},"text":"#, data.len())?;
    serde_json::to_writer(&mut *out, &Text(data))?;
    if str::from_utf8(data).is_err() {
        // The text is lossy.
        out.write_all(br#","base64":""#)?;
        for part in data.chunks(BASE64_STEP) {
            out.write_all(BASE64.encode(part).as_bytes())?;
        }
        out.write_all(br#"""#)?;
    }
    out.write_all(b"}\n")
}

/// How much is encoded at once: a multiple of three, so that only the last part is padded.
const BASE64_STEP: usize = 3 << 10;

/// Data as text, as [`String::from_utf8_lossy`] makes it, but without a copy.
struct Text<'a>(&'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A line. A deleted node has only its path and the event.
#[derive(Debug, Deserialize)]
pub struct NodeLine {
    pub znode: String,
    pub event: String,
    pub version: Option<i64>,
    pub size: Option<i64>,
    pub text: Option<String>,
    /// The data, if it is not UTF-8 and `text` is lossy.
    base64: Option<String>,
}

#[derive(Debug, Error)]
pub enum NodeLineError {
    #[error("a node's line is damaged: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a node's data is damaged: {0}")]
    Base64(#[from] data_encoding::DecodeError),
}

impl NodeLine {
    pub fn parse_all(lines: &[u8]) -> Result<Vec<Self>, NodeLineError> {
        Ok(serde_json::Deserializer::from_slice(lines).into_iter().collect::<Result<_, _>>()?)
    }

    /// Returns the node's data, unless it is deleted.
    pub fn data(&self) -> Result<Option<Vec<u8>>, NodeLineError> {
        Ok(match (&self.base64, &self.text) {
            (Some(base64), _) => Some(BASE64.decode(base64.as_bytes())?),
            (None, text) => text.as_ref().map(|text| text.clone().into_bytes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(data: &[u8]) -> String {
        let mut piece = Vec::new();
        write_piece(data, &mut piece).unwrap();
        String::from_utf8(piece).unwrap()
    }

    #[test]
    fn a_piece_has_size_and_text_and_the_bytes_where_the_text_is_lossy() {
        for (data, expected) in [
            (b"".as_slice(), r#""size":0,"text":""}"#),
            (b"two\nlines", r#""size":9,"text":"two\nlines"}"#),
            (b"\xffno text", "\"size\":8,\"text\":\"\u{fffd}no text\",\"base64\":\"/25vIHRleHQ=\"}"),
        ] {
            assert_eq!(piece(data), format!("{expected}\n"));
        }
    }

    proptest! {
        #[test]
        fn a_line_tells_the_data_that_it_was_made_of(data: Vec<Vec<u8>>) {
            for data in &data {
                let text = serde_json::to_string(&String::from_utf8_lossy(data)).unwrap();
                prop_assert!(piece(data).contains(&text), "{} has not {}", piece(data), text);
            }
            let start = r#"{"znode":"/a","event":"load","version":7,"#;
            let line = |data: &Vec<u8>| format!("{start}{}", piece(data));
            let lines: String = data.iter().map(line).collect();
            let read = NodeLine::parse_all(lines.as_bytes()).unwrap();
            assert_eq!(read.iter().map(|line| line.data().unwrap().unwrap()).collect::<Vec<_>>(), data);
            assert!(read.iter().zip(&data).all(|(line, data)| line.size == Some(data.len() as i64)));
        }
    }
}
