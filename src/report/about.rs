//! What a report is about, for a log that can be searched by it.

use std::slice::from_ref;

use super::{FormerRun, Report};
use crate::model::{Subject, WatchKey};
use crate::store::Exposure;

#[derive(Debug, Default)]
pub struct About<'a> {
    pub watches: &'a [&'a WatchKey],
    /// As the action has it in `TWITCHER_RUN_ID`.
    pub run: Option<&'a str>,
    pub subject: Option<&'a Subject>,
}

impl Report<'_> {
    pub fn about(&self) -> About<'_> {
        match self {
            Report::Starting { .. }
            | Report::Ready { .. }
            | Report::Stopping { .. }
            | Report::Stopped
            | Report::Trouble { .. }
            | Report::StoreConnected { .. }
            | Report::StoreDisconnected { .. }
            | Report::StoreRefused { .. }
            | Report::StoreExposed { what: Exposure::InTheClear { .. } | Exposure::MoreWritable, .. }
            | Report::ConfigReload { .. }
            | Report::Serving { .. }
            | Report::Unserved { .. }
            | Report::StoreDegraded { .. }
            | Report::ConfigLoaded { .. }
            | Report::ConfigRemoved { .. }
            | Report::ConfigFailed { .. }
            | Report::ConfigWarning { .. }
            | Report::Ledger { .. } => About::default(),
            Report::StoreExposed { what: Exposure::Writable(subject), .. } => {
                About { subject: Some(subject), ..About::default() }
            }
            Report::NodeObserved { node }
            | Report::NodeReadable { node }
            | Report::NodeDrifted { node, .. } => About { subject: Some(node.subject), ..About::default() },
            Report::NodeUnreadable { node, watches, .. } => {
                About { watches, subject: Some(node.subject), run: None }
            }
            Report::WatchAdded { watch, node }
            | Report::WatchChanged { watch, node }
            | Report::Held { watch, node, .. } => {
                About { watches: from_ref(watch), subject: Some(node.subject), run: None }
            }
            Report::WatchRemoved { watch }
            | Report::Discarded { watch, .. }
            | Report::Superseded { watch, .. }
            | Report::GaveUp { watch, .. }
            | Report::Ordered { watch, .. }
            | Report::StaysPaused { watch }
            | Report::StaysStopped { watch } => About { watches: from_ref(watch), ..About::default() },
            Report::Run { run, .. } => {
                About { watches: from_ref(&run.watch), run: Some(run.id), subject: Some(run.subject) }
            }
            Report::Former { watch, what } => {
                let (FormerRun::Lives { id, .. } | FormerRun::Gone(id) | FormerRun::Unseen(id, _)) = what;
                About { watches: from_ref(watch), run: Some(id), subject: None }
            }
        }
    }
}
