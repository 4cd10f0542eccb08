//! Fingerprints of functions. Two functions with the same fingerprint do the same.
//!
//! A fingerprint covers the function's own code, every named function of its file and modules (which of them
//! are called is not decidable), the closures that these make, the global constants, and the captured values.
//! It does not cover positions: comments, white space and other registrations change nothing.
//!
//! The definition hash in the ledger contains the fingerprint. If it changes, the function runs once more.

use std::any::type_name;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{AST, Dynamic, FnPtr, Map, ScriptFuncDef};

use super::registration::RegisteredAction;
use super::vocabulary::Constant;
use crate::model::{Facet, OnFailure, RunMode, RunOnLoad};
use crate::text::StableHash;

/// The prefix of the names of closures. The interpreter adds a hash that covers positions.
const CLOSURE: &str = "anon$";

/// The functions of a file and its modules, by name.
pub struct Functions {
    by_name: BTreeMap<String, Vec<FunctionDef>>,
    /// A hash of every named function and module body in canonical form.
    shared: StableHash,
}

pub struct FunctionDef {
    /// The file or module that defines the function.
    pub source: String,
    pub code: Rc<ScriptFuncDef>,
}

impl Functions {
    /// `asts` are the script, which comes first, and its modules, each with its name.
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
        // The order of a library may differ between processes.
        let texts: BTreeSet<String> = named
            .flat_map(|(name, definitions)| definitions.iter().map(move |definition| (name, definition)))
            .map(|(name, FunctionDef { source, code })| {
                format!("{source} {name} {}", functions.code(code, &mut Vec::new()))
            })
            .collect();
        texts.iter().for_each(|text| shared.add(text));
        // A module's body makes the constants and closures that its functions see. The script's own body has
        // other registrations, so it is left out.
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

    /// Returns the names of the functions, without closures.
    pub fn names(&self) -> Vec<String> {
        self.by_name.keys().filter(|name| !name.starts_with(CLOSURE)).cloned().collect()
    }

    /// Returns the fingerprint of `function`, which sees `constants`.
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

    /// Returns a text that differs between different values. The interpreter's Debug form does not: for a
    /// value of a foreign type, it is only the name of the type.
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
        if let Some(constant) = Constant::of(&value) {
            return constant.stable_name.to_owned();
        }
        if let Some(RegisteredAction::Command(words)) = value.read_lock::<RegisteredAction>().as_deref() {
            return format!("Exec({words:?})");
        }
        format!("{}:{value:?}", value.type_name())
    }

    /// Returns the code of a closure, or the name of a named function, whose code is in `shared`.
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

    /// Returns the Debug form of code without positions, and with the code of closures in place of their
    /// names. String and character literals stay as they are, even if they look like a position.
    fn canonical(&self, debug: &str, open: &mut Vec<String>) -> String {
        let constants = inlined_constants();
        let mut out = String::with_capacity(debug.len());
        let mut rest = debug;
        while let Some(first) = rest.chars().next() {
            if let Some((name, stable)) = constants.iter().find(|(name, _)| rest.starts_with(name)) {
                out.push_str(stable);
                rest = &rest[name.len()..];
                continue;
            }
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

/// Returns the names of the types of constants, with the names that these types had in release 2.0.0, which
/// must never change. The interpreter inlines constants into code, whose Debug form then has these names.
fn inlined_constants() -> [(&'static str, &'static str); 4] {
    [
        (type_name::<Facet>(), "twitcher::config::spec::WatchType"),
        (type_name::<RunMode>(), "twitcher::config::spec::RunMode"),
        (type_name::<RunOnLoad>(), "twitcher::config::spec::RunOnLoad"),
        (type_name::<OnFailure>(), "twitcher::config::spec::OnFailure"),
    ]
}

/// Returns the length of the literal that `text` starts with, including both quotes.
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

/// Returns the length of the position (`3:14`) or span (`3:14-20`, `3:14-5:1`) that `text` starts with.
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

#[cfg(test)]
mod tests {
    use crate::config::registration::RegisteredAction;
    use crate::config::request::{Reply, Request};
    use crate::config::script::Interpreter;
    use crate::model::Facts;

    fn fingerprints(source: &str, module: &str) -> Vec<String> {
        let reply = Interpreter::new().evaluate(&Request {
            path: "/etc/twitcher/a.twc".into(),
            name: "a.twc".into(),
            source: source.into(),
            modules: [("m.rhai".to_owned(), Ok(module.into()))].into(),
            facts: Facts { hostname: "h".into(), variables: [("A".to_owned(), None)].into() },
        });
        let Reply::Loaded { watches, .. } = reply else { panic!("{reply:?}") };
        let fingerprint = |action| match action {
            RegisteredAction::Function { fingerprint, .. } => fingerprint,
            RegisteredAction::Command(_) => panic!("it is a command"),
        };
        watches.into_iter().map(|watch| fingerprint(watch.action)).collect()
    }

    // The ledgers of release 2.0.0 contain hashes of these fingerprints.
    #[test]
    fn the_fingerprint_of_a_function_never_changes() {
        let source = "import \"m\" as m;\n\
            const MODES = [QUEUE, DISCARD, PARALLEL];\n\
            const TYPES = [WATCH_DATA, WATCH_CHILDREN, WATCH_TREE];\n\
            const REST = #{ a: CHANGED, b: KEEP, c: STOP, d: SIGUSR1, e: Exec(\"it's\"), \
                f: Exec([\"a\", \"b\"]), g: |e| 3 };\n\
            fn act(event) { if global::MODES[0] == QUEUE { helper(event) } }\n\
            fn helper(e) { m::five() }\n\
            let mode = DISCARD; let kind = WATCH_TREE; let load = CHANGED; let keep = STOP;\n\
            let exec = Exec(\"x\"); let n = 1.5; let t = \"text\";\n\
            RegisterWatch(#{ znode: \"/a\", action: Fn(\"act\") });\n\
            RegisterWatch(#{ znode: \"/b\", action: |event| [mode, kind, load, keep, exec, n, t] });\n\
            RegisterWatch(#{ znode: \"/c\", action: |event| 3 });\n\
            RegisterWatch(#{ znode: \"/d\", action: Fn(\"two\").curry(PARALLEL) });\n\
            RegisterWatch(#{ znode: \"/e\", action: m::maker(KEEP) });\n\
            fn two(a, e) { 1 }";
        let module = "export const ROOT = \"/x\"; fn five() { 5 } fn maker(n) { |e| n }";
        let expected = [
            "aa8e33f39700565939637d0f6aa958b5",
            "840af553989a9bde3fb2cf6f9bef8fa6",
            "40751182444158f541cff100bfdfcc25",
            "23c33031242e02e6772345ce09968dee",
            "e366a67cb2f9ba0e92a39e054bf87fcc",
        ];
        assert_eq!(fingerprints(source, module), expected);
    }

    // The ledgers of release 2.0.0 contain hashes of these fingerprints, too.
    #[test]
    fn the_fingerprint_of_code_with_constants_never_changes() {
        let source = "import \"m\" as m;\n\
            fn all(e) { let exec = Exec(\"x\");\n\
                [WATCH_DATA, CHANGED, STOP, PARALLEL, SIGHUP, exec, hostname(), env(\"A\")] }\n\
            RegisterWatch(#{ znode: \"/a\", action: |e| [WATCH_TREE, CHANGED, KEEP, \
                \"3:14 twitcher::config::spec::RunMode\", 'x', 2..5, all(e)] });\n\
            RegisterWatch(#{ znode: \"/b\", action: m::maker(STOP) });";
        let module = "export const MODE = QUEUE; const KIND = WATCH_CHILDREN;\n\
            fn maker(n) { |e| if n == STOP { QUEUE } else { n } }";
        let expected = ["ddbaae714e833eac9d1c40c13065d169", "4441bd70b4019c9ac30ea3b578b4b524"];
        assert_eq!(fingerprints(source, module), expected);
    }
}
