//! Journals in every database, on real servers: what [`Journal`] promises, and the addresses of servers.

mod address;
mod faults;
mod heads;
mod rainers_table;
mod saves;
mod schema;

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use twitcher::commits::{CorruptCommit, FullCommit, Heads, Journal, JournalError, Key, Page, open};
use twitcher::model::Commit;

use crate::harness::TestDatabase;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn key(name: &str) -> Key {
    Key::parse(name).expect("a key")
}

fn commit(name: &str, version: i64, payload: &[u8]) -> FullCommit {
    FullCommit {
        header: Commit {
            key: name.to_owned(),
            version,
            author: "eva".to_owned(),
            comment: format!("number {version}"),
            mtime: "2026-11-28T05:00:00.000Z".to_owned(),
            empty: false,
        },
        payload: payload.to_vec(),
    }
}

fn all() -> Page {
    Page { after: None, limit: 100, bytes: 4 << 20, with_removed: true, with_payloads: true }
}

/// The keys of heads, in their order.
fn names(heads: &Heads) -> String {
    heads.commits.iter().map(|head| &*head.header.key).collect::<Vec<_>>().join(" ")
}

/// A server's journal.
struct Diary {
    runtime: Runtime,
    journal: Arc<dyn Journal>,
    corrupt: UnboundedReceiver<CorruptCommit>,
}

impl Diary {
    /// Opens a journal, in a table whose name is a word of SQL.
    #[track_caller]
    fn open(database: &TestDatabase) -> Self {
        Self::try_open(&database.url, "order").expect("open the journal")
    }

    fn try_open(url: &str, table: &str) -> Result<Self, JournalError> {
        let (corrupt, told) = unbounded_channel();
        let (runtime, database) = (runtime(), url.parse().expect("a database"));
        let journal = runtime.block_on(open(&database, &table.parse().expect("a table"), corrupt))?;
        Ok(Self { runtime, journal, corrupt: told })
    }

    /// Why a journal is not opened.
    #[track_caller]
    fn refusal(url: &str, table: &str) -> String {
        Self::try_open(url, table).err().expect("a refusal").to_string()
    }

    #[track_caller]
    fn save(&self, commit: FullCommit) {
        let saved = self.runtime.block_on(self.journal.save(commit)).expect("a journal that works");
        saved.expect("the next version");
    }

    #[track_caller]
    fn heads(&self, page: &Page) -> Heads {
        self.runtime.block_on(self.journal.heads(page)).expect("heads")
    }

    fn commit(&self, name: &str, version: Option<i64>) -> Result<Option<FullCommit>, JournalError> {
        self.runtime.block_on(self.journal.commit(&key(name), version))
    }

    #[track_caller]
    fn log(&self, name: &str, before: Option<i64>, limit: usize) -> Vec<Commit> {
        self.runtime.block_on(self.journal.log(&key(name), before, limit)).expect("a log")
    }
}
