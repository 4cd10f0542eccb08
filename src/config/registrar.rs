//! Checks the calls of `RegisterWatch` in one evaluation, and collects their registrations.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{AST, Dynamic, FnPtr, GlobalRuntimeState, Map, NativeCallContext};

use super::fingerprint::Functions;
use super::modules::Resolver;
use super::registration::{CallPosition, RegisteredAction, Registration};
use super::vocabulary::{KEYS, Value, fill, require_known, type_of};
use crate::model::Throttle;
use crate::text::suggest;

/// The largest number of watches in one file, ten times what the contract promises for a host.
const MAX_WATCHES: usize = 100_000;

/// A registered function with everything that a call of it needs.
pub struct CapturedFunction {
    pub function: FnPtr,
    /// The functions, modules and constants that it sees.
    pub global: GlobalRuntimeState,
    /// The file or module that registered it.
    pub source: String,
}

/// Collects what a script registers.
#[derive(Default)]
pub struct Registrar {
    name: String,
    main: AST,
    watches: Vec<Registration>,
    descriptions: BTreeSet<String>,
    /// The index of the registration whose function is to be captured.
    wanted: Option<usize>,
    captured: Option<CapturedFunction>,
    /// The functions of the script and its modules, with the number of the modules. Computed imports add
    /// modules later.
    functions: Option<(usize, Rc<Functions>)>,
}

impl Registrar {
    /// `name` is the path of the script below the config directory. The function of the registration `wanted`
    /// is captured.
    pub fn new(name: String, wanted: Option<usize>) -> Self {
        Self { name, wanted, ..Self::default() }
    }

    pub fn compiled(&mut self, main: AST) {
        self.main = main;
    }

    pub fn into_watches(self) -> Vec<Registration> {
        self.watches
    }

    pub fn take_captured(&mut self) -> Option<CapturedFunction> {
        self.captured.take()
    }

    /// Returns the names of the script's functions.
    pub fn function_names(&self) -> Vec<String> {
        match &self.functions {
            Some((_, functions)) => functions.names(),
            None => Functions::of(&[(self.name.clone(), self.main.clone())]).names(),
        }
    }

    /// Performs a call of `RegisterWatch`.
    pub fn register(
        &mut self,
        context: &NativeCallContext,
        argument: &Dynamic,
        resolver: &Resolver,
    ) -> Result<(), String> {
        let index = self.watches.len();
        if index == MAX_WATCHES {
            return Err(format!("more than {MAX_WATCHES} watches in one file"));
        }
        let map = argument.as_map_ref().map_err(|_| {
            format!("RegisterWatch takes a map, RegisterWatch(#{{ ... }}), not {}", type_of(argument))
        });
        let mut map = map?.clone();
        require_known(KEYS, &map)?;
        // Only the interpreter can look up a function, so an action takes its place before the other checks.
        if let Some(value) = map.get_mut("action")
            && let Some(function) = value.flatten_clone().try_cast::<FnPtr>()
        {
            *value = Dynamic::from(self.function(context, function, index, resolver)?);
        }
        let default = format!("{}-{}", self.name, index + 1);
        let watch = check(&map, default, self.position(context))?;
        if !self.descriptions.insert(watch.description.clone()) {
            return Err(format!(
                "duplicate `description` {:?}; it names the watch within its file",
                watch.description
            ));
        }
        self.watches.push(watch);
        Ok(())
    }

    fn source(&self, context: &NativeCallContext) -> String {
        context.call_source().unwrap_or(&self.name).to_owned()
    }

    fn position(&self, context: &NativeCallContext) -> CallPosition {
        let position = context.call_position();
        let number = |at: Option<usize>| at.and_then(|at| u32::try_from(at).ok()).unwrap_or(1);
        let (line, column) = (number(position.line()), number(position.position()));
        CallPosition { source: self.source(context), line, column }
    }

    fn function(
        &mut self,
        context: &NativeCallContext,
        mut function: FnPtr,
        index: usize,
        resolver: &Resolver,
    ) -> Result<RegisteredAction, String> {
        // A captured variable may be shared with a loop that changes it later. The action gets the present
        // value.
        let captured: Vec<Dynamic> = function.iter_curry().map(Dynamic::flatten_clone).collect();
        function.set_curry(captured);

        let functions = self.functions(resolver);
        let mut global = context.global_runtime_state().clone();
        make_callable(&function, &functions, &mut global, resolver)?;
        let constants = global.constants.as_ref().map_or_else(BTreeMap::new, |constants| {
            constants.borrow().iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
        });
        let fingerprint = functions.fingerprint(&function, &constants);
        if self.wanted == Some(index) {
            self.captured = Some(CapturedFunction { function, global, source: self.source(context) });
        }
        Ok(RegisteredAction::Function { index, fingerprint })
    }

    fn functions(&mut self, resolver: &Resolver) -> Rc<Functions> {
        let modules = resolver.compiled();
        match &self.functions {
            Some((count, functions)) if *count == modules.len() => functions.clone(),
            Some(_) | None => {
                let asts: Vec<_> =
                    std::iter::once((self.name.clone(), self.main.clone())).chain(modules).collect();
                let functions = Rc::new(Functions::of(&asts));
                self.functions = Some((asts.len() - 1, functions.clone()));
                functions
            }
        }
    }
}

/// Checks the argument of `RegisterWatch`. `description` is used if the argument has none. An error names the
/// key.
fn check(map: &Map, description: String, position: CallPosition) -> Result<Registration, String> {
    let mut registration = Registration::new(description, position);
    fill(KEYS, map, &mut registration)?;
    let run_mode = registration.policy.run_mode;
    for key in KEYS.iter().filter(|key| map.contains_key(key.name)) {
        if let Some(only) = key.only.filter(|only| *only != run_mode) {
            return Err(format!("`{}` is for run_mode: {} only", key.name, Value::RunMode(only).name()));
        }
    }
    let Throttle { debounce, debounce_max, .. } = registration.policy.throttle;
    match debounce_max {
        Some(_) if debounce.is_zero() => Err("`debounce_max` is for a watch with `debounce` only".into()),
        Some(max) if max < debounce => Err(format!(
            "`debounce_max`: {} is less than `debounce`, which is {}",
            max.as_secs_f64(),
            debounce.as_secs_f64()
        )),
        Some(_) | None => Ok(registration),
    }
}

/// Checks that `function` can be called with an event, and adds to `global` the functions that it sees.
fn make_callable(
    function: &FnPtr,
    functions: &Functions,
    global: &mut GlobalRuntimeState,
    resolver: &Resolver,
) -> Result<(), String> {
    let name = function.fn_name();
    let captured = function.curry().len();
    let known = functions.named(name);
    let one_argument = |parameters: usize| parameters == captured + 1;
    if !function.is_anonymous() {
        let visible = |source: &str| global.lib.iter().any(|lib| lib.id() == Some(source));
        let mut candidates = known.iter().filter(|known| visible(&known.source)).peekable();
        if candidates.peek().is_none() {
            let names = functions.names();
            let near = suggest(name, names.iter().map(String::as_str));
            return Err(format!("`action`: unknown function `{name}`{near}"));
        }
        return match candidates.any(|known| one_argument(known.code.params.len())) {
            true => Ok(()),
            false => Err(format!("`action`: the function `{name}` must take one argument, the event")),
        };
    }
    let Some(closure) = known.first() else {
        return Err("`action`: this function cannot be called from here".into());
    };
    let parameters = closure.code.params.len();
    if !one_argument(parameters) {
        let own = parameters - captured.min(parameters);
        return Err(format!("`action`: the closure takes {own} arguments; it must take one, the event"));
    }
    // A closure that a module made sees what the module sees.
    if !global.lib.iter().any(|lib| lib.id() == Some(&closure.source)) {
        resolver.enter(&closure.source, global);
    }
    Ok(())
}
