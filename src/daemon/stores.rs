//! The daemon's stores: the channel to each, which watches follow what in it, and how its connection is.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::ops::{Index, IndexMut};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::subscribers::Subscribers;
use super::untold::Untold;
use super::watches::WatchId;
use crate::cache::{Cache, StoreCache};
use crate::control::status::StoreStatus;
use crate::model::{Shrink, StoreName, StoreNames, Subject};
use crate::store::{
    Capabilities, HalfOptions, HalfStarted, StoreChannel, StoreEvent, StoreSettings, open_half,
};
use crate::text::Timestamp;

/// All stores that the settings name. Each has a channel of its own, so that a slow store with many nodes
/// does not delay the events of the others.
#[derive(Default)]
pub struct Stores {
    table: Vec<StoreHandle>,
    /// The place in the table of the store whose events come next.
    turn: usize,
    /// The reports that some watches are still to be told.
    pub(super) untold: Untold,
    /// The number of changes that no watch of a store had announced.
    missed_changes: u64,
}

pub struct StoreHandle {
    name: StoreName,
    settings: StoreSettings,
    /// How its process is started, if it has one.
    options: Option<Rc<HalfOptions>>,
    /// Its process, while there is one.
    half: Option<HalfStarted>,
    /// How many such processes there were so far.
    halves: u64,
    /// What a process of a former daemon has the first one told.
    memory: Option<String>,
    /// What the ledger knows the store by: its name and its identity. `None` while only the store can tell
    /// its identity, and has not connected yet.
    ledger_name: Option<Arc<str>>,
    /// What the ledger knew the store of each watch by, as long as this is unknown. It is believed meanwhile.
    recalled: HashMap<WatchId, Arc<str>>,
    /// `None` until the first watch uses the store.
    opened: Option<StoreChannel>,
    pub(super) cache: StoreCache,
    pub(super) subjects: HashMap<Subject, Subscribers>,
    disconnected_since: Option<Instant>,
    /// Whether the root, below which all nodes lie, was reported missing.
    lacks_root: bool,
    /// Whether only a process that has ended reported that. The next one may have no reason to say that the
    /// root is there.
    lacked_root: bool,
    connection: Option<ConnectionStatus>,
}

/// What the store reported last of its connection.
struct ConnectionStatus {
    is_connected: bool,
    since: SystemTime,
    detail: String,
}

impl Stores {
    /// Opens the default store at once, and each of the others (`named`) when the first watch names it. Must
    /// be called within a `LocalSet` on a current-thread runtime.
    ///
    /// With `options` each store runs in a process of its own, and otherwise in this one. `memory_of` returns
    /// what a process of a former daemon has the first one told, of the store that the ledger knows so.
    pub fn open(
        default: StoreSettings,
        named: BTreeMap<StoreName, StoreSettings>,
        options: Option<HalfOptions>,
        cache: Option<&Cache>,
        mut memory_of: impl FnMut(&str) -> Option<String>,
    ) -> Self {
        let options = options.map(Rc::new);
        let mut open = |(name, settings): (StoreName, StoreSettings)| {
            let cache = cache.map(|cache| cache.of_store(&settings.to_string())).unwrap_or_default();
            let handle = StoreHandle::new(name, settings, options.clone());
            let memory = handle.known_name().and_then(&mut memory_of);
            StoreHandle { cache, memory, ..handle }
        };
        let mut default = open((StoreName::default(), default));
        default.channel();
        let named = named.into_iter().map(open);
        Self { table: [default].into_iter().chain(named).collect(), ..Self::default() }
    }

    pub(super) fn all(&self) -> &[StoreHandle] {
        &self.table
    }

    /// The cache as the first store knows it, for what concerns the whole.
    pub(super) fn cache(&self) -> Option<&StoreCache> {
        self.table.first().map(|store| &store.cache)
    }

    pub fn names(&self) -> StoreNames {
        self.table.iter().map(|store| store.name.clone()).collect()
    }

    /// Returns the name for reports, or `None` if there is only one store.
    pub(super) fn display_name<'a>(&self, name: &'a StoreName) -> Option<&'a StoreName> {
        (self.table.len() > 1).then_some(name)
    }

    /// Iterates over the stores that are in use.
    pub(super) fn in_use(&self) -> impl Iterator<Item = (&StoreName, &StoreHandle)> {
        self.table.iter().filter(|store| store.opened.is_some()).map(|store| (&store.name, store))
    }

    pub(super) fn status(&self) -> Vec<StoreStatus> {
        self.in_use().map(|(_, store)| store.status()).collect()
    }

    /// Waits for the next event. The stores take turns, so that none waits for the others. Can be dropped at
    /// any time.
    pub(super) async fn next(&mut self) -> (StoreName, StoreEvent) {
        poll_fn(|context| {
            let heard = self.round_robin(|store| match store.poll_next(context) {
                Poll::Ready(event) => event,
                Poll::Pending => None,
            });
            heard.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Returns the next event, if there is one already.
    pub(super) fn try_next(&mut self) -> Option<(StoreName, StoreEvent)> {
        self.round_robin(StoreChannel::try_next)
    }

    fn round_robin(
        &mut self,
        mut receive: impl FnMut(&mut StoreChannel) -> Option<StoreEvent>,
    ) -> Option<(StoreName, StoreEvent)> {
        let count = self.table.len();
        for index in (self.turn..self.turn + count).map(|turn| turn % count) {
            let StoreHandle { name, opened, .. } = &mut self.table[index];
            if let Some(event) = opened.as_mut().and_then(&mut receive) {
                self.turn = index + 1;
                return Some((name.clone(), event));
            }
        }
        None
    }

    pub(super) fn by_ledger_name(&self, name: &str) -> Option<&StoreName> {
        self.table.iter().find(|store| store.has_ledger_name(name)).map(|store| &store.name)
    }

    /// Counts a change that no watch of a store had announced. Returns how many there were.
    pub(super) fn count_missed_change(&mut self) -> u64 {
        self.missed_changes += 1;
        self.missed_changes
    }

    /// Returns why a followed subject cannot be read, if it cannot.
    pub(super) fn unreadable(&self, store: &StoreName, subject: &Subject) -> Option<&str> {
        self[store].subjects.get(subject)?.unreadable.as_deref()
    }

    fn position(&self, name: &StoreName) -> usize {
        let position = self.table.iter().position(|store| store.name == *name);
        position.unwrap_or_else(|| unreachable!("no store {name}"))
    }

    /// Closes all stores at the same time; see [`StoreChannel::close`].
    pub(super) async fn close(self) {
        let opened = self.table.into_iter().filter_map(|store| store.opened);
        join_all(opened.map(StoreChannel::close)).await;
    }
}

/// The name must be one that a watch has: the loader refuses watches of unknown stores.
impl Index<&StoreName> for Stores {
    type Output = StoreHandle;

    fn index(&self, name: &StoreName) -> &StoreHandle {
        &self.table[self.position(name)]
    }
}

impl IndexMut<&StoreName> for Stores {
    fn index_mut(&mut self, name: &StoreName) -> &mut StoreHandle {
        let position = self.position(name);
        &mut self.table[position]
    }
}

impl StoreHandle {
    fn new(name: StoreName, settings: StoreSettings, options: Option<Rc<HalfOptions>>) -> Self {
        let ledger_name = settings.identity().map(|identity| ledger_name(&name, &identity));
        Self {
            name,
            settings,
            options,
            half: None,
            halves: 0,
            memory: None,
            ledger_name,
            recalled: HashMap::new(),
            opened: None,
            cache: StoreCache::default(),
            subjects: HashMap::new(),
            disconnected_since: None,
            lacks_root: false,
            lacked_root: false,
            connection: None,
        }
    }

    /// Returns the channel, which the first call opens.
    pub(super) fn channel(&mut self) -> &StoreChannel {
        self.opened.get_or_insert_with(|| match &self.options {
            Some(options) => open_half(self.settings.clone(), (**options).clone(), self.memory.take()),
            None => self.settings.open(),
        })
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        self.settings.capabilities()
    }

    /// Adds a watch to those of `subject`. It gets an observation even if other watches have one already.
    /// `recalled` is what the ledger knew its store by, if what the ledger has of it is believed.
    pub(super) fn join(&mut self, watch: WatchId, subject: &Subject, recalled: Option<&str>) {
        if let (None, Some(recalled)) = (&self.ledger_name, recalled) {
            self.recalled.insert(watch, recalled.into());
        }
        if let Some(subscribers) = self.subjects.get_mut(subject) {
            subscribers.join(watch);
            return self.ask(subject);
        }
        self.cache.joined(subject);
        self.channel().follow(subject.clone());
        self.subjects.insert(subject.clone(), Subscribers::new(watch));
    }

    /// Has the state of `subject` told to a watch of it once more. One report serves all watches that ask
    /// before it arrives: of a node with ten thousand watches, each loaded by the same file, the store reads
    /// one state for all.
    pub(super) fn refresh(&mut self, watch: WatchId, subject: &Subject) {
        let Some(subscribers) = self.subjects.get_mut(subject) else { return };
        let Some(subscriber) = subscribers.find(watch) else { return };
        subscriber.asks = true;
        self.ask(subject);
    }

    /// Sees to it that a report on `subject` comes.
    fn ask(&mut self, subject: &Subject) {
        let Some(subscribers) = self.subjects.get_mut(subject) else { return };
        if !std::mem::replace(&mut subscribers.is_asked, true) {
            self.channel().refresh(subject.clone());
        }
    }

    pub(super) fn leave(&mut self, watch: WatchId, subject: &Subject) {
        self.recalled.remove(&watch);
        let Some(subscribers) = self.subjects.get_mut(subject) else { return };
        if subscribers.leave(watch) {
            self.subjects.remove(subject);
            self.subjects.shrink_if_sparse();
            self.cache.left(subject);
            self.channel().leave(subject.clone());
        }
    }

    /// Returns what the ledger knows this store by, once that is known.
    pub(super) fn known_name(&self) -> Option<&str> {
        self.ledger_name.as_deref()
    }

    /// Returns true if the ledger knows this store by `name`. While that is unknown, every identity is
    /// believed.
    pub(super) fn has_ledger_name(&self, name: &str) -> bool {
        match &self.ledger_name {
            Some(known) => **known == *name,
            None => name.split_once(' ').is_some_and(|(name, _)| name == self.name.as_str()),
        }
    }

    /// Returns what the ledger is to know the store of `watch` by.
    pub(super) fn ledger_name(&self, watch: WatchId) -> Arc<str> {
        let known = self.ledger_name.as_ref().or_else(|| self.recalled.get(&watch));
        known.map_or_else(|| ledger_name(&self.name, ""), Arc::clone)
    }

    /// Takes the identity of the connected store. Returns the watches whose versions are those of another
    /// store.
    pub(super) fn identified(&mut self, identity: &str) -> Vec<WatchId> {
        let name = ledger_name(&self.name, identity);
        let recalled = std::mem::take(&mut self.recalled);
        match self.ledger_name.replace(Arc::clone(&name)) {
            Some(before) if before == name => Vec::new(),
            Some(_) => self.subjects.values().flat_map(Subscribers::watches).collect(),
            None => recalled.into_iter().filter(|(_, it)| *it != name).map(|(watch, _)| watch).collect(),
        }
    }

    /// Notes the process of the store: a new one, or more about the present one. Returns how many there were
    /// before.
    pub(super) fn half_started(&mut self, half: HalfStarted) -> u64 {
        if self.half.replace(half).is_none() {
            self.halves += 1;
        }
        self.restarts()
    }

    pub(super) fn half_ended(&mut self) {
        self.half = None;
        self.lacked_root = self.lacks_root;
    }

    /// Returns how many processes the store had beside the first.
    pub(super) fn restarts(&self) -> u64 {
        self.halves.saturating_sub(1)
    }

    pub(super) fn disconnected(&mut self, reason: &str) {
        self.disconnected_since.get_or_insert_with(Instant::now);
        self.cache.disconnected();
        self.say(false, reason);
    }

    /// Notes another reason why the store is still disconnected.
    pub(super) fn refused(&mut self, reason: &str) {
        if let Some(connection) = &mut self.connection {
            connection.detail = reason.to_owned();
        }
    }

    /// Notes that the store is connected, and that it reports all subjects anew. Returns how long it was not,
    /// if it was disconnected.
    pub(super) fn connected(&mut self, what: &str) -> Option<Duration> {
        self.say(true, what);
        self.cache.connected();
        self.subjects.values_mut().for_each(Subscribers::forget_report);
        self.disconnected_since.take().map(|since| since.elapsed())
    }

    /// Notes whether the root is missing, which the store has reported.
    pub(super) fn root_is_missing(&mut self, is_missing: bool) {
        (self.lacks_root, self.lacked_root) = (is_missing, false);
    }

    /// Notes that a node is there, and so the root. Returns whether only a former process knew of no root.
    pub(super) fn root_is_evident(&mut self) -> bool {
        self.lacks_root &= !self.lacked_root;
        std::mem::take(&mut self.lacked_root)
    }

    fn say(&mut self, is_connected: bool, detail: &str) {
        self.connection =
            Some(ConnectionStatus { is_connected, since: SystemTime::now(), detail: detail.to_owned() });
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.is_connected)
    }

    fn status(&self) -> StoreStatus {
        StoreStatus {
            name: self.name.to_string(),
            url: self.settings.to_string(),
            connected: self.connection.as_ref().map(|connection| connection.is_connected),
            since: self.connection.as_ref().map(|connection| Timestamp(connection.since)),
            detail: self.connection.as_ref().map(|connection| connection.detail.clone()),
            nodes: self.subjects.len(),
            pid: self.half.as_ref().map(|half| half.pid),
            restarts: self.restarts(),
            confinement: self.half.as_ref().and_then(|half| half.confinement.clone()),
            // The part that has the keepers knows.
            keeper_pid: None,
            keeper_restarts: 0,
        }
    }
}

/// Returns what the ledger knows a store by. A store that gets another name is another one to the ledger.
pub fn ledger_name(name: &StoreName, identity: &str) -> Arc<str> {
    format!("{name} {identity}").into()
}

#[cfg(test)]
mod tests;
