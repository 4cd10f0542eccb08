//! The interpreter of configs.
//!
//! A script only makes data. It has no clock, no files, no processes and no output. Its registrations depend
//! only on its source, its modules, and the facts that it asks for. So the process of a function action can
//! run the script again, and get the function with its captured values.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rhai::{Dynamic, Engine, EvalAltResult, INT, Module, NativeCallContext};

use super::exec::exec;
use super::facts::FactProvider;
use super::literals;
use super::message;
use super::modules::Resolver;
use super::registrar::{CapturedFunction, Registrar};
use super::registration::RegisteredAction;
use super::request::{Reply, Request};
use super::vocabulary::{CONSTANTS, signals};
use crate::model::{Facet, RunMode};

/// The time for one evaluation. The daemon kills the child after 2 s. This deadline comes first, because its
/// error shows the place in the script.
const DEADLINE: Duration = Duration::from_millis(1800);

/// Reading the clock after every operation would double the cost of a loop. This many operations take well
/// under a millisecond.
const OPERATIONS_PER_CLOCK_CHECK: u64 = 512;

/// People do not write deeper calls and expressions. The child's stack ([`crate::sys`]) suffices for both.
pub(crate) const MAX_CALL_LEVELS: usize = 64;
const MAX_EXPRESSION_DEPTH: usize = 128;

/// With a fixed seed, closures have the same names in every process. The numbers are arbitrary.
const HASHING_SEED: [u64; 4] = [0x7477, 0x6974, 0x6368, 0x6572];

/// Evaluates scripts, one after the other.
pub struct Interpreter {
    engine: Engine,
    resolver: Resolver,
    fact_provider: FactProvider,
    registrar: Rc<RefCell<Registrar>>,
    deadline: Rc<Cell<Option<Instant>>>,
}

impl Interpreter {
    pub fn new() -> Self {
        // An error means that the seed is set already.
        let _ = rhai::config::hashing::set_hashing_seed(Some(HASHING_SEED));
        let (resolver, fact_provider) = (Resolver::default(), FactProvider::default());
        let registrar = Rc::new(RefCell::new(Registrar::default()));
        let deadline = Rc::new(Cell::new(None));
        let mut engine = engine(&resolver, &registrar, &deadline);
        fact_provider.register(&mut engine);
        Self { engine, resolver, fact_provider, registrar, deadline }
    }

    /// Returns the reply of `twitcher evaluate` to `request`.
    pub fn evaluate(&self, request: &Request) -> Reply {
        self.deadline.set(Some(Instant::now() + DEADLINE));
        let result = self.run(request, None);
        // Missing modules and variables come first, because the script may have caught the error.
        if let Some(path) = self.resolver.missing() {
            return Reply::NeedsModule { path };
        }
        if let Some(name) = self.fact_provider.missing() {
            return Reply::NeedsVariable { name };
        }
        match result {
            Ok(()) => Reply::Loaded { watches: self.registrar.take().into_watches() },
            Err(error) => {
                let message = self.render(&error, request);
                match innermost(&error) {
                    EvalAltResult::ErrorTerminated(..) => Reply::TimedOut { message },
                    _ => Reply::Failed { message },
                }
            }
        }
    }

    /// Returns the function of registration `index`, from 0. There is no deadline, because the watch may have
    /// a `timeout`.
    pub fn function(&self, request: &Request, index: usize) -> Result<CapturedFunction, String> {
        self.deadline.set(None);
        self.run(request, Some(index)).map_err(|error| self.render(&error, request))?;
        let captured = self.registrar.borrow_mut().take_captured();
        captured.ok_or_else(|| format!("{}: registration {} has no function", request.path, index + 1))
    }

    /// Renders `error` for people.
    pub fn render(&self, error: &EvalAltResult, request: &Request) -> String {
        message::render(error, request, &self.registrar.borrow().function_names())
    }

    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    fn run(&self, request: &Request, wanted: Option<usize>) -> Result<(), Box<EvalAltResult>> {
        self.resolver.begin(request.modules.clone());
        self.fact_provider.begin(request.facts.clone());
        *self.registrar.borrow_mut() = Registrar::new(request.name.to_string(), wanted);
        literals::check(&self.engine, &request.source)?;
        let mut ast = self.engine.compile(&*request.source)?;
        ast.set_source(&*request.name);
        self.registrar.borrow_mut().compiled(ast.clone());
        self.resolver.preload(&self.engine, &request.name, &ast)?;
        self.engine.run_ast(&ast)
    }
}

impl Default for Interpreter {
    fn default() -> Self {
        Self::new()
    }
}

fn innermost(mut error: &EvalAltResult) -> &EvalAltResult {
    while let EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) =
        error
    {
        error = inner;
    }
    error
}

fn engine(
    resolver: &Resolver,
    registrar: &Rc<RefCell<Registrar>>,
    deadline: &Rc<Cell<Option<Instant>>>,
) -> Engine {
    let mut engine = Engine::new();
    engine.set_module_resolver(resolver.clone());
    engine.set_max_call_levels(MAX_CALL_LEVELS);
    engine.set_max_expr_depths(MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_DEPTH);
    engine.disable_symbol("eval");
    engine.on_print(|_| {});
    engine.on_debug(|_, _, _| {});
    // `disable_symbol` does not disable functions, so these are replaced.
    for (name, why) in
        [("sleep", "a config cannot wait; an action can"), ("timestamp", "a config has no clock")]
    {
        let refuse = move || -> Result<Dynamic, Box<EvalAltResult>> {
            Err(format!("`{name}` is not available here: {why}").into())
        };
        engine.register_fn(name, move |_: NativeCallContext, _: INT| refuse());
        engine.register_fn(name, move |_: NativeCallContext, _: f64| refuse());
        engine.register_fn(name, move |_: NativeCallContext| refuse());
    }
    let deadline = deadline.clone();
    engine.on_progress(move |operations| {
        let late = operations % OPERATIONS_PER_CLOCK_CHECK == 0
            && deadline.get().is_some_and(|deadline| Instant::now() >= deadline);
        late.then(|| "the config did not end within 2 s".into())
    });
    register_constants(&mut engine);
    engine.register_fn("Exec", |argument: Dynamic| -> Result<_, Box<EvalAltResult>> {
        Ok(RegisteredAction::Command(exec(&argument.flatten())?))
    });
    let (resolver, registrar) = (resolver.clone(), registrar.clone());
    engine.register_fn("RegisterWatch", move |context: NativeCallContext, argument: Dynamic| {
        // The registrar is taken out, not borrowed, because a check may call back into the script.
        let mut taken = registrar.take();
        let result = taken.register(&context, &argument.flatten(), &resolver);
        *registrar.borrow_mut() = taken;
        result.map_err(Box::<EvalAltResult>::from)
    });
    engine
}

/// Adds the constants. They live in a global module, because functions do not see the constants of a scope.
pub(crate) fn register_constants(engine: &mut Engine) {
    engine.register_type_with_name::<RegisteredAction>("Exec");
    engine.register_type_with_name::<RunMode>("RunMode");
    engine.register_type_with_name::<Facet>("WatchType");
    engine.register_fn("==", |a: RunMode, b: RunMode| a == b);
    engine.register_fn("!=", |a: RunMode, b: RunMode| a != b);
    engine.register_fn("==", |a: Facet, b: Facet| a == b);
    engine.register_fn("!=", |a: Facet, b: Facet| a != b);
    let mut constants = Module::new();
    for constant in CONSTANTS {
        constants.set_var(constant.name, constant.value.to_dynamic());
    }
    for (name, number) in signals() {
        constants.set_var(name, INT::from(number));
    }
    engine.register_global_module(constants.into());
}

#[cfg(test)]
mod tests;
