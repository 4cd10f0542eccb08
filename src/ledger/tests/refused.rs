//! Ledgers that this program must not touch, and ledgers that it cannot read.

use std::os::unix::fs::symlink;

use super::super::copy;
use super::*;

fn sql(dir: &TestDir, sql: &str) {
    Connection::open(dir.path(FILE)).unwrap().execute_batch(sql).unwrap();
}

/// A ledger of a newer program than this one. If it is `open`, its version is in its log only.
fn newer(dir: &TestDir, is_open: bool) -> Option<Connection> {
    save_watch(&mut dir.open(), "pull");
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell.execute_batch("PRAGMA user_version = 9; UPDATE program SET version = '2.7.1'").unwrap();
    is_open.then_some(shell)
}

#[test]
fn a_ledger_of_a_newer_version_is_not_touched() {
    for is_open in [false, true] {
        let dir = TestDir::new();
        let _writer = newer(&dir, is_open);
        let before = dir.content();
        let refusal = dir.refusal();
        for expected in
            [dir.path(FILE).to_str().unwrap(), "version is 9", "up to 3", "2.7.1", "--ledger-reset"]
        {
            assert!(refusal.contains(expected), "{refusal}");
        }
        let names = |files: &[(OsString, Vec<u8>)]| -> Vec<OsString> {
            files.iter().map(|(name, _)| name.clone()).collect()
        };
        let after = dir.content();
        assert_eq!(names(&after), names(&before));
        // The index of a log is no content.
        let is_content = |file: &&(OsString, Vec<u8>)| file.0 != "ledger.db-shm";
        assert!(after.iter().filter(is_content).eq(before.iter().filter(is_content)));
        let error = copy(dir.root(), TestDir::new().root()).unwrap_err().to_string();
        assert!(error.contains("version is 9"), "{error}");
    }
}

#[test]
fn a_newer_ledger_that_does_not_say_who_wrote_it_is_refused_too() {
    let dir = TestDir::new();
    save_watch(&mut dir.open(), "pull");
    for statement in ["PRAGMA user_version = 4", "DROP TABLE program", "PRAGMA application_id = 0"] {
        sql(&dir, statement);
        let refusal = dir.refusal();
        assert!(refusal.contains("its version is 4") && refusal.contains("the newer Twitcher"), "{refusal}");
    }
}

#[test]
fn what_is_not_a_ledger_is_not_touched() {
    let dir = TestDir::new();
    save_watch(&mut dir.open(), "pull");
    let kept = fs::read(dir.path(FILE)).unwrap();
    let foreign = "it is another program's database";
    let tables = "DROP TABLE watches; DROP TABLE runs; PRAGMA application_id = 0; CREATE TABLE t (x)";
    for (statement, expected) in [
        ("PRAGMA application_id = 7", foreign),
        ("PRAGMA user_version = 0", foreign),
        ("PRAGMA user_version = -1", foreign),
        (tables, foreign),
    ] {
        fs::write(dir.path(FILE), &kept).unwrap();
        sql(&dir, statement);
        let before = dir.content();
        let refusal = dir.refusal();
        assert!(refusal.contains(expected), "{statement}: {refusal}");
        assert!(dir.content() == before, "{statement}");
    }
    // The version of the format, of which this SQLite knows two.
    for place in [18, 19, 47] {
        let mut bytes = kept.clone();
        bytes[place] = 7;
        fs::write(dir.path(FILE), &bytes).unwrap();
        assert!(dir.refusal().contains("newer SQLite"), "{place}");
        assert!(fs::read(dir.path(FILE)).unwrap() == bytes);
    }
    fs::rename(dir.path(FILE), dir.path("elsewhere")).unwrap();
    symlink(dir.path("elsewhere"), dir.path(FILE)).unwrap();
    assert!(dir.refusal().contains("it is a symbolic link"));
    assert_eq!(fs::read_link(dir.path(FILE)).unwrap(), dir.path("elsewhere"));
    fs::remove_file(dir.path(FILE)).unwrap();
    fs::create_dir(dir.path(FILE)).unwrap();
    assert!(dir.refusal().contains("it is a directory"));
    assert!(dir.path(FILE).is_dir());
}

#[test]
fn a_daemon_that_runs_does_not_touch_a_newer_ledger_either() {
    let (dir, other) = (TestDir::new(), TestDir::new());
    newer(&other, false);
    let mut ledger = dir.open();
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    lost_reason(round(&mut ledger));
    drop(shell);
    for file in dir.files() {
        let _ = fs::remove_file(file);
    }
    fs::copy(other.path(FILE), dir.path(FILE)).unwrap();
    assert_eq!(round(&mut ledger), None);
    assert!(ledger.lost_reason().unwrap().contains("version is 9"), "{:?}", ledger.lost_reason());
    assert!(dir.content() == other.content());
}

#[test]
fn a_reset_ledger_is_kept_until_somebody_deletes_it() {
    let dir = TestDir::new();
    newer(&dir, false);
    let before = fs::read(dir.path(FILE)).unwrap();
    let kept = Ledger::reset(dir.root()).unwrap().unwrap();
    assert_eq!(kept, dir.path("ledger.reset.db"));
    assert_eq!(fs::read(&kept).unwrap(), before);
    let mut ledger = dir.open();
    assert_eq!(ledger.next_event(), None);
    assert!(!ledger.may_have_lost_records(), "every watch counts as new");
    assert_works(&dir, ledger);
    let error = Ledger::reset(dir.root()).unwrap_err();
    assert!(error.contains("ledger.reset.db is there from an earlier reset"), "{error}");
    fs::remove_file(&kept).unwrap();
    assert_eq!(Ledger::reset(dir.root()).unwrap(), Some(kept));
    assert_eq!(Ledger::reset(TestDir::new().root()).unwrap(), None);
}

#[test]
fn a_ledger_that_is_locked_so_that_it_cannot_be_read_is_waited_for() {
    let dir = TestDir::new();
    save_watch(&mut dir.open(), "pull");
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; DELETE FROM runs; COMMIT")
        .unwrap();
    let refusal = dir.refusal();
    assert!(refusal.contains("cannot be read") && refusal.contains("has it open"), "{refusal}");
    let opener = std::thread::scope(|scope| {
        let opener = scope.spawn(|| {
            Ledger::open_with(dir.root(), Limits { start_timeout: Duration::from_secs(60), ..limits() })
        });
        drop(shell);
        opener.join().unwrap()
    });
    let mut ledger = opener.unwrap();
    assert_eq!(ledger.next_event(), None);
    assert_eq!(snapshot(&mut ledger, "pull"), full_snapshot());
}

#[test]
fn a_word_of_a_later_program_with_the_same_tables_is_understood_as_well_as_possible() {
    let dir = with_records();
    sql(&dir, "UPDATE watches SET owed = 'vanished'; UPDATE runs SET event = 'vanished'");
    let mut ledger = dir.open();
    assert_eq!(snapshot(&mut ledger, "pull"), full_snapshot());
    assert_eq!(ledger.unfinished()[0].intent.event, Event::Changed);
    assert_eq!(ledger.next_event(), None);
}
