//! What the ledger records is kept: no daemon ignores a ledger that it cannot use, and nobody's reading fills
//! the disk.

use std::fs;

use rusqlite::Connection;

use crate::harness::control::{ask, connect};
use crate::harness::{Journal, Sandbox, exec, wait_until, watch};

/// A sandbox with the ledger of a daemon that has stopped. Its watch is paused, and an update waits for it.
fn paused() -> (Sandbox, Journal) {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let mut daemon = sandbox.start();
    journal.wait_for(&["1"]);
    sandbox.operator(["pause", "app.twc-1"]).finish().expect(0);
    assert_eq!(daemon.stop(), Some(0));
    sandbox.nodes.set("/n", "2");
    (sandbox, journal)
}

fn ledger(sandbox: &Sandbox) -> Connection {
    Connection::open(sandbox.state().join("ledger.db")).expect("open the ledger")
}

/// Panics unless the pause is in force for a daemon that starts.
fn expect_paused(sandbox: &Sandbox, journal: &Journal) {
    let mut daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["/n", "observed"]);
    daemon.wait_for_log(&["app.twc-1", "paused"]);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(journal.lines(), ["1"]);
}

// "A daemon that does not know the version refuses to start and says which version it needs; `--ledger-reset`
// for who wants that."
#[test]
fn a_ledger_of_a_newer_version_is_refused_until_it_is_reset() {
    let (sandbox, journal) = paused();
    ledger(&sandbox)
        .execute_batch("PRAGMA user_version = 4; UPDATE program SET version = '2.9.0'")
        .expect("4");
    let file = sandbox.state().join("ledger.db");
    let before = fs::read(&file).expect("read the ledger");
    let files = || fs::read_dir(sandbox.state()).expect("read the directory").count();
    let files_before = files();
    for flags in [&["--log-to-stdout"][..], &["--once"], &["--dry-run"]] {
        let mut refused = sandbox.daemon();
        for flag in flags {
            refused = refused.arg(flag);
        }
        let refused = refused.finish().expect(1);
        refused.expect_said(&["ledger.db", "version is 4", "up to 3", "2.9.0"]);
    }
    // A dry run can do without the ledger, and resets nothing.
    let planned = sandbox.daemon().args(["--dry-run", "--ledger-reset"]).finish().expect(0);
    planned.expect_said(&["app.twc-1", "run_on_load is true"]);
    assert!(fs::read(&file).expect("read the ledger") == before, "it was changed");
    assert_eq!(files(), files_before, "something was created");
    assert_eq!(journal.lines(), ["1"]);

    let daemon = sandbox.daemon().arg("--ledger-reset").start();
    let said = daemon.wait_for_log(&["--ledger-reset", "ledger.reset.db"]);
    assert!(said.contains("counts as new"), "{said}");
    journal.wait_for(&["1", "2"]);
    drop(daemon);
    let kept = fs::read(sandbox.state().join("ledger.reset.db")).expect("it is kept");
    assert!(kept == before);
    let again = sandbox.daemon().arg("--ledger-reset").finish().expect(1);
    again.expect_said(&["ledger.reset.db", "earlier reset"]);
}

// The sibling: a ledger that nobody can read may record pauses as well.
#[test]
fn a_daemon_does_not_ignore_a_ledger_that_it_cannot_read() {
    let (sandbox, journal) = paused();
    let file = sandbox.state().join("ledger.db");
    let reader = ledger(&sandbox);
    reader.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE").expect("lock it");
    reader.execute_batch("DELETE FROM runs; COMMIT").expect("and keep it locked");
    sandbox.daemon().finish().expect(1).expect_said(&["ledger.db", "cannot be read", "has it open"]);
    drop(reader);

    let elsewhere = sandbox.path("elsewhere.db");
    fs::rename(&file, &elsewhere).expect("move the ledger");
    std::os::unix::fs::symlink(&elsewhere, &file).expect("link to it");
    sandbox.daemon().finish().expect(1).expect_said(&["ledger.db", "symbolic link"]);
    fs::remove_file(&file).expect("remove the link");
    fs::create_dir(&file).expect("a directory");
    sandbox.daemon().finish().expect(1).expect_said(&["ledger.db", "is a directory"]);
    fs::remove_dir(&file).expect("remove the directory");
    fs::rename(&elsewhere, &file).expect("move the ledger back");
    expect_paused(&sandbox, &journal);
}

// "One bad thing stays one bad thing", and what is lost is written anew from memory.
#[test]
fn an_idle_daemon_writes_its_ledger_anew_after_the_state_directory_was_deleted() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), "run_on_load: CHANGED"));
    let mut daemon = sandbox.daemon().arg("--verbose").start();
    daemon.wait_for_log(&["app.twc-1", "ended"]);
    sandbox.operator(["pause", "app.twc-1"]).finish().expect(0);
    fs::remove_dir_all(sandbox.state()).expect("delete the state");
    let said = daemon.wait_for_log(&["ledger", "was deleted"]);
    assert!(said.contains("started a new one"), "{said}");
    let paused = || {
        let query = "SELECT count(*) FROM watches WHERE paused AND applied_at IS NOT NULL";
        ledger(&sandbox).query_row(query, [], |row| row.get::<_, i64>(0)).is_ok_and(|count| count == 1)
    };
    wait_until("the state to be written anew", paused);
    sandbox.daemon().finish().expect(1).expect_said(&["in use by another twitcher"]);
    assert_eq!(daemon.stop(), Some(0));
    expect_paused(&sandbox, &journal);
}

// "The ledger's log grows without limit under a reader: beyond a bound no output is kept, and it is said."
#[test]
fn a_reader_that_lets_the_log_grow_costs_the_output_and_is_reported_until_it_leaves() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    let script = format!("echo printed; {}", journal.record());
    sandbox.config("app.twc", watch("/n", &exec(&script), ""));
    let mut daemon = sandbox.daemon().arg("--verbose").start();
    daemon.wait_for_log(&["app.twc-1", "ended"]);
    let reader = ledger(&sandbox);
    reader.execute_batch("BEGIN; SELECT count(*) FROM runs").expect("read");
    // This stands for the writes of a busy daemon.
    let writer = ledger(&sandbox);
    writer.execute_batch("PRAGMA wal_autocheckpoint = 0; CREATE TABLE filler (bytes BLOB)").expect("write");
    for _ in 0..70 {
        wait_until("room between the daemon's writes", || {
            writer.execute("INSERT INTO filler VALUES (zeroblob(1048576))", []).is_ok()
        });
    }
    daemon.wait_for_log(&["ledger", "-wal", "keeps a transaction open"]);
    let check = sandbox.operator(["status", "--check"]).finish();
    assert_eq!(check.code, Some(1));
    check.expect_said(&["ledger: ", "is not recorded"]);

    sandbox.nodes.set("/n", "2");
    journal.wait_for(&["1", "2"]);
    wait_until("the second run to end", || daemon.log_lines(&["app.twc-1", "ended"]).len() == 2);
    let metrics = ask(connect(&sandbox.control_socket()), "GET", "/metrics").text();
    assert!(metrics.contains("\ntwitcher_ledger_outputs_dropped_total 1\n"), "{metrics}");

    reader.execute_batch("COMMIT").expect("stop to read");
    let log = sandbox.state().join("ledger.db-wal");
    wait_until("the log to shrink", || fs::metadata(&log).is_ok_and(|log| log.len() < 1024 * 1024));
    wait_until("the end of the problem", || {
        sandbox.operator(["status", "--check"]).finish().text().starts_with("ok")
    });
    assert_eq!(daemon.log_lines(&["ledger", "-wal"]).len(), 1, "said once: {:?}", daemon.log());
    sandbox.nodes.set("/n", "3");
    journal.wait_for(&["1", "2", "3"]);
    assert_eq!(daemon.stop(), Some(0));
    let query = "SELECT coalesce(CAST(output AS TEXT), '-') FROM runs ORDER BY seq";
    let outputs: Vec<String> = {
        let ledger = ledger(&sandbox);
        let mut statement = ledger.prepare(query).expect("a statement");
        statement.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("text")).collect()
    };
    assert_eq!(outputs, ["printed\n", "-", "printed\n"]);
}
