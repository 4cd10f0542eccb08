//! What the next daemon needs to know of a watch.

use super::Event;
use crate::model::{Facet, State, Version};

/// The last state of a node that a watch knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Absent,
    Present(Version),
}

impl Seen {
    pub fn of(state: &State) -> Self {
        match state {
            State::Absent => Seen::Absent,
            State::Present { version, .. } => Seen::Present(*version),
        }
    }

    /// Returns the event that leads from here to `version`, or `None` if that is the same state.
    pub fn change(self, version: Version, facet: Facet) -> Option<Event> {
        match self {
            Seen::Absent => Some(Event::Created),
            Seen::Present(old) if old.is_same_state(version) => None,
            Seen::Present(old) if old.incarnation != version.incarnation => Some(Event::Created),
            Seen::Present(_) => Some(match facet {
                Facet::Data | Facet::Tree => Event::Changed,
                Facet::Children => Event::Children,
            }),
        }
    }
}

/// What the ledger keeps of a watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// `None` until the store's first report.
    pub seen: Option<Seen>,
    /// The event of the newest update that is not done: it waits, runs, is held, or was interrupted.
    pub pending: Option<Event>,
    /// What the action last succeeded with, under the present definition.
    pub applied: Option<Version>,
    /// What DISCARD last ignored, under the present definition.
    pub discarded: Option<Version>,
    /// What a guard holds, under the present definition.
    pub held: Option<Version>,
    /// The newest version that a guard or an operator let pass, under the present definition. It is not
    /// judged again.
    pub admitted: Option<Version>,
    /// The [amount](crate::model::Content::amount) of what the action last succeeded with, under any
    /// definition. Guards compare with it.
    pub applied_size: Option<u64>,
    /// The number of runs that failed in a row.
    pub failures: u32,
    /// Whether a failure stopped the watch (`on_failure: STOP`), until the definition changes or an operator
    /// triggers it.
    pub stopped: bool,
    /// Whether an operator paused the watch, until one resumes it. A new definition does not change this.
    pub paused: bool,
}

impl Snapshot {
    /// Whether the last run failed, or an earlier failure stopped the watch.
    pub fn is_failing(&self) -> bool {
        self.failures > 0 || self.stopped
    }

    /// Applies `map` to each version.
    pub fn map_versions(self, map: impl Fn(Version) -> Version) -> Self {
        let seen = self.seen.map(|seen| match seen {
            Seen::Absent => Seen::Absent,
            Seen::Present(version) => Seen::Present(map(version)),
        });
        let [applied, discarded, held, admitted] =
            [self.applied, self.discarded, self.held, self.admitted].map(|version| version.map(&map));
        Self { seen, applied, discarded, held, admitted, ..self }
    }

    /// Returns what stays under another definition with the same subject. That definition has neither failed
    /// nor succeeded yet, and judges everything again.
    pub fn redefined(self) -> Self {
        let undone = Self { applied: None, discarded: None, held: None, admitted: None, ..self };
        Self { failures: 0, stopped: false, ..undone }
    }
}

/// What a new daemon knows of a watch that it loads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    pub record: Option<Record>,
    /// The event of a run whose end nobody saw. The record may be older than the run.
    pub interrupted: Option<Event>,
    /// Whether there may have been a record, or a newer one, that was lost.
    pub record_lost: bool,
}

/// The last recorded snapshot, and whether subject and definition are still those that it was recorded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub snapshot: Snapshot,
    pub same_subject: bool,
    pub same_definition: bool,
}

impl Recovery {
    /// Returns the snapshot that the new daemon starts from. In doubt, an update must run again.
    pub fn snapshot(self) -> Snapshot {
        let snapshot = match self.record {
            Some(Record { snapshot, same_subject: true, same_definition: true }) => snapshot,
            Some(Record { snapshot, same_subject: true, same_definition: false }) => snapshot.redefined(),
            Some(Record { snapshot: Snapshot { paused, .. }, same_subject: false, .. }) => {
                Snapshot { paused, ..Snapshot::default() }
            }
            None => Snapshot::default(),
        };
        // The lost record may have said that the node was seen, and it may have changed since.
        let doubt = (self.record_lost && snapshot.seen.is_none()).then_some(Event::Load);
        Snapshot { pending: snapshot.pending.or(self.interrupted).or(doubt), ..snapshot }
    }
}
