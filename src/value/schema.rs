//! JSON Schema, draft 2020-12.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, ReferencingError, ValidationError, Validator};
use serde_json::Value as Json;

use super::{Fault, Place, Value, json, plain};
use crate::text::shortened;

/// The longest explanation of a fault, in characters.
const MAX_WHAT: usize = 300;

/// The schema of schemas.
const STANDARD: &str = "https://json-schema.org/draft/2020-12/schema";

/// A schema that is ready to check values. It is one file: it refers to its own parts and to the schemas of
/// the standard, and nothing is fetched for it.
pub struct Schema(Validator);

impl Schema {
    /// Compiles the text of a schema. The error says what is wrong, and where.
    pub fn compile(text: &[u8]) -> Result<Self, String> {
        // This finds duplicate keys as well.
        json::parse(text).map_err(|fault| fault.to_string())?;
        let schema: Json = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if !(schema.is_object() || schema.is_boolean()) {
            return Err("a schema is a JSON object".into());
        }
        check_draft(&schema)?;
        let options = jsonschema::options().with_draft(Draft::Draft202012).offline();
        options.build(&schema).map(Self).map_err(|error| mistake(&schema, &error))
    }

    /// Checks the plain form of a value. The explanation names no part of it but the keys on the way there.
    pub fn check(&self, value: &Value) -> Result<(), Fault> {
        let json: Json = serde_json::from_str(&plain::write(value))
            .map_err(|error| Fault { place: Place::Pointer(String::new()), what: error.to_string() })?;
        let Err(error) = self.0.validate(&json) else { return Ok(()) };
        let what = shortened(&error.masked_with("the value").to_string(), MAX_WHAT).into_owned();
        Err(Fault { place: Place::Pointer(error.instance_path().as_str().to_owned()), what })
    }
}

/// Refuses a schema that is written for another draft: some of its words mean something else in this one, and
/// others nothing.
fn check_draft(schema: &Json) -> Result<(), String> {
    match schema.get("$schema") {
        None => Ok(()),
        Some(Json::String(draft)) if draft.trim_end_matches('#') == STANDARD => Ok(()),
        Some(other) => {
            let what = format!("names {other}, and a schema is of draft 2020-12: write {STANDARD:?}");
            Err(at("/$schema", &shortened(&what, MAX_WHAT)))
        }
    }
}

/// Says what is wrong with a schema that does not compile, and where.
fn mistake(schema: &Json, error: &ValidationError<'_>) -> String {
    let ValidationErrorKind::Referencing(ReferencingError::Unretrievable { uri, .. }) = error.kind() else {
        return at(error.instance_path().as_str(), &shortened(&error.to_string(), MAX_WHAT));
    };
    let what = format!("refers to {uri:?}, and a schema is one file: put the other schema in `$defs`");
    at(&pointer_to(schema, "", uri).unwrap_or_default(), &shortened(&what, MAX_WHAT))
}

/// Returns the pointer to the first reference that may have become `uri`.
fn pointer_to(schema: &Json, pointer: &str, uri: &str) -> Option<String> {
    match schema {
        Json::Object(entries) => entries.iter().find_map(|(key, value)| {
            let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            match value {
                Json::String(to) if ["$ref", "$dynamicRef"].contains(&&**key) => {
                    uri.ends_with(&**to).then_some(pointer)
                }
                value => pointer_to(value, &pointer, uri),
            }
        }),
        Json::Array(values) => values
            .iter()
            .enumerate()
            .find_map(|(index, value)| pointer_to(value, &format!("{pointer}/{index}"), uri)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
    }
}

fn at(pointer: &str, what: &str) -> String {
    if pointer.is_empty() { what.to_owned() } else { format!("{pointer}: {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = r##"{
        "type": "object",
        "required": ["port"],
        "properties": {
            "port": { "$ref": "#/$defs/port" },
            "tags": { "type": "array", "items": { "type": "string" } }
        },
        "$defs": { "port": { "type": "integer", "minimum": 1, "maximum": 65535 } }
    }"##;

    #[test]
    fn what_does_not_conform_is_told_with_its_place_and_without_its_content() {
        let schema = Schema::compile(LIMITS.as_bytes()).map_err(|_| ()).unwrap();
        let check = |text: &str| schema.check(&json::parse(text.as_bytes()).unwrap());
        assert_eq!(check(r#"{"port": 80, "tags": ["a"]}"#), Ok(()));
        for (text, expected) in [
            (r#"{"port": "secret"}"#, r#"/port: the value is not of type "integer""#),
            (r#"{"port": 80, "tags": ["a", 1]}"#, r#"/tags/1: the value is not of type "string""#),
            (r#"{}"#, r#"the whole value: "port" is a required property"#),
            (r#"{"port": 70000}"#, "/port: the value is greater than the maximum of 65535"),
        ] {
            assert_eq!(check(text).expect_err("a fault").to_string(), expected);
        }
    }

    #[test]
    fn a_wrong_schema_is_refused() {
        let says = |text: &str| Schema::compile(text.as_bytes()).map(|_| ()).expect_err(text);
        assert_eq!(says("{\"type\": }"), "line 1, column 10: expected value");
        assert_eq!(says("[]"), "a schema is a JSON object");
        assert!(says(r#"{"type": "nonsense"}"#).starts_with("/type: "));
        assert!(says(r#"{"pattern": "("}"#).starts_with("/pattern: "));
        assert!(says(r##"{"$ref": "#/$defs/none"}"##).contains("none"));
        assert_eq!(
            says(r#"{"properties": {"a": {"$ref": "https://example.com/a.json"}}}"#),
            "/properties/a/$ref: refers to \"https://example.com/a.json\", and a schema is one file: put the \
             other schema in `$defs`"
        );
        for other in ["other.json", "//example.com/a.json", "file:///etc/passwd", "a/b.json#/x"] {
            let said = says(&format!(r#"{{"$defs": {{"a/b": {{"anyOf": [{{"$ref": {other:?}}}]}}}}}}"#));
            assert!(said.starts_with(&format!("/$defs/a~1b/anyOf/0/$ref: refers to {other:?}, ")), "{said}");
        }
        assert_eq!(
            says(r#"{"$schema": "http://json-schema.org/draft-07/schema#"}"#),
            "/$schema: names \"http://json-schema.org/draft-07/schema#\", and a schema is of draft 2020-12: \
             write \"https://json-schema.org/draft/2020-12/schema\""
        );
        let long = says(&format!(r#"{{"pattern": "{}"}}"#, "(".repeat(100_000)));
        assert!(long.chars().count() < 400, "{long}");
    }

    #[test]
    fn a_schema_of_one_file_is_taken() {
        for text in [
            r#"{"$ref": "https://json-schema.org/draft/2020-12/schema"}"#,
            r#"{"$schema": "https://json-schema.org/draft/2020-12/schema"}"#,
            // Only a schema has references, and not a value.
            r#"{"enum": [{"$ref": "https://example.com/a.json"}], "default": {"$ref": "a.json"}}"#,
            r#"{"properties": {"$ref": {"type": "string"}}}"#,
            // A part with a name of its own, wherever that seems to be.
            r#"{
                "$id": "https://example.com/root.json",
                "$defs": {"a": {"$id": "https://example.com/a.json", "type": "integer"}},
                "$ref": "https://example.com/a.json"
            }"#,
        ] {
            assert!(Schema::compile(text.as_bytes()).is_ok(), "{text}");
        }
    }
}
