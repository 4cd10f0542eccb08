//! The part of a watch's state that outlives the daemon.

use std::time::{Duration, SystemTime};

use super::Event;
use crate::model::{Facet, Pause, State, Version};

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

    /// Returns the event by which the node got from this state to `version`. `None`: the state is the same.
    pub fn change(self, version: Version, facet: Facet) -> Option<Event> {
        match self {
            Seen::Absent => Some(Event::Created),
            Seen::Present(old) if old.is_same_state(version) => None,
            Seen::Present(old) if version.was_recreated_since(old) => Some(Event::Created),
            Seen::Present(_) => Some(match facet {
                Facet::Data | Facet::Tree | Facet::Members => Event::Changed,
                Facet::Children => Event::Children,
            }),
        }
    }
}

/// What the ledger keeps of a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// `None` until the store's first report.
    pub seen: Option<Seen>,
    /// The event of the newest update that is not done: it waits, runs, is held, or was interrupted.
    pub pending: Option<Event>,
    /// The version that the action last succeeded with, under the present definition;
    /// [`Version::DELETION`] if this was a deletion.
    pub applied: Option<Version>,
    /// The version that DISCARD last ignored, under the present definition.
    pub discarded: Option<Version>,
    /// The version that a guard holds, under the present definition.
    pub held: Option<Version>,
    /// The newest version that the guard or an operator let pass, under the present definition. The guard
    /// does not judge it again.
    pub admitted: Option<Version>,
    /// The [size](crate::model::Content::size) of the content that the action last succeeded with, under any
    /// definition. Guards compare with this size. `None` after the action succeeded with a deletion.
    pub applied_size: Option<u64>,
    /// The number of runs that failed in a row, under the present definition.
    pub failures: u32,
    /// Whether a failure stopped the watch (`on_failure: STOP`), until the definition changes or an operator
    /// triggers it.
    pub stopped: bool,
    /// An operator's pause. A new definition does not end it.
    pub pause: Option<Box<Pause>>,
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
        let map = |version: Version| if version.is_deletion() { version } else { map(version) };
        let [applied, discarded, held, admitted] =
            [self.applied, self.discarded, self.held, self.admitted].map(|version| version.map(map));
        Self { seen, applied, discarded, held, admitted, ..self }
    }

    /// Returns the part that stays under a new definition of the same subject. The new definition has neither
    /// failed nor succeeded yet. Its guards judge all content again.
    pub fn redefined(self) -> Self {
        let undone = Self { applied: None, discarded: None, held: None, admitted: None, ..self };
        Self { failures: 0, stopped: false, ..undone }
    }
}

/// What a new daemon knows of a watch that it loads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    pub record: Option<Record>,
    /// The event of a run of the present subject whose end nobody saw. The record may be older than the run.
    pub interrupted: Option<Event>,
    /// Whether the ledger may have lost a record of this watch, or a newer record than `record`.
    pub record_lost: bool,
}

/// The last recorded snapshot, and whether the watch still has the subject and definition of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub snapshot: Snapshot,
    pub same_subject: bool,
    pub same_definition: bool,
}

impl Recovery {
    /// Returns the snapshot that the new daemon starts from at its time `now`, when the calendar says `wall`.
    /// In doubt, the present content must run again.
    pub fn snapshot(self, now: Duration, wall: SystemTime) -> Snapshot {
        let snapshot = match self.record {
            Some(Record { snapshot, same_subject: true, same_definition: true }) => snapshot,
            Some(Record { snapshot, same_subject: true, same_definition: false }) => snapshot.redefined(),
            Some(Record { snapshot: Snapshot { pause, .. }, same_subject: false, .. }) => {
                Snapshot { pause, ..Snapshot::default() }
            }
            None => Snapshot::default(),
        };
        // The lost record may have said that the node was seen. The node may have changed since then.
        let doubt = (self.record_lost && snapshot.seen.is_none()).then_some(Event::Load);
        Snapshot {
            pending: snapshot.pending.or(self.interrupted).or(doubt),
            pause: snapshot.pause.map(|pause| Box::new(pause.carried_over(now, wall))),
            ..snapshot
        }
    }
}
