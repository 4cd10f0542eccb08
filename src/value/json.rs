//! JSON (RFC 8259).

use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::{self, Serialize, Serializer};

use super::keys::Keys;
use super::{Fault, MAX_DEPTH, Place, Value};

/// Reads a whole text. Integers that do not fit in 64 bits become floats.
pub fn parse(bytes: &[u8]) -> Result<Value, Fault> {
    parse_with(bytes, &Numbers::default())
}

/// Reads a whole text. Integers that CBOR does not have become floats.
pub(super) fn parse_for_cbor(bytes: &[u8]) -> Result<Value, Fault> {
    let integers = numbers(bytes).enumerate().filter_map(|(place, (_, number))| {
        let integer = number.parse().ok().filter(|integer| BELOW_64_BITS.contains(integer))?;
        Some((place, integer))
    });
    parse_with(bytes, &Numbers { next: Cell::default(), integers: integers.collect() })
}

fn parse_with(bytes: &[u8], numbers: &Numbers) -> Result<Value, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        Fault::after(&before, "this is not UTF-8")
    })?;
    if text.starts_with('\u{feff}') {
        return Err(Fault::after("", "JSON must not begin with a byte order mark"));
    }
    let mut input = serde_json::Deserializer::from_str(text);
    let value = Seed(numbers).deserialize(&mut input).and_then(|value| input.end().map(|()| value));
    value.map_err(|error| fault(text, &error))
}

/// Returns the text without white space between its parts, in one line. It must be JSON. Numbers stay as they
/// are, however large.
pub fn compact(text: &[u8]) -> Vec<u8> {
    let mut strings = Strings::default();
    text.iter().copied().filter(|byte| strings.take(*byte) || !byte.is_ascii_whitespace()).collect()
}

/// Tells the strings of a JSON text from the rest of it.
#[derive(Default)]
struct Strings {
    is_string: bool,
    is_escaped: bool,
}

impl Strings {
    /// Takes the next byte. Returns whether it belongs to a string, behind the quote at its beginning.
    fn take(&mut self, byte: u8) -> bool {
        if !self.is_string {
            self.is_string = byte == b'"';
            return false;
        }
        self.is_string = self.is_escaped || byte != b'"';
        self.is_escaped = !self.is_escaped && byte == b'\\';
        true
    }
}

/// The integers of CBOR that are below those of 64 bits.
const BELOW_64_BITS: Range<i128> = -1 << 64..i64::MIN as i128;

/// Returns the first integer that CBOR does not have, and that would become a float with another value
/// perhaps. The text must be JSON.
pub fn inexact_integer(text: &[u8]) -> Option<Fault> {
    let is_integer = |number: &str| number.bytes().skip(1).all(|byte| byte.is_ascii_digit());
    let has_cbor =
        |number: &str| number.parse().is_ok_and(|integer| (BELOW_64_BITS.start..1 << 64).contains(&integer));
    let mut beyond = numbers(text).filter(|(_, number)| is_integer(number) && !has_cbor(number));
    beyond.next().map(|(start, _)| {
        let before = String::from_utf8_lossy(&text[..start]);
        Fault::after(&before, "this integer is not from -2^64 to 2^64-1")
    })
}

/// Iterates over the numbers of a JSON text, each with its place.
fn numbers(text: &[u8]) -> impl Iterator<Item = (usize, &str)> {
    let (mut strings, mut start) = (Strings::default(), 0);
    text.iter().chain([&b' ']).enumerate().filter_map(move |(end, byte)| {
        let is_in_string = strings.take(*byte);
        if !is_in_string && matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') {
            return None;
        }
        let here = std::mem::replace(&mut start, end + 1);
        let number = text.get(here..end).filter(|_| !is_in_string)?;
        // A word has an `e` perhaps.
        let is_number = number.iter().any(u8::is_ascii_digit);
        is_number.then(|| Some((here, std::str::from_utf8(number).ok()?)))?
    })
}

/// Returns compact JSON, in one line. The value must have come from JSON.
pub fn write(value: &Value) -> String {
    serde_json::to_string(&Compact(value)).unwrap_or_default()
}

struct Compact<'a>(&'a Value);

impl Serialize for Compact<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => to.serialize_unit(),
            Value::Bool(it) => to.serialize_bool(*it),
            Value::Int(it) => to.serialize_i128(*it),
            Value::Float(it) => to.serialize_f64(*it),
            Value::Text(it) => to.serialize_str(it),
            Value::Array(it) => to.collect_seq(it.iter().map(Compact)),
            Value::Map(it) => to.collect_map(it.iter().map(|(key, value)| (key, Compact(value)))),
            Value::Bytes(_) | Value::Pairs(_) | Value::Tagged(..) | Value::Simple(_) => {
                Err(<S::Error as ser::Error>::custom("JSON has no such value"))
            }
        }
    }
}

fn fault(text: &str, error: &serde_json::Error) -> Fault {
    let (line, column) = (error.line().max(1), error.column());
    // The column counts bytes, up to and with the one that is wrong.
    let text = text.split('\n').nth(line - 1).unwrap_or_default().as_bytes();
    let column = String::from_utf8_lossy(&text[..column.min(text.len())]).chars().count().max(1);
    let what = error.to_string();
    let what = what.rsplit_once(" at line ").map_or(&*what, |(what, _)| what);
    let what = match what {
        "recursion limit exceeded" => format!("nested more than {MAX_DEPTH} deep"),
        what => what.to_owned(),
    };
    Fault { place: Place::Text { line, column }, what }
}

/// What the numbers of a text are, by their places among them.
#[derive(Default)]
struct Numbers {
    next: Cell<usize>,
    /// The integers below those of 64 bits.
    integers: Vec<(usize, i128)>,
}

impl Numbers {
    /// Takes the next number. Returns what it is, if it is one of these integers.
    fn take(&self) -> Option<i128> {
        let place = self.next.replace(self.next.get() + 1);
        let found = self.integers.binary_search_by_key(&place, |(place, _)| *place);
        found.ok().map(|index| self.integers[index].1)
    }
}

#[derive(Clone, Copy)]
struct Seed<'a>(&'a Numbers);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        self.0.take();
        Ok(Value::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        self.0.take();
        Ok(Value::Int(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(self.0.take().map_or(Value::Float(value), Value::Int))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = input.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let (mut entries, mut keys) = (Vec::new(), Keys::default());
        while let Some(key) = input.next_key::<String>()? {
            keys.add(serde_json::to_string(&key).map_err(de::Error::custom)?).map_err(de::Error::custom)?;
            entries.push((key, input.next_value_seed(self)?));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &[u8]) -> String {
        parse(text).expect_err("a fault").to_string()
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        for (text, expected) in [
            (&b""[..], "line 1, column 1: EOF while parsing a value"),
            (b"{\"a\":\n  1,\n  }", "line 3, column 3: trailing comma"),
            (b"{\"\xc3\xa4\xc3\xa4\": x}", "line 1, column 8: expected value"),
            (b"[1, NaN]", "line 1, column 5: expected value"),
            (b"[Infinity]", "line 1, column 2: expected value"),
            (b"1e400", "line 1, column 5: number out of range"),
            (b"1 2", "line 1, column 3: trailing characters"),
            (b"\xef\xbb\xbf1", "line 1, column 1: JSON must not begin with a byte order mark"),
            (b"[\n\"a\xff\"]", "line 2, column 3: this is not UTF-8"),
            (br#""\ud800""#, "line 1, column 8: unexpected end of hex escape"),
            (br#"{"a": 1, "b": {"c": 1, "c": 2}}"#, "line 1, column 26: duplicate key \"c\""),
            (b"{1: 2}", "line 1, column 2: key must be a string"),
        ] {
            assert_eq!(says(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn nesting_is_limited() {
        let nested = |depth: usize| ["[", "]"].map(|it| it.repeat(depth)).concat();
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(says(nested(MAX_DEPTH + 1).as_bytes()), "line 1, column 128: nested more than 127 deep");
        assert_eq!(says(nested(100_000).as_bytes()), "line 1, column 128: nested more than 127 deep");
        assert_eq!(
            says(r#"{"a":"#.repeat(100_000).as_bytes()),
            "line 1, column 636: nested more than 127 deep"
        );
    }

    #[test]
    fn compact_text_says_the_same() {
        let text = br#" { "a b" : [ 1 , 123456789012345678901234567890.10 ] , "\\\" " : "\\" , "c":{ } } "#;
        let expected = r#"{"a b":[1,123456789012345678901234567890.10],"\\\" ":"\\","c":{}}"#;
        assert_eq!(String::from_utf8(compact(text)).unwrap(), expected);
        assert_eq!(parse(text), parse(expected.as_bytes()));
    }

    #[test]
    fn an_integer_that_cbor_does_not_have_is_found() {
        let says = |text: &str| inexact_integer(text.as_bytes()).map(|fault| fault.to_string());
        for text in [
            "18446744073709551615",
            "-9223372036854775809",
            "[-18446744073709551616,true,null]",
            "[1e30, 1.5, -1e-7]",
            r#"{"18446744073709551616\\\"1": true}"#,
        ] {
            assert_eq!(says(text), None, "{text}");
        }
        for (text, column) in [
            ("18446744073709551616", 1),
            ("[true,\"\u{e4}\", -18446744073709551617]", 12),
            ("{\"a\":100000000000000000000}", 6),
            ("[1e30,9999999999999999999999999999999999999999999]", 7),
        ] {
            let expected = format!("line 1, column {column}: this integer is not from -2^64 to 2^64-1");
            assert_eq!(says(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn an_integer_of_cbor_stays_one_wherever_it_is() {
        let (below, lowest) = (i128::from(i64::MIN) - 1, -1 << 64);
        let text = format!(
            "{{\"-9223372036854775809\":[1,-2.5,\"[{below}\\\",{lowest}\",\
             {below},true,1e3,{{\"e\":{lowest}}}],\"\":{below}}}"
        );
        let (int, string) = (Value::Int, |text: &str| Value::Text(text.to_owned()));
        let list = vec![
            int(1),
            Value::Float(-2.5),
            string(&format!("[{below}\",{lowest}")),
            int(below),
            Value::Bool(true),
            Value::Float(1000.0),
            Value::Map(vec![("e".to_owned(), int(lowest))]),
        ];
        let list = ("-9223372036854775809".to_owned(), Value::Array(list));
        let expected = Value::Map(vec![list, (String::new(), int(below))]);
        assert_eq!(parse_for_cbor(text.as_bytes()), Ok(expected));
        let beyond = |text: &str| parse_for_cbor(text.as_bytes());
        assert_eq!(beyond("-18446744073709551617"), Ok(Value::Float(-18446744073709551616.0)));
        assert_eq!(beyond("18446744073709551616"), Ok(Value::Float(18446744073709551616.0)));
    }

    #[test]
    fn numbers_keep_their_kind() {
        for (text, expected) in [
            ("1", Value::Int(1)),
            ("-9223372036854775808", Value::Int(i64::MIN.into())),
            ("18446744073709551615", Value::Int(u64::MAX.into())),
            ("18446744073709551616", Value::Float(18446744073709551616.0)),
            ("1.0", Value::Float(1.0)),
            ("0.1", Value::Float(0.1)),
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(expected));
        }
    }
}
