//! One typed report per event; each becomes a log line and a count through [`Reporter`], and nowhere else.
//!
//! A report never holds node data.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::action::run::{ExitStatus, Printed};
use crate::action::spawn::StartError;
use crate::ledger::LedgerEvent;
use crate::model::{StoreName, Subject, WatchCommand, WatchKey, WatchSpec};
use crate::store::Exposure;
use crate::watch::{Event, HoldReason, Reason, RunId};

mod context;
mod display;
mod forwarder;
pub mod journal;
pub mod log;
mod reporter;
mod syslog;

pub(crate) use display::{HeldSummary, force_command};
pub use log::Log;
pub use reporter::{Count, Reporter};

/// How much a report matters. Without flags, [`Level::Notice`] and above are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

#[derive(Debug)]
pub enum Report<'a> {
    Starting {
        version: &'a str,
        store: &'a str,
        config: &'a str,
    },
    /// Where operators reach the daemon.
    Serving {
        control: Option<&'a Path>,
        metrics: Option<SocketAddr>,
    },
    /// Operators do not reach it somewhere, which keeps nothing from running.
    NotServing {
        what: &'a str,
    },
    Ready {
        watches: usize,
    },
    Stopping {
        signal: &'a str,
        running: usize,
    },
    Stopped,
    /// Something that hurts the daemon as a whole but does not stop it; says the remedy.
    Problem {
        what: &'a str,
    },

    /// In these, `store` is its name, unless it is the only one.
    StoreConnected {
        store: Option<&'a StoreName>,
        what: &'a str,
        /// How long it was away, if it was.
        downtime: Option<Duration>,
    },
    StoreDisconnected {
        store: Option<&'a StoreName>,
        reason: &'a str,
    },
    /// It is away as before, until somebody does something.
    StoreRefused {
        store: Option<&'a StoreName>,
        reason: &'a str,
    },
    StoreExposed {
        store: Option<&'a StoreName>,
        what: &'a Exposure,
    },
    StoreDegraded {
        store: Option<&'a StoreName>,
        reason: &'a str,
    },
    NodeObserved {
        node: NodeRef<'a>,
    },
    NodeUnreadable {
        node: NodeRef<'a>,
        watches: &'a [&'a WatchKey],
        reason: &'a str,
    },
    NodeReadable {
        node: NodeRef<'a>,
    },
    NodeChangeMissed {
        node: NodeRef<'a>,
        total: u64,
    },

    ConfigReload {
        requested_by: &'a str,
    },
    ConfigLoaded {
        file: &'a str,
        added: usize,
        changed: usize,
        removed: usize,
    },
    ConfigRemoved {
        file: &'a str,
        watches: usize,
    },
    /// Both texts begin with the file's path.
    ConfigFailed {
        error: &'a str,
    },
    ConfigWarning {
        warning: &'a str,
    },
    WatchAdded {
        watch: &'a WatchKey,
        node: NodeRef<'a>,
    },
    WatchChanged {
        watch: &'a WatchKey,
        node: NodeRef<'a>,
    },
    WatchRemoved {
        watch: &'a WatchKey,
    },

    Run {
        run: RunName<'a>,
        what: RunReport<'a>,
    },
    /// Found in the ledger at the start.
    PreviousRun {
        watch: &'a WatchKey,
        what: PreviousRun<'a>,
    },
    Ledger {
        event: &'a LedgerEvent,
    },
    Discarded {
        watch: &'a WatchKey,
        version: i64,
    },
    /// By a guard.
    Held {
        watch: &'a WatchKey,
        node: NodeRef<'a>,
        version: i64,
        hold_reason: HoldReason,
        /// Not after many others of the same watch.
        warn: bool,
    },
    Superseded {
        watch: &'a WatchKey,
        total: u64,
    },
    GaveUp {
        watch: &'a WatchKey,
        failures: u32,
        stopped: bool,
    },
    /// By an operator.
    Ordered {
        watch: &'a WatchKey,
        command: WatchCommand,
    },
    /// Since before the watch was loaded.
    StaysPaused {
        watch: &'a WatchKey,
    },
    /// Since before the daemon was started.
    StaysStopped {
        watch: &'a WatchKey,
    },
}

/// Which run, of what.
#[derive(Clone, Copy, Debug)]
pub struct RunName<'a> {
    pub watch: &'a WatchKey,
    pub subject: &'a Subject,
    /// What people are shown.
    pub number: RunId,
    /// Unique for ever; what the action has in `TWITCHER_RUN_ID`.
    pub id: &'a str,
}

/// What became of a run that its daemon did not see end.
#[derive(Debug)]
pub enum PreviousRun<'a> {
    StillRunning {
        run: RunId,
        id: &'a str,
        pid: i32,
    },
    Ended(&'a str),
    /// It may live, and we cannot see it end.
    Unwatchable(&'a str, &'a std::io::Error),
}

/// What happened to one run.
#[derive(Debug)]
pub enum RunReport<'a> {
    Started {
        event: Event,
        node: NodeRef<'a>,
        version: i64,
        pid: i32,
        /// How long its program has taken to execute, once nothing that its definition asks for put it off any more.
        latency: Duration,
    },
    NotStarted {
        command: &'a str,
        error: &'a StartError,
    },
    Printed(&'a Printed),
    Notified {
        signal: i32,
    },
    Terminated {
        reason: Reason,
    },
    Killed,
    Ended {
        outcome: &'a ExitStatus,
        ended_by: Option<Reason>,
        took: Duration,
    },
    /// It was not started: the action succeeded with the same before, and did nothing since.
    Unchanged,
    /// It could not be started for want of resources, and is not lost.
    Postponed {
        after: Duration,
    },
    /// It failed, `failures` times in a row by now, and is tried again.
    Retry {
        failures: u32,
        attempts: u32,
        after: Duration,
    },
    /// We cannot tell how it ended.
    Lost {
        error: &'a std::io::Error,
    },
}

impl Report<'_> {
    pub fn level(&self) -> Level {
        match self {
            Report::ConfigFailed { .. }
            | Report::GaveUp { .. }
            | Report::StaysStopped { .. }
            | Report::NodeUnreadable { .. }
            | Report::Ledger { event: LedgerEvent::Lost { .. } | LedgerEvent::Quarantined { .. } }
            | Report::PreviousRun { what: PreviousRun::Unwatchable(..), .. }
            | Report::StoreDegraded { .. }
            | Report::Problem { .. } => Level::Error,
            Report::StoreDisconnected { .. }
            | Report::StoreRefused { .. }
            | Report::StoreExposed { .. }
            | Report::NotServing { .. }
            | Report::NodeChangeMissed { .. }
            | Report::ConfigWarning { .. }
            | Report::Held { warn: true, .. }
            | Report::Superseded { .. } => Level::Warning,
            Report::Starting { .. }
            | Report::Ready { .. }
            | Report::Stopping { .. }
            | Report::Stopped
            | Report::StoreConnected { .. }
            | Report::NodeReadable { .. }
            | Report::Ledger { event: LedgerEvent::Back }
            | Report::PreviousRun {
                what: PreviousRun::StillRunning { .. } | PreviousRun::Ended(_), ..
            }
            | Report::ConfigReload { .. }
            | Report::Serving { .. }
            | Report::Ordered { .. }
            | Report::StaysPaused { .. }
            | Report::ConfigLoaded { .. }
            | Report::ConfigRemoved { .. } => Level::Notice,
            Report::WatchAdded { .. }
            | Report::WatchChanged { .. }
            | Report::WatchRemoved { .. }
            | Report::Held { warn: false, .. }
            | Report::Discarded { .. } => Level::Info,
            Report::NodeObserved { .. } => Level::Debug,
            Report::Run { what, .. } => what.level(),
        }
    }
}

impl RunReport<'_> {
    fn level(&self) -> Level {
        match self {
            RunReport::NotStarted { .. } | RunReport::Lost { .. } => Level::Error,
            RunReport::Ended { outcome: ExitStatus::Exited(0), ended_by: None, .. } => Level::Info,
            RunReport::Ended { .. }
            | RunReport::Postponed { .. }
            | RunReport::Retry { .. }
            | RunReport::Terminated { .. }
            | RunReport::Killed => Level::Warning,
            RunReport::Started { .. } | RunReport::Printed(_) => Level::Notice,
            RunReport::Notified { .. } | RunReport::Unchanged => Level::Info,
        }
    }
}

/// What of a node is watched, in whichever store: `/git/head`, `eu:/members (children)`.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'a> {
    pub store: &'a StoreName,
    pub subject: &'a Subject,
}

impl<'a> NodeRef<'a> {
    pub fn of(spec: &'a WatchSpec) -> Self {
        Self { store: &spec.store, subject: &spec.subject }
    }
}
