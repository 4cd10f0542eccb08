//! Ledgers of older versions.

use super::super::{RunFilter, UnfinishedRun, copy};
use super::*;

/// A ledger of version 2 with the watch `pull` and the unfinished run `a`.
fn older() -> TestDir {
    let dir = with_records();
    downgrade(&dir);
    dir
}

/// Gives the ledger the schema of version 2.
fn downgrade(dir: &TestDir) {
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell.execute("ALTER TABLE watches DROP COLUMN applied_size", []).unwrap();
    for version in ["held", "admitted"] {
        for part in ["incarnation", "revision", "number"] {
            shell.execute(&format!("ALTER TABLE watches DROP COLUMN {version}_{part}"), []).unwrap();
        }
    }
    drop_members(&shell);
    drop_pauses(&shell);
    drop_causes(&shell);
    shell.pragma_update(None, "user_version", 2).unwrap();
}

fn drop_members(shell: &Connection) {
    for table in ["watches", "runs"] {
        shell.execute(&format!("ALTER TABLE {table} DROP COLUMN members"), []).unwrap();
    }
}

/// Removes what version 3 did not have from its beginning.
fn drop_pauses(shell: &Connection) {
    shell.execute("DROP TRIGGER resumed", []).unwrap();
    for column in ["by", "why", "at", "until"] {
        shell.execute(&format!("ALTER TABLE watches DROP COLUMN paused_{column}"), []).unwrap();
    }
}

/// Removes what version 3 got with the audit of commits.
fn drop_causes(shell: &Connection) {
    // The view names the columns.
    shell.execute("DROP VIEW history", []).unwrap();
    for column in ["version", "author", "comment", "at"] {
        let drop = format!("ALTER TABLE watches DROP COLUMN applied_commit_{column}");
        shell.execute(&drop, []).unwrap();
    }
    for column in ["commit_version", "commit_author", "commit_comment", "transaction_id", "changed"] {
        shell.execute(&format!("ALTER TABLE runs DROP COLUMN {column}"), []).unwrap();
    }
}

/// A run of which nobody knows what made it.
fn uncaused(run: &str) -> Intent {
    Intent { cause: RunCause::default(), ..intent(run) }
}

#[test]
fn a_ledger_from_before_the_commits_goes_on_with_all_that_it_records() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    save_watch(&mut ledger, "pull");
    record_intents(&mut ledger, "a");
    ledger.ended("a", RunOutcome::Exited(0), b"printed");
    record_intents(&mut ledger, "b");
    drop(ledger);
    drop_causes(&Connection::open(dir.path(FILE)).unwrap());
    let other = TestDir::new();
    assert!(copy(dir.root(), other.root()).unwrap());
    for dir in [dir, other] {
        let mut ledger = dir.open();
        assert_eq!(ledger.next_event(), None);
        let stored = stored_watch(&mut ledger, "pull").unwrap();
        assert_eq!((stored.snapshot, stored.applied_commit), (full_snapshot(), None));
        let unfinished: Vec<_> = ledger.unfinished().into_iter().map(|run| run.intent).collect();
        assert_eq!(unfinished, [uncaused("b")]);
        record_intents(&mut ledger, "c");
        save_watch(&mut ledger, "pull");
        let runs = ledger.history(&RunFilter::default(), None, 10).unwrap();
        let causes: Vec<_> = runs.iter().map(|(_, run)| (run.run.as_str(), &run.cause)).collect();
        let unknown = RunCause::default();
        assert_eq!(causes, [("c", &intent("c").cause), ("b", &unknown), ("a", &unknown)]);
        drop(ledger);
        assert_eq!(dir.select("SELECT user_version FROM pragma_user_version"), ["3"]);
        let mut ledger = dir.open();
        assert_eq!(stored_watch(&mut ledger, "pull").unwrap().applied_commit, Some(commit()));
        assert_works(&dir, ledger);
    }
}

// After a rollback of the package and a return.
#[test]
fn a_commit_does_not_stand_for_what_an_older_program_applied_later() {
    let dir = with_records();
    let commit_of = |dir: &TestDir| stored_watch(&mut dir.open(), "pull").unwrap().applied_commit;
    assert_eq!(commit_of(&dir), Some(commit()));
    let older = Connection::open(dir.path(FILE)).unwrap();
    let update = "UPDATE watches SET applied_revision = 1, applied_number = 9, applied_at = applied_at + 1";
    older.execute(update, []).unwrap();
    drop(older);
    assert_eq!(commit_of(&dir), None);
}

/// A pause of which nobody knows who wanted it, and which does not end by itself.
fn bare_pause() -> Option<Box<Pause>> {
    Some(Box::default())
}

#[test]
fn a_pause_of_an_older_program_goes_on_without_its_reason() {
    let dir = with_records();
    drop_pauses(&Connection::open(dir.path(FILE)).unwrap());
    let other = TestDir::new();
    assert!(copy(dir.root(), other.root()).unwrap());
    assert_eq!(snapshot(&mut other.open(), "pull").pause, bare_pause());
    let mut ledger = dir.open();
    assert_eq!(ledger.next_event(), None);
    assert_eq!(snapshot(&mut ledger, "pull"), Snapshot { pause: bare_pause(), ..full_snapshot() });
    save_watch(&mut ledger, "pull");
    drop(ledger);
    assert_eq!(dir.select("SELECT user_version FROM pragma_user_version"), ["3"]);
    assert_eq!(snapshot(&mut dir.open(), "pull"), full_snapshot());
}

#[test]
fn an_older_program_takes_members_for_children_and_what_it_writes_is_what_it_means() {
    let dir = with_records();
    drop_members(&Connection::open(dir.path(FILE)).unwrap());
    let members = subject("/services/web", Facet::Members);
    let save = |ledger: &mut Ledger, definition| {
        ledger.save_watch(&WatchRecord {
            watch: &watch("members"),
            store: STORE,
            subject: &members,
            definition,
            snapshot: &full_snapshot(),
            applied_commit: None,
            last_error: None,
            next_try: None,
        });
    };
    let stored = |dir: &TestDir| stored_watch(&mut dir.open(), "members").unwrap().subject;
    let mut ledger = dir.open();
    assert_eq!((ledger.next_event(), snapshot(&mut ledger, "pull")), (None, full_snapshot()));
    save(&mut ledger, 7);
    ledger.record_intents([Intent { subject: members.clone(), ..intent("m") }].iter());
    drop(ledger);
    assert_eq!(dir.select("SELECT user_version FROM pragma_user_version"), ["3"]);
    assert_eq!(stored(&dir), members);
    assert_eq!(dir.select("SELECT facet FROM watches WHERE description = 'members'"), ["children"]);
    let mut ledger = dir.open();
    let unfinished = ledger.unfinished();
    let unfinished = unfinished.iter().find(|run| run.intent.run == "m").unwrap();
    assert_eq!(unfinished.intent.subject, members);
    let runs = ledger.history(&RunFilter::default(), None, 10).unwrap();
    let types: Vec<_> = runs.iter().map(|(_, run)| run.watch_type.as_str()).collect();
    assert_eq!(types, ["members", "children"]);
    drop(ledger);
    // After a rollback, the config says something else, and the older program does not know the column.
    let older = Connection::open(dir.path(FILE)).unwrap();
    let update = "UPDATE watches SET facet = 'children', definition = ?1 WHERE description = 'members'";
    older.execute(update, [super::super::column::definition(8)]).unwrap();
    drop(older);
    assert_eq!(stored(&dir), subject("/services/web", Facet::Children));
    save(&mut dir.open(), 9);
    assert_eq!(stored(&dir), members);
}

// After a rollback of the package and a return.
#[test]
fn the_terms_of_a_pause_that_an_older_program_ended_do_not_hold_for_its_next_pause() {
    let dir = with_records();
    assert_ne!(snapshot(&mut dir.open(), "pull").pause, bare_pause());
    let older = Connection::open(dir.path(FILE)).unwrap();
    for paused in [0, 1] {
        older.execute("UPDATE watches SET paused = ?1", [paused]).unwrap();
    }
    drop(older);
    assert_eq!(snapshot(&mut dir.open(), "pull").pause, bare_pause());
}

#[test]
fn a_ledger_of_the_previous_version_is_upgraded_without_loss() {
    let dir = older();
    // Copying changes nothing in the original.
    let other = TestDir::new();
    assert!(copy(dir.root(), other.root()).unwrap());
    assert_eq!(dir.select("SELECT user_version FROM pragma_user_version"), ["2"]);

    let unguarded =
        Snapshot { held: None, admitted: None, applied_size: None, pause: bare_pause(), ..full_snapshot() };
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
fn a_ledger_of_the_first_version_is_upgraded_with_all_that_it_records() {
    let dir = TestDir::new();
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell.execute_batch(include_str!("version1.sql")).unwrap();
    drop(shell);
    let unguarded =
        Snapshot { held: None, admitted: None, applied_size: None, pause: None, ..full_snapshot() };
    let mut ledger = dir.open();
    assert_eq!(ledger.next_event(), None);
    let stored = stored_watch(&mut ledger, "pull").unwrap();
    assert_eq!((stored.snapshot, stored.store.as_str()), (unguarded, STORE));
    let unfinished = ledger.unfinished();
    let [UnfinishedRun { intent, .. }] = &unfinished[..] else { panic!("{unfinished:?}") };
    assert_eq!((intent.run.as_str(), &*intent.store), ("b", STORE));
    assert_eq!(ledger.output("a"), Ok(Some(b"A".to_vec())));
    assert_eq!(dir.select("SELECT outcome FROM history WHERE run = 'a'"), ["not started: no such file"]);
    assert_eq!(dir.select("SELECT run FROM mine"), ["a", "b"], "a view of an operator");
    assert_works(&dir, ledger);
}

#[test]
fn tables_that_accept_only_the_events_of_their_time_are_replaced() {
    let dir = TestDir::new();
    save_watch(&mut dir.open(), "pull");
    let shell = Connection::open(dir.path(FILE)).unwrap();
    let old = include_str!("../schema.sql").replace("owed TEXT", "owed TEXT CHECK (owed IN ('changed'))");
    assert_ne!(old, include_str!("../schema.sql"));
    shell.execute_batch("DROP TRIGGER resumed; ALTER TABLE watches RENAME TO kept; DROP TABLE runs").unwrap();
    shell.execute_batch("DROP VIEW history; DROP VIEW failing").unwrap();
    shell.execute_batch(&format!("{old}; INSERT INTO watches SELECT * FROM kept; DROP TABLE kept")).unwrap();
    assert!(shell.execute("UPDATE watches SET owed = 'new'", []).is_err());
    drop(shell);
    assert_eq!(snapshot(&mut dir.open(), "pull"), full_snapshot());
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell.execute("UPDATE watches SET owed = 'new'", []).unwrap();
}

#[test]
fn an_older_ledger_that_cannot_be_upgraded_yet_is_read() {
    let dir = older();
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut ledger = dir.open();
    lost_reason(ledger.next_event());
    assert!(snapshot(&mut ledger, "pull").pause.is_some());
    assert_eq!(ledger.unfinished().len(), 1);
    drop(shell);
    assert_eq!(round(&mut ledger), Some(LedgerEvent::Back));
    assert!(snapshot(&mut ledger, "pull").pause.is_some());
}
