//! What of a watch must outlive the daemon, and what a new one goes by.

use super::Event;
use crate::model::{State, Version};

/// The last that a store said of a node, as far as a watch has taken it in.
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

    /// What kind of change leads from here to `version`, if any does.
    pub fn change(self, version: Version, on_children: bool) -> Option<Event> {
        match self {
            Seen::Absent => Some(Event::Created),
            Seen::Present(old) if old.is_same_state(version) => None,
            Seen::Present(old) if old.incarnation != version.incarnation => Some(Event::Created),
            Seen::Present(_) if on_children => Some(Event::Children),
            Seen::Present(_) => Some(Event::Changed),
        }
    }
}

/// What of a watch must outlive the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// `None` until the store's first word.
    pub seen: Option<Seen>,
    /// Why an update is to be run that has not come to its end: it waits, runs, or was interrupted.
    pub pending: Option<Event>,
    /// What the action succeeded with last, in the present definition.
    pub applied: Option<Version>,
    /// What DISCARD ignored last, in the present definition.
    pub discarded: Option<Version>,
    /// What a guard holds, in the present definition. It is owed.
    pub held: Option<Version>,
    /// The newest that a guard or an operator let through, in the present definition: it is not judged again.
    pub admitted: Option<Version>,
    /// The [amount](crate::model::Content::amount) of what the action succeeded with last, in whichever definition: what guards compare with.
    pub applied_size: Option<u64>,
    /// How many runs failed in a row.
    pub failures: u32,
    /// After a failure with [`OnFailure::Stop`], until the definition changes or an operator triggers it.
    pub stopped: bool,
    /// By an operator, until one resumes it, whatever becomes of the definition.
    pub paused: bool,
}

impl Snapshot {
    /// Whether the last run failed, or a failure before it has stopped the watch.
    pub fn is_failing(&self) -> bool {
        self.failures > 0 || self.stopped
    }

    /// With each of its versions as `map` has it.
    pub fn map_versions(self, map: impl Fn(Version) -> Version) -> Self {
        let seen = self.seen.map(|seen| match seen {
            Seen::Absent => Seen::Absent,
            Seen::Present(version) => Seen::Present(map(version)),
        });
        let [applied, discarded, held, admitted] =
            [self.applied, self.discarded, self.held, self.admitted].map(|version| version.map(&map));
        Self { seen, applied, discarded, held, admitted, ..self }
    }

    /// What stays of it under another definition that watches the same: it has not failed yet, nor succeeded, and what
    /// was held or let through is judged anew.
    pub fn redefined(self) -> Self {
        let undone = Self { applied: None, discarded: None, held: None, admitted: None, ..self };
        Self { failures: 0, stopped: false, ..undone }
    }
}

/// What a new daemon knows of a watch that it loads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    pub record: Option<Record>,
    /// Why a run of this node was started whose end nobody saw. The record may be older than the run.
    pub interrupted: Option<Event>,
    /// There may have been a record that was lost, or a newer one.
    pub record_lost: bool,
}

/// The standing that was recorded last, and whether the definition is still the one that it was recorded of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub snapshot: Snapshot,
    pub same_subject: bool,
    pub same_definition: bool,
}

impl Recovery {
    /// Where the watch stands for the new daemon: in doubt, something is owed.
    pub fn snapshot(self) -> Snapshot {
        let snapshot = match self.record {
            Some(Record { snapshot, same_subject: true, same_definition: true }) => snapshot,
            Some(Record { snapshot, same_subject: true, same_definition: false }) => snapshot.redefined(),
            Some(Record { snapshot: Snapshot { paused, .. }, same_subject: false, .. }) => {
                Snapshot { paused, ..Snapshot::default() }
            }
            None => Snapshot::default(),
        };
        // It may have been seen, and have changed since.
        let doubt = (self.record_lost && snapshot.seen.is_none()).then_some(Event::Load);
        Snapshot { pending: snapshot.pending.or(self.interrupted).or(doubt), ..snapshot }
    }
}
