//! Explains the errors of the parser: what people usually meant who wrote what it does not take.

use rhai::{EvalAltResult, LexError, ParseErrorType};

use super::outline::{STATEMENTS, UNCLOSED, word};
use super::vocabulary::with_unit;

/// Returns the message for an error of the parser at this line and column of `code`, from 1, if there is a
/// better one than the parser's own, which is `said`.
pub fn explain(error: &EvalAltResult, code: &str, place: (usize, usize), said: &str) -> Option<String> {
    let EvalAltResult::ErrorParsing(error, _) = error else { return None };
    let (line, column) = place;
    let line_text = code.lines().nth(line - 1).unwrap_or_default();
    let split = line_text.char_indices().nth(column - 1).map_or(line_text.len(), |(at, _)| at);
    let (before, after) = line_text.split_at(split);
    let above: String = code.lines().take(line - 1).flat_map(|line| [line, "\n"]).collect();
    let before_all = format!("{above}{before}");
    match error {
        ParseErrorType::BadInput(LexError::MalformedEscapeSequence(escape)) => Some(format!(
            "{escape} is no escape in a text; write \\\\ for a backslash, or put the text in backticks"
        )),
        ParseErrorType::Reserved(word) => {
            foreign_word(word).map(|instead| format!("there is no `{word}`; {instead}"))
        }
        ParseErrorType::DuplicatedProperty(key) => Some(format!("`{key}` stands twice in this map")),
        ParseErrorType::MissingToken(token, why) if why == UNCLOSED => {
            let opening = ["#{", "${"].into_iter().find(|opening| after.starts_with(opening));
            let opening = opening.or_else(|| after.get(..1)).unwrap_or_default();
            Some(format!("`{opening}` is never closed; `{token}` is missing"))
        }
        ParseErrorType::MissingToken(token, why) => {
            if let Some(number) = number_with_unit(before, after) {
                return Some(number);
            }
            if before.ends_with('"') && after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                return Some(format!(
                    "a text ends before `{}`: does it, or the text before it, lack a quote? A quote in a \
                     text is \\\"",
                    word(after)
                ));
            }
            match (token.as_str(), after.chars().next()) {
                (":", Some('=')) => Some(format!("{said}; a map has `key: value`")),
                (";", Some(':')) if opens_block_for_map(&before_all) => {
                    Some("a map begins with #{, as in RegisterWatch(#{ znode: ..., action: ... })".into())
                }
                (",", Some(':')) if why.contains("arguments") => {
                    Some("named values are a map, RegisterWatch(#{ znode: ..., action: ... })".into())
                }
                (",", Some(_)) if why.contains("arguments") && ends_call(before, after) => {
                    let name = why.split('\'').nth(1).unwrap_or_default();
                    Some(format!("the call of `{name}` lacks its `)`"))
                }
                ("," | ";", Some(_)) if before.trim().is_empty() && line > 1 => {
                    Some(format!("{said}; put a {token} at the end of the line before"))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Explains `5m`, at whose unit the parser stops.
fn number_with_unit(before: &str, after: &str) -> Option<String> {
    let digits = before.len() - before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let unit = word(after);
    if digits == 0 || unit.is_empty() {
        return None;
    }
    let written = format!("{}{unit}", &before[before.len() - digits..]);
    let instead = match with_unit(&written) {
        Some(meant) => format!("write {meant}"),
        None => "a number has no unit; put a text in quotes".to_owned(),
    };
    Some(format!("`{written}` is no number; {instead}"))
}

/// Whether the code up to the colon of the first key opens a block where a map was meant: `({ znode`.
fn opens_block_for_map(before: &str) -> bool {
    let key = before.trim_end().trim_end_matches(|c: char| c.is_alphanumeric() || c == '_' || c == '"');
    let opening = key.trim_end();
    opening.ends_with('{') && !opening.ends_with("#{")
}

/// Whether the parser, which looks for another argument of a call, has met what cannot be one: the end of
/// what the call stands in, or the beginning of the next statement.
fn ends_call(before: &str, after: &str) -> bool {
    after.starts_with(['}', ']', ';']) || before.trim().is_empty() && STATEMENTS.contains(&word(after))
}

/// What to do about `${HOME}` in backticks.
const SHELL: &str = "put the text in double quotes for a variable of the shell";

/// Returns what to write for a word that other languages have and this one has not.
pub fn foreign_word(name: &str) -> Option<&'static str> {
    match name {
        "yes" | "on" | "Yes" | "On" | "YES" | "ON" | "TRUE" => Some("write true"),
        "no" | "off" | "No" | "Off" | "NO" | "OFF" | "FALSE" => Some("write false"),
        "HOME" | "HOSTNAME" | "LANG" | "LOGNAME" | "PATH" | "PWD" | "SHELL" | "USER" => Some(SHELL),
        name if name.starts_with("TWITCHER_") => Some(SHELL),
        "null" | "nil" | "undefined" | "NULL" => Some("write () for nothing, or leave the key out"),
        _ => None,
    }
}
