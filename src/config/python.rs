//! Recognizes Python, in which the configs of Twitcher 1 were written.

use super::mistake::Mistake;

/// The way to migrate.
const MIGRATE: &str = "configs are written in Rhai now: `twitcher convert` rewrites it (docs/migration.md)";

const OLD: &str = "this is a Python config of Twitcher 1";

/// Returns what to write for a word of Python that a script uses as a variable.
pub fn word(name: &str) -> Option<String> {
    let instead = match name {
        "True" => "write true",
        "False" => "write false",
        "None" => "write () for nothing, or leave the key out",
        "lambda" => "write |event| ... for a closure",
        "def" => "write fn name(event) { ... } for a function",
        "and" => "write &&",
        "or" => "write ||",
        "not" => "write !",
        "elif" => "write else if",
        "os" | "sys" | "socket" | "subprocess" => "see FUNCTION ACTIONS in twitcher.twc(5)",
        _ => return None,
    };
    Some(format!("{instead}; if {OLD}, `twitcher convert` rewrites it (docs/migration.md)"))
}

/// The signs of Python in a line: how it looks, in Rhai, and whether a line of code shows it.
type Sign = (&'static str, &'static str, fn(&str) -> bool);

const SIGNS: [Sign; 12] = [
    ("# comment", "// comment", |code| {
        let code = code.trim_start();
        let is_comment = |rest: &str| rest.is_empty() || rest.starts_with([' ', '#', '!']);
        code.strip_prefix('#').is_some_and(is_comment) || code.contains(" # ")
    }),
    ("def f():", "fn f(event) { ... }, and Fn(\"f\") for the action", |code| starts_with(code, "def ")),
    ("import, from", "import \"path\" as name, or the functions of twitcher.twc(5)", |code| {
        let code = code.trim_start();
        starts_with(code, "from ") || starts_with(code, "import ") && !code.contains('"')
    }),
    (ARGUMENT, "RegisterWatch(#{ znode: \"...\", ... })", |code| {
        KEYWORDS.iter().any(|key| code.split(key).skip(1).any(is_argument))
    }),
    ("'text'", "\"text\"", |code| has_quoted_text(code)),
    ("u\"text\", r\"text\"", "\"text\"", has_prefixed_text),
    ("print \"text\"", "print(\"text\")", |code| {
        let printed = code.trim_start().strip_prefix("print ");
        printed.is_some_and(|rest| rest.trim_start().starts_with(['"', '\'', '%']))
    }),
    ("True, False", "true, false", |code| has_word(code, "True") || has_word(code, "False")),
    ("None", "() for nothing, or leave the key out", |code| has_word(code, "None")),
    ("lambda:", "|event| ...", |code| has_word(code, "lambda")),
    ("if x:, for x in y:", "if x { ... }, for x in y { ... }", |code| {
        opens_block(code, &["if ", "for ", "while ", "elif ", "else:"])
    }),
    ("try:, with x:, class A:", "try { ... } catch { ... }; there is no with and no class", |code| {
        opens_block(code, &["try:", "except", "finally:", "with ", "class "])
    }),
];

const ARGUMENT: &str = "znode='...'";

/// The arguments of the original's `RegisterWatch`.
const KEYWORDS: [&str; 11] = [
    "znode",
    "action",
    "pipe_stdin",
    "run_on_load",
    "run_mode",
    "watch_type",
    "description",
    "uid",
    "gid",
    "notify_signal",
    "timeout",
];

/// Returns the message for a module that is imported without quotes.
pub fn import(name: &str) -> String {
    format!(
        "the path of a module goes in quotes, import \"{name}\" as {name}; if {OLD}, `twitcher convert` \
         rewrites it (docs/migration.md)"
    )
}

/// Returns the message for a syntax error, and what to write for the first of each kind of word, if the
/// line at the error or the one before it shows Python. Empty lines do not count.
pub fn explain(code: &str, mistake: &Mistake) -> Option<(String, Vec<String>)> {
    let lines = || code.lines().take(mistake.at.line as usize).filter(|line| !line.trim().is_empty());
    let around = lines().skip(lines().count().saturating_sub(2));
    if code.contains("#{") {
        // This is Rhai, with a habit of another language. There, `znode = "/a"` is another mistake.
        let mut signs = SIGNS.iter().filter(|sign| sign.0 != ARGUMENT);
        let (python, rhai, _) = signs.find(|(.., shows)| around.clone().any(shows))?;
        let text = format!(
            "{python} is {rhai} in Rhai; if {OLD}, `twitcher convert` rewrites it (docs/migration.md)"
        );
        return Some((text, Vec::new()));
    }
    let shows = |code: &str| SIGNS.iter().any(|(.., shows)| shows(code));
    around.clone().find(|code| shows(code))?;
    let found = SIGNS.iter().filter_map(|(python, rhai, shows)| {
        let line = code.lines().position(shows)? + 1;
        Some(format!("line {line}: {python} is {rhai}"))
    });
    Some((format!("{OLD}, and {MIGRATE}"), found.collect()))
}

/// Whether [`explain`] takes the file of this mistake for Python.
pub fn is_python(mistake: &Mistake) -> bool {
    mistake.text.starts_with(OLD)
}

fn starts_with(code: &str, word: &str) -> bool {
    code.trim_start().starts_with(word)
}

/// Whether the line begins with one of the words and opens a block with a colon.
fn opens_block(code: &str, words: &[&str]) -> bool {
    let has_colon = code.trim_end().ends_with(':') || code.contains(": ");
    has_colon && !code.contains('{') && words.iter().any(|word| starts_with(code, word))
}

fn is_argument(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.starts_with('=') && !rest.starts_with("==") && !rest.starts_with("=>")
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|it| it == word)
}

/// Whether the line has more than one character between single quotes, outside of other quotes.
fn has_quoted_text(code: &str) -> bool {
    let (mut open, mut length, mut escaped) = (None, 0, false);
    for c in code.chars() {
        match open {
            Some(_) if escaped => (escaped, length) = (false, length + 1),
            Some(_) if c == '\\' => escaped = true,
            Some('\'') if c == '\'' => {
                if length != 1 {
                    return true;
                }
                open = None;
            }
            Some(quote) if c == quote => open = None,
            Some(_) => length += 1,
            None if matches!(c, '\'' | '"' | '`') => (open, length) = (Some(c), 0),
            None => {}
        }
    }
    false
}

/// Whether a letter stands before a text in quotes.
fn has_prefixed_text(code: &str) -> bool {
    let (mut open, mut escaped, mut before) = (None, false, [' ', ' ']);
    for c in code.chars() {
        match open {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(quote) if c == quote => open = None,
            Some(_) => {}
            None if matches!(c, '\'' | '"' | '`') => {
                let [first, prefix] = before;
                let is_word = first.is_alphanumeric() || first == '_';
                if c != '`' && !is_word && matches!(prefix.to_ascii_lowercase(), 'u' | 'r' | 'b') {
                    return true;
                }
                open = Some(c);
            }
            None => {}
        }
        before = [before[1], c];
    }
    false
}
