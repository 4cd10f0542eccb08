//! One typed report per event; each becomes a log line and a count through [`Reporter`], and nowhere else.
//!
//! A report never holds node data.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::action::run::{Outcome, Printed};
use crate::action::spawn::StartError;
use crate::ledger::News;
use crate::model::{Order, StoreName, Subject, WatchKey, WatchSpec};
use crate::store::Exposure;
use crate::watch::{Event, Reason, RunId, Suspicion};

mod about;
pub mod journal;
pub mod log;
mod post;
mod reporter;
mod syslog;
mod words;

pub use log::Log;
pub use reporter::{Count, Reporter};
pub(crate) use words::{Holding, force_command};

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
    Unserved {
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
    Trouble {
        what: &'a str,
    },

    /// In these, `store` is its name, unless it is the only one.
    StoreConnected {
        store: Option<&'a StoreName>,
        what: &'a str,
        /// How long it was away, if it was.
        away: Option<Duration>,
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
        node: Node<'a>,
    },
    NodeUnreadable {
        node: Node<'a>,
        watches: &'a [&'a WatchKey],
        reason: &'a str,
    },
    NodeReadable {
        node: Node<'a>,
    },
    NodeDrifted {
        node: Node<'a>,
        total: u64,
    },

    ConfigReload {
        asked_by: &'a str,
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
        node: Node<'a>,
    },
    WatchChanged {
        watch: &'a WatchKey,
        node: Node<'a>,
    },
    WatchRemoved {
        watch: &'a WatchKey,
    },

    Run {
        run: RunName<'a>,
        what: RunReport<'a>,
    },
    /// Found in the ledger at the start.
    Former {
        watch: &'a WatchKey,
        what: FormerRun<'a>,
    },
    Ledger {
        news: &'a News,
    },
    Discarded {
        watch: &'a WatchKey,
        version: i64,
    },
    /// By a guard.
    Held {
        watch: &'a WatchKey,
        node: Node<'a>,
        version: i64,
        suspicion: Suspicion,
        /// Not after many others of the same watch.
        aloud: bool,
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
        order: Order,
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
pub enum FormerRun<'a> {
    Lives {
        run: RunId,
        id: &'a str,
        pid: i32,
    },
    Gone(&'a str),
    /// It may live, and we cannot see it end.
    Unseen(&'a str, &'a std::io::Error),
}

/// What happened to one run.
#[derive(Debug)]
pub enum RunReport<'a> {
    Started {
        event: Event,
        node: Node<'a>,
        version: i64,
        pid: i32,
        /// How long its program has taken to execute, once nothing that its definition asks for put it off any more.
        late: Duration,
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
        outcome: &'a Outcome,
        ended_by: Option<Reason>,
        took: Duration,
    },
    /// It was not started: the action succeeded with the same before, and did nothing since.
    Needless,
    /// It could not be started for want of resources, and is not lost.
    PutOff {
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
            | Report::Ledger { news: News::Lost { .. } | News::SetAside { .. } }
            | Report::Former { what: FormerRun::Unseen(..), .. }
            | Report::StoreDegraded { .. }
            | Report::Trouble { .. } => Level::Error,
            Report::StoreDisconnected { .. }
            | Report::StoreRefused { .. }
            | Report::StoreExposed { .. }
            | Report::Unserved { .. }
            | Report::NodeDrifted { .. }
            | Report::ConfigWarning { .. }
            | Report::Held { aloud: true, .. }
            | Report::Superseded { .. } => Level::Warning,
            Report::Starting { .. }
            | Report::Ready { .. }
            | Report::Stopping { .. }
            | Report::Stopped
            | Report::StoreConnected { .. }
            | Report::NodeReadable { .. }
            | Report::Ledger { news: News::Back }
            | Report::Former { what: FormerRun::Lives { .. } | FormerRun::Gone(_), .. }
            | Report::ConfigReload { .. }
            | Report::Serving { .. }
            | Report::Ordered { .. }
            | Report::StaysPaused { .. }
            | Report::ConfigLoaded { .. }
            | Report::ConfigRemoved { .. } => Level::Notice,
            Report::WatchAdded { .. }
            | Report::WatchChanged { .. }
            | Report::WatchRemoved { .. }
            | Report::Held { aloud: false, .. }
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
            RunReport::Ended { outcome: Outcome::Exited(0), ended_by: None, .. } => Level::Info,
            RunReport::Ended { .. }
            | RunReport::PutOff { .. }
            | RunReport::Retry { .. }
            | RunReport::Terminated { .. }
            | RunReport::Killed => Level::Warning,
            RunReport::Started { .. } | RunReport::Printed(_) => Level::Notice,
            RunReport::Notified { .. } | RunReport::Needless => Level::Info,
        }
    }
}

/// What of a node is watched, in whichever store: `/git/head`, `eu:/members (children)`.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    pub store: &'a StoreName,
    pub subject: &'a Subject,
}

impl<'a> Node<'a> {
    pub fn of(spec: &'a WatchSpec) -> Self {
        Self { store: &spec.store, subject: &spec.subject }
    }
}
