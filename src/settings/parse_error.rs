//! Describes errors of the TOML parser without quoting the file, because any value may be a secret.

use std::path::Path;

use super::error::SettingsError;
use crate::text::suggest;

/// Names the line and column of `error` in `text`, and the key if the line contains one, but quotes neither
/// line nor value.
pub(super) fn parse_error(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let message = for_users(without_values(error.message()));
    let key = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
    // A line within a multi-line string has no key.
    let is_in_string = ["\"\"\"", "'''"].iter().any(|quotes| before.matches(quotes).count() % 2 == 1);
    let key = key.filter(|_| !is_in_string);
    // The message names an unknown key already.
    let key = key.filter(|key| is_key(key) && !message.contains(&format!("`{key}`")));
    let key = key.map_or(String::new(), |key| format!(": {key}"));
    let origin = format!("{}:{line}:{column}{key}", path.display());
    SettingsError::Value { origin, reason: message }
}

/// Returns the parser's message without its quotes of the file, except names that look like keys.
fn without_values(message: &str) -> String {
    let (found, expected) = message.rsplit_once(", expected").unwrap_or((message, ""));
    let quote = |c: char| c == '"' || c == '`';
    let found = match (found.find(quote), found.rfind(quote)) {
        (Some(first), Some(last)) if first < last => match &found[first + 1..last] {
            key if found.contains("field") && is_key(key) => found.to_owned(),
            _ => format!("{}{}", found[..first].trim_end(), &found[last + 1..]),
        },
        _ => found.to_owned(),
    };
    if expected.is_empty() { found } else { format!("{found}, expected{expected}") }
}

/// What the parser calls the types of values, and what they are for users.
const TYPES: [(&str, &str); 4] = [
    ("u32", "an int from 0 to 4294967295"),
    ("u64", "an int from 0"),
    ("f64", "a number"),
    ("path string", "a string with a path"),
];

/// Puts a message without values into words for users: what a value must be, and which key was meant.
fn for_users(message: String) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message };
    if let Some((_, must)) = TYPES.iter().find(|(name, _)| *name == expected) {
        return format!("must be {must}");
    }
    let Some(key) = found.strip_prefix("unknown field `") else { return message };
    let keys = expected.split('`').skip(1).step_by(2);
    match suggest(key.trim_end_matches('`'), keys) {
        near if near.is_empty() => message,
        near => format!("{found}{near}"),
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}
