//! Actions that outlive a daemon that was killed, and actions that died with it.

use std::fs;

use nix::sys::signal::Signal;

use super::{Fixture, ledger};
use crate::harness::{Gate, Process, Sandbox, exec, wait_for, wait_until, watch};

/// Kills a daemon while its action runs with `1`. Returns the gate at which the action waits, and its
/// process.
fn killed_while_running(it: &Fixture<'_>, keys: &str) -> (Gate, Process) {
    let gate = it.sandbox.gate();
    let pid = it.sandbox.journal_named("pid");
    let script = format!(
        "content=$(cat); {}; {}; {}; {}",
        pid.note("$$"),
        it.journal.note("begins $content"),
        gate.pass(),
        it.journal.note("ends $content"),
    );
    it.define(&script, keys);
    let mut daemon = it.sandbox.start();
    it.journal.wait_for(&["begins 1"]);
    // After these two the ledger knows the action by its process number, too.
    daemon.wait_for_log(&["app.twc-1", "started"]);
    it.sandbox.nodes.set("/witness", "once more");
    it.witness.wait_for_last("once more");
    daemon.kill();
    (gate, Process::parse(&pid.lines()[0]))
}

// "waits for it in QUEUE and DISCARD ... and then runs the latest content"
#[test]
fn an_action_that_outlives_its_killed_daemon_is_waited_for() {
    for mode in ["QUEUE", "DISCARD"] {
        for run_on_load in ["true", "false", "CHANGED"] {
            let sandbox = Sandbox::directory();
            let it = Fixture::new(&sandbox, "");
            let keys = |run_on_load: &str| format!("run_mode: {mode}, run_on_load: {run_on_load}");
            // The first daemon runs the action in any case.
            let (gate, orphan) = killed_while_running(&it, &keys("true"));
            let text = fs::read_to_string(sandbox.configs().join("app.twc")).expect("the config");
            sandbox.config("app.twc", text.replace(&keys("true"), &keys(run_on_load)));
            sandbox.nodes.set("/n", "2");
            let mut daemon = sandbox.daemon().arg("--debug").start();
            daemon.wait_for_log(&["app.twc-1", "still runs", &orphan.0.to_string()]);
            it.wait_until_settled(&daemon);
            it.set(&daemon, "3");
            it.journal.wait_for(&["begins 1"]);
            gate.open();
            it.journal.wait_for(&["begins 1", "ends 1", "begins 3", "ends 3"]);
            wait_until("it to have ended, for DISCARD", || {
                daemon.log_lines(&["app.twc-1", "ended after"]).len() == 1
            });
            // Nothing else runs.
            sandbox.nodes.set("/n", "4");
            it.journal.wait_for(&["begins 1", "ends 1", "begins 3", "ends 3", "begins 4", "ends 4"]);
            assert_eq!(daemon.stop(), Some(0));
        }
    }
}

// "not even across a restart or `kill -9`": two daemons are killed, and the ledger is lost in between.
#[test]
fn an_action_that_outlives_two_killed_daemons_and_their_ledger_is_waited_for() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let (gate, orphan) = killed_while_running(&it, "run_on_load: CHANGED");
    let mut daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["app.twc-1", "still runs"]);
    it.wait_until_settled(&daemon);
    for file in fs::read_dir(sandbox.state()).expect("the state directory") {
        fs::remove_file(file.expect("a file").path()).expect("remove it");
    }
    it.wait_until_settled(&daemon);
    daemon.wait_for_log(&["ledger", "started a new one"]);
    it.wait_until_settled(&daemon);
    daemon.kill();
    sandbox.nodes.set("/n", "2");
    let daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["app.twc-1", "still runs", &orphan.0.to_string()]);
    it.wait_until_settled(&daemon);
    it.journal.wait_for(&["begins 1"]);
    gate.open();
    it.journal.wait_for(&["begins 1", "ends 1", "begins 2", "ends 2"]);
}

// An action whose end no daemon has seen "counts as interrupted".
#[test]
fn an_action_that_died_with_its_daemon_runs_again() {
    for run_on_load in ["false", "CHANGED"] {
        let sandbox = Sandbox::directory();
        let it = Fixture::new(&sandbox, "");
        let (gate, orphan) = killed_while_running(&it, "run_on_load: CHANGED");
        orphan.signal(Signal::SIGKILL);
        wait_until("the action to be gone", || !orphan.is_alive());
        let text = fs::read_to_string(sandbox.configs().join("app.twc")).expect("the config");
        sandbox.config("app.twc", text.replace("CHANGED", run_on_load));
        gate.open();
        it.run_once();
        it.run_once();
        it.journal.wait_for(&["begins 1", "begins 1", "ends 1"]);
    }
}

// "applies its timeout"
#[test]
fn an_action_that_outlives_its_killed_daemon_is_timed_out() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let (gate, orphan) = killed_while_running(&it, "timeout: 10");
    let daemon = sandbox.start();
    daemon.wait_for_log(&["app.twc-1", "still runs"]);
    daemon.wait_for_log(&["timed out, sent SIGTERM"]);
    wait_until("the action to be gone", || !orphan.is_alive());
    it.journal.wait_for(&["begins 1", "begins 1"]);
    assert_eq!(ledger(&sandbox, "select outcome from runs where pid = ?", orphan.0), "unknown");
    gate.open();
    it.journal.wait_for(&["begins 1", "begins 1", "ends 1"]);
}

// "its `TWITCHER_RUN_ID` only where no pid was recorded"
#[test]
fn an_action_whose_daemon_died_before_it_noted_the_process_is_found_by_its_run_id() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let (gate, orphan) = killed_while_running(&it, "");
    ledger(&sandbox, "update runs set pid = null, pid_started = null where pid = ?", orphan.0);
    let daemon = sandbox.start();
    daemon.wait_for_log(&["app.twc-1", "still runs", &orphan.0.to_string()]);
    gate.open();
    it.journal.wait_for(&["begins 1", "ends 1", "begins 1", "ends 1"]);
}

// "(boot id, pid and start time ...)": a process that started at another time or before a reboot is not the
// action.
#[test]
fn a_process_that_only_has_the_number_of_an_action_is_not_waited_for() {
    for forgery in ["boot = char(63)", "pid_started = pid_started + 1"] {
        let sandbox = Sandbox::directory();
        let it = Fixture::new(&sandbox, "");
        let (gate, orphan) = killed_while_running(&it, "");
        ledger(&sandbox, &format!("update runs set {forgery} where pid = ?"), orphan.0);
        let daemon = sandbox.start();
        daemon.wait_for_log(&["app.twc-1", "was interrupted by the end of its daemon"]);
        it.journal.wait_for(&["begins 1", "begins 1"]);
        gate.open();
        wait_until("both to end", || it.journal.count("ends 1") == 2);
    }
}

// "One bad thing stays one bad thing": the watch of the running action is in no file any more, or its file is
// broken.
#[test]
fn an_action_whose_config_is_gone_or_broken_is_timed_out_and_waited_for() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let (gate, orphan) = killed_while_running(&it, "run_on_load: true");
    let text = fs::read_to_string(sandbox.configs().join("app.twc")).expect("the config");
    sandbox.config("app.twc", "RegisterWatch(");
    let daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["app.twc", "`(` is never closed"]);
    sandbox.config("app.twc", &text);
    daemon.wait_for_log(&["app.twc", "loaded", "1 added"]);
    it.wait_until_settled(&daemon);
    assert!(orphan.is_alive());
    it.journal.wait_for(&["begins 1"]);
    gate.open();
    it.journal.wait_for(&["begins 1", "ends 1", "begins 1", "ends 1"]);
    drop(daemon);

    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let (_gate, orphan) = killed_while_running(&it, "timeout: 10");
    sandbox.remove_config("app.twc");
    let daemon = sandbox.start();
    daemon.wait_for_log(&["app.twc-1", "still runs"]);
    daemon.wait_for_log(&["timed out, sent SIGTERM"]);
    wait_until("the action to be gone", || !orphan.is_alive());
}

// "TERM drains for `--stop-timeout`, then TERM, then KILL to groups; nothing of ours is left behind": nor is
// an action of the former daemon.
#[test]
fn a_stop_leaves_nothing_behind() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let (_gate, orphan) = killed_while_running(&it, "");
    let pids = sandbox.journal_named("pids");
    let stubborn = format!("trap '' TERM; sleep 600 & {}; wait; sleep 600", pids.note("$$ $!"));
    sandbox.config("stubborn.twc", watch("/witness", &exec(&stubborn), ""));
    let mut daemon = sandbox.daemon().args(["--stop-timeout", "0.2"]).start();
    daemon.wait_for_log(&["app.twc-1", "still runs"]);
    let own = wait_for("the other action", || pids.lines().into_iter().next());
    assert_eq!(daemon.stop(), Some(0));
    let left: Vec<_> = own.split(' ').map(Process::parse).chain([orphan]).filter(|p| p.is_alive()).collect();
    assert!(left.is_empty(), "{left:?}");
    daemon.wait_for_log(&["stubborn.twc-1", "SIGKILL"]);
}
