//! Damaged, deleted and replaced files lead to a new ledger.

use std::os::unix::fs::FileExt;

use super::*;

fn open_to_write(path: &Path) -> fs::File {
    fs::OpenOptions::new().write(true).open(path).unwrap()
}

#[test]
fn a_file_that_is_no_ledger_is_set_aside_at_the_start() {
    let garbage = |path: &PathBuf| fs::write(path, [0xA5; 10_000]).unwrap();
    let truncate = |path: &PathBuf| open_to_write(path).set_len(8192).unwrap();
    let empty = |path: &PathBuf| drop(fs::File::create(path).unwrap());
    type Damage<'a> = (&'a dyn Fn(&PathBuf), &'a str);
    let damages: [Damage<'_>; 3] =
        [(&garbage, "file is not a database"), (&truncate, "malformed"), (&empty, "it is empty")];
    for (damage, expected) in damages {
        let dir = TestDir::new();
        save_watch(&mut dir.open(), "pull");
        damage(&dir.path(FILE));
        let mut ledger = dir.open();
        let (reason, path) = quarantined(ledger.next_event());
        assert!(reason.contains(expected), "{reason}");
        assert!(reason.starts_with(dir.path(FILE).to_str().unwrap()), "{reason}");
        let damaged = dir.path("ledger.damaged.db");
        assert_eq!(path.as_deref(), damaged.to_str());
        assert!(ledger.may_have_lost_records());
        assert!(fs::symlink_metadata(damaged).is_ok());
        assert_eq!(stored_watch(&mut ledger, "pull"), None);
        assert_works(&dir, ledger);
    }
}

#[test]
fn one_damaged_ledger_is_kept_without_files_of_an_older_one() {
    let dir = TestDir::new();
    let ledger = dir.open();
    for file in dir.files() {
        fs::write(file.to_str().unwrap().replace("ledger.db", "ledger.damaged.db"), "older").unwrap();
    }
    drop(ledger);
    fs::write(dir.path(FILE), [0xA5; 10_000]).unwrap();
    quarantined(dir.open().next_event());
    assert_eq!(fs::metadata(dir.path("ledger.damaged.db")).unwrap().len(), 10_000);
    assert!(!dir.path("ledger.damaged.db-wal").exists());
    assert!(!dir.path("ledger.damaged.db-shm").exists());
}

#[test]
fn garbage_that_is_written_over_the_open_file_is_set_aside() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    for watch in 0..2_000 {
        save_watch(&mut ledger, &watch.to_string());
    }
    ledger.commit();
    // So much was written that a checkpoint is being made, which would be in the way of the next one.
    assert!(ledger.wait_for_checkpoint());
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let size = fs::metadata(dir.path(FILE)).unwrap().len();
    let garbage = vec![0xA5; usize::try_from(size).unwrap()];
    open_to_write(&dir.path(FILE)).write_all_at(&garbage, 0).unwrap();
    ledger.load_watches("git.twc");
    assert!(quarantined(ledger.next_event()).0.contains("not a database"));
    assert_works(&dir, ledger);
}

#[test]
fn a_dropped_table_leads_to_a_new_ledger() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    Connection::open(dir.path(FILE)).unwrap().execute_batch("DROP TABLE runs").unwrap();
    record_intents(&mut ledger, "a");
    assert!(quarantined(ledger.next_event()).0.contains("no such table"));
    record_intents(&mut ledger, "a");
    assert_eq!(ledger.unfinished().len(), 1);
}

#[test]
fn deleted_files_lead_to_a_new_ledger() {
    for deleted in 0..3 {
        let dir = TestDir::new();
        let mut ledger = dir.open();
        save_watch(&mut ledger, "pull");
        ledger.commit();
        fs::remove_file(&dir.files()[deleted]).unwrap();
        assert!(quarantined(round(&mut ledger)).0.contains("was deleted"));
        assert_eq!(stored_watch(&mut ledger, "pull"), None, "to be recorded again");
        assert_works(&dir, ledger);
    }
    let dir = TestDir::new();
    let mut ledger = dir.open();
    for file in dir.files() {
        fs::remove_file(file).unwrap();
    }
    let (reason, path) = quarantined(round(&mut ledger));
    assert!(reason.ends_with("it was deleted"), "{reason}");
    assert_eq!(path, None, "nothing was left");
    assert_works(&dir, ledger);
}

#[test]
fn a_replaced_file_is_set_aside() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    let elsewhere = dir.path("copy");
    fs::copy(dir.path(FILE), &elsewhere).unwrap();
    fs::rename(&elsewhere, dir.path(FILE)).unwrap();
    assert!(quarantined(round(&mut ledger)).0.contains("was replaced"));
    assert_works(&dir, ledger);
}

#[test]
fn truncated_files_do_not_kill_the_daemon() {
    let truncate = |path: &PathBuf| open_to_write(path).set_len(0).unwrap();
    for dirty in [false, true] {
        let dir = TestDir::new();
        let mut ledger = dir.open();
        save_watch(&mut ledger, "pull");
        if !dirty {
            ledger.commit();
        }
        dir.files().iter().for_each(truncate);
        ledger.commit();
        let event = ledger.next_event().or_else(|| round(&mut ledger));
        assert!(quarantined(event).0.contains("was truncated"));
        assert_works(&dir, ledger);
    }
    // Truncation must not kill a daemon that stops, either.
    let dir = TestDir::new();
    let ledger = dir.open();
    dir.files().iter().for_each(truncate);
    drop(ledger);
}

#[test]
fn a_file_that_is_deleted_again_and_again_is_not_reported_each_time() {
    let dir = TestDir::new();
    let mut ledger = dir.open_with(Duration::from_secs(3600), Retention::default());
    fs::remove_file(dir.path(FILE)).unwrap();
    quarantined(round(&mut ledger));
    fs::remove_file(dir.path(FILE)).unwrap();
    assert!(lost_reason(round(&mut ledger)).contains("was deleted"));
    for _ in 0..3 {
        assert_eq!(round(&mut ledger), None);
    }
}
