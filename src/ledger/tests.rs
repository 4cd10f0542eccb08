use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use rusqlite::Connection;
use tempfile::TempDir;

use super::runs::Retention;
use super::*;
use crate::model::{Facet, NodePath};
use crate::watch::Seen;

const STORE: &str = "default zk:/";

/// A ledger in a directory of its own, which tries again at once after trouble.
struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> Ledger {
        self.open_with(Duration::ZERO, runs::DEFAULT_RETENTION)
    }

    fn open_with(&self, pause: Duration, retention: Retention) -> Ledger {
        Ledger { supervisor: Supervisor::open(self.dir.path(), Limits { pause, retention }) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// All that there is of a ledger.
    fn files(&self) -> [PathBuf; 3] {
        ["ledger.db", "ledger.db-wal", "ledger.db-shm"].map(|name| self.path(name))
    }

    /// What an operator sees.
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

fn full_standing() -> Snapshot {
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
        paused: true,
    }
}

fn remember_as(ledger: &mut Ledger, description: &str, definition: u64, snapshot: &Snapshot) {
    ledger.save_watch(&WatchRecord {
        watch: &watch(description),
        store: STORE,
        subject: &subject("/git/head", Facet::Data),
        definition,
        snapshot,
        last_error: Some("exit code 1"),
        next_try: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)),
    });
}

fn save_watch(ledger: &mut Ledger, description: &str) {
    remember_as(ledger, description, 7, &full_standing());
}

/// Of all runs: some time today, in whole milliseconds.
fn began() -> SystemTime {
    static BEGAN: OnceLock<Duration> = OnceLock::new();
    let since_epoch = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_millis(BEGAN.get_or_init(since_epoch).as_millis() as u64)
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
        started: began(),
        timeout: Some(Duration::from_millis(1_500)),
    }
}

fn record_intents(ledger: &mut Ledger, run: &str) {
    ledger.record_intents([intent(run)].iter());
}

fn record_intent_again(ledger: &mut Ledger, run: &str) {
    ledger.record_intent_again(&intent(run));
}

fn load_watches(ledger: &mut Ledger, description: &str) -> Option<StoredWatch> {
    ledger.load_watches("git.twc").remove(description)
}

fn snapshot(ledger: &mut Ledger, description: &str) -> Snapshot {
    load_watches(ledger, description).unwrap().snapshot
}

/// One more round of the daemon's loop, and what it learns from it.
fn round(ledger: &mut Ledger) -> Option<LedgerEvent> {
    save_watch(ledger, "round");
    ledger.commit();
    ledger.next_event()
}

/// Asserts that a new ledger was begun, and returns why and what it was set aside as.
fn set_aside(news: Option<LedgerEvent>) -> (String, Option<String>) {
    match news {
        Some(LedgerEvent::Quarantined { path, reason }) => (reason, path),
        other => panic!("{other:?}"),
    }
}

fn lost(news: Option<LedgerEvent>) -> String {
    match news {
        Some(LedgerEvent::Lost { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Asserts that what is told now is kept.
fn assert_works(desk: &Desk, mut ledger: Ledger) {
    save_watch(&mut ledger, "afterwards");
    ledger.commit();
    assert_eq!(ledger.next_event(), None);
    drop(ledger);
    let mut ledger = desk.open();
    assert_eq!(ledger.next_event(), None);
    assert_eq!(snapshot(&mut ledger, "afterwards"), full_standing());
}

#[test]
fn a_record_is_recalled_as_it_was_told() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    assert_eq!(ledger.next_event(), None, "a first start is nothing new");
    assert!(!ledger.is_dirty());
    let children = subject("/git/heads", Facet::Children);
    let mut tell = |watch: WatchKey, snapshot: Snapshot| {
        ledger.save_watch(&WatchRecord {
            watch: &watch,
            store: STORE,
            subject: &children,
            definition: u64::MAX,
            snapshot: &snapshot,
            last_error: None,
            next_try: None,
        });
    };
    let absent = Snapshot { seen: Some(Seen::Absent), pending: Some(Event::Load), ..Snapshot::default() };
    tell(watch("full"), full_standing());
    tell(watch("absent"), absent);
    tell(watch("new"), Snapshot::default());
    tell(WatchKey { file: "b.twc".into(), description: "x".into() }, absent);
    assert!(ledger.is_dirty());
    ledger.commit();
    assert!(!ledger.is_dirty());
    drop(ledger);

    let stored = desk.open().load_watches("git.twc");
    assert_eq!(stored.len(), 3);
    for (description, snapshot) in
        [("full", full_standing()), ("absent", absent), ("new", Snapshot::default())]
    {
        let expected = StoredWatch {
            store: STORE.into(),
            subject: children.clone(),
            definition: u64::MAX,
            snapshot,
            last_error: None,
        };
        assert_eq!(stored[description], expected, "{description}");
    }
}

/// As version 2 had it.
fn make_former(desk: &Desk) {
    let shell = Connection::open(desk.path(FILE)).unwrap();
    shell.execute("ALTER TABLE watches DROP COLUMN applied_size", []).unwrap();
    for version in ["held", "admitted"] {
        for part in ["incarnation", "revision", "number"] {
            shell.execute(&format!("ALTER TABLE watches DROP COLUMN {version}_{part}"), []).unwrap();
        }
    }
    shell.pragma_update(None, "user_version", 2).unwrap();
}

#[test]
fn a_ledger_of_the_version_before_goes_on_with_all_that_it_has() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    save_watch(&mut ledger, "pull");
    record_intents(&mut ledger, "a");
    drop(ledger);
    make_former(&desk);
    // Whoever only wants to look at it changes nothing.
    let other = Desk::new();
    assert!(copy(desk.dir.path(), other.dir.path()).unwrap());
    assert_eq!(desk.select("SELECT user_version FROM pragma_user_version"), ["2"]);

    let unguarded = Snapshot { held: None, admitted: None, applied_size: None, ..full_standing() };
    for desk in [desk, other] {
        let mut ledger = desk.open();
        assert_eq!(ledger.next_event(), None);
        assert_eq!(snapshot(&mut ledger, "pull"), unguarded);
        assert_eq!(ledger.unfinished().len(), 1);
        save_watch(&mut ledger, "pull");
        drop(ledger);
        assert_eq!(desk.select("SELECT user_version FROM pragma_user_version"), ["3"]);
        assert_eq!(snapshot(&mut desk.open(), "pull"), full_standing());
    }
}

#[test]
fn a_former_ledger_that_a_daemon_uses_can_be_copied() {
    let (desk, other) = (Desk::new(), Desk::new());
    save_watch(&mut desk.open(), "pull");
    make_former(&desk);
    // Its log is there as long as somebody uses it.
    let user = Connection::open(desk.path(FILE)).unwrap();
    user.pragma_update(None, "journal_mode", "WAL").unwrap();
    user.execute("UPDATE watches SET failures = 6", []).unwrap();
    assert!(copy(desk.dir.path(), other.dir.path()).unwrap());
    assert_eq!(snapshot(&mut other.open(), "pull").failures, 6);
}

#[test]
fn what_is_dropped_is_committed_and_leaves_one_file() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    save_watch(&mut ledger, "pull");
    drop(ledger);
    let names: Vec<_> =
        fs::read_dir(desk.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [FILE]);
    assert_eq!(snapshot(&mut desk.open(), "pull"), full_standing());
}

#[test]
fn what_was_applied_stays_known_until_something_else_is() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    let not_known = Snapshot { applied: None, ..full_standing() };
    let at = |desk: &Desk| desk.select("SELECT applied_number, applied_definition, applied_at FROM watches");
    save_watch(&mut ledger, "pull");
    ledger.commit();
    let noted = at(&desk);
    assert!(noted[0].starts_with("3|0000000000000007|"), "{noted:?}");

    remember_as(&mut ledger, "pull", 7, &not_known);
    assert_eq!(snapshot(&mut ledger, "pull").applied, Some(version(3)));
    while column::millis(SystemTime::now()).to_string() == noted[0].rsplit('|').next().unwrap() {}
    save_watch(&mut ledger, "pull");
    ledger.commit();
    assert_eq!(at(&desk), noted, "the time is that of the first word");

    // Another definition: what was applied is the former one's.
    remember_as(&mut ledger, "pull", 8, &not_known);
    assert_eq!(snapshot(&mut ledger, "pull").applied, None);
    remember_as(&mut ledger, "pull", 7, &not_known);
    assert_eq!(snapshot(&mut ledger, "pull").applied, Some(version(3)));
    remember_as(&mut ledger, "pull", 8, &full_standing());
    assert_eq!(snapshot(&mut ledger, "pull").applied, Some(version(3)));
    remember_as(&mut ledger, "pull", 7, &not_known);
    assert_eq!(snapshot(&mut ledger, "pull").applied, None);
}

#[test]
fn what_was_applied_in_another_store_is_not_known_in_this_one() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    save_watch(&mut ledger, "pull");
    let (key, not_known) = (watch("pull"), Snapshot { applied: None, ..full_standing() });
    let moved = WatchRecord {
        watch: &key,
        store: "eu zk:/",
        subject: &subject("/git/head", Facet::Data),
        definition: 7,
        snapshot: &not_known,
        last_error: None,
        next_try: None,
    };
    ledger.save_watch(&moved);
    let stored = load_watches(&mut ledger, "pull").unwrap();
    assert_eq!((&*stored.store, stored.snapshot), ("eu zk:/", not_known));
    remember_as(&mut ledger, "pull", 7, &not_known);
    let stored = load_watches(&mut ledger, "pull").unwrap();
    assert_eq!((&*stored.store, stored.snapshot), (STORE, not_known));
}

#[test]
fn of_a_retired_watch_what_it_applied_is_known_and_whether_it_is_paused() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    save_watch(&mut ledger, "pull");
    save_watch(&mut ledger, "other");
    ledger.retire(&watch("pull"));
    let kept = Snapshot {
        applied: Some(version(3)),
        applied_size: full_standing().applied_size,
        paused: true,
        ..Snapshot::default()
    };
    assert_eq!(snapshot(&mut ledger, "pull"), kept);
    assert_eq!(snapshot(&mut ledger, "other"), full_standing());
    ledger.commit();
    assert_eq!(desk.select("SELECT watch FROM failing"), ["git.twc:other"]);
}

#[test]
fn only_watches_that_were_long_gone_are_tidied_away() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    for description in ["gone", "loaded", "recent"] {
        save_watch(&mut ledger, description);
    }
    ledger.commit();
    let month = column::duration(Duration::from_secs(30 * 24 * 60 * 60)) + 1_000;
    let shell = Connection::open(desk.path(FILE)).unwrap();
    shell
        .execute("UPDATE watches SET updated = updated - ?1 WHERE description <> 'recent'", [month])
        .unwrap();
    ledger.prune_watches(|key| *key == watch("loaded"));
    ledger.commit();
    assert_eq!(desk.select("SELECT description FROM watches"), ["loaded", "recent"]);
}

#[test]
fn a_run_is_unfinished_until_its_end_is_told() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    for run in ["a", "b", "c"] {
        record_intents(&mut ledger, run);
    }
    let process = ProcessId { pid: 4711, started: 123_456_789 };
    ledger.started("a", process);
    ledger.ended("b", RunOutcome::Exited(0), b"");
    // After trouble, all is told again.
    record_intent_again(&mut ledger, "b");
    record_intent_again(&mut ledger, "a");
    drop(ledger);
    let shell = Connection::open(desk.path(FILE)).unwrap();
    shell.execute("UPDATE runs SET boot = 'before' WHERE run = 'c'", []).unwrap();
    drop(shell);
    let expected = |run: &str, process, this_boot| UnfinishedRun { intent: intent(run), process, this_boot };
    assert_eq!(desk.open().unfinished(), [expected("a", Some(process), true), expected("c", None, false)]);
}

#[test]
fn the_history_tells_how_each_run_ended() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    let endings = [
        (RunOutcome::Exited(0), "success", "success|0|||done"),
        (RunOutcome::Exited(3), "exit code 3", "exit|3|||done"),
        (RunOutcome::Signaled(9), "signal 9", "signal||9||done"),
        (RunOutcome::TimedOut, "timeout", "timeout||||done"),
        (
            RunOutcome::NotStarted("no such file"),
            "not started: no such file",
            "not_started|||no such file|done",
        ),
        (RunOutcome::Interrupted, "interrupted", "interrupted||||done"),
        (RunOutcome::Unknown, "unknown", "unknown||||done"),
    ];
    for (run, (how, _, _)) in endings.iter().enumerate() {
        record_intents(&mut ledger, &run.to_string());
        ledger.ended(&run.to_string(), *how, b"done");
    }
    record_intents(&mut ledger, "running");
    ledger.commit();
    let rows =
        desk.select("SELECT outcome, exit_code, signal, error, output FROM runs WHERE outcome NOTNULL");
    assert_eq!(rows, endings.map(|(_, _, row)| row));
    let history = desk.select("SELECT outcome FROM history");
    assert_eq!(history[..7], endings.map(|(_, shown, _)| shown));
    assert_eq!(history[7], "running");
    assert_eq!(desk.select("SELECT run, watch, event FROM history")[7], "running|git.twc:pull|children");
}

#[test]
fn output_is_kept_where_there_is_any() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    record_intents(&mut ledger, "loud");
    record_intents(&mut ledger, "silent");
    ledger.ended("loud", RunOutcome::Exited(0), b"loud\n\0");
    ledger.ended("silent", RunOutcome::Exited(0), b"");
    ledger.commit();
    assert_eq!(desk.select("SELECT output FROM runs WHERE run = 'loud'")[0].as_bytes(), b"loud\n\0");
    assert_eq!(desk.select("SELECT output IS NULL FROM runs"), ["0", "1"]);
}

#[test]
fn what_ended_while_nobody_could_note_it_does_not_go_on() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    for run in ["ended", "live"] {
        record_intents(&mut ledger, run);
    }
    ledger.end_unfinished(|run| run == "live");
    let unfinished: Vec<_> = ledger.unfinished().into_iter().map(|run| run.intent.run).collect();
    assert_eq!(unfinished, ["live"]);
    ledger.commit();
    assert_eq!(desk.select("SELECT outcome FROM runs WHERE run = 'ended'"), ["unknown"]);
}

#[test]
fn a_failure_known_from_before_keeps_its_reason() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    save_watch(&mut ledger, "pull");
    let errors = |ledger: &mut Ledger| {
        ledger.commit();
        desk.select("SELECT last_error FROM watches WHERE last_error IS NOT NULL")
    };
    assert_eq!(errors(&mut ledger), ["exit code 1"]);
    let key = watch("pull");
    let subject = subject("/git", Facet::Children);
    let mut snapshot = full_standing();
    let tell = |ledger: &mut Ledger, snapshot: &Snapshot| {
        ledger.save_watch(&WatchRecord {
            watch: &key,
            store: STORE,
            subject: &subject,
            definition: 7,
            snapshot,
            last_error: None,
            next_try: None,
        });
    };
    tell(&mut ledger, &snapshot);
    assert_eq!(errors(&mut ledger), ["exit code 1"]);
    snapshot.failures = 0;
    tell(&mut ledger, &snapshot);
    assert!(errors(&mut ledger).is_empty());
}

#[test]
fn only_the_newest_runs_and_those_that_go_on_are_kept() {
    let desk = Desk::new();
    let retention = Retention { runs: 10, outputs: 3, age: Duration::from_secs(1_000), batch: 1 };
    let mut ledger = desk.open_with(Duration::ZERO, retention);
    record_intents(&mut ledger, "live");
    for run in 0..50 {
        record_intents(&mut ledger, &run.to_string());
        ledger.ended(&run.to_string(), RunOutcome::Exited(0), b"done");
    }
    ledger.commit();
    let runs = |desk: &Desk| desk.select("SELECT run, output FROM runs ORDER BY seq");
    let kept = ["live|", "40|", "41|", "42|", "43|", "44|", "45|", "46|", "47|done", "48|done", "49|done"];
    assert_eq!(runs(&desk), kept);
    // Over in the end, it is as old as it is.
    ledger.ended("live", RunOutcome::Exited(0), b"done");
    ledger.commit();
    assert_eq!(runs(&desk)[0], "live|");
    record_intents(&mut ledger, "new");
    ledger.ended("new", RunOutcome::Exited(0), b"done");
    ledger.commit();
    assert_eq!(desk.select("SELECT run FROM runs ORDER BY seq LIMIT 2"), ["41", "42"]);

    let shell = Connection::open(desk.path(FILE)).unwrap();
    shell.execute("UPDATE runs SET started = started - 2000000 WHERE run < 45", []).unwrap();
    for run in ["a", "b"] {
        record_intents(&mut ledger, run);
        ledger.ended(run, RunOutcome::Exited(0), b"done");
    }
    ledger.commit();
    assert_eq!(
        desk.select("SELECT run FROM runs ORDER BY seq"),
        ["45", "46", "47", "48", "49", "new", "a", "b"]
    );
}

#[test]
fn others_can_read_while_it_is_open_but_only_the_owner() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    save_watch(&mut ledger, "pull");
    assert_eq!(desk.select("SELECT count(*) FROM watches"), ["0"], "not committed");
    ledger.commit();
    assert_eq!(
        desk.select("SELECT watch, failures, next_try_utc FROM failing"),
        ["git.twc:pull|5|1970-01-01 00:01:00"]
    );
    for file in desk.files() {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn a_file_that_is_no_ledger_is_set_aside_at_the_start() {
    let garbage = |path: &PathBuf| fs::write(path, [0xA5; 10_000]).unwrap();
    let truncate =
        |path: &PathBuf| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(8192).unwrap();
    let empty = |path: &PathBuf| drop(fs::File::create(path).unwrap());
    let sql =
        |sql: &'static str| move |path: &PathBuf| Connection::open(path).unwrap().execute_batch(sql).unwrap();
    let link = |path: &PathBuf| {
        fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink("/nowhere", path).unwrap();
    };
    type Damage<'a> = (&'a dyn Fn(&PathBuf), &'a str);
    let damages: [Damage<'_>; 7] = [
        (&garbage, "file is not a database"),
        (&truncate, "malformed"),
        (&empty, "it is empty"),
        (&sql("PRAGMA user_version = 4"), "its version is 4, this daemon knows only 3"),
        (&sql("PRAGMA user_version = 1"), "its version is 1, this daemon knows only 3"),
        (&sql("PRAGMA user_version = 0"), "it is some other database"),
        (&link, "it is no regular file"),
    ];
    for (damage, expected) in damages {
        let desk = Desk::new();
        save_watch(&mut desk.open(), "pull");
        damage(&desk.path(FILE));
        let mut ledger = desk.open();
        let (reason, path) = set_aside(ledger.next_event());
        assert!(reason.contains(expected), "{reason}");
        assert!(reason.starts_with(desk.path(FILE).to_str().unwrap()), "{reason}");
        let damaged = desk.path("ledger.damaged.db");
        assert_eq!(path.as_deref(), damaged.to_str());
        assert!(ledger.may_have_lost_records());
        assert!(fs::symlink_metadata(damaged).is_ok());
        assert_eq!(load_watches(&mut ledger, "pull"), None);
        assert_works(&desk, ledger);
    }
}

#[test]
fn one_damaged_ledger_is_kept_without_remains_of_another() {
    let desk = Desk::new();
    let ledger = desk.open();
    for file in desk.files() {
        fs::write(file.to_str().unwrap().replace("ledger.db", "ledger.damaged.db"), "older").unwrap();
    }
    drop(ledger);
    fs::write(desk.path(FILE), [0xA5; 10_000]).unwrap();
    set_aside(desk.open().next_event());
    assert_eq!(fs::metadata(desk.path("ledger.damaged.db")).unwrap().len(), 10_000);
    assert!(!desk.path("ledger.damaged.db-wal").exists());
    assert!(!desk.path("ledger.damaged.db-shm").exists());
}

#[test]
fn garbage_that_is_written_over_the_open_file_is_set_aside() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    for watch in 0..2_000 {
        save_watch(&mut ledger, &watch.to_string());
    }
    ledger.commit();
    // So much was written that one is being made already, and would be in the way of this.
    assert!(ledger.supervisor.checkpoint_ends());
    let shell = Connection::open(desk.path(FILE)).unwrap();
    shell.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let size = fs::metadata(desk.path(FILE)).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(desk.path(FILE)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xA5; usize::try_from(size).unwrap()], 0).unwrap();
    ledger.load_watches("git.twc");
    assert!(set_aside(ledger.next_event()).0.contains("not a database"));
    assert_works(&desk, ledger);
}

#[test]
fn a_table_that_somebody_dropped_is_made_anew() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    Connection::open(desk.path(FILE)).unwrap().execute_batch("DROP TABLE runs").unwrap();
    record_intents(&mut ledger, "a");
    assert!(set_aside(ledger.next_event()).0.contains("no such table"));
    record_intents(&mut ledger, "a");
    assert_eq!(ledger.unfinished().len(), 1);
}

#[test]
fn numbers_that_no_daemon_writes_are_worked_with() {
    for (number, edge) in [(i64::MIN, "running"), (i64::MAX, "ended")] {
        let desk = Desk::new();
        let mut ledger = desk.open();
        record_intents(&mut ledger, "ended");
        ledger.ended("ended", RunOutcome::Exited(0), b"");
        record_intents(&mut ledger, "running");
        drop(ledger);
        let shell = Connection::open(desk.path(FILE)).unwrap();
        for column in ["started", "ended", "timeout", "version"] {
            shell.execute(&format!("UPDATE runs SET {column} = ?1"), [number]).unwrap();
        }
        shell.execute("UPDATE runs SET pid = -1, pid_started = ?1", [number]).unwrap();
        shell.execute("UPDATE runs SET seq = ?1 WHERE run = ?2", (number, edge)).unwrap();
        drop(shell);
        let mut ledger = desk.open();
        serde_json::to_string(&ledger.history(&RunFilter::default(), None, 10).unwrap()).unwrap();
        assert_eq!(ledger.unfinished()[0].process, None, "not a process, but a group or all");
        ledger.end_unfinished(|_| false);
        record_intents(&mut ledger, "new");
        ledger.ended("new", RunOutcome::Exited(0), b"");
        ledger.commit();
        assert_eq!(ledger.next_event(), None);
    }
}

#[test]
fn files_that_are_deleted_under_it_are_made_anew() {
    for deleted in 0..3 {
        let desk = Desk::new();
        let mut ledger = desk.open();
        save_watch(&mut ledger, "pull");
        ledger.commit();
        fs::remove_file(&desk.files()[deleted]).unwrap();
        assert!(set_aside(round(&mut ledger)).0.contains("was deleted"));
        assert_eq!(load_watches(&mut ledger, "pull"), None, "to be told again");
        assert_works(&desk, ledger);
    }
    let desk = Desk::new();
    let mut ledger = desk.open();
    for file in desk.files() {
        fs::remove_file(file).unwrap();
    }
    let (reason, path) = set_aside(round(&mut ledger));
    assert!(reason.ends_with("it was deleted"), "{reason}");
    assert_eq!(path, None, "nothing was left");
    assert_works(&desk, ledger);
}

#[test]
fn a_file_that_is_replaced_under_it_is_set_aside() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    let elsewhere = desk.path("copy");
    fs::copy(desk.path(FILE), &elsewhere).unwrap();
    fs::rename(&elsewhere, desk.path(FILE)).unwrap();
    assert!(set_aside(round(&mut ledger)).0.contains("was replaced"));
    assert_works(&desk, ledger);
}

#[test]
fn truncated_files_do_not_kill_the_daemon() {
    let truncate =
        |path: &PathBuf| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
    for dirty in [false, true] {
        let desk = Desk::new();
        let mut ledger = desk.open();
        save_watch(&mut ledger, "pull");
        if !dirty {
            ledger.commit();
        }
        desk.files().iter().for_each(truncate);
        ledger.commit();
        let news = ledger.next_event().or_else(|| round(&mut ledger));
        assert!(set_aside(news).0.contains("was truncated"));
        assert_works(&desk, ledger);
    }
    // Nor does it at its end.
    let desk = Desk::new();
    let ledger = desk.open();
    desk.files().iter().for_each(truncate);
    drop(ledger);
}

#[test]
fn without_its_directory_it_is_lost_for_good() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    fs::remove_dir_all(desk.dir.path()).unwrap();
    assert!(lost(round(&mut ledger)).contains("restart the daemon"));
    assert_eq!(round(&mut ledger), None);
    assert!(!desk.dir.path().exists());
    // One that was made again is not the one that is locked.
    fs::create_dir(desk.dir.path()).unwrap();
    assert_eq!(round(&mut ledger), None);
    assert!(!desk.path(FILE).exists());
}

#[test]
fn a_directory_that_comes_late_is_taken() {
    let desk = Desk::new();
    let dir = desk.path("state");
    let limits = Limits { pause: Duration::ZERO, retention: runs::DEFAULT_RETENTION };
    let mut ledger = Ledger { supervisor: Supervisor::open(&dir, limits) };
    let reason = lost(ledger.next_event());
    assert!(reason.contains(dir.to_str().unwrap()) && reason.contains("create the directory"), "{reason}");
    assert!(
        ledger.load_watches("git.twc").is_empty() && ledger.unfinished().is_empty() && !ledger.is_dirty()
    );
    fs::create_dir(&dir).unwrap();
    assert_eq!(round(&mut ledger), Some(LedgerEvent::Back));
    assert_eq!(snapshot(&mut ledger, "round"), full_standing());
}

#[test]
fn somebody_elses_transaction_holds_it_up_for_a_moment_only() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    let shell = Connection::open(desk.path(FILE)).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    assert!(lost(round(&mut ledger)).contains("has it open"));
    // Its write, its commit and the tries in between, on a busy machine.
    assert!(began.elapsed() < 10 * database::BUSY_TIMEOUT, "{:?}", began.elapsed());
    assert_eq!(round(&mut ledger), None, "said once");
    shell.execute_batch("COMMIT").unwrap();
    assert_eq!(round(&mut ledger), Some(LedgerEvent::Back));
    assert_works(&desk, ledger);
}

#[test]
fn a_lost_ledger_is_left_alone_for_a_while() {
    let desk = Desk::new();
    let mut ledger = desk.open_with(Duration::from_secs(3600), runs::DEFAULT_RETENTION);
    let shell = Connection::open(desk.path(FILE)).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    lost(round(&mut ledger));
    shell.execute_batch("COMMIT").unwrap();
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(round(&mut ledger), None);
    }
    assert!(began.elapsed() < database::BUSY_TIMEOUT);
    assert_eq!(desk.select("SELECT count(*) FROM watches"), ["0"]);
}

#[test]
fn what_is_deleted_over_and_over_is_not_said_each_time() {
    let desk = Desk::new();
    let mut ledger = desk.open_with(Duration::from_secs(3600), runs::DEFAULT_RETENTION);
    fs::remove_file(desk.path(FILE)).unwrap();
    set_aside(round(&mut ledger));
    fs::remove_file(desk.path(FILE)).unwrap();
    assert!(lost(round(&mut ledger)).contains("was deleted"));
    for _ in 0..3 {
        assert_eq!(round(&mut ledger), None);
    }
}

#[test]
fn checkpoints_keep_the_log_short() {
    let desk = Desk::new();
    let mut ledger = desk.open();
    let size_after = |run: i32, ledger: &mut Ledger| {
        let run = run.to_string();
        record_intents(ledger, &run);
        ledger.ended(&run, RunOutcome::Exited(0), &[b'x'; 4096]);
        ledger.commit();
        fs::metadata(desk.path("ledger.db-wal")).unwrap().len()
    };
    // The thread may be late, but when it is not, a log of some 4 MiB begins anew.
    let longest = (0..1_000).map(|run| {
        let size = size_after(run, &mut ledger);
        assert!(ledger.supervisor.checkpoint_ends());
        size
    });
    assert!(longest.max().unwrap() < 8 * 1024 * 1024);
    // A reader keeps what it sees from being overwritten, and nobody from writing.
    let shell = Connection::open(desk.path(FILE)).unwrap();
    shell.execute_batch("BEGIN; SELECT count(*) FROM runs").unwrap();
    let grown = (1_000..2_200).map(|run| {
        let size = size_after(run, &mut ledger);
        assert!(ledger.supervisor.checkpoint_ends());
        size
    });
    assert!(grown.max().unwrap() > 16 * 1024 * 1024);
    shell.execute_batch("COMMIT").unwrap();
    let shrunk = (2_200..2_700).map(|run| {
        let size = size_after(run, &mut ledger);
        assert!(ledger.supervisor.checkpoint_ends());
        size
    });
    assert!(shrunk.last().unwrap() < 8 * 1024 * 1024);
    assert_eq!(ledger.next_event(), None);
}

/// A file system of its own, of 512 KiB.
struct Disk {
    desk: Desk,
}

impl Disk {
    /// `None` where that is not allowed.
    fn new() -> Option<Self> {
        let disk = Self { desk: Desk::new() };
        disk.mount(&["-t", "tmpfs", "-o", "size=512k", "ledger"]).then_some(disk)
    }

    fn mount(&self, how: &[&str]) -> bool {
        Command::new("mount")
            .args(how)
            .arg(self.desk.dir.path())
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What was set aside under an open connection is held open.
        let _ = Command::new("umount").arg("--lazy").arg(self.desk.dir.path()).status();
    }
}

#[test]
fn a_full_disk_is_said_once_and_again_when_there_is_room() {
    let Some(disk) = Disk::new() else { return };
    let mut ledger = disk.desk.open();
    assert_eq!(ledger.next_event(), None);
    record_intents(&mut ledger, "before");
    ledger.commit();
    let filler = disk.desk.path("filler");
    // As much as there is room for.
    assert!(fs::write(&filler, vec![0; 1024 * 1024]).is_err());
    for run in 0..100 {
        record_intents(&mut ledger, &run.to_string());
        ledger.ended(&run.to_string(), RunOutcome::Exited(0), &[b'x'; 4096]);
        ledger.commit();
    }
    let reason = lost(ledger.next_event());
    assert!(reason.contains("full"), "{reason}");
    assert_eq!(round(&mut ledger), None);
    fs::remove_file(&filler).unwrap();
    assert_eq!(round(&mut ledger), Some(LedgerEvent::Back));
    assert_eq!(ledger.unfinished()[0].intent.run, "before");
    assert_works(&disk.desk, ledger);
}

#[test]
fn a_ledger_that_cannot_be_written_is_lost() {
    let Some(disk) = Disk::new() else { return };
    save_watch(&mut disk.desk.open(), "pull");
    for is_there in [true, false] {
        if !is_there {
            fs::remove_file(disk.desk.path(FILE)).unwrap();
        }
        assert!(disk.mount(&["-o", "remount,ro"]));
        let mut ledger = disk.desk.open();
        let reason = lost(ledger.next_event());
        assert!(reason.contains("writable"), "{reason}");
        assert_eq!(round(&mut ledger), None);
        assert!(disk.mount(&["-o", "remount,rw"]));
        assert_eq!(round(&mut ledger), Some(LedgerEvent::Back));
        assert_eq!(load_watches(&mut ledger, "pull").is_some(), is_there);
    }
}

#[test]
fn a_sound_ledger_is_kept() {
    let desk = Desk::new();
    let ledger = desk.open();
    let inode = fs::metadata(desk.path(FILE)).unwrap().ino();
    drop(ledger);
    drop(desk.open());
    assert_eq!(fs::metadata(desk.path(FILE)).unwrap().ino(), inode);
}
