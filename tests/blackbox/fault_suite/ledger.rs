//! Damage and loss of the ledger's file: the daemon continues, and the ledger later contains what happened.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::harness::{Daemon, Journal, Sandbox, exec, python, require_root, wait_until, watch};

/// A sandbox with a watch that runs nothing at a restart as long as the ledger knows what was applied.
fn sandbox() -> (Sandbox, Journal) {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), "run_on_load: CHANGED"));
    (sandbox, journal)
}

/// Makes `count` updates and waits for the run of each.
fn update(sandbox: &Sandbox, journal: &Journal, count: usize) {
    for _ in 0..count {
        let next = journal.lines().len().to_string();
        sandbox.nodes.set("/n", &next);
        journal.wait_for_last(&next);
    }
}

/// Panics unless the next daemon runs nothing because the ledger knows what this one did.
fn expect_to_be_remembered(sandbox: &Sandbox, journal: &Journal, mut daemon: Daemon) {
    assert_eq!(daemon.stop(), Some(0));
    let lines = journal.lines();
    let mut next = sandbox.daemon().arg("--debug").start();
    next.wait_for_log(&["/n", "observed"]);
    assert_eq!(next.stop(), Some(0));
    assert_eq!(journal.lines(), lines);
    assert_eq!(next.log_lines(&["ledger"]), [""; 0]);
}

/// All files in the state directory.
fn ledger_files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.state()).expect("read the state directory");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

// "an operator can open it with `sqlite3`", also while the daemon runs; "for each run its id, watch, node,
// version, event, start, pid and process start time, end, outcome ... and the tail of its output (64 KiB)"
#[test]
fn a_program_that_opens_the_ledger_finds_what_ran() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    let script = format!(
        "if [ $TWITCHER_EVENT = load ]
         then head -c 100000 /dev/zero | tr '\\0' x; echo out
         else echo err >&2; fi
         {}; exit $(cat)",
        journal.note("$TWITCHER_RUN_ID $$")
    );
    let keys = "run_on_load: CHANGED, retry: #{ attempts: 3, delay: 60 }";
    sandbox.config("app.twc", watch("/n", &exec(&script), keys));
    let daemon = sandbox.daemon().arg("--verbose").start();
    daemon.wait_for_log(&["app.twc-1", "ended"]);
    sandbox.nodes.set("/n", "3");
    daemon.wait_for_log(&["app.twc-1", "exit code 3"]);
    daemon.wait_for_log(&["app.twc-1", "trying again"]);
    let lines = journal.lines();
    let [first, second] = [0, 1].map(|n| lines[n].split_once(' ').expect("id and pid"));
    let script = format!(
        "import sqlite3, time
db = sqlite3.connect('file:{ledger}?mode=ro', uri=True)
rows = []
deadline = time.time() + 30
while len(rows) < 2 and time.time() < deadline:
    rows = db.execute('''select run, file, description, node, event, pid, pid_started > 0, ended >= started,
        outcome, exit_code, length(output), substr(output, -20)
        from runs where ended is not null order by seq''').fetchall()
first, second = rows
assert first[:10] == ('{}', 'app.twc', 'app.twc-1', '/n', 'load', {}, 1, 1, 'success', 0), first
assert second[:10] == ('{}', 'app.twc', 'app.twc-1', '/n', 'changed', {}, 1, 1, 'exit', 3), second
assert first[10] == 65536 and first[11].endswith(b'out\\n'), first
assert second[11] == b'err\\n', second
row = db.execute('''select observed_number = applied_number, owed, failures, last_error, next_try > 0
    from watches''').fetchall()
assert row[0][:3] == (0, 'changed', 1) and 'exit code 3' in row[0][3] and row[0][4] == 1, row
assert db.execute('select count(*) from history').fetchone() == (2,)
assert db.execute('select count(*) from failing').fetchone() == (1,)",
        first.0,
        first.1,
        second.0,
        second.1,
        ledger = sandbox.state().join("ledger.db").display(),
    );
    python(&script);
}

// "Corrupt ... : set aside ... said once, and the daemon goes on, at least once."
#[test]
fn a_damaged_ledger_is_set_aside_at_start() {
    let (sandbox, journal) = sandbox();
    fs::write(sandbox.state().join("ledger.db"), b"no database".repeat(1000)).expect("write garbage");
    let daemon = sandbox.start();
    journal.wait_for(&["0"]);
    update(&sandbox, &journal, 3);
    assert_eq!(daemon.log_lines(&["ledger"]).len(), 1, "said once: {:?}", daemon.log());
    let damaged = fs::read(sandbox.state().join("ledger.damaged.db")).expect("set aside");
    assert!(damaged.starts_with(b"no database"), "as it was");
    expect_to_be_remembered(&sandbox, &journal, daemon);
}

// "at least once": the content may have changed since the last run. It runs also with `run_on_load: false`.
#[test]
fn after_a_damaged_ledger_every_watch_runs_again() {
    let (sandbox, journal) = sandbox();
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), "run_on_load: false"));
    let mut daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["/n", "observed"]);
    assert_eq!(daemon.stop(), Some(0));
    sandbox.nodes.set("/n", "1");
    fs::write(sandbox.state().join("ledger.db"), b"no database".repeat(1000)).expect("write garbage");
    let _daemon = sandbox.start();
    journal.wait_for(&["load 1"]);
    // The damaged ledger cannot have known a watch that is added now.
    let other = sandbox.journal_named("other");
    sandbox.nodes.set("/other", "1");
    // Both watches are in one file: what the second has seen, the first has seen before.
    let silent = watch("/other", &exec(&other.record_event()), "run_on_load: false");
    sandbox.config("other.twc", [silent, watch("/other", &exec(&journal.record_event()), "")].concat());
    journal.wait_for(&["load 1", "load 1"]);
    sandbox.nodes.set("/other", "2");
    other.wait_for(&["changed 2"]);
}

// "deleted under us"
#[test]
fn a_ledger_that_is_damaged_while_the_daemon_runs_is_begun_anew() {
    let truncate = |path: &Path| drop(File::create(path).expect("truncate"));
    let garble = |path: &Path| {
        let mut file = File::options().write(true).open(path).expect("open the ledger");
        file.write_all(&b"garbage ".repeat(2000)).expect("write garbage");
    };
    let remove = |path: &Path| fs::remove_file(path).expect("remove");
    let damages: [(&str, Damage); 3] = [("removed", &remove), ("truncated", &truncate), ("garbled", &garble)];
    for (what, damage) in damages {
        let (sandbox, journal) = sandbox();
        let mut daemon = sandbox.daemon().arg("--verbose").start();
        journal.wait_for(&["0"]);
        update(&sandbox, &journal, 2);
        // The daemon must not write between the damages to two files.
        wait_until("the runs to end", || daemon.log_lines(&["app.twc-1", "ended"]).len() == 3);
        for file in ledger_files(&sandbox) {
            damage(&file);
        }
        update(&sandbox, &journal, 3);
        assert!(daemon.is_running(), "{what}: the daemon died");
        let said = daemon.log_lines(&["ledger"]);
        // Garbage in a file of the right size need not be noticed.
        assert!(said.len() == 1 || (what == "garbled" && said.is_empty()), "{what}: said once: {said:?}");
        if said.len() == 1 {
            expect_to_be_remembered(&sandbox, &journal, daemon);
        }
    }
}

type Damage<'a> = &'a dyn Fn(&Path);

/// A small file system of its own for the state.
pub(super) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(super) fn mount(path: PathBuf) -> Self {
        require_root();
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some("size=2m")).expect("mount a tmpfs");
        Self(path)
    }

    pub(super) fn read_only(&self, read_only: bool) {
        let flags = if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        let none = None::<&str>;
        mount(none, &self.0, none, MsFlags::MS_REMOUNT | flags, none).expect("mount it anew");
    }

    pub(super) fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
        // This fills the last page.
        while file.write_all(&[0]).is_ok() {}
    }

    pub(super) fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).expect("remove the file");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The daemon may still have files open there.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

// "full ...: done without, said once, and the daemon goes on", and taken up again when there is room.
#[test]
fn a_full_disk_costs_the_ledger_and_nothing_else() {
    let (sandbox, journal) = sandbox();
    let disk = SmallDisk::mount(sandbox.state());
    let daemon = sandbox.start();
    journal.wait_for(&["0"]);
    disk.fill();
    // The ledger first uses the space that it already has.
    wait_until("the ledger to need room", || {
        update(&sandbox, &journal, 1);
        !daemon.log_lines(&["ledger"]).is_empty()
    });
    update(&sandbox, &journal, 5);
    assert_eq!(daemon.log_lines(&["ledger"]).len(), 1, "said once: {:?}", daemon.log_lines(&["ledger"]));
    disk.make_room();
    wait_until("the ledger to be used again", || {
        update(&sandbox, &journal, 1);
        !daemon.log_lines(&["ledger", "can be written"]).is_empty()
    });
    expect_to_be_remembered(&sandbox, &journal, daemon);
}

// "done without", but only while necessary: an idle daemon writes what is missing as soon as it can.
#[test]
fn a_ledger_that_was_locked_is_taken_up_again_by_an_idle_daemon() {
    let (sandbox, journal) = sandbox();
    let daemon = sandbox.start();
    journal.wait_for(&["0"]);
    let shell = rusqlite::Connection::open(sandbox.state().join("ledger.db")).expect("open the ledger");
    shell.execute_batch("BEGIN IMMEDIATE").expect("lock the ledger");
    update(&sandbox, &journal, 1);
    daemon.wait_for_log(&["ledger", "going on without"]);
    shell.execute_batch("COMMIT").expect("unlock the ledger");
    daemon.wait_for_log(&["ledger", "can be written"]);
    expect_to_be_remembered(&sandbox, &journal, daemon);
}

// "A new daemon finds a still-running action of its predecessor" and knows what that one applied: to read the
// ledger it needs neither free space nor a lock.
#[test]
fn a_ledger_that_cannot_be_written_can_be_read_at_the_start() {
    let lock: Obstacle = |sandbox| {
        let shell = rusqlite::Connection::open(sandbox.state().join("ledger.db")).expect("open the ledger");
        shell.execute_batch("BEGIN IMMEDIATE").expect("lock the ledger");
        Box::new(shell)
    };
    let read_only: Obstacle = |sandbox| {
        let disk = SmallDisk(sandbox.state());
        disk.read_only(true);
        Box::new(disk)
    };
    for obstacle in [lock, read_only] {
        let (sandbox, applied) = sandbox();
        let _disk = SmallDisk::mount(sandbox.state());
        let (journal, gate) = (sandbox.journal_named("long"), sandbox.gate());
        let script = format!("{}; {}; {}", journal.note("begins"), gate.pass(), journal.note("ends"));
        sandbox.config("long.twc", watch("/n", &exec(&script), "run_on_load: CHANGED"));
        let mut daemon = sandbox.start();
        applied.wait_for(&["0"]);
        journal.wait_for(&["begins"]);
        update_is_known(&sandbox);
        daemon.kill();
        let _obstacle = obstacle(&sandbox);
        let daemon = sandbox.start();
        daemon.wait_for_log(&["ledger", "going on without"]);
        daemon.wait_for_log(&["long.twc-1", "still runs as"]);
        gate.open();
        journal.wait_for(&["begins", "ends", "begins", "ends"]);
        applied.wait_for(&["0"]);
    }
}

type Obstacle = fn(&Sandbox) -> Box<dyn std::any::Any>;

/// Waits until the ledger has the success of the short action.
fn update_is_known(sandbox: &Sandbox) {
    let ledger = rusqlite::Connection::open(sandbox.state().join("ledger.db")).expect("open the ledger");
    wait_until("the success to be noted", || {
        let known = "SELECT count(*) FROM watches WHERE applied_at IS NOT NULL AND owed IS NULL";
        ledger.query_row(known, [], |row| row.get::<_, i64>(0)).is_ok_and(|count| count == 1)
    });
}

// "at least once": the daemon is killed while its ledger cannot be written.
#[test]
fn a_daemon_that_is_killed_on_a_full_disk_runs_again_rather_than_losing_anything() {
    let (sandbox, journal) = sandbox();
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), "run_on_load: false"));
    let disk = SmallDisk::mount(sandbox.state());
    let mut daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["/n", "observed"]);
    disk.fill();
    wait_until("the ledger to need room", || {
        update(&sandbox, &journal, 1);
        !daemon.log_lines(&["ledger"]).is_empty()
    });
    update(&sandbox, &journal, 1);
    daemon.kill();
    let last = journal.lines().len();
    sandbox.nodes.set("/n", "while no daemon runs");
    let _daemon = sandbox.start();
    wait_until("the last content to run", || journal.lines().len() > last);
    assert_eq!(journal.lines().last().map(String::as_str), Some("while no daemon runs"));
}

// "read-only ...: done without, said once, and the daemon goes on"
#[test]
fn a_read_only_disk_costs_the_ledger_and_nothing_else() {
    let (sandbox, journal) = sandbox();
    let disk = SmallDisk::mount(sandbox.state());
    disk.read_only(true);
    let mut daemon = sandbox.start();
    journal.wait_for(&["0"]);
    update(&sandbox, &journal, 3);
    assert_eq!(daemon.log_lines(&["ledger"]).len(), 1, "said once: {:?}", daemon.log());
    assert_eq!(daemon.stop(), Some(0));

    disk.read_only(false);
    let daemon = sandbox.start();
    wait_until("the next daemon, which knows nothing, to run", || journal.lines().len() == 5);
    update(&sandbox, &journal, 1);
    expect_to_be_remembered(&sandbox, &journal, daemon);
}
