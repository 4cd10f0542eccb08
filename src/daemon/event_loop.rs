//! The loop: waits for what happens next, and passes it to the part that it concerns.
//!
//! At the end of each turn it has the effects performed that the core asked for meanwhile, the prepared runs
//! started, and the ledger and systemd told what changed.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

use super::clock::Clock;
use super::completion::{Completion, FinalStatus, POLL_INTERVAL, Until, WatchState};
use super::configs::{Configs, ReloadReply};
use super::effects::Performer;
use super::identities::Identities;
use super::memory::Memory;
use super::persist::Persist;
use super::places::Places;
use super::registration::Registration;
use super::runs::Runs;
use super::share::Share;
use super::signals::Meaning;
use super::status::View;
use super::stores::Stores;
use super::systemd::{StatusCounts, Systemd};
use super::watches::Watches;
use super::{operator, orphans, signals, store_events};
use crate::action::left_behind;
use crate::action::slots::Slots;
use crate::action::spawn::Spawner;
use crate::config::files::{FileChange, Loader};
use crate::control::{DaemonRequest, ReplySender};
use crate::ledger::Ledger;
use crate::model::StoreName;
use crate::report::{Report, Reporter};
use crate::store::StoreEvent;

/// How many events of the stores are taken in one turn after the first. The first action of a burst waits for
/// all of them, some 50 µs each; the commit of the ledger is shared.
const MAX_EVENT_BATCH: usize = 16;

/// How long further events of the stores are taken in one turn. An event of a node that thousands of watches
/// follow takes some 10 ms.
const MAX_BATCH_TIME: Duration = Duration::from_millis(10);

/// What the daemon is started with. Everything is ready to use.
pub struct Setup {
    pub log: Reporter,
    pub ledger: Ledger,
    pub spawner: Spawner,
    /// Where processes note who they are, for the next daemon.
    pub slots: Slots,
    pub stores: Stores,
    pub config_path: PathBuf,
    /// Whether root's daemon loads files that others can change. Operators are shown that.
    pub untrusted_allowed: bool,
    pub loader: Loader,
    pub config_changes: UnboundedReceiver<FileChange>,
    /// The numbers of the signals in [`signals::received`].
    pub signals: UnboundedReceiver<i32>,
    /// What operators ask. The channel may be closed.
    pub requests: Receiver<DaemonRequest>,
    pub systemd: Systemd,
    /// How long running actions may take to end by themselves when the daemon stops.
    pub stop_timeout: Duration,
    /// The largest number of actions that run at once.
    pub max_actions: Option<usize>,
    /// The largest number of bytes that wait in all watches together.
    pub max_waiting_bytes: Option<u64>,
    pub until: Until,
}

struct Daemon {
    log: Reporter,
    clock: Clock,
    watches: Watches,
    places: Places,
    runs: Runs,
    persist: Persist,
    configs: Configs,
    completion: Completion,
    identities: Identities,
    stores: Stores,
    systemd: Systemd,
    said: signals::Said,
    memory: Memory,
    /// What requests take of the loop's time.
    share: Share,
}

/// Runs until the daemon is told to stop, or is done, and the last action has ended. Returns how things stand
/// then; `None` for [`Until::Stopped`].
pub async fn run(setup: Setup) -> Option<FinalStatus> {
    let Setup { log, mut config_changes, mut signals, mut requests, .. } = setup;
    let clock = Clock::start();
    let mut daemon = Daemon {
        clock,
        watches: Watches::new(clock, fastrand::u64(..), setup.max_waiting_bytes),
        places: Places::new(setup.max_actions),
        runs: Runs::new(log.clone(), clock, setup.spawner, setup.slots),
        persist: Persist::new(log.clone(), setup.ledger),
        configs: Configs::new(log.clone(), setup.config_path, setup.untrusted_allowed, setup.loader),
        completion: Completion::new(setup.until, setup.stop_timeout),
        identities: Identities::new(log.clone()),
        stores: setup.stores,
        systemd: setup.systemd,
        said: signals::Said::default(),
        memory: Memory::default(),
        share: Share::new(Instant::now()),
        log,
    };
    daemon.runs.report_slots(daemon.persist.ledger().lost_reason().is_none());
    let is_dry_run = daemon.completion.is_dry_run();
    orphans::adopt_all(&daemon.log, &mut daemon.watches, &mut daemon.runs, &mut daemon.persist, is_dry_run);
    loop {
        daemon.persist.handle_ledger_events(&daemon.watches, &daemon.runs, &daemon.stores);
        let polls = daemon.completion.ends_by_itself();
        tokio::select! {
            (store, event) = daemon.stores.next() => {
                daemon.store_event(&store, event);
                let began = Instant::now();
                for _ in 0..MAX_EVENT_BATCH {
                    if began.elapsed() > MAX_BATCH_TIME {
                        break;
                    }
                    let Some((store, event)) = daemon.stores.try_next() else { break };
                    daemon.store_event(&store, event);
                }
            }
            Some(event) = daemon.runs.next_event() => daemon.performer().run_event(event),
            Some(change) = config_changes.recv(), if !daemon.completion.is_stopping() => {
                daemon.file_change(change);
            }
            Some(signal) = signals.recv() => daemon.signal(signal),
            Some(request) = next_request(&mut requests, &daemon.share) => daemon.reply(request),
            () = until(daemon.watches.due()) => daemon.watches.tick(),
            () = yield_now(), if daemon.can_give_places() => {}
            news = daemon.identities.next() => match news {
                Some(answer) => daemon.performer().identity_answer(answer),
                None => daemon.check_identities(),
            },
            () = until(daemon.persist.flush_at()) => daemon.flush(),
            () = sleep_until(daemon.persist.maintain_at()) => daemon.performer().maintain(),
            () = until(daemon.systemd.due()) => {}
            () = until(daemon.memory.due()) => daemon.memory.trim(),
            () = sleep(POLL_INTERVAL), if polls => {}
        }
        daemon.end_turn();
        if daemon.is_over() {
            break;
        }
        // The tasks of the stores and of the runs share this thread. A loop that always finds something to do
        // would keep them waiting.
        yield_now().await;
    }
    while daemon.watches.has_unsaved() || daemon.runs.has_unsaved() {
        daemon.flush();
    }
    daemon.flush();
    let ended = daemon.final_status();
    daemon.stores.close().await;
    if let Err(error) = left_behind::hand_over() {
        let what = format!("processes that actions left behind will get SIGPIPE when they write: {error}");
        daemon.log.report(&Report::Problem { what: &what });
    }
    daemon.log.report(&Report::Stopped);
    ended
}

/// Waits for a request, and before that for the time at which one may be taken.
async fn next_request(requests: &mut Receiver<DaemonRequest>, share: &Share) -> Option<DaemonRequest> {
    if share.ready_at() > Instant::now() {
        sleep_until(share.ready_at()).await;
    }
    requests.recv().await
}

/// Waits for ever if there is nothing to wait for.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

impl Daemon {
    fn performer(&mut self) -> Performer<'_> {
        let Self { log, watches, places, runs, identities, persist, stores, completion, .. } = self;
        Performer { log, watches, places, runs, identities, persist, stores, completion }
    }

    fn view(&self) -> View<'_> {
        let Self { log, watches, places, runs, persist, configs, completion, stores, .. } = self;
        View { log, clock: self.clock, watches, places, runs, persist, configs, completion, stores }
    }

    fn store_event(&mut self, store: &StoreName, event: StoreEvent) {
        let connected = store_events::take(&self.log, &mut self.watches, &mut self.stores, store, event);
        if let Some(connected) = connected {
            self.systemd.store(store.as_str(), connected);
        }
    }

    fn file_change(&mut self, change: FileChange) {
        match change {
            FileChange::Loaded { file, watches, warnings } => {
                warnings.iter().for_each(|warning| self.configs.warn(warning));
                if watches.is_empty() && self.configs.may_be_older(&file) {
                    let former = self.persist.registered_by(&file);
                    if !former.is_empty() {
                        return self.configs.emptied(file, &former);
                    }
                }
                let changes = self.registration(&file).load(&file, watches);
                self.configs.loaded(&file, changes);
            }
            FileChange::Removed { file } => {
                let changes = self.registration(&file).load(&file, Vec::new());
                if self.configs.is_missing(&file) {
                    self.persist.retire_all(&file);
                }
                self.configs.removed(&file, changes);
            }
            FileChange::Failed { file, error } => {
                let keeps_watches = self.watches.has_any_of(&file);
                self.configs.failed(file, error, keeps_watches);
            }
            FileChange::Inaccessible { path, error } => {
                let keeps_watches = self.watches.has_any_below(&path);
                self.configs.inaccessible(path, error, keeps_watches);
            }
            FileChange::Accessible { path } => self.configs.accessible(&path),
            FileChange::Warning(warning) => self.configs.warn(&warning),
            FileChange::Degraded(what) => self.log.degraded("configs", what),
            FileChange::Followed => self.log.recovered("configs"),
            FileChange::FirstScanDone => {
                self.log.report(&Report::Ready { watches: self.watches.registered() });
                let (watches, configs) = (&self.watches, &self.configs);
                self.persist
                    .ledger_mut()
                    .prune_watches(|key| watches.contains(key) || configs.is_missing(&key.file));
                self.configs.first_scan_done();
                self.refresh_identities();
                self.systemd.set_store_count(self.stores.in_use().count());
                self.systemd.first_scan_done();
            }
            FileChange::Rescanned { requests } => {
                self.systemd.rescanned(requests);
                self.configs.reloaded(requests, self.watches.registered());
            }
        }
    }

    fn registration(&mut self, file: &str) -> Registration<'_> {
        let is_dry_run = self.completion.is_dry_run();
        let may_be_older = self.configs.may_be_older(file);
        let Self { log, watches, persist, stores, .. } = self;
        Registration { log, watches, persist, stores, is_dry_run, may_be_older }
    }

    fn reload(&mut self, requested_by: &str, reply: Option<ReloadReply>) {
        self.systemd.reloading();
        self.refresh_identities();
        self.configs.reload(requested_by, reply);
    }

    fn signal(&mut self, signal: i32) {
        match signals::meaning(signal) {
            Meaning::Stop => self.stop(&signals::name(signal)),
            Meaning::Reload => self.reload(&signals::name(signal), None),
            Meaning::ProcessorLimit | Meaning::Ignored => {
                if let Some(what) = self.said.text(signal) {
                    self.log.report(&Report::Problem { what: &what });
                }
            }
        }
    }

    fn check_identities(&mut self) {
        self.performer().put_off_unidentified();
        if self.identities.is_refresh_due() {
            self.refresh_identities();
        }
    }

    /// Has all users of actions looked up again.
    fn refresh_identities(&mut self) {
        let specs = self.watches.iter().filter_map(|(_, entry)| entry.loaded());
        let in_use = specs.map(|spec| spec.run_as.clone()).collect();
        self.identities.refresh(in_use);
    }

    fn stop(&mut self, signal: &str) {
        self.log.report(&Report::Stopping { signal, running: self.runs.count() });
        self.systemd.stopping();
        self.watches.stop(self.completion.stop());
        self.runs.stop();
    }

    fn reply(&mut self, request: DaemonRequest) {
        let began = Instant::now();
        self.answer(request);
        let now = Instant::now();
        self.share.spend(now - began, now);
    }

    fn answer(&mut self, request: DaemonRequest) {
        match request {
            DaemonRequest::Daemon(reply) => answer(reply, self.view().daemon()),
            DaemonRequest::Watch { named, reply } => answer(reply, self.view().watch(&named)),
            DaemonRequest::Watches { after, reply } => answer(reply, self.view().page(after)),
            // An operator who was told that there is no answer must not be obeyed after all.
            DaemonRequest::WatchCommand { reply, .. } if reply.is_closed() => {}
            DaemonRequest::WatchCommand { command, watch, reply } => {
                answer(reply, operator::command(&mut self.performer(), command, &watch));
            }
            DaemonRequest::Reload(reply) if self.completion.is_stopping() => {
                answer(reply, Err(operator::stopping()));
            }
            DaemonRequest::Reload(reply) => self.reload("an operator", Some(reply)),
            DaemonRequest::History { filter, before, reply } => {
                answer(reply, operator::history(&mut self.persist, &self.watches, &filter, before));
            }
            DaemonRequest::Output { run, reply } => {
                answer(reply, operator::output(&mut self.persist, &self.runs, &run));
            }
            DaemonRequest::Gauges(reply) => answer(reply, self.view().gauges()),
        }
    }

    fn flush(&mut self) {
        self.persist.flush(&mut self.watches, &mut self.runs, &self.stores);
    }

    fn end_turn(&mut self) {
        self.performer().end_turn();
        if let Some(news) = self.places.end_turn(self.taken_places(), self.clock.now()) {
            self.log.report(&news);
        }
        self.persist.schedule_flush(&self.watches, &self.runs);
        self.memory.note(self.watches.registered());
        let counts = StatusCounts {
            watches: self.watches.registered(),
            running: self.runs.count(),
            failing: self.watches.failing(),
        };
        match self.systemd.send_updates(counts) {
            Ok(true) => self.log.recovered("systemd"),
            Ok(false) => {}
            Err(error) => self.log.degraded("systemd", error.to_string()),
        }
    }

    fn taken_places(&self) -> usize {
        self.runs.taken_places() + self.identities.waiting()
    }

    /// Whether the last turn left places that watches ask for, or starts that have one.
    fn can_give_places(&self) -> bool {
        self.places.can_give(self.taken_places()) || self.identities.has_answered()
    }

    fn is_over(&mut self) -> bool {
        let watches = self.watches.iter().filter_map(|(_, entry)| {
            let spec = entry.loaded()?;
            let is_unreadable = self.stores.unreadable(&spec.store, &spec.subject).is_some();
            let is_connected = self.stores[&spec.store].is_connected();
            Some(WatchState { watch: entry.watch(), is_unreadable, is_connected })
        });
        let (running, asking) = (self.runs.awaited(), self.places.waiting());
        self.completion.is_over(self.configs.is_scanned(), running, asking, watches)
    }

    fn final_status(&mut self) -> Option<FinalStatus> {
        // Nobody asks otherwise.
        self.completion.ends_by_itself().then(|| {
            let planned = self.completion.take_planned();
            FinalStatus { daemon: self.view().daemon(), watches: self.view().all(), planned }
        })
    }
}

fn answer<T>(reply: ReplySender<T>, value: T) {
    // The operator may have left.
    let _ = reply.send(value);
}
