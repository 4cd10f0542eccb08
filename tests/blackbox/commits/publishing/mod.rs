//! Commits: what is published of a journal, on real servers.

mod election;
mod faults;
mod keeper;
mod sweep;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use twitcher::commits::{
    Comparison, Database, FullCommit, Journal, KeeperSettings, Key, Publisher, PublisherEvent, encode, open,
};
use twitcher::model::{Commit, NodePath};
use twitcher::store::{DirectorySettings, EtcdSettings, StoreSettings, StoreUrl, ZooKeeperSettings};

use crate::harness::{Sandbox, wait_until};

/// The node of the keeper in all tests.
const PATH: &str = "/config/diary";

/// A period that no test sees the end of.
const NEVER: Duration = Duration::from_secs(1 << 20);

/// The settings of a store that gives up on a session after this time.
fn store(url: &str, session_timeout: Duration) -> StoreSettings {
    let rescan_interval = Duration::from_secs(60);
    match url.parse().expect("a URL") {
        StoreUrl::ZooKeeper(url) => StoreSettings::ZooKeeper(ZooKeeperSettings {
            url,
            login: Default::default(),
            session_timeout,
            readonly: false,
        }),
        StoreUrl::Etcd(url) => StoreSettings::Etcd(EtcdSettings {
            url,
            login: Default::default(),
            session_timeout,
            readonly: false,
        }),
        StoreUrl::Directory(url) => StoreSettings::Directory(DirectorySettings {
            url,
            session_timeout,
            rescan_interval,
            readonly: false,
        }),
    }
}

fn key(key: &str) -> Key {
    Key::parse(key).expect("a key")
}

/// The node of a key.
pub(super) fn node(key: &str) -> String {
    format!("{PATH}/data/{key}")
}

/// A commit like the one of Rainer's documentation.
fn commit(key: &str, version: i64, payload: impl AsRef<[u8]>) -> FullCommit {
    let header = Commit {
        key: key.to_owned(),
        version,
        author: "gian".to_owned(),
        comment: "rofl".to_owned(),
        mtime: "2014-02-11T14:01:28.839-08:00".to_owned(),
        empty: false,
    };
    FullCommit { header, payload: payload.as_ref().to_owned() }
}

/// A commit that removes its key.
fn removal(key: &str, version: i64) -> FullCommit {
    let mut commit = commit(key, version, "");
    commit.header.empty = true;
    commit
}

/// A journal in a file, which several publishers share.
struct Diary {
    runtime: Runtime,
    journal: Arc<dyn Journal>,
}

impl Diary {
    fn in_file(file: &Path) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (corrupt, _) = unbounded_channel();
        let database = Database::Sqlite(file.to_owned());
        let journal = runtime.block_on(open(&database, &"diary".parse().unwrap(), corrupt));
        Self { runtime, journal: journal.expect("open the journal") }
    }

    fn of(sandbox: &Sandbox) -> Self {
        Self::in_file(&sandbox.path("commits.db"))
    }

    #[track_caller]
    fn save(&self, commit: FullCommit) {
        let saved = self.runtime.block_on(self.journal.save(commit)).expect("a journal that works");
        saved.expect("the next version");
    }

    fn publisher(&self, url: &str, period: Duration) -> Published {
        self.publisher_with_timeout(url, period, Duration::from_secs(10))
    }

    fn publisher_with_timeout(&self, url: &str, period: Duration, session_timeout: Duration) -> Published {
        let (events, heard) = unbounded_channel();
        let path = NodePath::parse(PATH).unwrap();
        let settings = KeeperSettings { store: store(url, session_timeout), path, period };
        let publisher = Publisher::start(settings, Arc::clone(&self.journal), events);
        Published { publisher, heard: Mutex::new((heard, Vec::new())) }
    }

    /// Saves a commit and has it published.
    #[track_caller]
    fn publish(&self, publisher: &Published, commit: FullCommit) {
        let key = key(&commit.header.key);
        self.save(commit);
        publisher.publisher.published_soon(&key);
    }

    #[track_caller]
    fn compare(&self, publisher: &Published, repairs: bool) -> Comparison {
        self.runtime.block_on(publisher.publisher.compare(repairs)).expect("a comparison")
    }

    fn stop(&self, publisher: &Published) {
        self.runtime.block_on(publisher.publisher.stop());
    }
}

/// A publisher, and what it has told.
struct Published {
    publisher: Publisher,
    heard: Mutex<(UnboundedReceiver<PublisherEvent>, Vec<PublisherEvent>)>,
}

impl Published {
    fn events(&self) -> Vec<PublisherEvent> {
        let (heard, events) = &mut *self.heard.lock().unwrap();
        while let Ok(event) = heard.try_recv() {
            events.push(event);
        }
        events.clone()
    }

    fn has_told(&self, is_it: impl Fn(&PublisherEvent) -> bool) -> usize {
        self.events().iter().filter(|event| is_it(event)).count()
    }

    fn leads(&self) -> bool {
        self.publisher.status().leader
    }

    #[track_caller]
    fn wait_until_connected(&self) {
        wait_until("the publisher to be connected", || self.publisher.status().connected);
    }

    /// Waits until all that was saved is published.
    #[track_caller]
    fn wait_until_done(&self) {
        wait_until("nothing to be left", || self.publisher.status().waiting == 0);
        assert_eq!(self.publisher.status().lag, 0.0);
    }
}

/// What the store has of a key.
pub(super) fn published(sandbox: &Sandbox, key: &str) -> Option<Vec<u8>> {
    sandbox.nodes.get(&node(key))
}

#[track_caller]
fn wait_until_published(sandbox: &Sandbox, commit: &FullCommit) {
    let key = &commit.header.key;
    let expected = (!commit.header.empty).then(|| encode(commit));
    wait_until(&format!("version {} of {key} in the store", commit.header.version), || {
        published(sandbox, key) == expected
    });
}

/// Waits until the store has a commit of the key with this payload.
#[track_caller]
pub(super) fn wait_until_payload(sandbox: &Sandbox, key: &str, payload: &[u8]) {
    wait_until(&format!("{key} in the store"), || {
        published(sandbox, key).is_some_and(|data| {
            twitcher::value::commit::decode(&data, key).is_ok_and(|(_, found)| found == payload)
        })
    });
}
