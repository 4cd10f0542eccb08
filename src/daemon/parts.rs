//! All parts of the daemon together: what takes several of them, and what happens at the end of each turn.

use std::time::Duration;

use tokio::time::Instant;

use super::clock::Clock;
use super::completion::{Completion, FinalStatus, WatchState};
use super::configs::{Changes, Configs, ReloadReply};
use super::decoder::Decoder;
use super::departure::Departure;
use super::effects::Performer;
use super::identities::{Answer, Identities};
use super::persist::Persist;
use super::places::Places;
use super::registration::{Load, Registration};
use super::runs::Runs;
use super::services::Services;
use super::services::checks::Checks;
use super::services::keepers::Keepers;
use super::services::perform::ServicePerformer;
use super::share::Share;
use super::signals::Meaning;
use super::status::View;
use super::stores::Stores;
use super::systemd::{StatusCounts, Systemd};
use super::watches::Watches;
use super::{operator, signals, store_events};
use crate::cache::StoreCache;
use crate::config::files::FileChange;
use crate::config::load::LeftOut;
use crate::control::{CommandResult, DaemonRequest, Order, ReplySender, RequestError};
use crate::model::StoreName;
use crate::report::{ReloadCause, Report, Reporter};
use crate::store::StoreEvent;
use crate::sys::FreeMemory;

/// How many changes of a file are made in one turn, in a millisecond or two. A file may have ten thousand.
const MAX_CHANGES: usize = 100;

/// All parts. What takes several of them is a method here.
pub struct Daemon {
    pub log: Reporter,
    pub welcome: Option<String>,
    pub clock: Clock,
    pub watches: Watches,
    pub places: Places,
    pub runs: Runs,
    pub persist: Persist,
    pub configs: Configs,
    pub completion: Completion,
    pub decoder: Decoder,
    pub identities: Identities,
    pub stores: Stores,
    pub services: Services,
    pub checks: Checks,
    pub keepers: Keepers,
    pub has_one_store: bool,
    /// How far the members are gone, of a daemon that stops.
    pub departure: Departure,
    pub systemd: Systemd,
    pub said: signals::Said,
    pub memory: FreeMemory,
    /// What requests take of the loop's time.
    pub share: Share,
    /// The file whose changes are not all made yet.
    pub loading: Option<Loading>,
}

/// A file that is being loaded.
pub struct Loading {
    file: String,
    load: Load,
    /// What has changed of its services.
    changes: Changes,
    end: FileEnd,
}

/// What is to be noted when all changes of a file are made.
enum FileEnd {
    Loaded { left_out: Option<LeftOut>, has_others: bool, keeps_watches: bool },
    Removed,
}

impl Daemon {
    pub fn performer(&mut self) -> Performer<'_> {
        let Self { log, watches, places, runs, identities, persist, stores, completion, decoder, .. } = self;
        Performer { log, watches, places, runs, identities, persist, stores, completion, decoder }
    }

    pub fn service_performer(&mut self) -> ServicePerformer<'_> {
        // Who runs it once does not want to be announced.
        let is_dry_run = self.completion.ends_by_itself();
        let has_one_store = self.has_one_store;
        let Self { log, clock, services, checks, keepers, identities, persist, .. } = self;
        let clock = *clock;
        ServicePerformer {
            log,
            clock,
            services,
            checks,
            keepers,
            identities,
            persist,
            is_dry_run,
            has_one_store,
        }
    }

    pub fn identity_answer(&mut self, answer: Answer) {
        let Some(run_as) = self.performer().identity_answer(answer) else { return };
        let identity = self.identities.known(&run_as).cloned();
        self.service_performer().identified(&run_as, identity.as_ref());
    }

    /// When [`Self::act_by_time`] has something to do, or the end of a turn.
    pub fn due(&self) -> Instant {
        let others = [self.watches.due(), self.services.due(), self.systemd.due(), self.departure.due()];
        let others = others.into_iter().flatten();
        others.fold(self.persist.maintain_at(), Instant::min)
    }

    /// Does what is due although nothing happened.
    pub fn act_by_time(&mut self) {
        let now = Instant::now();
        if self.watches.due().is_some_and(|due| due <= now) {
            self.watches.tick();
        }
        if self.services.due().is_some_and(|due| due <= now) {
            self.services.tick();
        }
        if self.persist.maintain_at() <= now {
            self.performer().maintain();
        }
    }

    fn view(&self) -> View<'_> {
        let Self { log, clock, watches, services, keepers, places, runs, persist, .. } = self;
        let (clock, configs, completion, stores) = (*clock, &self.configs, &self.completion, &self.stores);
        View { log, clock, watches, services, keepers, places, runs, persist, configs, completion, stores }
    }

    pub fn store_event(&mut self, store: &StoreName, event: StoreEvent) {
        if let (StoreEvent::Remember { memory }, Some(known)) = (&event, self.stores[store].known_name()) {
            self.persist.ledger_mut().remember(known, memory);
        }
        let connected = store_events::take(&self.log, &mut self.watches, &mut self.stores, store, event);
        if let Some(connected) = connected {
            self.systemd.store(store.as_str(), connected);
        }
    }

    pub fn file_change(&mut self, change: FileChange) {
        match change {
            FileChange::Loaded { file, mut watches, mut services, warnings, left_out } => {
                warnings.iter().for_each(|warning| self.configs.warn(&file, warning));
                if watches.is_empty()
                    && services.is_empty()
                    && left_out.is_none()
                    && self.configs.may_be_older(&file)
                {
                    let former = self.persist.registered_by(&file);
                    if !former.is_empty() {
                        return self.configs.emptied(file, &former);
                    }
                }
                let kept = left_out.as_ref().map(|left_out| self.watches.described(&file, &left_out.watches));
                let kept = kept.unwrap_or_default();
                let kept_services =
                    left_out.as_ref().map(|left_out| self.services.described(&file, &left_out.watches));
                let kept_services = kept_services.unwrap_or_default();
                let has_others = !watches.is_empty() || !services.is_empty();
                let keeps_watches = !kept.is_empty() || !kept_services.is_empty();
                watches.extend(kept);
                services.extend(kept_services);
                let changes = self.service_performer().load(&file, services);
                let load = self.registration(&file).begin(&file, watches);
                let end = FileEnd::Loaded { left_out, has_others, keeps_watches };
                self.loading = Some(Loading { file, load, changes, end });
            }
            FileChange::Removed { file } => {
                let changes = self.service_performer().load(&file, Vec::new());
                let load = self.registration(&file).begin(&file, Vec::new());
                self.loading = Some(Loading { file, load, changes, end: FileEnd::Removed });
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
                self.stores.all().iter().for_each(|store| store.cache.settle(store.subjects.keys()));
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
        let Loading { file, end, changes: of_services, .. } = loading;
        let changes = changes.and(of_services);
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

    pub fn signal(&mut self, signal: i32) {
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

    pub fn check_identities(&mut self) {
        self.performer().put_off_unidentified();
        if self.identities.is_refresh_due() {
            self.refresh_identities();
        }
    }

    /// Has all users of actions looked up again.
    fn refresh_identities(&mut self) {
        let specs = self.watches.iter().filter_map(|(_, entry)| entry.loaded());
        let services = self.services.registered().map(|(_, entry)| entry.spec());
        let of_checks = services.filter(|spec| spec.check.is_some()).map(|spec| spec.run_as.clone());
        let in_use = specs.map(|spec| spec.run_as.clone()).chain(of_checks).collect();
        self.identities.refresh(in_use);
    }

    fn stop(&mut self, signal: &str) {
        let is_first = !self.completion.is_stopping();
        let drain = if is_first { self.services.drain() } else { Duration::ZERO };
        // What an action does may be what a member is for.
        let timeout = self.completion.stop() + drain;
        self.log.report(&Report::Stopping { signal, running: &self.runs.names(), timeout, drain });
        self.systemd.stopping();
        // What a file registers now must not start any more. The next daemon loads it whole.
        self.loading = None;
        // Clients are to leave before anything ends here.
        self.services.stop();
        self.departure.begin(drain, Instant::now());
        self.service_performer().perform_all();
        self.watches.stop(timeout);
        self.runs.stop();
    }

    pub fn reply(&mut self, request: DaemonRequest) {
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
                answer(reply, self.command(order));
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
            DaemonRequest::MemberHistory { filter, before, reply } => {
                let found = operator::member_history(&mut self.persist, &self.services, &filter, before);
                answer(reply, found);
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

    /// Carries out a command to a watch or a service.
    fn command(&mut self, order: Order) -> Result<CommandResult, RequestError> {
        match operator::target(&self.watches, &self.services, &order)? {
            operator::Target::Watch => operator::command(&mut self.performer(), order),
            operator::Target::Service(id) => {
                operator::service_command(&mut self.service_performer(), id, order)
            }
        }
    }

    pub fn flush(&mut self) {
        self.service_performer().save();
        self.persist.flush(&mut self.watches, &mut self.runs, &self.stores);
        self.stores.cache().into_iter().for_each(StoreCache::wake);
    }

    /// Whether another file may be loaded now.
    pub fn loads_files(&self) -> bool {
        !self.completion.is_stopping() && self.loading.is_none()
    }

    pub fn end_turn(&mut self) {
        self.load_some();
        store_events::tell_some(&mut self.watches, &mut self.stores);
        self.performer().end_turn();
        self.service_performer().perform_all();
        if let Some(news) = self.places.end_turn(self.taken_places(), self.clock.now()) {
            self.log.report(&news);
        }
        let has_others = self.services.has_unsaved() || self.stores.cache().is_some_and(StoreCache::has_news);
        self.persist.schedule_flush(&self.watches, &self.runs, has_others);
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
    pub fn has_starts(&self) -> bool {
        self.places.can_give(self.taken_places()) || self.identities.has_answered()
    }

    /// Whether the last turn left anything that can be done now.
    pub fn has_more_to_do(&self) -> bool {
        self.loading.is_some()
            || !self.stores.untold.is_empty()
            || self.runs.needs_more() && self.has_starts()
    }

    pub fn is_over(&mut self) -> bool {
        if !self.departure.is_over(self.services.are_gone(), Instant::now()) {
            return false;
        }
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

    pub fn final_status(&mut self) -> Option<FinalStatus> {
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
