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
use super::decoder::Decoder;
use super::effects::Performer;
use super::identities::Identities;
use super::persist::Persist;
use super::places::Places;
use super::registration::{Load, Registration};
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
use crate::config::load::LeftOut;
use crate::control::{DaemonRequest, ReplySender};
use crate::ledger::Ledger;
use crate::model::StoreName;
use crate::report::{ReloadCause, Report, Reporter};
use crate::store::StoreEvent;
use crate::sys::{Alarm, FreeMemory};

/// How many events of the stores are taken in one turn after the first, or of runs at once. The first action
/// of a burst waits for all of them, some 50 µs each; the commit of the ledger is shared.
const MAX_EVENT_BATCH: usize = 16;

/// How long further events of the stores are taken in one turn.
const MAX_BATCH_TIME: Duration = Duration::from_millis(10);

/// How long the loop goes on without a break if there is more to do. Each break takes some system calls.
const MAX_TURNS_TIME: Duration = Duration::from_micros(500);

/// How many changes of a file are made in one turn, in a millisecond or two. A file may have ten thousand.
const MAX_CHANGES: usize = 100;

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
    /// What a newcomer is told once all configs are loaded.
    pub welcome: Option<String>,
}

struct Daemon {
    log: Reporter,
    welcome: Option<String>,
    clock: Clock,
    watches: Watches,
    places: Places,
    runs: Runs,
    persist: Persist,
    configs: Configs,
    completion: Completion,
    decoder: Decoder,
    identities: Identities,
    stores: Stores,
    systemd: Systemd,
    said: signals::Said,
    memory: FreeMemory,
    /// What requests take of the loop's time.
    share: Share,
    /// The file whose changes are not all made yet.
    loading: Option<Loading>,
}

/// A file that is being loaded.
struct Loading {
    file: String,
    load: Load,
    end: FileEnd,
}

/// What is to be noted when all changes of a file are made.
enum FileEnd {
    Loaded { left_out: Option<LeftOut>, has_others: bool, keeps_watches: bool },
    Removed,
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
        decoder: Decoder::new(log.clone(), "/proc/self/exe".into()),
        identities: Identities::new(log.clone()),
        stores: setup.stores,
        systemd: setup.systemd,
        said: signals::Said::default(),
        memory: FreeMemory::since_start(),
        share: Share::new(Instant::now()),
        loading: None,
        welcome: setup.welcome,
        log,
    };
    daemon.runs.report_slots(daemon.persist.ledger().lost_reason().is_none());
    let is_dry_run = daemon.completion.is_dry_run();
    orphans::adopt_all(&daemon.log, &mut daemon.watches, &mut daemon.runs, &mut daemon.persist, is_dry_run);
    let mut alarm = Alarm::start();
    let mut yielded = Instant::now();
    loop {
        daemon.persist.handle_ledger_events(&daemon.watches, &daemon.runs, &daemon.stores);
        let (polls, due) = (daemon.completion.ends_by_itself(), daemon.due());
        let room = daemon.runs.room();
        tokio::select! {
            (store, event) = daemon.stores.next(), if daemon.stores.untold.has_room() => {
                daemon.store_event(&store, event);
                let began = Instant::now();
                for _ in 0..MAX_EVENT_BATCH {
                    if began.elapsed() > MAX_BATCH_TIME || !daemon.stores.untold.has_room() {
                        break;
                    }
                    let Some((store, event)) = daemon.stores.try_next() else { break };
                    daemon.store_event(&store, event);
                }
            }
            Some(decoded) = daemon.decoder.next() => daemon.performer().decoded(decoded),
            events = daemon.runs.next_events(MAX_EVENT_BATCH) => {
                events.into_iter().for_each(|event| daemon.performer().run_event(event));
            }
            Some(change) = config_changes.recv(), if daemon.loads_files() => {
                daemon.file_change(change);
            }
            Some(signal) = signals.recv() => daemon.signal(signal),
            Some(request) = next_request(&mut requests, &daemon.share) => daemon.reply(request),
            () = alarm.until(due) => daemon.act_by_time(),
            () = yield_now(), if daemon.has_more_to_do() => {}
            () = room, if daemon.has_starts() => {}
            news = daemon.identities.next() => match news {
                Some(answer) => daemon.performer().identity_answer(answer),
                None => daemon.check_identities(),
            },
            () = until(daemon.persist.flush_at()) => daemon.flush(),
            () = daemon.memory.until_due() => daemon.memory.trim(),
            () = sleep(POLL_INTERVAL), if polls => {}
        }
        daemon.end_turn();
        if daemon.is_over() {
            break;
        }
        // The tasks of the stores and of the runs share this thread. A loop that always finds something to do
        // would keep them waiting.
        if daemon.runs.take_handed_over() || yielded.elapsed() >= MAX_TURNS_TIME {
            yield_now().await;
            yielded = Instant::now();
        }
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
        let Self { log, watches, places, runs, identities, persist, stores, completion, decoder, .. } = self;
        Performer { log, watches, places, runs, identities, persist, stores, completion, decoder }
    }

    /// When [`Self::act_by_time`] has something to do, or the end of a turn.
    fn due(&self) -> Instant {
        let others = [self.watches.due(), self.systemd.due()].into_iter().flatten();
        others.fold(self.persist.maintain_at(), Instant::min)
    }

    /// Does what is due although nothing happened.
    fn act_by_time(&mut self) {
        let now = Instant::now();
        if self.watches.due().is_some_and(|due| due <= now) {
            self.watches.tick();
        }
        if self.persist.maintain_at() <= now {
            self.performer().maintain();
        }
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
            FileChange::Loaded { file, mut watches, warnings, left_out } => {
                warnings.iter().for_each(|warning| self.configs.warn(&file, warning));
                if watches.is_empty() && left_out.is_none() && self.configs.may_be_older(&file) {
                    let former = self.persist.registered_by(&file);
                    if !former.is_empty() {
                        return self.configs.emptied(file, &former);
                    }
                }
                let kept = left_out.as_ref().map(|left_out| self.watches.described(&file, &left_out.watches));
                let kept = kept.unwrap_or_default();
                let (has_others, keeps_watches) = (!watches.is_empty(), !kept.is_empty());
                watches.extend(kept);
                let load = self.registration(&file).begin(&file, watches);
                let end = FileEnd::Loaded { left_out, has_others, keeps_watches };
                self.loading = Some(Loading { file, load, end });
            }
            FileChange::Removed { file } => {
                let load = self.registration(&file).begin(&file, Vec::new());
                self.loading = Some(Loading { file, load, end: FileEnd::Removed });
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
            FileChange::Warning { path, warning } => self.configs.warn(&path, &warning),
            FileChange::Degraded(what) => self.log.degraded("configs", what),
            FileChange::Followed => self.log.recovered("configs"),
            FileChange::FirstScanDone => {
                self.log.report(&Report::Ready { watches: self.watches.registered() });
                if let Some(text) = self.welcome.take() {
                    self.log.report(&Report::Welcome { text: &text });
                }
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

    /// Makes some of the changes of the file that is being loaded.
    fn load_some(&mut self) {
        let Some(mut loading) = self.loading.take() else { return };
        let changes = self.registration(&loading.file).proceed(&mut loading.load, MAX_CHANGES);
        let Some(changes) = changes else {
            self.loading = Some(loading);
            return;
        };
        let Loading { file, end, .. } = loading;
        match end {
            FileEnd::Loaded { left_out: None, .. } => self.configs.loaded(&file, changes),
            FileEnd::Loaded { left_out: Some(LeftOut { error, .. }), has_others, keeps_watches } => {
                self.configs.partly_loaded(file, changes, error, (has_others, keeps_watches));
            }
            FileEnd::Removed => {
                if self.configs.is_missing(&file) {
                    self.persist.retire_all(&file);
                }
                self.configs.removed(&file, changes);
            }
        }
    }

    fn registration(&mut self, file: &str) -> Registration<'_> {
        let is_dry_run = self.completion.is_dry_run();
        let may_be_older = self.configs.may_be_older(file);
        let Self { log, watches, persist, stores, .. } = self;
        Registration { log, watches, persist, stores, is_dry_run, may_be_older }
    }

    fn reload(&mut self, cause: ReloadCause<'_>, reply: Option<ReloadReply>) {
        self.systemd.reloading();
        self.refresh_identities();
        self.configs.reload(cause, reply);
    }

    fn signal(&mut self, signal: i32) {
        match signals::meaning(signal) {
            Meaning::Stop => self.stop(&signals::name(signal)),
            Meaning::Reload => self.reload(ReloadCause::Signal(&signals::name(signal)), None),
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
        let timeout = self.completion.stop();
        self.log.report(&Report::Stopping { signal, running: &self.runs.names(), timeout });
        self.systemd.stopping();
        // What a file registers now must not start any more. The next daemon loads it whole.
        self.loading = None;
        self.watches.stop(timeout);
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
            DaemonRequest::WatchCommand { order, reply } => {
                answer(reply, operator::command(&mut self.performer(), order));
            }
            DaemonRequest::Reload { reply, .. } if self.completion.is_stopping() => {
                answer(reply, Err(operator::stopping()));
            }
            DaemonRequest::Reload { by, reply } => {
                self.reload(ReloadCause::Operator(by.as_deref()), Some(reply));
            }
            DaemonRequest::History { filter, before, reply } => {
                answer(reply, operator::history(&mut self.persist, &self.watches, &filter, before));
            }
            DaemonRequest::Output { run, reply } => {
                answer(reply, operator::output(&mut self.persist, &self.runs, &run));
            }
            DaemonRequest::OutputSince { run, from, reply } => {
                answer(reply, operator::output_since(&mut self.persist, &self.runs, &run, from));
            }
            DaemonRequest::Gauges(reply) => answer(reply, self.view().gauges()),
        }
    }

    fn flush(&mut self) {
        self.persist.flush(&mut self.watches, &mut self.runs, &self.stores);
    }

    /// Whether another file may be loaded now.
    fn loads_files(&self) -> bool {
        !self.completion.is_stopping() && self.loading.is_none()
    }

    fn end_turn(&mut self) {
        self.load_some();
        store_events::tell_some(&mut self.watches, &mut self.stores);
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

    /// Whether watches ask for places that there are, or starts have one.
    fn has_starts(&self) -> bool {
        self.places.can_give(self.taken_places()) || self.identities.has_answered()
    }

    /// Whether the last turn left anything that can be done now.
    fn has_more_to_do(&self) -> bool {
        self.loading.is_some()
            || !self.stores.untold.is_empty()
            || self.runs.needs_more() && self.has_starts()
    }

    fn is_over(&mut self) -> bool {
        let watches = self.watches.iter().filter_map(|(_, entry)| {
            let spec = entry.loaded()?;
            let is_unreadable = self.stores.unreadable(&spec.store, &spec.subject).is_some();
            let is_connected = self.stores[&spec.store].is_connected();
            Some(WatchState { watch: entry.watch(), is_unreadable, is_connected })
        });
        // A watch that is still to be told a report may ask for a place.
        let asking = self.places.waiting() + usize::from(!self.stores.untold.is_empty());
        let running = self.runs.awaited();
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
