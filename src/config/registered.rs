//! What a script registered, as the evaluator returns it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Account, ExecContext, Guard, OnFailure, Retry, RunMode, RunOnLoad, Throttle, WatchType};

/// What a script registered, as the evaluator returns it: checked as far as a script can be without
/// asking the system (see [`crate::config::resolve`] for the rest).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawWatch {
    pub description: String,
    /// The store's name, if it has one.
    pub store: Option<String>,
    pub znode: String,
    pub watch_type: WatchType,
    pub action: RawAction,
    pub pipe_stdin: bool,
    pub run_on_load: RunOnLoad,
    pub run_mode: RunMode,
    pub uid: Option<Account>,
    pub gid: Option<Account>,
    pub notify_signal: Option<i32>,
    pub timeout: Option<Duration>,
    pub max_parallel: u32,
    pub retry: Option<Retry>,
    pub on_failure: OnFailure,
    pub throttle: Throttle,
    pub guard: Guard,
    /// `None`: the default.
    pub exec_context: Option<Box<ExecContext>>,
    /// Of the `RegisterWatch` call, for errors only: no part of the definition. `source` is the file or module
    /// below the config directory.
    pub source: String,
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
