//! The cache on a disk: what its thread keeps, forgets and survives.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::model::{Content, Facet, LogFormat, NodePath, State, Subject, Version};
use crate::report::log::Target;
use crate::report::stream::LogStream;
use crate::report::{Count, Level, Log, Report, Reporter};
use crate::sys;

const URL: &str = "zk://localhost:2181";

struct Uncounted;

impl Count for Uncounted {
    fn count(&self, _: &Report<'_>) {}
}

fn reporter() -> Reporter {
    let nowhere = File::options().write(true).open("/dev/null").unwrap();
    let target = Target::Stream(LogStream::of("nowhere", nowhere));
    let (log, _) = Log::start(target, Level::Error, LogFormat::Text).unwrap();
    Reporter::new(log, Arc::new(Uncounted))
}

struct Fixture {
    cache: Cache,
    store: StoreCache,
    log: Reporter,
}

impl Fixture {
    fn open(dir: &Path, limit: u64) -> Self {
        let log = reporter();
        let cache = Cache::open(dir, limit, &log).unwrap();
        Self { store: cache.of_store(URL), cache, log }
    }

    fn observe(&self, path: &str, data: &[u8]) {
        self.store.observed(&subject(path), &present(data));
    }

    fn ask(&self, path: &str) -> Answer {
        let path = NodePath::parse(path).unwrap();
        self.cache.reader().ask(URL.to_owned(), path).blocking_recv().unwrap()
    }

    /// Returns a node's data, and until when it is known to have been current.
    fn data(&self, path: &str) -> Option<(Vec<u8>, Option<SystemTime>)> {
        match self.ask(path) {
            Answer::Found(CachedNode { state: State::Present { content, .. }, current_until }) => {
                let mut data = Vec::new();
                sys::copy_blob(content.blob(), &mut data).unwrap();
                Some((data, current_until))
            }
            Answer::Found(_) | Answer::Unknown => None,
            Answer::Unusable(why) => panic!("{why}"),
        }
    }

    fn close(self) {
        self.cache.close();
    }
}

fn subject(path: &str) -> Subject {
    Subject { path: NodePath::parse(path).unwrap(), facet: Facet::Data }
}

fn present(data: &[u8]) -> State {
    let version = Version { incarnation: 1, revision: 2, number: 3 };
    State::Present { version, origin: Default::default(), content: Content::Data(sys::seal_copy(data)) }
}

const MIB: usize = 1 << 20;

#[test]
fn the_next_daemon_has_what_the_last_one_saw_and_knows_until_when_it_was_connected() {
    let dir = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..3 * MIB + 5).map(|number| (number % 251) as u8).collect();
    let fixture = Fixture::open(dir.path(), 64 << 20);
    assert_eq!(fixture.ask("/n"), Answer::Unknown);
    fixture.store.connected();
    fixture.observe("/n", b"\0\xff");
    fixture.observe("/empty", b"");
    fixture.observe("/large", &large);
    fixture.store.observed(&subject("/absent"), &State::Absent);
    assert_eq!(fixture.data("/n"), Some((b"\0\xff".into(), None)));
    let before = SystemTime::now() - Duration::from_secs(1);
    fixture.close();

    let fixture = Fixture::open(dir.path(), 64 << 20);
    for (path, data) in [("/n", b"\0\xff".as_slice()), ("/empty", b""), ("/large", &large)] {
        let (found, until) = fixture.data(path).unwrap();
        assert!(found == data, "{path}");
        assert!(until.is_some_and(|until| until >= before && until <= SystemTime::now()), "{path}");
    }
    assert!(matches!(fixture.ask("/absent"), Answer::Found(CachedNode { state: State::Absent, .. })));
    fixture.store.connected();
    assert!(fixture.data("/n").unwrap().1.is_some(), "the store has not confirmed it yet");
    fixture.observe("/n", b"\0\xff");
    assert_eq!(fixture.data("/n"), Some((b"\0\xff".into(), None)));
    fixture.store.disconnected();
    assert!(fixture.data("/n").unwrap().1.is_some());
    fixture.close();
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 2, "the cache and its log");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
}

#[test]
fn a_node_that_is_not_followed_any_more_is_unknown_until_it_is_followed_again() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(dir.path(), 64 << 20);
    fixture.store.connected();
    for path in ["/kept", "/left", "/unreadable", "/dropped"] {
        fixture.observe(path, b"x");
    }
    fixture.store.left(&subject("/left"));
    fixture.store.unreadable(&subject("/unreadable"));
    fixture.store.left(&Subject { facet: Facet::Children, ..subject("/kept") });
    assert_eq!(fixture.ask("/left"), Answer::Unknown);
    assert!(fixture.data("/unreadable").unwrap().1.is_some());
    assert_eq!(fixture.data("/kept"), Some((b"x".into(), None)));
    fixture.close();
    let fixture = Fixture::open(dir.path(), 64 << 20);
    assert_eq!(fixture.ask("/left"), Answer::Unknown);
    let followed = ["/kept", "/unreadable", "/never"].map(subject);
    fixture.store.settle(followed.iter());
    fixture.close();
    let fixture = Fixture::open(dir.path(), 64 << 20);
    assert_eq!(fixture.ask("/dropped"), Answer::Unknown, "this daemon does not follow it");
    fixture.store.joined(&subject("/left"));
    assert!(fixture.data("/left").unwrap().1.is_some());
    assert!(fixture.data("/kept").is_some() && fixture.ask("/never") == Answer::Unknown);
    assert_eq!(fixture.log.all_degraded(), []);
    fixture.close();
}

#[test]
fn the_file_is_within_its_limit_and_what_is_not_followed_goes_first_and_then_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 4 * MIB;
    let fixture = Fixture::open(dir.path(), limit as u64);
    fixture.store.connected();
    let kept = |fixture: &Fixture| -> HashSet<usize> {
        (0..100).filter(|number| fixture.data(&format!("/{number}")).is_some()).collect()
    };
    fixture.observe("/0", &vec![b'x'; MIB / 2]);
    fixture.observe("/1", &vec![b'x'; MIB / 2]);
    fixture.observe("/2", &vec![b'x'; MIB / 2]);
    fixture.close();
    let fixture = Fixture::open(dir.path(), limit as u64);
    fixture.store.connected();
    fixture.store.left(&subject("/1"));
    fixture.store.left(&subject("/2"));
    for number in 3..8 {
        fixture.observe(&format!("/{number}"), &vec![b'x'; MIB / 2]);
        // Each is written before the next one comes.
        while fixture.store.bytes() == 0 || !is_written(&fixture, number) {
            std::thread::yield_now();
        }
    }
    assert!(kept(&fixture).contains(&0), "those that are not followed made room");
    for number in 8..30 {
        fixture.observe(&format!("/{number}"), &vec![b'x'; MIB / 2]);
        while !is_written(&fixture, number) {
            std::thread::yield_now();
        }
        let bytes = fs::metadata(dir.path().join("cache.db")).unwrap().len();
        assert!(bytes <= limit as u64 && fixture.store.bytes() <= limit as u64, "{bytes}");
    }
    let kept = kept(&fixture);
    assert!(kept.len() >= 5 && kept.iter().all(|number| *number >= 30 - kept.len()), "{kept:?}");
    fixture.observe("/30", &vec![b'x'; limit]);
    fixture.store.disconnected();
    fixture.observe("/31", b"x");
    fixture.close();
    let fixture = Fixture::open(dir.path(), limit as u64);
    assert_eq!(fixture.ask("/30"), Answer::Unknown, "it is larger than the whole cache");
    assert!(fixture.data("/31").is_some());
    fixture.close();
    // A smaller limit counts at once.
    let fixture = Fixture::open(dir.path(), MIB as u64);
    fixture.observe("/32", b"x");
    fixture.close();
    assert!(fs::metadata(dir.path().join("cache.db")).unwrap().len() <= limit as u64);
    let fixture = Fixture::open(dir.path(), MIB as u64);
    assert!(fixture.data("/32").is_some());
    fixture.close();
    assert!(Cache::open(dir.path(), 0, &reporter()).is_none());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "without a cache nothing is kept");
}

/// Whether the thread has written this node: SQLite has its file to itself, so its notes are asked.
fn is_written(fixture: &Fixture, number: usize) -> bool {
    fixture.cache.has_written(URL, &NodePath::parse(&format!("/{number}")).unwrap())
}

#[test]
fn a_file_that_is_no_cache_is_set_aside_and_one_that_cannot_be_one_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cache.db");
    let keeps_nothing = |fixture: &Fixture| {
        fixture.store.connected();
        fixture.observe("/n", b"x");
        fixture.data("/n") == Some((b"x".into(), None))
    };
    let foreign = "PRAGMA user_version = 7; CREATE TABLE t (x)";
    for round in ["garbage", "foreign", "cut"] {
        match round {
            "garbage" => fs::write(&file, "no database".repeat(1000)).unwrap(),
            "foreign" => {
                fs::remove_file(&file).unwrap();
                let _ = fs::remove_file(dir.path().join("cache.db-wal"));
                rusqlite::Connection::open(&file).unwrap().execute_batch(foreign).unwrap();
            }
            _ => File::options().write(true).open(&file).unwrap().set_len(5000).unwrap(),
        }
        let fixture = Fixture::open(dir.path(), 64 << 20);
        assert!(keeps_nothing(&fixture), "{round}");
        assert_eq!(fixture.log.all_degraded(), [], "{round}");
        fixture.close();
        let fixture = Fixture::open(dir.path(), 64 << 20);
        assert_eq!(fixture.data("/n").map(|(data, _)| data), Some(b"x".into()), "{round}");
        fixture.close();
    }
    assert!(dir.path().join("cache.damaged.db").exists());

    let dir = tempfile::tempdir().unwrap();
    let precious = dir.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, dir.path().join("cache.db")).unwrap();
    let fixture = Fixture::open(dir.path(), 64 << 20);
    assert!(keeps_nothing(&fixture), "from memory");
    assert!(matches!(fixture.ask("/other"), Answer::Unusable(why) if why.contains("not a regular file")));
    assert_eq!(fixture.log.all_degraded().len(), 1);
    fixture.close();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
}

#[test]
fn a_cache_that_others_could_read_is_taken_from_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cache.db");
    let log = dir.path().join("cache.db-wal");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let fixture = Fixture::open(dir.path(), 64 << 20);
    fixture.observe("/n", b"x");
    fixture.close();
    for path in [&file, &log] {
        fs::set_permissions(path, Permissions::from_mode(0o444)).unwrap();
    }
    let fixture = Fixture::open(dir.path(), 64 << 20);
    assert_eq!(fixture.data("/n").map(|(data, _)| data), Some(b"x".into()), "also one that was read-only");
    assert_eq!((mode(&file), mode(&log)), (0o600, 0o600));
    fixture.close();
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    // Whoever owns a file can read what is written to it later.
    chown(&file, Some(65534), None).unwrap();
    let fixture = Fixture::open(dir.path(), 64 << 20);
    assert_eq!(fixture.ask("/n"), Answer::Unknown, "the cache begins anew");
    fixture.observe("/n", b"y");
    assert!(fixture.data("/n").is_some());
    assert_eq!(fixture.log.all_degraded(), []);
    fixture.close();
    let owner = |name: &str| fs::metadata(dir.path().join(name)).unwrap().uid();
    assert_eq!((owner("cache.db"), owner("cache.damaged.db")), (0, 65534));
}

/// Writes a cache with `/n`, and alters its file as another program or a disk could.
fn write_and_alter(dir: &Path, statements: &str) {
    let fixture = Fixture::open(dir, 64 << 20);
    fixture.observe("/n", b"x");
    fixture.close();
    rusqlite::Connection::open(dir.join("cache.db")).unwrap().execute_batch(statements).unwrap();
}

#[test]
fn damage_that_a_question_meets_is_said_and_the_next_question_has_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    // A table of another kind.
    write_and_alter(dir.path(), "UPDATE nodes SET revision = 'much'");
    let fixture = Fixture::open(dir.path(), 64 << 20);
    assert!(matches!(fixture.ask("/n"), Answer::Unusable(why) if why.contains("cache.db: ")));
    assert_eq!(fixture.ask("/n"), Answer::Unknown, "nothing is written meanwhile");
    fixture.close();
    assert!(dir.path().join("cache.damaged.db").exists());
}

// SQLite does not notice another byte in a row.
#[test]
fn what_a_disk_gives_back_otherwise_than_it_was_written_is_no_answer_and_costs_no_other_node() {
    for damage in [
        "UPDATE contents SET data = x'7a' WHERE node = (SELECT id FROM nodes WHERE path = '/n')",
        "UPDATE contents SET data = x'78' || x'78' WHERE node = (SELECT id FROM nodes WHERE path = '/n')",
        "UPDATE nodes SET until = -9223372036854775807 WHERE path = '/n'",
        "UPDATE nodes SET is_there = 0 WHERE path = '/n'",
        "UPDATE nodes SET number = number + 1 WHERE path = '/n'",
        "UPDATE nodes SET incarnation = incarnation + 1 WHERE path = '/n'",
        "UPDATE nodes SET revision = revision + 1 WHERE path = '/n'",
        "UPDATE nodes SET data_sum = data_sum + 1 WHERE path = '/n'",
        // Each has what the other one had.
        "UPDATE nodes SET path = '/t' WHERE path = '/n';
        UPDATE nodes SET path = '/n' WHERE path = '/m';
        UPDATE nodes SET path = '/m' WHERE path = '/t'",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let fixture = Fixture::open(dir.path(), 64 << 20);
        fixture.store.connected();
        for (path, data) in [("/n", b"x"), ("/m", b"y"), ("/other", b"z")] {
            fixture.observe(path, data);
        }
        fixture.close();
        let foreign = rusqlite::Connection::open(dir.path().join("cache.db")).unwrap();
        foreign.execute_batch(damage).unwrap();
        drop(foreign);
        let fixture = Fixture::open(dir.path(), 64 << 20);
        let answer = fixture.ask("/n");
        assert!(
            matches!(&answer, Answer::Unusable(why) if why.contains("node /n in")),
            "{damage}: {answer:?}"
        );
        assert_eq!(fixture.ask("/n"), Answer::Unknown, "{damage}");
        assert!(fixture.data("/other").is_some(), "{damage}");
        // What the store says next is kept as ever.
        fixture.observe("/n", b"new");
        fixture.close();
        let fixture = Fixture::open(dir.path(), 64 << 20);
        assert_eq!(fixture.data("/n").map(|(data, _)| data), Some(b"new".into()), "{damage}");
        assert_eq!(fixture.log.all_degraded(), []);
        fixture.close();
        assert!(!dir.path().join("cache.damaged.db").exists());
    }
}

#[test]
fn a_damaged_row_is_replaced_by_what_the_store_says() {
    for damage in ["number = 9", "data_sum = data_sum + 1", "sum = sum + 1"] {
        let dir = tempfile::tempdir().unwrap();
        write_and_alter(dir.path(), &format!("UPDATE nodes SET {damage}"));
        let fixture = Fixture::open(dir.path(), 64 << 20);
        fixture.observe("/n", b"x");
        fixture.close();
        let fixture = Fixture::open(dir.path(), 64 << 20);
        assert_eq!(fixture.data("/n").map(|(data, _)| data), Some(b"x".into()), "{damage}");
        fixture.close();
    }
}

// Nobody is told that data was current at a time that nobody recorded.
#[test]
fn a_connection_whose_end_is_damaged_is_known_to_have_begun() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(dir.path(), 64 << 20);
    fixture.store.connected();
    fixture.observe("/n", b"x");
    fixture.close();
    let foreign = rusqlite::Connection::open(dir.path().join("cache.db")).unwrap();
    assert_eq!(foreign.execute("UPDATE connections SET until = until + 1000000", []), Ok(1));
    drop(foreign);
    let fixture = Fixture::open(dir.path(), 64 << 20);
    let (data, until) = fixture.data("/n").unwrap();
    assert!(data == b"x" && until.is_some_and(|until| until <= SystemTime::now()), "{until:?}");
    fixture.close();
}

#[test]
fn the_nodes_of_one_store_are_never_those_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(dir.path(), 64 << 20);
    fixture.observe("/n", b"x");
    fixture.cache.of_store("zk://other:2181").observed(&subject("/n"), &present(b"other"));
    fixture.close();
    let foreign = rusqlite::Connection::open(dir.path().join("cache.db")).unwrap();
    let swap = format!(
        "UPDATE stores SET url = 'neither' WHERE url = '{URL}';
        UPDATE stores SET url = '{URL}' WHERE url = 'zk://other:2181'"
    );
    foreign.execute_batch(&swap).unwrap();
    drop(foreign);
    let fixture = Fixture::open(dir.path(), 64 << 20);
    assert!(matches!(fixture.ask("/n"), Answer::Unusable(why) if why.contains("node /n in")));
    fixture.close();
}

// Nobody needs to hear that an upgrade begins the cache anew.
#[test]
fn a_cache_of_another_version_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    write_and_alter(dir.path(), "ALTER TABLE nodes DROP COLUMN sum; PRAGMA user_version = 1");
    let fixture = Fixture::open(dir.path(), 64 << 20);
    assert_eq!(fixture.ask("/n"), Answer::Unknown);
    fixture.observe("/n", b"y");
    fixture.close();
    let fixture = Fixture::open(dir.path(), 64 << 20);
    assert_eq!(fixture.data("/n").map(|(data, _)| data), Some(b"y".into()));
    assert_eq!(fixture.log.all_degraded(), []);
    fixture.close();
    assert!(!dir.path().join("cache.damaged.db").exists());
}
