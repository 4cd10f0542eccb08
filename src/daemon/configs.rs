//! What changes in the configs, done to the watches.

use std::collections::HashMap;

use super::{Daemon, Definition, Entry, Subscribers, WatchId};
use crate::config::diff::{WatchChange, diff};
use crate::config::files::FileChange;
use crate::config::spec::{WatchKey, WatchSpec};
use crate::ledger::Recalled;
use crate::report::Report;
use crate::store::{Facet, Subject};
use crate::watch::{Input, Policy, Watch};

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
                self.start.read(&file);
                self.log.report(&Report::ConfigLoaded { file: &file, added, changed, removed });
            }
            FileChange::Failed { file, error } => {
                self.log.report(&Report::ConfigFailed { error: &error });
                self.start.unread(&file);
            }
            FileChange::Removed { file } => {
                let Changes { removed, .. } = self.load(&file, Vec::new());
                self.by_file.remove(&file);
                self.log.report(&Report::ConfigRemoved { file: &file, watches: removed });
            }
            FileChange::Trouble(what) => {
                self.log.report(&Report::Trouble { what: &what });
                self.start.unread_directory();
            }
            FileChange::FirstScanDone => {
                self.log.report(&Report::Ready { watches: self.by_key.len() });
                let (by_key, start) = (&self.by_key, &self.start);
                self.ledger.tidy(|watch| by_key.contains_key(watch) || start.may_still_bring(&watch.file));
                self.start.scanned();
            }
        }
    }

    fn load(&mut self, file: &str, watches: Vec<WatchSpec>) -> Changes {
        let keys = watches.iter().map(|spec| spec.id.clone()).collect();
        let before = self.by_file.insert(file.to_owned(), keys).unwrap_or_default();
        let current = before.iter().filter_map(|key| self.entries[&self.by_key[key]].spec());
        let changes = diff(current, watches);
        let mut recalled = match changes.iter().any(|change| matches!(change, WatchChange::Add(_))) {
            true => self.ledger.recall(file),
            false => HashMap::new(),
        };
        let mut count = Changes::default();
        for change in changes {
            match change {
                WatchChange::Add(spec) => {
                    count.added += 1;
                    let recalled = recalled.remove(&*spec.id.description);
                    self.add(spec, recalled.as_ref());
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
        count
    }

    fn add(&mut self, spec: WatchSpec, recalled: Option<&Recalled>) {
        self.log.report(&Report::WatchAdded { watch: &spec.id, subject: &spec.subject });
        let (policy, subject) = (policy(&spec), spec.subject.clone());
        let hash = spec.definition_hash();
        let standing = self.standing(&spec, hash, recalled);
        if standing.stopped {
            self.log.report(&Report::StaysStopped { watch: &spec.id });
        }
        let id = match self.by_key.get(&spec.id) {
            // It was removed, or its daemon died, and an action of it still runs: its first run waits for that one.
            Some(id) => {
                let id = *id;
                let Some(entry) = self.entries.get_mut(&id) else { return };
                let former = matches!(entry.definition, Definition::Former { .. });
                let same_definition = former && recalled.is_some_and(|recalled| recalled.definition == hash);
                (entry.definition, entry.hash) = (Definition::Loaded(spec), hash);
                entry.retired = false;
                self.step(id, Input::Loaded { policy, standing, same_definition });
                id
            }
            None => {
                self.next_watch += 1;
                let id = WatchId(self.next_watch);
                self.by_key.insert(spec.id.clone(), id);
                let watch = Watch::new(policy, standing);
                self.entries.insert(id, Box::new(Entry::new(Definition::Loaded(spec), watch)));
                id
            }
        };
        if recalled.is_none_or(|recalled| recalled.definition != hash) {
            self.remember(id);
        }
        self.join(id, subject);
    }

    fn redefine(&mut self, spec: WatchSpec) {
        let id = self.by_key[&spec.id];
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let (policy, subject) = (policy(&spec), spec.subject.clone());
        self.log.report(&Report::WatchChanged { watch: &spec.id, subject: &subject });
        let old = entry.subject().clone();
        (entry.hash, entry.trouble) = (spec.definition_hash(), None);
        entry.definition = Definition::Loaded(spec);
        let same_subject = old == subject;
        self.step(id, Input::Redefined { policy, same_subject });
        self.remember(id);
        if same_subject {
            self.subscriptions.refresh(&subject);
        } else {
            self.leave(id, &old);
            self.join(id, subject);
        }
    }

    fn remove(&mut self, key: &WatchKey) {
        self.log.report(&Report::WatchRemoved { watch: key });
        let id = self.by_key[key];
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.retired = true;
        let subject = entry.subject().clone();
        self.ledger.retire(key);
        self.leave(id, &subject);
        self.step(id, Input::Retired);
    }

    /// Subscribes a watch, which gets an observation even where others know the subject already.
    fn join(&mut self, id: WatchId, subject: Subject) {
        match self.subjects.get_mut(&subject) {
            Some(subscribers) => {
                subscribers.watches.push(id);
                self.subscriptions.refresh(&subject);
            }
            None => {
                self.subscriptions.subscribe(subject.clone());
                self.subjects.insert(subject, Subscribers { watches: vec![id], unreadable: false });
            }
        }
    }

    fn leave(&mut self, id: WatchId, subject: &Subject) {
        let Some(subscribers) = self.subjects.get_mut(subject) else { return };
        subscribers.watches.retain(|watch| *watch != id);
        if subscribers.watches.is_empty() {
            self.subjects.remove(subject);
            self.subscriptions.unsubscribe(subject);
        }
    }
}

fn policy(spec: &WatchSpec) -> Policy {
    Policy {
        run_mode: spec.run_mode,
        run_on_load: spec.run_on_load,
        notify_signal: spec.notify_signal,
        timeout: spec.timeout,
        max_parallel: spec.max_parallel as usize,
        retry: spec.retry,
        on_failure: spec.on_failure,
        throttle: spec.throttle,
        on_children: spec.subject.facet == Facet::Children,
    }
}
