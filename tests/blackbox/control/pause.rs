//! `pause` and `resume`: in between nothing starts, and nothing is lost.

use serde_json::json;

use super::{described, look_at, wait_for_state, wait_until_served};
use crate::harness::control::{ask, connect};
use crate::harness::{Journal, Sandbox, load, on_every_store, wait_until};

#[track_caller]
fn order<const N: usize>(sandbox: &Sandbox, words: [&str; N]) -> String {
    sandbox.operator(words).finish().expect(0).text()
}

/// Sets `/n` and waits until the daemon has seen that.
#[track_caller]
fn set_and_see(sandbox: &Sandbox, value: &str) {
    let before = look_at(sandbox, "paused")["version"].clone();
    sandbox.nodes.set("/n", value);
    wait_until("the change to be seen", || look_at(sandbox, "paused")["version"] != before);
}

// "Start nothing of a watch, and go on observing, until it is resumed"
on_every_store!(a_paused_watch_observes_and_runs_the_latest_content_once_when_it_is_resumed);
fn a_paused_watch_observes_and_runs_the_latest_content_once_when_it_is_resumed(sandbox: &Sandbox) {
    for mode in ["QUEUE", "DISCARD"] {
        let journal = sandbox.journal();
        sandbox.nodes.set("/n", "1");
        sandbox.config(
            "app.twc",
            described("/n", &journal.record_event(), "paused", &format!("run_mode: {mode}")),
        );
        let mut daemon = sandbox.start();
        wait_for_state(sandbox, "paused", "idle");
        let said = order(sandbox, ["pause", "paused"]);
        assert_eq!(said, "app.twc:paused: paused: it goes on observing, and nothing is started\n");
        daemon.wait_for_log(&["app.twc:paused: paused by an operator"]);
        assert!(order(sandbox, ["pause", "paused"]).contains("was paused already"));
        let refused = sandbox.operator(["trigger", "paused"]).finish().expect(1);
        refused.expect_said(&["app.twc:paused is paused", "`twitcher resume`"]);
        for value in ["2", "3", "4"] {
            set_and_see(sandbox, value);
            let it = look_at(sandbox, "paused");
            assert_eq!((&it["state"], &it["waiting"]), (&json!("paused"), &json!(1)), "{it}");
        }
        assert_eq!(journal.lines(), ["load 1"]);
        let said = order(sandbox, ["resume", "paused"]);
        assert_eq!(said, "app.twc:paused: resumed: what came meanwhile runs now\n");
        journal.wait_for(&["load 1", "changed 4"]);
        assert!(order(sandbox, ["resume", "paused"]).contains("was not paused"));
        set_and_see(sandbox, "5");
        journal.wait_for(&["load 1", "changed 4", "changed 5"]);
        assert_eq!(daemon.stop(), Some(0));
        sandbox.remove_config("app.twc");
    }
}

// "one run for every observed update", in PARALLEL.
#[test]
fn a_paused_parallel_watch_runs_every_update_that_it_observed_when_it_is_resumed() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    let keys = "run_mode: PARALLEL, max_parallel: 1";
    sandbox.config("app.twc", described("/n", &journal.record(), "paused", keys));
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "paused", "idle");
    order(&sandbox, ["pause", "paused"]);
    for value in ["2", "3", "4"] {
        set_and_see(&sandbox, value);
    }
    assert_eq!(look_at(&sandbox, "paused")["waiting"], 3);
    order(&sandbox, ["resume", "paused"]);
    journal.wait_for(&["1", "2", "3", "4"]);
}

#[test]
fn a_running_action_of_a_paused_watch_runs_on_and_is_notified_of_updates_after_the_resume() {
    let sandbox = Sandbox::directory();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.nodes.set("/n", "1");
    let told = journal.note("told");
    let script = format!("told() {{ {told}; }}; trap told HUP; {}; {}", journal.note("begins"), gate.pass());
    sandbox.config("app.twc", described("/n", &script, "paused", "notify_signal: SIGHUP"));
    let _daemon = sandbox.start();
    journal.wait_for(&["begins"]);
    wait_for_state(&sandbox, "paused", "running");
    order(&sandbox, ["pause", "paused"]);
    set_and_see(&sandbox, "2");
    let it = look_at(&sandbox, "paused");
    assert_eq!((&it["state"], &it["runs"].as_array().map(Vec::len)), (&json!("paused"), &Some(1)), "{it}");
    assert_eq!(journal.lines(), ["begins"]);
    order(&sandbox, ["resume", "paused"]);
    journal.wait_for(&["begins", "told"]);
    gate.open();
    wait_until("the next run", || journal.count("begins") == 2);
    assert_eq!(journal.count("told"), 1);
}

/// Something that happens to a paused watch and does not end its pause.
#[derive(Clone, Copy, Debug)]
enum Event {
    Reload,
    Redefinition,
    Restart,
    Kill,
    Removal,
    RemovalOverARestart,
}

// "pause over config reload, over restart, over kill -9, over removal and return of the file"
#[test]
fn a_pause_outlives_reloads_restarts_kills_and_the_removal_of_its_file() {
    for event in [
        Event::Reload,
        Event::Redefinition,
        Event::Restart,
        Event::Kill,
        Event::Removal,
        Event::RemovalOverARestart,
    ] {
        eprintln!("over {event:?}");
        let sandbox = Sandbox::directory();
        let journal = sandbox.journal();
        sandbox.nodes.set("/n", "1");
        let define = |more: &str| {
            let keys = format!("run_on_load: CHANGED, {more}");
            sandbox.config("app.twc", described("/n", &journal.record(), "paused", &keys));
        };
        define("");
        let mut daemon = sandbox.start();
        wait_for_state(&sandbox, "paused", "idle");
        order(&sandbox, ["pause", "paused"]);
        set_and_see(&sandbox, "2");
        match event {
            Event::Reload => {
                order(&sandbox, ["reload"]);
                // Once the new file is loaded, the daemon has read the old one again, too.
                sandbox.config("new.twc", described("/none", "true", "new", ""));
                wait_for_state(&sandbox, "new", "absent");
            }
            Event::Redefinition => {
                define("timeout: 77");
                daemon.wait_for_log(&["app.twc: loaded, 0 added, 1 changed, 0 removed"]);
            }
            Event::Restart => {
                assert_eq!(daemon.stop(), Some(0));
                daemon = sandbox.start();
            }
            Event::Kill => {
                daemon.kill();
                daemon = sandbox.start();
            }
            Event::Removal | Event::RemovalOverARestart => {
                sandbox.remove_config("app.twc");
                wait_until("it to be gone", || {
                    sandbox.operator(["status", "paused"]).finish().code == Some(1)
                });
                if let Event::RemovalOverARestart = event {
                    assert_eq!(daemon.stop(), Some(0));
                    daemon = sandbox.start();
                    wait_until_served(&sandbox);
                }
                define("");
            }
        }
        wait_for_state(&sandbox, "paused", "paused");
        if !matches!(event, Event::Reload | Event::Redefinition) {
            daemon.wait_for_log(&["app.twc:paused: stays paused", "`twitcher resume`"]);
        }
        wait_until("it to be observed", || look_at(&sandbox, "paused")["version"] != json!(null));
        set_and_see(&sandbox, "3");
        assert_eq!(journal.lines(), ["1"], "over {event:?}");
        order(&sandbox, ["resume", "paused"]);
        journal.wait_for(&["1", "3"]);
        // The resume outlives a restart, too.
        wait_for_state(&sandbox, "paused", "idle");
        assert_eq!(daemon.stop(), Some(0));
        let _daemon = sandbox.start();
        wait_for_state(&sandbox, "paused", "idle");
        sandbox.nodes.set("/n", "4");
        journal.wait_for(&["1", "3", "4"]);
    }
}

// "over kill -9": immediately after the reply.
#[test]
fn a_pause_and_a_resume_outlive_a_daemon_that_is_killed_right_after_its_reply() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", described("/n", "true", "named", "run_on_load: CHANGED"));
    let mut daemon = sandbox.start();
    wait_for_state(&sandbox, "named", "idle");
    for (order, state) in [("pause", "paused"), ("resume", "idle")].repeat(4) {
        let socket = connect(&sandbox.control_socket());
        assert_eq!(ask(socket, "POST", &format!("/v1/{order}?watch=named")).status, 200);
        daemon.kill();
        daemon = sandbox.start();
        wait_for_state(&sandbox, "named", state);
    }
}

// "one black-box soak of random pause/resume/reload/kill -9 with a seed that is printed"
#[test]
fn in_random_pauses_reloads_and_kills_nothing_starts_and_the_last_content_runs_last() {
    let seed =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    eprintln!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "0");
    const KINDS: [(&str, &str); 3] = [
        ("queue", ""),
        ("discard", "run_mode: DISCARD"),
        // One run at a time, so that the last run to start is the last to write.
        ("parallel", "run_mode: PARALLEL, max_parallel: 1"),
    ];
    let journal = |kind: &str| Journal::at(sandbox.path(kind));
    let define = |timeout: u32| {
        let watches = KINDS.map(|(kind, keys)| {
            let keys = format!("run_on_load: CHANGED, timeout: {timeout}, {keys}");
            described("/n", &journal(kind).record(), kind, &keys)
        });
        sandbox.config("app.twc", watches.concat());
    };
    for (kind, _) in KINDS {
        sandbox.journal_named(kind);
    }
    define(1000);
    let mut daemon = sandbox.start();
    wait_until_served(&sandbox);
    let mut paused = [false; KINDS.len()];
    let mut value = 0;
    for round in 0..load(40, 1000) {
        let at = random.usize(..KINDS.len());
        let kind = KINDS[at].0;
        match random.u32(..8) {
            0..3 => {
                order(&sandbox, ["pause", kind]);
                paused[at] = true;
            }
            3..5 => {
                order(&sandbox, ["resume", kind]);
                paused[at] = false;
            }
            5 => {
                let changes = || daemon.log_lines(&["app.twc: loaded, 0 added, 3 changed"]).len();
                let before = changes();
                define(1001 + round);
                wait_until("the change to be loaded", || changes() > before);
            }
            6 => {
                order(&sandbox, ["reload"]);
            }
            _ => {
                daemon.kill();
                daemon = sandbox.start();
            }
        }
        // Runs for what came before must end first.
        for (at, (kind, _)) in KINDS.into_iter().enumerate() {
            wait_for_state(&sandbox, kind, if paused[at] { "paused" } else { "idle" });
            wait_until("nothing to run", || look_at(&sandbox, kind)["runs"] == json!([]));
        }
        let so_far = KINDS.map(|(kind, _)| journal(kind).lines().len());
        value += 1;
        sandbox.nodes.set("/n", value.to_string());
        for (at, (kind, _)) in KINDS.into_iter().enumerate() {
            if !paused[at] {
                journal(kind).wait_for_last(&value.to_string());
            }
        }
        for (at, (kind, _)) in KINDS.into_iter().enumerate() {
            assert!(!paused[at] || journal(kind).lines().len() == so_far[at], "round {round}: {kind} ran");
        }
    }
    for (kind, _) in KINDS {
        order(&sandbox, ["resume", kind]);
        journal(kind).wait_for_last(&value.to_string());
    }
    assert!(daemon.is_running());
}

// "whatever becomes of the definition": operators pause watches while they move a store.
#[test]
fn a_pause_outlives_the_move_of_its_store() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", described("/n", &journal.record(), "paused", ""));
    let mut daemon = sandbox.start();
    journal.wait_for(&["1"]);
    order(&sandbox, ["pause", "paused"]);
    daemon.stop();
    let moved = sandbox.path("moved");
    std::fs::create_dir(&moved).expect("create a directory");
    std::fs::write(moved.join("n"), "2").expect("write a node");
    let daemon = sandbox.daemon_on(&format!("dir:{}", moved.display())).start();
    daemon.wait_for_log(&["app.twc:paused: stays paused"]);
    wait_for_state(&sandbox, "paused", "paused");
    order(&sandbox, ["resume", "paused"]);
    journal.wait_for(&["1", "2"]);
}
