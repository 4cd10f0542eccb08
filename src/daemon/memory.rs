//! What the daemon tells its ledger, and what it learns from it at its start.

use std::collections::HashSet;
use std::time::SystemTime;

use super::{Daemon, Definition, Entry, Live, Over, RunEnd, WatchId};
use crate::action::orphan::{self, Orphan};
use crate::action::run::{self, Outcome};
use crate::config::spec::{WatchKey, WatchSpec};
use crate::ledger::{Ending, Intent, News, Recalled, Unfinished, WatchRecord};
use crate::report::{FormerRun, Report, RunReport};
use crate::store::Subject;
use crate::watch::{Event, Reason, RunId, Standing, Time, Update, Watch};

/// A run as the ledger has it. Kept while it lives, because a ledger that was lost has to be told again.
pub(super) struct Intention {
    pub(super) run: String,
    watch: WatchKey,
    subject: Subject,
    definition: u64,
    event: Event,
    version: crate::store::Version,
    started: SystemTime,
    timeout: Option<Time>,
}

/// What is wrong with a watch, for whoever looks into the ledger.
pub(super) struct Trouble {
    pub(super) last_error: String,
    pub(super) next_try: Option<SystemTime>,
}

/// Which files were there at the start: a former daemon may have loaded them as well.
#[derive(Default)]
pub(super) struct FirstScan {
    is_done: bool,
    /// Of those, the ones that could not be read yet.
    unread: HashSet<String>,
    /// A directory could not be, and so nobody knows what is in it.
    unread_directory: bool,
}

impl FirstScan {
    pub(super) fn unread(&mut self, file: &str) {
        if !self.is_done {
            self.unread.insert(file.to_owned());
        }
    }

    pub(super) fn unread_directory(&mut self) {
        self.unread_directory |= !self.is_done;
    }

    pub(super) fn read(&mut self, file: &str) {
        self.unread.remove(file);
    }

    pub(super) fn scanned(&mut self) {
        self.is_done = true;
    }

    /// Whether what this file registers next may have been registered before the start.
    pub(super) fn may_bring(&self, file: &str) -> bool {
        !self.is_done || self.may_still_bring(file)
    }

    /// The same, once all that can be read was.
    pub(super) fn may_still_bring(&self, file: &str) -> bool {
        self.unread_directory || self.unread.contains(file)
    }
}

impl Trouble {
    pub(super) fn new(what: &RunReport<'_>) -> Box<Self> {
        Box::new(Self { last_error: what.to_string(), next_try: None })
    }
}

impl Intention {
    pub(super) fn new(run: String, entry: &Entry, spec: &WatchSpec, update: &Update) -> Self {
        Self {
            run,
            watch: spec.id.clone(),
            subject: spec.subject.clone(),
            definition: entry.hash,
            event: update.event,
            version: update.version,
            started: SystemTime::now(),
            timeout: spec.timeout,
        }
    }

    pub(super) fn as_intent(&self) -> Intent<'_> {
        Intent {
            run: &self.run,
            watch: &self.watch,
            subject: &self.subject,
            definition: self.definition,
            version: self.version,
            event: self.event,
            started: self.started,
            timeout: self.timeout,
        }
    }
}

impl Daemon {
    /// Takes over what still runs of a former daemon, before anything else can be started.
    pub(super) fn adopt_orphans(&mut self) {
        for former in self.ledger.unfinished() {
            let what = (former.subject.clone(), former.event);
            self.interrupted.insert(former.watch.clone(), what);
            match orphan::find(&former) {
                Ok(Some(orphan)) => self.adopt(former, orphan),
                Ok(None) => {
                    self.log
                        .report(&Report::Former { watch: &former.watch, what: FormerRun::Gone(&former.run) });
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
        let started = tokio::time::Instant::now() - orphan.age;
        let ends = self.ends.clone();
        let handle = run::follow_orphan(orphan, move |outcome| {
            // The daemon may have stopped by now.
            let _ = ends.send(RunEnd { watch, run, how: Over::Ended(outcome, Vec::new()) });
        });
        let live = Live { key, id, intention: None, process: None, handle, started, ended_by: None };
        self.runs.insert(run, live);
        self.schedule(watch);
    }

    /// What is known of a watch from before.
    pub(super) fn standing(&mut self, spec: &WatchSpec, hash: u64, recalled: Option<&Recalled>) -> Standing {
        let standing = match recalled {
            Some(recalled) if recalled.subject != spec.subject => Standing::default(),
            Some(recalled) if recalled.definition != hash => recalled.standing.redefined(),
            Some(recalled) => recalled.standing,
            // It may have been there, and changed since.
            None if self.ledger.has_forgotten() && self.start.may_bring(&spec.id.file) => {
                Standing { owed: Some(Event::Load), ..Standing::default() }
            }
            None => Standing::default(),
        };
        let standing = match self.interrupted.remove(&spec.id) {
            // Its record may be older than the run.
            Some((subject, event)) if subject == spec.subject => {
                Standing { owed: standing.owed.or(Some(event)), ..standing }
            }
            Some(_) | None => standing,
        };
        standing.map_versions(|version| self.subscriptions.recognize(version))
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
        let trouble = entry.trouble.as_deref();
        self.ledger.remember(&WatchRecord {
            watch: &spec.id,
            subject: &spec.subject,
            definition: entry.hash,
            standing: &entry.watch.standing(),
            last_error: trouble.map(|trouble| trouble.last_error.as_str()),
            next_try: trouble.and_then(|trouble| trouble.next_try),
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
        for live in self.runs.values() {
            // Not those of a former daemon: of these we know no more than the old one said.
            let Some(intention) = &live.intention else { continue };
            self.ledger.intend_again(&intention.as_intent());
            if let Some(process) = live.process {
                self.ledger.started(&live.id, process);
            }
        }
    }

    /// Notes how a run ended.
    pub(super) fn note_end(&mut self, live: &Live, outcome: &std::io::Result<Outcome>, output: &[u8]) {
        let how = match (outcome, live.ended_by) {
            (Ok(Outcome::Unknown) | Err(_), _) => Ending::Unknown,
            (Ok(_), Some(Reason::Stop)) => Ending::Interrupted,
            (Ok(_), Some(Reason::Timeout)) => Ending::TimedOut,
            (Ok(Outcome::Exited(code)), None) => Ending::Exited(*code),
            (Ok(Outcome::Signaled(signal)), None) => Ending::Signaled(*signal),
        };
        self.ledger.ended(&live.id, how, output);
    }

    /// What a run is called in the ledger and in `TWITCHER_RUN_ID`.
    pub(super) fn run_id(&self, run: RunId) -> String {
        format!("{}-{run}", self.stamp)
    }
}
