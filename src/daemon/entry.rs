//! A watch as the daemon holds it.

use tokio::time::Instant;

use super::applied::Applied;
use super::persist::{LastFailure, LastRun};
use crate::action::payload::Payload;
use crate::model::{Content, WatchKey, WatchSpec};
use crate::watch::{Event, RunId, Time, Update, Watch};

/// Names a watch within the daemon; a watch keeps it from its first load until nothing of it runs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct WatchId(pub(super) u64);

pub(super) struct Entry {
    pub(super) kind: EntryKind,
    /// The definition's, as the ledger has it.
    pub(super) hash: u64,
    pub(super) watch: Watch,
    /// As it stands in [`Daemon::timers`].
    pub(super) timer: Option<Time>,
    /// Removed from its file, or not loaded yet, while something of it still runs.
    pub(super) retired: bool,
    /// Since the last success. Boxed, because few have one.
    pub(super) failure: Option<Box<LastFailure>>,
    /// Boxed, because of ten thousand most have none yet.
    pub(super) last_run: Option<Box<LastRun>>,
    /// Since when it was said how often that an update is held.
    pub(super) held_log_window: Option<(Instant, u32)>,
    /// In the present definition. Boxed, because few watch trees.
    pub(super) applied: Option<Box<Applied>>,
}

#[allow(clippy::large_enum_variant, reason = "hardly any is small, and each lies in a box already")]
pub(super) enum EntryKind {
    Loaded(WatchSpec),
    /// Known from the ledger only, by a run that still lives.
    LedgerOnly(WatchKey),
}

impl Entry {
    pub(super) fn new(kind: EntryKind, watch: Watch) -> Self {
        let mut entry = Self {
            kind,
            hash: 0,
            watch,
            timer: None,
            retired: true,
            failure: None,
            last_run: None,
            held_log_window: None,
            applied: None,
        };
        if let Some(spec) = entry.spec() {
            (entry.hash, entry.retired) = (spec.definition_hash(), false);
        }
        entry
    }

    pub(super) fn spec(&self) -> Option<&WatchSpec> {
        match &self.kind {
            EntryKind::Loaded(spec) => Some(spec),
            EntryKind::LedgerOnly(_) => None,
        }
    }

    /// As some file registers it now.
    pub(super) fn loaded(&self) -> Option<&WatchSpec> {
        self.spec().filter(|_| !self.retired)
    }

    pub(super) fn key(&self) -> &WatchKey {
        match &self.kind {
            EntryKind::Loaded(spec) => &spec.id,
            EntryKind::LedgerOnly(key) => key,
        }
    }

    /// What a run for this update is given.
    pub(super) fn payload_for(&mut self, run: RunId, update: &Update) -> Payload {
        if update.event == Event::Trigger {
            // Who asks for a run of what is there means all of it.
            self.applied = None;
        }
        match &update.content {
            Content::Data(data) => Payload::Data(data.clone()),
            Content::Children(names) => Payload::Children(names.clone()),
            Content::Tree(tree) => {
                Payload::Changes(self.applied.get_or_insert_default().changes_for(run, tree))
            }
        }
    }

    pub(super) fn fail(&mut self, what: String) {
        self.failure = Some(Box::new(LastFailure { what, next_try: None }));
    }
}
