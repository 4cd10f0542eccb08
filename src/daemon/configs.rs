//! What changes in the configs, done to the watches.

use std::collections::{HashMap, HashSet};

use super::{Daemon, Entry, EntryKind, WatchId};
use crate::config::diff::{WatchChange, diff};
use crate::config::files::FileChange;
use crate::ledger::StoredWatch;
use crate::model::{Policy, StoreName, Subject, Throttle, WatchKey, WatchSpec};
use crate::report::{NodeRef, Report};
use crate::watch::{Input, Snapshot, Watch};

/// Which files were there at the start: a former daemon may have loaded them as well.
#[derive(Default)]
pub(super) struct FirstScan {
    is_done: bool,
    /// Of those, the ones that could not be loaded yet.
    failed: HashSet<String>,
    /// A directory was closed to us, and so nobody knows what is in it.
    directory_failed: bool,
}

impl FirstScan {
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    fn failed(&mut self, file: &str) {
        if !self.is_done {
            self.failed.insert(file.to_owned());
        }
    }

    fn directory_failed(&mut self) {
        self.directory_failed |= !self.is_done;
    }

    fn loaded(&mut self, file: &str) {
        self.failed.remove(file);
    }

    /// Whether the file belongs to the scan and was not loaded by its end.
    fn is_missing_in_scan(&self, file: &str) -> bool {
        self.directory_failed || self.failed.contains(file)
    }

    /// Whether what the file registers next may have been registered before the start.
    pub(super) fn may_be_older(&self, file: &str) -> bool {
        !self.is_done || self.is_missing_in_scan(file)
    }
}

#[derive(Default)]
struct Changes {
    added: usize,
    changed: usize,
    removed: usize,
}

impl Daemon {
    pub(super) fn file_change(&mut self, change: FileChange) {
        match change {
            FileChange::Loaded { file, watches, warnings } => {
                for warning in &warnings {
                    self.log.report(&Report::ConfigWarning { warning });
                }
                let Changes { added, changed, removed } = self.load(&file, watches);
                self.scan.loaded(&file);
                self.failing_files.remove(&file);
                self.log.report(&Report::ConfigLoaded { file: &file, added, changed, removed });
            }
            FileChange::Failed { file, error } => {
                self.log.report(&Report::ConfigFailed { error: &error });
                self.scan.failed(&file);
                self.failing_files.insert(file, error);
            }
            FileChange::Removed { file } => {
                let Changes { removed, .. } = self.load(&file, Vec::new());
                self.by_file.remove(&file);
                self.failing_files.remove(&file);
                self.log.report(&Report::ConfigRemoved { file: &file, watches: removed });
            }
            FileChange::Inaccessible { path, error } => {
                self.log.report(&Report::ConfigFailed { error: &error });
                self.scan.directory_failed();
                self.failing_files.insert(path, error);
            }
            FileChange::Accessible { path } => {
                self.failing_files.remove(&path);
            }
            FileChange::Warning(warning) => self.log.report(&Report::ConfigWarning { warning: &warning }),
            FileChange::Degraded(what) => self.log.report(&Report::Problem { what: &what }),
            FileChange::FirstScanDone => {
                self.log.report(&Report::Ready { watches: self.watches });
                let (by_key, scan) = (&self.by_key, &self.scan);
                self.ledger.prune_watches(|watch| {
                    by_key.contains_key(watch) || scan.is_missing_in_scan(&watch.file)
                });
                self.scan.is_done = true;
                self.systemd.set_store_count(self.stores.in_use().count());
                self.systemd.first_scan_done();
            }
            FileChange::Rescanned { requests } => {
                self.systemd.rescanned(requests);
                self.reloaded(requests);
            }
        }
    }

    fn load(&mut self, file: &str, watches: Vec<WatchSpec>) -> Changes {
        let keys = watches.iter().map(|spec| spec.id.clone()).collect();
        let before = self.by_file.insert(file.to_owned(), keys).unwrap_or_default();
        let current = before.iter().filter_map(|key| self.entries[&self.by_key[key]].spec());
        let changes = diff(current, watches);
        let mut stored = match changes.iter().any(|change| matches!(change, WatchChange::Add(_))) {
            true => self.ledger.load_watches(file),
            false => HashMap::new(),
        };
        let mut count = Changes::default();
        for change in changes {
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
                WatchChange::Remove(key) => {
                    count.removed += 1;
                    self.remove(&key);
                }
            }
        }
        self.watches = self.watches + count.added - count.removed;
        count
    }

    fn add(&mut self, spec: WatchSpec, stored: Option<&StoredWatch>) {
        self.log.report(&Report::WatchAdded { watch: &spec.id, node: NodeRef::of(&spec) });
        let ((store, subject), hash) = (store_and_subject(&spec), spec.definition_hash());
        let snapshot = self.snapshot(&spec, hash, stored);
        if snapshot.stopped {
            self.log.report(&Report::StaysStopped { watch: &spec.id });
        }
        let same_store = |stored: &&StoredWatch| *stored.store == *self.stores[&store].identity;
        let stored = stored.filter(same_store);
        let is_recorded = stored.is_some_and(|stored| stored.definition == hash);
        if snapshot.paused {
            self.log.report(&Report::StaysPaused { watch: &spec.id });
        }
        let id = match self.by_key.get(&spec.id).copied() {
            Some(id) => {
                self.revive(id, spec, hash, snapshot, is_recorded);
                id
            }
            None => {
                let watch = Watch::new(self.policy(&spec), snapshot);
                self.enter(Entry::new(EntryKind::Loaded(spec), watch))
            }
        };
        if !is_recorded {
            self.unsaved_watches.insert(id);
        }
        let why =
            stored.filter(|_| is_recorded && snapshot.failures > 0).and_then(|it| it.last_error.clone());
        if let (Some(why), Some(entry)) = (why, self.entries.get_mut(&id)) {
            entry.fail(why);
        }
        self.stores[&store].join(id, &subject);
    }

    /// Loads a watch that was removed, or whose daemon died, while an action of it still runs: its first run waits
    /// for that one.
    fn revive(&mut self, id: WatchId, spec: WatchSpec, hash: u64, snapshot: Snapshot, is_recorded: bool) {
        let policy = self.policy(&spec);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let same_definition = is_recorded && matches!(entry.kind, EntryKind::LedgerOnly(_));
        (entry.kind, entry.hash) = (EntryKind::Loaded(spec), hash);
        (entry.retired, entry.failure, entry.applied) = (false, None, None);
        self.step(id, Input::Loaded { policy, snapshot, same_definition });
    }

    fn redefine(&mut self, spec: WatchSpec) {
        let (id, policy) = (self.by_key[&spec.id], self.policy(&spec));
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(old) = entry.spec().map(store_and_subject) else { return };
        let new = store_and_subject(&spec);
        self.log.report(&Report::WatchChanged { watch: &spec.id, node: NodeRef::of(&spec) });
        (entry.hash, entry.failure, entry.applied) = (spec.definition_hash(), None, None);
        entry.kind = EntryKind::Loaded(spec);
        let same_subject = old == new;
        self.step(id, Input::Redefined { policy, same_subject });
        self.unsaved_watches.insert(id);
        let ((old_store, old), (store, subject)) = (old, new);
        if same_subject {
            self.stores[&store].subscriptions().refresh(&subject);
        } else {
            self.stores[&old_store].leave(id, &old);
            self.stores[&store].join(id, &subject);
        }
    }

    fn remove(&mut self, key: &WatchKey) {
        self.log.report(&Report::WatchRemoved { watch: key });
        let id = self.by_key[key];
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some((store, subject)) = entry.spec().map(store_and_subject) else { return };
        entry.retired = true;
        self.ledger.retire(key);
        self.stores[&store].leave(id, &subject);
        self.step(id, Input::Retired);
    }

    fn policy(&self, spec: &WatchSpec) -> Policy {
        // Throttles only delay runs, and nobody waits for that in a dry run.
        let throttle = if self.is_dry_run() { Throttle::default() } else { spec.policy.throttle };
        Policy { throttle, ..spec.policy.clone() }
    }
}

/// Where a watch's node is.
fn store_and_subject(spec: &WatchSpec) -> (StoreName, Subject) {
    (spec.store.clone(), spec.subject.clone())
}
