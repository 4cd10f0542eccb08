//! Which watches and runs `status` and `history` show, also while no daemon runs.

use serde_json::{Value, json};

use super::{described, runs, wait_for_state};
use crate::harness::{Daemon, Sandbox, wait_until};

/// A daemon whose watches are idle, failed, paused and absent.
fn started() -> (Sandbox, Daemon) {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    sandbox.config(
        "app.twc",
        [
            described("/n", "true", "config", ""),
            described("/n", "exit 3", "flags", ""),
            described("/none", "true", "waits", ""),
        ]
        .concat(),
    );
    sandbox.config("git.twc", described("/n", "exit 4", "deploy", ""));
    let daemon = sandbox.start();
    for (watch, state) in [("config", "idle"), ("flags", "failed"), ("deploy", "failed"), ("waits", "absent")]
    {
        wait_for_state(&sandbox, watch, state);
    }
    (sandbox, daemon)
}

/// The names in the first column below the header.
fn names(table: &str) -> Vec<&str> {
    let rows = table.lines().skip_while(|line| !line.starts_with("WATCH")).skip(1);
    rows.filter_map(|row| row.split_whitespace().next()).collect()
}

// "`status --state failed --sort`, several names and globs, `--check --json`"
#[test]
fn status_shows_the_watches_that_are_asked_for() {
    let (sandbox, _daemon) = started();
    let shown = |args: &[&str]| {
        let status = args.iter().fold(sandbox.operator(["status"]), |status, arg| status.arg(arg));
        names(&status.finish().expect(0).text()).join(" ")
    };
    for (args, expected) in [
        (&["--state", "failed"][..], "app.twc:flags git.twc:deploy"),
        (&["--state", "absent,idle"], "app.twc:config app.twc:waits"),
        (&["--state", "paused"], ""),
        (&["deploy", "app.twc:config"], "app.twc:config git.twc:deploy"),
        (&["app.twc:*"], "app.twc:config app.twc:flags app.twc:waits"),
        (&["*.twc:*fl?gs", "deploy"], "app.twc:flags git.twc:deploy"),
        (&["conf*", "--state", "idle"], "app.twc:config"),
        (&["--sort", "state"], "app.twc:flags git.twc:deploy app.twc:waits app.twc:config"),
        (&["--sort", "failures", "app.twc:*"], "app.twc:flags app.twc:config app.twc:waits"),
        (&["--sort", "node", "app.twc:*"], "app.twc:config app.twc:flags app.twc:waits"),
    ] {
        assert_eq!(shown(args), expected, "{args:?}");
    }
    let refused = |args: &[&str], code, said: &str| {
        let status = args.iter().fold(sandbox.operator(["status"]), |status, arg| status.arg(arg));
        status.finish().expect(code).expect_said(&[said]);
    };
    refused(&["nothing*"], 1, "no watch or service matches nothing*");
    refused(&["deploy", "flgas"], 1, "did you mean `flags`?");
    refused(&["--state", "fialed"], 2, "did you mean `failed`?");
    refused(&["--state", "broken"], 2, "no such state; there are paused, ");

    let check = |args: [&str; 3], code| -> Value {
        let check = sandbox.operator(["status", "--check", "--json"]).args(args).finish();
        assert_eq!(check.code, Some(code), "{check:?}");
        serde_json::from_str(&check.text()).expect("one JSON object")
    };
    let found = check(["app.twc:*", "--stuck-after", "60"], 1);
    assert_eq!((&found["ok"], &found["watches"]), (&json!(false), &json!(3)));
    let problems = found["problems"].as_array().expect("an array");
    assert!(
        problems.len() == 1
            && problems[0].as_str().is_some_and(|problem| problem.starts_with("app.twc:flags: "))
    );
    assert_eq!(
        check(["config", "--stuck-after", "60"], 0),
        json!({"ok": true, "watches": 1, "problems": []})
    );
}

// "`history --since --until`"
#[test]
fn history_shows_the_runs_of_a_span_of_time() {
    let (sandbox, _daemon) = started();
    let count = |args: [&str; 2]| {
        let history = sandbox.operator(["history", "--json"]).args(args).finish().expect(0);
        history.text().lines().count()
    };
    assert_eq!(
        ["10m", "1h30m", "2026-01-01", "2026-01-01T00:00Z"].map(|since| count(["--since", since])),
        [3; 4]
    );
    assert_eq!(["10m", "2026-01-01"].map(|until| count(["--until", until])), [0; 2]);
    let started = runs(&sandbox)[1]["started"].as_str().expect("a time").to_owned();
    let (since, until) = (count(["--since", &started]), count(["--until", &started]));
    assert!((2..=3).contains(&since) && since + until == 3, "{since} and {until}");
    sandbox.operator(["history", "--since", "whenever"]).finish().expect(2).expect_said(&["2h or 3d"]);
    // All of them, not only the thirty that are listed by default.
    for before in 3..33 {
        sandbox.operator(["trigger", "config"]).finish().expect(0);
        wait_until("its end", || {
            let runs = runs(&sandbox);
            runs.len() == before + 1 && runs[0]["outcome"] == "success"
        });
    }
    assert_eq!(count(["--since", "1h"]), 33);
    let default = sandbox.operator(["history", "--json"]).finish().expect(0);
    assert_eq!(default.text().lines().count(), 30);
}

// "both from the ledger when no daemon runs"
#[test]
fn status_and_history_come_from_the_ledger_when_no_daemon_runs() {
    let (sandbox, mut daemon) = started();
    sandbox.operator(["pause", "config"]).finish().expect(0);
    let before = sandbox.operator(["history", "--json"]).finish().expect(0).text();
    assert_eq!(daemon.stop(), Some(0));
    let state = sandbox.state().display().to_string();
    let offline = |args: [&str; 1]| sandbox.operator(args).args(["--state-dir", &state]);
    let told = ["no daemon answers at ", "this is what the ledger in ", &state];
    let history = offline(["history"]).arg("--json").finish().expect(0);
    history.expect_said(&told);
    assert_eq!(history.text(), before);
    let failed = offline(["history"]).args(["--failed", "--since", "1h"]).finish().expect(0).text();
    assert_eq!(failed.matches("exit code").count(), 2, "{failed}");
    // Nobody watches now, which the exit code tells.
    let status = offline(["status"]).finish().expect(1);
    status.expect_said(&told);
    let table = status.text();
    assert!(table.contains("exit code") && !table.contains("failed: "), "{table}");
    assert_eq!(names(&table), ["app.twc:config", "app.twc:flags", "app.twc:waits", "git.twc:deploy"]);
    let states: Vec<_> = table.lines().skip(1).filter_map(|row| row.split_whitespace().nth(2)).collect();
    assert_eq!(states, ["paused", "failed", "absent", "failed"], "{table}");
    let one = offline(["status"]).args(["--state", "failed", "git*"]).finish().expect(1);
    assert_eq!(names(&one.text()), ["git.twc:deploy"]);
    let json: Value =
        serde_json::from_str(&offline(["status"]).arg("--json").finish().expect(1).text()).expect("JSON");
    assert_eq!((&json["daemon"], &json["watches"][0]["paused"]), (&json!(null), &json!(true)));
    // The state directory may be known from twitcher.toml.
    sandbox.settings(&format!("state_dir = \"{state}\"\n"));
    let configs = sandbox.configs().display().to_string();
    let known = sandbox.operator(["history", "--config-path", &configs]).finish().expect(0);
    known.expect_said(&["exit code 4"]);
    // The next daemon finds its ledger as it was.
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "config", "paused");
    // Neither a daemon nor a ledger.
    let none = sandbox.path("nothing").display().to_string();
    let error =
        sandbox.twitcher(["history", "--control-socket", &none, "--state-dir", &none]).finish().expect(1);
    error.expect_said(&["does the daemon run?", &format!("no ledger in {none}"), "--state-dir"]);
    let error = sandbox.twitcher(["status", "--control-socket", &none]).finish().expect(1);
    error.expect_said(&["does the daemon run?", "--state-dir names the directory of its ledger"]);
}
