//! Tests of `max_actions`: how many actions run at once, of all watches together.

use serde_json::Value;

use crate::harness::control::get;
use crate::harness::{Sandbox, exec, wait_for, watch};

/// Watches of one node with the names `0`, `1` and so on.
fn many(count: usize, action: &str) -> String {
    (0..count).map(|n| watch("/n", action, &format!("description: \"{n}\""))).collect()
}

/// Waits until this many actions run and this many watches wait for a place. Returns the daemon's status.
#[track_caller]
fn wait_for_places(sandbox: &Sandbox, running: usize, waiting: usize) -> Value {
    wait_for("the places to be taken", || {
        if !sandbox.control_socket().exists() {
            return None;
        }
        let status = get(&sandbox.control_socket(), "/v1/status").json();
        let counts = (&status["running_actions"], &status["waiting_for_place"]);
        (counts == (&running.into(), &waiting.into())).then_some(status)
    })
}

#[test]
fn at_most_max_actions_run_at_once_and_every_watch_gets_its_turn() {
    let sandbox = Sandbox::directory();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.settings("max_actions = 2\n");
    sandbox.nodes.set("/n", "1");
    let action =
        format!("{}; {}; {}", journal.note("start"), gate.pass(), journal.note("end $TWITCHER_WATCH"));
    sandbox.config("app.twc", many(6, &exec(&action)));
    let daemon = sandbox.start();
    assert_eq!(wait_for_places(&sandbox, 2, 4)["max_actions"], 2);
    daemon.wait_for_log(&["2 actions running, which is max_actions", "4 watches wait until one ends"]);
    let watches = get(&sandbox.control_socket(), "/v1/watches").json_lines();
    let waits = |watch: &&Value| watch["waits_for_place_seconds"].is_f64() && watch["state"] == "waiting";
    assert_eq!(watches.iter().filter(waits).count(), 4, "{watches:?}");
    let text = sandbox.operator(["status"]).finish().expect(0).text();
    assert!(text.contains("MAX_ACTIONS: 2 actions run, at most 2 may; 4 wait"), "{text}");
    assert_eq!(text.matches("for others to start or to end (max_actions)").count(), 4, "{text}");
    let metrics = get(&sandbox.control_socket(), "/metrics").text();
    for line in ["twitcher_max_actions 2\n", "twitcher_watches_waiting_for_place 4\n"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    sandbox.operator(["status", "--check"]).finish().expect(0);
    let late = sandbox.operator(["status", "--check", "--stuck-after", "0"]).finish();
    assert_eq!(late.code, Some(1), "{late:?}");
    let late = late.text();
    assert!(late.starts_with("max_actions: 2 actions running") && late.contains("4 watches wait"), "{late}");

    // A newer update replaces the one that waits: nothing runs twice.
    sandbox.nodes.set("/n", "2");
    gate.open();
    wait_for_places(&sandbox, 0, 0);
    daemon.wait_for_log(&["no watch waits for max_actions any more"]);
    for n in 0..6 {
        assert!(journal.count(&format!("end {n}")) >= 1, "{:?}", journal.lines());
    }
}

// More watches than are given a place in one turn of the loop.
#[test]
fn a_daemon_that_ends_by_itself_waits_until_every_watch_had_its_turn() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.settings("max_actions = 3\n");
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", many(100, &exec(&journal.note("$TWITCHER_WATCH"))));
    let planned = sandbox.daemon().arg("--dry-run").finish().expect(0).text();
    assert_eq!(planned.matches("run_on_load is true").count(), 100, "{planned}");
    assert_eq!(journal.lines(), [""; 0]);
    sandbox.daemon().arg("--once").finish().expect(0);
    let mut ran = journal.lines();
    ran.sort_by_key(|name| name.parse::<usize>().ok());
    assert_eq!(ran, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn max_actions_0_is_no_limit() {
    let sandbox = Sandbox::directory();
    sandbox.settings("max_actions = 0\n");
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", many(270, &exec("exec sleep 600")));
    let _daemon = sandbox.start();
    assert_eq!(wait_for_places(&sandbox, 270, 0)["max_actions"], Value::Null);
}

#[test]
fn a_watch_waits_for_one_start_of_a_crowded_node_and_not_for_those_of_all_its_watches() {
    let sandbox = Sandbox::directory();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.settings("max_actions = 1\n");
    sandbox.nodes.set("/n", "1");
    let action = exec(&format!("{}; {}", gate.pass(), journal.note("$TWITCHER_ZNODE")));
    let other = watch("/other", &action, "description: \"other\"");
    sandbox.config("app.twc", format!("{}{other}", many(300, &action)));
    let _daemon = sandbox.start();
    wait_for_places(&sandbox, 1, 299);
    sandbox.nodes.set("/other", "1");
    wait_for_places(&sandbox, 1, 300);
    gate.open();
    wait_for_places(&sandbox, 0, 0);
    let ran = journal.lines();
    assert_eq!((ran.len(), journal.count("/other")), (301, 1));
    assert!(ran[..3].contains(&"/other".to_owned()), "{ran:?}");
}
