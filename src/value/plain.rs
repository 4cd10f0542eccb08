//! The plain form of a value: compact JSON, also of what JSON does not have.
//!
//! | value | plain form |
//! |---|---|
//! | byte string | `{"$bytes": "aGk="}` (base64) |
//! | value with a tag | `{"$tag": [0, "2026-11-27T08:00:00Z"]}` |
//! | map with keys that are no text | `{"$map": [[1, "one"], ["two", 2]]}` |
//! | simple value, as `undefined` | `{"$simple": 23}` |
//!
//! A key of a map that is one of these four words, after one `$` or several, gets another `$` before it. So
//! no two values have the same plain form, and what only looks like one of these forms is a mistake.

use std::borrow::Cow;
use std::fmt::Display;

use data_encoding::BASE64;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::keys::Keys;
use super::{Fault, Place, Value, json};

const BYTES: &str = "$bytes";
const TAG: &str = "$tag";
const MAP: &str = "$map";
const SIMPLE: &str = "$simple";

/// Returns the plain form, in one line.
pub fn write(value: &Value) -> String {
    // Only a map with keys that are no strings, or a number that JSON does not have, would not serialize.
    serde_json::to_string(&Plain(value)).unwrap_or_default()
}

/// Reads a value from its plain form. A fault of the form has a JSON pointer as its place.
pub fn parse(text: &[u8]) -> Result<Value, Fault> {
    unplain(json::parse_for_cbor(text)?).map_err(|Mistake { mut pointer, what }| {
        pointer.reverse();
        Fault { place: Place::Pointer(pointer.concat()), what }
    })
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

/// Whether this key of a map could be taken for that of a plain form.
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
            Value::Map(entries) => {
                let escaped = |key| if is_ambiguous(key) { format!("${key}").into() } else { Cow::from(key) };
                to.collect_map(entries.iter().map(|(key, value)| (escaped(key), Plain(value))))
            }
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

/// What is wrong with a plain form, and where: the parts of a JSON pointer, of which the last comes first.
struct Mistake {
    pointer: Vec<String>,
    what: String,
}

impl Mistake {
    fn new(what: impl Into<String>) -> Self {
        Self { pointer: Vec::new(), what: what.into() }
    }

    fn below(mut self, part: impl Display) -> Self {
        self.pointer.push(format!("/{}", part.to_string().replace('~', "~0").replace('/', "~1")));
        self
    }
}

/// Returns the value that JSON in plain form stands for.
fn unplain(value: Value) -> Result<Value, Mistake> {
    match value {
        Value::Array(values) => {
            let values = values.into_iter().enumerate();
            let values = values.map(|(place, value)| unplain(value).map_err(|mistake| mistake.below(place)));
            values.collect::<Result<_, _>>().map(Value::Array)
        }
        Value::Map(mut entries) => {
            let special_key = entries.iter().position(|(key, _)| [BYTES, TAG, MAP, SIMPLE].contains(&&**key));
            match special_key {
                Some(place) if entries.len() == 1 => {
                    let (key, value) = entries.swap_remove(place);
                    special(&key, value).map_err(|mistake| mistake.below(&key))
                }
                Some(place) => {
                    let key = &entries[place].0;
                    Err(Mistake::new(format!("{key} stands alone in its object; as a key, write ${key}")))
                }
                None => entries.into_iter().map(entry).collect::<Result<_, _>>().map(Value::Map),
            }
        }
        other => Ok(other),
    }
}

fn entry((key, value): (String, Value)) -> Result<(String, Value), Mistake> {
    let value = unplain(value).map_err(|mistake| mistake.below(&key))?;
    let key = if is_ambiguous(&key) { key[1..].to_owned() } else { key };
    Ok((key, value))
}

/// Returns what a map with this key and value alone stands for.
fn special(key: &str, value: Value) -> Result<Value, Mistake> {
    match (key, value) {
        (BYTES, Value::Text(text)) => match BASE64.decode(text.as_bytes()) {
            Ok(bytes) => Ok(Value::Bytes(bytes)),
            Err(error) => Err(Mistake::new(format!("this is no base64 with padding: {error}"))),
        },
        (BYTES, _) => Err(Mistake::new("the bytes must be a text in base64")),
        (SIMPLE, Value::Int(number)) if u8::try_from(number).is_ok_and(is_simple) => {
            Ok(Value::Simple(number as u8))
        }
        (SIMPLE, _) => Err(Mistake::new("a simple value is a number from 0 to 19, 23, or from 32 to 255")),
        (TAG, Value::Array(parts)) => match <[Value; 2]>::try_from(parts) {
            Ok([Value::Int(tag), value]) if u64::try_from(tag).is_ok() => {
                let value = unplain(value).map_err(|mistake| mistake.below(1))?;
                Ok(Value::Tagged(tag as u64, value.into()))
            }
            Ok(_) => Err(Mistake::new("a tag is an integer from 0 to 2^64-1").below(0)),
            Err(_) => Err(Mistake::new("there must be two elements: the tag and the value")),
        },
        (TAG, _) => Err(Mistake::new("there must be an array of two elements: the tag and the value")),
        (_, Value::Array(pairs)) => {
            let mut keys = Keys::default();
            let pairs = pairs
                .into_iter()
                .enumerate()
                .map(|(place, value)| pair(value, &mut keys).map_err(|mistake| mistake.below(place)));
            pairs.collect::<Result<_, _>>().map(Value::Pairs)
        }
        (_, _) => Err(Mistake::new("a map is an array of pairs [KEY, VALUE]")),
    }
}

fn pair(value: Value, keys: &mut Keys) -> Result<(Value, Value), Mistake> {
    let parts = match value {
        Value::Array(parts) => <[Value; 2]>::try_from(parts).ok(),
        _ => None,
    };
    let [key, value] = parts.ok_or_else(|| Mistake::new("a map is an array of pairs [KEY, VALUE]"))?;
    let key = unplain(key).map_err(|mistake| mistake.below(0))?;
    keys.add(write(&key)).map_err(|what| Mistake::new(what).below(0))?;
    Ok((key, unplain(value).map_err(|mistake| mistake.below(1))?))
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
                Value::Map(vec![("$tag".into(), Value::Int(1)), ("$$tag".into(), Value::Bool(true))]),
                r#"{"$$tag":1,"$$$tag":true}"#,
            ),
        ] {
            assert_eq!(write(&value), expected);
            assert_eq!(parse(expected.as_bytes()), Ok(value));
        }
    }

    #[test]
    fn a_float_keeps_its_last_bit() {
        let floats = [31.245270191439438, 121.48791951161945, 2.638344616030823e-256, 5e-324, f64::MAX];
        for float in floats.into_iter().flat_map(|float| [float, -float]) {
            let text = write(&Value::Float(float));
            assert_eq!(parse(text.as_bytes()), Ok(Value::Float(float)), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_plain_form_is_a_mistake() {
        for (text, error) in [
            (r#"{"$bytes":"no base64 !!"}"#, "/$bytes: this is no base64 with padding: invalid symbol at 2"),
            (r#"{"$bytes":"aGk"}"#, "/$bytes: this is no base64 with padding: invalid length at 0"),
            (r#"{"$bytes":1}"#, "/$bytes: the bytes must be a text in base64"),
            (r#"{"$bytes":"aGk=","x":1}"#, "the whole value: $bytes stands alone in its object"),
            (r#"{"a/b":[{"x":1,"$tag":[0,1]}]}"#, "/a~1b/0: $tag stands alone"),
            (r#"{"$tag":[0]}"#, "/$tag: there must be two elements"),
            (r#"{"$tag":[0,1,2]}"#, "/$tag: there must be two elements"),
            (r#"{"$tag":0}"#, "/$tag: there must be an array of two elements"),
            (r#"{"$tag":[-1,0]}"#, "/$tag/0: a tag is an integer from 0 to 2^64-1"),
            (r#"{"$tag":[18446744073709551616,0]}"#, "/$tag/0: a tag is an integer"),
            (r#"{"$tag":[1.5,0]}"#, "/$tag/0: a tag is an integer"),
            (r#"{"$tag":[1,{"$bytes":""},2]}"#, "/$tag: there must be two elements"),
            (r#"[{"$tag":[1,{"$bytes":"-"}]}]"#, "/0/$tag/1/$bytes: this is no base64"),
            (r#"{"$map":[1]}"#, "/$map/0: a map is an array of pairs"),
            (r#"{"$map":{}}"#, "/$map: a map is an array of pairs"),
            (r#"{"$map":[[1,2],[1,3]]}"#, "/$map/1/0: duplicate key 1"),
            (r#"{"$map":[[{"$simple":31},2]]}"#, "/$map/0/0/$simple: a simple value is a number"),
            (r#"{"$simple":21}"#, "/$simple: a simple value is a number from 0 to 19"),
            (r#"{"$simple":300}"#, "/$simple: a simple value"),
        ] {
            let fault = parse(text.as_bytes()).expect_err(text).to_string();
            assert!(fault.starts_with(error), "{text}: {fault}");
        }
    }
}
