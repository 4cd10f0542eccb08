//! The plain form of a value: compact JSON, also of what JSON does not have.
//!
//! | value | plain form |
//! |---|---|
//! | byte string | `{"$bytes": "aGk="}` (base64) |
//! | value with a tag | `{"$tag": [0, "2026-11-27T08:00:00Z"]}` |
//! | map with keys that are no text | `{"$map": [[1, "one"], ["two", 2]]}` |
//! | simple value, as `undefined` | `{"$simple": 23}` |
//!
//! A map with one entry whose key is one of these four words, after one `$` or several, gets another `$`
//! before its key. So no two values have the same plain form.

use data_encoding::BASE64;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Fault, Value, json};

const BYTES: &str = "$bytes";
const TAG: &str = "$tag";
const MAP: &str = "$map";
const SIMPLE: &str = "$simple";

/// Returns the plain form, in one line.
pub fn write(value: &Value) -> String {
    // Only a map with keys that are no strings, or a number that JSON does not have, would not serialize.
    serde_json::to_string(&Plain(value)).unwrap_or_default()
}

/// Reads a value from its plain form.
pub fn parse(text: &[u8]) -> Result<Value, Fault> {
    json::parse(text).map(unplain)
}

/// How many levels of nesting the plain form of this value adds to that of its parts.
pub(super) fn levels(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => 0,
        Value::Bytes(_) | Value::Simple(_) | Value::Array(_) | Value::Map(_) => 1,
        Value::Tagged(..) => 2,
        Value::Pairs(_) => 3,
    }
}

/// Whether this key of a map with one entry could be taken for that of a plain form.
fn is_ambiguous(key: &str) -> bool {
    key.starts_with('$') && [BYTES, TAG, MAP, SIMPLE].iter().any(|it| it[1..] == *key.trim_start_matches('$'))
}

/// Serializes as the plain form.
struct Plain<'a>(&'a Value);

struct Pair<'a>(&'a Value, &'a Value);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => to.serialize_unit(),
            Value::Bool(it) => to.serialize_bool(*it),
            Value::Int(it) => to.serialize_i128(*it),
            Value::Float(it) => to.serialize_f64(*it),
            Value::Text(it) => to.serialize_str(it),
            Value::Bytes(it) => single(to, BYTES, &BASE64.encode(it)),
            Value::Array(it) => to.collect_seq(it.iter().map(Plain)),
            Value::Map(entries) => match &entries[..] {
                [(key, value)] if is_ambiguous(key) => single(to, &format!("${key}"), &Plain(value)),
                entries => to.collect_map(entries.iter().map(|(key, value)| (key, Plain(value)))),
            },
            Value::Pairs(it) => {
                let pairs: Vec<Pair<'_>> = it.iter().map(|(key, value)| Pair(key, value)).collect();
                single(to, MAP, &pairs)
            }
            Value::Tagged(tag, it) => single(to, TAG, &(tag, Plain(it))),
            Value::Simple(it) => single(to, SIMPLE, it),
        }
    }
}

impl Serialize for Pair<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (Plain(self.0), Plain(self.1)).serialize(to)
    }
}

fn single<S: Serializer, T: Serialize + ?Sized>(to: S, key: &str, value: &T) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

/// Returns the value that JSON in plain form stands for. What only looks similar stays as it is.
fn unplain(value: Value) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.into_iter().map(unplain).collect()),
        Value::Map(mut entries) => match &mut entries[..] {
            [(key, value)] if is_ambiguous(key) => {
                let value = std::mem::replace(value, Value::Null);
                special(key, value).unwrap_or_else(|value| {
                    let key = if key.starts_with("$$") { key[1..].to_owned() } else { std::mem::take(key) };
                    Value::Map(vec![(key, unplain(value))])
                })
            }
            _ => Value::Map(entries.into_iter().map(|(key, value)| (key, unplain(value))).collect()),
        },
        other => other,
    }
}

/// Returns what a map with this key and value alone stands for. Gives the value back as the error if it does
/// not have the shape that belongs to the key: then the map is a map.
fn special(key: &str, value: Value) -> Result<Value, Value> {
    match (key, value) {
        (BYTES, Value::Text(text)) => match BASE64.decode(text.as_bytes()) {
            Ok(bytes) => Ok(Value::Bytes(bytes)),
            Err(_) => Err(Value::Text(text)),
        },
        (SIMPLE, Value::Int(number)) => match u8::try_from(number) {
            Ok(number) if is_simple(number) => Ok(Value::Simple(number)),
            Ok(_) | Err(_) => Err(Value::Int(number)),
        },
        (TAG, Value::Array(parts)) => match <[Value; 2]>::try_from(parts) {
            Ok([Value::Int(tag), value]) if u64::try_from(tag).is_ok() => {
                Ok(Value::Tagged(tag as u64, unplain(value).into()))
            }
            Ok(parts) => Err(Value::Array(parts.into())),
            Err(parts) => Err(Value::Array(parts)),
        },
        (MAP, Value::Array(pairs)) => {
            let is_pair = |value: &Value| matches!(value, Value::Array(parts) if parts.len() == 2);
            if !pairs.iter().all(is_pair) {
                return Err(Value::Array(pairs));
            }
            let pair = |value| match value {
                Value::Array(parts) => <[Value; 2]>::try_from(parts).ok(),
                _ => None,
            };
            let pairs = pairs.into_iter().filter_map(pair);
            Ok(Value::Pairs(pairs.map(|[key, value]| (unplain(key), unplain(value))).collect()))
        }
        (_, value) => Err(value),
    }
}

/// Whether CBOR has a simple value of this number that is no bool, no null and not reserved.
pub(super) fn is_simple(number: u8) -> bool {
    matches!(number, 0..=19 | 23 | 32..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn what_json_does_not_have_has_a_form_of_its_own() {
        for (value, expected) in [
            (Value::Null, "null"),
            (Value::Int(u64::MAX.into()), "18446744073709551615"),
            (Value::Int(-18446744073709551616), "-18446744073709551616"),
            (Value::Float(1.0), "1.0"),
            (text("a\"\u{e4}\n"), "\"a\\\"\u{e4}\\n\""),
            (Value::Bytes(b"hi".into()), r#"{"$bytes":"aGk="}"#),
            (Value::Tagged(0, text("2026").into()), r#"{"$tag":[0,"2026"]}"#),
            (Value::Pairs(vec![(Value::Int(1), text("one"))]), r#"{"$map":[[1,"one"]]}"#),
            (Value::Simple(23), r#"{"$simple":23}"#),
            (Value::Map(vec![("$bytes".into(), text("aGk="))]), r#"{"$$bytes":"aGk="}"#),
            (Value::Map(vec![("$$map".into(), Value::Int(1))]), r#"{"$$$map":1}"#),
            (Value::Map(vec![("$ref".into(), Value::Int(1))]), r#"{"$ref":1}"#),
            (
                Value::Map(vec![("$tag".into(), Value::Int(1)), ("b".into(), Value::Bool(true))]),
                r#"{"$tag":1,"b":true}"#,
            ),
        ] {
            assert_eq!(write(&value), expected);
            if value != Value::Int(-18446744073709551616) {
                assert_eq!(parse(expected.as_bytes()), Ok(value));
            }
        }
    }

    #[test]
    fn what_only_looks_like_a_plain_form_stays_json() {
        for same in [
            r#"{"$bytes":"no base64!"}"#,
            r#"{"$bytes":1}"#,
            r#"{"$tag":[0]}"#,
            r#"{"$tag":[-1,0]}"#,
            r#"{"$map":[1]}"#,
            r#"{"$simple":21}"#,
            r#"{"$simple":300}"#,
        ] {
            assert_eq!(parse(same.as_bytes()), json::parse(same.as_bytes()));
        }
    }
}
