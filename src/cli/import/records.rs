//! Reading what `twitcher export` writes: objects, one a line or in one array.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};

use data_encoding::BASE64;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::NodePath;

/// The longest line: the largest data that any store takes, all of it escaped.
const MAX_LINE: u64 = 128 << 20;

/// A node. Without data, it is only the root of what follows.
#[derive(Debug)]
pub struct Record {
    pub node: NodePath,
    pub data: Option<Vec<u8>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Object {
    znode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "a store gives its own versions")]
    version: Option<i64>,
    #[serde(default, skip_serializing)]
    value: Option<Box<RawValue>>,
}

impl Record {
    pub fn parse(text: &str) -> Result<Self, String> {
        // The parser takes an array for the fields in their order.
        if !text.trim_start().starts_with('{') {
            let what =
                "it is no JSON object with znode, and data or base64; import takes jsonl and json, no csv";
            return Err(what.to_owned());
        }
        let object: Object = serde_json::from_str(text).map_err(|error| {
            if error.is_eof() {
                return "the file ends in the middle of this line: it is not all that was exported"
                    .to_owned();
            }
            let why = error.to_string();
            let (why, _) = why.rsplit_once(" at line ").unwrap_or((&why, ""));
            format!("column {}: {why}", error.column())
        })?;
        if object.value.is_some() {
            return Err("it has a decoded value; import an export that was made without --decode".to_owned());
        }
        let node = NodePath::parse(&object.znode).map_err(|error| error.to_string())?;
        let data = match (object.data, object.base64) {
            (Some(_), Some(_)) => return Err(format!("node {node} has data and base64; give one of them")),
            (Some(data), None) => Some(data.into_bytes()),
            (None, Some(base64)) => {
                let decoded = BASE64.decode(base64.as_bytes());
                Some(decoded.map_err(|error| format!("node {node}: base64: {error}"))?)
            }
            (None, None) => None,
        };
        Ok(Self { node, data })
    }
}

/// Calls `take` with each record, its text, and the number of its line. The error has the line before it.
pub fn each(
    mut input: impl BufRead,
    name: &str,
    take: &mut dyn FnMut(u64, &str, Record) -> Result<(), String>,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot read {name}: {error}");
    let mut line = Vec::new();
    let mut is_first = true;
    for number in 1.. {
        line.clear();
        (&mut input).take(MAX_LINE).read_until(b'\n', &mut line).map_err(failed)?;
        if line.is_empty() {
            break;
        }
        let at = |why: String| format!("{name}:{number}: {why}");
        if line.len() as u64 == MAX_LINE {
            return Err(at(format!("it is longer than {} MiB", MAX_LINE >> 20)));
        }
        let text = match std::str::from_utf8(&line) {
            Ok(text) => text,
            // A character is cut.
            Err(error) if error.error_len().is_none() => {
                return Err(at("the file ends in the middle of this line".to_owned()));
            }
            Err(error) => return Err(at(format!("byte {}: it is not UTF-8", error.valid_up_to() + 1))),
        };
        if text.trim().is_empty() {
            continue;
        }
        if std::mem::take(&mut is_first) && text.trim_start().starts_with('[') {
            return each_of_array(io::Cursor::new(line).chain(input), name, number as usize, take);
        }
        let record = Record::parse(text).map_err(at)?;
        take(number, text, record).map_err(at)?;
    }
    Ok(())
}

/// Reads one array, an element at a time, which begins in this line.
fn each_of_array(
    input: impl Read,
    name: &str,
    first_line: usize,
    take: &mut dyn FnMut(u64, &str, Record) -> Result<(), String>,
) -> Result<(), String> {
    let lines = Cell::new(first_line);
    // The parser looks ahead before it tells of an error.
    let faulty = Cell::new(None);
    let mut take = |text: &str, record: Result<Record, String>| {
        record.and_then(|record| take(0, text, record)).inspect_err(|_| faulty.set(Some(lines.get())))
    };
    let mut parser = serde_json::Deserializer::from_reader(Counted { input, lines: &lines });
    let done = parser.deserialize_seq(Elements(&mut take)).and_then(|()| parser.end());
    done.map_err(|error| {
        let why = error.to_string();
        let (why, _) = why.rsplit_once(" at line ").unwrap_or((&why, ""));
        let why = if error.is_eof() { "the file ends before its array does" } else { why };
        let line = faulty.get().unwrap_or(first_line - 1 + error.line());
        format!("{name}:{line}: {why}")
    })
}

/// Counts the lines that are read.
struct Counted<'a, R> {
    input: R,
    lines: &'a Cell<usize>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        let lines = buffer[..length].iter().filter(|byte| **byte == b'\n').count();
        self.lines.set(self.lines.get() + lines);
        Ok(length)
    }
}

/// Takes each element's text, and the record that it is.
type TakeElement<'a> = &'a mut dyn FnMut(&str, Result<Record, String>) -> Result<(), String>;

struct Elements<'a>(TakeElement<'a>);

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(Element(self.0))?.is_some() {}
        Ok(())
    }
}

struct Element<'a>(TakeElement<'a>);

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let text = text.get().replace(['\n', '\r'], " ");
        (self.0)(&text, Record::parse(&text)).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (String, Option<Vec<u8>>);

    fn read(text: &[u8]) -> Result<Vec<Read>, String> {
        let mut records = Vec::new();
        each(text, "f", &mut |_, _, record| {
            records.push((record.node.to_string(), record.data));
            Ok(())
        })?;
        Ok(records)
    }

    #[test]
    fn lines_and_arrays_are_read() {
        let expected = vec![
            ("/a".to_owned(), None),
            ("/a/b".into(), Some(b"x".into())),
            ("/a/c".into(), Some(vec![255])),
        ];
        let lines = "{\"znode\":\"/a\"}\n\n{\"znode\":\"/a/b\",\"version\":3,\"data\":\"x\"}\n\
                     {\"base64\":\"/w==\",\"znode\":\"/a/c\"}";
        assert_eq!(read(lines.as_bytes()), Ok(expected.clone()));
        let array = format!("[\n{}\n]\n", lines.replace("\n\n", "\n").replace('\n', ",\n"));
        assert_eq!(read(array.as_bytes()), Ok(expected.clone()));
        assert_eq!(read(format!("\n \n{array}").as_bytes()), Ok(expected));
        assert_eq!(read(b""), Ok(vec![]));
        assert_eq!(read(b"[]"), Ok(vec![]));
    }

    #[test]
    fn a_fault_is_told_with_its_line() {
        let good = "{\"znode\":\"/a\",\"data\":\"\"}\n";
        for (bad, said) in [
            ("{\"znode\":\"/a/b\",\"da", "f:2: the file ends in the middle of this line"),
            ("{\"znode\":\"/a/b\",\"data\":\"\u{e4}", "f:2: the file ends in the middle of this line"),
            ("{\"znode\":\"/a/b\",\"base64\":\"*\"}", "f:2: node /a/b: base64: "),
            ("{\"znode\":\"/a/b\",\"data\":\"\",\"base64\":\"\"}", "f:2: node /a/b has data and base64"),
            ("{\"znode\":\"a/b\",\"data\":\"\"}", "f:2: node path \"a/b\" is not absolute"),
            ("{\"znode\":\"/a/b\",\"value\":1}", "f:2: it has a decoded value"),
            ("{\"znode\":\"/a/b\",\"dat\":\"\"}", "f:2: column 21: unknown field `dat`"),
            ("[\"/a/b\",\"\"]", "f:2: it is no JSON object"),
            ("{\"znode\":\"/a/b\"}}", "f:2: column 17: trailing characters"),
        ] {
            let error = read(format!("{good}{bad}").as_bytes()).unwrap_err();
            assert!(error.starts_with(said), "{bad}: {error}");
        }
        let cut = [good.as_bytes(), b"{\"znode\":\"/\xc3"].concat();
        assert!(read(&cut).unwrap_err().starts_with("f:2: the file ends in the middle"));
        let array = "[\n{\"znode\":\"/a\",\"data\":\"\"},\n{\"znode\":\"b\"}\n]";
        let error = read(array.as_bytes()).unwrap_err();
        assert!(error.starts_with("f:3: node path \"b\""), "{error}");
        let error = read(format!("\n{array}").as_bytes()).unwrap_err();
        assert!(error.starts_with("f:4: node path \"b\""), "{error}");
        let error = read(&array.as_bytes()[..20]).unwrap_err();
        assert!(error.starts_with("f:2: the file ends before"), "{error}");
    }
}
