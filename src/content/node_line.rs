//! The line of JSON that an action reads of a node in a tree.
//!
//! The daemon writes the beginning of the line, with the node's path, the event and the version. The store
//! has written the rest, the node's piece, which depends on the node's data.

use std::borrow::Cow;
use std::io::{self, Write};

use data_encoding::BASE64;
use serde::Deserialize;
use thiserror::Error;

/// Writes the end of the line for a node with this data.
pub fn write_piece(data: &[u8], out: &mut impl Write) -> io::Result<()> {
    let text = String::from_utf8_lossy(data);
    write!(out, r#""size":{},"text":"#, data.len())?;
    serde_json::to_writer(&mut *out, &text)?;
    if let Cow::Owned(_) = text {
        // The text is lossy.
        write!(out, r#","base64":"{}""#, BASE64.encode(data))?;
    }
    out.write_all(b"}\n")
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
            let start = r#"{"znode":"/a","event":"load","version":7,"#;
            let line = |data: &Vec<u8>| format!("{start}{}", piece(data));
            let lines: String = data.iter().map(line).collect();
            let read = NodeLine::parse_all(lines.as_bytes()).unwrap();
            assert_eq!(read.iter().map(|line| line.data().unwrap().unwrap()).collect::<Vec<_>>(), data);
            assert!(read.iter().zip(&data).all(|(line, data)| line.size == Some(data.len() as i64)));
        }
    }
}
