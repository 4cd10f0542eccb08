//! The watches: which there are, what the core has said about each, and when each wants to be woken.
//!
//! [`Watches`] is the only part that asks the core. It performs no effect: effects wait in a queue, in the
//! order in which the core asked for them, until [`super::effects`] takes them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::clock::Clock;
use crate::config::diff::{WatchChange, diff};
use crate::control::{RequestError, name};
use crate::model::{Identity, Index, Policy, RunAs, Shrink, WatchKey, WatchSpec};
use crate::watch::{Effect, Generator, Input, RunId, Snapshot, Time, Watch};
use budget::Budget;
pub use circling::CircleNews;
use circling::Circling;
use entry::EntryKind;
pub use entry::{Entry, LastRun, WatchId};

mod applied;
mod budget;
mod circling;
mod entry;
#[cfg(test)]
mod tests;

/// How many watches get their tick at once, in some 0.2 ms. Ten thousand may have the same `debounce`.
const MAX_TICKS: usize = 100;

pub struct Watches {
    clock: Clock,
    generator: Generator,
    /// Boxed, because the map keeps room for up to twice as many entries as it has.
    entries: BTreeMap<WatchId, Box<Entry>>,
    /// The watches by their file and their description.
    by_file: HashMap<Arc<str>, Index<WatchId>>,
    /// How many watches the files register. Counted as they change, so that nobody has to look at all of
    /// them.
    registered: usize,
    /// The registered watches whose last run failed.
    failing: BTreeSet<WatchId>,
    last_id: u64,
    timers: BTreeSet<(Time, WatchId)>,
    /// The watches whose record in the ledger is out of date.
    unsaved: BTreeSet<WatchId>,
    /// What the core asked for and nobody has performed yet, oldest first.
    effects: VecDeque<(WatchId, Effect)>,
    budget: Budget,
    circling: Circling,
}

impl Watches {
    /// `seed` starts the random numbers of the core. `max_waiting_bytes` is how many bytes may wait.
    pub fn new(clock: Clock, seed: u64, max_waiting_bytes: Option<u64>) -> Self {
        Self {
            clock,
            generator: Generator::new(seed),
            entries: BTreeMap::new(),
            by_file: HashMap::new(),
            registered: 0,
            failing: BTreeSet::new(),
            last_id: 0,
            timers: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            effects: VecDeque::new(),
            budget: Budget::new(max_waiting_bytes),
            circling: Circling::default(),
        }
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    pub fn get(&self, id: WatchId) -> Option<&Entry> {
        self.entries.get(&id).map(|entry| &**entry)
    }

    pub fn get_mut(&mut self, id: WatchId) -> Option<&mut Entry> {
        self.entries.get_mut(&id).map(|entry| &mut **entry)
    }

    pub fn iter(&self) -> impl Iterator<Item = (WatchId, &Entry)> {
        self.after(None)
    }

    /// The watches with a greater id than `id`, in the order of their ids.
    pub fn after(&self, id: Option<WatchId>) -> impl Iterator<Item = (WatchId, &Entry)> {
        let start = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((start, Bound::Unbounded)).map(|(id, entry)| (*id, &**entry))
    }

    pub fn contains(&self, key: &WatchKey) -> bool {
        self.id(key).is_some()
    }

    fn id(&self, key: &WatchKey) -> Option<WatchId> {
        self.by_file.get(&key.file)?.get(&*key.description, |id| &*self.entries[&id].key().description)
    }

    /// The definitions that a file registers.
    fn registered_by(&self, file: &str) -> impl Iterator<Item = &WatchSpec> {
        let ids = self.by_file.get(file).into_iter().flat_map(Index::iter);
        ids.filter_map(|id| self.entries[&id].loaded())
    }

    /// The watch that an operator means by `named`.
    pub fn find(&self, named: &str) -> Result<(WatchId, &Entry), RequestError> {
        let key = name::find(named, self.entries.values().map(|entry| entry.key()))?;
        let id = self.id(key).unwrap_or_else(|| unreachable!("no watch {key}"));
        Ok((id, &self.entries[&id]))
    }

    /// How many watches the files register.
    pub fn registered(&self) -> usize {
        self.registered
    }

    /// Whether this file registers any.
    pub fn has_any_of(&self, file: &str) -> bool {
        self.registered_by(file).next().is_some()
    }

    /// Returns the definitions of those of the file's watches that have one of these descriptions.
    pub fn described(&self, file: &str, descriptions: &[String]) -> Vec<WatchSpec> {
        let descriptions: BTreeSet<&str> = descriptions.iter().map(String::as_str).collect();
        let specs = self.registered_by(file);
        specs.filter(|spec| descriptions.contains(&*spec.id.description)).cloned().collect()
    }

    /// Whether a file below this directory registers any. The path ends with a slash, and `./` is the config
    /// directory.
    pub fn has_any_below(&self, directory: &str) -> bool {
        let prefix = directory.strip_prefix("./").unwrap_or(directory);
        self.by_file.keys().any(|file| file.starts_with(prefix) && self.has_any_of(file))
    }

    /// How many of them failed last.
    pub fn failing(&self) -> usize {
        self.failing.len()
    }

    /// What waits, in bytes.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    // What happens to them.

    /// Tells a watch what happened. What it wants done about it comes out of [`Self::next_effect`].
    pub fn step(&mut self, id: WatchId, input: Input) {
        self.step_one(id, input);
        while let Some(most) = self.budget.must_shed() {
            self.step_one(most, Input::MustShed);
        }
    }

    fn step_one(&mut self, id: WatchId, input: Input) {
        let now = self.clock.now();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let (before, updates) = (entry.watch.snapshot(), entry.watch.accepted_updates());
        let waiting = entry.watch.waiting_changes();
        if let Input::Ended { .. } = input {
            self.circling.ended(id, now);
        }
        let effects = entry.watch.step(now, input, &mut self.generator);
        if entry.watch.snapshot() != before {
            self.unsaved.insert(id);
        }
        if entry.watch.waiting_changes() != waiting {
            self.budget.note(id, &entry.watch);
        }
        self.circling.note(id, &entry.watch, updates, &effects, now);
        for effect in effects {
            if effect != Effect::WantsStart || !self.circling.holds_back(id, now) {
                self.effects.push_back((id, effect));
            }
        }
        self.let_rested_go();
        self.keep_count(id);
    }

    /// Passes on the wishes to start that were held back.
    fn let_rested_go(&mut self) {
        while let Some(id) = self.circling.next_rested() {
            self.effects.push_back((id, Effect::WantsStart));
        }
    }

    /// Gives watches whose time has come their tick. [`Self::due`] says so if there are more of them.
    pub fn tick(&mut self) {
        let now = self.clock.now();
        let due = self.timers.iter().take_while(|(at, _)| *at <= now).take(MAX_TICKS);
        let due: Vec<_> = due.map(|(_, id)| *id).collect();
        for watch in due {
            self.step(watch, Input::Tick);
        }
        self.circling.rest(now);
        self.let_rested_go();
    }

    /// When [`Self::tick`] is due.
    pub fn due(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let due = timer.into_iter().chain(self.circling.due()).min();
        due.map(|at| self.clock.instant(at))
    }

    /// Tells every watch that the daemon stops.
    pub fn stop(&mut self, grace: Duration) {
        for watch in self.entries.keys().copied().collect::<Vec<_>>() {
            self.step(watch, Input::Stopping { grace });
        }
    }

    /// The next circle of watches that was found, or that is over.
    pub fn next_circle(&mut self) -> Option<CircleNews> {
        let entries = &self.entries;
        self.circling.next(|id| entries.get(&id).map(|entry| &**entry))
    }

    /// The oldest effect that is still to be performed.
    pub fn next_effect(&mut self) -> Option<(WatchId, Effect)> {
        let next = self.effects.pop_front();
        self.effects.shrink_if_sparse();
        next
    }

    // Which there are.

    /// What it changes that a file registers these watches now. The caller makes each of the changes.
    pub fn diff(&self, file: &str, wanted: Vec<WatchSpec>) -> Vec<WatchChange> {
        diff(self.registered_by(file), wanted)
    }

    /// Registers a watch. `snapshot` is what is known of it from before. `is_recorded` is true if the ledger
    /// has it with this very definition, whose hash is `hash`.
    pub fn add(
        &mut self,
        spec: WatchSpec,
        hash: u64,
        policy: Arc<Policy>,
        snapshot: Snapshot,
        is_recorded: bool,
    ) -> WatchId {
        self.registered += 1;
        let known = self.id(&spec.id).and_then(|id| Some((id, self.entries.get_mut(&id)?)));
        let id = match known {
            // It was removed, or its daemon died, while an action of it still runs: its first run waits for
            // that one.
            Some((id, entry)) => {
                let was = entry.redefine(spec, hash);
                let same_definition = is_recorded && matches!(was, EntryKind::LedgerOnly(_));
                self.step(id, Input::Loaded { policy, snapshot, same_definition });
                id
            }
            None => self.enter(Entry::new(EntryKind::Loaded(spec), hash, Watch::new(policy, snapshot))),
        };
        if !is_recorded {
            self.unsaved.insert(id);
        }
        id
    }

    /// Gives a registered watch another definition. Returns its id and the old definition.
    pub fn redefine(
        &mut self,
        spec: WatchSpec,
        hash: u64,
        policy: Arc<Policy>,
    ) -> Option<(WatchId, WatchSpec)> {
        let id = self.id(&spec.id)?;
        let (store, subject) = (spec.store.clone(), spec.subject.clone());
        let EntryKind::Loaded(old) = self.entries.get_mut(&id)?.redefine(spec, hash) else { return None };
        let same_subject = (&old.store, &old.subject) == (&store, &subject);
        self.step(id, Input::Redefined { policy, same_subject });
        self.unsaved.insert(id);
        Some((id, old))
    }

    /// Notes who the user of a watch's action is now. That is no change of its definition, so nothing runs;
    /// the ledger is told, so that the next daemon sees none either.
    pub fn set_identity(&mut self, id: WatchId, identity: &Arc<Identity>) {
        if self.entries.get_mut(&id).is_some_and(|entry| entry.set_identity(identity)) {
            self.unsaved.insert(id);
        }
    }

    /// Notes who these watches' user is now: see [`Self::set_identity`].
    pub fn set_identity_of_all(&mut self, run_as: &RunAs, identity: &Arc<Identity>) {
        for (id, entry) in &mut self.entries {
            if entry.spec().is_some_and(|spec| *spec.run_as == *run_as) && entry.set_identity(identity) {
                self.unsaved.insert(*id);
            }
        }
    }

    /// Takes a definition that differs only in who its user is.
    pub fn replace_identity(&mut self, spec: WatchSpec) {
        let id = self.id(&spec.id);
        let Some((id, entry)) = id.and_then(|id| Some((id, self.entries.get_mut(&id)?))) else { return };
        if let EntryKind::Loaded(old) = &mut entry.kind {
            old.run_as = spec.run_as;
        }
        self.set_identity(id, &spec.identity);
    }

    /// Forgets what a watch knows of its node: versions of another store, which mean nothing in this one.
    pub fn forget_versions(&mut self, id: WatchId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.forget_runs();
        let policy = entry.watch.policy().clone();
        self.step(id, Input::Redefined { policy, same_subject: false });
        self.unsaved.insert(id);
    }

    /// Takes a watch that its file registers no more. It goes when nothing of it runs any more.
    pub fn retire(&mut self, key: &WatchKey) -> Option<WatchId> {
        let id = self.id(key)?;
        self.entries.get_mut(&id)?.retired = true;
        self.registered -= 1;
        self.step(id, Input::Retired);
        Some(id)
    }

    /// Takes over a run of a former daemon, whose timeout comes `timeout_in`.
    pub fn adopt(&mut self, key: &WatchKey, timeout_in: Option<Duration>) -> Option<(WatchId, RunId)> {
        let id = match self.id(key) {
            Some(id) => id,
            None => self.enter(Entry::new(EntryKind::LedgerOnly(key.clone()), 0, Watch::unloaded())),
        };
        let until = timeout_in.map(|left| self.clock.now() + left);
        let run = self.entries.get_mut(&id)?.watch.adopt(until, &mut self.generator);
        self.keep_count(id);
        Some((id, run))
    }

    /// Drops a watch that the core is done with ([`Effect::Forget`]).
    pub fn forget(&mut self, id: WatchId) {
        if let Some(entry) = self.entries.remove(&id) {
            let WatchKey { file, description } = entry.key();
            if let Some(others) = self.by_file.get_mut(file) {
                others.remove(id, &**description, |id| &*self.entries[&id].key().description);
                if others.is_empty() {
                    self.by_file.remove(file);
                }
            }
            self.budget.forget(id);
            self.circling.forget(id, self.clock.now());
        }
    }

    fn enter(&mut self, entry: Entry) -> WatchId {
        self.last_id += 1;
        let id = WatchId(self.last_id);
        let file = entry.key().file.clone();
        self.entries.insert(id, Box::new(entry));
        let Self { by_file, entries, .. } = self;
        by_file.entry(file).or_default().insert(id, |id| &*entries[&id].key().description);
        self.keep_count(id);
        id
    }

    /// Brings the timers and the failing watches up to date.
    fn keep_count(&mut self, id: WatchId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match !entry.retired && entry.watch.snapshot().is_failing() {
            true => self.failing.insert(id),
            false => self.failing.remove(&id),
        };
        let due = entry.watch.deadline();
        if let Some(old) = std::mem::replace(&mut entry.timer, due) {
            self.timers.remove(&(old, id));
        }
        self.timers.extend(due.map(|due| (due, id)));
    }

    // What the ledger does not know yet.

    /// Notes that the last failed run is tried again `after` this time.
    pub fn set_next_try(&mut self, id: WatchId, after: Duration) {
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.set_next_try(SystemTime::now() + after)
        {
            self.unsaved.insert(id);
        }
    }

    pub fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// At most so many of the watches whose record is out of date. The caller saves them.
    pub fn take_unsaved(&mut self, limit: usize) -> Vec<WatchId> {
        let some: Vec<_> = self.unsaved.iter().take(limit).copied().collect();
        for id in &some {
            self.unsaved.remove(id);
        }
        some
    }
}
