//! The subjects of reports: the fields by which the journal can be searched.

use std::slice::from_ref;

use super::event::{PreviousRun, Report};
use crate::model::{Subject, WatchKey};
use crate::store::Exposure;

/// The watches, the run and the node that a report is about; empty if it is about none.
#[derive(Debug, Default)]
pub struct LogContext<'a> {
    pub watches: &'a [&'a WatchKey],
    /// The action's `TWITCHER_RUN_ID`.
    pub run: Option<&'a str>,
    pub subject: Option<&'a Subject>,
}

impl Report<'_> {
    pub fn context(&self) -> LogContext<'_> {
        match self {
            Report::Starting { .. }
            | Report::Ready { .. }
            | Report::Stopping { .. }
            | Report::Stopped
            | Report::PlacesTaken { .. }
            | Report::PlacesFree
            | Report::Problem { .. }
            | Report::Degraded { .. }
            | Report::Recovered { .. }
            | Report::Advice { .. }
            | Report::StoreHalfStarted { .. }
            | Report::StoreConnected { .. }
            | Report::StoreDisconnected { .. }
            | Report::StoreRefused { .. }
            | Report::StoreExposed { what: Exposure::Plaintext { .. } | Exposure::MoreWritable, .. }
            | Report::ConfigReload { .. }
            | Report::Serving { .. }
            | Report::StoreDegraded { .. }
            | Report::ConfigLoaded { .. }
            | Report::ConfigRemoved { .. }
            | Report::ConfigFailed { .. }
            | Report::ConfigWarning { .. }
            | Report::Ledger { .. } => LogContext::default(),
            Report::StoreExposed { what: Exposure::Writable(subject), .. } => {
                LogContext { subject: Some(subject), ..LogContext::default() }
            }
            Report::NodeObserved { node }
            | Report::NodeReadable { node }
            | Report::NodeChangeMissed { node, .. } => {
                LogContext { subject: Some(node.subject), ..LogContext::default() }
            }
            Report::NodeUnreadable { node, watches, .. } => {
                LogContext { watches, subject: Some(node.subject), run: None }
            }
            Report::WatchAdded { watch, node }
            | Report::WatchChanged { watch, node }
            | Report::Deleted { watch, node }
            | Report::Held { watch, node, .. } => {
                LogContext { watches: from_ref(watch), subject: Some(node.subject), run: None }
            }
            Report::WatchRemoved { watch }
            | Report::Discarded { watch, .. }
            | Report::Superseded { watch, .. }
            | Report::GaveUp { watch, .. }
            | Report::Ordered { watch, .. }
            | Report::StaysPaused { watch }
            | Report::StaysStopped { watch } => {
                LogContext { watches: from_ref(watch), ..LogContext::default() }
            }
            Report::Run { run, .. } => {
                LogContext { watches: from_ref(&run.watch), run: Some(run.id), subject: Some(run.subject) }
            }
            Report::PreviousRun { watch, what } => {
                let (PreviousRun::StillRunning { id, .. }
                | PreviousRun::Ended(id)
                | PreviousRun::Unwatchable(id, _)) = what;
                LogContext { watches: from_ref(watch), run: Some(id), subject: None }
            }
        }
    }
}
