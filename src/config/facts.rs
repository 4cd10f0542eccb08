//! The facts that a config can ask for: the host's name, and variables of the daemon's environment.
//!
//! The interpreter knows only the facts of the request. To read another variable is an error; then the daemon
//! adds the variable and sends the request again. So the child gets only variables that a config names.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString};

use crate::model::Facts;

/// A longer name is a mistake, or comes from a child that is not trusted.
const MAX_NAME_BYTES: usize = 256;

impl Facts {
    /// Returns the facts of this process, without variables.
    pub fn of_this_host() -> Self {
        Self { hostname: hostname(), variables: BTreeMap::new() }
    }

    /// Adds the variable `name` of this process.
    pub fn look_up(&mut self, name: String) {
        let value = variable(&name);
        self.variables.insert(name, value);
    }
}

/// Returns the kernel's name of the host, which `uname -n` prints.
pub fn hostname() -> String {
    nix::sys::utsname::uname()
        .map_or_else(|_| String::new(), |name| name.nodename().to_string_lossy().into_owned())
}

/// Returns a variable of this process, with U+FFFD for invalid UTF-8.
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Whether `name` can name a variable, as in a shell.
pub fn is_variable_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Adds `hostname()`, `env(name)` and `env(name, default)` to `engine`. `name` returns the host's name.
pub fn register(
    engine: &mut Engine,
    name: impl Fn() -> String + 'static,
    variable: impl Fn(&str) -> Result<Option<String>, String> + Clone + 'static,
) {
    let look_up = move |name: &str| {
        let value = match is_variable_name(name) {
            true => variable(name),
            false => Err(format!("`env`: {name:?} is not a valid name of an environment variable")),
        };
        value.map_err(Box::<EvalAltResult>::from)
    };
    let or_default = look_up.clone();
    engine.register_fn("hostname", name);
    engine.register_fn("env", move |name: ImmutableString| {
        Ok::<Dynamic, Box<EvalAltResult>>(look_up(&name)?.map_or(Dynamic::UNIT, Dynamic::from))
    });
    engine.register_fn("env", move |name: ImmutableString, default: Dynamic| {
        Ok::<Dynamic, Box<EvalAltResult>>(or_default(&name)?.map_or(default, Dynamic::from))
    });
}

/// Provides the facts for one evaluation. Clones share their state.
#[derive(Clone, Default)]
pub struct FactProvider(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    facts: Facts,
    missing: Option<String>,
}

impl FactProvider {
    /// Forgets the previous evaluation and starts one with `facts`.
    pub fn begin(&self, facts: Facts) {
        *self.0.borrow_mut() = State { facts, missing: None };
    }

    /// Returns the first variable that the script read but the request does not have.
    pub fn missing(&self) -> Option<String> {
        self.0.borrow().missing.clone()
    }

    pub fn register(&self, engine: &mut Engine) {
        let (host, environment) = (self.clone(), self.clone());
        register(
            engine,
            move || host.0.borrow().facts.hostname.clone(),
            move |name| environment.variable(name),
        );
    }

    fn variable(&self, name: &str) -> Result<Option<String>, String> {
        let State { facts, missing } = &mut *self.0.borrow_mut();
        facts.variables.get(name).cloned().ok_or_else(|| {
            missing.get_or_insert_with(|| name.to_owned());
            format!("`env`: {name} is not loaded")
        })
    }
}
