//! The levels of reports.

use super::event::{PreviousRun, Report, RunReport, ServiceReport};
use crate::action::run::ExitStatus;
use crate::ledger::LedgerEvent;

/// The level of a log line. Without flags, the log contains [`Level::Notice`] and above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "ERROR",
            Level::Warning => "WARNING",
            Level::Notice => "NOTICE",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
        }
    }
}

impl Report<'_> {
    pub fn level(&self) -> Level {
        match self {
            Report::ConfigFailed { .. }
            | Report::GaveUp { .. }
            | Report::StaysStopped { .. }
            | Report::NodeUnreadable { .. }
            | Report::Ledger { event: LedgerEvent::Lost { .. } | LedgerEvent::Quarantined { .. } }
            | Report::Ledger { event: LedgerEvent::Oversized { .. } }
            | Report::PreviousRun { what: PreviousRun::Unwatchable(..), .. }
            | Report::StoreDegraded { .. }
            | Report::Problem { .. } => Level::Error,
            Report::StoreDisconnected { .. }
            | Report::MembersDisconnected { .. }
            | Report::StoreRefused { .. }
            | Report::StoreExposed { .. }
            | Report::Degraded { .. }
            | Report::PlacesTaken { .. }
            | Report::NodeChangeMissed { .. }
            | Report::ConfigWarning { .. }
            | Report::Held { warn: true, .. }
            | Report::Superseded { warn: true, .. } => Level::Warning,
            Report::Starting { .. }
            | Report::Advice { .. }
            | Report::Ready { .. }
            | Report::Welcome { .. }
            | Report::Stopping { .. }
            | Report::Stopped
            | Report::PlacesFree
            | Report::StoreConnected { .. }
            | Report::MembersConnected { .. }
            | Report::Recovered { .. }
            | Report::NodeReadable { .. }
            | Report::Ledger { event: LedgerEvent::Back | LedgerEvent::Shrunk }
            | Report::PreviousRun {
                what: PreviousRun::StillRunning { .. } | PreviousRun::Ended(_), ..
            }
            | Report::ConfigReload { .. }
            | Report::Serving { .. }
            | Report::Ordered { .. }
            | Report::StaysPaused { .. }
            | Report::PauseOver { .. }
            | Report::Deleted { .. }
            | Report::ConfigLoaded { .. }
            | Report::ConfigRemoved { .. } => Level::Notice,
            Report::WatchAdded { .. }
            | Report::WatchChanged { .. }
            | Report::WatchRemoved { .. }
            | Report::Held { warn: false, .. }
            | Report::Superseded { warn: false, .. }
            | Report::Discarded { .. } => Level::Info,
            // A restart follows an outage, which was reported.
            Report::NodeObserved { .. } | Report::StoreHalfStarted { .. } => Level::Debug,
            Report::Run { what, .. } => what.level(),
            Report::Service { what, .. } => what.level(),
        }
    }
}

impl ServiceReport<'_> {
    fn level(&self) -> Level {
        match self {
            ServiceReport::Turned { is_well: false, .. }
            | ServiceReport::Unstartable { .. }
            | ServiceReport::Conflict { .. }
            | ServiceReport::Refused { .. } => Level::Warning,
            ServiceReport::Turned { is_well: true, .. }
            | ServiceReport::Startable
            | ServiceReport::Announced
            | ServiceReport::Withdrawn
            | ServiceReport::Renamed { .. }
            | ServiceReport::Ordered { .. }
            | ServiceReport::StaysPaused { .. }
            | ServiceReport::PauseOver => Level::Notice,
            ServiceReport::Added | ServiceReport::Changed | ServiceReport::Removed => Level::Info,
            ServiceReport::Checked(_) => Level::Debug,
        }
    }
}

impl RunReport<'_> {
    fn level(&self) -> Level {
        match self {
            RunReport::NotStarted { .. } | RunReport::Lost { .. } | RunReport::Unkillable { .. } => {
                Level::Error
            }
            // Who starts a run by hand wants to know how it ended.
            RunReport::Ended { outcome: ExitStatus::Exited(0), ended_by: None, is_ordered: true, .. } => {
                Level::Notice
            }
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
