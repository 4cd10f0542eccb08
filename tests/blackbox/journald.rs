//! The log in systemd's journal, if the daemon's output leads there.

use std::fs;

use crate::harness::{Daemon, Journald, Sandbox, exec, require_root, wait_until, watch};

/// A sandbox in which `/git/head` contains `content`, with a watch `git.twc:deploy` that runs `script`.
fn sandbox(script: &str) -> Sandbox {
    require_root();
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/git/head", "content");
    let keys = r#"description: "deploy", retry: #{ attempts: 1, delay: 0.01 }"#;
    sandbox.config("git.twc", watch("/git/head", &exec(script), keys));
    sandbox
}

/// Starts the daemon of the sandbox, which logs everything.
fn start(sandbox: &Sandbox, journald: &Journald) -> Daemon {
    journald.around(sandbox.daemon_logging_elsewhere().arg("--debug"), "stderr").start()
}

// "JOURNAL_STREAM: If the standard output or standard error output of the executed processes are connected to
// the journal ... allow services to optionally upgrade their used log protocol to the native journal
// protocol".
#[test]
fn lines_of_a_run_carry_its_watch_its_node_and_its_id() {
    for connected in ["stdout", "stderr"] {
        let sandbox = sandbox("echo said by $TWITCHER_RUN_ID; echo wrong >&2; exit 3");
        let journald = Journald::listening(sandbox.path("run"));
        let daemon = journald.around(sandbox.daemon_logging_elsewhere(), connected).start();
        let printed = journald.wait_for(&["git.twc:deploy run ", "said by "]);
        let (_, id) = printed.message().split_once("said by ").expect("it contains that");
        assert!(id.contains('-'), "{id}");
        let started = journald.wait_for(&["started, pid"]);
        let wrong = journald.wait_for(&["stderr: wrong"]);
        let failed = journald.wait_for(&["failed: exit code 3"]);
        let retried = journald.wait_for(&["trying again"]);
        for (entry, priority) in
            [(&started, "5"), (&printed, "5"), (&wrong, "5"), (&failed, "4"), (&retried, "4")]
        {
            assert_eq!(entry.value("TWITCHER_WATCH"), Some("git.twc:deploy"), "{entry:?}");
            assert_eq!(entry.value("TWITCHER_RUN_ID"), Some(id), "{entry:?}");
            assert_eq!(entry.value("TWITCHER_ZNODE"), Some("/git/head"), "{entry:?}");
            assert_eq!(entry.value("PRIORITY"), Some(priority), "{entry:?}");
            assert_eq!(entry.value("SYSLOG_IDENTIFIER"), Some("twitcher"), "{entry:?}");
            assert_eq!(entry.value("SYSLOG_FACILITY"), Some("3"), "facility daemon: {entry:?}");
        }
        assert!(daemon.log().is_empty(), "{:#?}", daemon.log());
    }
}

// A daemon that finds a running action of a killed one logs its original "TWITCHER_RUN_ID".
#[test]
fn lines_of_a_run_of_a_former_daemon_carry_its_original_id() {
    let sandbox = sandbox("true");
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    let action = format!("{}; {}", journal.note("$TWITCHER_RUN_ID"), gate.pass());
    sandbox.config("git.twc", watch("/git/head", &exec(&action), r#"description: "long""#));
    let mut daemon = sandbox.start();
    let id = journal.wait_for_line_where("an id", |line| line.contains('-'));
    daemon.kill();
    let journald = Journald::listening(sandbox.path("run"));
    let _daemon = start(&sandbox, &journald);
    let found = journald.wait_for(&["git.twc:long run ", "still runs as"]);
    gate.open();
    let ended = journald.wait_for(&["git.twc:long run ", "ended with an unknown result"]);
    for entry in [found, ended] {
        assert_eq!(entry.value("TWITCHER_RUN_ID"), Some(id.as_str()), "{entry:?}");
    }
}

#[test]
fn other_lines_carry_only_the_fields_that_they_are_about() {
    let sandbox = sandbox("true");
    let journald = Journald::listening(sandbox.path("run"));
    let _daemon = start(&sandbox, &journald);
    let about = |parts: &[&str]| {
        let entry = journald.wait_for(parts);
        ["TWITCHER_WATCH", "TWITCHER_ZNODE", "TWITCHER_RUN_ID"].map(|key| entry.value(key).map(str::to_owned))
    };
    assert_eq!(about(&["starts: store"]), [None, None, None]);
    assert_eq!(about(&["git.twc: loaded"]), [None, None, None]);
    let (deploy, head) = (Some("git.twc:deploy".to_owned()), Some("/git/head".to_owned()));
    assert_eq!(about(&["/git/head: observed"]), [None, head.clone(), None]);
    assert_eq!(about(&["git.twc:deploy: watches"]), [deploy.clone(), head, None]);
    sandbox.remove_config("git.twc");
    assert_eq!(about(&["git.twc:deploy: removed"]), [deploy, None, None]);
}

// The line is about a node that two watches share and that cannot be read.
#[test]
fn a_line_about_several_watches_is_found_by_each() {
    let sandbox = sandbox("true");
    let names = ["one", "two"].map(|name| format!("description: \"{name}\""));
    sandbox.config("bad.twc", names.map(|name| watch("/bad", &exec("true"), &name)).concat());
    // A node has at most 16 MiB.
    sandbox.nodes.set("/bad", vec![0; (16 << 20) + 1]);
    let journald = Journald::listening(sandbox.path("run"));
    let _daemon = start(&sandbox, &journald);
    let entry = journald.wait_for(&["/bad: cannot be read"]);
    let mut watches = entry.values("TWITCHER_WATCH");
    watches.sort();
    assert_eq!(watches, ["bad.twc:one", "bad.twc:two"]);
    assert_eq!(entry.value("TWITCHER_ZNODE"), Some("/bad"));
}

// "control characters escaped": no output, name or error can add a field.
#[test]
fn no_logged_text_forges_a_field_or_a_line() {
    let script = r#"printf 'a\nPRIORITY=0\033[31m\rTWITCHER_WATCH=x\0MESSAGE=y\n'
        head -c 1000000 /dev/zero; echo; echo end"#;
    let sandbox = sandbox(script);
    sandbox.config("evil\nPRIORITY=0\n.twc", "RegisterWatch(");
    sandbox.config("throws.twc", r#"throw "thrown \x1b[31m\nTWITCHER_WATCH=forged";"#);
    let journald = Journald::listening(sandbox.path("run"));
    let _daemon = start(&sandbox, &journald);
    journald.wait_for(&["git.twc:deploy", "stdout: end"]);
    journald.wait_for(&["thrown"]);
    journald.wait_for(&["evil", ".twc:1:"]);
    for entry in journald.entries() {
        let priority = entry.value("PRIORITY").expect("one, and only one");
        assert!(["3", "4", "5", "6", "7"].contains(&priority), "{entry:?}");
        assert!(!entry.message().chars().any(char::is_control), "{entry:?}");
        assert!(entry.value("TWITCHER_WATCH").is_none_or(|watch| watch == "git.twc:deploy"), "{entry:?}");
    }
    journald.wait_for(&["git.twc:deploy", "stdout: PRIORITY=0\\u{1b}[31m\\rTWITCHER_WATCH=x\\u{0}MESSAGE=y"]);
    journald.wait_for(&["git.twc:deploy", "more bytes cut"]);
}

// "surviving a missing or restarted `/dev/log`", for the journal.
#[test]
fn lines_logged_while_the_journal_is_away_arrive_when_it_is_back() {
    let sandbox = sandbox("true");
    let journal = sandbox.journal();
    let action = exec(&format!("v=$(cat); echo heard $v; {}", journal.note("$v")));
    sandbox.config("git.twc", watch("/git/head", &action, r#"description: "deploy""#));
    let mut journald = Journald::absent(sandbox.path("run"));
    let _daemon = start(&sandbox, &journald);
    wait_until("the daemon to run", || fs::exists(sandbox.state().join("ledger.db")).expect("look"));
    journald.listen();
    journald.wait_for(&["heard content"]);
    journal.wait_for(&["content"]);
    journald.leave();
    for value in ["between", "after"] {
        sandbox.nodes.set("/git/head", value);
        journal.wait_for_last(value);
    }
    journald.listen();
    let between = journald.wait_for(&["heard between"]);
    assert_eq!(between.value("TWITCHER_WATCH"), Some("git.twc:deploy"));
    journald.wait_for(&["heard after"]);
}

// "One bad thing stays one bad thing": the journal hangs.
#[test]
fn a_journal_that_takes_nothing_stalls_no_action_and_gets_its_lines_later() {
    let sandbox = sandbox("echo heard $(cat)");
    let journal = sandbox.journal();
    sandbox.config("marker.twc", watch("/git/head", &exec(&journal.record()), ""));
    let mut journald = Journald::absent(sandbox.path("run"));
    let hanging = journald.bind();
    let mut daemon = start(&sandbox, &journald);
    for value in 1..=20 {
        sandbox.nodes.set("/git/head", value.to_string());
        journal.wait_for_last(&value.to_string());
    }
    journald.listen_on(hanging);
    journald.wait_for(&["git.twc:deploy", "heard 20"]);
    assert_eq!(daemon.stop(), Some(0));
    journald.wait_for(&["stopped"]);
}

// "Note that it is generally not sufficient to only check whether $JOURNAL_STREAM is set at all".
#[test]
fn an_outdated_journal_stream_or_a_flag_for_the_log_keeps_the_journal_out() {
    let sandbox = sandbox("echo heard");
    let journald = Journald::listening(sandbox.path("run"));
    let file = sandbox.path("log");
    let heard_in_file = || fs::read_to_string(&file).is_ok_and(|log| log.contains("stdout: heard"));
    let daemon = journald.around(sandbox.daemon_logging_elsewhere(), "stderr").arg("--log-file").arg(&file);
    let daemon = daemon.start();
    wait_until("the line in the file", heard_in_file);
    drop(daemon);
    let daemon = journald.around(sandbox.daemon(), "stderr").start();
    daemon.wait_for_log(&["stdout: heard"]);
    drop(daemon);
    // The variable names the output that the process was started with, which it no longer has.
    let journal = sandbox.journal();
    sandbox.config("marker.twc", watch("/git/head", &exec(&journal.record()), ""));
    let elsewhere = ["sh", "-c", "exec \"$@\" > /dev/null 2>&1", "sh"];
    let daemon = journald.around(sandbox.daemon_logging_elsewhere(), "stderr").under(elsewhere).start();
    journal.wait_for(&["content"]);
    drop(daemon);
    assert!(journald.entries().is_empty(), "{:#?}", journald.entries());
}
