//! Tests of the records of watches.

use super::super::{RunFilter, column};
use super::*;

#[test]
fn a_record_is_loaded_as_it_was_saved() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    assert_eq!(ledger.next_event(), None, "a first start is no event");
    assert!(!ledger.is_dirty());
    let children = subject("/git/heads", Facet::Children);
    let mut save = |watch: WatchKey, snapshot: Snapshot| {
        ledger.save_watch(&WatchRecord {
            watch: &watch,
            store: STORE,
            subject: &children,
            definition: u64::MAX,
            snapshot: &snapshot,
            applied_commit: None,
            last_error: None,
            next_try: None,
        });
    };
    let absent = Snapshot { seen: Some(Seen::Absent), pending: Some(Event::Load), ..Snapshot::default() };
    save(watch("full"), full_snapshot());
    save(watch("absent"), absent.clone());
    save(watch("new"), Snapshot::default());
    save(WatchKey { file: "b.twc".into(), description: "x".into() }, absent.clone());
    assert!(ledger.is_dirty());
    ledger.commit();
    assert!(!ledger.is_dirty());
    drop(ledger);

    let stored = dir.open().load_watches("git.twc");
    assert_eq!(stored.len(), 3);
    for (description, snapshot) in
        [("full", full_snapshot()), ("absent", absent), ("new", Snapshot::default())]
    {
        let expected = StoredWatch {
            store: STORE.into(),
            subject: children.clone(),
            definition: u64::MAX,
            snapshot,
            applied_commit: None,
            last_error: None,
        };
        assert_eq!(stored[description], expected, "{description}");
    }
}

#[test]
fn a_deletion_is_owed_and_applied() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    let seen = Some(Seen::Absent);
    let owed = Snapshot { seen, pending: Some(Event::Deleted), ..Snapshot::default() };
    let applied = Snapshot { seen, applied: Some(Version::DELETION), ..Snapshot::default() };
    save_watch_as(&mut ledger, "pull", 7, &owed);
    save_watch_as(&mut ledger, "done", 7, &applied);
    let deletion = Intent { version: Version::DELETION, event: Event::Deleted, ..intent("1") };
    ledger.record_intents([&deletion].into_iter());
    ledger.commit();
    assert_eq!(ledger.next_event(), None, "the ledger took all of it");
    drop(ledger);

    let mut ledger = dir.open();
    assert_eq!(snapshot(&mut ledger, "pull"), owed);
    assert_eq!(snapshot(&mut ledger, "done"), applied);
    assert_eq!(ledger.unfinished()[0].intent.event, Event::Deleted);
    let history = ledger.history(&RunFilter::default(), None, 1).unwrap();
    assert_eq!((&*history[0].1.event, history[0].1.version), ("deleted", -1));
    assert_eq!(dir.select("SELECT event FROM history"), ["deleted"]);
}

#[test]
fn what_was_applied_stays_recorded_until_something_else_is_applied() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    let unknown = Snapshot { applied: None, ..full_snapshot() };
    let at = |dir: &TestDir| dir.select("SELECT applied_number, applied_definition, applied_at FROM watches");
    save_watch(&mut ledger, "pull");
    ledger.commit();
    let recorded = at(&dir);
    assert!(recorded[0].starts_with("3|0000000000000007|"), "{recorded:?}");

    save_watch_as(&mut ledger, "pull", 7, &unknown);
    assert_eq!(snapshot(&mut ledger, "pull").applied, Some(version(3)));
    while column::millis(SystemTime::now()).to_string() == recorded[0].rsplit('|').next().unwrap() {}
    save_watch(&mut ledger, "pull");
    ledger.commit();
    assert_eq!(at(&dir), recorded, "the time stays that of the first record");

    // What another definition applied does not count.
    save_watch_as(&mut ledger, "pull", 8, &unknown);
    assert_eq!(snapshot(&mut ledger, "pull").applied, None);
    save_watch_as(&mut ledger, "pull", 7, &unknown);
    assert_eq!(snapshot(&mut ledger, "pull").applied, Some(version(3)));
    save_watch_as(&mut ledger, "pull", 8, &full_snapshot());
    assert_eq!(snapshot(&mut ledger, "pull").applied, Some(version(3)));
    save_watch_as(&mut ledger, "pull", 7, &unknown);
    assert_eq!(snapshot(&mut ledger, "pull").applied, None);
}

#[test]
fn the_commit_that_was_applied_is_recorded_with_its_version_and_goes_with_it() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    save_watch(&mut ledger, "pull");
    let key = watch("pull");
    let subject = subject("/git/head", Facet::Data);
    let full = full_snapshot();
    let save = |ledger: &mut Ledger, definition, number: Option<i64>, commit: Option<&CommitNote>| {
        let snapshot = Snapshot { applied: number.map(version), ..full.clone() };
        ledger.save_watch(&WatchRecord {
            watch: &key,
            store: STORE,
            subject: &subject,
            definition,
            snapshot: &snapshot,
            applied_commit: commit,
            last_error: None,
            next_try: None,
        });
    };
    let stored = |ledger: &mut Ledger| stored_watch(ledger, "pull").unwrap().applied_commit;
    ledger.commit();
    drop(ledger);
    let mut ledger = dir.open();
    assert_eq!(stored(&mut ledger), Some(commit()), "a restart keeps it");
    // The daemon does not know yet what was applied.
    save(&mut ledger, 7, None, None);
    assert_eq!(stored(&mut ledger), Some(commit()));
    let next = CommitNote { version: 8, ..commit() };
    save(&mut ledger, 7, Some(4), Some(&next));
    assert_eq!(stored(&mut ledger), Some(next));
    // Another definition takes it for a plain node.
    save(&mut ledger, 8, Some(4), None);
    assert_eq!(stored(&mut ledger), None);
    // The same version is applied again, as a commit.
    save(&mut ledger, 8, Some(4), Some(&commit()));
    assert_eq!(stored(&mut ledger), Some(commit()));
    save(&mut ledger, 9, None, None);
    assert_eq!(stored(&mut ledger), None, "it is another definition's");
}

#[test]
fn what_was_applied_in_another_store_does_not_count_in_this_one() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    save_watch(&mut ledger, "pull");
    let (key, unknown) = (watch("pull"), Snapshot { applied: None, ..full_snapshot() });
    let moved = WatchRecord {
        watch: &key,
        store: "eu zk:/",
        subject: &subject("/git/head", Facet::Data),
        definition: 7,
        snapshot: &unknown,
        applied_commit: None,
        last_error: None,
        next_try: None,
    };
    ledger.save_watch(&moved);
    let stored = stored_watch(&mut ledger, "pull").unwrap();
    assert_eq!((&*stored.store, &stored.snapshot), ("eu zk:/", &unknown));
    save_watch_as(&mut ledger, "pull", 7, &unknown);
    let stored = stored_watch(&mut ledger, "pull").unwrap();
    assert_eq!((&*stored.store, stored.snapshot), (STORE, unknown));
}

#[test]
fn a_retired_watch_keeps_what_it_applied_and_its_pause() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    save_watch(&mut ledger, "pull");
    save_watch(&mut ledger, "other");
    ledger.retire(&watch("pull"));
    let kept = Snapshot {
        applied: Some(version(3)),
        applied_size: full_snapshot().applied_size,
        pause: full_snapshot().pause,
        ..Snapshot::default()
    };
    assert_eq!(snapshot(&mut ledger, "pull"), kept);
    assert_eq!(snapshot(&mut ledger, "other"), full_snapshot());
    ledger.commit();
    assert_eq!(dir.select("SELECT watch FROM failing"), ["git.twc:other"]);
}

#[test]
fn only_watches_that_are_long_gone_are_pruned() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    for description in ["gone", "loaded", "recent"] {
        save_watch(&mut ledger, description);
    }
    ledger.commit();
    let month = column::duration(Duration::from_secs(30 * 24 * 60 * 60)) + 1_000;
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell
        .execute("UPDATE watches SET updated = updated - ?1 WHERE description <> 'recent'", [month])
        .unwrap();
    ledger.prune_watches(|key| *key == watch("loaded"));
    ledger.commit();
    assert_eq!(dir.select("SELECT description FROM watches"), ["loaded", "recent"]);
}

#[test]
fn a_failure_before_the_restart_keeps_its_reason() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    save_watch(&mut ledger, "pull");
    let errors = |ledger: &mut Ledger| {
        ledger.commit();
        dir.select("SELECT last_error FROM watches WHERE last_error IS NOT NULL")
    };
    assert_eq!(errors(&mut ledger), ["exit code 1"]);
    let key = watch("pull");
    let subject = subject("/git", Facet::Children);
    let mut snapshot = full_snapshot();
    let save = |ledger: &mut Ledger, snapshot: &Snapshot| {
        ledger.save_watch(&WatchRecord {
            watch: &key,
            store: STORE,
            subject: &subject,
            definition: 7,
            snapshot,
            applied_commit: None,
            last_error: None,
            next_try: None,
        });
    };
    save(&mut ledger, &snapshot);
    assert_eq!(errors(&mut ledger), ["exit code 1"]);
    snapshot.failures = 0;
    save(&mut ledger, &snapshot);
    assert!(errors(&mut ledger).is_empty());
}
