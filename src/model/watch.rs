//! A watch as the daemon runs it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ExecContext, Facts, Identity, Policy, RunAs, Schema, StoreName, Subject};
use crate::text::printable;

/// The definition of a watch, with its users, store and node path resolved.
///
/// Specs are equal if they have the same name and do the same. A reload that yields an equal spec changes
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSpec {
    pub id: WatchKey,
    /// One of the stores that the settings name.
    pub store: StoreName,
    pub subject: Subject,
    pub action: Action,
    /// Whether the action reads the content from its stdin.
    pub pipe_stdin: bool,
    /// What decoded content must conform to. Shared like the identity.
    pub schema: Option<Arc<Schema>>,
    /// The user and group that the config asks for. Shared like the identity.
    pub run_as: Arc<RunAs>,
    /// Who that was when it was last looked up. Shared, because most watches have the same identity.
    pub identity: Arc<Identity>,
    /// Shared like the identity.
    pub policy: Arc<Policy>,
    /// Shared like the identity.
    pub exec_context: Arc<ExecContext>,
}

impl WatchSpec {
    /// Whether this is the definition that `other` is. Who the user is that both name does not count: a user
    /// with another number is no other user.
    pub fn defines_same_as(&self, other: &Self) -> bool {
        // Destructured, so that a new field cannot be forgotten.
        let Self { id, store, subject, action, pipe_stdin, schema, run_as, identity, policy, exec_context } =
            self;
        *id == other.id
            && *store == other.store
            && *subject == other.subject
            && *action == other.action
            && *pipe_stdin == other.pipe_stdin
            && *schema == other.schema
            && (*run_as == other.run_as || *identity == other.identity)
            && *policy == other.policy
            && *exec_context == other.exec_context
    }
}

/// The name of a watch, which stays the same across reloads and restarts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchKey {
    /// The path of the `.twc` file below the config directory.
    pub file: Arc<str>,
    pub description: Arc<str>,
}

/// The action of a watch.
#[derive(Clone, Debug)]
pub enum Action {
    /// A program and its arguments. Most words are those of other watches as well, or the node's path, and
    /// shared with them.
    Command(Arc<[Arc<str>]>),
    Function(Arc<Function>),
}

/// The function that the `index`th call of `RegisterWatch` in `program` names, counted from 0.
#[derive(Clone, Debug)]
pub struct Function {
    pub program: Arc<Program>,
    pub index: usize,
    /// Changes when the code or the captured values do.
    pub fingerprint: String,
}

/// Functions are equal if their fingerprints are: the place in the file is not part of a definition.
impl PartialEq for Action {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Action::Command(own), Action::Command(other)) => own == other,
            (Action::Function(own), Action::Function(other)) => own.fingerprint == other.fingerprint,
            (Action::Command(_), Action::Function(_)) | (Action::Function(_), Action::Command(_)) => false,
        }
    }
}

impl Eq for Action {}

/// A script with its modules and the facts that it asked for, as they were at load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The path that errors show.
    pub path: PathBuf,
    /// The path below the config directory (`team/git.twc`). Imports are relative to it.
    pub name: Arc<str>,
    pub source: Arc<str>,
    /// The sources of modules by their path below the config directory (`team/lib.rhai`). Files that import
    /// the same module share its source.
    pub modules: BTreeMap<String, Arc<str>>,
    pub facts: Facts,
}

impl fmt::Display for WatchKey {
    /// `git.twc-1` if the description is the default one, which starts with the file, else
    /// `git.twc:description`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.description.starts_with(&*self.file) {
            write!(f, "{}:", printable(self.file.as_bytes()))?;
        }
        f.write_str(&printable(self.description.as_bytes()))
    }
}
