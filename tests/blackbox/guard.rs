//! `max_data` and `guard`: which updates are held, what shows that, and what releases them.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::control::{ask, connect, get};
use crate::harness::{Daemon, Journal, Sandbox, exec, on_every_store, wait_for, wait_until, watch};

/// Writes a config with one watch on `/n`, which journals the event and the content.
fn guarded(sandbox: &Sandbox, keys: &str) -> Journal {
    let journal = sandbox.journal();
    let keys = format!("description: \"deploy\", {keys}");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), &keys));
    journal
}

#[track_caller]
fn wait_for_state(sandbox: &Sandbox, state: &str) -> Value {
    let socket = sandbox.control_socket();
    wait_for(&format!("the watch to be {state}"), || {
        std::os::unix::net::UnixStream::connect(&socket).ok()?;
        let watches = get(&socket, "/v1/watches").json_lines();
        watches.into_iter().find(|found| found["description"] == "deploy" && found["state"] == state)
    })
}

/// Waits until an update is held for this reason.
#[track_caller]
fn wait_until_held(sandbox: &Sandbox, why: &str) -> Value {
    let socket = sandbox.control_socket();
    wait_for(&format!("it to be held: {why}"), || {
        let watches = get(&socket, "/v1/watches").json_lines();
        watches.into_iter().find(|found| found["held"].as_str().is_some_and(|held| held.contains(why)))
    })
}

fn said(daemon: &Daemon) -> Vec<String> {
    daemon.log_lines(&["app.twc:deploy: held: "])
}

#[track_caller]
fn force(sandbox: &Sandbox) -> String {
    sandbox.operator(["trigger", "--force", "deploy"]).finish().expect(0).text()
}

// "not_empty: empty data is held; max_shrink: an update smaller by more than that than what the action last
// succeeded with is held ... a later good update replaces it"
on_every_store!(a_suspicious_update_is_held_said_and_shown_until_a_good_one_comes);
fn a_suspicious_update_is_held_said_and_shown_until_a_good_one_comes(sandbox: &Sandbox) {
    let journal = guarded(sandbox, "guard: #{ not_empty: true, max_shrink: 50 }");
    sandbox.nodes.set("/n", "0123456789");
    let daemon = sandbox.start();
    journal.wait_for(&["load 0123456789"]);
    let idle = wait_for_state(sandbox, "idle");
    assert_eq!(idle["held"], Value::Null);
    let metric = |name: &str| {
        let text = get(&sandbox.control_socket(), "/metrics").text();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
    };
    assert_eq!(metric("twitcher_updates_held_total"), Some(0.0));

    sandbox.nodes.set("/n", "");
    let held = wait_for_state(sandbox, "held");
    let reason = held["held"].as_str().expect("a reason");
    assert!(reason.starts_with("version ") && reason.ends_with(" has 0 bytes (not_empty)"), "{reason}");
    assert_ne!(held["applied_version"], held["version"]);
    sandbox.nodes.set("/n", "0123");
    let held = wait_until_held(sandbox, "4 bytes");
    let why = " has 4 bytes, where the last success had 10 (max_shrink: 50)";
    let reason = held["held"].as_str().expect("a reason");
    assert!(reason.ends_with(why), "{reason}");
    let remedy = "not run until the node changes; to run it all the same: `twitcher trigger --force \
                  app.twc:deploy`";
    wait_until("it to be said", || said(&daemon).len() == 2);
    let line = said(&daemon).pop().unwrap();
    assert!(line.contains(" WARNING app.twc:deploy: held: /n, version "), "{line}");
    assert!(line.ends_with(&format!("{why}; {remedy}")), "{line}");
    assert_eq!(metric("twitcher_updates_held_total"), Some(2.0));
    assert_eq!(metric("twitcher_watches{state=\"held\"}"), Some(1.0));

    let shown = sandbox.operator(["status"]).finish().expect(0).text();
    assert!(shown.contains(" held ") && shown.contains(why), "{shown}");
    let checked = sandbox.operator(["status", "--check"]).finish();
    assert_eq!(checked.code, Some(1));
    checked.expect_said(&[
        "app.twc:deploy: held: version ",
        why,
        "`twitcher trigger --force app.twc:deploy`",
    ]);

    sandbox.nodes.set("/n", "01234");
    journal.wait_for(&["load 0123456789", "changed 01234"]);
    wait_for_state(sandbox, "idle");
    assert_eq!(sandbox.operator(["status", "--check"]).finish().expect(0).text(), "ok: 1 watch\n");
}

// "max_data: an update with more is held, not run": the first content, too.
on_every_store!(an_update_that_is_too_large_is_held_also_at_the_load);
fn an_update_that_is_too_large_is_held_also_at_the_load(sandbox: &Sandbox) {
    let journal = guarded(sandbox, "max_data: 10");
    sandbox.nodes.set("/n", "0123456789a");
    let _daemon = sandbox.start();
    let held = wait_for_state(sandbox, "held");
    let reason = held["held"].as_str().expect("a reason");
    assert!(reason.starts_with("version ") && reason.ends_with(" has 11 bytes (max_data: 10)"), "{reason}");
    sandbox.nodes.set("/n", "0123456789");
    journal.wait_for(&["load 0123456789"]);
}

// "`trigger --force WATCH` applies it; a plain trigger is refused (409) and says why"
on_every_store!(only_force_runs_what_is_held_and_the_next_update_is_compared_with_that);
fn only_force_runs_what_is_held_and_the_next_update_is_compared_with_that(sandbox: &Sandbox) {
    let journal = guarded(sandbox, "guard: #{ max_shrink: 50 }");
    sandbox.nodes.set("/n", "0123456789");
    let daemon = sandbox.start();
    journal.wait_for(&["load 0123456789"]);
    wait_for_state(sandbox, "idle");
    // Without a held update `--force` changes nothing.
    assert_eq!(force(sandbox), "app.twc:deploy: runs with what its node has now\n");
    journal.wait_for(&["load 0123456789", "trigger 0123456789"]);
    wait_for_state(sandbox, "idle");

    sandbox.nodes.set("/n", "0123");
    let held = wait_for_state(sandbox, "held");
    let why = held["held"].as_str().unwrap();
    let socket = sandbox.control_socket();
    let post = |resource: &str| ask(connect(&socket), "POST", resource);
    let refused = post("/v1/trigger?watch=deploy");
    let remedy = "`twitcher trigger --force app.twc:deploy` runs it all the same";
    let error = format!("app.twc:deploy: {why}, and is held; {remedy}");
    assert_eq!((refused.status, refused.json()), (409, json!({ "error": error })));
    let refused = sandbox.operator(["trigger", "deploy"]).finish().expect(1);
    assert_eq!(refused.stderr, format!("twitcher: {error}\n"));
    for (resource, status) in [
        ("/v1/trigger?watch=deploy&force=false", 409),
        ("/v1/trigger?watch=deploy&force=yes", 400),
        ("/v1/pause?watch=deploy&force=true", 400),
    ] {
        assert_eq!(post(resource).status, status, "{resource}");
    }
    wait_for_state(sandbox, "held");

    assert_eq!(force(sandbox), "app.twc:deploy: runs with what was held\n");
    journal.wait_for(&["load 0123456789", "trigger 0123456789", "trigger 0123"]);
    let idle = wait_for_state(sandbox, "idle");
    assert_eq!((&idle["held"], &idle["applied_version"]), (&Value::Null, &idle["version"]));
    daemon.wait_for_log(&["app.twc:deploy: triggered with --force by an operator"]);
    sandbox.nodes.set("/n", "01");
    journal.wait_for(&["load 0123456789", "trigger 0123456789", "trigger 0123", "changed 01"]);
    wait_for_state(sandbox, "idle");
    sandbox.nodes.set("/n", "");
    wait_for_state(sandbox, "held");
    let answer = post("/v1/trigger?watch=deploy&force=true");
    let done = json!({ "watch": "app.twc:deploy", "done": "runs with what was held" });
    assert_eq!((answer.status, answer.json()), (200, done));
    journal.wait_for(&["load 0123456789", "trigger 0123456789", "trigger 0123", "changed 01", "trigger "]);
}

// "nothing held is forgotten over restart (the next daemon holds it again, and says so again once)"; "the
// size is kept over restarts in the ledger"
on_every_store!(a_restart_forgets_neither_what_is_held_nor_what_it_was_compared_with);
fn a_restart_forgets_neither_what_is_held_nor_what_it_was_compared_with(sandbox: &Sandbox) {
    for (load, brutal) in [("true", true), ("false", false), ("CHANGED", true)] {
        let journal = guarded(sandbox, "guard: #{ max_shrink: 50 }");
        sandbox.nodes.set("/n", "0123456789");
        let mut daemon = sandbox.start();
        journal.wait_for(&["load 0123456789"]);
        wait_for_state(sandbox, "idle");
        // The action stays the same, the definition changes.
        let keys = format!("guard: #{{ max_shrink: 50 }}, run_on_load: {load}, timeout: 60");
        let journal = guarded(sandbox, &keys);
        daemon.wait_for_log(&["app.twc: loaded, 0 added, 1 changed"]);
        if load != "false" {
            journal.wait_for(&["load 0123456789"]);
        }
        wait_for_state(sandbox, "idle");
        let so_far = journal.lines();
        sandbox.nodes.set("/n", "0");
        let held = wait_for_state(sandbox, "held");
        // The ledger is written 2 ms later.
        wait_until("the ledger to have it", || is_in_the_ledger(sandbox));
        if brutal {
            daemon.kill()
        } else {
            assert_eq!(daemon.stop(), Some(0))
        }
        for _ in 0..2 {
            let mut next = sandbox.start();
            next.wait_for_log(&["held: /n"]);
            let again = wait_for_state(sandbox, "held");
            assert_eq!(again["held"], held["held"]);
            assert_eq!(next.stop(), Some(0));
            assert_eq!(said(&next).len(), 1, "{:?}", next.log());
        }
        assert_eq!(journal.lines(), so_far);
        let mut last = sandbox.start();
        // Before the daemon's first look at the node, this would run as a load.
        last.wait_for_log(&["held: /n"]);
        force(sandbox);
        journal.wait_for_last("trigger 0");
        wait_for_state(sandbox, "idle");
        assert_eq!(last.stop(), Some(0));
        // The forced content counts as applied.
        let mut next = sandbox.start();
        wait_for_state(sandbox, "idle");
        assert_eq!(next.stop(), Some(0));
        assert!(said(&next).is_empty(), "{:?}", next.log());
        sandbox.remove_config("app.twc");
        std::fs::remove_file(sandbox.state().join("ledger.db")).expect("remove the ledger");
    }
}

/// Whether the ledger has a held update.
fn is_in_the_ledger(sandbox: &Sandbox) -> bool {
    let ledger = rusqlite::Connection::open(sandbox.state().join("ledger.db")).expect("open the ledger");
    let held = ledger.query_row("SELECT held_number IS NOT NULL FROM watches", [], |row| row.get(0));
    held.unwrap_or(false)
}

// "What was let through runs, is tried again and can be triggered again without being judged again, also by
// the next daemon"
on_every_store!(what_was_forced_and_interrupted_runs_again_and_is_not_held_by_the_next_daemon);
fn what_was_forced_and_interrupted_runs_again_and_is_not_held_by_the_next_daemon(sandbox: &Sandbox) {
    for (load, event, brutal) in [
        ("true", "load ", false),
        ("true", "load ", true),
        ("false", "trigger ", false),
        ("false", "trigger ", true),
        ("CHANGED", "load ", false),
    ] {
        let (journal, gate) = (sandbox.journal(), sandbox.gate_named(&format!("{load}-{brutal}")));
        let script = format!("{}; {}", journal.record_event(), gate.pass());
        let keys = format!("description: \"deploy\", run_on_load: {load}, guard: #{{ not_empty: true }}");
        sandbox.config("app.twc", watch("/n", &exec(&script), &keys));
        let mut daemon = sandbox.daemon().args(["--stop-timeout", "0"]).start();
        wait_for_state(sandbox, "absent");
        sandbox.nodes.set("/n", "");
        wait_for_state(sandbox, "held");
        force(sandbox);
        journal.wait_for_last("trigger ");
        let first = journal.lines().len();
        wait_for_state(sandbox, "running");
        if brutal {
            daemon.kill()
        } else {
            assert_eq!(daemon.stop(), Some(0))
        }

        let mut next = sandbox.start();
        if brutal {
            // The action outlived its daemon, and the next daemon waits for it.
            next.wait_for_log(&["app.twc:deploy", "still runs"]);
            gate.open();
        }
        wait_until("it to run again", || journal.lines().len() > first);
        assert_eq!(journal.lines().last().map(String::as_str), Some(event), "{load} {brutal}");
        gate.open();
        let idle = wait_for_state(sandbox, "idle");
        assert_eq!(idle["applied_version"], idle["version"]);
        assert_eq!(said(&next), [""; 0]);
        // The guard judges other contents as usual.
        sandbox.nodes.set("/n", "1");
        journal.wait_for_last("changed 1");
        sandbox.nodes.set("/n", "");
        wait_for_state(sandbox, "held");
        assert_eq!(next.stop(), Some(0));
        sandbox.remove_config("app.twc");
        sandbox.nodes.remove("/n");
        std::fs::remove_file(sandbox.state().join("ledger.db")).expect("remove the ledger");
    }
}

#[test]
fn what_was_forced_and_failed_is_tried_again_by_the_next_daemon() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let script = format!("{}; exit 1", journal.record_event());
    let keys = "description: \"deploy\", run_on_load: false, guard: #{ not_empty: true }, \
                retry: #{ attempts: 9, delay: 600, max_delay: 600 }";
    sandbox.config("app.twc", watch("/n", &exec(&script), keys));
    let mut daemon = sandbox.start();
    wait_for_state(&sandbox, "absent");
    // The node is created anew. The next daemon cannot know that.
    sandbox.nodes.set("/n", "");
    wait_for_state(&sandbox, "held");
    sandbox.nodes.remove("/n");
    wait_for_state(&sandbox, "absent");
    sandbox.nodes.set("/n", "");
    wait_for_state(&sandbox, "held");
    force(&sandbox);
    journal.wait_for(&["trigger "]);
    wait_for_state(&sandbox, "retrying");
    assert_eq!(daemon.stop(), Some(0));
    let next = sandbox.start();
    journal.wait_for(&["trigger ", "trigger "]);
    wait_for_state(&sandbox, "retrying");
    assert_eq!(said(&next), [""; 0]);
}

// An answered order outlives a daemon that is killed before it starts the action.
#[test]
fn what_was_forced_runs_also_if_the_daemon_is_killed_right_after_its_reply() {
    let sandbox = Sandbox::directory();
    let journal = guarded(&sandbox, "run_on_load: false, guard: #{ not_empty: true }");
    let mut daemon = sandbox.start();
    wait_for_state(&sandbox, "absent");
    sandbox.nodes.set("/n", "");
    wait_for_state(&sandbox, "held");
    wait_until("the ledger to have it", || is_in_the_ledger(&sandbox));
    let answer = ask(connect(&sandbox.control_socket()), "POST", "/v1/trigger?watch=deploy&force=true");
    daemon.kill();
    assert_eq!(answer.status, 200);
    let next = sandbox.start();
    journal.wait_for_last("trigger ");
    wait_for_state(&sandbox, "idle");
    assert_eq!(said(&next), [""; 0]);
}

// "guard removed => it runs, as the load of a changed definition does"
#[test]
fn a_held_update_runs_when_its_guard_is_removed() {
    for load in ["true", "false", "CHANGED"] {
        let sandbox = Sandbox::directory();
        let journal = guarded(&sandbox, &format!("run_on_load: {load}, guard: #{{ not_empty: true }}"));
        let _daemon = sandbox.start();
        wait_for_state(&sandbox, "absent");
        sandbox.nodes.set("/n", "");
        wait_for_state(&sandbox, "held");
        guarded(&sandbox, &format!("run_on_load: {load}"));
        journal.wait_for_line_where("a run", |line| line.starts_with("load") || line.starts_with("created"));
        wait_for_state(&sandbox, "idle");
    }
}

// "Sizes: children = bytes of the list for max_data, number of children for the guard; tree = sum of the data
// bytes, number of nodes below the watched one"
on_every_store!(children_and_trees_have_their_own_measures);
fn children_and_trees_have_their_own_measures(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    let each = |description: &str, keys: &str| {
        let keys = format!("description: {description:?}, {keys}");
        watch("/t", &exec(&journal.note(description)), &keys)
    };
    let config = [
        each("none", "watch_type: WATCH_CHILDREN, guard: #{ not_empty: true }"),
        each("bare", "watch_type: WATCH_TREE, guard: #{ not_empty: true }"),
        each("long", "watch_type: WATCH_CHILDREN, max_data: 5"),
        each("much", "watch_type: WATCH_TREE, max_data: 5"),
    ];
    sandbox.config("app.twc", config.concat());
    sandbox.nodes.make("/t");
    let daemon = sandbox.start();
    let held = |watch: &str, why: &str| daemon.wait_for_log(&[&format!("app.twc:{watch}: held: /t"), why]);
    held("none", "has 0 children (not_empty)");
    held("bare", "has 0 nodes below it (not_empty)");
    let ran = |expected: &[&str]| {
        wait_until(&format!("{expected:?} to run"), || {
            let mut lines = journal.lines();
            lines.sort();
            lines == expected
        });
    };
    ran(&["long", "much"]);
    // The list of children has five bytes, one of them a newline, and the tree has five bytes of data.
    sandbox.nodes.set("/t/abcd", "12345");
    ran(&["bare", "long", "long", "much", "much", "none"]);
    sandbox.nodes.set("/t/e", "6");
    held("long", "has 7 bytes (max_data: 5)");
    held("much", "has 6 bytes (max_data: 5)");
}

// "notify_signal must not be sent for a held update"
#[test]
fn a_running_action_is_not_notified_of_a_held_update() {
    let sandbox = Sandbox::directory();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    let (path, record, pass) = (journal.path(), journal.record(), gate.pass());
    let script = format!("trap 'echo told >> {path}' USR1; {record}; {pass}");
    let keys = "description: \"deploy\", notify_signal: \"USR1\", guard: #{ not_empty: true }";
    sandbox.config("app.twc", watch("/n", &exec(&script), keys));
    sandbox.nodes.set("/n", "1");
    let daemon = sandbox.start();
    journal.wait_for(&["1"]);
    sandbox.nodes.set("/n", "");
    daemon.wait_for_log(&["held: /n"]);
    let running = wait_until_held(&sandbox, "not_empty");
    assert_eq!(running["state"], "running", "the action runs on");
    sandbox.nodes.set("/n", "2");
    journal.wait_for(&["1", "told"]);
    gate.open();
    journal.wait_for(&["1", "told", "2"]);
}

#[test]
fn once_fails_for_a_held_update_and_a_dry_run_announces_it() {
    let sandbox = Sandbox::directory();
    let journal = guarded(&sandbox, "guard: #{ not_empty: true }");
    sandbox.nodes.set("/n", "");
    let dry = sandbox.daemon().arg("--dry-run").finish().expect(1);
    dry.expect_said(&["app.twc:deploy", "not run", "it would be held: version ", "has 0 bytes (not_empty)"]);
    let once = sandbox.daemon().arg("--once").finish().expect(1);
    once.expect_said(&["app.twc:deploy: held: version ", "`twitcher trigger --force app.twc:deploy`"]);
    assert!(journal.lines().is_empty());
}

// The command quotes a watch's name that a shell would take for several words.
#[test]
fn the_remedy_can_be_copied_into_a_shell() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "");
    let keys = "description: \"it's $(a) test\", guard: #{ not_empty: true }";
    sandbox.config("app.twc", watch("/n", &exec("true"), keys));
    let daemon = sandbox.start();
    daemon.wait_for_log(&[r"`twitcher trigger --force 'app.twc:it'\''s $(a) test'`"]);
    sandbox.operator(["trigger", "--force", "app.twc:it's $(a) test"]).finish().expect(0);
}

// "One bad thing stays one bad thing": a writer of the node cannot fill the log.
#[test]
fn a_flood_of_held_updates_is_counted_and_only_some_are_logged() {
    let sandbox = Sandbox::directory();
    guarded(&sandbox, "max_data: 3");
    sandbox.nodes.set("/n", "0123");
    let daemon = sandbox.start();
    wait_for_state(&sandbox, "held");
    let began = Instant::now();
    let counted = || {
        let text = get(&sandbox.control_socket(), "/metrics").text();
        let total = text.lines().find_map(|line| line.strip_prefix("twitcher_updates_held_total "));
        total.map_or(0, |total| total.parse::<u64>().unwrap())
    };
    wait_until("many to be held", || {
        for text in ["01234", "0123"] {
            sandbox.nodes.set("/n", text);
        }
        counted() > 40
    });
    let most = 10 * (began.elapsed().as_secs() as usize / 10 + 1);
    let lines = said(&daemon).len();
    assert!((1..=most).contains(&lines), "{lines} lines");
}
