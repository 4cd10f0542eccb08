//! The interpreter of configs.
//!
//! A script only makes data. It has no clock, no files, no processes and no output. Its registrations depend
//! only on its source, its modules, and the facts that it asks for. So the process of a function action can
//! run the script again, and get the function with its captured values.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::iter;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rhai::{
    AST, ASTNode, Dynamic, Engine, EvalAltResult, INT, Map, Module, NativeCallContext, OptimizationLevel,
    ParseError, Stmt,
};

use super::exec::exec;
use super::facts::FactProvider;
use super::library::Library;
use super::lint::{Finding, Unknown, lint};
use super::literals;
use super::message;
use super::mistake::{Faulty, Mistake, Mistakes, is_faulty, place_of};
use super::modules::{EXTENSION, Resolver, optimize};
use super::outline::Outline;
use super::python;
use super::recovery::{self, Recovered};
use super::registrar::{CapturedFunction, Registering, Registrar};
use super::registration::RegisteredAction;
use super::request::{Reply, Request};
use super::vocabulary::{CONSTANTS, Scope, signals};
use crate::model::{Facet, Format, MemberAcl, MemberFormat, RunMode};

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
    state: State,
    library: Library,
}

/// What the functions of configs share.
#[derive(Clone, Default)]
struct State {
    resolver: Resolver,
    fact_provider: FactProvider,
    registrar: Rc<RefCell<Registrar>>,
    mistakes: Mistakes,
    deadline: Rc<Cell<Option<Instant>>>,
    /// What the last run found out about a script with a syntax error.
    broken: Rc<RefCell<Option<Broken>>>,
}

/// A script with syntax errors, of which only the statements without one were run.
struct Broken {
    mistakes: Vec<Mistake>,
    /// The names that the other statements define.
    lost: BTreeSet<String>,
}

impl Broken {
    /// Whether the mistake may be there only because a statement was not run.
    fn causes(&self, mistake: &Mistake) -> bool {
        let said = mistake.text.split("; ").next().unwrap_or_default();
        let mut names = said.split(['`', '"']).skip(1).step_by(2).flat_map(|name| name.split("::"));
        said.starts_with("missing key") || names.any(|name| self.lost.contains(name))
    }
}

impl Interpreter {
    pub fn new() -> Self {
        // An error means that the seed is set already.
        let _ = rhai::config::hashing::set_hashing_seed(Some(HASHING_SEED));
        let state = State::default();
        Self { engine: engine(&state), state, library: Library::new() }
    }

    /// Returns the reply of `twitcher evaluate` to `request`.
    pub fn evaluate(&self, request: &Request) -> Reply {
        let State { resolver, registrar, mistakes, deadline, broken, .. } = &self.state;
        deadline.set(Some(Instant::now() + DEADLINE));
        let mut result = self.run(&self.engine, request, None);
        // Missing modules and variables come first, because the script may have caught the error.
        if let Some(needed) = self.needed() {
            return needed;
        }
        let mut findings = self.lint();
        findings.extend(open_comments(request));
        if result.is_ok() && mistakes.is_empty() && broken.borrow().is_none() {
            let doubts = findings.into_iter().map(|finding| finding.mistake).collect();
            let (watches, services) = registrar.take().into_registrations();
            return Reply::Loaded { watches, services, doubts };
        }
        let unknown: BTreeSet<Unknown> =
            findings.iter().filter_map(|finding| finding.unknown.clone()).collect();
        // Once more, with something in the place of each unknown name, to find the mistakes behind it.
        let again = !unknown.is_empty() && !is_late(&result);
        let lenient = again.then(|| lenient_engine(&self.state, unknown));
        let engine = lenient.as_ref().unwrap_or(&self.engine);
        if again {
            result = self.run(engine, request, None);
            // It comes further than before, and may need more.
            if let Some(needed) = self.needed() {
                return needed;
            }
        }
        let broken = broken.take();
        if let Err(error) = &result
            && is_late(&result)
            && broken.is_none()
        {
            let mistake = self.mistake(error, request);
            return Reply::TimedOut { message: message::render(&[mistake], request) };
        }
        let called = mistakes.called();
        let (watches, services) = registrar.take().into_registrations();
        let mut found = mistakes.take();
        if let Some(broken) = broken {
            found.extend(findings.into_iter().map(|finding| finding.mistake));
            found.retain(|mistake| !broken.causes(mistake));
            found.extend(broken.mistakes);
            return Reply::Failed { watches, services, mistakes: found };
        }
        self.trace(engine, request, &called, &mut found);
        found.extend(findings.into_iter().map(|finding| finding.mistake));
        if let Err(error) = &result {
            let last = self.mistake(error, request);
            // The error may be a consequence of what is reported already.
            let is_of_module = names_module(innermost(error));
            let is_consequence = |found: &Mistake| {
                let (known, new) = (&found.at, &last.at);
                known == new || is_of_module && (&known.source, known.line) == (&new.source, new.line)
            };
            if found.is_empty()
                || !(found.iter().any(is_consequence)
                    || last.text.contains(FAULTY)
                    || is_of_module && resolver.has_broken())
            {
                found.push(last);
            }
        }
        Reply::Failed { watches, services, mistakes: found }
    }

    /// Returns the request for a module or a variable that the last run had to do without.
    fn needed(&self) -> Option<Reply> {
        let State { resolver, fact_provider, .. } = &self.state;
        let module = resolver.missing().map(|path| Reply::NeedsModule { path });
        module.or_else(|| Some(Reply::NeedsVariable { name: fact_provider.missing()? }))
    }

    /// Adds to the mistakes that were found within a function the calls that led there. A report does not
    /// know them, but an error does. So the script runs again until the report.
    fn trace(&self, engine: &Engine, request: &Request, called: &[(usize, usize)], found: &mut [Mistake]) {
        for (report, index) in called.iter().take(MAX_TRACED) {
            self.state.mistakes.trace(*report);
            let result = self.run(engine, request, None);
            if let Err(error) = &result
                && !is_late(&result)
            {
                let traced = self.mistake(error, request);
                found[*index].notes.extend(traced.notes);
            }
        }
    }

    /// Returns the function of registration `index`, from 0. There is no deadline, because the watch may have
    /// a `timeout`.
    pub fn function(&self, request: &Request, index: usize) -> Result<CapturedFunction, String> {
        self.state.deadline.set(None);
        self.run(&self.engine, request, Some(index))
            .map_err(|error| self.render(&error, request, Scope::Config))?;
        let mistakes = self.state.mistakes.take();
        if !mistakes.is_empty() {
            return Err(message::render(&mistakes, request));
        }
        let captured = self.state.registrar.borrow_mut().take_captured();
        captured.ok_or_else(|| format!("{}: registration {} has no function", request.path, index + 1))
    }

    /// Renders `error`, which happened at `place`, for people.
    pub fn render(&self, error: &EvalAltResult, request: &Request, place: Scope) -> String {
        let functions = self.state.registrar.borrow().function_names();
        message::render(&[message::mistake(error, request, &functions, place)], request)
    }

    fn mistake(&self, error: &EvalAltResult, request: &Request) -> Mistake {
        message::mistake(error, request, &self.state.registrar.borrow().function_names(), Scope::Config)
    }

    pub fn resolver(&self) -> &Resolver {
        &self.state.resolver
    }

    /// Runs the script. Mistakes that do not end it are collected.
    fn run(
        &self,
        engine: &Engine,
        request: &Request,
        wanted: Option<usize>,
    ) -> Result<(), Box<EvalAltResult>> {
        let State { resolver, fact_provider, registrar, mistakes, deadline: _, broken } = &self.state;
        broken.take();
        mistakes.begin();
        resolver.begin(request.modules.clone(), mistakes.clone());
        fact_provider.begin(request.facts.clone());
        let hostname = request.facts.hostname.clone();
        let name = request.name.to_string();
        *registrar.borrow_mut() = Registrar::new(name, hostname, wanted, mistakes.clone());
        for (position, reason) in literals::check(engine, &request.source) {
            mistakes.add(Mistake::new(&request.name, position, reason));
        }
        let plain = match engine.compile(&*request.source) {
            Ok(plain) => plain,
            // A function is never taken from a file with a mistake.
            Err(error) if wanted.is_some() => return Err(error.into()),
            Err(error) => self.recover(engine, request, error)?,
        };
        let mut ast = optimize(engine, plain.clone());
        ast.set_source(&*request.name);
        let errors = resolver.preload(engine, &request.name, &ast);
        let mut sources = vec![(request.name.to_string(), plain)];
        sources.extend(resolver.take_plain());
        if sources.iter().any(|(_, ast)| has_try(ast)) {
            mistakes.may_catch();
        }
        registrar.borrow_mut().compiled(ast.clone(), sources);
        for (importer, error) in errors {
            // An error of the script itself has no source.
            let error = match *error {
                EvalAltResult::ErrorRuntime(reason, at) => Mistake::new(&importer, at, reason.to_string()),
                error => self.mistake(&error, request),
            };
            mistakes.add(error);
        }
        engine.run_ast(&ast)
    }

    /// Records the syntax errors of the script, of which `first` is the first. Returns the code of the other
    /// statements.
    fn recover(
        &self,
        engine: &Engine,
        request: &Request,
        first: ParseError,
    ) -> Result<AST, Box<EvalAltResult>> {
        let recovered = recovery::recover(engine, &request.source);
        let first: Box<EvalAltResult> = first.into();
        let is_python = python::is_python(&self.mistake(&first, request));
        let Some(Recovered { ast, errors, lost, is_partial }) = recovered.filter(|_| !is_python) else {
            return Err(first);
        };
        let mut mistakes: Vec<Mistake> =
            errors.into_iter().map(|error| self.mistake(&error.into(), request)).collect();
        let narrow = mistakes.len() - usize::from(is_partial);
        mistakes[..narrow].iter_mut().for_each(message::narrow_to_statement);
        self.state.broken.replace(Some(Broken { mistakes, lost }));
        Ok(ast)
    }

    fn lint(&self) -> Vec<Finding> {
        self.state.registrar.borrow().with_sources(|sources| lint(sources, &self.library))
    }
}

/// The number of mistakes whose calls are shown. Each costs an evaluation.
const MAX_TRACED: usize = 10;

/// The name of [`Faulty`] in the interpreter's errors.
const FAULTY: &str = "a faulty value";

/// Returns the comments without an end. The interpreter takes what follows for a part of them.
fn open_comments(request: &Request) -> Vec<Finding> {
    let script = (&*request.name, &*request.source);
    let modules = request.modules.iter().filter(|(path, _)| path.ends_with(EXTENSION));
    let modules = modules.filter_map(|(path, source)| Some((&**path, &**source.as_ref().ok()?)));
    let found = iter::once(script).chain(modules).filter_map(|(name, source): (&str, &str)| {
        let at = source.contains("/*").then(|| Outline::of(source).open_comment).flatten()?;
        let text = "this comment hides the rest of the file; each /* needs a */, also one within a comment";
        Some(Finding { mistake: Mistake::new(name, at, text), unknown: None })
    });
    found.collect()
}

fn has_try(ast: &AST) -> bool {
    let mut found = false;
    ast.walk(&mut |path: &[ASTNode]| {
        found |= matches!(path.last(), Some(ASTNode::Stmt(Stmt::TryCatch(..))));
        !found
    });
    found
}

impl Default for Interpreter {
    fn default() -> Self {
        Self::new()
    }
}

fn is_late(result: &Result<(), Box<EvalAltResult>>) -> bool {
    result.as_ref().is_err_and(|error| matches!(innermost(error), EvalAltResult::ErrorTerminated(..)))
}

/// Whether the error is about a name in a module, whose place the interpreter and [`lint`] see differently.
fn names_module(error: &EvalAltResult) -> bool {
    match error {
        EvalAltResult::ErrorModuleNotFound(..) => true,
        EvalAltResult::ErrorVariableNotFound(name, _) | EvalAltResult::ErrorFunctionNotFound(name, _) => {
            name.contains("::")
        }
        _ => false,
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

/// Returns an engine that goes on where a name is `unknown`.
fn lenient_engine(state: &State, unknown: BTreeSet<Unknown>) -> Engine {
    let mut engine = engine(state);
    let mut variables = BTreeSet::new();
    for name in unknown {
        match name {
            Unknown::Variable(name) => _ = variables.insert(name),
            Unknown::Function(name, count) => {
                let any = vec![TypeId::of::<Dynamic>(); count];
                engine.register_raw_fn(name, any, |_, _| Ok(Faulty));
            }
        }
    }
    #[expect(deprecated, reason = "the interpreter may change it, and has nothing else for this")]
    engine.on_var(move |name, _, context| {
        let is_unknown = variables.contains(name) && !context.scope().contains(name);
        Ok(is_unknown.then(|| Dynamic::from(Faulty)))
    });
    engine
}

fn engine(State { resolver, fact_provider, registrar, mistakes, deadline, .. }: &State) -> Engine {
    let mut engine = Engine::new();
    // The code is optimized later, because the mistakes in it are found in what people wrote.
    engine.set_optimization_level(OptimizationLevel::None);
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
    engine.register_type_with_name::<Faulty>(FAULTY);
    engine.register_fn("+", |_: &str, it: Faulty| it);
    engine.register_fn("+", |it: Faulty, _: &str| it);
    engine.register_fn("+", |_: Map, it: Faulty| it);
    engine.register_fn("+", |it: Faulty, _: Map| it);
    let (to, main) = (mistakes.clone(), registrar.clone());
    engine.register_fn("Exec", move |context: NativeCallContext, argument: Dynamic| {
        let argument = argument.flatten();
        if is_faulty(&argument) {
            return Ok(Dynamic::from(Faulty));
        }
        match exec(&argument) {
            Ok(words) => Ok(Dynamic::from(RegisteredAction::Command(words))),
            Err(text) => {
                let at = place_of(&context, main.borrow().name());
                let reported = to.report(&context, vec![Mistake { at, text, notes: Vec::new() }]);
                reported.map(|()| Dynamic::from(Faulty)).map_err(Box::<EvalAltResult>::from)
            }
        }
    });
    let register = |registering: Registering| {
        let (resolver, registrar) = (resolver.clone(), registrar.clone());
        move |context: NativeCallContext, argument: Dynamic| {
            // The registrar is taken out, not borrowed, because a check may call back into the script.
            let mut taken = registrar.take();
            let result = taken.register(registering, &context, &argument.flatten(), &resolver);
            *registrar.borrow_mut() = taken;
            result.map_err(Box::<EvalAltResult>::from)
        }
    };
    engine.register_fn("RegisterWatch", register(Registering::Watch));
    engine.register_fn("RegisterService", register(Registering::Service));
    fact_provider.register(&mut engine);
    engine
}

/// Adds the constants. They live in a global module, because functions do not see the constants of a scope.
pub(crate) fn register_constants(engine: &mut Engine) {
    engine.register_type_with_name::<RegisteredAction>("Exec");
    engine.register_type_with_name::<RunMode>("RunMode");
    engine.register_type_with_name::<Facet>("WatchType");
    engine.register_type_with_name::<Format>("Format");
    engine.register_type_with_name::<MemberFormat>("MemberFormat");
    engine.register_type_with_name::<MemberAcl>("MemberAcl");
    engine.register_fn("==", |a: MemberFormat, b: MemberFormat| a == b);
    engine.register_fn("!=", |a: MemberFormat, b: MemberFormat| a != b);
    engine.register_fn("==", |a: MemberAcl, b: MemberAcl| a == b);
    engine.register_fn("!=", |a: MemberAcl, b: MemberAcl| a != b);
    engine.register_fn("==", |a: Format, b: Format| a == b);
    engine.register_fn("!=", |a: Format, b: Format| a != b);
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
