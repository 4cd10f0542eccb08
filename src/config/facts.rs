//! What a config may know of its host: the host's name, and the daemon's environment.
//!
//! The interpreter has neither. It is told the facts that came with the request, and asks for a variable that did not
//! come along as it does for a module; so nothing leaves the daemon's environment but what a config names.

use crate::model::Facts;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Position};

/// Far longer than any that people use. A name also comes from the evaluator, which is not to be trusted with its size.
const MAX_NAME_BYTES: usize = 256;

impl Facts {
    /// Those of this process, with no variable yet.
    pub fn of_this_host() -> Self {
        Self { hostname: hostname(), variables: BTreeMap::new() }
    }

    /// Adds the variable `name` as this process has it.
    pub fn look_up(&mut self, name: String) {
        let value = variable(&name);
        self.variables.insert(name, value);
    }
}

/// The kernel's name of the host, as `uname -n` gives it.
pub fn hostname() -> String {
    nix::sys::utsname::uname()
        .map_or_else(|_| String::new(), |name| name.nodename().to_string_lossy().into_owned())
}

/// A variable of this process, with U+FFFD for what is no UTF-8.
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Whether a variable can be called so in a script: as in a shell.
pub fn is_variable_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Adds `hostname()`, `env(name)` and `env(name, default)` to `engine`; `name` and `variable` answer them.
pub fn register(
    engine: &mut Engine,
    name: impl Fn() -> String + 'static,
    variable: impl Fn(&str) -> Result<Option<String>, String> + Clone + 'static,
) {
    let look_up = move |name: &str| {
        let value = match is_variable_name(name) {
            true => variable(name),
            false => Err(format!("`env`: {name:?} is no name of an environment variable")),
        };
        value.map_err(|reason| Box::new(EvalAltResult::ErrorRuntime(reason.into(), Position::NONE)))
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

/// Answers the questions of one evaluation. Clones share their state.
#[derive(Clone, Default)]
pub struct FactProvider(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    facts: Facts,
    missing: Option<String>,
}

impl FactProvider {
    /// Forgets the evaluation before and starts one with `facts`.
    pub fn begin(&self, facts: Facts) {
        *self.0.borrow_mut() = State { facts, missing: None };
    }

    /// The first variable asked for that did not come along.
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
