//! `docs/control-socket.md` and the control socket agree: the tables have exactly the fields that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{wait_for_state, wait_until_served};
use crate::harness::control::{ask, connect, get};
use crate::harness::{Sandbox, exec, watch};

/// The first column of the tables below this heading.
#[track_caller]
fn documented(heading: &str) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/control-socket.md");
    let text = fs::read_to_string(file).expect("the document");
    let (_, section) =
        text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let cell = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    section.lines().filter_map(cell).collect()
}

/// The fields of all values. Fields of inner objects are named like `runs[].pid` and `ledger.usable`.
fn fields(values: &[Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    values.iter().for_each(|value| collect("", value, &mut found));
    found
}

fn collect(prefix: &str, value: &Value, found: &mut BTreeSet<String>) {
    let below = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
    match value {
        // The document has a section for these fields.
        Value::Object(_) if prefix == "last_run" => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                found.insert(below(name));
                collect(&below(name), value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(&format!("{prefix}[]"), value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Panics unless the documented fields are those of the values. The fields of a list that is empty here are
/// ignored.
#[track_caller]
fn assert_documented(heading: &str, values: &[Value]) {
    let (real, mut documented) = (fields(values), documented(heading));
    documented.retain(|field| match field.split_once("[].") {
        Some((list, _)) => real.iter().any(|real| real.starts_with(&format!("{list}[]"))),
        None => true,
    });
    assert_eq!(documented, real, "{heading}");
}

// "`--json` parses and has exactly the documented fields"
#[test]
fn the_json_has_the_documented_fields() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let held = watch("/n", &exec(&sandbox.gate().pass()), "description: \"held\"");
    let fails = watch("/n", &exec("exit 3"), "description: \"fails\"");
    sandbox.config("app.twc", [held, fails].concat());
    sandbox.config("bad.twc", "RegisterWatch(");
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "held", "running");
    wait_for_state(&sandbox, "fails", "failed");
    let socket = sandbox.control_socket();
    assert_eq!(ask(connect(&socket), "POST", "/v1/pause?watch=fails").status, 200);
    let parse = |command: &str| {
        let text = sandbox.operator([command, "--json"]).finish().expect(0).text();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<Value>>()
    };

    let status = parse("status");
    assert_eq!(status.len(), 1, "one object");
    assert_eq!(
        status[0].as_object().map(|fields| fields.keys().collect::<Vec<_>>()).expect("an object"),
        ["daemon", "watches"]
    );
    let watches = status[0]["watches"].as_array().expect("an array").clone();
    assert_documented("The daemon", &[status[0]["daemon"].clone()]);
    assert_documented("The daemon", &[get(&socket, "/v1/status").json()]);
    assert_documented("A watch", &watches);
    assert_documented("A watch", &get(&socket, "/v1/watches").json_lines());

    let last: Vec<_> =
        watches.iter().map(|watch| watch["last_run"].clone()).filter(|run| !run.is_null()).collect();
    assert!(!last.is_empty());
    for runs in [last, parse("history"), get(&socket, "/v1/history").json_lines()] {
        assert_documented("A run", &runs);
    }
    let done = ask(connect(&socket), "POST", "/v1/resume?watch=fails").json();
    for entry in std::fs::read_dir(sandbox.configs()).expect("the configs").flatten() {
        std::fs::remove_file(entry.path()).expect("remove a config");
    }
    let reloading = ask(connect(&socket), "POST", "/v1/reload").json();
    assert_documented("The reply to an order", &[done]);
    assert_documented("The reply to an order", &[reloading]);
    assert_documented("An error", &[ask(connect(&socket), "GET", "/v1/watches?watch=none").json()]);
}

// The document writes requests and their parameters as `GET /v1/history?watch=NAME`.
#[test]
fn each_documented_request_is_answered() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watch("/n", &exec("true"), "description: \"deploy\""));
    let _daemon = sandbox.start();
    wait_until_served(&sandbox);
    let run =
        wait_for_state(&sandbox, "deploy", "idle")["last_run"]["run"].as_str().expect("a run").to_owned();
    let requests = documented("Requests");
    assert!(requests.len() > 8, "{requests:?}");
    for request in requests {
        let (method, resource) = request.split_once(' ').expect("a method and a resource");
        let resource = resource.replace("NAME", "deploy").replace("RUN", &run).replace("=N", "=5");
        let resource = resource.replace("URL", &sandbox.nodes.url()).replace("PATH", "/n");
        let answer = ask(connect(&sandbox.control_socket()), method, &resource);
        // No action is running that could be killed.
        let expected = if resource.starts_with("/v1/kill") { 409 } else { 200 };
        assert_eq!(answer.status, expected, "{request}: {}", answer.text());
    }
}

#[test]
fn every_state_is_documented() {
    let conditions: BTreeSet<_> =
        twitcher::watch::Condition::ALL.iter().map(|it| it.as_str().to_owned()).collect();
    assert_eq!(documented("States"), conditions);
}

#[test]
fn every_outcome_is_documented() {
    use twitcher::ledger::RunOutcome;
    let endings = [
        RunOutcome::Exited(0),
        RunOutcome::Exited(1),
        RunOutcome::Signaled(9),
        RunOutcome::TimedOut,
        RunOutcome::Killed,
        RunOutcome::NotStarted(""),
        RunOutcome::Interrupted,
        RunOutcome::Unknown,
    ];
    let names: BTreeSet<_> =
        endings.iter().map(|it| it.name().to_owned()).chain(["running".to_owned()]).collect();
    assert_eq!(documented("Outcomes"), names);
}
