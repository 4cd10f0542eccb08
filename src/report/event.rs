//! The events that the daemon reports.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::action::output::Printed;
use crate::action::run::ExitStatus;
use crate::action::spawn::StartError;
use crate::ledger::{LedgerEvent, RunCause};
use crate::model::{Facet, Holder, MemberName, Pause, StoreName, Subject, WatchCommand, WatchKey, WatchSpec};
use crate::service::CheckResult;
use crate::store::Exposure;
use crate::watch::{Event, HoldReason, Reason, RunId};

/// One event. `store` is the store's name, or `None` if only one store is configured.
#[derive(Debug)]
pub enum Report<'a> {
    Starting {
        version: &'a str,
        store: &'a str,
        config: &'a str,
    },
    /// The addresses at which operators reach the daemon.
    Serving {
        control: Option<&'a Path>,
        metrics: Option<SocketAddr>,
    },
    /// All configs were read for the first time.
    Ready {
        watches: usize,
    },
    /// What a newcomer can do now (`--devel`), several lines.
    Welcome {
        text: &'a str,
    },
    Stopping {
        signal: &'a str,
        /// The live runs, for people.
        running: &'a [String],
        /// How long they have to end by themselves; zero if an operator asked for the second time.
        timeout: Duration,
        /// How long clients have to see that the members are gone.
        drain: Duration,
    },
    Stopped,
    /// A problem of the daemon as a whole, which continues; `what` includes the remedy.
    Problem {
        what: &'a str,
    },

    /// A part of the daemon stops working, and the daemon goes on without it; `what` includes the remedy.
    Degraded {
        part: &'a str,
        what: &'a str,
    },
    /// A part that was degraded works again, or `how` it is well again.
    Recovered {
        part: &'a str,
        how: &'a str,
        downtime: Duration,
    },
    /// As many actions run as may run at once, and this many watches wait until one of them ends.
    PlacesTaken {
        limit: usize,
        waiting: usize,
    },
    /// No watch waits for the end of another watch's action any more.
    PlacesFree,

    /// The daemon works, and would be better off with something.
    Advice {
        what: &'a str,
    },
    /// A process was started that serves a store.
    StoreHalfStarted {
        store: Option<&'a StoreName>,
        pid: u32,
        /// Who it is, and how it is confined.
        confinement: &'a str,
        /// How many there were before.
        restarts: u64,
    },
    StoreConnected {
        store: Option<&'a StoreName>,
        /// The server and session.
        what: &'a str,
        /// `None` for the first connection.
        downtime: Option<Duration>,
    },
    StoreDisconnected {
        store: Option<&'a StoreName>,
        reason: &'a str,
    },
    /// A store that was disconnected before cannot be reached until somebody acts.
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
    /// A service, and its member.
    Service {
        service: &'a WatchKey,
        member: &'a MemberName,
        what: ServiceReport<'a>,
    },
    /// The part of a store that holds members is connected.
    MembersConnected {
        store: Option<&'a StoreName>,
        /// The server and session.
        what: &'a str,
    },
    MembersDisconnected {
        store: Option<&'a StoreName>,
        reason: &'a str,
    },
    /// A resync found a change that the store had not announced; `total` counts such changes since the start.
    NodeChangeMissed {
        node: NodeRef<'a>,
        total: u64,
    },

    ConfigReload {
        cause: ReloadCause<'a>,
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
    /// `error` begins with the file's path. `keeps_watches`: an earlier load has what is missing now, which
    /// stays.
    ConfigFailed {
        file: &'a str,
        error: &'a str,
        keeps_watches: bool,
        /// Whether the file's other watches are loaded.
        is_partial: bool,
    },
    /// `warning` begins with the path of `file`, which is `None` if the warning is about the whole directory.
    ConfigWarning {
        file: Option<&'a str>,
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
    /// At the start, the ledger had a run whose end it did not know.
    PreviousRun {
        watch: &'a WatchKey,
        what: PreviousRun<'a>,
    },
    Ledger {
        event: &'a LedgerEvent,
    },
    /// A node is gone of which the action has applied something, and the watch has no `run_on_delete`.
    Deleted {
        watch: &'a WatchKey,
        node: NodeRef<'a>,
    },
    /// Run mode DISCARD ignored an update.
    Discarded {
        watch: &'a WatchKey,
        version: i64,
        facet: Facet,
    },
    /// A guard holds an update, or its content is faulty.
    Held {
        watch: &'a WatchKey,
        node: NodeRef<'a>,
        version: i64,
        hold_reason: &'a HoldReason,
        /// False if many updates of the same watch were held shortly before: the level is then lower.
        warn: bool,
    },
    /// Run mode PARALLEL replaced a waiting update by a newer one.
    Superseded {
        watch: &'a WatchKey,
        total: u64,
        /// False if many updates of the same watch were replaced shortly before: the level is then lower.
        warn: bool,
    },
    /// A failed update is not tried again; if `stopped`, later updates do not run either (`on_failure:
    /// STOP`).
    GaveUp {
        watch: &'a WatchKey,
        failures: u32,
        stopped: bool,
    },
    /// An operator gave a command.
    Ordered {
        watch: &'a WatchKey,
        command: WatchCommand,
        /// The pause that the operator asked for. For other commands, it only says who the operator is.
        pause: &'a Pause,
    },
    /// A watch was paused before it was loaded.
    StaysPaused {
        watch: &'a WatchKey,
        pause: &'a Pause,
    },
    /// The time of a pause is over.
    PauseOver {
        watch: &'a WatchKey,
    },
    /// A failure stopped a watch before the daemon was started.
    StaysStopped {
        watch: &'a WatchKey,
    },
}

/// Why the daemon reads all configs again.
#[derive(Clone, Copy, Debug)]
pub enum ReloadCause<'a> {
    Signal(&'a str),
    /// An operator asked for it, and who that is, if it is known.
    Operator(Option<&'a str>),
}

/// Identifies a run.
#[derive(Clone, Copy, Debug)]
pub struct RunName<'a> {
    pub watch: &'a WatchKey,
    pub subject: &'a Subject,
    /// The number that log lines show.
    pub number: RunId,
    /// The value of the action's `TWITCHER_RUN_ID`, which no other run ever has.
    pub id: &'a str,
    /// The store's name.
    pub store: &'a str,
    /// Its process, where it is known.
    pub pid: Option<i32>,
    /// What made it, where that is known.
    pub cause: Option<&'a RunCause>,
}

/// The fate of a run that an earlier daemon started.
#[derive(Debug)]
pub enum PreviousRun<'a> {
    StillRunning {
        run: RunId,
        id: &'a str,
        pid: i32,
    },
    /// The id of a run that has ended.
    Ended(&'a str),
    /// The id of a run that may still run, and why the daemon cannot learn when it ends.
    Unwatchable(&'a str, &'a std::io::Error),
}

/// An event of one run.
#[derive(Debug)]
pub enum RunReport<'a> {
    Started {
        event: Event,
        node: NodeRef<'a>,
        version: i64,
        pid: i32,
        /// The time from the update's arrival, or from the end of a configured delay, until the program
        /// executed.
        latency: Duration,
    },
    NotStarted {
        command: &'a str,
        error: &'a StartError,
    },
    Printed(&'a Printed),
    /// The action was sent its `notify_signal`.
    Notified {
        signal: i32,
    },
    /// The action was sent SIGTERM.
    Terminated {
        reason: Reason,
    },
    /// The action was sent SIGKILL.
    Killed,
    /// The action's process does not end although it was sent SIGKILL.
    Unkillable {
        pid: i32,
        after: Duration,
        why: &'a str,
    },
    Ended {
        outcome: &'a ExitStatus,
        ended_by: Option<Reason>,
        took: Duration,
        /// Whether an operator asked for the run.
        is_ordered: bool,
        /// Whether the run counts as interrupted, and its watch runs again.
        runs_again: bool,
    },
    /// The run was not started: the action wants only changes, and there were none since its last success.
    Unchanged,
    /// The run could not be started because resources ran short, and is tried again.
    Postponed {
        after: Duration,
    },
    /// The run failed, the last of `failures` in a row, and is tried again.
    Retry {
        failures: u32,
        attempts: u32,
        after: Duration,
    },
    /// The daemon could not learn how the run ended.
    Lost {
        error: &'a std::io::Error,
    },
}

/// The node that a watch follows, displayed with the store's name unless that is `default`: `/git/head`,
/// `eu:/members (children)`.
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

/// What is reported of a service.
#[derive(Debug)]
pub enum ServiceReport<'a> {
    Added,
    Changed,
    /// Its file registers its member under this name now.
    Renamed {
        name: &'a WatchKey,
    },
    Removed,
    /// A check has ended. This is only counted.
    Checked(CheckResult),
    /// The verdict turned. `why` is how the last check failed.
    Turned {
        is_well: bool,
        why: Option<&'a str>,
    },
    /// The check cannot be started.
    Unstartable {
        why: &'a str,
    },
    Startable,
    Announced,
    Withdrawn,
    /// Another holder has the member's node.
    Conflict {
        holder: &'a Holder,
    },
    /// The store refuses the member.
    Refused {
        reason: &'a str,
    },
    /// An operator gave a command.
    Ordered {
        command: WatchCommand,
        pause: &'a Pause,
    },
    /// The service is still paused by a former daemon's operator.
    StaysPaused {
        pause: &'a Pause,
    },
    PauseOver,
}
