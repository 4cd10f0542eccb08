//! The data that the daemon gives to the ledger, and gets back after a restart.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::cause::RunCause;
use crate::action::proc::ProcessId;
use crate::model::{CommitNote, Pause, Subject, Version, WatchKey};
use crate::watch::{Event, Snapshot};

/// The record of a watch.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchRecord<'a> {
    pub watch: &'a WatchKey,
    /// The store's name and identity, which a restart does not change. Versions of different stores cannot be
    /// compared.
    pub store: &'a str,
    pub subject: &'a Subject,
    /// The fingerprint of the watch's present definition.
    pub definition: u64,
    pub snapshot: &'a Snapshot,
    /// The commit that [`Snapshot::applied`] is the version of, if it is one.
    pub applied_commit: Option<&'a CommitNote>,
    /// The text of the last failure of the present series.
    pub last_error: Option<&'a str>,
    /// When the update is tried again.
    pub next_try: Option<SystemTime>,
}

/// The record of a watch that an earlier daemon wrote. The fields are those of [`WatchRecord`].
#[derive(Clone, Debug, PartialEq)]
pub struct StoredWatch {
    pub store: String,
    pub subject: Subject,
    pub definition: u64,
    /// [`Snapshot::applied`] is `None` if another definition than this one applied that version.
    pub snapshot: Snapshot,
    pub applied_commit: Option<CommitNote>,
    pub last_error: Option<String>,
}

/// The record of a service that an earlier daemon wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredService {
    /// The fingerprint of its check. `None`: it is not readable.
    pub checked_by: Option<u64>,
    /// Whether it was recorded since the machine was booted. Otherwise the service has ended.
    pub this_boot: bool,
    pub is_well: bool,
    pub pause: Option<Box<Pause>>,
}

/// A run that is about to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The value of the action's `TWITCHER_RUN_ID`, which no other run ever has.
    pub run: String,
    pub watch: WatchKey,
    /// See [`WatchRecord::store`].
    pub store: Arc<str>,
    pub subject: Subject,
    pub definition: u64,
    pub version: Version,
    pub event: Event,
    pub cause: RunCause,
    pub started: SystemTime,
    pub timeout: Option<Duration>,
}

/// A run whose end is not in the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct UnfinishedRun {
    pub intent: Intent,
    /// `None` if the daemon died before it recorded the process.
    pub process: Option<ProcessId>,
    /// Whether it was started since the machine was booted. Otherwise it has ended.
    pub this_boot: bool,
}
