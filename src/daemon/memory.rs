//! What the daemon tells its ledger, and what it learns from it at its start.

use std::time::SystemTime;

use tokio::time::Instant;

use super::{Daemon, Definition, Entry, Live, Over, RunEnd, WatchId};
use crate::action::orphan::{self, Orphan};
use crate::action::run;
use crate::config::spec::WatchSpec;
use crate::ledger::{Ending, Intent, News, Recalled, Unfinished, WatchRecord};
use crate::report::{FormerRun, Report};
use crate::watch::{Past, Record, RunId, Standing, Update, Watch};

/// How the present series of failures of a watch goes on, for whoever looks into the ledger.
pub(super) struct LastFailure {
    pub(super) what: String,
    pub(super) next_try: Option<SystemTime>,
}

impl Daemon {
    /// Takes over what still runs of a former daemon, before anything else can be started.
    pub(super) fn adopt_orphans(&mut self) {
        for former in self.ledger.unfinished() {
            let what = (former.subject.clone(), former.event);
            self.interrupted.insert(former.watch.clone(), what);
            let found = match former.this_boot {
                true => orphan::find(&former.run, former.process),
                false => Ok(None),
            };
            match found {
                Ok(Some(orphan)) => self.adopt(former, orphan),
                Ok(None) => {
                    let what = FormerRun::Gone(&former.run);
                    self.log.report(&Report::Former { watch: &former.watch, what });
                    self.ledger.ended(&former.run, Ending::Unknown, &[]);
                }
                Err(error) => {
                    let what = FormerRun::Unseen(&former.run, &error);
                    self.log.report(&Report::Former { watch: &former.watch, what });
                }
            }
        }
    }

    fn adopt(&mut self, former: Unfinished, orphan: Orphan) {
        let Unfinished { run: id, watch: key, subject, timeout, .. } = former;
        let watch = *self.by_key.entry(key.clone()).or_insert_with(|| {
            self.next_watch += 1;
            let watch = WatchId(self.next_watch);
            let definition = Definition::Former { key: key.clone(), subject };
            self.entries.insert(watch, Box::new(Entry::new(definition, Watch::unloaded())));
            watch
        });
        let now = self.now();
        let Some(entry) = self.entries.get_mut(&watch) else { return };
        let until = timeout.map(|timeout| now + timeout.saturating_sub(orphan.age));
        let run = entry.watch.adopt(until, &mut self.supply);
        let what = FormerRun::Lives { run, id: &id, pid: orphan.leader.as_raw() };
        self.log.report(&Report::Former { watch: &key, what });
        let started = Instant::now().checked_sub(orphan.age).unwrap_or(self.origin);
        let ends = self.ends.clone();
        let handle = run::follow_orphan(orphan, move |outcome| {
            // The daemon may have stopped by now.
            let _ = ends.send(RunEnd { watch, run, how: Over::Ended(outcome, Vec::new()) });
        });
        let live = Live { key, id, intent: None, process: None, handle, started, ended_by: None };
        self.runs.insert(run, live);
        self.schedule(watch);
    }

    /// Where a watch that is loaded stands, by what is known of it from before.
    pub(super) fn standing(
        &mut self,
        spec: &WatchSpec,
        definition: u64,
        recalled: Option<&Recalled>,
    ) -> Standing {
        let record = recalled.map(|recalled| Record {
            standing: recalled.standing.map_versions(|version| self.subscriptions.recognize(version)),
            same_subject: recalled.subject == spec.subject,
            same_definition: recalled.definition == definition,
        });
        let interrupted = self.interrupted.remove(&spec.id);
        let interrupted = interrupted.filter(|(subject, _)| *subject == spec.subject).map(|(_, event)| event);
        let forgotten = self.ledger.has_forgotten() && self.scan.may_be_older(&spec.id.file);
        Past { record, interrupted, forgotten }.standing()
    }

    pub(super) fn intent(&self, entry: &Entry, spec: &WatchSpec, run: RunId, update: &Update) -> Intent {
        Intent {
            run: format!("{}-{run}", self.stamp),
            watch: spec.id.clone(),
            subject: spec.subject.clone(),
            definition: entry.hash,
            version: update.version,
            event: update.event,
            started: SystemTime::now(),
            timeout: spec.timeout,
        }
    }

    pub(super) fn remember_all(&mut self) {
        for watch in std::mem::take(&mut self.unremembered) {
            self.remember(watch);
        }
    }

    /// Tells the ledger what a watch has come to.
    pub(super) fn remember(&mut self, id: WatchId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let Some(spec) = entry.spec().filter(|_| !entry.retired) else { return };
        let failure = entry.failure.as_deref();
        self.ledger.remember(&WatchRecord {
            watch: &spec.id,
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
        // Not those of a former daemon: of these the ledger knows what we do, or nobody does.
        for live in self.runs.values() {
            let Some(intent) = &live.intent else { continue };
            self.ledger.intend_again(intent);
            if let Some(process) = live.process {
                self.ledger.started(&live.id, process);
            }
        }
        let runs = &self.runs;
        self.ledger.end_unseen(|run| runs.values().any(|live| live.id == run));
    }
}
