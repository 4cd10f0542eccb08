//! Loads one file: evaluates its text, then resolves what it registers.

use std::collections::{BTreeMap, HashMap};
use std::iter;
use std::path::PathBuf;
use std::sync::Arc;

use super::evaluate::{Evaluation, Evaluator};
use super::message;
use super::mistake::Mistake;
use super::registration::{CallPosition, Registered, Registration, ServiceRegistration};
use super::request::{ModuleSource, Request};
use super::resolve::{Accounts, ResolveError};
use crate::model::{Facts, Program, ServiceSpec, StoreNames, WatchSpec};
use crate::text::hidden_characters;

/// A file to load.
pub struct Source {
    /// The path that errors show.
    pub path: PathBuf,
    /// The path below the config directory.
    pub name: Arc<str>,
    pub text: Arc<str>,
}

/// The watches and services of a file, and the modules that it imports.
pub struct Loaded {
    pub result: Result<Watches, LoadError>,
    /// Missing modules are included, because the file must be loaded again when they appear.
    pub modules: BTreeMap<String, ModuleSource>,
}

pub struct Watches {
    pub specs: Vec<WatchSpec>,
    pub services: Vec<ServiceSpec>,
    /// The place where each of these is registered, first the watches, then the services.
    pub locations: Vec<SourceLocation>,
    pub warnings: Vec<String>,
    /// Places that do not work once the script comes to them, which it did not yet.
    pub doubts: Vec<String>,
    /// The watches that name an unknown user or group. The others are loaded without them.
    pub left_out: Option<LeftOut>,
    /// The messages of the doubts and of the watches that are left out, in the order of the file.
    pub complaints: Option<String>,
}

/// Watches and services of a file that are not loaded, although others are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Their descriptions. No watch has that of a service.
    pub watches: Vec<String>,
    /// The message, which starts with the path.
    pub error: String,
}

/// The place of a call of `RegisterWatch` or `RegisterService`, shown as `FILE:LINE`.
pub struct SourceLocation {
    pub path: Arc<str>,
    pub line: u32,
}

impl std::fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

/// The reason why a file is not loaded. The message starts with the file's path, and line and column if they
/// are known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    pub message: String,
    /// The same text may load at another time.
    pub transient: bool,
}

/// Loads one file. It may name `stores` (`None`: any store). `read` returns a module's source by its path
/// below the config directory.
pub fn load(
    source: Source,
    evaluator: &mut Evaluator,
    accounts: &mut Accounts,
    stores: Option<&StoreNames>,
    read: &mut dyn FnMut(&str) -> ModuleSource,
) -> Loaded {
    let mut request = Request {
        path: source.path.to_string_lossy().into_owned(),
        name: source.name,
        source: source.text,
        modules: BTreeMap::new(),
        facts: Facts::of_this_host(),
    };
    let result = match evaluator.evaluate(&mut request, read) {
        Evaluation::Failed { message, transient } => Err(LoadError { message, transient }),
        Evaluation::Wrong { watches, services, mut mistakes } => {
            // The mistakes that only the system knows belong to the file's, too.
            for watch in &watches {
                mistakes.extend(accounts.errors(watch, stores).iter().map(|error| mistake(watch, error)));
            }
            for service in &services {
                mistakes.extend(accounts.errors(service, stores).iter().map(|error| mistake(service, error)));
            }
            Err(LoadError { message: message::render(&mistakes, &request), transient: false })
        }
        Evaluation::Loaded { watches, services, doubts } => {
            let is_empty = watches.is_empty() && services.is_empty();
            let warning = is_empty.then(|| format!("{}: registers no watch", request.path));
            let patterns = message::each(&patterns(&watches), &request);
            let warnings = warning.into_iter().chain(hidden(&request)).chain(patterns).collect();
            resolve(&request, &watches, &services, source.path, accounts, stores).map(|resolved| {
                let Resolved { specs, services, locations, left_out, errors } = resolved;
                let doubtful = message::each(&doubts, &request);
                let complaints: Vec<Mistake> = doubts.into_iter().chain(errors).collect();
                let complaints = (!complaints.is_empty()).then(|| message::render(&complaints, &request));
                Watches { specs, services, locations, warnings, doubts: doubtful, left_out, complaints }
            })
        }
    };
    Loaded { result, modules: request.modules }
}

/// Returns a warning for each file of `request` with characters that do not show.
fn hidden(request: &Request) -> Vec<String> {
    let names = iter::once(&*request.name).chain(request.modules.keys().map(String::as_str));
    let warning = |(path, text): (String, &str)| Some(format!("{path}:{}", hidden_characters(text, "//")?));
    names.filter_map(|name| warning(request.source(name)?)).collect()
}

/// Returns a warning for each watch whose node looks like a pattern, which no store knows.
fn patterns(watches: &[Registration]) -> Vec<Mistake> {
    let pattern = |watch: &Registration| {
        let text = format!(
            "`znode`: {:?} is one node of this name, and no pattern; WATCH_CHILDREN follows the children of \
             a node, and WATCH_TREE all below it",
            watch.znode
        );
        Mistake { at: watch.place_of("znode").clone(), text, notes: Vec::new() }
    };
    watches.iter().filter(|watch| watch.znode.contains('*')).map(pattern).collect()
}

struct Resolved {
    specs: Vec<WatchSpec>,
    services: Vec<ServiceSpec>,
    locations: Vec<SourceLocation>,
    left_out: Option<LeftOut>,
    /// The reasons why some are left out.
    errors: Vec<Mistake>,
}

/// What does not resolve.
#[derive(Default)]
struct Unresolved {
    /// The descriptions.
    left_out: Vec<String>,
    /// Each with the kind of its registration.
    errors: Vec<(&'static str, Mistake)>,
    /// Whether one of the errors keeps out the whole file.
    all_out: bool,
    /// Whether one of the errors stays while the config stays the same.
    permanent: bool,
}

impl Unresolved {
    fn add<T: Registered>(&mut self, registration: &T, wrong: &[ResolveError]) {
        self.all_out |= !wrong.iter().all(ResolveError::leaves_out_only_its_watch);
        self.permanent |= !wrong.iter().all(ResolveError::is_transient);
        let kind = T::KIND;
        self.errors.extend(wrong.iter().map(|error| (kind, mistake(registration, error))));
        self.left_out.push(registration.description().to_owned());
    }
}

fn resolve(
    request: &Request,
    watches: &[Registration],
    services: &[ServiceRegistration],
    path: PathBuf,
    accounts: &mut Accounts,
    stores: Option<&StoreNames>,
) -> Result<Resolved, LoadError> {
    let readable = |(name, source): (&String, &ModuleSource)| Some((name.clone(), source.clone().ok()?));
    let program = Arc::new(Program {
        path,
        name: request.name.clone(),
        source: request.source.clone(),
        modules: request.modules.iter().filter_map(readable).collect(),
        facts: request.facts.clone(),
    });
    let (mut specs, mut found, mut wrong) = (Vec::new(), Vec::new(), Unresolved::default());
    for watch in watches {
        match accounts.resolve(watch, stores, &request.name, &program) {
            Ok(spec) => {
                specs.push(spec);
                found.push(&watch.position);
            }
            Err(errors) => wrong.add(watch, &errors),
        }
    }
    let mut resolved = Vec::new();
    for service in services {
        match accounts.resolve_service(service, stores, &request.name, &program) {
            Ok(spec) => {
                resolved.push(spec);
                found.push(&service.position);
            }
            Err(errors) => wrong.add(service, &errors),
        }
    }
    let locations = locations(request, &found);
    let Unresolved { left_out, errors, all_out, permanent } = wrong;
    let (kinds, mut errors): (Vec<_>, Vec<_>) = errors.into_iter().unzip();
    if errors.is_empty() {
        return Ok(Resolved { specs, services: resolved, locations, left_out: None, errors });
    }
    // Without any other watch or service, the file itself counts as not loaded.
    if all_out || found.is_empty() {
        let message = message::render(&errors, request);
        return Err(LoadError { message, transient: !permanent });
    }
    for (Mistake { text, .. }, kind) in errors.iter_mut().zip(kinds) {
        text.push_str(if text.ends_with('?') { " This" } else { "; this" });
        text.push_str(&format!(" {kind} is left out"));
    }
    let error = message::render(&errors, request);
    let left_out = Some(LeftOut { watches: left_out, error });
    Ok(Resolved { specs, services: resolved, locations, left_out, errors })
}

/// Returns the mistake at the key that it is about.
fn mistake<T: Registered>(it: &T, error: &ResolveError) -> Mistake {
    let at = it.place_of(error.key()).clone();
    let place = (at != *it.position()).then(|| it.position().clone());
    let registered = if place.is_some() { ", registered at" } else { "" };
    let note = (format!("of {} {:?}{registered}", T::KIND, it.description()), place);
    Mistake { at, text: error.to_string(), notes: vec![note] }
}

fn locations(request: &Request, places: &[&CallPosition]) -> Vec<SourceLocation> {
    let path = |source: &str| request.source(source).map_or_else(|| source.to_owned(), |(path, _)| path);
    // A file may register thousands of watches, so they share one copy of each path.
    let mut paths: HashMap<&str, Arc<str>> = HashMap::new();
    places
        .iter()
        .map(|CallPosition { source, line, .. }| {
            let path = paths.entry(source).or_insert_with(|| path(source).into());
            SourceLocation { path: path.clone(), line: *line }
        })
        .collect()
}
