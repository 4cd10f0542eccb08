//! `history` and `logs`: what ran, how it ended, and what it printed.

use std::path::Path;

use serde_json::{Value, json};

use super::{described, look_at, runs, wait_for_state, wait_until_served};
use crate::harness::control::{ask, connect, get};
use crate::harness::{Sandbox, wait_until, watch};

/// The runs that the command prints as JSON.
#[track_caller]
fn history<const N: usize>(sandbox: &Sandbox, more: [&str; N]) -> Vec<Value> {
    let text = sandbox.operator(["history", "--json"]).args(more).finish().expect(0).text();
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

fn fields(runs: &[Value], field: &str) -> Vec<String> {
    runs.iter().map(|run| run[field].as_str().unwrap_or("-").to_owned()).collect()
}

// "List what ran, newest first"; "--failed: Only runs that failed, or nobody knows how they ended"
#[test]
fn history_has_the_end_of_each_run_also_of_former_daemons() {
    let sandbox = Sandbox::directory();
    let gate = sandbox.gate();
    sandbox.nodes.set("/n", "1");
    let endings = [
        ("succeeds", described("/n", "true", "succeeds", "")),
        ("fails", described("/n", "exit 3", "fails", "")),
        ("dies", described("/n", "kill -KILL $$", "dies", "")),
        ("overstays", described("/n", "exec sleep 1000", "overstays", "timeout: 0.1")),
        ("misses", watch("/n", "Exec([\"/missing\"])", "description: \"misses\"")),
        ("lives", described("/n", &gate.pass(), "lives", "")),
    ];
    for (name, text) in &endings {
        sandbox.config(&format!("{name}.twc"), text);
    }
    let mut daemon = sandbox.start();
    wait_until("each but one to have ended", || {
        let all = sandbox.operator(["history", "--json"]).finish().text();
        all.lines().count() == endings.len() && all.matches("\"running\"").count() == 1
    });
    let all = history(&sandbox, []);
    let of = |name: &str| {
        let watch = format!("{name}.twc:{name}");
        all.iter().find(|run| run["watch"] == *watch).unwrap_or_else(|| panic!("no run of {name}: {all:#?}"))
    };
    let outcome = |name: &str| ["outcome", "exit_code", "signal"].map(|field| of(name)[field].clone());
    assert_eq!(outcome("succeeds"), [json!("success"), json!(0), json!(null)]);
    assert_eq!(outcome("fails"), [json!("exit"), json!(3), json!(null)]);
    assert_eq!(outcome("dies"), [json!("signal"), json!(null), json!(9)]);
    assert_eq!(outcome("overstays"), [json!("timeout"), json!(null), json!(null)]);
    assert_eq!(outcome("misses"), [json!("not_started"), json!(null), json!(null)]);
    assert_eq!(outcome("lives"), [json!("running"), json!(null), json!(null)]);
    assert!(of("misses")["error"].as_str().is_some_and(|error| error.contains("/missing")));
    assert_eq!((&of("lives")["seconds"], of("fails")["seconds"].is_f64()), (&json!(null), true));
    for run in &all {
        assert_eq!(
            (&run["znode"], &run["event"], run["version"].is_i64()),
            (&json!("/n"), &json!("load"), true)
        );
        assert!(run["started"].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')));
    }
    let failed = ["dies.twc:dies", "fails.twc:fails", "misses.twc:misses", "overstays.twc:overstays"];
    let mut found = fields(&history(&sandbox, ["--failed"]), "watch");
    found.sort_unstable();
    assert_eq!(found, failed);
    assert_eq!(history(&sandbox, ["fails"]), std::slice::from_ref(of("fails")));
    assert_eq!(history(&sandbox, ["fails.twc:fails"]), std::slice::from_ref(of("fails")));
    assert_eq!(history(&sandbox, ["succeeds", "--failed"]), [json!(null); 0]);

    // A watch that is gone still has a history, also if no run in it matches the flags.
    sandbox.remove_config("succeeds.twc");
    wait_until("it to be gone", || sandbox.operator(["status", "succeeds"]).finish().code == Some(1));
    assert_eq!(history(&sandbox, ["succeeds"]), std::slice::from_ref(of("succeeds")));
    assert_eq!(history(&sandbox, ["succeeds", "--failed"]), [json!(null); 0]);
    sandbox.config("succeeds.twc", "");

    // The daemon is killed during a run, whose end no daemon sees.
    daemon.kill();
    for (name, _) in &endings {
        sandbox.remove_config(&format!("{name}.twc"));
    }
    gate.open();
    let _daemon = sandbox.start();
    wait_until_served(&sandbox);
    wait_until("the run to be given up", || fields(&history(&sandbox, ["lives"]), "outcome") == ["unknown"]);
    let now = history(&sandbox, []);
    let others = |runs: &[Value]| {
        runs.iter().filter(|run| run["watch"] != "lives.twc:lives").cloned().collect::<Vec<_>>()
    };
    assert_eq!(others(&now), others(&all));
    assert!(fields(&history(&sandbox, ["--failed"]), "watch").contains(&"lives.twc:lives".to_owned()));

    let table = sandbox.operator(["history"]).finish().expect(0).text();
    for (watch, outcome) in [
        ("fails", "exit code 3"),
        ("dies", "signal 9"),
        ("overstays", "timeout"),
        ("misses", "cannot start /missing"),
    ] {
        let line = table.lines().find(|line| line.contains(&format!("{watch}.twc:{watch}")));
        assert!(line.is_some_and(|line| line.contains(outcome)), "{watch}: {table}");
    }
}

// Not a failure: it runs again.
#[test]
fn what_a_stop_interrupted_is_no_failure() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let text = described("/n", &sandbox.gate().pass(), "held", "run_on_load: CHANGED");
    sandbox.config("app.twc", text);
    let mut daemon = sandbox.daemon().args(["--stop-timeout", "0"]).start();
    wait_for_state(&sandbox, "held", "running");
    assert_eq!(daemon.stop(), Some(0));
    sandbox.gate().open();
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "held", "idle");
    assert_eq!(fields(&history(&sandbox, []), "outcome"), ["success", "interrupted"]);
    assert_eq!(history(&sandbox, ["--failed"]), [json!(null); 0]);
}

// "paging over more than 200 runs with small limits and with all"
#[test]
fn history_is_in_order_and_whole_over_hundreds_of_runs() {
    const RUNS: usize = 450;
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let text = format!(
        "for n in 0..{RUNS} {{
             RegisterWatch(#{{ znode: \"/n\", action: Exec(\"exit \" + n % 2), description: `w${{n}}` }});
         }}"
    );
    sandbox.config("app.twc", text);
    let _daemon = sandbox.start();
    wait_until_served(&sandbox);
    wait_until("all to have run", || {
        let runs = runs(&sandbox);
        runs.len() == RUNS && runs.iter().all(|run| run["outcome"] != "running")
    });
    let all = history(&sandbox, ["-n", "1000000"]);
    assert_eq!(all.len(), RUNS);
    let number = |run: &Value| {
        let run = run["run"].as_str().expect("an id");
        run.rsplit('-').next().and_then(|number| number.parse::<usize>().ok()).expect("a number at its end")
    };
    let numbers: Vec<_> = all.iter().map(number).collect();
    assert_eq!(numbers, (1..=RUNS).rev().collect::<Vec<_>>());
    for limit in [0, 1, 2, 199, 200, 201, 399, 400, 401, RUNS - 1, RUNS, RUNS + 1] {
        let some = history(&sandbox, ["-n", &limit.to_string()]);
        assert_eq!(some, all[..limit.min(RUNS)], "the newest {limit}");
    }
    assert_eq!(history(&sandbox, []), all[..30]);
    assert_eq!(get(&sandbox.control_socket(), "/v1/history").json_lines(), all[..100]);
    let failed: Vec<_> = all.iter().filter(|run| run["outcome"] == "exit").cloned().collect();
    assert_eq!(failed.len(), RUNS / 2);
    for limit in [1, 200, 201, RUNS] {
        let some = history(&sandbox, ["--failed", "-n", &limit.to_string()]);
        assert_eq!(some, failed[..limit.min(failed.len())], "the newest {limit} that failed");
    }
    sandbox.operator(["history", "-n", "some"]).finish().expect(2);
    for wrong in ["limit=some", "limit=-1", "failed=maybe", "limit=1&limit=2", "lmit=1"] {
        let answer = ask(connect(&sandbox.control_socket()), "GET", &format!("/v1/history?{wrong}"));
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
    }
    sandbox.operator(["history", "w450"]).finish().expect(1).expect_said(&["no watch is called w450"]);
}

/// The output of a run, which `logs` finds by its id or number.
#[track_caller]
fn logs(sandbox: &Sandbox, run: &str) -> Vec<u8> {
    sandbox.operator(["logs", run]).finish().expect(0).stdout
}

/// The id of the last run of a watch.
#[track_caller]
fn run_of(sandbox: &Sandbox, watch: &str) -> String {
    let last = look_at(sandbox, watch)["last_run"]["run"].clone();
    last.as_str().unwrap_or_else(|| panic!("no run of {watch}")).to_owned()
}

fn number_of(run: &str) -> &str {
    run.rsplit('-').next().unwrap_or_default()
}

/// A script that prints this file.
fn prints(file: &Path) -> String {
    format!("cat {}", file.display())
}

// "`logs RUN_ID` by id and by number, of a running run, unknown, output > 64 KiB, binary output to a pipe
// byte for byte"
#[test]
fn logs_gives_the_last_of_what_a_run_printed_byte_for_byte() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let binary: Vec<u8> = (0..=255).cycle().take(5000).chain(*b"\n\x1b[31m\xff\0end").collect();
    let large: Vec<u8> = (0..30_000).flat_map(|n: u32| format!("line {n}\n").into_bytes()).collect();
    for (name, content) in [("binary", &binary), ("large", &large)] {
        std::fs::write(sandbox.path(name), content).expect("write a file");
    }
    let silent = described("/n", "true", "silent", "");
    let both = described("/n", "echo out; sleep 0.2; echo err >&2", "both", "");
    let missing = watch("/n", "Exec([\"/missing\"])", "description: \"missing\"");
    let [binary_watch, large_watch] =
        ["binary", "large"].map(|name| described("/n", &prints(&sandbox.path(name)), name, ""));
    let held = described("/n", &format!("echo so far; {}", sandbox.gate().pass()), "held", "");
    sandbox.config("app.twc", [silent, both, missing, binary_watch, large_watch, held].concat());
    let mut daemon = sandbox.start();
    for watch in ["silent", "both", "binary", "large"] {
        wait_for_state(&sandbox, watch, "idle");
    }
    wait_for_state(&sandbox, "missing", "failed");
    let held = wait_for_state(&sandbox, "held", "running")["runs"][0]["run"].clone();
    let held = held.as_str().expect("an id").to_owned();
    let ids = ["silent", "both", "binary", "large", "missing"].map(|watch| run_of(&sandbox, watch));
    let expected = [&b""[..], b"out\nerr\n", &binary, &large[large.len() - 65536..], b""];
    let expect_all = || {
        for (id, expected) in ids.iter().zip(expected) {
            assert!(logs(&sandbox, id) == expected, "{id}");
            assert!(logs(&sandbox, number_of(id)) == expected, "{}", number_of(id));
        }
    };
    expect_all();
    let refused =
        |run: &str, said: &[&str]| sandbox.operator(["logs", run]).finish().expect(1).expect_said(said);
    for running in [held.as_str(), number_of(&held)] {
        refused(running, &["still runs", &held]);
    }
    for unknown in ["4711", "", "%", "-", "1a2b-", "-1", "_", "x\u{1b}[31m"] {
        let done = sandbox.operator(["logs", "--"]).arg(unknown).finish().expect(1);
        done.expect_said(&["the ledger has no run", "`twitcher history` lists them"]);
        assert!(!done.stderr.contains('\u{1b}'));
    }
    sandbox.gate().open();
    wait_for_state(&sandbox, "held", "idle");
    assert_eq!(logs(&sandbox, &held), b"so far\n");
    // A later daemon finds runs of this one by their ids. Numbers mean runs of the newest daemon, as in its
    // log.
    assert_eq!(daemon.stop(), Some(0));
    sandbox.config("app.twc", described("/n", "echo anew", "new", ""));
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "new", "idle");
    for (id, expected) in ids.iter().zip(expected) {
        assert!(logs(&sandbox, id) == expected, "{id}");
    }
    assert_eq!(logs(&sandbox, "1"), b"anew\n");
}
