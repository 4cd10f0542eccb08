//! What made each run: the commit with its author and comment, or the store's transaction and time. It is in
//! the ledger, in `history`, in `status` and in the log.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::harness::{
    Journald, Nodes, Sandbox, ZooKeeper, exec, on_every_store, require_root, wait_for, wait_until, watch,
};

/// The data of a node `/n` with a commit. The header is JSON with what JSON lets an author write.
fn commit(version: u32, author: &str, comment: &str, payload: &str) -> Vec<u8> {
    let header = json!({
        "author": author, "comment": comment, "key": "n", "mtime": "2014-02-11T14:01:28.839-08:00",
        "version": version, "empty": false,
    });
    let header = header.to_string();
    format!("{}\n{header}\n{payload}\n", header.len()).into_bytes()
}

/// What terminals obey, what forges lines and fields, and what does not show.
const HOSTILE: &str =
    "a\u{1b}[31m\u{1b}]0;x\u{7}\u{9b}2J\0\r\n  forged\nTWITCHER_WATCH=x\u{202e}\u{200f}\u{2028}";

/// A config with a watch on the commit in `/n`, and one on the plain node `/plain`. Each prints what it got.
fn config(sandbox: &Sandbox, more: &str) {
    let script = "read -r said; echo \"got $TWITCHER_VERSION $said\"; [ \"$said\" != fails ]";
    let commits = watch("/n", &exec(script), &format!("description: \"typed\", decode: COMMIT, {more}"));
    let plain = watch("/plain", &exec(script), &format!("description: \"plain\", {more}"));
    sandbox.config("app.twc", [commits, plain].concat());
}

/// Empty before the daemon can be asked.
fn history(sandbox: &Sandbox, watch: &str) -> Vec<Value> {
    let text = sandbox.operator(["history", "--json", watch]).finish().text();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Waits until the newest run of a watch has ended with this outcome and version of its commit.
#[track_caller]
fn wait_for_run(sandbox: &Sandbox, watch: &str, commit: Option<u32>, outcome: &str) -> Value {
    wait_for(&format!("a run of {watch} for {commit:?}: {outcome}"), || {
        let newest = history(sandbox, watch).into_iter().next()?;
        let is_it = newest["commit"]["version"].as_u64() == commit.map(u64::from);
        (is_it && newest["outcome"] == outcome).then_some(newest)
    })
}

/// `null` before the daemon can be asked.
fn status(sandbox: &Sandbox, watch: &str) -> Value {
    let text = sandbox.operator(["status", "--json", watch]).finish().text();
    let status: Value = serde_json::from_str(&text).unwrap_or_default();
    status["watches"][0].clone()
}

/// The row of a watch in a table.
#[track_caller]
fn row(table: &str, watch: &str) -> String {
    let row = table.lines().find(|line| line.contains(watch));
    row.unwrap_or_else(|| panic!("no {watch} in {table}")).to_owned()
}

/// The lines that a terminal shows, without the escape codes of colours. Panics if it is told anything else,
/// or if a line is wider than it is.
#[track_caller]
fn on_terminal(sandbox: &Sandbox, command: &str, columns: u16) -> String {
    let (_, shown) = sandbox.operator([command]).finish_on_terminal(columns);
    let mut pieces = shown.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        plain += rest.strip_prefix('m').unwrap_or_else(|| panic!("{shown:?}"));
    }
    let obeyed = |c: char| c != '\n' && c.is_control() || matches!(c, '\u{200f}' | '\u{202e}' | '\u{2028}');
    assert!(!plain.contains(obeyed), "{shown:?}");
    for line in plain.lines() {
        assert!(line.width() <= columns.into(), "{columns}: {line}");
    }
    plain
}

// "the ledger keeps author, comment and commit version of what made each run; `history` and `status` show
// "v7 by gian: rofl", escaped"
on_every_store!(each_run_is_listed_with_the_commit_that_made_it);
fn each_run_is_listed_with_the_commit_that_made_it(sandbox: &Sandbox) {
    config(sandbox, "run_on_load: CHANGED");
    sandbox.settings("log_format = \"json\"\n");
    sandbox.nodes.set("/n", commit(7, "gian", "rofl", "first"));
    let mut daemon = sandbox.start();
    let known = json!({ "version": 7, "author": "gian", "comment": "rofl" });
    let first = wait_for_run(sandbox, "typed", Some(7), "success");
    assert_eq!(first["commit"], known);
    let output = sandbox.operator(["logs", first["run"].as_str().expect("an id")]).finish().expect(0);
    assert_eq!(output.text(), "got 7 first\n", "TWITCHER_VERSION is the commit's");
    let shown = status(sandbox, "typed");
    assert_eq!((&shown["applied_commit"], &shown["last_run"]["commit"]), (&known, &known));
    for columns in [100, 200] {
        assert!(row(&on_terminal(sandbox, "history", columns), ":typed").ends_with("  v7 by gian: rofl"));
        assert!(row(&on_terminal(sandbox, "status", columns), ":typed").ends_with("v7 by gian: rofl"));
    }
    let line: Value =
        serde_json::from_str(&daemon.wait_for_log(&["started, pid"])).expect("a line is an object");
    assert!(line["message"].as_str().is_some_and(|text| text.ends_with(", v7 by gian: rofl")), "{line}");
    assert_eq!(line["commit"], known);

    // What fails is told apart from what is applied.
    sandbox.nodes.set("/n", commit(8, "eva", "oops", "fails"));
    wait_for_run(sandbox, "typed", Some(8), "exit");
    wait_until("both to be told", || {
        let shown = sandbox.operator(["status"]).finish().expect(0).text();
        row(&shown, ":typed").ends_with("v8 by eva: oops, applied v7 by gian: rofl")
    });
    // What is no commit is held, whatever is wrong with it, and says why.
    let mut broken = commit(9, "gian", "_", "never");
    let place = broken.iter().position(|byte| *byte == b'_').expect("the comment");
    broken[place] = 0xff;
    sandbox.nodes.set("/n", &broken);
    wait_until("it to be held", || {
        let shown = status(sandbox, "typed");
        let why = shown["held"].as_str().unwrap_or_default();
        assert_eq!(shown["applied_commit"], known);
        why.contains("is no commit: byte ") && why.contains("this is not UTF-8")
    });

    // It outlives the daemon.
    daemon.kill();
    let offline = sandbox.operator(["status", "--state-dir"]).arg(sandbox.state()).finish().text();
    assert!(row(&offline, ":typed").ends_with("v7 by gian: rofl"), "{offline}");
    let _next = sandbox.start();
    wait_until("the next daemon to hold it", || {
        let shown = status(sandbox, "typed");
        shown["held"].is_string() && shown["applied_commit"] == known
    });
    let kept: Vec<_> = history(sandbox, "typed").iter().map(|run| run["commit"]["version"].clone()).collect();
    assert_eq!(kept, [8, 7]);
}

// "untrusted text: bounded in length, control characters escaped where shown on terminals and in logs"
on_every_store!(what_an_author_wrote_controls_no_terminal_and_fills_no_ledger);
fn what_an_author_wrote_controls_no_terminal_and_fills_no_ledger(sandbox: &Sandbox) {
    config(sandbox, "");
    let long = "\u{1b}漢".repeat(16 << 10);
    sandbox.nodes.set("/n", commit(1, HOSTILE, HOSTILE, "x"));
    let daemon = sandbox.start();
    let run = wait_for_run(sandbox, "typed", Some(1), "success");
    assert_eq!(run["commit"], json!({ "version": 1, "author": HOSTILE, "comment": HOSTILE }));
    let started = daemon.wait_for_log(&["app.twc:typed", "started, pid", ", v1 by a\\u{1b}[31m"]);
    assert!(!started.contains(char::is_control), "{started:?}");
    assert!(started.contains("\\r\\n  forged\\nTWITCHER_WATCH=x\\u{202e}\\u{200f}\\u{2028}"), "{started}");
    assert!(!daemon.log().iter().any(|line| line.starts_with("  forged")));
    for command in ["history", "status"] {
        let json = sandbox.operator([command, "--json"]).finish().expect(0).text();
        let obeyed = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!json.contains(obeyed), "{json:?}");
        let whole = sandbox.operator([command]).finish().expect(0).text();
        assert!(!whole.contains(obeyed) && whole.contains("v1 by a\\u{1b}[31m"), "{whole:?}");
    }

    sandbox.nodes.set("/n", commit(2, &long, &long, "x"));
    let run = wait_for_run(sandbox, "typed", Some(2), "success");
    for (part, most) in [("author", 255), ("comment", 1024)] {
        let kept = run["commit"][part].as_str().expect("a text");
        assert!(kept.len() <= most && kept.len() > most - 8, "{part}: {}", kept.len());
        assert!(long.starts_with(kept.strip_suffix('…').expect("a mark")), "{part}");
    }
    assert!(daemon.wait_for_log(&["app.twc:typed", "started, pid", "v2 by "]).len() < 3000);
    for columns in [80, 132] {
        assert!(on_terminal(sandbox, "history", columns).contains("v2 by \\u{1b}"));
        on_terminal(sandbox, "status", columns);
    }
}

/// The store's last transaction, by its own tools, and whether it has any.
fn last_transaction(sandbox: &Sandbox) -> Option<u64> {
    match &sandbox.nodes {
        Nodes::Directory(_) => None,
        Nodes::ZooKeeper { .. } => {
            let said = ZooKeeper::shared().ask("srvr");
            let zxid = said.lines().find_map(|line| line.strip_prefix("Zxid: 0x")).expect("a transaction");
            Some(u64::from_str_radix(zxid, 16).expect("hexadecimal"))
        }
        Nodes::Etcd { .. } => Some(sandbox.nodes.etcd().revision()),
    }
}

/// The transaction of a run, as a number.
fn transaction(sandbox: &Sandbox, run: &Value) -> Option<u64> {
    let text = run["transaction"].as_str()?;
    Some(match &sandbox.nodes {
        Nodes::ZooKeeper { .. } => {
            u64::from_str_radix(text.strip_prefix("0x").expect("as ZooKeeper shows it"), 16)
                .expect("hexadecimal")
        }
        Nodes::Directory(_) | Nodes::Etcd { .. } => text.parse().expect("decimal"),
    })
}

// "For nodes that are no commits, `history` shows the store's transaction id and time"
on_every_store!(each_run_of_a_plain_node_is_listed_with_the_change_that_made_it);
fn each_run_of_a_plain_node_is_listed_with_the_change_that_made_it(sandbox: &Sandbox) {
    config(sandbox, "");
    let more = [
        watch("/dir", &exec("true"), "description: \"children\", watch_type: WATCH_CHILDREN"),
        watch("/dir", &exec("true"), "description: \"tree\", watch_type: WATCH_TREE"),
    ];
    sandbox.config("more.twc", more.concat());
    sandbox.nodes.make("/dir");
    let before = last_transaction(sandbox);
    sandbox.nodes.set("/plain", "first");
    sandbox.nodes.set("/dir/a", "1");
    let after = last_transaction(sandbox);
    let _daemon = sandbox.start();
    for watch in ["plain", "children", "tree"] {
        let run = wait_for_run(sandbox, watch, None, "success");
        // Other tests write to the same server meanwhile.
        let id = transaction(sandbox, &run);
        assert!(id == before && id.is_none() || id > before && id <= after, "{watch}: {run}");
        assert_eq!(run["commit"], Value::Null);
        let has_time = match &sandbox.nodes {
            Nodes::Directory(_) => true,
            // A server does not keep when the children were changed, but when the child was made.
            Nodes::ZooKeeper { .. } => watch != "children",
            Nodes::Etcd { .. } => false,
        };
        assert_eq!(run["changed"].is_string(), has_time, "{watch}: {run}");
    }
    let run = wait_for_run(sandbox, "plain", None, "success");
    if let Nodes::Directory(path) = &sandbox.nodes {
        let file = std::fs::metadata(path.join("plain")).expect("the node");
        let millis = file.mtime() * 1000 + file.mtime_nsec() / 1_000_000;
        let changed = twitcher::text::Timestamp::from_millis(millis).expect("a time").to_string();
        assert_eq!(run["changed"], changed);
    }
    let shown = [&run["transaction"], &run["changed"]].map(|part| part.as_str().unwrap_or_default());
    // The table has no milliseconds.
    let shown =
        shown.map(|part| part.split_once('.').map_or(part.to_owned(), |(time, _)| format!("{time}Z")));
    let table = sandbox.operator(["history", "plain"]).finish().expect(0).text();
    assert!(row(&table, ":plain").ends_with(shown.join(" ").trim()), "{shown:?}: {table}");
    on_terminal(sandbox, "history", 100);

    // Another change is another transaction.
    sandbox.nodes.set("/plain", "second");
    let next = wait_for("the next run", || {
        let newest = history(sandbox, "plain").into_iter().next()?;
        (newest["event"] == "changed").then_some(newest)
    });
    let (first, next) = (transaction(sandbox, &run), transaction(sandbox, &next));
    assert!(first.is_none() && next.is_none() || next > first, "{first:?} {next:?}");
}

// "the journald fields ... of a run"
#[test]
fn the_lines_of_a_run_are_found_by_its_commit_in_the_journal() {
    require_root();
    let sandbox = Sandbox::directory();
    config(&sandbox, "");
    sandbox.nodes.set("/n", commit(7, "gian", HOSTILE, "x"));
    let journald = Journald::listening(sandbox.path("run"));
    let _daemon = journald.around(sandbox.daemon_logging_elsewhere().arg("--debug"), "stderr").start();
    let [started, ended, printed] =
        ["started, pid", ": ended", "stdout: got 7"].map(|part| journald.wait_for(&["app.twc:typed", part]));
    for entry in [&started, &ended] {
        assert_eq!(entry.value("TWITCHER_COMMIT_VERSION"), Some("7"), "{entry:?}");
        assert_eq!(entry.value("TWITCHER_COMMIT_AUTHOR"), Some("gian"), "{entry:?}");
        let comment = entry.value("TWITCHER_COMMIT_COMMENT").expect("a comment");
        assert!(comment.starts_with("a\\u{1b}[31m") && !comment.contains(char::is_control), "{entry:?}");
        assert_eq!(entry.value("TWITCHER_WATCH"), Some("app.twc:typed"), "{entry:?}");
        assert_eq!(entry.value("TWITCHER_TRANSACTION"), None, "a directory has none");
    }
    assert_eq!(printed.value("TWITCHER_COMMIT_AUTHOR"), None, "{printed:?}");
    assert_eq!(printed.value("TWITCHER_RUN_ID"), started.value("TWITCHER_RUN_ID"));
}

#[test]
fn a_dry_run_names_the_commit_that_would_run() {
    let sandbox = Sandbox::directory();
    config(&sandbox, "");
    sandbox.nodes.set("/n", commit(7, "gian", "rofl\u{1b}[31m", "x"));
    let planned = sandbox.daemon().arg("--dry-run").finish().expect(0).text();
    assert!(row(&planned, ":typed").ends_with("; v7 by gian: rofl\\u{1b}[31m"), "{planned}");
}
