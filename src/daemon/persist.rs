//! What the daemon tells its ledger, and what it learns from it at its start.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{Daemon, EndKind, Entry, EntryKind, FLUSH_DELAY, LiveRun, RunEnd, WatchId};
use crate::action::orphan::{self, Orphan};
use crate::action::run;
use crate::ledger::{Intent, LedgerEvent, RunOutcome, StoredWatch, WatchRecord};
use crate::model::WatchSpec;
use crate::report::{PreviousRun, Report, RunName};
use crate::watch::{Event, Record, Recovery, RunId, Snapshot, Update, Watch};

/// How the present series of failures of a watch goes on, for whoever looks into the ledger.
pub(super) struct LastFailure {
    pub(super) what: String,
    pub(super) next_try: Option<SystemTime>,
}

/// The newest run of a watch that has ended.
pub(super) struct LastRun {
    pub(super) run: RunId,
    pub(super) event: Event,
    pub(super) version: i64,
    pub(super) started: SystemTime,
    pub(super) took: Duration,
    pub(super) ending: RunOutcome<'static>,
}

impl Daemon {
    /// Takes over what still runs of a former daemon, before anything else can be started.
    pub(super) fn adopt_orphans(&mut self) {
        for former in self.ledger.unfinished() {
            let Intent { run, watch, store, subject, event, .. } = &former.intent;
            self.interrupted.insert(watch.clone(), (store.clone(), subject.clone(), *event));
            // A rehearsal must not signal what another daemon may be about.
            let found = match former.this_boot && !self.is_dry_run() {
                true => orphan::find(run, former.process),
                false => Ok(None),
            };
            match found {
                Ok(Some(orphan)) => self.adopt(former.intent, orphan),
                Ok(None) => {
                    self.log.report(&Report::PreviousRun { watch, what: PreviousRun::Ended(run) });
                    self.ledger.ended(run, RunOutcome::Unknown, &[]);
                }
                Err(error) => {
                    self.log
                        .report(&Report::PreviousRun { watch, what: PreviousRun::Unwatchable(run, &error) });
                }
            }
        }
    }

    fn adopt(&mut self, intent: Intent, orphan: Orphan) {
        let key = &intent.watch;
        let watch =
            self.by_key.get(key).copied().unwrap_or_else(|| {
                self.enter(Entry::new(EntryKind::LedgerOnly(key.clone()), Watch::unloaded()))
            });
        let now = self.now();
        let Some(entry) = self.entries.get_mut(&watch) else { return };
        let until = intent.timeout.map(|timeout| now + timeout.saturating_sub(orphan.age));
        let run = entry.watch.adopt(until, &mut self.generator);
        let what = PreviousRun::StillRunning { run, id: &intent.run, pid: orphan.leader.as_raw() };
        self.log.report(&Report::PreviousRun { watch: key, what });
        let started = Instant::now().checked_sub(orphan.age).unwrap_or(self.start_instant);
        let process = Some(orphan.process);
        self.unsaved_processes.insert(run);
        let ends = self.ends.clone();
        let handle = run::follow_orphan(orphan, move |outcome| {
            // The daemon may have stopped by now.
            let _ = ends.send(RunEnd { watch, run, how: EndKind::Ended(outcome, Vec::new()) });
        });
        self.runs.insert(run, LiveRun { intent, process, handle, started, ended_by: None, killed: None });
        self.schedule(watch);
    }

    /// Where a watch that is loaded stands, by what is known of it from before.
    pub(super) fn snapshot(
        &mut self,
        spec: &WatchSpec,
        definition: u64,
        stored: Option<&StoredWatch>,
    ) -> Snapshot {
        let store = &mut self.stores[&spec.store];
        let identity = store.identity.clone();
        let subscriptions = store.subscriptions();
        let record = stored.map(|stored| Record {
            snapshot: stored.snapshot.map_versions(|version| subscriptions.normalize_version(version)),
            // What another store said means nothing in this one.
            same_subject: stored.subject == spec.subject && *stored.store == *identity,
            same_definition: stored.definition == definition,
        });
        let interrupted = self.interrupted.remove(&spec.id);
        let interrupted = interrupted
            .filter(|(store, subject, _)| (store, subject) == (&identity, &spec.subject))
            .map(|(_, _, event)| event);
        let record_lost = self.ledger.may_have_lost_records() && self.scan.may_be_older(&spec.id.file);
        Recovery { record, interrupted, record_lost }.snapshot()
    }

    /// Of a run of this daemon: no other has one of the same.
    pub(super) fn run_id(&self, run: RunId) -> String {
        format!("{}-{run}", self.run_id_prefix)
    }

    pub(super) fn intent(&self, entry: &Entry, spec: &WatchSpec, run: RunId, update: &Update) -> Intent {
        Intent {
            run: self.run_id(run),
            watch: spec.id.clone(),
            store: self.stores[&spec.store].identity.clone(),
            subject: spec.subject.clone(),
            definition: entry.hash,
            version: update.version,
            event: update.event,
            started: SystemTime::now(),
            timeout: spec.policy.timeout,
        }
    }

    /// Sees to it that the ledger is told, if there is anything to tell.
    pub(super) fn schedule_flush(&mut self) {
        let needs_flush =
            !self.unsaved_watches.is_empty() || !self.unsaved_processes.is_empty() || self.ledger.is_dirty();
        if needs_flush && self.flush_at.is_none() {
            self.flush_at = Some(Instant::now() + FLUSH_DELAY);
        }
    }

    pub(super) fn flush(&mut self) {
        self.flush_at = None;
        for run in std::mem::take(&mut self.unsaved_processes) {
            if let Some(LiveRun { intent, process: Some(process), .. }) = self.runs.get(&run) {
                self.ledger.started(&intent.run, *process);
            }
        }
        for watch in std::mem::take(&mut self.unsaved_watches) {
            self.save_watch(watch);
        }
        self.ledger.commit();
    }

    /// Tells the ledger how a run ended, and which process it had, if there was no time for that before.
    pub(super) fn record_end(&mut self, run: RunId, live: &LiveRun, how: RunOutcome<'_>, output: &[u8]) {
        if let (true, Some(process)) = (self.unsaved_processes.remove(&run), live.process) {
            self.ledger.started(&live.intent.run, process);
        }
        self.ledger.ended(&live.intent.run, how, output);
    }

    /// Tells the ledger what a watch has come to.
    pub(super) fn save_watch(&mut self, id: WatchId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let Some(spec) = entry.loaded() else { return };
        let failure = entry.failure.as_deref();
        self.ledger.save_watch(&WatchRecord {
            watch: &spec.id,
            store: &self.stores[&spec.store].identity,
            subject: &spec.subject,
            definition: entry.hash,
            snapshot: &entry.watch.snapshot(),
            last_error: failure.map(|failure| failure.what.as_str()),
            next_try: failure.and_then(|failure| failure.next_try),
        });
    }

    /// Says what happened to the ledger itself, and tells it everything if it has forgotten it.
    pub(super) fn handle_ledger_events(&mut self) {
        while let Some(event) = self.ledger.next_event() {
            self.log.report(&Report::Ledger { event: &event });
            match event {
                LedgerEvent::Lost { .. } => {}
                LedgerEvent::Quarantined { .. } | LedgerEvent::Back => self.save_everything(),
            }
        }
    }

    fn save_everything(&mut self) {
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            self.save_watch(id);
        }
        for LiveRun { intent, process, .. } in self.runs.values() {
            self.ledger.record_intent_again(intent);
            if let Some(process) = *process {
                self.ledger.started(&intent.run, process);
            }
        }
        let runs = &self.runs;
        self.ledger.end_unfinished(|run| runs.values().any(|live| live.intent.run == run));
    }
}

/// Of a run as it was intended, for reports of it.
pub(super) fn run_name(intent: &Intent, number: RunId) -> RunName<'_> {
    RunName { watch: &intent.watch, subject: &intent.subject, number, id: &intent.run }
}
