//! The status of one watch.

use serde::{Deserialize, Serialize};

use crate::ledger::{RunCause, RunRecord};
use crate::model::{CommitNote, Facet, Pause, StoreName, WatchKey};
use crate::text::Timestamp;

/// A line of `GET /v1/watches`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// The watch's name in log lines.
    pub watch: String,
    /// The path relative to the config directory.
    pub file: String,
    pub description: String,
    pub store: String,
    pub znode: String,
    /// `data`, `children` or `tree`.
    pub watch_type: String,
    /// The name of a [`Condition`](crate::watch::Condition).
    pub state: String,
    /// `false` if no loaded config file registers the watch, and only its action still runs.
    pub registered: bool,
    pub paused: bool,
    /// The operator's pause; `null` if the watch is not paused.
    #[serde(default)]
    pub pause: Option<PauseStatus>,
    /// Whether a failure stopped the watch (`on_failure: STOP`).
    pub stopped: bool,
    /// The last observed version; `null` if the node is absent or was not observed yet.
    pub version: Option<i64>,
    /// The version with which the action last succeeded under the present definition.
    pub applied_version: Option<i64>,
    /// The commit that this version is; `null` if it is none.
    #[serde(default)]
    pub applied_commit: Option<CommitNote>,
    /// The live runs of its action.
    pub runs: Vec<RunStatus>,
    /// How many updates wait.
    pub waiting: usize,
    /// The time until the next run starts; `null` if the run waits for something other than time.
    pub next_start_seconds: Option<f64>,
    /// For how long the next run has waited for the end of any action, because `max_actions` run; `null` if
    /// it does not.
    #[serde(default)]
    pub waits_for_place_seconds: Option<f64>,
    /// How many runs failed in a row.
    pub failures: u32,
    /// The version that is held, and why.
    pub held: Option<String>,
    /// What holds it: `guard`; `decode` if it is faulty, so that no force runs it; or `decoder` if it could
    /// not be decoded.
    #[serde(default)]
    pub held_by: Option<String>,
    /// Why the node cannot be read, or how the last run failed.
    pub error: Option<String>,
    /// The newest ended run that this daemon started.
    pub last_run: Option<RunRecord>,
    /// Whether each update sends a signal to the running action (`notify_signal`).
    pub notified: bool,
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PauseStatus {
    /// The user who paused the watch; `null` if that is unknown.
    pub by: Option<String>,
    /// When the operator paused it; `null` if an older Twitcher recorded the pause.
    pub since: Option<Timestamp>,
    /// When it ends by itself; `null` if only an operator ends it.
    pub until: Option<Timestamp>,
    pub why: Option<String>,
}

impl From<&Pause> for PauseStatus {
    fn from(pause: &Pause) -> Self {
        let Pause { by, why, since, until, ends: _ } = pause;
        Self { by: by.clone(), since: since.map(Timestamp), until: until.map(Timestamp), why: why.clone() }
    }
}

/// A live run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    /// The action's `TWITCHER_RUN_ID`.
    pub run: String,
    /// `null` while its process is being started.
    pub pid: Option<i32>,
    pub event: String,
    pub version: i64,
    #[serde(flatten)]
    pub cause: RunCause,
    pub started: Timestamp,
    pub seconds: f64,
    /// The time since the daemon sent SIGKILL; `null` if it did not.
    pub killed_seconds: Option<f64>,
}

impl RunStatus {
    /// How messages call its process.
    pub fn process(&self) -> String {
        self.pid.map_or_else(|| "a start".to_owned(), |pid| format!("pid {pid}"))
    }
}

impl WatchStatus {
    pub fn key(&self) -> WatchKey {
        WatchKey { file: self.file.as_str().into(), description: self.description.as_str().into() }
    }

    /// Sorts watches by file and description, for display.
    pub fn sort_by_name(watches: &mut [Self]) {
        watches.sort_by(|one, other| (&one.file, &one.description).cmp(&(&other.file, &other.description)));
    }

    /// Returns what the watch follows, in the form of log lines: `eu:/members (children)`.
    pub fn node(&self) -> String {
        let store = if self.store == StoreName::DEFAULT { String::new() } else { format!("{}:", self.store) };
        let facet = if self.watch_type == Facet::Data.as_str() {
            String::new()
        } else {
            format!(" ({})", self.watch_type)
        };
        format!("{store}{}{facet}", self.znode)
    }
}
