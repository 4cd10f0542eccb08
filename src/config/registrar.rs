//! Checks the calls of `RegisterWatch` and `RegisterService` in one evaluation, and collects their
//! registrations.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{AST, Dynamic, FnPtr, GlobalRuntimeState, Map, NativeCallContext};

use super::fingerprint::Functions;
use super::mistake::{Faulty, Mistake, Mistakes, is_faulty, place_of};
use super::modules::{Resolver, locate_schema};
use super::places::Places;
use super::registration::{CallPosition, Registered, RegisteredAction, Registration, ServiceRegistration};
use super::service_check;
use super::vocabulary::{Fault, KEYS, Value, fill, type_of};
use crate::model::{Facet, RunMode, StoreName, Throttle};
use crate::text::suggest;
use crate::value::schema::Schema;

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

/// A function that registers something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registering {
    Watch,
    Service,
}

impl Registering {
    fn name(self) -> &'static str {
        match self {
            Self::Watch => "RegisterWatch",
            Self::Service => "RegisterService",
        }
    }

    /// Returns the key that takes a function.
    fn function_key(self) -> &'static str {
        match self {
            Self::Watch => "action",
            Self::Service => "check",
        }
    }
}

/// Collects what a script registers.
#[derive(Default)]
pub struct Registrar {
    name: String,
    hostname: String,
    main: AST,
    sources: Vec<(String, AST)>,
    /// Where the keys of the script and its modules stand.
    places: Places,
    mistakes: Mistakes,
    /// The number of calls so far.
    calls: usize,
    watches: Vec<Registration>,
    services: Vec<ServiceRegistration>,
    /// The members of the services, by store and path.
    members: BTreeMap<(String, String), CallPosition>,
    descriptions: BTreeMap<String, CallPosition>,
    /// The schemas that were found to be right.
    schemas: BTreeSet<String>,
    /// The index of the registration whose function is to be captured.
    wanted: Option<usize>,
    captured: Option<CapturedFunction>,
    /// The functions of the script and its modules, with the number of the modules. Computed imports add
    /// modules later.
    functions: Option<(usize, Rc<Functions>)>,
}

impl Registrar {
    /// `name` is the path of the script below the config directory, on the host `hostname`. The function of
    /// the registration `wanted` is captured. Mistakes go to `mistakes`.
    pub fn new(name: String, hostname: String, wanted: Option<usize>, mistakes: Mistakes) -> Self {
        Self { name, hostname, wanted, mistakes, ..Self::default() }
    }

    /// Takes the optimized code of the script, and the code of the script and its modules as it is written.
    pub fn compiled(&mut self, main: AST, sources: Vec<(String, AST)>) {
        (self.main, self.sources) = (main, sources);
        if self.wanted.is_none() {
            self.sources.iter().for_each(|(source, ast)| self.places.add(source, ast));
        }
    }

    /// Calls `with` with the code of the script and its modules as it is written, by path.
    pub fn with_sources<T>(&self, with: impl FnOnce(&[(String, AST)]) -> T) -> T {
        with(&self.sources)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn into_registrations(self) -> (Vec<Registration>, Vec<ServiceRegistration>) {
        (self.watches, self.services)
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

    /// Performs a call of the function `registering`. An error ends the script.
    pub fn register(
        &mut self,
        registering: Registering,
        context: &NativeCallContext,
        argument: &Dynamic,
        resolver: &Resolver,
    ) -> Result<(), String> {
        let index = self.calls;
        self.calls += 1;
        if index == MAX_WATCHES {
            return Err(format!("more than {MAX_WATCHES} watches in one file"));
        }
        let call = place_of(context, &self.name);
        if argument.read_lock::<Faulty>().is_some() {
            return Ok(());
        }
        let Ok(map) = argument.as_map_ref() else {
            let (name, given) = (registering.name(), type_of(argument));
            let text = format!("{name} takes a map, {name}(#{{ ... }}), not {given}");
            return self.mistakes.report(context, vec![Mistake { at: call, text, notes: Vec::new() }]);
        };
        let mut map = map.clone();
        let mut faults = Vec::new();
        // Only the interpreter can look up a function, so an action takes its place before the other checks.
        let key = registering.function_key();
        if let Some(value) = map.get_mut(key)
            && let Some(function) = value.flatten_clone().try_cast::<FnPtr>()
        {
            *value = match self.function(context, function, index, resolver) {
                Ok(action) => Dynamic::from(action),
                Err(text) => {
                    faults.push(Fault { path: vec![key.to_owned()], text: format!("`{key}`: {text}") });
                    Dynamic::from(Faulty)
                }
            };
        }
        let description = format!("{}-{}", self.name, index + 1);
        let result = match registering {
            Registering::Watch => {
                let mut watch = Registration::new(description, call);
                faults.extend(check(&map, &mut watch));
                if let Some(path) = &mut watch.schema
                    && let Err(text) = self.locate_schema(&watch.position.source, path, resolver)
                {
                    faults.push(Fault { path: vec!["schema".to_owned()], text: format!("`schema`{text}") });
                }
                let watch = self.with_places(watch, &map);
                let result = self.report(context, &watch, faults, None);
                self.watches.extend(result.is_ok().then_some(watch));
                result
            }
            Registering::Service => {
                let mut service = ServiceRegistration::new(description, call);
                faults.extend(service_check::check(&map, &self.hostname, &mut service));
                let duplicate = if faults.is_empty() { self.duplicate(&service) } else { None };
                let service = self.with_places(service, &map);
                let result = self.report(context, &service, faults, duplicate);
                self.services.extend(result.is_ok().then_some(service));
                result
            }
        };
        if result.is_err() {
            // The script may catch the error, and then nothing is registered.
            self.calls -= 1;
        }
        result
    }

    /// Returns the mistake if another service has the same member, and where that one is registered. Each
    /// would withdraw the member of the other.
    fn duplicate(&mut self, service: &ServiceRegistration) -> Option<(Fault, CallPosition)> {
        let store = service.store.as_deref().unwrap_or(StoreName::DEFAULT);
        let place = service.position.clone();
        match self.members.entry((store.to_owned(), service.path())) {
            Entry::Vacant(free) => {
                free.insert(place);
                None
            }
            Entry::Occupied(first) => {
                let (text, key) = (
                    format!("duplicate member {}; give it another port or address", first.key().1),
                    "address",
                );
                Some((Fault { path: vec![key.to_owned()], text }, first.get().clone()))
            }
        }
    }

    /// Adds to the registration the places of the keys that the system will judge.
    fn with_places<T: Registered>(&self, mut registration: T, map: &Map) -> T {
        for key in ["uid", "gid", "nice", "store"].into_iter().filter(|key| map.contains_key(*key)) {
            if let Some(place) = self.places.find(registration.position(), &[key.to_owned()]) {
                registration.keys_mut().push((key.to_owned(), place));
            }
        }
        registration
    }

    /// Reports the mistakes of a registration, and a description that it shares with another.
    fn report<T: Registered>(
        &mut self,
        context: &NativeCallContext,
        registration: &T,
        faults: Vec<Fault>,
        duplicate: Option<(Fault, CallPosition)>,
    ) -> Result<(), String> {
        let (name, call) = (registration.description().to_owned(), registration.position().clone());
        let at = |path: &[String]| self.places.find(&call, path).unwrap_or_else(|| call.clone());
        let mut mistakes: Vec<Mistake> = Vec::new();
        let faults = faults.into_iter().map(|fault| (fault, None));
        for (Fault { path, text }, other) in faults.chain(duplicate.map(|(fault, at)| (fault, Some(at)))) {
            let at = at(&path);
            let place = (at != call).then(|| call.clone());
            let registered = if place.is_some() { ", registered at" } else { "" };
            let mut notes = vec![(format!("of {} {name:?}{registered}", T::KIND), place)];
            notes
                .extend(other.map(|other| ("another service has it, registered at".to_owned(), Some(other))));
            mistakes.push(Mistake { at, text, notes });
        }
        let described = at(&["description".to_owned()]);
        match self.descriptions.get(&name) {
            Some(first) => {
                let kind = T::KIND;
                let text = format!("duplicate `description` {name:?}; it names the {kind} within its file");
                let another = if kind == Registration::KIND { "another watch" } else { "another" };
                let mut notes = vec![(format!("{another} has it at"), Some(first.clone()))];
                if described != call {
                    notes.push((format!("of the {kind} registered at"), Some(call.clone())));
                }
                mistakes.push(Mistake { at: described, text, notes });
            }
            None => {
                self.mistakes.report(context, mistakes)?;
                self.descriptions.insert(name, described);
                return Ok(());
            }
        }
        self.mistakes.report(context, mistakes)
    }

    /// Replaces the path of a schema by the one below the config directory, and checks the schema.
    fn locate_schema(&mut self, user: &str, path: &mut String, resolver: &Resolver) -> Result<(), String> {
        let located = locate_schema(user, path)?;
        // A function that runs is not a watch that is loaded.
        if self.wanted.is_none() && !self.schemas.contains(&located) {
            let text = resolver.schema(&located)?;
            Schema::compile(text.as_bytes()).map_err(|error| format!(": {located}: {error}"))?;
            self.schemas.insert(located.clone());
        }
        *path = located;
        Ok(())
    }

    fn source(&self, context: &NativeCallContext) -> String {
        context.call_source().unwrap_or(&self.name).to_owned()
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

/// Checks the argument of `RegisterWatch`, and stores its values in `watch`.
fn check(map: &Map, watch: &mut Registration) -> Vec<Fault> {
    let mut faults = fill(KEYS, map, watch);
    let is_wrong = |key: &str, faults: &[Fault]| {
        faults.iter().any(|fault| fault.path.first().is_some_and(|first| first == key))
            || map.get(key).is_some_and(is_faulty)
    };
    let run_mode = watch.policy.run_mode;
    let only = |key: &str| KEYS.iter().find(|it| it.name == key).and_then(|it| it.only);
    let others: Vec<(&str, RunMode)> = map
        .keys()
        .filter_map(|key| Some((key.as_str(), only(key)?)))
        .filter(|(key, only)| *only != run_mode && !is_wrong("run_mode", &faults) && !is_wrong(key, &faults))
        .collect();
    let at = |key: &str, text: String| Fault { path: vec![key.to_owned()], text };
    for (key, only) in others {
        faults.push(at(key, format!("`{key}` is for run_mode: {} only", Value::RunMode(only).name())));
    }
    if watch.policy.decode.is_some() && watch.facet != Facet::Data && !is_wrong("watch_type", &faults) {
        faults.push(at("decode", "`decode` is for watch_type: WATCH_DATA only".into()));
    }
    if watch.schema.is_some() && watch.policy.decode.is_none() && !is_wrong("decode", &faults) {
        faults.push(at("schema", "`schema` is for a watch with `decode` only".into()));
    }
    const MAX: &str = "debounce_max";
    let Throttle { debounce, debounce_max, .. } = watch.policy.throttle;
    if is_wrong("debounce", &faults) || is_wrong(MAX, &faults) {
        return faults;
    }
    match debounce_max {
        Some(_) if debounce.is_zero() => {
            faults.push(at(MAX, format!("`{MAX}` is for a watch with `debounce` only")));
        }
        Some(max) if max < debounce => {
            let (max, debounce) = (max.as_secs_f64(), debounce.as_secs_f64());
            faults.push(at(MAX, format!("`{MAX}`: {max} is less than `debounce`, which is {debounce}")));
        }
        Some(_) | None => {}
    }
    faults
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
            return Err(format!("unknown function `{name}`{near}"));
        }
        return match candidates.any(|known| one_argument(known.code.params.len())) {
            true => Ok(()),
            false => Err(format!("the function `{name}` must take one argument, the event")),
        };
    }
    let Some(closure) = known.first() else {
        return Err("this function cannot be called from here".into());
    };
    let parameters = closure.code.params.len();
    if !one_argument(parameters) {
        let own = parameters - captured.min(parameters);
        return Err(format!("the closure takes {own} arguments; it must take one, the event"));
    }
    // A closure that a module made sees what the module sees.
    if !global.lib.iter().any(|lib| lib.id() == Some(&closure.source)) {
        resolver.enter(&closure.source, global);
    }
    Ok(())
}
