//! What the member says of itself, from the command line.

use crate::model::MemberFormat;
use crate::text::suggest;
use crate::value::Value;
use crate::value::json;
use crate::value::member::Data;
use crate::value::object::{self, Properties};

/// Reads the name of a format, in any case.
pub fn parse_format(text: &str) -> Result<MemberFormat, String> {
    let known = MemberFormat::ALL.into_iter().find(|format| format.as_str().eq_ignore_ascii_case(text));
    known.ok_or_else(|| {
        let names = MemberFormat::ALL.map(MemberFormat::as_str);
        let near = suggest(&text.to_uppercase(), names);
        format!("the formats are {}{near}", names.join(", "))
    })
}

/// Puts the arguments of `--data` together.
pub fn parse(arguments: &[String], format: MemberFormat) -> Result<Data, String> {
    if format == MemberFormat::Raw {
        return match arguments {
            [] => Ok(Data::Bytes(Vec::new())),
            [text] => Ok(Data::Text(text.clone())),
            _ => Err("--format RAW takes one --data, which is written as it is".to_owned()),
        };
    }
    let mut object = Properties::default();
    for argument in arguments {
        match json::parse(argument.as_bytes()) {
            Ok(Value::Map(entries)) => {
                // The text of each value is kept, so that no number loses digits.
                let read = Properties::read(argument.as_bytes()).map_err(|error| error.to_string())?;
                for (key, _) in entries {
                    if let Some(value) = read.get(&key) {
                        object.set(key.clone(), object::value(value));
                    }
                }
            }
            Ok(Value::Text(text)) if arguments.len() == 1 => return Ok(Data::Text(text)),
            Ok(Value::Text(_)) => return Err("a text is the only --data of a member".to_owned()),
            Ok(_) => return Err(format!("--data {argument}: data is an object, a text, or KEY=VALUE")),
            Err(fault) => match argument.split_once('=') {
                Some((key, value)) if !key.is_empty() && !key.trim_start().starts_with(['{', '[', '"']) => {
                    object.set(key.to_owned(), object::value(value));
                }
                Some(_) | None => {
                    return Err(format!(
                        "--data {argument}: it is neither KEY=VALUE, such as weight=10, nor JSON: {fault}"
                    ));
                }
            },
        }
    }
    Ok(Data::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str], format: MemberFormat) -> Result<String, String> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        parse(&arguments, format).map(|data| match data {
            Data::Object(object) => object.json(),
            Data::Text(text) => format!("text {text}"),
            Data::Bytes(bytes) => format!("bytes {bytes:?}"),
        })
    }

    #[test]
    fn data_is_put_together_of_keys_and_objects() {
        use MemberFormat::{Raw, Registry};
        for (arguments, format, expected) in [
            (&[][..], Registry, "{}"),
            (&["weight=10", "name=web 1", "empty="], Registry, r#"{"weight":10,"name":"web 1","empty":""}"#),
            (
                &["{\"a\": 1, \"n\": 12345678901234567890123}", "a=2", "b={\"c\":[]}"],
                Registry,
                r#"{"a":2,"n":12345678901234567890123,"b":{"c":[]}}"#,
            ),
            (&["\"a=b\""], Registry, "text a=b"),
            (&["{\"a\": 1}"], Raw, "text {\"a\": 1}"),
            (&[], Raw, "bytes []"),
        ] {
            assert_eq!(parsed(arguments, format).as_deref(), Ok(expected));
        }
        for (wrong, format) in [
            (&["weight"][..], Registry),
            (&["=1"], Registry),
            (&["{\"a\": x=1}"], Registry),
            (&["[1]"], Registry),
            (&["\"a\"", "b=1"], Registry),
            (&["a", "b"], Raw),
        ] {
            assert!(parsed(wrong, format).is_err(), "{wrong:?}");
        }
    }
}
