//! What a config says, as plain data.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an update does while the action runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunMode {
    Queue,
    Discard,
    Parallel,
}

/// A user or group as a script names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Account {
    Id(u32),
    Name(String),
}

/// What a script registered, as the evaluator returns it: checked as far as a script can be without
/// asking the system (see [`super::resolve`] for the rest).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawWatch {
    pub description: String,
    pub znode: String,
    pub children: bool,
    pub action: RawAction,
    pub pipe_stdin: bool,
    pub run_on_load: bool,
    pub run_mode: RunMode,
    pub uid: Option<Account>,
    pub gid: Option<Account>,
    pub notify_signal: Option<i32>,
    pub timeout: Option<Duration>,
    pub max_parallel: u32,
    /// Of the `RegisterWatch` call, for errors only: no part of the definition.
    pub line: u32,
    pub column: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RawAction {
    /// Program and arguments, never empty.
    Command(Vec<String>),
    /// The action of the file's `index`th registration, from 0. `fingerprint` changes when the code or
    /// the captured values of the function do.
    Function { index: usize, fingerprint: String },
}

/// A watch as the daemon runs it: users, signals and paths are resolved.
///
/// Two specs are equal if and only if they are the same definition: a reload that yields an equal spec
/// changes nothing.
#[derive(Clone, Debug)]
pub struct WatchSpec {
    pub id: WatchKey,
    pub subject: crate::store::Subject,
    pub action: Action,
    pub pipe_stdin: bool,
    pub run_on_load: bool,
    pub run_mode: RunMode,
    pub identity: Identity,
    /// 1 to 64; QUEUE only.
    pub notify_signal: Option<i32>,
    pub timeout: Option<Duration>,
    pub max_parallel: u32,
}

/// A watch's identity across reloads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchKey {
    /// Path of the `.twc` file below the config directory.
    pub file: Arc<str>,
    pub description: Arc<str>,
}

#[derive(Clone, Debug)]
pub enum Action {
    Command(Arc<[String]>),
    Function { program: Arc<Program>, index: usize, fingerprint: String },
}

/// A script and its modules as they were when they were loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// As errors show it.
    pub path: PathBuf,
    pub source: String,
    /// Module sources by the path that `import` resolved to.
    pub modules: std::collections::BTreeMap<String, String>,
}

/// Who an action runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub home: String,
    pub shell: String,
    pub uid: u32,
    pub gid: u32,
    /// What the child must become. `None`: the daemon's own ids and groups, untouched.
    pub change: Option<Credentials>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups; set whole, so that nothing of the daemon's is left.
    pub groups: Vec<u32>,
}

impl std::fmt::Display for WatchKey {
    /// `git.twc-1` where the description was made up from the file, else `git.twc:description`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.description.starts_with(&*self.file) {
            write!(f, "{}:", crate::action::output::printable(self.file.as_bytes()))?;
        }
        f.write_str(&crate::action::output::printable(self.description.as_bytes()))
    }
}
