//! The interpreter of configs: what a script can do, and what comes out of it.
//!
//! A script only makes data. It has no clock, no files, no processes and no output; what it registers depends
//! on nothing but its source, its modules and the facts that it asks of its host. That is why a function action can run its script again to get the
//! function back, captured values and all.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rhai::{
    AST, Dynamic, Engine, EvalAltResult, FnPtr, GlobalRuntimeState, INT, Module, NativeCallContext, Position,
};
use serde::{Deserialize, Serialize};

use super::facts::FactProvider;
use super::fingerprint::Functions;
use super::message::{self, Sources};
use super::modules::{Missing, ModuleSource, Resolver};
use super::register::{self, Exec, RequestedAction};
use crate::config::registered::{RawAction, RawWatch};
use crate::model::{ExecContext, Facts, OnFailure, RunMode, RunOnLoad, WatchType};
use crate::text::suggest;

/// One file to evaluate, and the modules and facts known so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// As errors show it.
    pub path: String,
    /// Below the config directory.
    pub name: Arc<str>,
    pub source: Arc<str>,
    /// By path below the config directory.
    pub modules: BTreeMap<String, ModuleSource>,
    pub facts: Facts,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    Loaded {
        watches: Vec<RawWatch>,
        warnings: Vec<String>,
    },
    Failed {
        message: String,
    },
    TimedOut {
        message: String,
    },
    NeedsModule {
        path: String,
    },
    /// Of the daemon's environment.
    NeedsVariable {
        name: String,
    },
}

/// The contract gives an evaluation 2 s, which the parent enforces with a kill. This one is friendlier, since
/// it says where the script was, and must come first.
const DEADLINE: Duration = Duration::from_millis(1800);

/// Reading the clock at each operation would double the cost of a loop; this many take well under a
/// millisecond.
const OPERATIONS_PER_CLOCK_CHECK: u64 = 512;

/// Ten times what the contract promises, and what one host could still be wanted to watch.
const MAX_WATCHES: usize = 100_000;

/// Deeper calls and expressions than people write; the stack that [`crate::sys`] gives bears them.
pub(crate) const MAX_CALL_LEVELS: usize = 64;
const MAX_EXPRESSION_DEPTH: usize = 128;

/// Any fixed number: names of closures then are the same in every process.
const HASHING_SEED: [u64; 4] = [0x7477, 0x6974, 0x6368, 0x6572];

/// A registered function with all it needs to be called.
pub struct CapturedFunction {
    pub function: FnPtr,
    /// The functions, modules and constants that it sees.
    pub global: GlobalRuntimeState,
    pub source: String,
}

/// Evaluates scripts, one after the other.
pub struct Interpreter {
    engine: Engine,
    resolver: Resolver,
    fact_provider: FactProvider,
    run: Rc<RefCell<Run>>,
    deadline: Rc<Cell<Option<Instant>>>,
}

/// The evaluation in progress.
#[derive(Default)]
struct Run {
    name: String,
    main: AST,
    watches: Vec<RawWatch>,
    descriptions: BTreeSet<String>,
    /// The registration whose function is wanted, and the function.
    wanted: Option<usize>,
    captured: Option<CapturedFunction>,
    /// With the number of modules it was made from: computed imports add some later.
    functions: Option<(usize, Rc<Functions>)>,
}

impl Interpreter {
    pub fn new() -> Self {
        // It fails if and only if it was done before.
        let _ = rhai::config::hashing::set_hashing_seed(Some(HASHING_SEED));
        let (resolver, fact_provider) = (Resolver::default(), FactProvider::default());
        let run = Rc::new(RefCell::new(Run::default()));
        let deadline = Rc::new(Cell::new(None));
        let mut engine = engine(&resolver, &run, &deadline);
        fact_provider.register(&mut engine);
        Self { engine, resolver, fact_provider, run, deadline }
    }

    /// What `twitcher evaluate` answers to `request`.
    pub fn evaluate(&self, request: &Request) -> Reply {
        self.deadline.set(Some(Instant::now() + DEADLINE));
        let result = self.run(request, None);
        // First, whatever came of it: the script may have caught the error that this is.
        if let Some(Missing(path)) = self.resolver.missing() {
            return Reply::NeedsModule { path };
        }
        if let Some(name) = self.fact_provider.missing() {
            return Reply::NeedsVariable { name };
        }
        match result {
            Ok(()) => Reply::Loaded { watches: self.run.take().watches, warnings: Vec::new() },
            Err(error) => {
                let message = self.render(&error, request);
                match innermost(&error) {
                    EvalAltResult::ErrorTerminated(..) => Reply::TimedOut { message },
                    _ => Reply::Failed { message },
                }
            }
        }
    }

    /// The function of registration `index`. There is no deadline: whoever runs it is timed as a whole.
    pub fn function(&self, request: &Request, index: usize) -> Result<CapturedFunction, String> {
        self.deadline.set(None);
        self.run(request, Some(index)).map_err(|error| self.render(&error, request))?;
        let captured = self.run.borrow_mut().captured.take();
        captured.ok_or_else(|| format!("{}: registration {} has no function", request.path, index + 1))
    }

    /// `error` as people read it.
    pub fn render(&self, error: &EvalAltResult, request: &Request) -> String {
        let names = self.run.borrow().functions.as_ref().map_or_else(
            || Functions::of(&[(request.name.to_string(), self.run.borrow().main.clone())]).names(),
            |(_, functions)| functions.names(),
        );
        message::render(error, &request.name, request, &names)
    }

    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    fn run(&self, request: &Request, wanted: Option<usize>) -> Result<(), Box<EvalAltResult>> {
        self.resolver.begin(request.modules.clone());
        self.fact_provider.begin(request.facts.clone());
        *self.run.borrow_mut() = Run { name: request.name.to_string(), wanted, ..Run::default() };
        let mut ast = self.engine.compile(&*request.source)?;
        ast.set_source(&*request.name);
        self.run.borrow_mut().main = ast.clone();
        self.resolver.preload(&self.engine, &request.name, &ast)?;
        self.engine.run_ast(&ast)
    }
}

impl Default for Interpreter {
    fn default() -> Self {
        Self::new()
    }
}

impl Sources for Request {
    fn source(&self, name: &str) -> Option<(String, &str)> {
        if *name == *self.name {
            return Some((self.path.clone(), &self.source));
        }
        let root = self.path.strip_suffix(&*self.name).unwrap_or("");
        let source = self.modules.get(name)?.as_ref().ok()?;
        Some((Path::new(root).join(name).to_string_lossy().into_owned(), source))
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

fn engine(resolver: &Resolver, run: &Rc<RefCell<Run>>, deadline: &Rc<Cell<Option<Instant>>>) -> Engine {
    let mut engine = Engine::new();
    engine.set_module_resolver(resolver.clone());
    engine.set_max_call_levels(MAX_CALL_LEVELS);
    engine.set_max_expr_depths(MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_DEPTH);
    engine.disable_symbol("eval");
    engine.on_print(|_| {});
    engine.on_debug(|_, _, _| {});
    // Overrides: `disable_symbol` does not reach functions.
    for (name, why) in
        [("sleep", "a config cannot wait; an action can"), ("timestamp", "a config has no clock")]
    {
        let refuse = move |_: &NativeCallContext| {
            Err::<Dynamic, _>(fail(format!("`{name}` is not available here: {why}")))
        };
        engine.register_fn(name, move |context: NativeCallContext, _: INT| refuse(&context));
        engine.register_fn(name, move |context: NativeCallContext, _: f64| refuse(&context));
        engine.register_fn(name, move |context: NativeCallContext| refuse(&context));
    }
    let deadline = deadline.clone();
    engine.on_progress(move |operations| {
        let late = operations % OPERATIONS_PER_CLOCK_CHECK == 0
            && deadline.get().is_some_and(|deadline| Instant::now() >= deadline);
        late.then(|| "the config did not end within 2 s".into())
    });
    register_types(&mut engine);
    engine.register_fn("Exec", |argument: Dynamic| register::exec(argument).map_err(fail));
    let (resolver, run) = (resolver.clone(), run.clone());
    engine.register_fn("RegisterWatch", move |context: NativeCallContext, argument: Dynamic| {
        // Taken out rather than borrowed: nothing a check calls may find it borrowed.
        let mut taken = run.take();
        let result = taken.register(&context, argument, &resolver);
        *run.borrow_mut() = taken;
        result.map_err(fail)
    });
    engine
}

/// The constants live in a global module: those of a scope are invisible inside functions.
pub(crate) fn register_types(engine: &mut Engine) {
    engine.register_type_with_name::<Exec>("Exec");
    engine.register_type_with_name::<RunMode>("RunMode");
    engine.register_type_with_name::<WatchType>("WatchType");
    engine.register_fn("==", |a: RunMode, b: RunMode| a == b);
    engine.register_fn("!=", |a: RunMode, b: RunMode| a != b);
    engine.register_fn("==", |a: WatchType, b: WatchType| a == b);
    engine.register_fn("!=", |a: WatchType, b: WatchType| a != b);
    let mut constants = Module::new();
    constants.set_var("WATCH_DATA", WatchType::Data);
    constants.set_var("WATCH_CHILDREN", WatchType::Children);
    constants.set_var("WATCH_TREE", WatchType::Tree);
    constants.set_var("QUEUE", RunMode::Queue);
    constants.set_var("DISCARD", RunMode::Discard);
    constants.set_var("PARALLEL", RunMode::Parallel);
    for signal in Signal::iterator() {
        constants.set_var(signal.as_str(), i64::from(signal as i32));
    }
    constants.set_var("CHANGED", RunOnLoad::Changed);
    constants.set_var("KEEP", OnFailure::Keep);
    constants.set_var("STOP", OnFailure::Stop);
    engine.register_global_module(constants.into());
}

/// The interpreter fills in the position of the call.
fn fail(message: impl Into<String>) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(message.into().into(), Position::NONE))
}

impl Run {
    fn register(
        &mut self,
        context: &NativeCallContext,
        argument: Dynamic,
        resolver: &Resolver,
    ) -> Result<(), String> {
        let index = self.watches.len();
        if index == MAX_WATCHES {
            return Err(format!("more than {MAX_WATCHES} watches in one file"));
        }
        let asked = register::registration(argument)?;
        let description = asked.description.unwrap_or_else(|| format!("{}-{}", self.name, index + 1));
        if !self.descriptions.insert(description.clone()) {
            return Err(format!(
                "duplicate `description` {description:?}; it names the watch within its file"
            ));
        }
        let action = match asked.action {
            RequestedAction::Command(words) => RawAction::Command(words),
            RequestedAction::Function(function) => self.function(context, function, index, resolver)?,
        };
        let position = context.call_position();
        let number = |at: Option<usize>| at.and_then(|at| u32::try_from(at).ok()).unwrap_or(1);
        self.watches.push(RawWatch {
            description,
            store: asked.store,
            znode: asked.znode,
            watch_type: asked.watch_type,
            action,
            pipe_stdin: asked.pipe_stdin,
            run_on_load: asked.run_on_load,
            run_mode: asked.run_mode,
            uid: asked.uid,
            gid: asked.gid,
            notify_signal: asked.notify_signal,
            timeout: asked.timeout,
            max_parallel: asked.max_parallel,
            retry: asked.retry,
            on_failure: asked.on_failure,
            throttle: asked.throttle,
            guard: asked.guard,
            exec_context: Some(asked.exec_context)
                .filter(|asked| *asked != ExecContext::default())
                .map(Box::new),
            source: context.call_source().unwrap_or(&self.name).to_owned(),
            line: number(position.line()),
            column: number(position.position()),
        });
        Ok(())
    }

    fn function(
        &mut self,
        context: &NativeCallContext,
        mut function: FnPtr,
        index: usize,
        resolver: &Resolver,
    ) -> Result<RawAction, String> {
        // A captured variable is shared with the loop that goes on changing it; the action gets the value it
        // had here.
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
            let source = context.call_source().unwrap_or(&self.name).to_owned();
            self.captured = Some(CapturedFunction { function, global, source });
        }
        Ok(RawAction::Function { index, fingerprint })
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

/// Checks that `function` can be called with an event, and completes what it sees from `global`.
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
    // A closure that a module made: it sees what the module sees.
    if !global.lib.iter().any(|lib| lib.id() == Some(&closure.source)) {
        resolver.enter(&closure.source, global);
    }
    Ok(())
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
