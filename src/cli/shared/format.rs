//! The formats of contents, in the arguments of clients.

use crate::model::{Format, NodePath};
use crate::text::suggest;
use crate::value::{cbor, content, json, plain};

/// Reads the name of a format, in any case.
pub fn parse_format(text: &str) -> Result<Format, String> {
    let known = Format::ALL.into_iter().find(|format| format.as_str().eq_ignore_ascii_case(text));
    known.ok_or_else(|| {
        let names = Format::ALL.map(Format::as_str);
        let near = suggest(&text.to_uppercase(), names);
        format!("the formats are {}{near}", names.join(", ").to_lowercase())
    })
}

/// Reads the name of a format that can be written.
pub fn parse_encoding(text: &str) -> Result<Format, String> {
    match parse_format(text)? {
        format @ (Format::Json | Format::Cbor | Format::Properties) => Ok(format),
        Format::Commit => Err("a commit has an author and a version; `twitcher set` writes none".into()),
    }
}

/// Returns what a command would read of the data of this node; of JSON, one compact line. The error follows
/// the node.
pub fn read(format: Format, data: &[u8], node: &NodePath) -> Result<Vec<u8>, String> {
    let name = node.components().last().unwrap_or_default();
    let decoded = content::decode(format, data, name, None)?;
    Ok(match decoded.converted {
        Some(converted) => converted.into_owned(),
        None => [json::compact(data), b"\n".to_vec()].concat(),
    })
}

/// Returns the data that JSON, in its plain form for CBOR, stands for. The error says what is wrong with it.
pub fn write(format: Format, text: &[u8]) -> Result<Vec<u8>, String> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let value = json::parse(text).map_err(|fault| format!("it is no JSON: {fault}"))?;
    match format {
        Format::Cbor => {
            if let Some(fault) = json::inexact_integer(text) {
                return Err(format!("{fault}; write a float (1e30), or a tag 2 or 3 with a byte string"));
            }
            let value = plain::parse(text).map_err(|fault| format!("it stands for no CBOR: {fault}"))?;
            cbor::encode(&value)
        }
        Format::Properties if !matches!(value, crate::value::Value::Map(_)) => {
            Err("properties are a JSON object".into())
        }
        Format::Json | Format::Properties | Format::Commit => Ok(json::compact(text)),
    }
}
