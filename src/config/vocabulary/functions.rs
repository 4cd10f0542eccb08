//! The functions of configs and of function actions.

/// A function that is not in Rhai's standard library, or one that people confuse with it.
pub struct Function {
    pub name: &'static str,
    pub scope: Scope,
    /// What it takes. `None`: the interpreter has functions of this name, too.
    pub usage: Option<Usage>,
    pub meaning: &'static str,
}

/// The arguments of a function.
pub struct Usage {
    /// The numbers of arguments that it takes.
    pub counts: &'static [usize],
    /// The error for a call with other ones.
    pub text: &'static str,
}

/// Where a function can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// While a config is evaluated.
    Config,
    /// While a function action runs.
    Action,
    Both,
}

impl Scope {
    /// Whether code that runs here, or at both times, may call a function of `other`.
    pub fn meets(self, other: Self) -> bool {
        self == other || self == Self::Both || other == Self::Both
    }
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    row("RegisterWatch", Scope::Config, "registers a watch",
        takes(&[1], "RegisterWatch takes one argument, a map: RegisterWatch(#{ ... })")),
    row("RegisterService", Scope::Config, "registers a service of this host",
        takes(&[1], "RegisterService takes one argument, a map: RegisterService(#{ ... })")),
    row("Exec", Scope::Config, "makes an action that runs a command",
        takes(&[1], "Exec takes one argument: a string for the shell, or an array [program, argument...]")),
    row("Fn", Scope::Config, "makes an action of a function of the file", None),
    row("env", Scope::Both, "returns an environment variable",
        takes(&[1, 2], "env takes the name of a variable, and what to return if it is not set: \
                        env(\"NAME\", \"default\")")),
    row("hostname", Scope::Both, "returns the name of the host",
        takes(&[0], "hostname takes no argument")),
    row("print", Scope::Both, "writes a line to the action's stdout, and nothing in a config", None),
    row("debug", Scope::Both, "writes a line to the action's stderr, and nothing in a config", None),
    row("import", Scope::Both, "imports a module", None),
    row("read_file", Scope::Action, "returns a file's text",
        takes(&[1], "read_file takes one argument, the path: read_file(\"/path\")")),
    row("write_file", Scope::Action, "replaces a file's content",
        takes(&[2], "write_file takes the path, and a string or a blob: write_file(\"/path\", text)")),
    row("run", Scope::Action, "runs a command to its end",
        takes(&[1], "run takes one argument: a string for the shell, or an array [program, argument...]")),
    row("parse_json", Scope::Action, "returns the value of a JSON text",
        takes(&[1], "parse_json takes one argument, a string: parse_json(text)")),
    row("log", Scope::Action, "writes a line to the action's stdout",
        takes(&[1], "log takes one argument, what to write: log(text)")),
];

const fn row(name: &'static str, scope: Scope, meaning: &'static str, usage: Option<Usage>) -> Function {
    Function { name, scope, usage, meaning }
}

const fn takes(counts: &'static [usize], text: &'static str) -> Option<Usage> {
    Some(Usage { counts, text })
}
