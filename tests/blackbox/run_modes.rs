//! Tests of the run modes: what an update does while the action runs.

use crate::harness::control::get;
use crate::harness::{Gate, Journal, Sandbox, exec, on_every_store, wait_until, watch};

/// An action that journals `start CONTENT`, waits at the gate, and journals `end CONTENT`.
fn gated(journal: &Journal, gate: &Gate) -> String {
    let (start, pass, end) = (journal.note("start $v"), gate.pass(), journal.note("end $v"));
    // The content has no newline, so `read` fails, and has it all the same.
    exec(&format!("read -r v; {start}; {pass}; {end}"))
}

/// A watch on the same node that journals every update at once. Both watches share one subscription: what
/// this one has journalled, the other one has seen.
fn witness(znode: &str, journal: &Journal) -> String {
    watch(znode, &exec(&journal.record()), r#"description: "witness", run_mode: PARALLEL"#)
}

/// Sets the node and waits until the daemon has seen it.
#[track_caller]
fn set_and_see(sandbox: &Sandbox, seen: &Journal, value: &str) {
    sandbox.nodes.set("/n", value);
    seen.wait_for_line(value);
}

// "at most one action runs; updates that come meanwhile collapse into one further run with the most recent
// content"
on_every_store!(queue_collapses_updates_into_one_run_with_the_latest_content);
fn queue_collapses_updates_into_one_run_with_the_latest_content(sandbox: &Sandbox) {
    let (journal, seen, gate) = (sandbox.journal(), sandbox.journal_named("seen"), sandbox.gate());
    sandbox.nodes.set("/n", "0");
    sandbox.config("app.twc", [watch("/n", &gated(&journal, &gate), ""), witness("/n", &seen)].concat());
    let _daemon = sandbox.start();
    journal.wait_for(&["start 0"]);
    for value in ["1", "2", "3"] {
        set_and_see(sandbox, &seen, value);
    }
    gate.open();
    journal.wait_for(&["start 0", "end 0", "start 3", "end 3"]);
    sandbox.nodes.set("/n", "4");
    journal.wait_for(&["start 0", "end 0", "start 3", "end 3", "start 4", "end 4"]);
}

// "updates that come while it runs are ignored, and the watch stays armed"
on_every_store!(discard_ignores_updates_while_it_runs_and_stays_armed);
fn discard_ignores_updates_while_it_runs_and_stays_armed(sandbox: &Sandbox) {
    let (journal, seen, gate) = (sandbox.journal(), sandbox.journal_named("seen"), sandbox.gate());
    sandbox.nodes.set("/n", "0");
    let discarding = watch("/n", &gated(&journal, &gate), "run_mode: DISCARD");
    sandbox.config("app.twc", [discarding, witness("/n", &seen)].concat());
    let _daemon = sandbox.start();
    journal.wait_for(&["start 0"]);
    set_and_see(sandbox, &seen, "1");
    set_and_see(sandbox, &seen, "2");
    gate.open();
    journal.wait_for(&["start 0", "end 0"]);
    // The run ends a moment after it has journalled its end, and an update in between is ignored, too.
    let mut value = 3;
    wait_until("a run after the discarded updates", || {
        value += 1;
        set_and_see(sandbox, &seen, &value.to_string());
        journal.lines().len() > 2
    });
    assert_eq!((journal.count("start 1"), journal.count("start 2")), (0, 0));
}

// "one run for every observed update, at most max_parallel (64) at once; the rest wait in order"
on_every_store!(parallel_runs_every_update_in_order_and_max_parallel_at_once);
fn parallel_runs_every_update_in_order_and_max_parallel_at_once(sandbox: &Sandbox) {
    let (journal, seen, gate) = (sandbox.journal(), sandbox.journal_named("seen"), sandbox.gate());
    sandbox.nodes.set("/n", "0");
    let bounded = watch("/n", &gated(&journal, &gate), "run_mode: PARALLEL, max_parallel: 2");
    sandbox.config("app.twc", [bounded, witness("/n", &seen)].concat());
    let _daemon = sandbox.start();
    seen.wait_for_line("0");
    for value in ["1", "2", "3", "4"] {
        set_and_see(sandbox, &seen, value);
    }
    wait_until("two runs", || journal.lines().len() == 2);
    assert_eq!((journal.count("start 0"), journal.count("start 1")), (1, 1));
    gate.open();
    wait_until("all runs to end", || journal.lines().len() == 10);
    let running: Vec<i32> = journal
        .lines()
        .iter()
        .scan(0, |running, line| {
            *running += if line.starts_with("start") { 1 } else { -1 };
            Some(*running)
        })
        .collect();
    assert!(running.iter().all(|running| (0..=2).contains(running)), "{running:?}");
    for value in 0..5 {
        assert_eq!(journal.count(&format!("end {value}")), 1, "{:?}", journal.lines());
    }
}

// "the rest wait in order, up to 1,024; beyond that the newest replaces the last waiting one, and is counted"
#[test]
fn parallel_keeps_1024_waiting_and_then_replaces_the_newest() {
    let sandbox = Sandbox::zookeeper();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.nodes.set("/n", "0");
    sandbox.config("app.twc", watch("/n", &gated(&journal, &gate), "run_mode: PARALLEL, max_parallel: 1"));
    let _daemon = sandbox.start();
    journal.wait_for(&["start 0"]);
    // Another thousand runs, of a witness, would take most of the time.
    let seen = || {
        let metrics = get(&sandbox.control_socket(), "/metrics").text();
        let number = |name: &str| {
            let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            found.and_then(|number| number.parse::<u32>().ok()).unwrap_or_else(|| panic!("{name}: {metrics}"))
        };
        number("twitcher_waiting_updates") + number("twitcher_updates_superseded_total")
    };
    sandbox.nodes.set_each("/n", 1..=1030, |value| wait_until("the update to wait", || seen() == value));
    gate.open();
    journal.wait_for_last("end 1030");
    let started: Vec<_> =
        journal.lines().iter().filter_map(|line| line.strip_prefix("start ")?.parse::<u32>().ok()).collect();
    let expected: Vec<_> = (0..=1023).chain([1030]).collect();
    assert_eq!(started, expected);
}

// "Above this number, the newest update of the watch that holds the most replaces the one before it"
#[test]
fn parallel_holds_no_more_bytes_than_the_settings_allow_and_runs_the_newest() {
    let sandbox = Sandbox::zookeeper();
    let (journal, seen, gate) = (sandbox.journal(), sandbox.journal_named("seen"), sandbox.gate());
    sandbox.settings("max_waiting_bytes = 100000\n");
    let content = |value: u32| format!("{value} {}", "x".repeat(10_000));
    sandbox.nodes.set("/n", content(0));
    let action = |note: String| exec(&format!("v=$(cut -d' ' -f1); {note}"));
    let gated = action(format!("{}; {}", journal.note("$v"), gate.pass()));
    let bounded = watch("/n", &gated, "run_mode: PARALLEL, max_parallel: 1, description: \"bounded\"");
    let witness = watch("/n", &action(seen.note("$v")), "run_mode: PARALLEL, description: \"witness\"");
    sandbox.config("app.twc", [bounded, witness].concat());
    let daemon = sandbox.start();
    journal.wait_for(&["0"]);
    seen.wait_for_line("0");
    for value in 1..=30 {
        sandbox.nodes.set("/n", content(value));
        seen.wait_for_line(&value.to_string());
    }
    let status = get(&sandbox.control_socket(), "/v1/status").json();
    let waiting = status["waiting_bytes"].as_u64().expect("a number");
    assert!((80_000..=100_000).contains(&waiting), "{status}");
    assert_eq!(status["max_waiting_bytes"], 100_000);
    daemon.wait_for_log(&["app.twc:bounded", "too many updates or bytes wait"]);
    let metrics = get(&sandbox.control_socket(), "/metrics").text();
    assert!(metrics.contains("twitcher_updates_superseded_total 21\n"), "{metrics}");
    gate.open();
    let started: Vec<u32> =
        journal.wait_for_last("30").iter().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(started, (0..=8).chain([30]).collect::<Vec<_>>());
}

// "Never two at once in QUEUE and DISCARD"
on_every_store!(queue_never_runs_two_at_once_under_a_burst);
fn queue_never_runs_two_at_once_under_a_burst(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    let lock = sandbox.path("lock");
    let (clash, done) = (journal.note("two at once"), journal.note("$v"));
    let lock = lock.display();
    let action = exec(&format!("v=$(cat); mkdir {lock} || {clash}; sleep 0.02; rmdir {lock}; {done}"));
    sandbox.nodes.set("/n", "0");
    sandbox.config("app.twc", watch("/n", &action, ""));
    let _daemon = sandbox.start();
    journal.wait_for_line("0");
    sandbox.nodes.set_each("/n", 1..=200, |_| {});
    let lines = journal.wait_for_last("200");
    let values: Vec<u32> = lines.iter().map(|line| line.parse().expect("no clash")).collect();
    assert!(values.is_sorted_by(|a, b| a < b), "each content at most once, in order: {values:?}");
}

// "At rest, the last content of a watched node is the last content its action ran with": the node is deleted
// and created again while the action runs.
on_every_store!(a_recreation_during_a_run_runs_as_created);
fn a_recreation_during_a_run_runs_as_created(sandbox: &Sandbox) {
    let (journal, seen, gate) = (sandbox.journal(), sandbox.journal_named("seen"), sandbox.gate());
    sandbox.nodes.set("/n", "same");
    let action = format!("{}; {}", journal.record_event(), gate.pass());
    let witness = watch("/n", &exec(&seen.record_event()), r#"description: "witness", run_mode: PARALLEL"#);
    sandbox.config("app.twc", [watch("/n", &exec(&action), ""), witness].concat());
    let _daemon = sandbox.start();
    journal.wait_for(&["load same"]);
    sandbox.nodes.remove("/n");
    sandbox.nodes.set("/n", "same");
    seen.wait_for_line("created same");
    gate.open();
    journal.wait_for(&["load same", "created same"]);
}

// "A run ends when its first process ends"
#[test]
fn a_run_that_closes_its_output_has_not_ended() {
    let sandbox = Sandbox::directory();
    let (journal, seen, gate) = (sandbox.journal(), sandbox.journal_named("seen"), sandbox.gate());
    sandbox.nodes.set("/n", "0");
    let (start, end) = (journal.note("start $v"), journal.note("end $v"));
    let action = exec(&format!("v=$(cat); exec >&- 2>&-; {start}; {}; {end}", gate.pass()));
    sandbox.config("app.twc", [watch("/n", &action, ""), witness("/n", &seen)].concat());
    let _daemon = sandbox.start();
    journal.wait_for(&["start 0"]);
    set_and_see(&sandbox, &seen, "1");
    set_and_see(&sandbox, &seen, "2");
    gate.open();
    journal.wait_for(&["start 0", "end 0", "start 2", "end 2"]);
}

// "notify_signal ... sent to the running action when an update arrives", "goes to its process group"
#[test]
fn notify_signal_reaches_the_whole_process_group_of_the_running_action() {
    let sandbox = Sandbox::directory();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    let script = format!(
        "v=$(cat); trap '{leader}' HUP; (trap '{child}' HUP; {ready}; {pass}) & {ready}; {pass}; wait; {end}",
        leader = "echo leader >> $J",
        child = "echo child >> $J",
        ready = "echo ready >> $J",
        pass = gate.pass(),
        end = "echo end $v >> $J",
    );
    sandbox.nodes.set("/n", "0");
    let action = exec(&format!("J={}; {script}", journal.path()));
    sandbox.config("app.twc", watch("/n", &action, r#"notify_signal: "SIGHUP""#));
    let _daemon = sandbox.start();
    wait_until("both processes to listen", || journal.count("ready") == 2);
    sandbox.nodes.set("/n", "1");
    journal.wait_for_line("leader");
    journal.wait_for_line("child");
    gate.open();
    // The signal does not replace the run: the update runs after the action has ended.
    journal.wait_for_line("end 1");
    assert_eq!(journal.count("end 0"), 1);
}

// "Watches on one node share one subscription", but each runs its own action.
on_every_store!(two_watches_on_one_node_both_run);
fn two_watches_on_one_node_both_run(sandbox: &Sandbox) {
    let (one, two) = (sandbox.journal_named("one"), sandbox.journal_named("two"));
    sandbox.nodes.set("/n", "a");
    sandbox.config("one.twc", watch("/n", &exec(&one.record()), ""));
    sandbox.config("two.twc", watch("/n", &exec(&two.record()), ""));
    let _daemon = sandbox.start();
    for journal in [&one, &two] {
        journal.wait_for(&["a"]);
    }
    sandbox.nodes.set("/n", "b");
    for journal in [&one, &two] {
        journal.wait_for(&["a", "b"]);
    }
}
