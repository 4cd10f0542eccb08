//! `twitcher status`: the state of each watch, in words and in JSON.

use std::fs::File;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{described, look_at, wait_for_state, wait_until_served};
use crate::harness::{Sandbox, Server, ZooKeeper, exec, wait_until, watch};

/// A sandbox with a watch in each state that a directory store can bring about. The gate holds the running
/// action.
fn in_every_state() -> Sandbox {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    // This is more than a node may contain.
    let huge = File::create(sandbox.root().join("nodes/huge")).expect("create a file");
    huge.set_len(1 << 30).expect("make it large");
    sandbox.config(
        "app.twc",
        [
            described("/n", "true", "idles", ""),
            described("/n", &sandbox.gate().pass(), "runs", ""),
            described("/n", "true", "waits", "debounce: 1000"),
            described("/n", "exit 3", "retries", "retry: #{ attempts: 3, delay: 1000, max_delay: 1000 }"),
            described("/n", "exit 3", "fails", ""),
            described("/n", "exit 3", "stops", "on_failure: STOP"),
            described("/n", "true", "rests", ""),
            described("/none", "true", "lacks", ""),
            described("/huge", "true", "is-blind", ""),
        ]
        .concat(),
    );
    sandbox
}

const STATES: [(&str, &str); 9] = [
    ("idles", "idle"),
    ("runs", "running"),
    ("waits", "waiting"),
    ("retries", "retrying"),
    ("fails", "failed"),
    ("stops", "stopped"),
    ("rests", "paused"),
    ("lacks", "absent"),
    ("is-blind", "unreadable"),
];

// "node, state, last version seen and applied, last outcome, running for how long, next retry, failures"
#[test]
fn status_has_the_state_of_each_watch() {
    let sandbox = in_every_state();
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "rests", "idle");
    sandbox.operator(["pause", "rests"]).finish().expect(0);
    let found = STATES.map(|(watch, state)| wait_for_state(&sandbox, watch, state));
    let [idles, runs, waits, retries, fails, stops, rests, lacks, blind] = found;

    let version = &idles["version"];
    assert!(version.is_i64(), "{idles}");
    let of =
        |watch: &Value, fields: &[&str]| fields.iter().map(|field| watch[*field].clone()).collect::<Value>();
    let node = ["watch", "file", "znode", "watch_type", "store"];
    assert_eq!(of(&idles, &node), json!(["app.twc:idles", "app.twc", "/n", "data", "default"]));
    let versions = ["version", "applied_version"];
    assert_eq!(of(&idles, &versions), json!([version, version]));
    for not_applied in [&runs, &waits, &retries, &fails, &stops] {
        assert_eq!(of(not_applied, &versions), json!([version, null]), "{not_applied}");
    }
    for not_seen in [&lacks, &blind] {
        assert_eq!(of(not_seen, &versions), json!([null, null]), "{not_seen}");
    }
    assert_eq!(of(&idles["last_run"], &["outcome", "event", "exit_code"]), json!(["success", "load", 0]));
    assert_eq!(of(&fails["last_run"], &["outcome", "exit_code", "signal"]), json!(["exit", 3, null]));
    assert_eq!(waits["last_run"], json!(null));

    let run = &runs["runs"][0];
    assert!(run["pid"].as_i64() > Some(1) && run["seconds"].as_f64() > Some(0.0), "{run}");
    assert_eq!(of(run, &["event", "version", "killed_seconds"]), json!(["load", version, null]));
    let later = look_at(&sandbox, "runs");
    assert!(later["runs"][0]["seconds"].as_f64() > run["seconds"].as_f64(), "time goes by: {later}");
    for due in [&waits, &retries] {
        let seconds = due["next_start_seconds"].as_f64();
        assert!((Some(400.0)..Some(1000.0)).contains(&seconds), "{due}");
        assert_eq!(due["waiting"], 1);
    }
    for (failed, failures) in [(&idles, 0), (&retries, 1), (&fails, 1), (&stops, 1)] {
        assert_eq!(failed["failures"], failures, "{failed}");
        let says_why = failed["error"].as_str().is_some_and(|error| error.contains("exit code 3"));
        assert_eq!(says_why, failures > 0, "{failed}");
    }
    assert_eq!((&stops["stopped"], &fails["stopped"]), (&json!(true), &json!(false)));
    assert_eq!((&rests["paused"], &fails["paused"]), (&json!(true), &json!(false)));
    assert!(blind["error"].as_str().is_some_and(|error| error.starts_with("cannot be read: ")), "{blind}");

    let table = sandbox.operator(["status"]).finish().expect(0).text();
    for (watch, state) in STATES {
        let line = line_of(&table, &format!("app.twc:{watch}"));
        assert_eq!(line.split_whitespace().nth(2), Some(state), "{table}");
    }
    let line = line_of(&table, "app.twc:runs");
    assert!(line.contains(&format!("pid {} for ", run["pid"])), "{line}");
    assert!(line_of(&table, "app.twc:retries").contains("next start in "), "{table}");
    assert!(line_of(&table, "app.twc:fails").contains("exit code 3"), "{table}");
    let one = sandbox.operator(["status", "retries"]).finish().expect(0).text();
    assert!(one.contains("app.twc:retries") && !one.contains("app.twc:fails"), "{one}");
}

#[track_caller]
fn line_of<'a>(table: &'a str, watch: &str) -> &'a str {
    let is_its = |line: &&str| line.split_whitespace().next() == Some(watch);
    table.lines().find(is_its).unwrap_or_else(|| panic!("no line of {watch}:\n{table}"))
}

// "unknown": the daemon has not read the node yet.
#[test]
fn a_watch_whose_store_is_away_is_unknown_and_a_trigger_waits_for_the_store() {
    let server = ZooKeeper::stopped();
    let sandbox = Sandbox::on_whole(&server);
    let journal = sandbox.journal();
    sandbox.config("app.twc", described("/n", &journal.record_event(), "waits", "run_on_load: false"));
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "waits", "unknown");
    let done = sandbox.operator(["trigger", "waits"]).finish().expect(0).text();
    assert!(done.contains("as soon as its node can be read"), "{done}");
    server.up();
    sandbox.nodes.set("/n", "1");
    // The event depends on whether the daemon saw the creation or found the node.
    journal.wait_for_line_where("the content", |line| line.ends_with(" 1"));
    wait_for_state(&sandbox, "waits", "idle");
}

// "config errors still standing"
#[test]
fn a_config_error_stands_until_the_file_is_mended() {
    let sandbox = Sandbox::directory();
    sandbox.config("good.twc", described("/n", "true", "good", ""));
    sandbox.config("bad.twc", "RegisterWatch(");
    let _daemon = sandbox.start();
    wait_until_served(&sandbox);
    let shown = sandbox.operator(["status"]).finish().expect(0).text();
    let line = shown.lines().find(|line| line.starts_with("NOT LOADED: ")).expect("the error");
    assert!(line.contains("bad.twc:1:"), "{line}");
    let json: Value = parse(&sandbox.operator(["status", "--json"]).finish().expect(0).text());
    assert_eq!(json["daemon"]["config_errors"][0]["file"], "bad.twc");
    sandbox.remove_config("bad.twc");
    wait_until("the error to be gone", || {
        !sandbox.operator(["status"]).finish().expect(0).text().contains("NOT LOADED")
    });
}

#[track_caller]
fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|e| panic!("no JSON: {e}: {json}"))
}

// "an action whose config is gone" runs on, and status must show it.
#[test]
fn a_running_action_of_a_removed_watch_is_shown_until_it_ends() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", described("/n", &sandbox.gate().pass(), "gone", ""));
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "gone", "running");
    sandbox.remove_config("app.twc");
    wait_until("the watch to be gone", || look_at(&sandbox, "gone")["registered"] == false);
    let table = sandbox.operator(["status"]).finish().expect(0).text();
    assert!(line_of(&table, "app.twc:gone").contains("no file registers it"), "{table}");
    let refused = sandbox.operator(["trigger", "gone"]).finish().expect(1);
    refused.expect_said(&["app.twc:gone", "no file registers it"]);
    sandbox.gate().open();
    wait_until("nothing to be shown", || {
        sandbox.operator(["status", "gone"]).finish().stderr.contains("no watch is called gone")
    });
}

// "near-miss suggestions"
#[test]
fn a_mistyped_name_brings_a_suggestion_and_an_ambiguous_one_is_refused() {
    let sandbox = Sandbox::directory();
    sandbox.config("git.twc", described("/n", "true", "deploy", ""));
    sandbox.config("one.twc", described("/n", "true", "reload", ""));
    sandbox.config("two.twc", described("/n", "true", "reload", ""));
    sandbox.config("plain.twc", watch("/n", &exec("true"), ""));
    let _daemon = sandbox.start();
    wait_until_served(&sandbox);
    let orders = ["status", "trigger", "pause", "resume", "kill", "history"];
    for command in orders {
        let said = |name: &str, parts: &[&str]| {
            sandbox.operator([command, name]).finish().expect(1).expect_said(parts);
        };
        said("delpoy", &["no watch is called delpoy; did you mean `deploy`?\n"]);
        said("git.twc:deplyo", &["did you mean `git.twc:deploy`?"]);
        said("plain.twc-2", &["did you mean `plain.twc-1`?"]);
        said("something else", &["no watch is called something else", "`twitcher status` lists them"]);
        said("reload", &["one.twc:reload", "two.twc:reload"]);
    }
    for name in ["deploy", "git.twc:deploy", "plain.twc-1", "two.twc:reload"] {
        sandbox.operator(["status", name]).finish().expect(0).expect_said(&[name]);
    }
}

// "`--follow` shows a change"
#[test]
fn follow_shows_the_status_again_when_it_changes() {
    let sandbox = Sandbox::directory();
    let gate = sandbox.gate();
    sandbox.config("app.twc", described("/n", &gate.pass(), "named", ""));
    let mut daemon = sandbox.start();
    wait_for_state(&sandbox, "named", "absent");
    let follower = sandbox.operator(["status", "--follow", "named"]).start();
    let json = sandbox.operator(["status", "--follow", "--json"]).start();
    follower.wait_for_log(&["app.twc:named", "absent"]);
    wait_until("the first line", || !json.log().is_empty());
    sandbox.nodes.set("/n", "1");
    follower.wait_for_log(&["app.twc:named", "running"]);
    wait_until("the second line", || json.log().len() == 2);
    // That another second goes by is no change: the next line comes with the end of the run.
    let seconds = |line: &str| parse(line)["watches"][0]["runs"][0]["seconds"].as_f64();
    wait_until("a second to go by", || look_at(&sandbox, "named")["runs"][0]["seconds"].as_f64() > Some(2.5));
    gate.open();
    follower.wait_for_log(&["app.twc:named", "idle"]);
    wait_until("the third line", || json.log().len() >= 3);
    let lines = json.log();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    let states: Vec<_> = lines.iter().map(|line| parse(line)["watches"][0]["state"].clone()).collect();
    assert_eq!(states, ["absent", "running", "idle"]);
    assert!(seconds(&lines[1]).is_some_and(|seconds| seconds < 2.5), "{lines:#?}");
    // The command ends with its daemon and says why.
    daemon.stop();
    let mut followers = [follower, json];
    for follower in &mut followers {
        assert_eq!(follower.wait_for_exit(), Some(1));
        follower.wait_for_log(&["does the daemon run?"]);
    }
}

// "a closed pipe ends quietly"
#[test]
fn a_closed_pipe_ends_quietly() {
    let sandbox = Sandbox::directory();
    let one = described("/n", "true", "n", "").replace("\"n\"", "`${n}`");
    for file in 0..6 {
        sandbox.config(&format!("{file}.twc"), format!("for n in 0..500 {{ {one} }}"));
    }
    let _daemon = sandbox.start();
    wait_until_served(&sandbox);
    for command in ["status", "history", "status --json", "status --check --stuck-after 0"] {
        // With `pipefail` the command's own exit code would be 141 if SIGPIPE ended it.
        let script =
            format!("set -o pipefail; \"$0\" {command} --control-socket \"$1\" | head -c 1 >/dev/null");
        let shell =
            sandbox.twitcher([]).under(["bash", "-c", &script]).arg(sandbox.control_socket()).finish();
        assert_eq!((shell.code, shell.stderr.as_str()), (Some(0), ""), "{command}");
    }
}

#[test]
fn status_begins_with_the_daemon() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let gate = sandbox.gate();
    sandbox.config("app.twc", described("/n", &gate.pass(), "held", ""));
    let mut daemon = sandbox.daemon().args(["--stop-timeout", "600"]).start();
    wait_for_state(&sandbox, "held", "running");
    let pid = daemon.process().0;
    let first = |sandbox: &Sandbox| {
        let shown = sandbox.operator(["status"]).finish().expect(0).text();
        shown.lines().next().unwrap_or_default().to_owned()
    };
    let expected = format!("twitcher {}, pid {pid}, running, started 20", env!("CARGO_PKG_VERSION"));
    assert!(first(&sandbox).starts_with(&expected), "{}", first(&sandbox));
    daemon.signal(Signal::SIGTERM);
    wait_until("it to stop", || first(&sandbox).contains(&format!("pid {pid}, stopping, ")));
    gate.open();
    assert_eq!(daemon.wait_for_exit(), Some(0));
    let gone = sandbox.operator(["status"]).finish().expect(1);
    gone.expect_said(&[&sandbox.control_socket().display().to_string(), "does the daemon run?"]);
}
