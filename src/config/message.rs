//! Errors of scripts as people read them: `FILE:LINE:COLUMN: message`, the line, and a caret below it.

use crate::text::suggest;
use rhai::{EvalAltResult, ParseErrorType, Position};

/// What scripts call and name. Suggestions come from here and from the script's own functions.
const API: [&str; 13] = [
    "RegisterWatch",
    "Exec",
    "Fn",
    "env",
    "hostname",
    "WATCH_DATA",
    "WATCH_CHILDREN",
    "QUEUE",
    "DISCARD",
    "PARALLEL",
    "print",
    "debug",
    "import",
];

/// A script can throw a string of any length; the log wants one that people read.
const MAX_MESSAGE_CHARS: usize = 1000;

/// Where sources are found for quoting: `(path as shown, text)` by the name the interpreter knows it by.
pub trait Sources {
    /// The text and the path of the script or module `name`. `None` where no such source is known.
    fn source(&self, name: &str) -> Option<(String, &str)>;
}

/// Renders `error` of the script `main`; `functions` are the names the script itself defines.
pub fn render(error: &EvalAltResult, main: &str, sources: &impl Sources, functions: &[String]) -> String {
    let trace = ErrorTrace::of(error, main);
    let mut text = describe(trace.cause, functions);
    text.push_str(&reserved_key_hint(&trace, sources));
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE_CHARS) {
        text.truncate(end);
        text.push_str("...");
    }
    let mut message = locate(&text, trace.source, trace.position, sources);
    for (source, position) in trace.callers.iter().rev() {
        if let (Some((path, _)), Some(line)) = (sources.source(source), position.line()) {
            message.push_str(&format!("\n  called from {path}:{line}:{}", position.position().unwrap_or(1)));
        }
    }
    message
}

/// `PATH:LINE:COLUMN: text`, the source line and a caret.
pub fn locate(text: &str, source: &str, position: Position, sources: &impl Sources) -> String {
    let Some((path, code)) = sources.source(source) else {
        return format!("{source}: {text}");
    };
    let Some(line) = position.line() else {
        return format!("{path}: {text}");
    };
    let column = position.position().unwrap_or(1);
    let quoted = code.lines().nth(line - 1).map_or(String::new(), |code| quote(code, column));
    format!("{path}:{line}:{column}: {text}{quoted}")
}

/// Longer lines are generated ones; the position says enough.
const MAX_QUOTED_COLUMNS: usize = 200;

fn quote(code: &str, column: usize) -> String {
    if code.chars().count() > MAX_QUOTED_COLUMNS {
        return String::new();
    }
    // A tab would come out of the log escaped, and the caret would point elsewhere.
    let code = code.replace('\t', " ");
    format!("\n  | {code}\n  | {}^", " ".repeat(column - 1))
}

/// The innermost error and how it was reached.
struct ErrorTrace<'a> {
    cause: &'a EvalAltResult,
    source: &'a str,
    position: Position,
    /// Calls of functions that led there, outermost first.
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
            // Native functions have no position of their own: the call is where it happened.
            if trace.position.is_none()
                && let Some((source, position)) = trace.callers.pop()
            {
                trace.source = source;
                trace.position = position;
            }
        }
    }
}

/// `rlimits: #{ as: ... }` reads well, and is not the language.
fn reserved_key_hint(trace: &ErrorTrace<'_>, sources: &impl Sources) -> String {
    let stops_at_key = match trace.cause {
        EvalAltResult::ErrorParsing(ParseErrorType::PropertyExpected, _) => true,
        EvalAltResult::ErrorParsing(ParseErrorType::MissingToken(_, why), _) => why.contains("object map"),
        _ => false,
    };
    let Some((line, (_, code))) = trace.position.line().zip(sources.source(trace.source)) else {
        return String::new();
    };
    let before = trace.position.position().unwrap_or(1) - 1;
    let rest = code.lines().nth(line - 1).unwrap_or_default().chars().skip(before);
    let word: String = rest.take_while(char::is_ascii_alphabetic).collect();
    // The same is said where a comma is missing before any other key.
    let is_reserved = || rhai::Engine::new_raw().compile(format!("let {word} = 0;")).is_err();
    if !stops_at_key || word.is_empty() || !is_reserved() {
        return String::new();
    }
    format!("; `{word}` is a word of the language, and goes in quotes as a key: \"{word}\"")
}

fn describe(cause: &EvalAltResult, functions: &[String]) -> String {
    let known = || API.into_iter().chain(functions.iter().map(String::as_str));
    match cause {
        EvalAltResult::ErrorRuntime(value, _) => value.to_string(),
        EvalAltResult::ErrorTerminated(reason, _) => reason.to_string(),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            let name = signature.split(' ').next().unwrap_or(signature);
            match name {
                "RegisterWatch" => "RegisterWatch takes one argument, a map: RegisterWatch(#{ ... })".into(),
                "Exec" => {
                    "Exec takes one argument: a string for the shell, or an array [program, argument...]"
                        .into()
                }
                "env" => {
                    "env takes the name of a variable, and what to give where it is not set: env(\"NAME\", \"default\")"
                        .into()
                }
                "hostname" => "hostname takes no argument".into(),
                name => format!("unknown function `{signature}`{}", suggest(name, known())),
            }
        }
        EvalAltResult::ErrorVariableNotFound(name, _) => {
            format!("unknown variable `{name}`{}", suggest(name, known()))
        }
        EvalAltResult::ErrorModuleNotFound(name, _) => format!("unknown module `{name}`"),
        EvalAltResult::ErrorParsing(ParseErrorType::Reserved(word), _) if word == "eval" => {
            "`eval` is not available".into()
        }
        other => {
            // The interpreter appends the position, which stands in front already.
            let text = other.to_string();
            let end = text.rfind(" (line ").unwrap_or(text.len());
            text[..end].to_owned()
        }
    }
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
            ("frobnicate", ""),
        ] {
            assert_eq!(suggest(name, API), expected, "{name}");
        }
    }
}
