//! What the daemon tells its ledger, and what it learns from it at its start.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{Daemon, Definition, Entry, Live, Over, RunEnd, SETTLE, WatchId};
use crate::action::orphan::{self, Orphan};
use crate::action::run;
use crate::ledger::{Ending, Intent, News, Recalled, WatchRecord};
use crate::model::WatchSpec;
use crate::report::{FormerRun, Report, RunName};
use crate::watch::{Event, Past, Record, RunId, Standing, Update, Watch};

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
    pub(super) ending: Ending<'static>,
}

impl Daemon {
    /// Takes over what still runs of a former daemon, before anything else can be started.
    pub(super) fn adopt_orphans(&mut self) {
        for former in self.ledger.unfinished() {
            let Intent { run, watch, store, subject, event, .. } = &former.intent;
            self.interrupted.insert(watch.clone(), (store.clone(), subject.clone(), *event));
            // A rehearsal must not signal what another daemon may be about.
            let found = match former.this_boot && !self.is_rehearsal() {
                true => orphan::find(run, former.process),
                false => Ok(None),
            };
            match found {
                Ok(Some(orphan)) => self.adopt(former.intent, orphan),
                Ok(None) => {
                    self.log.report(&Report::Former { watch, what: FormerRun::Gone(run) });
                    self.ledger.ended(run, Ending::Unknown, &[]);
                }
                Err(error) => {
                    self.log.report(&Report::Former { watch, what: FormerRun::Unseen(run, &error) });
                }
            }
        }
    }

    fn adopt(&mut self, intent: Intent, orphan: Orphan) {
        let key = &intent.watch;
        let watch =
            self.by_key.get(key).copied().unwrap_or_else(|| {
                self.enter(Entry::new(Definition::Former(key.clone()), Watch::unloaded()))
            });
        let now = self.now();
        let Some(entry) = self.entries.get_mut(&watch) else { return };
        let until = intent.timeout.map(|timeout| now + timeout.saturating_sub(orphan.age));
        let run = entry.watch.adopt(until, &mut self.supply);
        let what = FormerRun::Lives { run, id: &intent.run, pid: orphan.leader.as_raw() };
        self.log.report(&Report::Former { watch: key, what });
        let started = Instant::now().checked_sub(orphan.age).unwrap_or(self.origin);
        let process = Some(orphan.process);
        self.unidentified.insert(run);
        let ends = self.ends.clone();
        let handle = run::follow_orphan(orphan, move |outcome| {
            // The daemon may have stopped by now.
            let _ = ends.send(RunEnd { watch, run, how: Over::Ended(outcome, Vec::new()) });
        });
        self.runs.insert(run, Live { intent, process, handle, started, ended_by: None, killed: None });
        self.schedule(watch);
    }

    /// Where a watch that is loaded stands, by what is known of it from before.
    pub(super) fn standing(
        &mut self,
        spec: &WatchSpec,
        definition: u64,
        recalled: Option<&Recalled>,
    ) -> Standing {
        let store = &mut self.stores[&spec.store];
        let lasting_name = store.lasting_name.clone();
        let subscriptions = store.subscriptions();
        let record = recalled.map(|recalled| Record {
            standing: recalled.standing.map_versions(|version| subscriptions.recognize(version)),
            // What another store said means nothing in this one.
            same_subject: recalled.subject == spec.subject && *recalled.store == *lasting_name,
            same_definition: recalled.definition == definition,
        });
        let interrupted = self.interrupted.remove(&spec.id);
        let interrupted = interrupted
            .filter(|(store, subject, _)| (store, subject) == (&lasting_name, &spec.subject))
            .map(|(_, _, event)| event);
        let forgotten = self.ledger.has_forgotten() && self.scan.may_be_older(&spec.id.file);
        Past { record, interrupted, forgotten }.standing()
    }

    /// Of a run of this daemon: no other has one of the same.
    pub(super) fn run_id(&self, run: RunId) -> String {
        format!("{}-{run}", self.stamp)
    }

    pub(super) fn intent(&self, entry: &Entry, spec: &WatchSpec, run: RunId, update: &Update) -> Intent {
        Intent {
            run: self.run_id(run),
            watch: spec.id.clone(),
            store: self.stores[&spec.store].lasting_name.clone(),
            subject: spec.subject.clone(),
            definition: entry.hash,
            version: update.version,
            event: update.event,
            started: SystemTime::now(),
            timeout: spec.timeout,
        }
    }

    /// Sees to it that the ledger is told, if there is anything to tell.
    pub(super) fn settle_soon(&mut self) {
        let unsettled =
            !self.unremembered.is_empty() || !self.unidentified.is_empty() || self.ledger.is_dirty();
        if unsettled && self.settle_at.is_none() {
            self.settle_at = Some(Instant::now() + SETTLE);
        }
    }

    pub(super) fn settle(&mut self) {
        self.settle_at = None;
        for run in std::mem::take(&mut self.unidentified) {
            if let Some(Live { intent, process: Some(process), .. }) = self.runs.get(&run) {
                self.ledger.started(&intent.run, *process);
            }
        }
        for watch in std::mem::take(&mut self.unremembered) {
            self.remember(watch);
        }
        self.ledger.commit();
    }

    /// Tells the ledger how a run ended, and which process it had, if there was no time for that before.
    pub(super) fn note_end(&mut self, run: RunId, live: &Live, how: Ending<'_>, output: &[u8]) {
        if let (true, Some(process)) = (self.unidentified.remove(&run), live.process) {
            self.ledger.started(&live.intent.run, process);
        }
        self.ledger.ended(&live.intent.run, how, output);
    }

    /// Tells the ledger what a watch has come to.
    pub(super) fn remember(&mut self, id: WatchId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let Some(spec) = entry.loaded() else { return };
        let failure = entry.failure.as_deref();
        self.ledger.remember(&WatchRecord {
            watch: &spec.id,
            store: &self.stores[&spec.store].lasting_name,
            subject: &spec.subject,
            definition: entry.hash,
            standing: &entry.watch.standing(),
            last_error: failure.map(|failure| failure.what.as_str()),
            next_try: failure.and_then(|failure| failure.next_try),
        });
    }

    /// Says what happened to the ledger itself, and tells it everything if it has forgotten it.
    pub(super) fn heed_ledger(&mut self) {
        while let Some(news) = self.ledger.news() {
            self.log.report(&Report::Ledger { news: &news });
            match news {
                News::Lost { .. } => {}
                News::SetAside { .. } | News::Back => self.tell_everything(),
            }
        }
    }

    fn tell_everything(&mut self) {
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            self.remember(id);
        }
        for Live { intent, process, .. } in self.runs.values() {
            self.ledger.intend_again(intent);
            if let Some(process) = *process {
                self.ledger.started(&intent.run, process);
            }
        }
        let runs = &self.runs;
        self.ledger.end_unseen(|run| runs.values().any(|live| live.intent.run == run));
    }
}

/// Of a run as it was intended, for reports of it.
pub(super) fn run_name(intent: &Intent, number: RunId) -> RunName<'_> {
    RunName { watch: &intent.watch, subject: &intent.subject, number, id: &intent.run }
}
