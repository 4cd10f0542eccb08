//! CBOR (RFC 8949), the first value of which is the whole content.

use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};
use minicbor::encode::Encoder;

use super::keys::Keys;
use super::plain::{self, is_simple, levels};
use super::{Fault, MAX_DEPTH, Value};

/// Reads a whole content.
pub fn decode(bytes: &[u8]) -> Result<Value, Fault> {
    let mut input = Input(Decoder::new(bytes));
    let (value, _) = input.value(0)?;
    match input.0.position() {
        end if end < bytes.len() => Err(Fault::at_byte(end, "there are bytes after the end of the value")),
        _ => Ok(value),
    }
}

/// Writes a value: all lengths are definite, integers take the fewest bytes, and floats take eight.
///
/// Fails for an integer that CBOR does not have.
pub fn encode(value: &Value) -> Result<Vec<u8>, String> {
    let mut out = Encoder::new(Vec::new());
    write(value, &mut out)?;
    Ok(out.into_writer())
}

struct Input<'a>(Decoder<'a>);

impl Input<'_> {
    /// Reads a value that lies `depth` levels deep. Returns it with the levels of its plain form.
    fn value(&mut self, depth: usize) -> Result<(Value, usize), Fault> {
        let start = self.0.position();
        if depth > MAX_DEPTH {
            return Err(too_deep(start));
        }
        let at = |error: Error| fault(start, &error);
        let mut below = 0;
        let value = match self.0.datatype().map_err(at)? {
            Type::Bool => Value::Bool(self.0.bool().map_err(at)?),
            Type::Null => self.0.null().map(|()| Value::Null).map_err(at)?,
            Type::Undefined => self.0.undefined().map(|()| Value::Simple(23)).map_err(at)?,
            Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int => Value::Int(self.0.int().map_err(at)?.into()),
            Type::F16 => float(start, self.half(start)?)?,
            Type::F32 => float(start, self.0.f32().map_err(at)?.into())?,
            Type::F64 => float(start, self.0.f64().map_err(at)?)?,
            Type::Simple => match self.0.simple().map_err(at)? {
                // Smaller ones have a form of one byte, and no other.
                number if is_simple(number) && self.0.position() == start + 1 + usize::from(number >= 32) => {
                    Value::Simple(number)
                }
                number => {
                    return Err(Fault::at_byte(start, format!("no simple value has the number {number}")));
                }
            },
            Type::Bytes => Value::Bytes(self.0.bytes().map_err(at)?.into()),
            Type::BytesIndef => {
                let parts = self.0.bytes_iter().map_err(at)?;
                Value::Bytes(parts.collect::<Result<Vec<_>, _>>().map_err(at)?.concat())
            }
            Type::String => Value::Text(self.0.str().map_err(at)?.into()),
            Type::StringIndef => {
                let parts = self.0.str_iter().map_err(at)?;
                Value::Text(parts.collect::<Result<Vec<_>, _>>().map_err(at)?.concat())
            }
            Type::Array | Type::ArrayIndef => {
                let length = self.0.array().map_err(at)?;
                let mut values = Vec::new();
                while self.goes_on(length, values.len())? {
                    let (value, levels) = self.value(depth + 1)?;
                    values.push(value);
                    below = below.max(levels);
                }
                Value::Array(values)
            }
            Type::Map | Type::MapIndef => {
                let length = self.0.map().map_err(at)?;
                self.map(length, depth, &mut below)?
            }
            Type::Tag => {
                let tag = self.0.tag().map_err(at)?.as_u64();
                let (value, levels) = self.value(depth + 1)?;
                below = levels;
                Value::Tagged(tag, value.into())
            }
            Type::Break => return Err(Fault::at_byte(start, "the end of something that did not begin")),
            Type::Unknown(byte) => {
                return Err(Fault::at_byte(start, format!("no value begins with the byte {byte:#04x}")));
            }
        };
        match below + levels(&value) {
            deep if deep > MAX_DEPTH => Err(too_deep(start)),
            deep => Ok((value, deep)),
        }
    }

    fn map(&mut self, length: Option<u64>, depth: usize, below: &mut usize) -> Result<Value, Fault> {
        let (mut pairs, mut keys, mut all_text) = (Vec::new(), Keys::default(), true);
        while self.goes_on(length, pairs.len())? {
            let start = self.0.position();
            let (key, deep) = self.value(depth + 1)?;
            // The plain forms of two values are equal only if the values are.
            keys.add(plain::write(&key)).map_err(|what| Fault::at_byte(start, what))?;
            let (value, deeper) = self.value(depth + 1)?;
            *below = deep.max(deeper).max(*below);
            all_text &= matches!(key, Value::Text(_));
            pairs.push((key, value));
        }
        if !all_text {
            return Ok(Value::Pairs(pairs));
        }
        let entry = |(key, value)| match key {
            Value::Text(key) => Some((key, value)),
            _ => None,
        };
        Ok(Value::Map(pairs.into_iter().filter_map(entry).collect()))
    }

    /// Whether an array or map has another entry after the first `count`. Skips the end of one of indefinite
    /// `length`.
    fn goes_on(&mut self, length: Option<u64>, count: usize) -> Result<bool, Fault> {
        if let Some(length) = length {
            return Ok((count as u64) < length);
        }
        let start = self.0.position();
        let ends = self.0.datatype().map_err(|error| fault(start, &error))? == Type::Break;
        if ends {
            self.0.set_position(start + 1);
        }
        Ok(!ends)
    }

    fn half(&mut self, start: usize) -> Result<f64, Fault> {
        let Some(&[high, low]) = self.0.input().get(start + 1..start + 3) else {
            return Err(ends_early(start));
        };
        self.0.set_position(start + 3);
        let bits = u16::from_be_bytes([high, low]);
        let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
        let size = match exponent {
            0 => mantissa * 2f64.powi(-24),
            0x1f if mantissa == 0.0 => f64::INFINITY,
            0x1f => f64::NAN,
            _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
        };
        Ok(if bits & 0x8000 == 0 { size } else { -size })
    }
}

fn float(start: usize, value: f64) -> Result<Value, Fault> {
    match value.is_finite() {
        true => Ok(Value::Float(value)),
        false => Err(Fault::at_byte(start, format!("the number {value}, which JSON does not have"))),
    }
}

fn fault(start: usize, error: &Error) -> Fault {
    if error.is_end_of_input() {
        return ends_early(start);
    }
    // The type of a value is known when it is read, so what is left is text that is no UTF-8.
    Fault::at_byte(start, format!("this is no value of CBOR: {error}"))
}

fn ends_early(start: usize) -> Fault {
    Fault::at_byte(start, "the content ends before this value does")
}

fn too_deep(start: usize) -> Fault {
    Fault::at_byte(start, format!("nested more than {MAX_DEPTH} deep"))
}

type Output = Encoder<Vec<u8>>;

fn write(value: &Value, out: &mut Output) -> Result<(), String> {
    let written = match value {
        Value::Null => out.null(),
        Value::Bool(it) => out.bool(*it),
        Value::Int(it) => {
            let int = minicbor::data::Int::try_from(*it);
            out.int(int.map_err(|_| format!("CBOR has no integer as large as {it}"))?)
        }
        Value::Float(it) => out.f64(*it),
        Value::Text(it) => out.str(it),
        Value::Bytes(it) => out.bytes(it),
        Value::Simple(23) => out.undefined(),
        Value::Simple(it) => out.simple(*it),
        Value::Tagged(tag, it) => {
            out.tag(minicbor::data::Tag::new(*tag)).map_err(|error| error.to_string())?;
            return write(it, out);
        }
        Value::Array(values) => {
            out.array(values.len() as u64).map_err(|error| error.to_string())?;
            return values.iter().try_for_each(|value| write(value, out));
        }
        Value::Map(entries) => {
            out.map(entries.len() as u64).map_err(|error| error.to_string())?;
            return entries.iter().try_for_each(|(key, value)| {
                out.str(key).map_err(|error| error.to_string())?;
                write(value, out)
            });
        }
        Value::Pairs(pairs) => {
            out.map(pairs.len() as u64).map_err(|error| error.to_string())?;
            return pairs
                .iter()
                .try_for_each(|(key, value)| write(key, out).and_then(|()| write(value, out)));
        }
    };
    written.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let hex = hex.replace(' ', "");
        data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hexadecimal digits")
    }

    // The examples of RFC 8949, appendix A.
    #[test]
    fn values_have_a_plain_form() {
        for (hex, expected) in [
            ("00", "0"),
            ("1bffffffffffffffff", "18446744073709551615"),
            ("3bffffffffffffffff", "-18446744073709551616"),
            ("1b7fffffffffffffff", "9223372036854775807"),
            ("1b8000000000000000", "9223372036854775808"),
            ("3b7fffffffffffffff", "-9223372036854775808"),
            ("3b8000000000000000", "-9223372036854775809"),
            ("a13bffffffffffffffff01", r#"{"$map":[[-18446744073709551616,1]]}"#),
            // The next larger ones have a tag.
            ("c249010000000000000000", r#"{"$tag":[2,{"$bytes":"AQAAAAAAAAAA"}]}"#),
            ("c349010000000000000000", r#"{"$tag":[3,{"$bytes":"AQAAAAAAAAAA"}]}"#),
            ("f93c00", "1.0"),
            ("f97bff", "65504.0"),
            ("f90001", "5.960464477539063e-8"),
            ("f9c400", "-4.0"),
            ("fa47c35000", "100000.0"),
            ("fb3ff199999999999a", "1.1"),
            ("f4", "false"),
            ("f6", "null"),
            ("f7", r#"{"$simple":23}"#),
            ("f0", r#"{"$simple":16}"#),
            ("f8ff", r#"{"$simple":255}"#),
            ("d74401020304", r#"{"$tag":[23,{"$bytes":"AQIDBA=="}]}"#),
            ("62c3bc", "\"\u{fc}\""),
            ("8301820203820405", "[1,[2,3],[4,5]]"),
            ("a201020304", r#"{"$map":[[1,2],[3,4]]}"#),
            ("a26161016162820203", r#"{"a":1,"b":[2,3]}"#),
            ("5f42010243030405ff", r#"{"$bytes":"AQIDBAU="}"#),
            ("7f657374726561646d696e67ff", "\"streaming\""),
            ("9f018202039f0405ffff", "[1,[2,3],[4,5]]"),
            ("bf61610161629f0203ffff", r#"{"a":1,"b":[2,3]}"#),
            ("a0", "{}"),
            ("a161610a", r#"{"a":10}"#),
            ("a166246279746573 6161", r#"{"$$bytes":"a"}"#),
        ] {
            let value = decode(&bytes(hex)).unwrap();
            assert_eq!(plain::write(&value), expected, "{hex}");
            assert_eq!(plain::parse(expected.as_bytes()).as_ref(), Ok(&value), "{hex}");
            assert_eq!(decode(&encode(&value).unwrap()), Ok(value), "{hex}");
        }
    }

    #[test]
    fn what_is_no_cbor_is_told_with_its_place() {
        let early = "the content ends before this value does";
        for (hex, expected) in [
            ("", format!("byte 0: {early}")),
            ("8201", format!("byte 2: {early}")),
            // A length of 2^63, of each kind.
            ("5b8000000000000000", format!("byte 0: {early}")),
            ("7b8000000000000000", format!("byte 0: {early}")),
            ("9b8000000000000000", format!("byte 9: {early}")),
            ("bb8000000000000000", format!("byte 9: {early}")),
            ("1b0000", format!("byte 0: {early}")),
            ("f97e00", "byte 0: the number NaN, which JSON does not have".into()),
            ("82 01 fa7f800000", "byte 2: the number inf, which JSON does not have".into()),
            ("fbfff0000000000000", "byte 0: the number -inf, which JSON does not have".into()),
            ("0102", "byte 1: there are bytes after the end of the value".into()),
            ("a2616101616102", "byte 4: duplicate key \"a\"".into()),
            ("a201020102", "byte 3: duplicate key 1".into()),
            // The same key, once in a longer form.
            ("a2010218 0102", "byte 3: duplicate key 1".into()),
            ("ff", "byte 0: the end of something that did not begin".into()),
            ("1c", "byte 0: no value begins with the byte 0x1c".into()),
            ("f800", "byte 0: no simple value has the number 0".into()),
            ("9f01", format!("byte 2: {early}")),
        ] {
            assert_eq!(decode(&bytes(hex)).expect_err(hex).to_string(), expected, "{hex}");
        }
        assert!(decode(&bytes("62ffff")).expect_err("no UTF-8").to_string().starts_with("byte 0: "));
        assert!(decode(&bytes("5f6161ff")).is_err(), "text in a byte string");
    }

    #[test]
    fn nesting_is_limited_also_in_the_plain_form() {
        for (open, levels) in [("81", 1), ("a10a", 3), ("a1616181", 2), ("c1", 2), ("9f", 1)] {
            let close = if open == "9f" { "ff" } else { "" };
            let nested = |times| bytes(&[&open.repeat(times), "00", &close.repeat(times)].concat());
            let most = MAX_DEPTH / levels;
            let value = decode(&nested(most)).unwrap();
            assert_eq!(plain::parse(plain::write(&value).as_bytes()), Ok(value), "{open}");
            let deeper = decode(&nested(most + 1)).expect_err(open).to_string();
            assert!(deeper.ends_with(": nested more than 127 deep"), "{deeper}");
            let hostile = decode(&nested(100_000)).expect_err(open).to_string();
            assert!(hostile.ends_with(": nested more than 127 deep"), "{hostile}");
        }
    }
}
