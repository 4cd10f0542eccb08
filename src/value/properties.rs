//! Properties, as zc.zk keeps them: a JSON object, or a text that stands for one.

use super::{Fault, Value, json};

/// Reads the data of a node. No data, or white space alone, is an empty object; any other text that is no
/// JSON object becomes the object's `string_value`.
///
/// Returns the object, and its compact text.
///
/// An object with a duplicate key, or one that is nested too deep, is a fault: taken for a text, it would
/// only be found wrong later.
pub fn decode(bytes: &[u8]) -> Result<(Value, Vec<u8>), Fault> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Fault::at_byte(error.valid_up_to(), "this is not UTF-8"))?;
    if text.trim().is_empty() {
        return Ok((Value::Map(Vec::new()), b"{}".to_vec()));
    }
    let is_braced = text.trim().starts_with('{') && text.trim().ends_with('}');
    match is_braced.then(|| json::parse(bytes)) {
        Some(Ok(object)) => Ok((object, json::compact(bytes))),
        Some(Err(fault)) if fault.what.starts_with("duplicate key") || fault.what.starts_with("nested") => {
            Err(fault)
        }
        Some(Err(_)) | None => {
            let object = Value::Map(vec![("string_value".to_owned(), Value::Text(text.to_owned()))]);
            let line = json::write(&object).into_bytes();
            Ok((object, line))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stands_for_an_object() {
        for (text, expected) in [
            ("", "{}"),
            (" \n", "{}"),
            ("{\"pid\": 1}\n", r#"{"pid":1}"#),
            ("hello\n", r#"{"string_value":"hello\n"}"#),
            ("[1, 2]", r#"{"string_value":"[1, 2]"}"#),
            ("{not json}", r#"{"string_value":"{not json}"}"#),
            ("{\"a\": 1", r#"{"string_value":"{\"a\": 1"}"#),
        ] {
            let (object, line) = decode(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(line).unwrap(), expected);
            assert_eq!(json::parse(expected.as_bytes()), Ok(object));
        }
    }

    #[test]
    fn an_object_that_readers_would_take_differently_is_a_fault() {
        let says = |bytes: &[u8]| decode(bytes).expect_err("a fault").to_string();
        assert_eq!(says(br#"{"a": 1, "a": 2}"#), "line 1, column 12: duplicate key \"a\"");
        let nested = ["{\"a\":".repeat(200), "1".into(), "}".repeat(200)].concat();
        assert!(says(nested.as_bytes()).ends_with(": nested more than 127 deep"));
        assert_eq!(says(b"ab\xff"), "byte 2: this is not UTF-8");
    }
}
