//! Tests of the records of runs.

use super::super::{RunFilter, UnfinishedRun};
use super::*;
use crate::action::proc::ProcessId;

#[test]
fn a_run_is_unfinished_until_its_end_is_recorded() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    for run in ["a", "b", "c"] {
        record_intents(&mut ledger, run);
    }
    let process = ProcessId { pid: 4711, started: 123_456_789 };
    let timeout = Some(Duration::from_millis(6500));
    ledger.started("a", process, timeout);
    ledger.ended("b", RunOutcome::Exited(0), b"");
    // After an error, the daemon records everything again.
    record_intent_again(&mut ledger, "a");
    drop(ledger);
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell.execute("UPDATE runs SET boot = 'before' WHERE run = 'c'", []).unwrap();
    drop(shell);
    let expected = |run: &str, process, this_boot| UnfinishedRun { intent: intent(run), process, this_boot };
    let mut started = expected("a", Some(process), true);
    started.intent.timeout = timeout;
    assert_eq!(dir.open().unfinished(), [started, expected("c", None, false)]);
}

#[test]
fn the_history_says_how_each_run_ended() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
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
    let rows = dir.select("SELECT outcome, exit_code, signal, error, output FROM runs WHERE outcome NOTNULL");
    assert_eq!(rows, endings.map(|(_, _, row)| row));
    let history = dir.select("SELECT outcome FROM history");
    assert_eq!(history[..7], endings.map(|(_, shown, _)| shown));
    assert_eq!(history[7], "running");
    assert_eq!(dir.select("SELECT run, watch, event FROM history")[7], "running|git.twc:pull|children");
}

#[test]
fn output_is_recorded_if_there_is_any() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    record_intents(&mut ledger, "loud");
    record_intents(&mut ledger, "silent");
    ledger.ended("loud", RunOutcome::Exited(0), b"loud\n\0");
    ledger.ended("silent", RunOutcome::Exited(0), b"");
    ledger.commit();
    assert_eq!(dir.select("SELECT output FROM runs WHERE run = 'loud'")[0].as_bytes(), b"loud\n\0");
    assert_eq!(dir.select("SELECT output IS NULL FROM runs"), ["0", "1"]);
}

#[test]
fn a_process_is_recorded_with_its_start_or_its_end_and_stays() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    for run in ["before", "at once", "never"] {
        record_intents(&mut ledger, run);
    }
    ledger.started("before", ProcessId { pid: 1, started: 11 }, None);
    ledger.ended_in("before", None, RunOutcome::Exited(0), b"");
    ledger.ended_in("at once", Some(ProcessId { pid: 2, started: 22 }), RunOutcome::Exited(0), b"");
    ledger.ended_in("never", None, RunOutcome::Exited(0), b"");
    ledger.commit();
    assert_eq!(
        dir.select("SELECT pid, pid_started, outcome FROM runs"),
        ["1|11|success", "2|22|success", "||success"]
    );
}

#[test]
fn a_run_that_ended_while_the_ledger_was_lost_is_not_unfinished() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    for run in ["ended", "live"] {
        record_intents(&mut ledger, run);
    }
    ledger.end_unfinished(|run| run == "live");
    let unfinished: Vec<_> = ledger.unfinished().into_iter().map(|run| run.intent.run).collect();
    assert_eq!(unfinished, ["live"]);
    ledger.commit();
    assert_eq!(dir.select("SELECT outcome FROM runs WHERE run = 'ended'"), ["unknown"]);
}

#[test]
fn only_the_newest_runs_and_live_ones_are_kept() {
    let dir = TestDir::new();
    let retention = Retention { runs: 10, outputs: 3, age: Duration::from_secs(1_000), batch: 1 };
    let mut ledger = dir.open_with(Duration::ZERO, retention);
    record_intents(&mut ledger, "live");
    for run in 0..50 {
        record_intents(&mut ledger, &run.to_string());
        ledger.ended(&run.to_string(), RunOutcome::Exited(0), b"done");
    }
    ledger.commit();
    let runs = |dir: &TestDir| dir.select("SELECT run, output FROM runs ORDER BY seq");
    let kept = ["live|", "40|", "41|", "42|", "43|", "44|", "45|", "46|", "47|done", "48|done", "49|done"];
    assert_eq!(runs(&dir), kept);
    // A run is as old as its start, however late it ends.
    ledger.ended("live", RunOutcome::Exited(0), b"done");
    ledger.commit();
    assert_eq!(runs(&dir)[0], "live|");
    record_intents(&mut ledger, "new");
    ledger.ended("new", RunOutcome::Exited(0), b"done");
    ledger.commit();
    assert_eq!(dir.select("SELECT run FROM runs ORDER BY seq LIMIT 2"), ["41", "42"]);

    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell.execute("UPDATE runs SET started = started - 2000000 WHERE run < 45", []).unwrap();
    for run in ["a", "b"] {
        record_intents(&mut ledger, run);
        ledger.ended(run, RunOutcome::Exited(0), b"done");
    }
    ledger.commit();
    assert_eq!(
        dir.select("SELECT run FROM runs ORDER BY seq"),
        ["45", "46", "47", "48", "49", "new", "a", "b"]
    );
}

#[test]
fn numbers_that_no_daemon_writes_do_no_harm() {
    for (number, edge) in [(i64::MIN, "running"), (i64::MAX, "ended")] {
        let dir = TestDir::new();
        let mut ledger = dir.open();
        record_intents(&mut ledger, "ended");
        ledger.ended("ended", RunOutcome::Exited(0), b"");
        record_intents(&mut ledger, "running");
        drop(ledger);
        let shell = Connection::open(dir.path(FILE)).unwrap();
        for column in ["started", "ended", "timeout", "version"] {
            shell.execute(&format!("UPDATE runs SET {column} = ?1"), [number]).unwrap();
        }
        shell.execute("UPDATE runs SET pid = -1, pid_started = ?1", [number]).unwrap();
        shell.execute("UPDATE runs SET seq = ?1 WHERE run = ?2", (number, edge)).unwrap();
        drop(shell);
        let mut ledger = dir.open();
        serde_json::to_string(&ledger.history(&RunFilter::default(), None, 10).unwrap()).unwrap();
        assert_eq!(ledger.unfinished()[0].process, None, "-1 names no process");
        ledger.end_unfinished(|_| false);
        record_intents(&mut ledger, "new");
        ledger.ended("new", RunOutcome::Exited(0), b"");
        ledger.commit();
        assert_eq!(ledger.next_event(), None);
    }
}

#[test]
fn the_history_says_what_made_each_run_and_keeps_it() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    record_intents(&mut ledger, "commit");
    let plain = Intent { cause: RunCause { commit: None, ..intent("x").cause }, ..intent("plain") };
    let unknown = Intent { cause: RunCause::default(), ..intent("unknown") };
    ledger.record_intents([plain.clone(), unknown.clone()].iter());
    ledger.ended("commit", RunOutcome::Exited(0), b"");
    drop(ledger);
    let mut ledger = dir.open();
    let runs = ledger.history(&RunFilter::default(), None, 10).unwrap();
    let causes: Vec<_> = runs.into_iter().map(|(_, run)| run.cause).collect();
    assert_eq!(causes, [unknown.cause, plain.cause, intent("commit").cause]);
    let json = serde_json::to_value(ledger.history(&RunFilter::default(), None, 3).unwrap()).unwrap();
    let [plain, commit] = [1, 2].map(|row: usize| &json[row][1]);
    assert_eq!(plain["commit"], serde_json::Value::Null);
    assert_eq!(
        (&plain["transaction"], &plain["changed"]),
        (&"0x1000001f3".into(), &"2026-11-21T16:13:31.042Z".into())
    );
    assert_eq!(
        commit["commit"],
        serde_json::json!({ "version": 7, "author": "gian\0\u{1b}[31m", "comment": "rofl\n\u{202e}" })
    );
    let rows = dir.select("SELECT commit_version, transaction_id, changed_utc FROM history");
    let known = "0x1000001f3|2026-11-21 16:13:31";
    assert_eq!(rows, [format!("7|{known}"), format!("|{known}"), "||".to_owned()]);
}
