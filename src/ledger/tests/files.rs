//! The files on the disk: their number, size, mode and version.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::super::copy;
use super::*;

/// Gives the ledger the schema of version 2.
fn downgrade(dir: &TestDir) {
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell.execute("ALTER TABLE watches DROP COLUMN applied_size", []).unwrap();
    for version in ["held", "admitted"] {
        for part in ["incarnation", "revision", "number"] {
            shell.execute(&format!("ALTER TABLE watches DROP COLUMN {version}_{part}"), []).unwrap();
        }
    }
    shell.pragma_update(None, "user_version", 2).unwrap();
}

#[test]
fn a_ledger_of_the_previous_version_is_upgraded_without_loss() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    save_watch(&mut ledger, "pull");
    record_intents(&mut ledger, "a");
    drop(ledger);
    downgrade(&dir);
    // Copying changes nothing in the original.
    let other = TestDir::new();
    assert!(copy(dir.root(), other.root()).unwrap());
    assert_eq!(dir.select("SELECT user_version FROM pragma_user_version"), ["2"]);

    let unguarded = Snapshot { held: None, admitted: None, applied_size: None, ..full_snapshot() };
    for dir in [dir, other] {
        let mut ledger = dir.open();
        assert_eq!(ledger.next_event(), None);
        assert_eq!(snapshot(&mut ledger, "pull"), unguarded);
        assert_eq!(ledger.unfinished().len(), 1);
        save_watch(&mut ledger, "pull");
        drop(ledger);
        assert_eq!(dir.select("SELECT user_version FROM pragma_user_version"), ["3"]);
        assert_eq!(snapshot(&mut dir.open(), "pull"), full_snapshot());
    }
}

#[test]
fn a_ledger_of_the_previous_version_can_be_copied_while_it_is_open() {
    let (dir, other) = (TestDir::new(), TestDir::new());
    save_watch(&mut dir.open(), "pull");
    downgrade(&dir);
    // While a connection is open, the newest content is in the log only.
    let user = Connection::open(dir.path(FILE)).unwrap();
    user.pragma_update(None, "journal_mode", "WAL").unwrap();
    user.execute("UPDATE watches SET failures = 6", []).unwrap();
    assert!(copy(dir.root(), other.root()).unwrap());
    assert_eq!(snapshot(&mut other.open(), "pull").failures, 6);
}

#[test]
fn dropping_the_ledger_commits_it_and_leaves_one_file() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    save_watch(&mut ledger, "pull");
    drop(ledger);
    let names: Vec<_> = fs::read_dir(dir.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [FILE]);
    assert_eq!(snapshot(&mut dir.open(), "pull"), full_snapshot());
}

#[test]
fn other_processes_of_its_owner_can_read_an_open_ledger() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    save_watch(&mut ledger, "pull");
    assert_eq!(dir.select("SELECT count(*) FROM watches"), ["0"], "not committed");
    ledger.commit();
    assert_eq!(
        dir.select("SELECT watch, failures, next_try_utc FROM failing"),
        ["git.twc:pull|5|1970-01-01 00:01:00"]
    );
    for file in dir.files() {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn checkpoints_keep_the_log_short() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    let mut sizes = |runs: std::ops::Range<i32>| -> Vec<u64> {
        let size_after = |run: i32| {
            let run = run.to_string();
            record_intents(&mut ledger, &run);
            ledger.ended(&run, RunOutcome::Exited(0), &[b'x'; 4096]);
            ledger.commit();
            let size = fs::metadata(dir.path("ledger.db-wal")).unwrap().len();
            // A late thread would let the log grow.
            assert!(ledger.wait_for_checkpoint());
            size
        };
        runs.map(size_after).collect()
    };
    assert!(*sizes(0..1_000).iter().max().unwrap() < 8 * 1024 * 1024);
    // A reader keeps the log from starting over, and keeps nobody from writing.
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell.execute_batch("BEGIN; SELECT count(*) FROM runs").unwrap();
    assert!(*sizes(1_000..2_200).iter().max().unwrap() > 16 * 1024 * 1024);
    shell.execute_batch("COMMIT").unwrap();
    assert!(*sizes(2_200..2_700).last().unwrap() < 8 * 1024 * 1024);
    assert_eq!(ledger.next_event(), None);
}

#[test]
fn an_undamaged_ledger_is_kept() {
    let dir = TestDir::new();
    let ledger = dir.open();
    let inode = fs::metadata(dir.path(FILE)).unwrap().ino();
    drop(ledger);
    drop(dir.open());
    assert_eq!(fs::metadata(dir.path(FILE)).unwrap().ino(), inode);
}
