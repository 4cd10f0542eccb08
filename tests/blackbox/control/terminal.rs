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
            assert!(table.contains("app.twc:a watch of a long and speaking name, 日本語 "), "{table}");
            assert!(command == "history" || columns < 100 || table.contains("…/shows"), "{table}");
        }
        // What goes on in between may widen a column.
        wait_until("the wide table to be the plain one", || {
            let plain = sandbox.operator([command]).finish().expect(0).text();
            let (_, shown) = sandbox.operator([command, "--wide"]).finish_on_terminal(80);
            without_seconds(&without_colours(&shown)) == without_seconds(&plain)
        });
        let (_, shown) = sandbox.operator([command]).env("NO_COLOR", "1").finish_on_terminal(100);
        assert!(!shown.contains('\u{1b}'), "{shown}");
        let (_, shown) = sandbox.operator([command, "--json"]).finish_on_terminal(20);
        assert!(!shown.contains('\u{1b}') && !shown.contains('…'), "{shown}");
        let objects: Vec<serde_json::Value> =
            shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert!(!objects.is_empty());
    }
}

/// Removes how long the action runs.
fn without_seconds(text: &str) -> String {
    let lines = text.lines().map(|line| line.split(" for ").next().unwrap_or_default().trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

/// The words of the row of this watch, whose name is one word.
#[track_caller]
fn words(table: &str, watch: &str) -> Vec<String> {
    let row = table.lines().find(|line| line.split_whitespace().any(|word| word == watch));
    let row = row.unwrap_or_else(|| panic!("no row of {watch}: {table}"));
    row.split_whitespace().map(str::to_owned).collect()
}

// "WATCH and RUN are never cut", "NODE in the middle", "short times, runs by number", "SEEN and APPLIED only
// with `--wide` or where they differ", "durations below a second in ms"
#[test]
fn a_narrow_terminal_shows_what_people_copy_and_leaves_out_what_they_do_not_need() {
    let sandbox = Sandbox::directory();
    let node = "/services/search/of/a/long/path/leader";
    sandbox.nodes.set(node, "1");
    let names = ["function.twc:paint-green", "function.twc:paint-red"];
    let text = [
        described(node, "true", "paint-green", ""),
        described(node, "true", "paint-red", "run_on_load: false"),
    ];
    sandbox.config("function.twc", text.concat());
    let mut daemon = sandbox.start();
    wait_for_state(&sandbox, "paint-green", "idle");
    wait_for_state(&sandbox, "paint-red", "idle");
    let shown = |command: &str| without_colours(&sandbox.operator([command]).finish_on_terminal(80).1);
    let status = shown("status");
    assert!(
        status.contains("\nWATCH ") && !status.contains("SEEN") && !status.contains("APPLIED"),
        "{status}"
    );
    for name in names {
        let words = words(&status, name);
        assert!(words[1].contains('…') && words[1].ends_with("/leader"), "{status}");
        assert!(unicode_width::UnicodeWidthStr::width(words.join(" ").as_str()) <= 80);
        assert_eq!(words[2], "idle");
    }
    assert_eq!(words(&status, names[0])[3..], ["success"], "nothing differs: {status}");
    // The version of a file is the time of its last change.
    let is_time = |word: &str| word.len() == "16:13:31.042Z".len() && word.matches(':').count() == 2;
    let differ = words(&status, names[1]);
    assert!(differ[3] == "seen" && is_time(differ[4].trim_end_matches(',')), "{status}");
    assert_eq!(differ[5..], ["none", "applied"], "{status}");
    let whole = sandbox.operator(["status"]).finish_on_terminal(200).1;
    let whole = words(&without_colours(&whole), names[1]).join(" ");
    assert!(whole.ends_with(", none applied") && whole.split([' ', ',']).any(is_time), "{whole}");
    let history = shown("history");
    let run = words(&history, names[0]);
    // A time of this day, and the number that `logs` takes.
    assert!(run[0].len() == "16:13:31Z".len() && run[0].ends_with('Z'), "{history}");
    assert!(history.contains("ms ") && run[run.len() - 1] == "1", "{history}");
    sandbox.operator(["logs", &run[run.len() - 1]]).finish().expect(0);

    // The number of an earlier daemon's run would lead to another run.
    let former = runs(&sandbox)[0]["run"].as_str().expect("an id").to_owned();
    daemon.stop();
    let _daemon = sandbox.start();
    wait_until_served(&sandbox);
    wait_until("the load to have run it again", || runs(&sandbox).len() == 2);
    let history = shown("history");
    let ids: Vec<_> = history.lines().skip(1).filter_map(|row| row.split_whitespace().last()).collect();
    assert_eq!(ids, ["1", &former], "{history}");
    let trigger = sandbox.operator(["trigger", names[1]]).finish().expect(0);
    trigger.expect_said(&[names[1]]);
    wait_until("the run", || runs(&sandbox).len() == 3);
    let (_, of_one) = sandbox.operator(["history", names[1]]).finish_on_terminal(80);
    assert_eq!(words(&without_colours(&of_one), names[1]).pop().as_deref(), Some("2"));
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
