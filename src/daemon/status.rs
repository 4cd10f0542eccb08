//! How the daemon is at the moment: what operators and Prometheus are shown.

use std::collections::{BTreeMap, HashSet};

use super::clock::Clock;
use super::completion::Completion;
use super::configs::Configs;
use super::persist::Persist;
use super::places::Places;
use super::runs::Runs;
use super::services::keepers::Keepers;
use super::services::{self, Services};
use super::stores::{StoreHandle, Stores};
use super::watches::{Entry, LastRun, WatchId, Watches};
use crate::cache::StoreCache;
use crate::control::status::{
    DaemonStatus, DegradedPart, LedgerStatus, PauseStatus, STORE_AWAY, ServiceStatus, StoreStatus,
    WatchStatus,
};
use crate::control::{RequestError, WATCHES_PER_PAGE};
use crate::ledger::{RunOutcome, RunRecord};
use crate::metrics::{Gauges, WatchCounts};
use crate::model::{StoreName, Subject};
use crate::report::{Degraded, HeldSummary, Reporter};
use crate::service::Condition;
use crate::text::Timestamp;
use crate::watch::{Held, HoldReason, Seen};

/// All parts, to be looked at.
pub struct View<'a> {
    pub log: &'a Reporter,
    pub clock: Clock,
    pub watches: &'a Watches,
    pub services: &'a Services,
    pub keepers: &'a Keepers,
    pub places: &'a Places,
    pub runs: &'a Runs,
    pub persist: &'a Persist,
    pub configs: &'a Configs,
    pub completion: &'a Completion,
    pub stores: &'a Stores,
}

impl View<'_> {
    pub fn daemon(&self) -> DaemonStatus {
        let state = match () {
            () if self.completion.is_stopping() => "stopping",
            () if self.configs.is_scanned() => "running",
            () => "starting",
        };
        let lost = self.persist.ledger().lost_reason();
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started: Timestamp(self.clock.started()),
            state: state.into(),
            config_path: self.configs.path().display().to_string(),
            untrusted_allowed: self.configs.untrusted_allowed(),
            stores: self.store_status(),
            ledger: LedgerStatus { usable: lost.is_none(), reason: lost.map(Into::into) },
            config_errors: self.configs.errors().collect(),
            degraded: self.log.all_degraded().into_iter().map(shown).collect(),
            watches: self.watches.registered(),
            services: self.services.registered().map(|(_, entry)| self.service_status(entry)).collect(),
            running_actions: self.runs.count(),
            max_actions: self.places.limit(),
            waiting_for_place: self.places.waiting(),
            waiting_bytes: self.watches.budget().total(),
            max_waiting_bytes: self.watches.budget().limit(),
        }
    }

    fn store_status(&self) -> Vec<StoreStatus> {
        let keepers = self.keepers.processes();
        let mut stores = self.stores.status();
        for store in &mut stores {
            let keeper = keepers.iter().find(|(name, _)| name.as_str() == store.name);
            let keeper = keeper.map(|(_, process)| *process).unwrap_or_default();
            (store.keeper_pid, store.keeper_restarts) = (keeper.pid, keeper.restarts);
        }
        stores
    }

    /// The watch that an operator means by `named`.
    pub fn watch(&self, named: &str) -> Result<WatchStatus, RequestError> {
        let (_, entry) = self.watches.find(named)?;
        self.status_of(entry)
            .ok_or_else(|| RequestError::Unknown(format!("{named} has just ended, and no file registers it")))
    }

    /// The next watches after the one with the number `after`, each with its number.
    pub fn page(&self, after: Option<u64>) -> Vec<(u64, WatchStatus)> {
        let next = self.watches.after(after.map(WatchId));
        let some = next.filter_map(|(id, entry)| Some((id.0, self.status_of(entry)?)));
        some.take(WATCHES_PER_PAGE).collect()
    }

    pub fn all(&self) -> Vec<WatchStatus> {
        self.watches.iter().filter_map(|(_, entry)| self.status_of(entry)).collect()
    }

    /// One pass over the watches: some 0.1 µs each if none was touched lately.
    pub fn gauges(&self) -> Gauges {
        let nodes = self.stores.in_use().flat_map(|(_, store)| store.subjects.values());
        let unreadable: Vec<_> = nodes.filter(|node| node.unreadable.is_some()).collect();
        let unreadable_watches: HashSet<WatchId> =
            unreadable.iter().flat_map(|node| node.watches()).collect();
        let states = self.services.registered().map(|(_, entry)| entry.service().condition());
        let registered = self.watches.iter().filter(|(_, entry)| !entry.is_retired());
        // Nobody misses a store in which nothing is watched or announced.
        let is_missed =
            |name, store: &StoreHandle| !store.subjects.is_empty() || self.services.use_store(name);
        let stores = self.stores.in_use().filter(|(name, store)| is_missed(name, store));
        let ledger = self.persist.ledger();
        Gauges {
            services: states.fold(Default::default(), |mut counts: BTreeMap<_, _>, state| {
                *counts.entry(state).or_default() += 1;
                counts
            }),
            watches: WatchCounts::of(
                registered.map(|(id, entry)| (entry.key(), entry.watch(), unreadable_watches.contains(&id))),
            ),
            running_actions: self.runs.count(),
            max_actions: self.places.limit(),
            waiting_for_place: self.places.waiting(),
            waiting_bytes: self.watches.budget().total(),
            stores: stores.map(|(name, store)| (name.to_string(), store.is_connected())).collect(),
            store_restarts: self
                .stores
                .in_use()
                .map(|(name, store)| (name.to_string(), store.restarts()))
                .collect(),
            keeper_restarts: self
                .keepers
                .processes()
                .into_iter()
                .map(|(store, process)| (store.to_string(), process.restarts))
                .collect(),
            nodes_unreadable: unreadable.len(),
            config_errors: self.configs.errors().len(),
            ledger_usable: ledger.lost_reason().is_none(),
            ledger_bytes: ledger.size(),
            cache_bytes: self.stores.cache().map_or(0, StoreCache::bytes),
            ledger_outputs_dropped: ledger.outputs_dropped(),
            degraded: self.log.all_degraded().into_iter().map(|found| found.part.into_owned()).collect(),
            log_lines_dropped: self.log.dropped_lines(),
        }
    }

    /// `None` once the last run of a watch that no file registers has ended.
    fn status_of(&self, entry: &Entry) -> Option<WatchStatus> {
        let (key, watch, snapshot) = (entry.key(), entry.watch(), entry.watch().snapshot());
        let (store, subject) = self.store_and_subject(entry)?;
        let unreadable = entry.spec().and_then(|spec| self.stores.unreadable(&spec.store, &spec.subject));
        let failure = entry.failure().map(|failure| failure.what.as_str());
        let applied = snapshot.applied.filter(|version| !version.is_deletion());
        let next_start = watch.next_start().map(|at| at.saturating_sub(self.clock.now()));
        let waits_for_place =
            watch.waits_for_place_since().map(|since| self.clock.now().saturating_sub(since));
        Some(WatchStatus {
            watch: key.to_string(),
            file: key.file.to_string(),
            description: key.description.to_string(),
            store: store.to_string(),
            znode: subject.path.to_string(),
            watch_type: subject.facet.as_str().into(),
            state: watch.condition(unreadable.is_some()).as_str().into(),
            registered: !entry.is_retired(),
            paused: snapshot.pause.is_some(),
            pause: watch.pause().map(PauseStatus::from),
            stopped: snapshot.stopped,
            version: match snapshot.seen {
                Some(Seen::Present(version)) => Some(version.number),
                Some(Seen::Absent) | None => None,
            },
            applied_version: applied.map(|version| version.number),
            applied_commit: entry.applied_commit(&snapshot).cloned(),
            runs: watch.runs().filter_map(|run| self.runs.get(run)).map(|live| live.status()).collect(),
            waiting: watch.waiting_updates(),
            next_start_seconds: next_start.map(|left| left.as_secs_f64()),
            waits_for_place_seconds: waits_for_place.map(|waited| waited.as_secs_f64()),
            failures: snapshot.failures,
            held: watch.held().map(|held| held_summary(held, subject)),
            held_by: watch.held().map(|held| held_by(held).to_owned()),
            error: unreadable.map(|reason| format!("cannot be read: {reason}")).or(failure.map(Into::into)),
            last_run: entry.last_run().map(|last| self.record(last, entry, subject)),
            notified: entry.spec().is_some_and(|spec| spec.policy.notify_signal.is_some()),
        })
    }

    /// The store and the node of a watch. If no file registers it, a run that still lives tells them.
    fn store_and_subject<'b>(&'b self, entry: &'b Entry) -> Option<(&'b str, &'b Subject)> {
        if let Some(spec) = entry.spec() {
            return Some((spec.store.as_str(), &spec.subject));
        }
        let intent = &entry.watch().runs().find_map(|run| self.runs.get(run))?.intent;
        // The run may be a former daemon's, whose settings named another store.
        let store = self.stores.by_ledger_name(&intent.store).map_or(&*intent.store, StoreName::as_str);
        Some((store, &intent.subject))
    }

    fn service_status(&self, entry: &services::Entry) -> ServiceStatus {
        let (spec, service) = (entry.spec(), entry.service());
        let away = || {
            let reason = self.keepers.disconnected(&spec.member.name.store)?;
            let waits = service.condition() == Condition::Waiting;
            waits.then(|| format!("{STORE_AWAY}: {reason}"))
        };
        ServiceStatus {
            service: spec.id.to_string(),
            file: spec.id.file.to_string(),
            description: spec.id.description.to_string(),
            store: spec.member.name.store.to_string(),
            member: spec.member.name.path.to_string(),
            state: service.condition().as_str().into(),
            since: Timestamp(entry.since()),
            is_checked: spec.check.is_some(),
            check: service.last_result().map(|result| result.as_str().to_owned()),
            checked: entry.last_check().map(Timestamp),
            error: service.obstacle().map(|why| why.to_string()).or_else(away),
            pause: service.pause().map(PauseStatus::from),
            is_present: service.is_present(),
            drain: spec.drain.as_secs_f64(),
        }
    }

    fn record(&self, last: &LastRun, entry: &Entry, subject: &Subject) -> RunRecord {
        let not_started = matches!(last.outcome, RunOutcome::NotStarted(_));
        let failure = entry.failure().filter(|_| not_started);
        RunRecord {
            run: self.runs.full_id(last.run),
            watch: entry.key().to_string(),
            znode: subject.path.to_string(),
            watch_type: subject.facet.as_str().into(),
            event: last.event.as_str().into(),
            version: last.version.number,
            cause: last.cause.clone(),
            started: Timestamp(last.started),
            seconds: Some(last.took.as_secs_f64()),
            outcome: last.outcome.name().into(),
            exit_code: last.outcome.exit_code(),
            signal: last.outcome.signal(),
            error: failure.map(|failure| failure.what.clone()),
        }
    }
}

fn shown(Degraded { part, what, since }: Degraded) -> DegradedPart {
    DegradedPart { part: part.into_owned(), what, since: Timestamp(since) }
}

fn held_by(held: &Held) -> &'static str {
    match held.hold_reason {
        HoldReason::TooMuch { .. }
        | HoldReason::Empty
        | HoldReason::Shrunk { .. }
        | HoldReason::HeldBefore => "guard",
        HoldReason::Faulty(_) => "decode",
        HoldReason::Undecided(_) => "decoder",
    }
}

/// Which version is held, and why.
pub fn held_summary(held: &Held, subject: &Subject) -> String {
    let Held { event: _, version, hold_reason } = held;
    HeldSummary { version: version.number, hold_reason, facet: subject.facet }.to_string()
}
