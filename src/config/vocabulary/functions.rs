//! The functions of configs and of function actions.

/// A function that is not in Rhai's standard library, or one that people confuse with it.
pub struct Function {
    pub name: &'static str,
    pub scope: Scope,
    /// The error for a call with wrong arguments. `None`: the error only says that the function is unknown.
    pub usage: Option<&'static str>,
    pub meaning: &'static str,
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

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    row("RegisterWatch", Scope::Config, "registers a watch",
        Some("RegisterWatch takes one argument, a map: RegisterWatch(#{ ... })")),
    row("RegisterService", Scope::Config, "registers a service of this host",
        Some("RegisterService takes one argument, a map: RegisterService(#{ ... })")),
    row("Exec", Scope::Config, "makes an action that runs a command",
        Some("Exec takes one argument: a string for the shell, or an array [program, argument...]")),
    row("Fn", Scope::Config, "makes an action of a function of the file", None),
    row("env", Scope::Both, "returns an environment variable",
        Some("env takes the name of a variable, and what to return if it is not set: \
              env(\"NAME\", \"default\")")),
    row("hostname", Scope::Both, "returns the name of the host", Some("hostname takes no argument")),
    row("print", Scope::Both, "writes a line to the action's stdout, and nothing in a config", None),
    row("debug", Scope::Both, "writes a line to the action's stderr, and nothing in a config", None),
    row("import", Scope::Both, "imports a module", None),
    row("read_file", Scope::Action, "returns a file's text", None),
    row("write_file", Scope::Action, "replaces a file's content", None),
    row("run", Scope::Action, "runs a command to its end", None),
    row("parse_json", Scope::Action, "returns the value of a JSON text", None),
    row("log", Scope::Action, "writes a line to the action's stdout", None),
];

const fn row(
    name: &'static str,
    scope: Scope,
    meaning: &'static str,
    usage: Option<&'static str>,
) -> Function {
    Function { name, scope, usage, meaning }
}
