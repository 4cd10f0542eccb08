//! The log as JSON: every line that the daemon writes is an object with the documented fields.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Journald, Sandbox, exec, require_root, wait_until, watch};

/// The documented fields of twitcher.toml(5).
const FIELDS: [&str; 17] = [
    "time",
    "level",
    "message",
    "watch",
    "watches",
    "file",
    "line",
    "column",
    "store",
    "node",
    "run",
    "pid",
    "by",
    "stream",
    "output",
    "commit",
    "transaction",
];

/// Parses a line, and checks what every line promises.
#[track_caller]
fn parse(line: &str) -> Value {
    let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let fields = object.as_object().unwrap_or_else(|| panic!("no object: {line}"));
    for name in fields.keys() {
        assert!(FIELDS.contains(&name.as_str()), "{name} in {line}");
    }
    let text = |name: &str| object[name].as_str().unwrap_or_else(|| panic!("{name} of {line}")).to_owned();
    let time = text("time");
    let is_digit = |at: usize| time.as_bytes()[at].is_ascii_digit();
    assert!(time.len() == 24 && time.ends_with('Z') && &time[19..20] == "." && is_digit(22), "{line}");
    assert!(["ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"].contains(&text("level").as_str()), "{line}");
    assert!(!text("message").is_empty(), "{line}");
    assert!(!line.chars().any(char::is_control), "{line:?}");
    object
}

/// A sandbox whose daemon writes lines of all kinds.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    let prints =
        r#"printf 'a"b\\\033[31m\377\n{"x": 1}\n'; echo oops >&2; head -c 9000 /dev/zero | tr '\000' x"#;
    sandbox.config("app.twc", watch("/n", &exec(prints), r#"description: "prints""#));
    let fails = watch("/n", &exec("exit 3"), r#"description: "fails \"x\"", on_failure: STOP"#);
    let held = watch("/n", &exec("true"), r#"description: "held", max_data: 1"#);
    let missing = watch("/n", &exec("true"), r#"description: "missing", uid: "no-such-user""#);
    let unstartable = watch("/n", r#"Exec(["/no/such/program"])"#, r#"description: "unstartable""#);
    sandbox.config("more.twc", [fails, held, unstartable].concat());
    let beside = watch("/n", &exec("true"), r#"description: "beside""#);
    sandbox.config("user.twc", [missing, beside].concat());
    sandbox.config("empty.twc", "");
    let odd = "RegisterWatch(#{ znode: \"/n\",\n action: Exec(\"true\"), description: \"o\u{200b}dd\" });";
    sandbox.config("odd.twc", odd);
    sandbox.config("sub/old.twc.txt", "");
    sandbox.config("bad.twc", "RegisterWatch(#{\n    znode: \"/n\",\n    acton: 3,\n});");
    sandbox
}

#[track_caller]
fn find(lines: &[Value], wanted: impl Fn(&Value) -> bool) -> Value {
    let found = lines.iter().find(|line| wanted(line));
    found.unwrap_or_else(|| panic!("no such line in {lines:#?}")).clone()
}

// "`log_format = \"json\"`: one JSON object a line"
#[test]
fn every_line_is_an_object_with_the_documented_fields() {
    let sandbox = sandbox();
    sandbox.settings("log_format = \"json\"\n");
    let mut daemon = sandbox.daemon().args(["-d"]).start();
    daemon.wait_for_log(&["xxx", "more bytes cut"]);
    daemon.wait_for_log(&["configs loaded"]);
    daemon.wait_for_log(&["unstartable", "cannot start"]);
    daemon.wait_for_log(&["nothing runs until `twitcher trigger`"]);
    sandbox.operator(["pause", "prints", "--why", "a \"b\"\n\u{1b}"]).finish().expect(0);
    sandbox.operator(["resume", "prints"]).finish().expect(0);
    sandbox.operator(["trigger", "prints"]).finish().expect(0);
    sandbox.operator(["reload"]).finish().expect(1);
    // A second daemon on the same state directory.
    let second = sandbox.daemon().finish().expect(1);
    let refusal = second.stderr.lines().map(parse).collect::<Vec<_>>();
    find(&refusal, |line| {
        line["level"] == "ERROR" && line["message"].as_str().is_some_and(|message| message.contains("state"))
    });
    assert_eq!(daemon.stop(), Some(0));
    let lines: Vec<_> = daemon.log().iter().map(|line| parse(line)).collect();

    let out = find(&lines, |line| line["stream"] == "stdout");
    // What is no UTF-8 is U+FFFD, and a control character is escaped.
    assert_eq!(out["output"], "a\"b\\\\u{1b}[31m\u{fffd}");
    assert_eq!((&out["watch"], &out["file"]), (&json!("app.twc:prints"), &json!("app.twc")));
    assert_eq!((&out["node"], &out["store"]), (&json!("/n"), &json!("default")));
    assert!(out["run"].is_string() && out["pid"].is_i64(), "{out}");
    let message = out["message"].as_str().expect("a message");
    assert!(message.starts_with("app.twc:prints run ") && message.contains(": stdout: a\"b"), "{out}");
    find(&lines, |line| line["output"] == "{\"x\": 1}");
    find(&lines, |line| line["output"] == "oops" && line["stream"] == "stderr");
    let started = find(&lines, |line| {
        line["run"] == out["run"]
            && line["message"].as_str().is_some_and(|text| text.contains("started, pid"))
    });
    assert_eq!(started["pid"], out["pid"]);
    // An error of a config is one line with what it quotes.
    let bad = find(&lines, |line| line["file"] == "bad.twc");
    assert_eq!(bad["level"], "ERROR");
    assert_eq!((&bad["line"], &bad["column"]), (&json!(3), &json!(5)), "{bad}");
    let user = find(&lines, |line| line["file"] == "user.twc" && line["level"] == "ERROR");
    assert!(user["line"] == 1 && user["column"].as_u64() > Some(20), "{user}");
    assert!(
        user["message"]
            .as_str()
            .is_some_and(|text| text.ends_with("  the other watches of the file are loaded"))
    );
    let empty = find(&lines, |line| line["file"] == "empty.twc" && line["level"] == "WARNING");
    assert!(empty["line"].is_null(), "the warning is about the whole file: {empty}");
    let odd = find(&lines, |line| line["file"] == "odd.twc" && line["level"] == "WARNING");
    assert_eq!((&odd["line"], &odd["column"]), (&json!(2), &json!(39)), "{odd}");
    find(&lines, |line| line["file"] == "sub/old.twc.txt" && line["level"] == "WARNING");
    for done in ["paused", "resumed", "triggered", "reading the configs again"] {
        let line = find(&lines, |line| {
            line["by"] == "root" && line["message"].as_str().is_some_and(|message| message.contains(done))
        });
        assert!(line["message"].as_str().is_some_and(|message| message.contains("(root)")), "{line}");
    }
    assert!(
        bad["message"].as_str().is_some_and(|text| text.contains("\n") && text.contains("acton")),
        "{bad}"
    );
    find(&lines, |line| line["watch"] == "more.twc:held" && line["level"] == "WARNING");
    find(&lines, |line| line["watch"].as_str().is_some_and(|watch| watch == "more.twc:fails \"x\""));
    find(&lines, |line| line["store"] == "default" && line["watch"].is_null());
    find(&lines, |line| line["message"].as_str().is_some_and(|text| text.contains("a \"b\"\\n\\u{1b}")));
}

// "`--log-format json` for run": the flag wins over the file.
#[test]
fn the_flag_wins_and_a_log_file_has_the_same_lines() {
    let sandbox = sandbox();
    sandbox.settings("log_format = \"text\"\n");
    let file = sandbox.path("tw.log");
    let path = file.display().to_string();
    let mut daemon =
        sandbox.daemon_logging_elsewhere().args(["--log-format", "json", "--log-file", &path]).start();
    wait_until("its output", || fs::read_to_string(&file).is_ok_and(|text| text.contains("oops")));
    assert_eq!(daemon.stop(), Some(0));
    let text = fs::read_to_string(&file).expect("read the log");
    let lines: Vec<_> = text.lines().map(parse).collect();
    find(&lines, |line| line["output"] == "oops");
    assert_eq!(daemon.log(), [""; 0]);
    let refused = sandbox.daemon().args(["--log-format", "xml"]).finish().expect(2);
    refused.expect_said(&["xml", "text, json"]);
    sandbox.settings("log_format = \"xml\"\n");
    sandbox.daemon().finish().expect(1).expect_said(&["log_format: \"xml\" is not \"text\" or \"json\""]);
}

// "for journald keep its fields"
#[test]
fn the_journal_gets_the_object_as_its_message_and_its_own_fields() {
    let sandbox = sandbox();
    require_root();
    let journald = Journald::listening(sandbox.path("run"));
    let daemon = sandbox.daemon_logging_elsewhere().args(["--log-format", "json"]);
    let _daemon = journald.around(daemon, "stderr").start();
    let entry = journald.wait_for(&["oops"]);
    let object = parse(entry.message());
    assert_eq!(object["output"], "oops");
    assert_eq!(entry.value("TWITCHER_WATCH"), object["watch"].as_str());
    assert_eq!(entry.value("TWITCHER_RUN_ID"), object["run"].as_str());
    assert_eq!(entry.value("TWITCHER_ZNODE"), Some("/n"));
}
