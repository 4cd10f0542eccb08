//! What the loop, the control socket and the thread of the cache share. No lock is held while anybody waits
//! for the disk.

use std::collections::HashSet;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

use super::answer::Answer;
use super::notes::{Connection, Content, Node, Note, Notes, Until, seconds};
use crate::model::{self, NodePath, State};

/// How long notes wait for others, to be written with them. A daemon that is killed loses as much. A burst of
/// updates has started its actions by then, which need the processor more.
const DELAY: Duration = Duration::from_millis(100);

/// So many bytes of contents do not wait.
const EAGER_BYTES: u64 = 1 << 20;

/// How often the thread records that connections last, though nothing else is written: a write of two pages.
/// If the daemon is killed, contents look older than they are by as much at most.
pub const BEAT: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Shared {
    state: Mutex<SharedState>,
    woken: Condvar,
    /// Whether the thread has not been told yet that there is something to write.
    has_news: AtomicBool,
    /// The size of the cache in bytes, as it was written last.
    bytes: AtomicU64,
}

#[derive(Default)]
struct SharedState {
    stores: Vec<StoreState>,
    notes: Notes,
    ended: Vec<(Connection, i64)>,
    settled: Vec<(usize, HashSet<NodePath>)>,
    /// Since when there is something to write.
    unwritten_since: Option<Instant>,
    questions: Vec<Question>,
    newest: Option<Connection>,
    is_closed: bool,
}

struct StoreState {
    url: Arc<str>,
    connection: Option<Connection>,
}

/// A question of a client.
pub struct Question {
    pub url: String,
    pub path: NodePath,
    pub reply: oneshot::Sender<Answer>,
}

/// What the thread is to do.
pub struct Work {
    pub questions: Vec<Question>,
    pub is_write_due: bool,
    pub is_closed: bool,
}

/// What is to be written.
pub struct Batch {
    /// The second up to which everything that was noted is in this batch or written before.
    pub now: i64,
    pub stores: Vec<Arc<str>>,
    pub notes: Notes,
    /// The connections that ended, and when.
    pub ended: Vec<(Connection, i64)>,
    /// Those that last.
    pub live: Vec<Connection>,
    /// All nodes of a store that are followed.
    pub settled: Vec<(usize, HashSet<NodePath>)>,
}

/// What was noted of a node and is not written yet.
pub struct Unwritten {
    pub note: Note,
    pub live: Option<Connection>,
    pub ended: Vec<(Connection, i64)>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, SharedState> {
        // No caller panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a store. Returns its place.
    pub fn add_store(&self, url: &str) -> usize {
        let mut state = self.lock();
        state.stores.push(StoreState { url: url.into(), connection: None });
        state.stores.len() - 1
    }

    pub fn connected(&self, store: usize) {
        let mut state = self.lock();
        state.end(store);
        let connection = state.new_connection();
        state.stores[store].connection = Some(connection);
        self.touch(state);
    }

    pub fn disconnected(&self, store: usize) {
        let mut state = self.lock();
        state.end(store);
        self.touch(state);
    }

    pub fn observed(&self, store: usize, path: &NodePath, observed: &State) {
        let content = match observed {
            State::Absent => Content::Absent,
            State::Present { version, content: model::Content::Data(data), .. } => {
                Content::Present { version: *version, data: data.clone() }
            }
            State::Present { .. } => return,
        };
        let mut state = self.lock();
        let until = match state.stores[store].connection {
            Some(connection) => Until::EndOf(connection),
            None => Until::Second(seconds(SystemTime::now())),
        };
        let note = Note { seen: Some((content, until)), ended: None, followed: Some(true) };
        state.note(store, path, note);
        self.touch(state);
    }

    /// Notes that the present connection tells no more of a node, and whether it is still followed.
    pub fn ended(&self, store: usize, path: &NodePath, followed: Option<bool>) {
        let mut state = self.lock();
        let now = seconds(SystemTime::now());
        let ended = state.stores[store].connection.map(|connection| (connection, now));
        state.note(store, path, Note { seen: None, ended, followed });
        self.touch(state);
    }

    pub fn joined(&self, store: usize, path: &NodePath) {
        let mut state = self.lock();
        state.note(store, path, Note { followed: Some(true), ..Note::default() });
        self.touch(state);
    }

    pub fn settle(&self, store: usize, followed: HashSet<NodePath>) {
        let mut state = self.lock();
        state.settled.push((store, followed));
        self.touch(state);
    }

    pub fn ask(&self, question: Question) {
        // After the end nobody answers, and dropping the question says so.
        let mut state = self.lock();
        if !state.is_closed {
            state.questions.push(question);
            self.woken.notify_one();
        }
    }

    pub fn close(&self) {
        self.lock().is_closed = true;
        self.woken.notify_one();
    }

    /// Sees to it that what was noted is written, once somebody calls [`Self::wake`]. Much data does not wait
    /// for that.
    fn touch(&self, mut state: MutexGuard<'_, SharedState>) {
        let is_first = state.unwritten_since.is_none();
        state.unwritten_since.get_or_insert_with(Instant::now);
        if state.notes.bytes() >= EAGER_BYTES {
            self.woken.notify_one();
        } else if is_first {
            self.has_news.store(true, Ordering::Relaxed);
        }
    }

    /// Whether [`Self::wake`] is to be called soon.
    pub fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Relaxed)
    }

    /// Tells the thread if there is something to write. It takes the processor for a moment, so the loop
    /// calls this after it has started actions.
    pub fn wake(&self) {
        if self.has_news.swap(false, Ordering::Relaxed) {
            self.woken.notify_one();
        }
    }

    /// Waits for something to do. Nothing is written before `not_before`, and connections are recorded at
    /// `beat` at the latest.
    pub fn wait(&self, not_before: Option<Instant>, beat: Instant) -> Work {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let due = state.due(beat).into_iter().chain(not_before).max();
            let is_write_due = due.is_some_and(|due| due <= now);
            let is_closed = state.is_closed;
            if is_write_due || is_closed || !state.questions.is_empty() {
                return Work { questions: mem::take(&mut state.questions), is_write_due, is_closed };
            }
            state = match due {
                None => self.woken.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let waited = self.woken.wait_timeout(state, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Takes everything that is to be written.
    pub fn take_batch(&self) -> Batch {
        let mut state = self.lock();
        state.unwritten_since = None;
        Batch {
            now: seconds(SystemTime::now()),
            stores: state.stores.iter().map(|store| store.url.clone()).collect(),
            notes: mem::take(&mut state.notes),
            ended: mem::take(&mut state.ended),
            live: state.stores.iter().filter_map(|store| store.connection).collect(),
            settled: mem::take(&mut state.settled),
        }
    }

    /// Puts back what could not be written.
    pub fn put_back(&self, batch: Batch) {
        let mut state = self.lock();
        state.unwritten_since.get_or_insert_with(Instant::now);
        if !state.notes.put_back(batch.notes) {
            state.doubt();
        }
        let newer = mem::replace(&mut state.ended, batch.ended);
        state.ended.extend(newer);
        let newer = mem::replace(&mut state.settled, batch.settled);
        state.settled.extend(newer);
    }

    /// Returns what is not written yet of a node; `None` if the daemon has no such store.
    pub fn unwritten(&self, url: &str, path: &NodePath) -> Option<Unwritten> {
        let state = self.lock();
        let store = state.stores.iter().position(|store| *store.url == *url)?;
        let note = state.notes.get(&Node { store, path: path.clone() }).cloned().unwrap_or_default();
        let live = state.stores[store].connection;
        Some(Unwritten { note, live, ended: state.ended.clone() })
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl SharedState {
    /// Returns when something is to be written.
    fn due(&self, beat: Instant) -> Option<Instant> {
        let is_connected = self.stores.iter().any(|store| store.connection.is_some());
        let delay = if self.notes.bytes() >= EAGER_BYTES { Duration::ZERO } else { DELAY };
        let write = self.unwritten_since.map(|since| since + delay);
        write.into_iter().chain(is_connected.then_some(beat)).min()
    }

    fn new_connection(&mut self) -> Connection {
        let connection = Connection::new(SystemTime::now(), self.newest.unwrap_or(Connection::NONE));
        self.newest = Some(connection);
        connection
    }

    fn end(&mut self, store: usize) {
        if let Some(connection) = self.stores[store].connection.take() {
            self.ended.push((connection, seconds(SystemTime::now())));
        }
    }

    fn note(&mut self, store: usize, path: &NodePath, note: Note) {
        if !self.notes.add(Node { store, path: path.clone() }, note) {
            self.doubt();
        }
    }

    /// Some notes are lost. From now on, only what is noted anew is known to be current.
    fn doubt(&mut self) {
        for store in 0..self.stores.len() {
            if self.stores[store].connection.take().is_some() {
                self.stores[store].connection = Some(self.new_connection());
            }
        }
    }
}
