//! From one file's text to its watches: evaluate, then resolve.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use rhai::Position;

use super::evaluate::{Evaluation, Evaluator};
use super::message::{self, Sources};
use super::modules::ModuleSource;
use super::resolve::Accounts;
use super::script::Request;
use crate::config::registered::RawWatch;
use crate::model::{Facts, Program, StoreNames, WatchSpec};

/// A file's text, about to be loaded.
pub struct Source {
    /// As errors show it.
    pub path: PathBuf,
    /// Below the config directory.
    pub name: Arc<str>,
    pub text: Arc<str>,
}

/// What a file came to, and the modules that had a part in it.
pub struct Loaded {
    pub result: Result<Watches, LoadError>,
    /// Missing ones included: a new file may be what was missed.
    pub modules: BTreeMap<String, ModuleSource>,
}

pub struct Watches {
    pub specs: Vec<WatchSpec>,
    /// Where each of these is registered.
    pub locations: Vec<SourceLocation>,
    pub warnings: Vec<String>,
}

/// Of a `RegisterWatch` call: shown as `FILE:LINE`.
pub struct SourceLocation {
    pub path: Arc<str>,
    pub line: u32,
}

impl std::fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

/// `message` starts with the file's path, and the line and column where they are known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    pub message: String,
    /// The same text may load another time: try again.
    pub transient: bool,
}

/// Loads one file. `stores` are those that it may name (`None`: any), `read` gives a module's source by its path below
/// the config directory.
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
        Evaluation::Loaded { watches, mut warnings } => {
            if watches.is_empty() {
                warnings.push(format!("{}: registers no watch", request.path));
            }
            let locations = locations(&request, &watches);
            resolve(&request, &watches, source.path, accounts, stores).map(|specs| Watches {
                specs,
                locations,
                warnings,
            })
        }
    };
    Loaded { result, modules: request.modules }
}

fn resolve(
    request: &Request,
    watches: &[RawWatch],
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
        .map(|raw| {
            accounts.resolve(raw, stores, &request.name, &program).map_err(|error| LoadError {
                message: message::locate(&error.to_string(), &raw.source, position(raw), request),
                transient: error.is_transient(),
            })
        })
        .collect()
}

fn locations(request: &Request, watches: &[RawWatch]) -> Vec<SourceLocation> {
    let path = |source: &str| request.source(source).map_or_else(|| source.to_owned(), |(path, _)| path);
    // One copy of each: a file may register thousands.
    let mut paths: HashMap<&str, Arc<str>> = HashMap::new();
    watches
        .iter()
        .map(|raw| {
            let path = paths.entry(&raw.source).or_insert_with(|| path(&raw.source).into());
            SourceLocation { path: path.clone(), line: raw.line }
        })
        .collect()
}

fn position(raw: &RawWatch) -> Position {
    // The interpreter counts no further than this itself.
    let number = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    Position::new(number(raw.line).max(1), number(raw.column))
}
