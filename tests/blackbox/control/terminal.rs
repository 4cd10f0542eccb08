//! Tests of what is written to a terminal: colours, tables that fit, and no control characters from others.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use super::{described, runs, wait_for_state, wait_until_served};
use crate::harness::{Sandbox, wait_until, watch};

/// Removes the escape codes for colours and nothing else.
fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |plain, piece| {
        let parameters = piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match parameters.strip_prefix('m') {
            Some(rest) => plain + rest,
            None => plain + "\u{1b}[" + piece,
        }
    })
}

/// A sandbox whose status has each of the colours.
fn colourful() -> Sandbox {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/some/node/with/a/long/path/that/no/terminal/shows", "1");
    let node = "/some/node/with/a/long/path/that/no/terminal/shows";
    sandbox.config(
        "app.twc",
        [
            described(node, "true", "idles", ""),
            described(node, &sandbox.gate().pass(), "runs", ""),
            described(node, "exit 3", "fails", "retry: #{ attempts: 3, delay: 1000 }"),
            described(node, "true", "a watch of a long and speaking name, 日本語", ""),
        ]
        .concat(),
    );
    sandbox
}

// "no colours when not on a terminal, colours on one, table fits the pty's width"
#[test]
fn tables_fit_and_have_colours_on_a_terminal_and_are_complete_and_plain_elsewhere() {
    let sandbox = colourful();
    let _daemon = sandbox.start();
    for (watch, state) in [("idles", "idle"), ("runs", "running"), ("fails", "retrying")] {
        wait_for_state(&sandbox, watch, state);
    }
    wait_until("the last to have run", || runs(&sandbox).len() == 4);
    for command in ["status", "history"] {
        let plain = sandbox.operator([command]).finish().expect(0).text();
        assert!(!plain.contains('\u{1b}') && !plain.contains('…'), "{plain}");
        assert!(plain.contains("a watch of a long and speaking name, 日本語"), "{plain}");
        for columns in [80, 100, 132] {
            let (code, shown) = sandbox.operator([command]).finish_on_terminal(columns);
            assert_eq!(code, Some(0));
            let [green, cyan] = ["\u{1b}[32m", "\u{1b}[36m"];
            assert!(shown.contains(green) && shown.contains(cyan), "{shown}");
            let table = without_colours(&shown);
            let rows: Vec<_> = table.lines().skip_while(|line| !line.starts_with(['W', 'S'])).collect();
            assert!(rows.len() >= 5, "{table}");
            for row in &rows {
                let width = unicode_width::UnicodeWidthStr::width(*row);
                assert!(width <= columns.into(), "{width} > {columns}: {row}");
            }
            assert!(table.contains('…'), "{table}");
        }
        let (_, shown) = sandbox.operator([command]).env("NO_COLOR", "1").finish_on_terminal(100);
        assert!(!shown.contains('\u{1b}'), "{shown}");
        let (_, shown) = sandbox.operator([command, "--json"]).finish_on_terminal(20);
        assert!(!shown.contains('\u{1b}') && !shown.contains('…'), "{shown}");
        let objects: Vec<serde_json::Value> =
            shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert!(!objects.is_empty());
    }
}

/// Characters that colour a terminal, ring its bell, set its title, forge a line, and use C1 codes.
const EVIL: &str = "\u{1b}[95mpink\u{7}\r\u{1b}]0;title\u{7}\u{9b}95m\u{7f}";

#[track_caller]
fn assert_harmless(what: &str, shown: &str) {
    assert!(!shown.contains("\u{1b}[95m"), "{what}: {shown:?}");
    let shown = without_colours(shown).replace(['\n', '\t'], "");
    assert!(!shown.contains(char::is_control), "{what}: {shown:?}");
}

// "descriptions and child output with newlines and escape codes: nothing reaches a terminal or a log line
// raw"
#[test]
fn no_control_character_of_others_reaches_a_terminal() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    std::fs::write(sandbox.path("evil"), format!("{EVIL}\nFORGED\tby a tab\n{EVIL}")).expect("write a file");
    let script = format!("cat {}; exit 3", sandbox.path("evil").display());
    sandbox.config("evil\u{1b}[95m\nFORGED.twc", described("/n", &script, "fails", ""));
    sandbox.config("bad\u{1b}[95m\nFORGED.twc", "RegisterWatch(");
    sandbox.config("throws.twc", r#"throw "thrown \x1b[95m\n\u009b95m FORGED words";"#);
    sandbox.config(
        "missing.twc",
        watch("/n", "Exec([\"/missing\\x1b[95m\\nFORGED\"])", "description: \"missing\""),
    );
    let daemon = sandbox.start();
    wait_for_state(&sandbox, "fails", "failed");
    wait_for_state(&sandbox, "missing", "failed");
    let socket = sandbox.control_socket();
    let evil_name = format!("name\n{EVIL}\"'`$(reboot)");
    let commands: [&[&str]; 15] = [
        &["status"],
        &["status", "--json"],
        &["status", "--check"],
        &["status", "fails"],
        &["status", &evil_name],
        &["history"],
        &["history", "--json"],
        &["history", "--failed"],
        &["history", &evil_name],
        &["logs", "1"],
        &["logs", "2"],
        &["logs", &evil_name],
        &["trigger", &evil_name],
        &["trigger", "fails"],
        &["pause", "fails"],
    ];
    for command in commands {
        let first = sandbox.operator([command[0]]);
        let whole = command[1..].iter().fold(first, |so_far, word| so_far.arg(word));
        let (code, shown) = whole.finish_on_terminal(100);
        assert!(code == Some(0) || code == Some(1), "{command:?}: {shown}");
        assert!(!shown.is_empty() || command[0] == "logs", "{command:?} shows nothing");
        assert_harmless(&format!("{command:?}"), &shown);
        assert!(!shown.lines().any(|line| line.starts_with("FORGED.twc")), "{command:?}: {shown}");
    }
    // The output of an action keeps its lines and tabs.
    let ended = |run: &serde_json::Value| {
        run["outcome"] == "exit" && run["watch"].as_str().is_some_and(|watch| watch.ends_with(":fails"))
    };
    let run = runs(&sandbox).into_iter().find(ended).expect("its run")["run"].clone();
    let run = run.as_str().expect("an id");
    let (_, shown) = sandbox.operator(["logs", run]).finish_on_terminal(100);
    assert!(shown.contains("\nFORGED\tby a tab\n"), "{shown:?}");
    assert!(shown.contains("\\u{1b}[95mpink\\u{7}\\r"), "{shown:?}");
    for line in daemon.log() {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    assert!(daemon.log_lines(&["FORGED"]).iter().all(|line| line.starts_with("20")), "{:#?}", daemon.log());
    drop(daemon);
    assert!(!socket.exists());
}

// An older daemon or another program may listen at the socket.
#[test]
fn no_control_character_in_the_reply_of_another_program_reaches_a_terminal() {
    let sandbox = Sandbox::directory();
    let listener = UnixListener::bind(sandbox.control_socket()).expect("bind a socket");
    let words = serde_json::to_string(EVIL).expect("JSON");
    let answers = [
        ("404 Not Found", format!("{{\"error\": {words}}}")),
        ("404 Not Found", EVIL.to_owned()),
        ("200 OK", EVIL.to_owned()),
        ("200 OK", format!("{{\"watch\": {words}, \"done\": {words}}}")),
        ("200 OK", format!("{{\"{EVIL}\": 1}}")),
    ];
    for (status, body) in answers {
        for command in [&["trigger", "x"][..], &["reload"], &["status"], &["history"], &["history", "--json"]]
        {
            let first = sandbox.operator([command[0]]);
            let whole = command[1..].iter().fold(first, |so_far, word| so_far.arg(word));
            let shown = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut client, _) = listener.accept().expect("a client");
                    let _ = client.read(&mut [0; 4096]);
                    let _ = write!(client, "HTTP/1.1 {status}\r\nconnection: close\r\n\r\n{body}");
                });
                whole.finish_on_terminal(100).1
            });
            assert_harmless(&format!("{command:?} {status} {body:?}"), &shown);
        }
    }
}

#[test]
fn no_control_character_of_others_reaches_a_log_file() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    std::fs::write(sandbox.path("evil"), format!("{EVIL}\nFORGED\n{EVIL}")).expect("write a file");
    let script = format!("cat {}; exit 3", sandbox.path("evil").display());
    sandbox.config("app.twc", described("/n", &script, "fails", ""));
    let file = sandbox.path("log");
    let mut daemon = sandbox.daemon_logging_elsewhere().arg("--debug").arg("--log-file").arg(&file).start();
    wait_until_served(&sandbox);
    wait_for_state(&sandbox, "fails", "failed");
    sandbox.operator(["trigger", &format!("none{EVIL}\nFORGED")]).finish().expect(1);
    sandbox.operator(["trigger", "fails"]).finish().expect(0);
    wait_until("the second run", || runs(&sandbox).len() == 2);
    assert_eq!(daemon.stop(), Some(0));
    let log = std::fs::read_to_string(&file).expect("the log");
    assert!(log.lines().count() > 10 && log.lines().all(|line| line.starts_with("20")), "{log}");
    assert!(!log.replace('\n', "").contains(char::is_control), "{log:?}");
}
