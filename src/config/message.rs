//! Errors of scripts as people read them: `FILE:LINE:COLUMN: message`, the line, and a caret below it.

use rhai::{EvalAltResult, ParseErrorType, Position};

use super::request::Request;
use super::vocabulary::{CONSTANTS, FUNCTIONS, Scope, signals};
use crate::text::suggest;

/// A script can throw a string of any length, so longer messages are cut.
const MAX_MESSAGE_CHARS: usize = 1000;

/// A longer line was generated. Its position says enough.
const MAX_QUOTED_COLUMNS: usize = 200;

/// Renders `error` of the script of `request`. `functions` are the names of its own functions.
pub fn render(error: &EvalAltResult, request: &Request, functions: &[String]) -> String {
    let trace = ErrorTrace::of(error, &request.name);
    let mut text = describe(trace.cause, functions);
    text.push_str(&reserved_key_hint(&trace, request));
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE_CHARS) {
        text.truncate(end);
        text.push_str("...");
    }
    let mut message = locate(&text, trace.source, trace.position, request);
    for (source, position) in trace.callers.iter().rev() {
        if let (Some((path, _)), Some(line)) = (request.source(source), position.line()) {
            message.push_str(&format!("\n  called from {path}:{line}:{}", position.position().unwrap_or(1)));
        }
    }
    message
}

/// Returns `PATH:LINE:COLUMN: text`, the line and a caret. `source` is the name of the script or of a module.
pub fn locate(text: &str, source: &str, position: Position, request: &Request) -> String {
    let Some((path, code)) = request.source(source) else {
        return format!("{source}: {text}");
    };
    let Some(line) = position.line() else {
        return format!("{path}: {text}");
    };
    let column = position.position().unwrap_or(1);
    let quoted = code.lines().nth(line - 1).map_or(String::new(), |code| quote(code, column));
    format!("{path}:{line}:{column}: {text}{quoted}")
}

fn quote(code: &str, column: usize) -> String {
    if code.chars().count() > MAX_QUOTED_COLUMNS {
        return String::new();
    }
    // The log escapes tabs, which would move the text away from the caret.
    let code = code.replace('\t', " ");
    format!("\n  | {code}\n  | {}^", " ".repeat(column - 1))
}

/// The innermost error, and the calls that led to it.
struct ErrorTrace<'a> {
    cause: &'a EvalAltResult,
    source: &'a str,
    position: Position,
    /// The calls, outermost first.
    callers: Vec<(&'a str, Position)>,
}

impl<'a> ErrorTrace<'a> {
    fn of(error: &'a EvalAltResult, main: &'a str) -> Self {
        let mut trace = Self { cause: error, source: main, position: error.position(), callers: Vec::new() };
        loop {
            let inner = match trace.cause {
                EvalAltResult::ErrorInFunctionCall(_, source, inner, position) => {
                    trace.callers.push((trace.source, *position));
                    if !source.is_empty() {
                        trace.source = source;
                    }
                    inner
                }
                EvalAltResult::ErrorInModule(source, inner, position) => {
                    trace.callers.push((trace.source, *position));
                    trace.source = source;
                    inner
                }
                _ => return trace,
            };
            trace.cause = inner;
            trace.position = inner.position();
            // A native function has no position of its own, so take that of its call.
            if trace.position.is_none()
                && let Some((source, position)) = trace.callers.pop()
            {
                trace.source = source;
                trace.position = position;
            }
        }
    }
}

/// Explains the error for a map such as `#{ as: 1 }`, whose key is a keyword.
fn reserved_key_hint(trace: &ErrorTrace<'_>, request: &Request) -> String {
    let stops_at_key = match trace.cause {
        EvalAltResult::ErrorParsing(ParseErrorType::PropertyExpected, _) => true,
        EvalAltResult::ErrorParsing(ParseErrorType::MissingToken(_, why), _) => why.contains("object map"),
        _ => false,
    };
    let Some((line, (_, code))) = trace.position.line().zip(request.source(trace.source)) else {
        return String::new();
    };
    let before = trace.position.position().unwrap_or(1) - 1;
    let rest = code.lines().nth(line - 1).unwrap_or_default().chars().skip(before);
    let word: String = rest.take_while(char::is_ascii_alphabetic).collect();
    // A comma that is missing before another key gives the same error.
    let is_reserved = || rhai::Engine::new_raw().compile(format!("let {word} = 0;")).is_err();
    if !stops_at_key || word.is_empty() || !is_reserved() {
        return String::new();
    }
    format!("; `{word}` is a word of the language, and goes in quotes as a key: \"{word}\"")
}

fn describe(cause: &EvalAltResult, functions: &[String]) -> String {
    match cause {
        EvalAltResult::ErrorRuntime(value, _) => value.to_string(),
        EvalAltResult::ErrorTerminated(reason, _) => reason.to_string(),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            let name = signature.split(' ').next().unwrap_or(signature);
            let usage = FUNCTIONS.iter().find(|function| function.name == name).and_then(|it| it.usage);
            usage.map_or_else(
                || format!("unknown function `{signature}`{}", near(name, functions)),
                str::to_owned,
            )
        }
        EvalAltResult::ErrorVariableNotFound(name, _) => {
            format!("unknown variable `{name}`{}", near(name, functions))
        }
        EvalAltResult::ErrorModuleNotFound(name, _) => format!("unknown module `{name}`"),
        EvalAltResult::ErrorParsing(ParseErrorType::Reserved(word), _) if word == "eval" => {
            "`eval` is not available".into()
        }
        other => {
            // The interpreter appends the position, which this message starts with.
            let text = other.to_string();
            let end = text.rfind(" (line ").unwrap_or(text.len());
            text[..end].to_owned()
        }
    }
}

/// Suggests a word of the vocabulary, or one of the script's own functions.
fn near(name: &str, functions: &[String]) -> String {
    let in_configs = FUNCTIONS.iter().filter(|function| function.scope != Scope::Action);
    let words =
        in_configs.map(|function| function.name).chain(CONSTANTS.iter().map(|constant| constant.name));
    let words = words.chain(signals().map(|(name, _)| name));
    suggest(name, words.chain(functions.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        for (name, expected) in [
            ("RegisterWach", "; did you mean `RegisterWatch`?"),
            ("registerwatch", "; did you mean `RegisterWatch`?"),
            ("exec", "; did you mean `Exec`?"),
            ("WATCH_CHILD", "; did you mean `WATCH_CHILDREN`?"),
            ("WATCH_TREES", "; did you mean `WATCH_TREE`?"),
            ("CHANGD", "; did you mean `CHANGED`?"),
            ("KEPP", "; did you mean `KEEP`?"),
            ("STPO", "; did you mean `STOP`?"),
            ("SIG_HUP", "; did you mean `SIGHUP`?"),
            ("frobnicate", ""),
            ("read_fil", ""),
        ] {
            assert_eq!(near(name, &[]), expected, "{name}");
        }
        assert_eq!(near("on_chnge", &["on_change".to_owned()]), "; did you mean `on_change`?");
    }

    #[test]
    fn every_word_of_the_vocabulary_is_suggested() {
        let functions = FUNCTIONS.iter().filter(|function| function.scope != Scope::Action);
        let words = functions.map(|function| function.name).chain(CONSTANTS.iter().map(|it| it.name));
        for word in words.chain(signals().map(|(name, _)| name)) {
            assert_eq!(near(&word.to_lowercase(), &[]), format!("; did you mean `{word}`?"));
        }
    }
}
