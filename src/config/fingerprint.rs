//! When is a function still the same function?
//!
//! Its fingerprint covers its own code, every named function of its file and modules (which of them it calls
//! is not decidable), the closures any of these make, the global constants and the values it captured. It does
//! not cover where any of that stands: comments, white space and other registrations change nothing.

use crate::text::StableHash;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{AST, Dynamic, FnPtr, Map, ScriptFuncDef};

use super::register::Exec;
use crate::model::{OnFailure, RunMode, RunOnLoad, WatchType};

/// How the interpreter names closures: this and a hash that covers positions.
const CLOSURE: &str = "anon$";

/// The functions of a file and its modules, by name. Built once per evaluation.
pub struct Functions {
    by_name: BTreeMap<String, Vec<FunctionDef>>,
    /// Every named function and module body in canonical form, hashed.
    shared: StableHash,
}

pub struct FunctionDef {
    /// The file or module that defines it.
    pub source: String,
    pub code: Rc<ScriptFuncDef>,
}

impl Functions {
    /// `asts` are the script and its modules, each by its name.
    pub fn of(asts: &[(String, AST)]) -> Self {
        let mut by_name: BTreeMap<String, Vec<FunctionDef>> = BTreeMap::new();
        for (source, ast) in asts {
            for (.., name, _, code) in ast.shared_lib().iter_script_fn_info() {
                let definition = FunctionDef { source: source.clone(), code: code.clone() };
                by_name.entry(name.to_owned()).or_default().push(definition);
            }
        }
        let mut functions = Self { by_name, shared: StableHash::default() };
        let mut shared = StableHash::default();
        let named = functions.by_name.iter().filter(|(name, _)| !name.starts_with(CLOSURE));
        // The map of a library has no order of its own.
        let texts: BTreeSet<String> = named
            .flat_map(|(name, definitions)| definitions.iter().map(move |definition| (name, definition)))
            .map(|(name, FunctionDef { source, code })| {
                format!("{source} {name} {}", functions.code(code, &mut Vec::new()))
            })
            .collect();
        texts.iter().for_each(|text| shared.add(text));
        // A module's body makes the constants and closures that its functions see. The script's own body is
        // left out: other registrations stand there.
        for (source, ast) in asts.iter().skip(1) {
            let body = format!("{:?}", ast.statements());
            shared.add(&format!("{source} {}", functions.canonical(&body, &mut Vec::new())));
        }
        functions.shared = shared;
        functions
    }

    pub fn named(&self, name: &str) -> &[FunctionDef] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// The names that a script can write.
    pub fn names(&self) -> Vec<String> {
        self.by_name.keys().filter(|name| !name.starts_with(CLOSURE)).cloned().collect()
    }

    /// The fingerprint of `function` where it sees `constants`.
    pub fn fingerprint(&self, function: &FnPtr, constants: &BTreeMap<String, Dynamic>) -> String {
        let mut hash = self.shared.clone();
        for (name, value) in constants {
            hash.add(name);
            hash.add(&self.value(value, &mut Vec::new()));
        }
        hash.add(&self.function(function, &mut Vec::new()));
        hash.finish()
    }

    fn function(&self, function: &FnPtr, open: &mut Vec<String>) -> String {
        let captured: Vec<String> = function.iter_curry().map(|value| self.value(value, open)).collect();
        format!("{}({})", self.reference(function.fn_name(), open), captured.join(","))
    }

    /// A value as text that differs where the value does. The interpreter's own Debug form shows no more of
    /// our types than their names.
    fn value(&self, value: &Dynamic, open: &mut Vec<String>) -> String {
        let value = value.flatten_clone();
        if let Some(array) = value.read_lock::<rhai::Array>() {
            let items: Vec<String> = array.iter().map(|item| self.value(item, open)).collect();
            return format!("[{}]", items.join(","));
        }
        if let Some(map) = value.read_lock::<Map>() {
            let items: Vec<String> =
                map.iter().map(|(key, item)| format!("{key:?}:{}", self.value(item, open))).collect();
            return format!("#{{{}}}", items.join(","));
        }
        if let Some(function) = value.read_lock::<FnPtr>() {
            return self.function(&function, open);
        }
        if let Some(exec) = value.read_lock::<Exec>() {
            return format!("{:?}", *exec);
        }
        if let Some(run_mode) = value.read_lock::<RunMode>() {
            return format!("{:?}", *run_mode);
        }
        if let Some(run_on_load) = value.read_lock::<RunOnLoad>() {
            return format!("{:?}", *run_on_load);
        }
        if let Some(on_failure) = value.read_lock::<OnFailure>() {
            return format!("{:?}", *on_failure);
        }
        if let Some(watch_type) = value.read_lock::<WatchType>() {
            return format!("{:?}", *watch_type);
        }
        format!("{}:{value:?}", value.type_name())
    }

    /// A closure is its code; a named function is its name, since all named code is covered.
    fn reference(&self, name: &str, open: &mut Vec<String>) -> String {
        if !name.starts_with(CLOSURE) || open.iter().any(|open| open == name) {
            return name.trim_start_matches(CLOSURE).to_owned();
        }
        let Some(definition) = self.named(name).first() else {
            return name.to_owned();
        };
        open.push(name.to_owned());
        let text = self.code(&definition.code, open);
        open.pop();
        text
    }

    fn code(&self, code: &ScriptFuncDef, open: &mut Vec<String>) -> String {
        format!("{:?} {}", code.params, self.canonical(&format!("{:?}", code.body), open))
    }

    /// The Debug form of code without its positions and with closures in place of their names.
    ///
    /// String and character literals are kept as they are: what looks like a position there is none.
    fn canonical(&self, debug: &str, open: &mut Vec<String>) -> String {
        let mut out = String::with_capacity(debug.len());
        let mut rest = debug;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '"' | '\'' => literal_length(rest, first),
                '0'..='9' => match position_length(rest) {
                    Some(length) => {
                        rest = &rest[length..];
                        continue;
                    }
                    None => rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len(),
                },
                other => other.len_utf8(),
            };
            let (token, after) = rest.split_at(length);
            match token.trim_matches('"') {
                name if first == '"' && name.starts_with(CLOSURE) => {
                    out.push_str(&self.reference(name, open))
                }
                _ => out.push_str(token),
            }
            rest = after;
        }
        out
    }
}

/// The length of the literal that `text` starts with, both quotes included.
fn literal_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the position (`3:14`) or span (`3:14-20`, `3:14-5:1`) that `text` starts with.
fn position_length(text: &str) -> Option<usize> {
    let number = |from: usize| {
        let length = text[from..].bytes().take_while(u8::is_ascii_digit).count();
        (length > 0).then_some(from + length)
    };
    let after = |at: usize, sign: u8| (text.as_bytes().get(at) == Some(&sign)).then_some(at + 1);
    let start = number(after(number(0)?, b':')?)?;
    let Some(end) = after(start, b'-').and_then(number) else {
        return Some(start);
    };
    Some(after(end, b':').and_then(number).unwrap_or(end))
}
