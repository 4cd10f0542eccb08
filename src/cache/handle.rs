//! What the loop and the control socket use of the cache.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::answer::Answer;
use super::database::Files;
#[cfg(test)]
use super::notes::Note;
use super::shared::{Question, Shared};
use super::worker::Worker;
use crate::model::{Facet, NodePath, State, Subject};
use crate::report::Reporter;

/// How long a daemon that stops waits for the last notes to be written. A healthy disk takes a hundredth of
/// it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The cache of a daemon.
pub struct Cache {
    shared: Arc<Shared>,
    /// Disconnected when the thread has ended.
    end: Receiver<()>,
}

impl Cache {
    /// Opens or creates the cache in `state_dir`, whose file may have `limit` bytes. A failure is reported.
    /// With the limit 0 there is none, and what an earlier daemon kept is removed.
    pub fn open(state_dir: &Path, limit: u64, log: &Reporter) -> Option<Self> {
        let files = Files::new(state_dir);
        if limit == 0 {
            if let Err(error) = files.remove() {
                let what = format!("{}: {error}; remove it: cache_size is 0", files.main().display());
                log.degraded("cache", what);
            }
            return None;
        }
        let shared = Arc::new(Shared::default());
        let (ended, end) = sync_channel::<()>(0);
        let worker = Worker::new(shared.clone(), files, limit, log.clone());
        let work = move || {
            worker.run();
            drop(ended);
        };
        match thread::Builder::new().name("cache".into()).spawn(work) {
            Ok(_) => Some(Self { shared, end }),
            Err(error) => {
                log.degraded("cache", format!("cannot start its thread: {error}; going on without"));
                None
            }
        }
    }

    /// Adds the store with this URL.
    pub fn of_store(&self, url: &str) -> StoreCache {
        StoreCache(Some((self.shared.clone(), self.shared.add_store(url))))
    }

    pub fn reader(&self) -> CacheReader {
        CacheReader(self.shared.clone())
    }

    /// Whether nothing that was noted of the node waits to be written.
    #[cfg(test)]
    pub(super) fn has_written(&self, url: &str, path: &NodePath) -> bool {
        self.shared.wake();
        self.shared.unwritten(url, path).is_some_and(|unwritten| unwritten.note == Note::default())
    }

    /// Writes what is noted, and closes the cache.
    pub fn close(self) {
        self.shared.close();
        // A disk that hangs must not keep the daemon from ending.
        let _ = self.end.recv_timeout(CLOSE_TIMEOUT);
    }
}

/// What the loop tells the cache of one store. No call waits for the disk. The default tells nobody.
#[derive(Clone, Default)]
pub struct StoreCache(Option<(Arc<Shared>, usize)>);

impl StoreCache {
    pub fn connected(&self) {
        self.tell(Shared::connected);
    }

    pub fn disconnected(&self) {
        self.tell(Shared::disconnected);
    }

    pub fn observed(&self, subject: &Subject, state: &State) {
        self.tell_of(subject, |shared, store, path| shared.observed(store, path, state));
    }

    pub fn unreadable(&self, subject: &Subject) {
        self.tell_of(subject, |shared, store, path| shared.ended(store, path, None));
    }

    pub fn joined(&self, subject: &Subject) {
        self.tell_of(subject, Shared::joined);
    }

    pub fn left(&self, subject: &Subject) {
        self.tell_of(subject, |shared, store, path| shared.ended(store, path, Some(false)));
    }

    /// Takes everything that is followed, once all configs were read: an earlier daemon may have followed
    /// more.
    pub fn settle<'a>(&self, followed: impl Iterator<Item = &'a Subject>) {
        let data = followed.filter(|subject| subject.facet == Facet::Data);
        self.tell(|shared, store| shared.settle(store, data.map(|subject| subject.path.clone()).collect()));
    }

    /// Whether what was told lately waits for [`Self::wake`], in whichever store.
    pub fn has_news(&self) -> bool {
        self.0.as_ref().is_some_and(|(shared, _)| shared.has_news())
    }

    /// Has what was told written soon.
    pub fn wake(&self) {
        if let Some((shared, _)) = &self.0 {
            shared.wake();
        }
    }

    /// The size of the whole cache in bytes, a moment ago.
    pub fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |(shared, _)| shared.bytes())
    }

    fn tell(&self, tell: impl FnOnce(&Shared, usize)) {
        if let Some((shared, store)) = &self.0 {
            tell(shared, *store);
        }
    }

    /// Only data is cached.
    fn tell_of(&self, subject: &Subject, tell: impl FnOnce(&Shared, usize, &NodePath)) {
        if subject.facet == Facet::Data {
            self.tell(|shared, store| tell(shared, store, &subject.path));
        }
    }
}

/// Answers the questions of clients.
#[derive(Clone)]
pub struct CacheReader(Arc<Shared>);

impl CacheReader {
    /// Asks for the last data of a node in the store with this URL. The receiver fails if the daemon ends.
    pub fn ask(&self, url: String, path: NodePath) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        self.0.ask(Question { url, path, reply });
        answer
    }
}
