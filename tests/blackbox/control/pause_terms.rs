//! Who paused a watch, until when and why, and pauses of several watches.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{described, look_at, wait_for_state};
use crate::harness::control::{ask, connect};
use crate::harness::{Sandbox, require_root, wait_until};

#[track_caller]
fn order<const N: usize>(sandbox: &Sandbox, words: [&str; N]) -> String {
    sandbox.operator(words).finish().expect(0).text()
}

#[track_caller]
fn refused<const N: usize>(sandbox: &Sandbox, words: [&str; N], code: i32, said: &[&str]) {
    sandbox.operator(words).finish().expect(code).expect_said(said);
}

fn time(value: &Value) -> SystemTime {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).expect("a time").into()
}

/// A daemon with the watches `a`, `b` and `c` of `app.twc` and `other` of `other.twc`, at rest.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let watches = ["a", "b", "c"].map(|name| described("/n", "true", name, "run_on_load: CHANGED"));
    sandbox.config("app.twc", watches.concat());
    sandbox.config("other.twc", described("/n", "true", "other", "run_on_load: CHANGED"));
    sandbox
}

fn paused(sandbox: &Sandbox) -> String {
    let all = ["a", "b", "c", "other"].into_iter();
    all.filter(|name| look_at(sandbox, name)["paused"] == true).collect::<Vec<_>>().join(" ")
}

// "`pause GLOB --for 2h --why`": it resumes by itself, and what came meanwhile runs.
#[test]
fn a_pause_with_a_length_ends_by_itself_also_while_no_daemon_runs() {
    for restart in [false, true] {
        let sandbox = Sandbox::directory();
        let journal = sandbox.journal();
        sandbox.nodes.set("/n", "1");
        sandbox.config("app.twc", described("/n", &journal.record(), "a", "run_on_load: CHANGED"));
        let mut daemon = sandbox.start();
        wait_for_state(&sandbox, "a", "idle");
        let said = order(&sandbox, ["pause", "a", "--for", "3s"]);
        assert!(said.starts_with("app.twc:a: paused until 2"), "{said}");
        let pause = look_at(&sandbox, "a")["pause"].clone();
        let (since, until) = (time(&pause["since"]), time(&pause["until"]));
        assert_eq!(until.duration_since(since).unwrap(), Duration::from_secs(3), "{pause}");
        if restart {
            daemon.kill();
        }
        sandbox.nodes.set("/n", "2");
        if restart {
            wait_until("the pause to be over", || SystemTime::now() > until);
            assert_eq!(journal.lines(), ["1"]);
            daemon = sandbox.start();
        }
        journal.wait_for(&["1", "2"]);
        assert!(SystemTime::now() >= until, "too early");
        daemon.wait_for_log(&["app.twc:a: resumed: the time of its pause is over"]);
        assert_eq!(daemon.log_lines(&["stays paused"]), [""; 0]);
        let it = wait_for_state(&sandbox, "a", "idle");
        assert_eq!((&it["paused"], &it["pause"]), (&json!(false), &json!(null)));
        assert_eq!(daemon.stop(), Some(0));
        let _daemon = sandbox.start();
        wait_for_state(&sandbox, "a", "idle");
    }
}

// "with who, when and why in `status` and the log (the socket's peer credentials)"
#[test]
fn who_when_and_why_are_shown_and_outlive_a_daemon_that_is_killed() {
    require_root();
    let sandbox = sandbox();
    sandbox.settings("[control]\nmode = \"0660\"\ngroup = \"games\"\n");
    let copy = sandbox.copy_of_the_binary();
    let mut daemon = sandbox.start();
    wait_for_state(&sandbox, "a", "idle");
    let before = SystemTime::now() - Duration::from_secs(1);
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--groups=60"];
    let pause = sandbox.operator(["pause", "a", "--for", "2h", "--why", "move to eu\u{1b}[31m"]);
    pause.binary(&copy).under(nobody).finish().expect(0);
    daemon.wait_for_log(&[
        "NOTICE",
        "app.twc:a: paused by an operator (nobody) until 2",
        "Z: move to eu\\u{1b}[31m",
    ]);
    order(&sandbox, ["pause", "b"]);
    daemon.wait_for_log(&["app.twc:b: paused by an operator (root)"]);
    let shown = look_at(&sandbox, "a")["pause"].clone();
    assert_eq!((&shown["by"], &shown["why"]), (&json!("nobody"), &json!("move to eu\u{1b}[31m")));
    assert!(time(&shown["since"]) > before && time(&shown["since"]) <= SystemTime::now(), "{shown}");
    let bare = look_at(&sandbox, "b")["pause"].clone();
    assert_eq!((&bare["by"], &bare["until"], &bare["why"]), (&json!("root"), &json!(null), &json!(null)));

    daemon.kill();
    let mut daemon = sandbox.start();
    daemon.wait_for_log(&[
        "app.twc:a: stays paused, by nobody at 2",
        " until 2",
        ": move to eu\\u{1b}[31m; ",
    ]);
    wait_for_state(&sandbox, "a", "paused");
    assert_eq!(look_at(&sandbox, "a")["pause"], shown);
    assert_eq!(look_at(&sandbox, "b")["pause"], bare);
    let table = order(&sandbox, ["status", "a", "b"]);
    let row = |name: &str| table.lines().find(|line| line.contains(name)).map(str::to_owned);
    let row_a = row("app.twc:a").expect("a row");
    assert!(row_a.contains("by nobody at 2") && row_a.contains(": move to eu\\u{1b}[31m"), "{table}");
    assert!(!table.contains('\u{1b}'), "{table:?}");
    let as_json: Value = serde_json::from_str(&order(&sandbox, ["status", "a", "--json"])).expect("JSON");
    assert_eq!(as_json["watches"][0]["pause"], shown);
    // A pause is no problem, whatever it says.
    assert_eq!(order(&sandbox, ["status", "--check"]), "ok: 4 watches\n");

    assert_eq!(daemon.stop(), Some(0));
    let state = sandbox.state().display().to_string();
    let left = sandbox.operator(["status", "a", "--json", "--state-dir", &state]).finish().expect(1);
    let left: Value = serde_json::from_str(&left.text()).expect("JSON");
    assert_eq!(left["watches"][0]["pause"], shown, "from the ledger");
}

// "never from the request"
#[test]
fn a_request_cannot_say_who_asks() {
    let sandbox = sandbox();
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "a", "idle");
    let post = |query: &str| ask(connect(&sandbox.control_socket()), "POST", &format!("/v1/pause?{query}"));
    for query in
        ["watch=a&by=alice", "watch=a&user=alice", "watch=a&for=0", "watch=a&for=soon", "watch=a&for=11000d"]
    {
        assert_eq!(post(query).status, 400, "{query}");
    }
    assert_eq!(post(&format!("watch=a&why={}", "x".repeat(501))).status, 400);
    assert_eq!(paused(&sandbox), "");
    assert_eq!(post(&format!("watch=a&for=90&why={}", "x".repeat(500))).status, 200);
    assert_eq!(look_at(&sandbox, "a")["pause"]["why"], "x".repeat(500));
    assert_eq!(post("watch=a&why=%20%0a").status, 200);
    assert_eq!(look_at(&sandbox, "a")["pause"]["why"], json!(null));
}

// "Pausing what is paused already replaces for and why."
#[test]
fn a_later_pause_replaces_the_terms_of_an_earlier_one() {
    let sandbox = sandbox();
    let mut daemon = sandbox.start();
    wait_for_state(&sandbox, "a", "idle");
    order(&sandbox, ["pause", "a", "--why", "first"]);
    let said = order(&sandbox, ["pause", "a", "--for", "1h", "--why", "second"]);
    assert!(said.starts_with("app.twc:a: was paused already; stays so until 2"), "{said}");
    let second = look_at(&sandbox, "a")["pause"].clone();
    assert_eq!(second["why"], "second");
    assert!(second["until"].is_string());
    let said = order(&sandbox, ["pause", "a"]);
    assert_eq!(said, "app.twc:a: was paused already; stays so until it is resumed\n");
    daemon.kill();
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "a", "paused");
    let last = look_at(&sandbox, "a")["pause"].clone();
    assert_eq!((&last["until"], &last["why"]), (&json!(null), &json!(null)));
}

// "`pause GLOB`": several names and patterns.
#[test]
fn names_and_patterns_stand_for_several_watches() {
    let sandbox = sandbox();
    let _daemon = sandbox.start();
    for name in ["a", "b", "c", "other"] {
        wait_for_state(&sandbox, name, "idle");
    }
    let is = "paused: it goes on observing, and nothing is started";
    let said = order(&sandbox, ["pause", "b", "app.twc:*", "app.twc:b"]);
    assert_eq!(said, format!("app.twc:b: {is}\napp.twc:a: {is}\napp.twc:c: {is}\n"));
    assert_eq!(paused(&sandbox), "a b c");
    let said = order(&sandbox, ["resume", "?"]);
    assert_eq!(said, "app.twc:a: resumed\napp.twc:b: resumed\napp.twc:c: resumed\n");
    assert_eq!(order(&sandbox, ["resume", "*"]), "no watch that matches is paused\n");
    assert_eq!(order(&sandbox, ["resume", "a"]), "app.twc:a: was not paused\n");

    // A word that stands for nothing stops all of it.
    refused(
        &sandbox,
        ["pause", "a", "none*"],
        1,
        &["no watch or service matches none*; `twitcher status` lists them"],
    );
    refused(&sandbox, ["pause", "a", "othr"], 1, &["no watch is called othr", "`other`"]);
    assert_eq!(paused(&sandbox), "");
    refused(&sandbox, ["pause"], 2, &["WATCH"]);
    refused(&sandbox, ["pause", "a", "--for", "soon"], 2, &["give a span such as 90s, 30m, 2h or 1d"]);
    refused(&sandbox, ["pause", "a", "--for", "0"], 2, &["above zero"]);
    refused(&sandbox, ["pause", "a", "--for", "600w"], 2, &["at most ten years"]);
    refused(&sandbox, ["pause", "a", "--why", &"ü".repeat(251)], 2, &["502 bytes", "at most 500"]);
    assert_eq!(paused(&sandbox), "");
}

// A watch that refuses keeps no other from its pause.
#[test]
fn a_watch_that_refuses_is_named_and_the_others_get_the_command() {
    let sandbox = sandbox();
    let gate = sandbox.gate();
    sandbox.config("gone.twc", described("/n", &gate.pass(), "gone", ""));
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "gone", "running");
    sandbox.remove_config("gone.twc");
    wait_until("its removal", || look_at(&sandbox, "gone")["registered"] == false);
    let done = sandbox.operator(["pause", "a", "gone", "b"]).finish().expect(1);
    done.expect_said(&[
        "app.twc:a: paused",
        "app.twc:b: paused",
        "twitcher: gone.twc:gone: no file registers it",
    ]);
    assert_eq!(paused(&sandbox), "a b");
    // A pattern leaves it out.
    order(&sandbox, ["resume", "*"]);
    order(&sandbox, ["pause", "*"]);
    assert_eq!(paused(&sandbox), "a b c other");
    gate.open();
}
