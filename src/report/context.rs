//! The subjects of reports: the fields by which the journal can be searched.

use std::slice::from_ref;

use super::event::{NodeRef, PreviousRun, ReloadCause, Report, RunReport, ServiceReport};
use crate::action::output::{Printed, Stream};
use crate::ledger::RunCause;
use crate::model::{NodePath, StoreName, Subject, WatchKey};
use crate::store::Exposure;

/// The watches, the run and the node that a report is about; empty if it is about none.
#[derive(Debug, Default)]
pub struct LogContext<'a> {
    pub watches: &'a [&'a WatchKey],
    pub service: Option<&'a WatchKey>,
    /// The node of the service's member.
    pub member: Option<&'a NodePath>,
    /// The action's `TWITCHER_RUN_ID`.
    pub run: Option<&'a str>,
    pub subject: Option<&'a Subject>,
    /// The store's name.
    pub store: Option<&'a str>,
    /// The `.twc` file.
    pub file: Option<&'a str>,
    /// The line and the column in that file.
    pub place: Option<(u32, u32)>,
    /// The process.
    pub pid: Option<i64>,
    /// Who gave the command.
    pub operator: Option<&'a str>,
    /// What the action printed.
    pub output: Option<(Stream, &'a str)>,
    /// What made the run. A line that the action printed has none: its run finds the others.
    pub cause: Option<&'a RunCause>,
}

impl<'a> LogContext<'a> {
    fn of_watch(watch: &'a &'a WatchKey) -> Self {
        Self { watches: from_ref(watch), file: Some(&watch.file), ..Self::default() }
    }

    fn of_node(node: &NodeRef<'a>) -> Self {
        Self::default().at(node)
    }

    fn of_store(store: Option<&'a StoreName>) -> Self {
        Self { store: Some(store.map_or(StoreName::DEFAULT, StoreName::as_str)), ..Self::default() }
    }

    fn of_file(file: &'a str) -> Self {
        Self { file: Some(file), ..Self::default() }
    }

    /// `text` tells of the file, and may begin with its path and `:LINE:COLUMN: `.
    fn of_place(file: &'a str, text: &str) -> Self {
        Self { place: place(file, text), ..Self::of_file(file) }
    }

    fn at(self, node: &NodeRef<'a>) -> Self {
        Self { subject: Some(node.subject), store: Some(node.store.as_str()), ..self }
    }
}

/// Returns the line and the column that follow the path of `file` at the beginning of `text`.
fn place(file: &str, text: &str) -> Option<(u32, u32)> {
    let (before, after) = text.split_once(&format!("{file}:"))?;
    if !before.is_empty() && !before.ends_with('/') {
        return None;
    }
    let (line, after) = after.split_once(':')?;
    let (column, _) = after.split_once(':')?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

impl Report<'_> {
    pub fn context(&self) -> LogContext<'_> {
        match self {
            Report::Starting { .. }
            | Report::Ready { .. }
            | Report::Welcome { .. }
            | Report::Stopping { .. }
            | Report::Stopped
            | Report::PlacesTaken { .. }
            | Report::PlacesFree
            | Report::Problem { .. }
            | Report::Degraded { .. }
            | Report::Recovered { .. }
            | Report::Advice { .. }
            | Report::Serving { .. }
            | Report::Ledger { .. } => LogContext::default(),
            Report::ConfigReload { cause } => {
                let operator = match cause {
                    ReloadCause::Signal(_) => None,
                    ReloadCause::Operator(by) => *by,
                };
                LogContext { operator, ..LogContext::default() }
            }
            Report::StoreHalfStarted { store, pid, .. } => {
                LogContext { pid: Some((*pid).into()), ..LogContext::of_store(*store) }
            }
            Report::Service { service, member, what } => LogContext {
                service: Some(service),
                member: Some(&member.path),
                store: Some(member.store.as_str()),
                file: Some(&service.file),
                operator: what.operator(),
                ..LogContext::default()
            },
            Report::MembersConnected { store, .. }
            | Report::MembersDisconnected { store, .. }
            | Report::StoreConnected { store, .. }
            | Report::StoreDisconnected { store, .. }
            | Report::StoreRefused { store, .. }
            | Report::StoreDegraded { store, .. } => LogContext::of_store(*store),
            Report::StoreExposed { store, what } => {
                let subject = match what {
                    Exposure::Plaintext { .. } | Exposure::MoreWritable => None,
                    Exposure::Writable(subject) => Some(subject),
                };
                LogContext { subject, ..LogContext::of_store(*store) }
            }
            Report::ConfigLoaded { file, .. } | Report::ConfigRemoved { file, .. } => {
                LogContext::of_file(file)
            }
            Report::ConfigFailed { file, error, .. } => LogContext::of_place(file, error),
            Report::ConfigWarning { file: None, .. } => LogContext::default(),
            Report::ConfigWarning { file: Some(file), warning } => LogContext::of_place(file, warning),
            Report::NodeObserved { node }
            | Report::NodeReadable { node }
            | Report::NodeChangeMissed { node, .. } => LogContext::of_node(node),
            Report::NodeUnreadable { node, watches, .. } => {
                LogContext { watches, ..LogContext::of_node(node) }
            }
            Report::WatchAdded { watch, node }
            | Report::WatchChanged { watch, node }
            | Report::Deleted { watch, node }
            | Report::Held { watch, node, .. } => LogContext::of_watch(watch).at(node),
            Report::WatchRemoved { watch }
            | Report::Discarded { watch, .. }
            | Report::Superseded { watch, .. }
            | Report::GaveUp { watch, .. }
            | Report::PauseOver { watch }
            | Report::StaysStopped { watch } => LogContext::of_watch(watch),
            Report::Ordered { watch, pause, .. } | Report::StaysPaused { watch, pause } => {
                LogContext { operator: pause.by.as_deref(), ..LogContext::of_watch(watch) }
            }
            Report::Run { run, what } => LogContext {
                run: Some(run.id),
                subject: Some(run.subject),
                store: Some(run.store),
                pid: what.pid().or(run.pid).map(Into::into),
                output: what.output(),
                cause: run.cause.filter(|_| !matches!(what, RunReport::Printed(_))),
                ..LogContext::of_watch(&run.watch)
            },
            Report::PreviousRun { watch, what } => {
                let (id, pid) = match what {
                    PreviousRun::StillRunning { id, pid, .. } => (id, Some(i64::from(*pid))),
                    PreviousRun::Ended(id) | PreviousRun::Unwatchable(id, _) => (id, None),
                };
                LogContext { run: Some(id), pid, ..LogContext::of_watch(watch) }
            }
        }
    }
}

impl ServiceReport<'_> {
    fn operator(&self) -> Option<&str> {
        match self {
            ServiceReport::Ordered { pause, .. } | ServiceReport::StaysPaused { pause } => {
                pause.by.as_deref()
            }
            ServiceReport::Added
            | ServiceReport::Changed
            | ServiceReport::Renamed { .. }
            | ServiceReport::Removed
            | ServiceReport::Checked(_)
            | ServiceReport::Turned { .. }
            | ServiceReport::Unstartable { .. }
            | ServiceReport::Startable
            | ServiceReport::Announced
            | ServiceReport::Withdrawn
            | ServiceReport::Conflict { .. }
            | ServiceReport::Refused { .. }
            | ServiceReport::PauseOver => None,
        }
    }
}

impl RunReport<'_> {
    fn pid(&self) -> Option<i32> {
        match self {
            RunReport::Started { pid, .. } | RunReport::Unkillable { pid, .. } => Some(*pid),
            RunReport::NotStarted { .. }
            | RunReport::Printed(_)
            | RunReport::Notified { .. }
            | RunReport::Terminated { .. }
            | RunReport::Killed
            | RunReport::Ended { .. }
            | RunReport::Unchanged
            | RunReport::Postponed { .. }
            | RunReport::Retry { .. }
            | RunReport::Lost { .. } => None,
        }
    }

    fn output(&self) -> Option<(Stream, &str)> {
        match self {
            RunReport::Printed(Printed::Line(stream, line)) => Some((*stream, line)),
            RunReport::Printed(Printed::Suppressed(_))
            | RunReport::Started { .. }
            | RunReport::Unkillable { .. }
            | RunReport::NotStarted { .. }
            | RunReport::Notified { .. }
            | RunReport::Terminated { .. }
            | RunReport::Killed
            | RunReport::Ended { .. }
            | RunReport::Unchanged
            | RunReport::Postponed { .. }
            | RunReport::Retry { .. }
            | RunReport::Lost { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_the_one_behind_the_path_of_the_file() {
        for (text, expected) in [
            ("/etc/twitcher/a.twc:3:15: unknown key", Some((3, 15))),
            ("a.twc:3:15: unknown key", Some((3, 15))),
            // It is about a module, another file, or the whole file.
            ("/etc/twitcher/lib.rhai:3:15: unknown", None),
            ("/etc/twitcher/ba.twc:3:15: unknown", None),
            ("/etc/twitcher/a.twc: registers no watch", None),
            ("/etc/twitcher/a.twc: permission denied (line 3:4: x)", None),
        ] {
            assert_eq!(place("a.twc", text), expected, "{text}");
        }
    }
}
