//! The files on the disk: their number, size, mode and version.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

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
