//! The requests of the daemon to an evaluator, and the replies. Each is one line of JSON.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::mistake::Mistake;
use super::registration::{Registration, ServiceRegistration};
use crate::model::Facts;

/// The module's source, or the reason why it could not be read.
pub type ModuleSource = Result<Arc<str>, String>;

/// A file to evaluate, with the modules and facts that are known so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The path that errors show.
    pub path: String,
    /// The path below the config directory.
    pub name: Arc<str>,
    pub source: Arc<str>,
    /// The modules by their path below the config directory.
    pub modules: BTreeMap<String, ModuleSource>,
    pub facts: Facts,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// `doubts` are places that do not work once the script comes to them, which it did not yet: a function
    /// of an action calls a function that does not exist.
    Loaded {
        watches: Vec<Registration>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        services: Vec<ServiceRegistration>,
        doubts: Vec<Mistake>,
    },
    /// These are the registrations as far as they could be read. They only serve to find more mistakes.
    Failed {
        watches: Vec<Registration>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        services: Vec<ServiceRegistration>,
        mistakes: Vec<Mistake>,
    },
    TimedOut {
        message: String,
    },
    /// The file imports a module that the request does not have. The daemon adds the module and asks again.
    NeedsModule {
        path: String,
    },
    /// The file reads a variable of the daemon's environment that the request does not have.
    NeedsVariable {
        name: String,
    },
}

impl Request {
    /// Returns the path that errors show, and the text, of the file or module `name`, if the request has it.
    pub fn source(&self, name: &str) -> Option<(String, &str)> {
        if *name == *self.name {
            return Some((self.path.clone(), &self.source));
        }
        let root = self.path.strip_suffix(&*self.name).unwrap_or("");
        let source = self.modules.get(name)?.as_ref().ok()?;
        Some((Path::new(root).join(name).to_string_lossy().into_owned(), source))
    }
}
