//! Renders errors of scripts for people: `FILE:LINE:COLUMN: message`, the line, and a caret below it.

use std::collections::BTreeMap;

use rhai::{EvalAltResult, LexError, ParseErrorType, Position};

use super::library::Library;
use super::mistake::Mistake;
use super::python;
use super::quote::quote;
use super::registration::CallPosition;
use super::request::Request;
use super::syntax;
use super::vocabulary::{CONSTANTS, FUNCTIONS, Function, Scope, signals, type_named};
use crate::text::{count, suggest, unexpected};

/// A script can throw a string of any length, so longer messages are cut.
const MAX_MESSAGE_CHARS: usize = 1000;

/// More mistakes are only counted. Nobody reads more at once.
const MAX_SHOWN: usize = 50;

/// A loop makes the same mistake again and again. As many are shown as a call can miss keys, and one more.
const MAX_OF_A_PLACE: usize = 3;

/// The note below an error of the parser.
const UNCHECKED_FILE: &str = "the rest of the file is not checked before this is mended";

/// The note below an error of the parser if it is known where the next statement begins.
const UNCHECKED_STATEMENT: &str = "the rest of this statement is not checked before this is mended";

/// Says below an error of the parser that the statements behind it are checked.
pub fn narrow_to_statement(mistake: &mut Mistake) {
    for (words, _) in mistake.notes.iter_mut().filter(|(words, _)| words == UNCHECKED_FILE) {
        *words = UNCHECKED_STATEMENT.to_owned();
    }
}

/// Describes an error of the script of `request`, which happened at `place`. `functions` are the names of the
/// script's own functions.
pub fn mistake(error: &EvalAltResult, request: &Request, functions: &[String], place: Scope) -> Mistake {
    let trace = ErrorTrace::of(error, &request.name);
    let mut text = describe(trace.cause, functions, place);
    text.push_str(&reserved_key_hint(&trace, request));
    let code = request.source(trace.source).map(|(_, code)| code);
    if let (Some(code), Some(line)) = (code, trace.position.line()) {
        let place = (line, trace.position.position().unwrap_or(1));
        if let Some(better) = syntax::explain(trace.cause, code, place, &text) {
            text = better;
        }
    }
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE_CHARS) {
        text.truncate(end);
        text.push_str("...");
    }
    let called = trace.callers.iter().rev().filter(|(_, position)| position.line().is_some());
    let called = called
        .map(|(source, position)| ("called from".to_owned(), Some(CallPosition::new(source, *position))));
    let mut mistake = Mistake { notes: called.collect(), ..Mistake::new(trace.source, trace.position, text) };
    if let EvalAltResult::ErrorParsing(..) = trace.cause {
        let python = request.source(trace.source).and_then(|(_, code)| python::explain(code, &mistake));
        if let Some((text, words)) = python {
            mistake.text = text;
            mistake.notes.extend(words.into_iter().map(|words| (words, None)));
        }
        mistake.notes.push((UNCHECKED_FILE.to_owned(), None));
    }
    mistake
}

/// Renders mistakes for people, those of the script first, and each file's in its order.
pub fn render(mistakes: &[Mistake], request: &Request) -> String {
    let mut sorted: Vec<&Mistake> = mistakes.iter().collect();
    sorted.sort_by_key(|mistake| (*mistake.at.source != *request.name, &mistake.at));
    let mut of_place: BTreeMap<&CallPosition, usize> = BTreeMap::new();
    let mut shown = Vec::new();
    for mistake in &sorted {
        let of_place = of_place.entry(&mistake.at).or_default();
        *of_place += 1;
        if *of_place <= MAX_OF_A_PLACE && shown.len() < MAX_SHOWN {
            shown.push(render_one(mistake, request));
        }
    }
    if shown.len() < sorted.len() {
        let all = count(sorted.len() as u64, "mistake");
        shown.push(format!("{}: {all}; the first {} are shown", request.path, shown.len()));
    }
    shown.join("\n")
}

/// Renders each mistake for itself.
pub fn each(mistakes: &[Mistake], request: &Request) -> Vec<String> {
    mistakes.iter().take(MAX_SHOWN).map(|mistake| render_one(mistake, request)).collect()
}

fn render_one(Mistake { at, text, notes }: &Mistake, request: &Request) -> String {
    let mut message = locate(text, &at.source, at.position(), request);
    for (words, place) in notes {
        let place = match place {
            Some(place) => match request.source(&place.source) {
                Some((path, _)) => format!(" {path}:{}:{}", place.line, place.column),
                None => continue,
            },
            None => String::new(),
        };
        message.push_str(&format!("\n  {words}{place}"));
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
            // A native function has no position, so take that of its call.
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
    // A missing comma before another key gives the same error.
    let is_reserved = || rhai::Engine::new_raw().compile(format!("let {word} = 0;")).is_err();
    if !stops_at_key || word.is_empty() || !is_reserved() {
        return String::new();
    }
    format!("; `{word}` is a word of the language, and goes in quotes as a key: \"{word}\"")
}

fn describe(cause: &EvalAltResult, functions: &[String], place: Scope) -> String {
    match cause {
        EvalAltResult::ErrorRuntime(value, _) => value.to_string(),
        EvalAltResult::ErrorTerminated(reason, _) => reason.to_string(),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => not_found(signature, functions, place),
        EvalAltResult::ErrorVariableNotFound(name, _) => unknown_variable(name, functions),
        EvalAltResult::ErrorStackOverflow(_) => {
            "functions call one another too deep; does one call itself without an end?".into()
        }
        EvalAltResult::ErrorMismatchDataType(needed, given, _) if !needed.is_empty() => {
            format!("{} is needed here, not {}", type_named(needed), type_named(given))
        }
        EvalAltResult::ErrorModuleNotFound(name, _) => format!("unknown module `{name}`"),
        EvalAltResult::ErrorParsing(ParseErrorType::BadInput(LexError::UnexpectedInput(text)), _)
            if text.chars().any(|c| !c.is_ascii_graphic()) =>
        {
            text.chars().map(unexpected).collect()
        }
        EvalAltResult::ErrorParsing(ParseErrorType::Reserved(word), _) if word == "eval" => {
            "`eval` is not available".into()
        }
        other => {
            // The interpreter appends the position, which this message starts with.
            let text = other.to_string();
            let end = text.rfind(" (line ").unwrap_or(text.len());
            plain_types(&text[..end])
        }
    }
}

/// Describes the call of a function that does not exist with such arguments: `name (type, type)`.
fn not_found(signature: &str, functions: &[String], place: Scope) -> String {
    let (name, types) = signature.split_once(' ').unwrap_or((signature, ""));
    match FUNCTIONS.iter().find(|function| function.name == name) {
        Some(Function { usage: Some(usage), scope, .. }) if scope.meets(place) => {
            return usage.text.to_owned();
        }
        Some(Function { usage: Some(_), .. }) => return unknown_function(name, functions, place),
        Some(_) | None => {}
    }
    if name.starts_with("anon$") {
        return "the closure takes another number of arguments".to_owned();
    }
    let types = types.trim_start_matches('(').trim_end_matches(')');
    let types: Vec<String> = types.split(", ").filter(|it| !it.is_empty()).map(type_named).collect();
    let is_operator = !name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    match (is_operator, types.as_slice()) {
        (true, [left, right]) => format!("`{name}` does not work with {left} and {right}"),
        (true, [only]) => format!("`{name}` does not work with {only}"),
        // A method that exists for other values looks the same.
        _ if Library::new().has(name) && !types.is_empty() => {
            let types = types.join(" and ");
            format!("`{name}` does not work with {types}; a function of that name takes other arguments")
        }
        _ => unknown_function(name, functions, place),
    }
}

/// Replaces the interpreter's names of types by the words of the manual.
fn plain_types(text: &str) -> String {
    let mut plain = text.to_owned();
    for (name, word) in [
        ("&str | ImmutableString | String", "string"),
        ("ImmutableString", "string"),
        ("&str", "string"),
        ("i64", "int"),
        ("f64", "float"),
        ("rhai::types::fn_ptr::FnPtr", "function"),
        ("twitcher::config::registration::RegisteredAction", "Exec(...)"),
    ] {
        plain = plain.replace(name, word);
    }
    plain
}

/// Describes a variable that does not exist. `names` are the names that the code sees.
pub fn unknown_variable(name: &str, names: &[String]) -> String {
    let foreign = || syntax::foreign_word(name).map(str::to_owned);
    match python::word(name).or_else(foreign) {
        Some(hint) => format!("unknown variable `{name}`; {hint}"),
        None => format!("unknown variable `{name}`{}", near(name, names, Scope::Action)),
    }
}

/// Describes a function that does not exist at `place`.
pub fn unknown_function(name: &str, names: &[String], place: Scope) -> String {
    match FUNCTIONS.iter().find(|it| it.name == name && !it.scope.meets(place)) {
        Some(Function { scope: Scope::Action, .. }) => format!(
            "unknown function `{name}` here: it exists in the function of an action only, not while the \
             config is loaded"
        ),
        Some(_) => format!(
            "unknown function `{name}` here: it exists while the config is loaded only, not in the function \
             of an action"
        ),
        None => {
            let hidden = if place == Scope::Config { Scope::Action } else { Scope::Config };
            format!("unknown function `{name}`{}", near(name, names, hidden))
        }
    }
}

/// Suggests a word of the vocabulary, or one of `names`. `hidden` are the functions that cannot be meant.
fn near(name: &str, names: &[String], hidden: Scope) -> String {
    let visible = FUNCTIONS.iter().filter(|function| function.scope != hidden);
    let words = visible.map(|function| function.name).chain(CONSTANTS.iter().map(|constant| constant.name));
    let words = words.chain(signals().map(|(name, _)| name));
    suggest(name, words.chain(names.iter().map(String::as_str)))
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
            assert_eq!(near(name, &[], Scope::Action), expected, "{name}");
        }
        assert_eq!(near("on_chnge", &["on_change".to_owned()], Scope::Action), "; did you mean `on_change`?");
    }

    #[test]
    fn every_word_of_the_vocabulary_is_suggested() {
        let functions = FUNCTIONS.iter().filter(|function| function.scope != Scope::Action);
        let words = functions.map(|function| function.name).chain(CONSTANTS.iter().map(|it| it.name));
        for word in words.chain(signals().map(|(name, _)| name)) {
            assert_eq!(near(&word.to_lowercase(), &[], Scope::Action), format!("; did you mean `{word}`?"));
        }
    }
}
