//! Failed actions are retried or stop their watch. Throttles delay updates and drop none.

use std::time::{Duration, Instant};

use crate::harness::{Sandbox, exec, on_every_store, wait_until, watch};

/// An action that journals the content and fails unless the content is `good`.
fn failing(record: &str) -> String {
    exec(&format!("v=$(cat); echo \"$v\" | {{ {record}; }}; [ \"$v\" = good ]"))
}

on_every_store!(a_failed_action_is_retried_and_then_given_up);
fn a_failed_action_is_retried_and_then_given_up(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "bad");
    let keys = "retry: #{ attempts: 2, delay: 0.05, max_delay: 0.1 }, description: \"shaky\"";
    sandbox.config("app.twc", watch("/n", &failing(&journal.record()), keys));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["shaky", "failed 3 times in a row"]);
    journal.wait_for(&["bad", "bad", "bad"]);
    sandbox.nodes.set("/n", "good");
    journal.wait_for(&["bad", "bad", "bad", "good"]);
}

#[test]
fn a_newer_update_supersedes_the_retry_of_an_older_one() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "bad");
    // The retry would come later than any test waits.
    let keys = "retry: #{ attempts: 5, delay: 3600, max_delay: 3600 }, description: \"shaky\"";
    sandbox.config("app.twc", watch("/n", &failing(&journal.record()), keys));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["shaky", "trying again"]);
    sandbox.nodes.set("/n", "good");
    journal.wait_for(&["bad", "good"]);
}

#[test]
fn a_signal_a_timeout_and_a_missing_program_are_failures_as_well() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "0");
    let retry = "retry: #{ attempts: 1, delay: 0.05 }";
    sandbox.config(
        "app.twc",
        [
            watch("/n", &exec("kill -9 $$"), &format!("{retry}, description: \"killed\"")),
            watch("/n", &exec("sleep 1000"), &format!("{retry}, timeout: 0.1, description: \"late\"")),
            watch("/n", "Exec([\"/none\"])", &format!("{retry}, description: \"missing\"")),
        ]
        .concat(),
    );
    let daemon = sandbox.start();
    for name in ["killed", "late", "missing"] {
        daemon.wait_for_log(&[name, "failed 2 times in a row"]);
    }
}

#[test]
fn stop_on_failure_stops_the_watch_until_its_definition_changes() {
    let sandbox = Sandbox::directory();
    let (journal, witness) = (sandbox.journal(), sandbox.journal_named("witness"));
    sandbox.nodes.set("/n", "bad");
    let config = |keys: &str| {
        let stopping = watch("/n", &failing(&journal.record()), &format!("on_failure: STOP, {keys}"));
        sandbox.config("app.twc", [stopping, watch("/n", &exec(&witness.record()), "")].concat());
    };
    config("");
    let daemon = sandbox.start();
    daemon.wait_for_log(&["app.twc-1", "stopped"]);
    sandbox.nodes.set("/n", "good");
    witness.wait_for_last("good");
    journal.wait_for(&["bad"]);
    config("timeout: 60");
    journal.wait_for(&["bad", "good"]);
    sandbox.nodes.set("/n", "good again");
    journal.wait_for(&["bad", "good", "good again"]);
}

on_every_store!(debounce_runs_a_burst_once_with_its_last_content);
fn debounce_runs_a_burst_once_with_its_last_content(sandbox: &Sandbox) {
    let (journal, witness) = (sandbox.journal(), sandbox.journal_named("witness"));
    sandbox.nodes.set("/n", "0");
    // On a busy machine, too, the whole burst takes less time than this.
    let calm = watch("/n", &exec(&journal.record()), "debounce: 3, run_on_load: false");
    sandbox.config("app.twc", [calm, watch("/n", &exec(&witness.record()), "")].concat());
    let _daemon = sandbox.start();
    witness.wait_for_last("0");
    for value in 1..=10 {
        sandbox.nodes.set("/n", value.to_string());
    }
    witness.wait_for_last("10");
    journal.wait_for(&["10"]);
}

// "The longest time that `debounce` delays an update of a node that never rests."
#[test]
fn a_node_that_never_rests_runs_its_debounced_action() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    let calm = watch("/n", &exec(&journal.record()), "debounce: 2, debounce_max: 3, run_on_load: false");
    sandbox.config("app.twc", calm);
    let daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["/n", "observed"]);
    let mut value = 0;
    wait_until("a run although the node never rests", || {
        value += 1;
        sandbox.nodes.set("/n", value.to_string());
        !journal.lines().is_empty()
    });
}

#[test]
fn min_interval_spaces_starts_and_still_runs_the_last_content() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), "min_interval: 2"));
    let _daemon = sandbox.start();
    journal.wait_for(&["0"]);
    let started = Instant::now();
    for value in 1..=5 {
        sandbox.nodes.set("/n", value.to_string());
    }
    journal.wait_for(&["0", "5"]);
    // The first run has journalled its content a little after its start.
    assert!(started.elapsed() > Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn splay_delays_runs_and_loses_none() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    let watches: String = (0..20)
        .map(|n| watch("/n", &exec(&journal.note(&format!("{n} $(date +%s%N)"))), "splay: 2"))
        .collect();
    sandbox.config("app.twc", watches);
    let _daemon = sandbox.start();
    wait_until("each watch to run", || journal.lines().len() == 20);
    let mut starts: Vec<u64> =
        journal.lines().iter().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    starts.sort_unstable();
    let spread = Duration::from_nanos(starts[19] - starts[0]);
    // Twenty random delays of up to two seconds lie this close together once in 10^8 times.
    assert!(spread > Duration::from_millis(700), "{spread:?}");
}
