//! Loads one file: evaluates its text, then resolves what it registers.

use std::collections::{BTreeMap, HashMap};
use std::iter;
use std::path::PathBuf;
use std::sync::Arc;

use super::evaluate::{Evaluation, Evaluator};
use super::message;
use super::mistake::Mistake;
use super::registration::{CallPosition, Registration};
use super::request::{ModuleSource, Request};
use super::resolve::{Accounts, ResolveError};
use crate::model::{Facts, Program, StoreNames, WatchSpec};
use crate::text::hidden_characters;

/// A file to load.
pub struct Source {
    /// The path that errors show.
    pub path: PathBuf,
    /// The path below the config directory.
    pub name: Arc<str>,
    pub text: Arc<str>,
}

/// The watches of a file, and the modules that it imports.
pub struct Loaded {
    pub result: Result<Watches, LoadError>,
    /// Missing modules are included, because the file must be loaded again when they appear.
    pub modules: BTreeMap<String, ModuleSource>,
}

pub struct Watches {
    pub specs: Vec<WatchSpec>,
    /// The place where each of these is registered.
    pub locations: Vec<SourceLocation>,
    pub warnings: Vec<String>,
    /// Places that do not work once the script comes to them, which it did not yet.
    pub doubts: Vec<String>,
    /// The watches that name an unknown user or group. The others are loaded without them.
    pub left_out: Option<LeftOut>,
    /// The messages of the doubts and of the watches that are left out, in the order of the file.
    pub complaints: Option<String>,
}

/// Watches of a file that are not loaded, although others are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The descriptions.
    pub watches: Vec<String>,
    /// The message, which starts with the path.
    pub error: String,
}

/// The place of a `RegisterWatch` call, shown as `FILE:LINE`.
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
        Evaluation::Wrong { watches, mut mistakes } => {
            // The mistakes that only the system knows belong to the file's, too.
            for watch in &watches {
                mistakes.extend(accounts.errors(watch, stores).iter().map(|error| mistake(watch, error)));
            }
            Err(LoadError { message: message::render(&mistakes, &request), transient: false })
        }
        Evaluation::Loaded { watches, doubts } => {
            let warning = watches.is_empty().then(|| format!("{}: registers no watch", request.path));
            let patterns = message::each(&patterns(&watches), &request);
            let warnings = warning.into_iter().chain(hidden(&request)).chain(patterns).collect();
            resolve(&request, watches, source.path, accounts, stores).map(|resolved| {
                let Resolved { specs, locations, left_out, errors } = resolved;
                let doubtful = message::each(&doubts, &request);
                let complaints: Vec<Mistake> = doubts.into_iter().chain(errors).collect();
                let complaints = (!complaints.is_empty()).then(|| message::render(&complaints, &request));
                Watches { specs, locations, warnings, doubts: doubtful, left_out, complaints }
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
    locations: Vec<SourceLocation>,
    left_out: Option<LeftOut>,
    /// The reasons why watches are left out.
    errors: Vec<Mistake>,
}

fn resolve(
    request: &Request,
    watches: Vec<Registration>,
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
    let (mut specs, mut found, mut left_out, mut errors) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut all_out, mut transient) = (false, true);
    for watch in &watches {
        match accounts.resolve(watch, stores, &request.name, &program) {
            Ok(spec) => {
                specs.push(spec);
                found.push(watch);
            }
            Err(wrong) => {
                all_out |= !wrong.iter().all(ResolveError::leaves_out_only_its_watch);
                transient &= wrong.iter().all(ResolveError::is_transient);
                errors.extend(wrong.iter().map(|error| mistake(watch, error)));
                left_out.push(watch.description.clone());
            }
        }
    }
    if errors.is_empty() {
        let locations = locations(request, &found);
        return Ok(Resolved { specs, locations, left_out: None, errors });
    }
    // Without any other watch, the file itself counts as not loaded.
    if all_out || specs.is_empty() {
        return Err(LoadError { message: message::render(&errors, request), transient });
    }
    for Mistake { text, .. } in &mut errors {
        text.push_str(if text.ends_with('?') { " This" } else { "; this" });
        text.push_str(" watch is left out");
    }
    let message = message::render(&errors, request);
    let locations = locations(request, &found);
    Ok(Resolved { specs, locations, left_out: Some(LeftOut { watches: left_out, error: message }), errors })
}

/// Returns the mistake at the key that it is about.
fn mistake(watch: &Registration, error: &ResolveError) -> Mistake {
    let at = watch.place_of(error.key()).clone();
    let place = (at != watch.position).then(|| watch.position.clone());
    let registered = if place.is_some() { ", registered at" } else { "" };
    let note = (format!("of watch {:?}{registered}", watch.description), place);
    Mistake { at, text: error.to_string(), notes: vec![note] }
}

fn locations(request: &Request, watches: &[&Registration]) -> Vec<SourceLocation> {
    let path = |source: &str| request.source(source).map_or_else(|| source.to_owned(), |(path, _)| path);
    // A file may register thousands of watches, so they share one copy of each path.
    let mut paths: HashMap<&str, Arc<str>> = HashMap::new();
    watches
        .iter()
        .map(|Registration { position: CallPosition { source, line, .. }, .. }| {
            let path = paths.entry(source).or_insert_with(|| path(source).into());
            SourceLocation { path: path.clone(), line: *line }
        })
        .collect()
}
