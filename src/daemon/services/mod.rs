//! The services: what the core says of each, their timers, and the effects that wait.
//!
//! * [`checks`] starts the processes of checks and follows them, and [`check_end`] puts their ends into
//!   words.
//! * [`claims`] says which service a member belongs to, if several want the same one.
//! * [`keepers`] are the parts of stores that hold members.
//! * [`renaming`] finds services again that have another name in their file.
//! * [`perform`] does what the core asks for.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::clock::Clock;
use crate::config::diff::{Change, diff};
use crate::model::{Identity, RunAs, ServiceSpec, StoreName, WatchKey};
use crate::service::{Definition, Effect, Input, Service, Snapshot};

pub mod check_end;
pub mod checks;
pub mod claims;
pub mod keepers;
pub mod perform;
pub mod renaming;
#[cfg(test)]
mod tests;

/// Names a service within the daemon. A service keeps its id from its first load until nothing of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u64);

/// A service: its definition, its core, and how its last check went.
pub struct Entry {
    spec: ServiceSpec,
    service: Service,
    /// Whether no file registers the service any more.
    retired: bool,
    timer: Option<crate::service::Time>,
    /// When the last check ended.
    last_check: Option<SystemTime>,
    /// The calendar's time of the last change of the condition.
    since: SystemTime,
    known_since: Option<crate::service::Time>,
}

impl Entry {
    pub fn spec(&self) -> &ServiceSpec {
        &self.spec
    }

    pub fn service(&self) -> &Service {
        &self.service
    }

    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// Returns when the last check ended.
    pub fn last_check(&self) -> Option<SystemTime> {
        self.last_check
    }

    /// Since when the service has been in its condition.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    pub fn note_check(&mut self) {
        self.last_check = Some(SystemTime::now());
    }
}

pub struct Services {
    clock: Clock,
    entries: HashMap<ServiceId, Entry>,
    ids: HashMap<WatchKey, ServiceId>,
    last_id: u64,
    timers: BTreeSet<(crate::service::Time, ServiceId)>,
    effects: VecDeque<(ServiceId, Effect)>,
    /// The services whose snapshot the ledger does not know, with the snapshot that it knows.
    unsaved: BTreeSet<ServiceId>,
}

impl Services {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            entries: HashMap::new(),
            ids: HashMap::new(),
            last_id: 0,
            timers: BTreeSet::new(),
            effects: VecDeque::new(),
            unsaved: BTreeSet::new(),
        }
    }

    pub fn get(&self, id: ServiceId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub fn get_mut(&mut self, id: ServiceId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    /// All services, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (ServiceId, &Entry)> {
        let mut ids: Vec<_> = self.entries.keys().copied().collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| Some((id, self.entries.get(&id)?)))
    }

    /// The services that files register now.
    pub fn registered(&self) -> impl Iterator<Item = (ServiceId, &Entry)> {
        self.iter().filter(|(_, entry)| !entry.retired)
    }

    /// Whether any service has its member in this store.
    pub fn use_store(&self, store: &StoreName) -> bool {
        self.entries.values().any(|entry| entry.spec.member.name.store == *store)
    }

    /// The names of the services that files register now.
    pub fn names(&self) -> impl Iterator<Item = &WatchKey> + Clone {
        self.entries.values().filter(|entry| !entry.retired).map(|entry| &entry.spec.id)
    }

    pub fn id(&self, key: &WatchKey) -> Option<ServiceId> {
        self.ids.get(key).copied()
    }

    pub fn now(&self) -> crate::service::Time {
        self.clock.now()
    }

    // What files register.

    pub fn diff(&self, file: &str, wanted: Vec<ServiceSpec>) -> Vec<Change<ServiceSpec>> {
        let current = self.entries.values().filter(|entry| !entry.retired && &*entry.spec.id.file == file);
        diff(current.map(|entry| &entry.spec), wanted)
    }

    /// The last good definitions of the services of this file with these descriptions.
    pub fn described(&self, file: &str, descriptions: &[String]) -> Vec<ServiceSpec> {
        let key =
            |description: &String| WatchKey { file: file.into(), description: description.as_str().into() };
        let entries = descriptions.iter().filter_map(|it| self.entries.get(self.ids.get(&key(it))?));
        entries.filter(|entry| !entry.retired).map(|entry| entry.spec.clone()).collect()
    }

    /// Gives services other names. Each has the name that it had, and the one that it gets.
    pub fn rename(&mut self, renamed: &[(ServiceId, WatchKey, WatchKey)]) {
        for (_, before, _) in renamed {
            self.ids.remove(before);
        }
        for (id, _, now) in renamed {
            self.ids.insert(now.clone(), *id);
            if let Some(entry) = self.entries.get_mut(id) {
                entry.spec.id = now.clone();
            }
        }
    }

    pub fn add(&mut self, spec: ServiceSpec, snapshot: Snapshot) {
        let definition = definition(&spec);
        let id = match self.ids.get(&spec.id) {
            // It comes back before its member was withdrawn.
            Some(id) => *id,
            None => {
                self.last_id += 1;
                let id = ServiceId(self.last_id);
                self.ids.insert(spec.id.clone(), id);
                let service = Service::unloaded(definition.clone());
                let entry = Entry {
                    spec: spec.clone(),
                    service,
                    retired: true,
                    timer: None,
                    last_check: None,
                    since: SystemTime::now(),
                    known_since: None,
                };
                self.entries.insert(id, entry);
                id
            }
        };
        if let Some(entry) = self.entries.get_mut(&id) {
            (entry.spec, entry.retired) = (spec, false);
        }
        self.step(id, Input::Loaded { definition, snapshot });
    }

    pub fn redefine(&mut self, spec: ServiceSpec) {
        let Some(id) = self.id(&spec.id) else { return };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let same_check = entry.spec.has_same_check(&spec);
        if !same_check {
            entry.last_check = None;
        }
        let definition = definition(&spec);
        entry.spec = spec;
        self.step(id, Input::Redefined { definition, same_check });
    }

    /// Takes a definition that differs only in who its user is.
    pub fn replace_identity(&mut self, spec: ServiceSpec) {
        if let Some(entry) = self.id(&spec.id).and_then(|id| self.entries.get_mut(&id)) {
            entry.spec = spec;
        }
    }

    pub fn set_identity_of_all(&mut self, run_as: &Arc<RunAs>, identity: &Arc<Identity>) {
        for entry in self.entries.values_mut().filter(|entry| entry.spec.run_as == *run_as) {
            entry.spec.identity = identity.clone();
        }
    }

    pub fn retire(&mut self, key: &WatchKey) {
        let Some(id) = self.id(key) else { return };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.retired = true;
        }
        self.step(id, Input::Retired);
    }

    pub fn forget(&mut self, id: ServiceId) {
        // It may have come back.
        if self.entries.get(&id).is_none_or(|entry| !entry.retired) {
            return;
        }
        if let Some(entry) = self.entries.remove(&id) {
            self.ids.remove(&entry.spec.id);
            self.timers.retain(|(_, of)| *of != id);
        }
        self.unsaved.remove(&id);
    }

    // What happens.

    /// Tells the core of a service what happened, and queues what it wants done.
    pub fn step(&mut self, id: ServiceId, input: Input) {
        let now = self.clock.now();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let before = entry.service.snapshot();
        let effects = entry.service.step(now, input);
        if entry.service.since() != entry.known_since {
            (entry.known_since, entry.since) = (entry.service.since(), SystemTime::now());
        }
        if entry.service.snapshot() != before && !entry.retired {
            self.unsaved.insert(id);
        }
        let timer = entry.service.deadline();
        if timer != entry.timer {
            if let Some(old) = std::mem::replace(&mut entry.timer, timer) {
                self.timers.remove(&(old, id));
            }
            self.timers.extend(timer.map(|at| (at, id)));
        }
        self.effects.extend(effects.into_iter().map(|effect| (id, effect)));
    }

    /// When [`Self::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| self.clock.instant(*at))
    }

    /// Tells the services whose time has come.
    pub fn tick(&mut self) {
        let now = self.clock.now();
        let due: Vec<_> = self.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        due.into_iter().for_each(|id| self.step(id, Input::Tick));
    }

    /// How long clients are to have, when the daemon stops, to see that the members are gone that are there.
    pub fn drain(&self) -> Duration {
        let present = self.entries.values().filter(|entry| entry.service.is_present());
        present.map(|entry| entry.spec.drain).max().unwrap_or_default()
    }

    pub fn stop(&mut self) {
        let ids: Vec<_> = self.iter().map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| self.step(id, Input::Stopping));
    }

    /// Whether all members were withdrawn that were to be.
    pub fn are_gone(&self) -> bool {
        self.effects.is_empty() && self.entries.values().all(|entry| entry.service.is_gone())
    }

    pub fn next_effect(&mut self) -> Option<(ServiceId, Effect)> {
        self.effects.pop_front()
    }

    pub fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Notes that the ledger may have forgotten all services.
    pub fn forget_saved(&mut self) {
        self.unsaved.extend(self.entries.iter().filter(|(_, entry)| !entry.retired).map(|(id, _)| *id));
    }

    pub fn take_unsaved(&mut self) -> BTreeSet<ServiceId> {
        std::mem::take(&mut self.unsaved)
    }
}

fn definition(spec: &ServiceSpec) -> Definition {
    Definition { member: spec.member.clone(), check: spec.check.as_ref().map(|check| check.pace) }
}
