//! Objects as the Python libraries ndServiceRegistry and zc.zk keep them in nodes: what a member says of
//! itself, and the properties of a node.

use std::fmt;
use std::io;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Fault, Value, json, plain};

/// The key of data that is no JSON object.
pub(super) const STRING_VALUE: &str = "string_value";

/// Returns what a member says of itself: an object with its keys sorted, no bytes as null, white space as an
/// empty object, and all else as the value of `string_value`. So is an object with a key twice or a number
/// beyond all floats: no two readers would read the same in it.
pub fn member(data: &[u8]) -> Value {
    if data.is_empty() {
        return Value::Null;
    }
    if data.trim_ascii().is_empty() {
        return Value::Map(Vec::new());
    }
    if let Some(mut object @ Value::Map(_)) = may_be_object(data).then(|| json::parse(data).ok()).flatten() {
        sort_keys(&mut object);
        return object;
    }
    let text = String::from_utf8(data.to_vec());
    let text = text.map_or_else(|error| Value::Bytes(error.into_bytes()), Value::Text);
    Value::Map(vec![(STRING_VALUE.to_owned(), text)])
}

/// Sorts the keys of all maps. The value must have come from JSON.
fn sort_keys(value: &mut Value) {
    match value {
        Value::Map(entries) => {
            entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            entries.iter_mut().for_each(|(_, value)| sort_keys(value));
        }
        Value::Array(values) => values.iter_mut().for_each(sort_keys),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Bytes(_)
        | Value::Pairs(_)
        | Value::Tagged(..)
        | Value::Simple(_) => {}
    }
}

/// Returns what is wrong with data that begins like an object and is none. Whoever changes a property of it
/// would lose the others.
pub fn fault_of_object(data: &[u8]) -> Option<Fault> {
    may_be_object(data).then(|| json::parse(data).err()).flatten()
}

/// What else is parsed for nothing, which takes time and memory.
fn may_be_object(data: &[u8]) -> bool {
    data.trim_ascii_start().starts_with(b"{")
}

/// What an entry of an object takes in memory while it is parsed, beside its text: its place in a list that
/// grows, and its key in the set of those that were there before.
const ENTRY_BYTES: u64 = 512;

/// What another value takes: its place in a list that grows.
const VALUE_BYTES: u64 = 3 * size_of::<Value>() as u64;

/// Returns about how much memory [`member`] takes for this data, and the text that [`plain::write`] makes of
/// it.
pub fn member_memory(data: &[u8]) -> u64 {
    let count = |is_one: fn(u8) -> bool| data.iter().filter(|byte| is_one(**byte)).count() as u64;
    let values = match may_be_object(data) {
        true => count(|b| b == b':') * ENTRY_BYTES + count(|b| matches!(b, b',' | b'[' | b'{')) * VALUE_BYTES,
        false => 0,
    };
    // A control character becomes six, and a short number up to five times as long.
    let escaped = count(|b| b < b' ' || matches!(b, b'"' | b'\\' | b'e' | b'E'));
    values + 3 * (2 * data.len() as u64 + 16 * escaped)
}

/// Writes an object of what members say of themselves in the plain form, by their names, as one line.
pub fn write_members<'a>(
    members: impl Iterator<Item = (&'a str, &'a [u8])>,
    out: &mut impl io::Write,
) -> io::Result<()> {
    out.write_all(b"{")?;
    for (place, (name, said)) in members.enumerate() {
        if place > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut *out, name)?;
        out.write_all(b":")?;
        out.write_all(said)?;
    }
    out.write_all(b"}\n")
}

/// Reads what [`write_members`] wrote: the members by their names, in the order of the text.
pub fn members(object: &[u8]) -> Result<Vec<(String, Value)>, Fault> {
    let Properties(members) = serde_json::from_slice(object).map_err(|error| {
        // What the store's process wrote is damaged, so that no place in it helps anybody.
        Fault::after("", error.to_string())
    })?;
    // Each member may be nested as deep as a node's data.
    let read = |(name, said): (String, Box<RawValue>)| Ok((name, plain::parse(said.get().as_bytes())?));
    members.into_iter().map(read).collect()
}

/// The properties of a node, in the order in which its data has them. A value that is not touched keeps its
/// text, so that no number loses digits.
#[derive(Debug, Default)]
pub struct Properties(Vec<(String, Box<RawValue>)>);

impl Properties {
    /// Reads a node's data, which must be UTF-8.
    pub fn read(data: &[u8]) -> Result<Self, std::str::Utf8Error> {
        let text = std::str::from_utf8(data)?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        // The strict reader refuses what the lenient one below would read otherwise than others do.
        if let (Ok(Value::Map(_)), Ok(object)) = (json::parse(data), serde_json::from_str(text)) {
            return Ok(object);
        }
        let mut properties = Self::default();
        properties.set(STRING_VALUE.to_owned(), string(text));
        Ok(properties)
    }

    /// Returns the data of a node with these properties. A lone `string_value` is written as what it was read
    /// from.
    pub fn write(&self) -> Vec<u8> {
        if let [(key, value)] = &self.0[..]
            && key == STRING_VALUE
            && let Ok(text) = serde_json::from_str::<String>(value.get())
        {
            return text.into_bytes();
        }
        json::compact(self.json().as_bytes())
    }

    /// Returns the object as JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns a value as JSON.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.get())
    }

    /// Replaces a value, or adds it at the end.
    pub fn set(&mut self, key: String, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = (String, Box<RawValue>)> {
        self.0.into_iter()
    }

    /// Removes a value, and returns it if there was one.
    pub(super) fn take(&mut self, key: &str) -> Option<Box<RawValue>> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(at).1)
    }

    /// Removes a value. Returns whether there was one.
    pub fn unset(&mut self, key: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(known, _)| known != key);
        self.0.len() < before
    }
}

/// Reads a value of the command line: JSON if it is, else a string.
pub fn value(text: &str) -> Box<RawValue> {
    let parsed = json::parse(text.as_bytes()).is_ok();
    let parsed = parsed.then(|| RawValue::from_string(text.trim().to_owned()).ok()).flatten();
    parsed.unwrap_or_else(|| string(text))
}

fn string(text: &str) -> Box<RawValue> {
    // A string can always be written as JSON.
    serde_json::value::to_raw_value(text).unwrap_or_default()
}

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Properties;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Properties, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = input.next_entry()? {
                    entries.push(entry);
                }
                Ok(Properties(entries))
            }
        }

        input.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;

    #[test]
    fn a_member_is_read_as_ndserviceregistry_reads_it() {
        for (data, expected) in [
            (&b""[..], "null"),
            (b" \n\t", "{}"),
            (b"{\"pid\":1, \"a\": null}", "{\"a\":null,\"pid\":1}"),
            (
                b"{\"b\":[{\"d\":1,\"c\":2}],\"a\":{\"z\":1,\"y\":2}}",
                "{\"a\":{\"y\":2,\"z\":1},\"b\":[{\"c\":2,\"d\":1}]}",
            ),
            (b"{\"a\":1,\"a\":2}", "{\"string_value\":\"{\\\"a\\\":1,\\\"a\\\":2}\"}"),
            (b"{\"a\":1e400}", "{\"string_value\":\"{\\\"a\\\":1e400}\"}"),
            (b" {} ", "{}"),
            (b"text", "{\"string_value\":\"text\"}"),
            (b"[1]", "{\"string_value\":\"[1]\"}"),
            (b"7", "{\"string_value\":\"7\"}"),
            (b"{\"a\":NaN}", "{\"string_value\":\"{\\\"a\\\":NaN}\"}"),
            (b"{\"a\":1", "{\"string_value\":\"{\\\"a\\\":1\"}"),
            (b"\xff", "{\"string_value\":{\"$bytes\":\"/w==\"}}"),
        ] {
            assert_eq!(plain::write(&member(data)), expected, "{data:?}");
        }
    }

    #[test]
    fn an_object_of_members_is_read_as_it_was_written() {
        let deep = ["{\"a\":", "1", "}"];
        let deep = [deep[0].repeat(127), deep[1].to_owned(), deep[2].repeat(127)].concat();
        let data: [(&str, &[u8]); 5] = [
            ("a\"\\:80", b"{\"pid\": 1}"),
            ("b", b""),
            ("c", b"\xff\0"),
            ("d", b"{\"$bytes\": \"aGk=\"}"),
            ("\u{fc}", deep.as_bytes()),
        ];
        let said = data.map(|(name, data)| (name, plain::write(&member(data))));
        let mut object = Vec::new();
        write_members(said.iter().map(|(name, said)| (*name, said.as_bytes())), &mut object).unwrap();
        assert!(object.starts_with(b"{\"a\\\"\\\\:80\":{\"pid\":1},\"b\":null,"));
        assert!(object.ends_with(b"}\n") && !object[..object.len() - 1].contains(&b'\n'));
        let read = members(&object).unwrap();
        assert_eq!(read, data.map(|(name, data)| (name.to_owned(), member(data))));
        let mut none = Vec::new();
        write_members(std::iter::empty(), &mut none).unwrap();
        assert_eq!((&none[..], members(&none).unwrap()), (&b"{}\n"[..], Vec::new()));
        assert!(members(b"{\"a\":1").is_err() && members(b"[]").is_err());
    }

    #[test]
    fn properties_that_are_not_touched_keep_their_text_and_their_order() {
        let data = b"{\"z\": 12345678901234567890123, \"a\": {\"x\": [1, 2]}, \"m\": 1.50}";
        let mut properties = Properties::read(data).unwrap();
        assert_eq!(properties.get("m"), Some("1.50"));
        properties.set("a".to_owned(), value("text"));
        properties.set("new".to_owned(), value(" [1, true] "));
        assert!(properties.unset("m") && !properties.unset("m"));
        let expected = "{\"z\":12345678901234567890123,\"a\":\"text\",\"new\":[1,true]}";
        assert_eq!(String::from_utf8(properties.write()).unwrap(), expected);
    }

    #[test]
    fn a_value_is_json_if_it_parses_and_else_a_string() {
        for (text, expected) in [
            ("1", "1"),
            ("\"1\"", "\"1\""),
            ("true", "true"),
            ("null", "null"),
            ("a b", "\"a b\""),
            ("", "\"\""),
            ("{\"a\":1}", "{\"a\":1}"),
            ("{\"a\":1,\"a\":2}", "\"{\\\"a\\\":1,\\\"a\\\":2}\""),
            ("NaN", "\"NaN\""),
        ] {
            assert_eq!(value(text).get(), expected);
        }
    }

    #[test]
    fn data_that_is_no_object_is_a_string_value_and_is_written_as_it_was() {
        for text in ["text\n", "[1]", "{\"a\":1"] {
            let properties = Properties::read(text.as_bytes()).unwrap();
            assert_eq!(properties.get(STRING_VALUE), Some(&*string(text).get().to_owned()));
            assert_eq!(properties.write(), text.as_bytes());
        }
        assert_eq!(Properties::read(b"  \n").unwrap().write(), b"{}");
        assert!(Properties::read(b"\xff").is_err());
    }
}
