//! Loads one file: evaluates its text, then resolves what it registers.

use std::collections::{BTreeMap, HashMap};
use std::iter;
use std::path::PathBuf;
use std::sync::Arc;

use rhai::Position;

use super::evaluate::{Evaluation, Evaluator};
use super::message;
use super::registration::{CallPosition, Registration};
use super::request::{ModuleSource, Request};
use super::resolve::Accounts;
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
        Evaluation::Loaded { watches } => {
            let warning = watches.is_empty().then(|| format!("{}: registers no watch", request.path));
            let warnings = warning.into_iter().chain(hidden(&request)).collect();
            let locations = locations(&request, &watches);
            let specs = resolve(&request, &watches, source.path, accounts, stores);
            specs.map(|specs| Watches { specs, locations, warnings })
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

fn resolve(
    request: &Request,
    watches: &[Registration],
    path: PathBuf,
    accounts: &mut Accounts,
    stores: Option<&StoreNames>,
) -> Result<Vec<WatchSpec>, LoadError> {
    let readable = |(name, source): (&String, &ModuleSource)| Some((name.clone(), source.clone().ok()?));
    let program = Arc::new(Program {
        path,
        name: request.name.clone(),
        source: request.source.clone(),
        modules: request.modules.iter().filter_map(readable).collect(),
        facts: request.facts.clone(),
    });
    watches
        .iter()
        .map(|watch| {
            let resolved = accounts.resolve(watch, stores, &request.name, &program);
            resolved.map_err(|error| LoadError {
                message: locate(&error.to_string(), &watch.position, request),
                transient: error.is_transient(),
            })
        })
        .collect()
}

fn locations(request: &Request, watches: &[Registration]) -> Vec<SourceLocation> {
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

fn locate(error: &str, CallPosition { source, line, column }: &CallPosition, request: &Request) -> String {
    // The interpreter has 16 bits for each.
    let number = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    message::locate(error, source, Position::new(number(*line).max(1), number(*column)), request)
}
