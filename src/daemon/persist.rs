//! What outlives the daemon: when the ledger is told what, and what it tells a new daemon.
//!
//! The ledger must know of a run before its process starts. Everything else may wait a moment
//! ([`FLUSH_DELAY`]): a daemon that is killed meanwhile is taken to have done nothing, and what it did is
//! done again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::followed::Followed;
use super::runs::Runs;
use super::stores::{StoreHandle, Stores};
use super::watches::{WatchId, Watches};
use crate::ledger::{Ledger, LedgerEvent, StoredWatch, UnfinishedRun, WatchRecord};
use crate::model::{Subject, WatchKey, WatchSpec};
use crate::report::{Report, Reporter};
use crate::watch::{Event, Record, Recovery, Snapshot, Time};

/// How long the ledger waits for what need not be in it before an action starts: as long as a start takes, so
/// that writing does not take the processor from the action.
const FLUSH_DELAY: Duration = Duration::from_millis(2);

/// How many watches are saved at once, some 20 µs each. The loop does other things before the next ones, and
/// an update that arrives meanwhile waits for these.
const MAX_SAVED_AT_ONCE: usize = 50;

pub struct Persist {
    log: Reporter,
    ledger: Ledger,
    pub followed: Followed,
    /// When the ledger is told of what it does not know yet.
    flush_at: Option<Instant>,
    /// The store, the subject and the event of runs that the former daemon did not see end, until their watch
    /// is loaded.
    interrupted: HashMap<WatchKey, (Arc<str>, Subject, Event)>,
}

impl Persist {
    pub fn new(log: Reporter, ledger: Ledger) -> Self {
        Self { log, ledger, followed: Followed::default(), flush_at: None, interrupted: HashMap::new() }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// When [`Ledger::maintain`] is due.
    pub fn maintain_at(&self) -> Instant {
        Instant::from_std(self.ledger.maintain_at())
    }

    /// When [`Self::flush`] is due.
    pub fn flush_at(&self) -> Option<Instant> {
        self.flush_at
    }

    // What a former daemon left.

    /// The descriptions of the watches that the file registered when their former daemon ended, sorted.
    pub fn registered_by(&mut self, file: &str) -> Vec<String> {
        let stored = self.ledger.load_watches(file);
        // The ledger forgets what a watch has seen when its file drops it.
        let registered = stored.into_iter().filter(|(_, stored)| stored.snapshot.seen.is_some());
        let mut descriptions: Vec<_> = registered.map(|(description, _)| description).collect();
        descriptions.sort();
        descriptions
    }

    /// Takes the watches of a file that is removed, although this daemon could never load it.
    pub fn retire_all(&mut self, file: &str) {
        for description in self.ledger.load_watches(file).into_keys() {
            self.ledger.retire(&WatchKey { file: file.into(), description: description.into() });
        }
    }

    /// The runs that a former daemon did not see end. Their watches are owed a run each.
    pub fn unfinished(&mut self) -> Vec<UnfinishedRun> {
        let unfinished = self.ledger.unfinished();
        for former in &unfinished {
            let intent = &former.intent;
            let interrupted = (intent.store.clone(), intent.subject.clone(), intent.event);
            self.interrupted.insert(intent.watch.clone(), interrupted);
        }
        unfinished
    }

    /// Where a watch that is loaded stands, by what is known of it from before. `stored` is its record, and
    /// `may_be_older` says whether it may have been registered before this daemon started.
    pub fn recover(
        &mut self,
        spec: &WatchSpec,
        definition: u64,
        stored: Option<&StoredWatch>,
        store: &StoreHandle,
        may_be_older: bool,
        now: Time,
    ) -> Snapshot {
        let capabilities = store.capabilities();
        let record = stored.map(|stored| Record {
            snapshot: stored.snapshot.clone().map_versions(|version| capabilities.normalize_version(version)),
            // A record of another store means nothing in this one.
            same_subject: stored.subject == spec.subject && store.has_ledger_name(&stored.store),
            same_definition: stored.definition == definition,
        });
        let interrupted = self.interrupted.remove(&spec.id);
        let interrupted = interrupted
            .filter(|(name, subject, _)| store.has_ledger_name(name) && *subject == spec.subject)
            .map(|(_, _, event)| event);
        let record_lost = may_be_older && self.ledger.may_have_lost_records();
        Recovery { record, interrupted, record_lost }.snapshot(now, SystemTime::now())
    }

    // What the ledger is told.

    /// Sees to it that [`Self::flush`] comes due if there is anything that the ledger does not know; of
    /// `has_others`, the caller tells it.
    pub fn schedule_flush(&mut self, watches: &Watches, runs: &Runs, has_others: bool) {
        let needs_flush = has_others || watches.has_unsaved() || runs.has_unsaved() || self.ledger.is_dirty();
        if needs_flush && self.flush_at.is_none() {
            self.flush_at = Some(Instant::now() + FLUSH_DELAY);
        }
    }

    /// Tells the ledger what it does not know, and commits. Of many watches, it is told of some, and the
    /// others are left for the next call.
    pub fn flush(&mut self, watches: &mut Watches, runs: &mut Runs, stores: &Stores) {
        self.flush_at = None;
        let started = runs.take_unsaved();
        for live in started.iter().filter_map(|run| runs.get(*run)) {
            if let Some(process) = live.process() {
                self.ledger.started(&live.intent.run, process, live.intent.timeout);
            }
        }
        let unsaved = watches.take_unsaved(MAX_SAVED_AT_ONCE);
        for id in unsaved {
            self.save_watch(id, watches, stores);
        }
        self.ledger.commit();
        if self.ledger.lost_reason().is_none() {
            runs.saved(started);
        }
    }

    /// Tells the ledger where a watch stands, if a file registers it.
    pub fn save_watch(&mut self, id: WatchId, watches: &Watches, stores: &Stores) {
        let Some(entry) = watches.get(id) else { return };
        let Some(spec) = entry.loaded() else { return };
        let (failure, snapshot) = (entry.failure(), entry.watch().snapshot());
        self.ledger.save_watch(&WatchRecord {
            watch: &spec.id,
            store: &stores[&spec.store].ledger_name(id),
            subject: &spec.subject,
            definition: entry.hash(),
            snapshot: &snapshot,
            applied_commit: entry.applied_commit(&snapshot),
            last_error: failure.map(|failure| failure.what.as_str()),
            next_try: failure.and_then(|failure| failure.next_try),
        });
    }

    /// Reports what happened to the ledger itself. Tells it everything again if it may have forgotten it, and
    /// returns whether it did.
    pub fn handle_ledger_events(&mut self, watches: &Watches, runs: &Runs, stores: &Stores) -> bool {
        let mut has_forgotten = false;
        while let Some(event) = self.ledger.next_event() {
            match &event {
                LedgerEvent::Oversized { reason } => self.log.degraded("ledger", reason),
                LedgerEvent::Shrunk => self.log.recovered("ledger"),
                LedgerEvent::Lost { .. } | LedgerEvent::Quarantined { .. } | LedgerEvent::Back => {
                    self.log.report(&Report::Ledger { event: &event });
                }
            }
            match event {
                LedgerEvent::Lost { .. } | LedgerEvent::Oversized { .. } | LedgerEvent::Shrunk => {}
                LedgerEvent::Quarantined { .. } | LedgerEvent::Back => {
                    self.save_everything(watches, runs, stores);
                    has_forgotten = true;
                }
            }
        }
        has_forgotten
    }

    fn save_everything(&mut self, watches: &Watches, runs: &Runs, stores: &Stores) {
        for (id, _) in watches.iter() {
            self.save_watch(id, watches, stores);
        }
        for live in runs.iter() {
            self.ledger.record_intent_again(&live.intent);
            if let Some(process) = live.process() {
                self.ledger.started(&live.intent.run, process, live.intent.timeout);
            }
        }
        let live: HashSet<&str> = runs.iter().map(|live| live.intent.run.as_str()).collect();
        self.ledger.end_unfinished(|run| live.contains(run));
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::daemon::completion::Until;
    use crate::daemon::fixtures::{Parts, key, present, spec, subject, version, with_parts};
    use crate::ledger::{Intent, RunCause};
    use crate::model::{Policy, StoreName, Version};
    use crate::watch::{Input, Seen};

    fn recover(parts: &mut Parts, spec: &WatchSpec, hash: u64) -> Snapshot {
        let stored = parts.persist.ledger_mut().load_watches("a.twc");
        let store = &parts.stores[&StoreName::default()];
        let now = parts.watches.now();
        parts.persist.recover(spec, hash, stored.get(&*spec.id.description), store, true, now)
    }

    #[test]
    fn what_changed_is_saved_a_moment_later_and_recovered_by_the_same_definition() {
        with_parts(Until::Stopped, async |parts| {
            let Parts { watches, runs, stores, persist, .. } = parts;
            persist.schedule_flush(watches, runs, false);
            assert_eq!(persist.flush_at(), None);
            let id = watches.add(spec("a", "/n"), 1, Policy::UNLOADED.into(), Snapshot::default(), true);
            watches.step(id, Input::Observed(present(3)));
            persist.schedule_flush(watches, runs, false);
            let due = persist.flush_at().expect("something to save");
            assert!(due <= Instant::now() + FLUSH_DELAY);
            persist.flush(watches, runs, stores);
            persist.schedule_flush(watches, runs, false);
            assert_eq!(persist.flush_at(), None);

            // A directory counts its incarnations anew.
            let seen = Some(Seen::Present(Version { incarnation: 0, ..version(3) }));
            assert_eq!(recover(parts, &spec("a", "/n"), 1).seen, seen);
            assert_eq!(recover(parts, &spec("a", "/n"), 2).seen, seen);
            assert_eq!(recover(parts, &spec("a", "/other"), 1).seen, None);
        });
    }

    #[test]
    fn a_run_that_nobody_saw_end_is_owed_to_the_watch_of_the_same_node() {
        for (node, owed) in [("/n", Some(Event::Changed)), ("/other", None)] {
            with_parts(Until::Stopped, async |parts| {
                let intent = Intent {
                    run: "1.1-1".into(),
                    watch: key("a"),
                    store: parts.stores[&StoreName::default()].ledger_name(WatchId(1)),
                    subject: subject("/n"),
                    definition: 1,
                    version: version(1),
                    event: Event::Changed,
                    cause: RunCause::default(),
                    started: SystemTime::now(),
                    timeout: None,
                };
                parts.persist.ledger_mut().record_intents([intent].iter());
                assert_eq!(parts.persist.unfinished().len(), 1);
                assert_eq!(recover(parts, &spec("a", node), 1).pending, owed);
                assert_eq!(recover(parts, &spec("a", node), 1).pending, None, "once");
            });
        }
    }
}
