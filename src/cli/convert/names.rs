//! Names of variables in Rhai.

use std::collections::HashSet;

use crate::config::vocabulary::{CONSTANTS, FUNCTIONS, signals};

/// The words of Rhai that are no variables, and functions that a variable would hide from a reader.
const RESERVED: [&str; 71] = [
    "Fn",
    "as",
    "async",
    "await",
    "break",
    "call",
    "case",
    "catch",
    "const",
    "continue",
    "curry",
    "debug",
    "default",
    "do",
    "each",
    "else",
    "eval",
    "exit",
    "export",
    "false",
    "fn",
    "for",
    "function",
    "global",
    "go",
    "goto",
    "if",
    "import",
    "in",
    "is",
    "is_def_fn",
    "is_def_var",
    "is_shared",
    "let",
    "loop",
    "match",
    "module",
    "new",
    "nil",
    "null",
    "package",
    "print",
    "private",
    "protected",
    "public",
    "range",
    "return",
    "shared",
    "spawn",
    "static",
    "step",
    "super",
    "switch",
    "sync",
    "thread",
    "this",
    "throw",
    "to",
    "true",
    "try",
    "type_of",
    "undefined",
    "unless",
    "until",
    "use",
    "var",
    "void",
    "while",
    "with",
    "yield",
    "then",
];

/// Returns the name for a variable of Python: the same, or with `_` added if Rhai or Twitcher has the name,
/// if the file uses the longer name, or if a string of the file has `${name}`, which would look like a
/// mistake.
pub fn rhai_name(name: &str, placeholders: &HashSet<&str>, used: &HashSet<String>) -> String {
    // Rhai has no names of underscores alone.
    let is_blank = name.bytes().all(|byte| byte == b'_');
    let mut free = if is_blank { format!("unused{name}") } else { name.to_owned() };
    while is_taken(&free) || placeholders.contains(&*free) || free != name && used.contains(&free) {
        free.push('_');
    }
    free
}

/// Returns the names that strings of the file have in `${...}`.
pub fn placeholders(source: &str) -> HashSet<&str> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let inner = source.split("${").skip(1).map(str::trim_start);
    inner.map(|rest| &rest[..rest.find(|c| !is_of_name(c)).unwrap_or(rest.len())]).collect()
}

fn is_taken(name: &str) -> bool {
    RESERVED.contains(&name)
        || CONSTANTS.iter().any(|constant| constant.name == name)
        || FUNCTIONS.iter().any(|function| function.name == name)
        || signals().any(|(signal, _)| signal == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_rhai_has_get_another_end() {
        let used = HashSet::from(["default_".to_owned()]);
        let placeholders = placeholders("echo ${host} ${ user%x}");
        let name = |name| rhai_name(name, &placeholders, &used);
        assert_eq!(name("color"), "color");
        assert_eq!(name("default"), "default__");
        assert_eq!(name("STOP"), "STOP_");
        assert_eq!(name("host"), "host_");
        assert_eq!(name("user"), "user_");
        assert_eq!(name("_x"), "_x");
        assert_eq!(name("_"), "unused_");
        let engine = rhai::Engine::new();
        for word in RESERVED {
            let script = format!("let {0} = 1; {0}", name(word));
            engine.compile(&script).unwrap_or_else(|error| panic!("{script}: {error}"));
        }
    }
}
