//! `trigger`, `kill` and `reload`.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{described, look_at, runs, wait_for_state, wait_until_served};
use crate::harness::{Process, Sandbox, exec, on_every_store, wait_until, watch};

#[track_caller]
fn order<const N: usize>(sandbox: &Sandbox, words: [&str; N]) -> String {
    let done = sandbox.operator(words).finish().expect(0);
    assert_eq!(done.stderr, "");
    done.text()
}

#[track_caller]
fn refused<const N: usize>(sandbox: &Sandbox, words: [&str; N], said: &[&str]) {
    sandbox.operator(words).finish().expect(1).expect_said(said);
}

// "Run a watch's action now, with what its node has"
on_every_store!(trigger_runs_the_action_with_what_its_node_has);
fn trigger_runs_the_action_with_what_its_node_has(sandbox: &Sandbox) {
    for mode in ["QUEUE", "DISCARD", "PARALLEL"] {
        let journal = sandbox.journal_named(mode);
        let file = format!("{mode}.twc");
        sandbox.nodes.set("/n", "1");
        let keys = format!("run_mode: {mode}, run_on_load: false, min_interval: 0.01");
        sandbox.config(&file, described("/n", &journal.record_event(), mode, &keys));
        let mut daemon = sandbox.start();
        wait_for_state(sandbox, mode, "idle");
        let said = order(sandbox, ["trigger", mode]);
        assert_eq!(said, format!("{mode}.twc:{mode}: runs with what its node has now\n"));
        journal.wait_for(&["trigger 1"]);
        // Otherwise DISCARD would ignore the next update.
        wait_for_state(sandbox, mode, "idle");
        sandbox.nodes.set("/n", "2");
        journal.wait_for(&["trigger 1", "changed 2"]);
        order(sandbox, ["trigger", mode]);
        journal.wait_for(&["trigger 1", "changed 2", "trigger 2"]);
        daemon.wait_for_log(&[&format!("{mode}: triggered by an operator")]);
        assert_eq!(daemon.stop(), Some(0));
        sandbox.remove_config(&file);
    }
}

#[test]
fn a_watch_triggered_during_a_run_runs_again_after_it_or_in_parallel_beside_it() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    for mode in ["QUEUE", "DISCARD", "PARALLEL"] {
        let (journal, gate) = (sandbox.journal_named(mode), sandbox.gate_named(&format!("gate-{mode}")));
        let script = format!("{}; {}", journal.record_event(), gate.pass());
        sandbox.config(&format!("{mode}.twc"), described("/n", &script, mode, &format!("run_mode: {mode}")));
    }
    let _daemon = sandbox.start();
    for (mode, beside) in [("QUEUE", false), ("DISCARD", false), ("PARALLEL", true)] {
        let journal = crate::harness::Journal::at(sandbox.path(mode));
        journal.wait_for(&["load 1"]);
        wait_for_state(&sandbox, mode, "running");
        // Two triggers make one further run, but in PARALLEL two.
        let said = [order(&sandbox, ["trigger", mode]), order(&sandbox, ["trigger", mode])];
        let again = "runs again when the running action has ended";
        assert!(said.iter().all(|said| said.contains(again) != beside), "{said:?}");
        let rest: &[_] =
            if beside { &["load 1", "trigger 1", "trigger 1"] } else { &["load 1", "trigger 1"] };
        if !beside {
            assert_eq!(journal.lines(), ["load 1"]);
            wait_until("it to wait", || look_at(&sandbox, mode)["waiting"] == 1);
        }
        sandbox.gate_named(&format!("gate-{mode}")).open();
        journal.wait_for(rest);
        wait_for_state(&sandbox, mode, "idle");
        assert_eq!(journal.lines(), rest);
    }
}

// "trigger of an absent node, ... a stopped (on_failure: STOP) watch"
#[test]
fn trigger_of_an_absent_node_is_refused_and_of_a_stopped_watch_starts_it_again() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "3");
    let script = format!(
        "{}; exit $(cat {})",
        journal.note("$TWITCHER_EVENT"),
        sandbox.root().join("nodes/n").display()
    );
    sandbox.config(
        "app.twc",
        [described("/none", "true", "lacks", ""), described("/n", &script, "stops", "on_failure: STOP")]
            .concat(),
    );
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "lacks", "absent");
    refused(&sandbox, ["trigger", "lacks"], &["app.twc:lacks", "there is no node /none"]);
    wait_for_state(&sandbox, "stops", "stopped");
    // The action starts even though it will fail again.
    order(&sandbox, ["trigger", "stops"]);
    journal.wait_for(&["load", "trigger"]);
    wait_until("it to fail again", || {
        let it = look_at(&sandbox, "stops");
        it["state"] == "stopped" && it["last_run"]["event"] == "trigger"
    });
    sandbox.nodes.set("/n", "0");
    order(&sandbox, ["trigger", "stops"]);
    let it = wait_for_state(&sandbox, "stops", "idle");
    assert_eq!((&it["failures"], &it["error"], &it["stopped"]), (&json!(0), &Value::Null, &json!(false)));
    sandbox.nodes.set("/n", " 0");
    journal.wait_for_last("changed");
}

// "End the running actions of a watch, as their timeout would"
#[test]
fn kill_ends_the_whole_group_of_each_running_action() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    let script = format!("sleep 1000 & {}; wait", journal.note("$$ $!"));
    sandbox.config("app.twc", described("/n", &script, "beside", "run_mode: PARALLEL"));
    let daemon = sandbox.start();
    wait_until("the first run", || journal.lines().len() == 1);
    order(&sandbox, ["trigger", "beside"]);
    wait_until("the second run", || journal.lines().len() == 2);
    let said = order(&sandbox, ["kill", "beside"]);
    assert!(said.starts_with("app.twc:beside: sent SIGTERM, "), "{said}");
    let lines = journal.lines();
    let all = lines.iter().flat_map(|line| line.split(' ')).map(Process::parse);
    for process in all {
        wait_until("it to be gone", || !process.is_alive());
    }
    wait_for_state(&sandbox, "beside", "failed");
    daemon.wait_for_log(&["app.twc:beside", "kill requested by an operator"]);
    let outcomes: Vec<_> = runs(&sandbox).iter().map(|run| run["outcome"].clone()).collect();
    assert_eq!(outcomes, ["killed", "killed"]);
    refused(&sandbox, ["kill", "beside"], &["app.twc:beside", "no action of it is running"]);
}

// "as their timeout would": SIGKILL follows for an action that ignores SIGTERM.
#[test]
fn an_action_that_ignores_sigterm_is_killed_and_not_retried_while_its_watch_is_paused() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    let gate = sandbox.gate();
    let script = format!("trap '' TERM; {}; {}", journal.note("$$"), gate.pass());
    let keys = "retry: #{ attempts: 9, delay: 0.01 }";
    sandbox.config("app.twc", described("/n", &script, "hangs", keys));
    let daemon = sandbox.start();
    wait_until("the first run", || journal.lines().len() == 1);
    // A killed run has failed, so it is retried.
    order(&sandbox, ["kill", "hangs"]);
    wait_until("the second run", || journal.lines().len() == 2);
    assert!(!Process::parse(&journal.lines()[0]).is_alive());
    daemon.wait_for_log(&["app.twc:hangs", "did not end, sent SIGKILL"]);
    order(&sandbox, ["pause", "hangs"]);
    order(&sandbox, ["kill", "hangs"]);
    let second = Process::parse(&journal.lines()[1]);
    wait_until("the second run to be gone", || !second.is_alive());
    wait_until("it to be seen", || look_at(&sandbox, "hangs")["runs"] == json!([]));
    gate.open();
    assert_eq!(journal.lines().len(), 2);
    order(&sandbox, ["resume", "hangs"]);
    wait_until("the third run", || journal.lines().len() == 3);
}

#[test]
fn the_action_of_a_removed_watch_can_be_killed() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    sandbox
        .config("app.twc", described("/n", &format!("{}; exec sleep 1000", journal.note("$$")), "gone", ""));
    let _daemon = sandbox.start();
    wait_until("it to run", || journal.lines().len() == 1);
    sandbox.remove_config("app.twc");
    wait_until("the watch to be gone", || look_at(&sandbox, "gone")["registered"] == false);
    order(&sandbox, ["kill", "gone"]);
    let process = Process::parse(&journal.lines()[0]);
    wait_until("it to be gone", || !process.is_alive());
    wait_until("nothing to be left of it", || sandbox.operator(["status", "gone"]).finish().code == Some(1));
}

// "`status` of a watch whose run was adopted from a former daemon", "does `kill`ing an adopted orphan work"
#[test]
fn an_action_of_a_former_daemon_is_shown_and_killed_and_its_update_runs_again() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    let script = format!("{}; exec sleep 1000", journal.note("$$ $TWITCHER_RUN_ID"));
    sandbox.config("app.twc", described("/n", &script, "named", "run_on_load: CHANGED"));
    let mut daemon = sandbox.start();
    let before = wait_for_state(&sandbox, "named", "running");
    wait_until("it to run", || journal.lines().len() == 1);
    daemon.kill();
    let _daemon = sandbox.start();
    let after = wait_for_state(&sandbox, "named", "running");
    let of =
        |it: &Value| ["run", "pid", "event", "version", "started"].map(|field| it["runs"][0][field].clone());
    assert_eq!(of(&after), of(&before));
    let seconds = |it: &Value| it["runs"][0]["seconds"].as_f64();
    // The two times differ by the kernel's clock ticks.
    assert!(seconds(&after).map(|seconds| seconds + 0.1) >= seconds(&before), "{before} {after}");
    let lines = journal.lines();
    let (pid, run) = lines[0].split_once(' ').expect("pid and run");
    assert_eq!((after["runs"][0]["pid"].to_string().as_str(), &after["runs"][0]["run"]), (pid, &json!(run)));
    order(&sandbox, ["pause", "named"]);
    order(&sandbox, ["kill", "named"]);
    wait_until("it to be gone", || !Process::parse(pid).is_alive());
    wait_until("it to be seen", || look_at(&sandbox, "named")["runs"] == json!([]));
    assert_eq!(journal.lines().len(), 1);
    // How the run ended is unknown.
    order(&sandbox, ["resume", "named"]);
    wait_until("it to run again", || journal.lines().len() == 2);
}

// "Have the daemon read its configs again"
#[test]
fn reload_tries_what_failed_for_reasons_outside_the_file() {
    let sandbox = Sandbox::directory();
    let daemon = sandbox.start();
    wait_until_served(&sandbox);
    assert_eq!(order(&sandbox, ["reload"]), "0 watches loaded\n");
    daemon.wait_for_log(&["an operator (root): reading the configs again"]);
    // The reply comes when the new file is loaded, not earlier.
    for round in 1..20 {
        sandbox.config("app.twc", watch("/n", &exec("true"), "").repeat(round));
        assert_eq!(
            order(&sandbox, ["reload"]),
            format!("{round} watch{} loaded\n", if round == 1 { "" } else { "es" })
        );
    }
    sandbox.config("bad.twc", "RegisterWatch(#{});");
    refused(&sandbox, ["reload"], &["bad.twc:1:1", "missing key `znode`", "registered before stays"]);
}

// "while stopping"
#[test]
fn a_daemon_that_is_stopping_replies_and_refuses_orders() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let gate = sandbox.gate();
    sandbox.config("app.twc", described("/n", &gate.pass(), "held", ""));
    let mut daemon = sandbox.daemon().args(["--stop-timeout", "600"]).start();
    wait_for_state(&sandbox, "held", "running");
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_log(&["stopping"]);
    for order in ["trigger", "pause", "resume", "kill"] {
        refused(&sandbox, [order, "held"], &["the daemon is stopping"]);
    }
    refused(&sandbox, ["reload"], &["the daemon is stopping"]);
    assert_eq!(look_at(&sandbox, "held")["state"], "running");
    assert_eq!(runs(&sandbox).len(), 1);
    gate.open();
    assert_eq!(daemon.wait_for_exit(), Some(0));
    assert!(!sandbox.control_socket().exists());
}
