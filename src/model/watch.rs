//! What a config says, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ExecContext, Facts, Identity, StoreName, Subject};
use crate::text::StableHash;

/// What of a node is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatchType {
    Data,
    Children,
    Tree,
}

/// What an update does while the action runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunMode {
    Queue,
    Discard,
    Parallel,
}

/// Whether a watch runs when it is first loaded or its definition changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunOnLoad {
    Never,
    Always,
    /// Unless the ledger shows what there is as applied, in this definition.
    Changed,
}

/// How an update whose run failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// After the first try.
    pub attempts: u32,
    /// Before the first of them; each further one waits twice as long as the one before.
    pub delay: Duration,
    pub max_delay: Duration,
}

impl Retry {
    /// The pause after so many failures in a row, before it is jittered.
    pub fn backoff(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.delay.saturating_mul(doubled).min(self.max_delay)
    }
}

/// What becomes of a watch whose action failed, retries included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// The next update runs it again.
    Keep,
    /// Nothing runs until the definition changes.
    Stop,
}

/// When an update may start. Each of these defers and none drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// None starts before no update has come for this long.
    pub debounce: Duration,
    /// Between two starts.
    pub min_interval: Duration,
    /// Each waits a random part of it.
    pub splay: Duration,
}

/// What an update must be like to be run. One that is not is held until an operator wants it (see
/// [`crate::watch::HoldReason`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// In bytes, as [`crate::model::Content::bytes`] has them.
    pub max_data: Option<u64>,
    pub not_empty: bool,
    /// How much less it may be than what the action succeeded with last.
    pub max_shrink: Option<Share>,
}

/// From nothing to all, in millionths: equal if it looks equal, with all the digits that anybody writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share(u32);

impl Share {
    const PERCENT: u32 = 10_000;
    const WHOLE: u32 = 100 * Self::PERCENT;

    /// `None` unless it is between 0 and 100.
    pub fn of_percent(percent: f64) -> Option<Self> {
        let millionths = (percent * f64::from(Self::PERCENT)).round();
        (0.0..=100.0).contains(&percent).then_some(Self(millionths as u32))
    }

    pub fn percent(self) -> f64 {
        f64::from(self.0) / f64::from(Self::PERCENT)
    }

    /// Whether `part` is more than this share of `whole`.
    pub fn is_exceeded_by(self, part: u64, whole: u64) -> bool {
        u128::from(part) * u128::from(Self::WHOLE) > u128::from(whole) * u128::from(self.0)
    }
}

/// A watch as the daemon runs it: users, signals and paths are resolved.
///
/// Compare with [`WatchSpec::same_definition`]: a reload that yields the same definition changes nothing.
#[derive(Clone, Debug)]
pub struct WatchSpec {
    pub id: WatchKey,
    /// One that the settings name.
    pub store: StoreName,
    pub subject: Subject,
    pub action: Action,
    pub pipe_stdin: bool,
    pub run_on_load: RunOnLoad,
    pub run_mode: RunMode,
    /// Shared: most watches have the same.
    pub identity: Arc<Identity>,
    /// 1 to 64; QUEUE only.
    pub notify_signal: Option<i32>,
    pub timeout: Option<Duration>,
    pub max_parallel: u32,
    pub retry: Option<Retry>,
    pub on_failure: OnFailure,
    pub throttle: Throttle,
    pub guard: Guard,
    /// Shared like the identity.
    pub exec_context: Arc<ExecContext>,
}

/// All of a [`WatchSpec`] that makes it do what it does: the one list of what counts.
///
/// A function is its fingerprint: where it stands in its file, and what else stands there, is no part of the definition.
#[derive(Debug, PartialEq)]
struct Definition<'a> {
    store: &'a StoreName,
    subject: &'a Subject,
    action: ActionRef<'a>,
    pipe_stdin: bool,
    run_on_load: RunOnLoad,
    run_mode: RunMode,
    identity: &'a Identity,
    notify_signal: Option<i32>,
    timeout: Option<Duration>,
    max_parallel: u32,
    retry: Option<Retry>,
    on_failure: OnFailure,
    throttle: Throttle,
    guard: Guard,
    exec_context: &'a ExecContext,
}

#[derive(Debug, PartialEq)]
enum ActionRef<'a> {
    Command(&'a [String]),
    Function(&'a str),
}

impl WatchSpec {
    /// Returns true if and only if both do the same thing: a reload from one to the other starts no action.
    pub fn same_definition(&self, other: &Self) -> bool {
        self.id == other.id && self.definition() == other.definition()
    }

    /// The same for the same definition, in every daemon: by it the ledger knows whether a definition changed while
    /// none ran. A newer release may give another; what follows is one run too many.
    pub fn definition_hash(&self) -> u64 {
        let mut hash = StableHash::default();
        hash.add(&format!("{:?}", self.definition()));
        hash.fold()
    }

    fn definition(&self) -> Definition<'_> {
        // Destructured, so that a new field cannot be forgotten here.
        let Self {
            id: _,
            store,
            subject,
            action,
            pipe_stdin,
            run_on_load,
            run_mode,
            identity,
            notify_signal,
            timeout,
            max_parallel,
            retry,
            on_failure,
            throttle,
            guard,
            exec_context,
        } = self;
        Definition {
            store,
            subject,
            action: match action {
                Action::Command(words) => ActionRef::Command(words),
                Action::Function { fingerprint, .. } => ActionRef::Function(fingerprint),
            },
            pipe_stdin: *pipe_stdin,
            run_on_load: *run_on_load,
            run_mode: *run_mode,
            identity,
            notify_signal: *notify_signal,
            timeout: *timeout,
            max_parallel: *max_parallel,
            retry: *retry,
            on_failure: *on_failure,
            throttle: *throttle,
            guard: *guard,
            exec_context,
        }
    }
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

/// A script, its modules and what it asked of its host, as they were when they were loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// As errors show it.
    pub path: PathBuf,
    /// The file below the config directory (`team/git.twc`); imports are resolved against it.
    pub name: Arc<str>,
    pub source: Arc<str>,
    /// Module sources by their path below the config directory (`team/lib.rhai`). Shared between the files
    /// that import them.
    pub modules: BTreeMap<String, Arc<str>>,
    pub facts: Facts,
}

impl std::fmt::Display for WatchKey {
    /// `git.twc-1` where the description was made up from the file, else `git.twc:description`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.description.starts_with(&*self.file) {
            write!(f, "{}:", crate::text::printable(self.file.as_bytes()))?;
        }
        f.write_str(&crate::text::printable(self.description.as_bytes()))
    }
}
