//! Describes errors of the TOML parser without quoting the file, because any value may be a secret.

use std::path::Path;

use super::error::SettingsError;
use crate::text::{hidden_character, position, suggest, unexpected};

/// Names the line and column of `error` in `text`, and the key if the line contains one, but quotes neither
/// line nor value.
pub(super) fn parse_error(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let stray = stray_character(text);
    let at = stray.or_else(|| error.span().map(|span| span.start));
    let before = at.and_then(|at| text.get(..at)).unwrap_or_default();
    let (line, column) = position(before);
    let message = match stray.and_then(|at| text[at..].chars().next()) {
        Some(c) => unexpected(c),
        None => for_users(without_values(error.message())),
    };
    let key = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
    let hidden = key.filter(|_| stray.is_none()).and_then(hidden_character);
    let message = hidden.into_iter().chain([message]).collect::<Vec<_>>().join("; ");
    // A line within a multi-line string has no key.
    let is_in_string = ["\"\"\"", "'''"].iter().any(|quotes| before.matches(quotes).count() % 2 == 1);
    let key = key.filter(|_| !is_in_string);
    // The message names an unknown key already.
    let key = key.filter(|key| is_key(key) && !message.contains(&format!("`{key}`")));
    let key = key.map_or(String::new(), |key| format!(": {key}"));
    let origin = format!("{}:{line}:{column}{key}", path.display());
    SettingsError::Value { origin, reason: message }
}

/// Returns the place of the first character that TOML does not allow and that people do not see, or take for
/// another. The parser's message would not name it. Letters are left out: they may be part of a secret whose
/// quotes are missing.
fn stray_character(text: &str) -> Option<usize> {
    let control = text.char_indices().find(|(at, c)| match c {
        '\t' | '\n' => false,
        '\r' => !text[at + 1..].starts_with('\n'),
        _ => c.is_ascii_control(),
    });
    let mut rest = text;
    let outside_of_strings = loop {
        let Some(c) = rest.chars().next() else { break None };
        let skipped = match c {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => string_length(rest, c),
            _ if c.is_ascii() || c.is_alphanumeric() => c.len_utf8(),
            _ => break Some(text.len() - rest.len()),
        };
        rest = &rest[skipped..];
    };
    control.map(|(at, _)| at).into_iter().chain(outside_of_strings).min()
}

/// Returns the length of the string that `text` begins with. A string that does not end ends with its line.
fn string_length(text: &str, quote: char) -> usize {
    let long = quote.to_string().repeat(3);
    let (quotes, is_long) = if text.starts_with(&long) { (&*long, true) } else { (&long[..1], false) };
    let mut at = quotes.len();
    while let Some(c) = text[at..].chars().next() {
        match c {
            '\\' if quote == '"' => at += text[at..].chars().take(2).map(char::len_utf8).sum::<usize>(),
            '\n' if !is_long => return at,
            _ if text[at..].starts_with(quotes) => return at + quotes.len(),
            _ => at += c.len_utf8(),
        }
    }
    text.len()
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
const TYPES: [(&str, &str); 5] = [
    ("u32", "an int from 0 to 4294967295"),
    ("u64", "an int from 0"),
    ("f64", "a number of seconds, without quotes and without a unit"),
    ("path string", "a string with a path"),
    ("a string", "a string in quotes"),
];

/// What the parser's messages about values contain, and what these mean for users.
const SYNTAX: [(&str, &str); 10] = [
    ("invalid boolean", UNQUOTED),
    ("key with no value", "a line is KEY = VALUE, and a comment begins with #"),
    ("unexpected key or value", "after its value, a line has nothing but a comment, which begins with #"),
    ("string values must be quoted", UNQUOTED),
    ("invalid time", UNQUOTED),
    ("invalid date", UNQUOTED),
    (
        "unexpected leading zero",
        "a number has no leading zero; write it without, or a mode in quotes, such as \"0660\"",
    ),
    ("may only go between digits", "in a number, `_` stands only between two digits"),
    ("invalid mantissa", POINT),
    ("invalid fraction", POINT),
];

const UNQUOTED: &str = "must be a string in quotes, or a number without a unit";
const POINT: &str = "a number has digits before and after its point";

/// Puts a message without values into words for users: what a value must be, and which key was meant.
fn for_users(message: String) -> String {
    if let Some((_, meaning)) = SYNTAX.iter().find(|(part, _)| message.contains(part)) {
        return (*meaning).to_owned();
    }
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message };
    if let Some((_, must)) = TYPES.iter().find(|(name, _)| *name == expected) {
        return format!("must be {must}");
    }
    if expected.starts_with("a block [") {
        return format!("must be {expected}");
    }
    let Some(key) = found.strip_prefix("unknown field `") else { return message };
    let key = key.trim_end_matches('`');
    let keys: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    match suggest(key, keys.iter().copied()) {
        near if !near.is_empty() => format!("{found}{near}"),
        _ => match elsewhere(key, &keys) {
            Some(place) => format!("{found}; {place}"),
            None => message,
        },
    }
}

/// The blocks, and their keys.
const BLOCKS: [(&str, &[&str]); 6] = [
    ("control", &["socket", "mode", "group"]),
    ("metrics", &["listen"]),
    ("auth", &["scheme", "credentials"]),
    ("tls", &["ca", "cert", "key"]),
    ("sasl", &["username", "password"]),
    ("etcd", &["username", "password"]),
];

/// Flags of `twitcher run` that are no keys.
const FLAGS: [&str; 8] = [
    "allow_untrusted",
    "daemonize",
    "debug",
    "devel",
    "ledger_reset",
    "log_to_stdout",
    "verbose",
    "zkservers",
];

/// Says where an unknown key belongs; `keys` are those that can stand where it stands.
fn elsewhere(key: &str, keys: &[&str]) -> Option<String> {
    let is_top = keys.contains(&"stores");
    let name = key.replace('-', "_");
    match name.as_str() {
        "log_level" => return Some("run the daemon with -v or -d for a longer log".into()),
        "zkservers" | "servers" => return Some("write store = \"zk://HOST:PORT,...\"".into()),
        name if FLAGS.contains(&name) => {
            return Some(format!("--{} is a flag of `twitcher run` only", name.replace('_', "-")));
        }
        _ => {}
    }
    if !is_top {
        const TOP: [&str; 6] =
            ["store", "session_timeout", "state_dir", "log_file", "log_format", "pid_file"];
        return TOP.contains(&&*name).then(|| "it belongs above the first [block]".to_owned());
    }
    let is_of = |block: &str| name.strip_prefix(block).is_some_and(|rest| rest.starts_with('_'));
    let (block, keys) = BLOCKS.iter().find(|(block, _)| is_of(block))?;
    let (last, others) = keys.split_last()?;
    let keys =
        if others.is_empty() { (*last).to_owned() } else { format!("{} and {last}", others.join(", ")) };
    Some(format!("the block [{block}] has {keys}"))
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}
