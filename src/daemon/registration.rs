//! What changes in a config file, done to the watches.

use std::collections::HashMap;
use std::sync::Arc;
use std::vec;

use super::configs::Changes;
use super::persist::Persist;
use super::stores::Stores;
use super::watches::Watches;
use crate::config::diff::WatchChange;
use crate::ledger::StoredWatch;
use crate::model::{Policy, Throttle, WatchKey, WatchSpec};
use crate::report::{NodeRef, Report, Reporter};

/// Registers and removes watches: with the core, with the store of each, and with the ledger.
pub struct Registration<'a> {
    pub log: &'a Reporter,
    pub watches: &'a mut Watches,
    pub persist: &'a mut Persist,
    pub stores: &'a mut Stores,
    pub is_dry_run: bool,
    /// Whether a former daemon may have registered what the file registers now.
    pub may_be_older: bool,
}

/// What a file changes and is not done yet. No other file may be loaded meanwhile.
pub struct Load {
    changes: vec::IntoIter<WatchChange>,
    /// What the ledger has of the file's watches.
    stored: HashMap<String, StoredWatch>,
    count: Changes,
}

impl Registration<'_> {
    /// Begins to take all watches that a file registers now.
    pub fn begin(&mut self, file: &str, wanted: Vec<WatchSpec>) -> Load {
        let changes = self.watches.diff(file, wanted);
        let adds = changes.iter().any(|change| matches!(change, WatchChange::Add(_)));
        let stored = if adds { self.persist.ledger_mut().load_watches(file) } else { Default::default() };
        Load { changes: changes.into_iter(), stored, count: Changes::default() }
    }

    /// Makes at most `limit` of the changes. Returns how many there were in all once there are no more.
    pub fn proceed(&mut self, load: &mut Load, limit: usize) -> Option<Changes> {
        let Load { changes, stored, count } = load;
        for change in changes.take(limit) {
            match change {
                WatchChange::Add(spec) => {
                    count.added += 1;
                    let stored = stored.remove(&*spec.id.description);
                    self.add(spec, stored.as_ref());
                }
                WatchChange::Change(spec) => {
                    count.changed += 1;
                    self.redefine(spec);
                }
                WatchChange::Identity(spec) => self.watches.replace_identity(spec),
                WatchChange::Remove(key) => {
                    count.removed += 1;
                    self.remove(&key);
                }
            }
        }
        changes.as_slice().is_empty().then_some(*count)
    }

    fn add(&mut self, spec: WatchSpec, stored: Option<&StoredWatch>) {
        self.log.report(&Report::WatchAdded { watch: &spec.id, node: NodeRef::of(&spec) });
        let (store, subject, hash) = (spec.store.clone(), spec.subject.clone(), spec.definition_hash());
        let store = &mut self.stores[&store];
        let snapshot =
            self.persist.recover(&spec, hash, stored, store, self.may_be_older, self.watches.now());
        if snapshot.stopped {
            self.log.report(&Report::StaysStopped { watch: &spec.id });
        }
        let now = self.watches.now();
        // Of a pause whose time is over, the end is reported.
        if let Some(pause) = snapshot.pause.as_ref().filter(|pause| !pause.is_over(now)) {
            self.log.report(&Report::StaysPaused { watch: &spec.id, pause });
        }
        let recalled = stored.filter(|stored| store.has_ledger_name(&stored.store));
        let recorded = recalled.filter(|stored| stored.definition == hash);
        let policy = policy(&spec, self.is_dry_run);
        let has_failed = snapshot.failures > 0;
        let id = self.watches.add(spec, hash, policy, snapshot, recorded.is_some());
        let why = recorded.filter(|_| has_failed).and_then(|stored| stored.last_error.clone());
        if let Some(entry) = self.watches.get_mut(id) {
            if let Some(why) = why {
                entry.fail(why);
            }
            if let Some(commit) = recorded.and_then(|stored| stored.applied_commit.clone()) {
                entry.recall_commit(commit);
            }
        }
        store.join(id, &subject, recalled.map(|stored| &*stored.store));
    }

    fn redefine(&mut self, spec: WatchSpec) {
        self.log.report(&Report::WatchChanged { watch: &spec.id, node: NodeRef::of(&spec) });
        let (store, subject, hash) = (spec.store.clone(), spec.subject.clone(), spec.definition_hash());
        let policy = policy(&spec, self.is_dry_run);
        let Some((id, old)) = self.watches.redefine(spec, hash, policy) else { return };
        if (&old.store, &old.subject) == (&store, &subject) {
            self.stores[&store].refresh(id, &subject);
        } else {
            self.stores[&old.store].leave(id, &old.subject);
            self.stores[&store].join(id, &subject, None);
        }
    }

    fn remove(&mut self, key: &WatchKey) {
        self.log.report(&Report::WatchRemoved { watch: key });
        self.persist.ledger_mut().retire(key);
        let Some(id) = self.watches.retire(key) else { return };
        if let Some(spec) = self.watches.get(id).and_then(|entry| entry.spec()) {
            self.stores[&spec.store].leave(id, &spec.subject);
        }
    }
}

/// Returns the policy that the core gets.
fn policy(spec: &WatchSpec, is_dry_run: bool) -> Arc<Policy> {
    if !is_dry_run {
        return spec.policy.clone();
    }
    // Throttles only delay runs, and nobody waits for that in a dry run.
    Arc::new(Policy { throttle: Throttle::default(), ..(*spec.policy).clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::completion::Until;
    use crate::daemon::fixtures::{Parts, key, spec, with_parts};
    use crate::model::StoreName;

    #[test]
    fn a_file_is_loaded_in_parts_and_counted_as_a_whole() {
        with_parts(Until::Stopped, async |parts| {
            let Parts { log, watches, persist, stores, .. } = parts;
            let (is_dry_run, may_be_older) = (false, true);
            let mut registration = Registration { log, watches, persist, stores, is_dry_run, may_be_older };
            let mut of = |names: &[&str]| {
                let mut load =
                    registration.begin("a.twc", names.iter().map(|name| spec(name, "/n")).collect());
                let mut parts = Vec::new();
                let changes = loop {
                    let changes = registration.proceed(&mut load, 2);
                    parts.push(registration.watches.registered());
                    if let Some(changes) = changes {
                        break changes;
                    }
                };
                (parts, changes)
            };
            let (parts, changes) = of(&["a", "b", "c", "d", "e"]);
            assert_eq!((parts, changes.added), (vec![2, 4, 5], 5));
            let (parts, changes) = of(&["e", "f"]);
            assert_eq!((parts, changes.removed, changes.added), (vec![3, 1, 2], 4, 1));
            assert_eq!(of(&["e", "f"]).0, [2]);
        });
    }

    #[test]
    fn a_watch_follows_its_node_and_goes_with_its_file() {
        with_parts(Until::Stopped, async |parts| {
            let followed = |parts: &Parts| {
                let store = &parts.stores[&StoreName::default()];
                let mut nodes: Vec<_> =
                    store.subjects.keys().map(|subject| subject.path.to_string()).collect();
                nodes.sort();
                nodes
            };
            parts.load(vec![spec("a", "/1"), spec("b", "/1")]);
            assert_eq!(followed(parts), ["/1"]);
            parts.load(vec![spec("a", "/2"), spec("b", "/1")]);
            assert_eq!(followed(parts), ["/1", "/2"]);
            parts.load(vec![spec("a", "/2")]);
            parts.performer().perform_all();
            assert_eq!((followed(parts), parts.watches.contains(&key("b"))), (vec!["/2".to_owned()], false));
            parts.load(Vec::new());
            parts.performer().perform_all();
            assert_eq!((followed(parts), parts.watches.registered()), (Vec::new(), 0));
        });
    }
}
