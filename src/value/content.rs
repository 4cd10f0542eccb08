//! A content in one of the formats that configs can name.

use std::borrow::Cow;

use super::schema::Schema;
use super::{Fault, Value, cbor, commit, json, plain, properties};
use crate::model::{Commit, Format};

/// A content that was decoded.
pub struct Content<'a> {
    /// What a command reads, if that is not the content itself.
    pub converted: Option<Cow<'a, [u8]>>,
    /// The header, if the content is a commit.
    pub commit: Option<Commit>,
}

/// Decodes a content of the node `name`, the last component of its path. With a schema, which comes with the
/// name of its file, the value must conform to it. The value of a commit is then its payload, as JSON.
///
/// The error is a text that follows the name of the content: `is no JSON: line 1, column 2: expected value`.
pub fn decode<'a>(
    format: Format,
    bytes: &'a [u8],
    name: &str,
    schema: Option<(&str, &Schema)>,
) -> Result<Content<'a>, String> {
    let malformed = |fault: Fault| format!("{}: {fault}", is_no(format));
    let check = |value: &Value| match schema {
        Some((name, schema)) => {
            schema.check(value).map_err(|fault| format!("does not conform to {name}: {fault}"))
        }
        None => Ok(()),
    };
    let (value, mut line) = match format {
        Format::Json => (json::parse(bytes).map_err(malformed)?, None),
        Format::Cbor => {
            let value = cbor::decode(bytes).map_err(malformed)?;
            let line = plain::write(&value).into_bytes();
            (value, Some(line))
        }
        Format::Properties => {
            let (value, line) = properties::decode(bytes).map_err(malformed)?;
            (value, Some(line))
        }
        Format::Commit => {
            let (header, payload) = commit::decode(bytes, name).map_err(malformed)?;
            if schema.is_some() && !header.empty {
                let value = json::parse(payload)
                    .map_err(|fault| format!("has a payload that is no JSON: {fault}"))?;
                check(&value)?;
            }
            let commit = Some(header);
            return Ok(Content { converted: Some(Cow::Borrowed(payload)), commit });
        }
    };
    check(&value)?;
    if let Some(line) = &mut line {
        line.push(b'\n');
    }
    Ok(Content { converted: line.map(Cow::Owned), commit: None })
}

/// Returns the value of a content that was decoded. `read` is what a command reads of it: see
/// [`Content::converted`].
pub fn value(format: Format, read: &[u8]) -> Result<Value, Fault> {
    match format {
        Format::Json | Format::Properties => json::parse(read),
        Format::Cbor => plain::parse(read),
        Format::Commit => Ok(match std::str::from_utf8(read) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Bytes(read.to_owned()),
        }),
    }
}

fn is_no(format: Format) -> &'static str {
    match format {
        Format::Json => "is no JSON",
        Format::Cbor => "is no CBOR",
        Format::Properties => "has no properties",
        Format::Commit => "is no commit",
    }
}
