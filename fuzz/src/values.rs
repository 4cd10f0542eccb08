//! Contents of nodes in the formats that can be decoded. A value comes out as it went in, an error has no
//! control characters, and no schema breaks the check of a value.

use twitcher::value::{Fault, Value, cbor, commit, json, plain, properties, schema::Schema};

/// The whole of `data` is a content in each format. Cut at its first NUL, it is a schema and a value.
pub fn run(data: &[u8]) {
    let properties = properties::decode(data).map(|(object, line)| {
        assert_eq!(json::parse(&line).as_ref(), Ok(&object));
        object
    });
    let decoded = [json::parse(data), cbor::decode(data), properties];
    decoded.into_iter().for_each(|result| is_readable(result).iter().for_each(check));
    if let Ok(value) = json::parse(data) {
        assert_eq!(json::parse(&json::compact(data)), Ok(value));
        json::inexact_integer(data).iter().for_each(check_error);
    }
    if let Ok((header, payload)) = commit::decode(data, "key").inspect_err(check_error) {
        assert_eq!(header.key, "key");
        assert!(payload.len() < data.len());
    }
    let mut parts = data.splitn(2, |byte| *byte == 0);
    if let (Some(schema), Some(instance)) = (parts.next(), parts.next())
        && let (Ok(schema), Ok(value)) = (Schema::compile(schema), json::parse(instance))
    {
        let _ = schema.check(&value).inspect_err(check_error);
    }
}

fn is_readable(result: Result<Value, Fault>) -> Option<Value> {
    result.inspect_err(check_error).ok()
}

/// Checks that the text can go to a terminal or a log as it is.
fn check_error(error: &Fault) {
    assert!(!error.what.contains(char::is_control), "{error:?}");
}

/// Checks that nothing is lost on the way to CBOR and to the plain form, and back.
fn check(value: &Value) {
    let encoded = cbor::encode(value).expect("CBOR has all values that were read");
    assert_eq!(cbor::decode(&encoded).as_ref(), Ok(value));
    let text = plain::write(value);
    assert!(!text.contains('\n'));
    assert_eq!(plain::parse(text.as_bytes()).as_ref(), Ok(value), "{text}");
}
