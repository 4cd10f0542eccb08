//! Tests of the whole ledger on real files. This file has what they share.

mod damage;
mod files;
mod growth;
mod lost;
mod refused;
mod runs;
mod stores;
mod upgrade;
mod watches;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use tempfile::TempDir;

use super::limits::Limits;
use super::retention::Retention;
use super::{FILE, Intent, Ledger, LedgerEvent, RunCause, RunOutcome, StoredWatch, WatchRecord};
use crate::model::{CommitNote, Facet, NodePath, Pause, Subject, Version, WatchKey};
use crate::text::Timestamp;
use crate::watch::{Event, Seen, Snapshot};

const STORE: &str = "default zk:/";

/// A state directory of its own.
struct TestDir(TempDir);

impl TestDir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Opens a ledger that is tried again at once when it is lost.
    fn open(&self) -> Ledger {
        self.open_with(Duration::ZERO, Retention::default())
    }

    fn open_with(&self, pause: Duration, retention: Retention) -> Ledger {
        Ledger::open_with(self.root(), Limits { pause, retention, ..limits() }).expect("a ledger")
    }

    /// Returns why no daemon starts with this ledger.
    fn refusal(&self) -> String {
        Ledger::open_with(self.root(), limits()).err().expect("a refusal")
    }

    /// The name, the size and the content of each file.
    fn content(&self) -> Vec<(OsString, Vec<u8>)> {
        let entries = fs::read_dir(self.root()).unwrap().map(|entry| entry.unwrap().path());
        let read =
            |path: PathBuf| (path.file_name().unwrap().to_owned(), fs::read(&path).unwrap_or_default());
        let mut files: Vec<_> = entries.map(read).collect();
        files.sort();
        files
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// The files of an open ledger.
    fn files(&self) -> [PathBuf; 3] {
        ["ledger.db", "ledger.db-wal", "ledger.db-shm"].map(|name| self.path(name))
    }

    /// The rows that an operator sees, with `|` between columns.
    fn select(&self, query: &str) -> Vec<String> {
        let shell = Connection::open(self.path(FILE)).unwrap();
        let mut statement = shell.prepare(query).unwrap();
        let columns = statement.column_count();
        let line = |row: &rusqlite::Row<'_>| {
            let values = (0..columns).map(|column| row.get::<_, rusqlite::types::Value>(column));
            let values = values.collect::<rusqlite::Result<Vec<_>>>()?.into_iter();
            Ok(values.map(text).collect::<Vec<_>>().join("|"))
        };
        statement.query_map([], line).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }
}

/// A closed ledger with the watch `pull` and the unfinished run `a`.
fn with_records() -> TestDir {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    save_watch(&mut ledger, "pull");
    record_intents(&mut ledger, "a");
    dir
}

/// The limits of a ledger that is tried again at once, and is not waited for.
fn limits() -> Limits {
    Limits { pause: Duration::ZERO, start_timeout: Duration::ZERO, ..Limits::default() }
}

fn text(value: rusqlite::types::Value) -> String {
    use rusqlite::types::Value;
    match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text,
        Value::Blob(bytes) => String::from_utf8_lossy(&bytes).into(),
    }
}

fn watch(description: &str) -> WatchKey {
    WatchKey { file: "git.twc".into(), description: description.into() }
}

fn subject(path: &str, facet: Facet) -> Subject {
    Subject { path: NodePath::parse(path).unwrap(), facet }
}

fn version(number: i64) -> Version {
    Version { incarnation: 1_000 + number, revision: i64::MAX - number, number }
}

fn full_snapshot() -> Snapshot {
    Snapshot {
        seen: Some(Seen::Present(version(4))),
        pending: Some(Event::Changed),
        applied: Some(version(3)),
        discarded: Some(version(2)),
        held: Some(version(4)),
        admitted: Some(version(5)),
        applied_size: Some(u64::from(u32::MAX) + 1),
        failures: 5,
        stopped: true,
        pause: Some(Box::new(pause())),
    }
}

/// A pause as the ledger has it: in whole milliseconds.
fn pause() -> Pause {
    let at = |millis| Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
    Pause {
        by: Some("alice".into()),
        why: Some("freeze\u{1b}[31m".into()),
        since: at(1_795_277_611_042),
        until: at(1_795_284_811_042),
        ends: None,
    }
}

/// A commit whose author wrote what an operator's terminal might obey.
fn commit() -> CommitNote {
    CommitNote { version: 7, author: "gian\0\u{1b}[31m".into(), comment: "rofl\n\u{202e}".into() }
}

fn save_watch_as(ledger: &mut Ledger, description: &str, definition: u64, snapshot: &Snapshot) {
    ledger.save_watch(&WatchRecord {
        watch: &watch(description),
        store: STORE,
        subject: &subject("/git/head", Facet::Data),
        definition,
        snapshot,
        applied_commit: Some(&commit()),
        last_error: Some("exit code 1"),
        next_try: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)),
    });
}

fn save_watch(ledger: &mut Ledger, description: &str) {
    save_watch_as(ledger, description, 7, &full_snapshot());
}

/// The start time of all runs: now, in whole milliseconds.
fn run_start() -> SystemTime {
    static START: OnceLock<Duration> = OnceLock::new();
    let since_epoch = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_millis(START.get_or_init(since_epoch).as_millis() as u64)
}

fn intent(run: &str) -> Intent {
    Intent {
        run: run.into(),
        watch: watch("pull"),
        store: STORE.into(),
        subject: subject("/git", Facet::Children),
        definition: 7,
        version: version(4),
        event: Event::Children,
        cause: RunCause {
            commit: Some(commit().into()),
            transaction: Some("0x1000001f3".into()),
            changed: Timestamp::from_millis(1_795_277_611_042),
        },
        started: run_start(),
        timeout: Some(Duration::from_millis(1_500)),
    }
}

fn record_intents(ledger: &mut Ledger, run: &str) {
    ledger.record_intents([intent(run)].iter());
}

fn record_intent_again(ledger: &mut Ledger, run: &str) {
    ledger.record_intent_again(&intent(run));
}

fn stored_watch(ledger: &mut Ledger, description: &str) -> Option<StoredWatch> {
    ledger.load_watches("git.twc").remove(description)
}

fn snapshot(ledger: &mut Ledger, description: &str) -> Snapshot {
    stored_watch(ledger, description).unwrap().snapshot
}

/// Does what the daemon's loop does in each round, and returns the event that it gets.
fn round(ledger: &mut Ledger) -> Option<LedgerEvent> {
    save_watch(ledger, "round");
    ledger.commit();
    ledger.next_event()
}

/// Asserts that the ledger was set aside, and returns why and where.
fn quarantined(event: Option<LedgerEvent>) -> (String, Option<String>) {
    match event {
        Some(LedgerEvent::Quarantined { path, reason }) => (reason, path),
        other => panic!("{other:?}"),
    }
}

/// Asserts that the ledger was lost, and returns why.
fn lost_reason(event: Option<LedgerEvent>) -> String {
    match event {
        Some(LedgerEvent::Lost { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Asserts that the ledger keeps what is recorded from now on.
fn assert_works(dir: &TestDir, mut ledger: Ledger) {
    save_watch(&mut ledger, "afterwards");
    ledger.commit();
    assert_eq!(ledger.next_event(), None);
    drop(ledger);
    let mut ledger = dir.open();
    assert_eq!(ledger.next_event(), None);
    assert_eq!(snapshot(&mut ledger, "afterwards"), full_snapshot());
}
