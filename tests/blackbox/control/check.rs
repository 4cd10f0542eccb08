//! `twitcher status --check`: the health check.

use std::fs;

use super::{described, wait_for_state, wait_until_served};
use crate::harness::{Sandbox, wait_for, wait_until};

/// Panics unless the command exits with this code. Returns the lines that it prints.
#[track_caller]
fn check<const N: usize>(sandbox: &Sandbox, code: i32, more: [&str; N]) -> Vec<String> {
    let done = sandbox.operator(["status", "--check"]).args(more).finish();
    assert_eq!((done.code, done.stderr.as_str()), (Some(code), ""), "{}", done.text());
    done.text().lines().map(str::to_owned).collect()
}

// "`--check` exits 0/1 and names what is failing"
#[test]
fn check_names_what_fails_and_nothing_else() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "3");
    let huge = fs::File::create(sandbox.root().join("nodes/huge")).expect("create a file");
    huge.set_len(1 << 30).expect("make it large");
    let good = [
        described("/n", "true", "idles", ""),
        described("/n", &sandbox.gate().pass(), "runs", ""),
        described("/n", "true", "waits", "debounce: 1000"),
        described("/none", "true", "lacks", ""),
    ];
    let bad = [
        described("/n", "exit 3", "retries", "retry: #{ attempts: 9, delay: 1000, max_delay: 1000 }"),
        described("/n", "exit $(cat)", "fails", ""),
        described("/n", "exit 3", "stops", "on_failure: STOP"),
        described("/n", "true", "never-starts", "").replace("Exec(\"true\")", "Exec([\"/missing\"])"),
        described("/huge", "true", "is-blind", ""),
    ];
    sandbox.config("app.twc", good.concat());
    let daemon = sandbox.start();
    wait_for_state(&sandbox, "runs", "running");
    assert_eq!(check(&sandbox, 0, []), ["ok: 4 watches"]);
    sandbox.config("bad.twc", bad.concat());
    for (watch, state) in [("retries", "retrying"), ("fails", "failed"), ("stops", "stopped")] {
        wait_for_state(&sandbox, watch, state);
    }
    wait_for_state(&sandbox, "never-starts", "failed");
    wait_for_state(&sandbox, "is-blind", "unreadable");
    let found = check(&sandbox, 1, []);
    let expected = [
        ("bad.twc:fails: failing, 1 in a row: ", "exit code 3"),
        ("bad.twc:is-blind: cannot be read: ", ""),
        ("bad.twc:never-starts: failing, 1 in a row: cannot start /missing: ", ""),
        ("bad.twc:retries: failing, 1 in a row: ", "exit code 3"),
        ("bad.twc:stops: stopped after a failure: ", "exit code 3"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (line, (start, part)) in found.iter().zip(expected) {
        assert!(line.starts_with(start) && line.contains(part), "{line} is not {start}");
    }
    // A name limits the check to one watch.
    assert_eq!(check(&sandbox, 1, ["retries"]).len(), 1);
    assert_eq!(check(&sandbox, 0, ["runs"]), ["ok"]);
    // The watch is a problem until its action succeeds.
    sandbox.nodes.set("/n", "0");
    wait_until("it to be well again", || {
        !check_any(&sandbox).iter().any(|line| line.starts_with("bad.twc:fails"))
    });
    sandbox.remove_config("bad.twc");
    wait_until("all to be well again", || check_any(&sandbox) == ["ok: 4 watches"]);
    drop(daemon);
    // Without a daemon the check fails.
    sandbox.operator(["status", "--check"]).finish().expect(1).expect_said(&["does the daemon run?"]);
}

/// The lines that the command prints, whatever its exit code.
fn check_any(sandbox: &Sandbox) -> Vec<String> {
    let text = sandbox.operator(["status", "--check"]).finish().text();
    text.lines().map(str::to_owned).collect()
}

// "stuck: ... the update that waits for a run longer than --stuck-after"
#[test]
fn an_update_that_waits_too_long_for_a_run_is_stuck() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let gate = sandbox.gate();
    // This action may run for ever: it is notified of updates.
    let told = format!("trap : HUP; {}", gate.pass());
    sandbox.config(
        "app.twc",
        [
            described("/n", &gate.pass(), "hangs", ""),
            described("/n", &told, "is-told", "notify_signal: SIGHUP"),
            described("/n", &gate.pass(), "rests", ""),
        ]
        .concat(),
    );
    let _daemon = sandbox.start();
    for watch in ["hangs", "is-told", "rests"] {
        wait_for_state(&sandbox, watch, "running");
    }
    sandbox.operator(["pause", "rests"]).finish().expect(0);
    assert_eq!(check(&sandbox, 0, ["--stuck-after", "0"]), ["ok: 3 watches"]);
    sandbox.nodes.set("/n", "2");
    let stuck = wait_for("it to be stuck", || {
        let lines = check_any_after(&sandbox, "0");
        lines.first().is_some_and(|line| line.contains("stuck")).then_some(lines)
    });
    assert_eq!(stuck.len(), 1, "{stuck:#?}");
    let pid = super::look_at(&sandbox, "hangs")["runs"][0]["pid"].clone();
    assert!(
        stuck[0].starts_with(&format!("app.twc:hangs: stuck: an update waits for pid {pid}, ")),
        "{stuck:#?}"
    );
    assert_eq!(check(&sandbox, 0, []), ["ok: 3 watches"], "after less than the default of 600 s");
    gate.open();
    wait_until("all to be well", || check_any_after(&sandbox, "0") == ["ok: 3 watches"]);
}

/// The lines that the command prints with this `--stuck-after`.
fn check_any_after(sandbox: &Sandbox, seconds: &str) -> Vec<String> {
    let text = sandbox.operator(["status", "--check", "--stuck-after", seconds]).finish().text();
    text.lines().map(str::to_owned).collect()
}

// The restart itself runs nothing.
#[test]
fn watches_that_stopped_or_failed_before_a_restart_are_still_reported_with_their_reasons() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    sandbox.config(
        "app.twc",
        [
            described("/n", "exit 3", "stops", "on_failure: STOP"),
            described("/n", "exit 3", "fails", "run_on_load: false"),
        ]
        .concat(),
    );
    let mut daemon = sandbox.start();
    wait_for_state(&sandbox, "fails", "idle");
    sandbox.nodes.set("/n", "2");
    wait_for_state(&sandbox, "fails", "failed");
    wait_for_state(&sandbox, "stops", "stopped");
    assert_eq!(daemon.stop(), Some(0));
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "fails", "failed");
    wait_for_state(&sandbox, "stops", "stopped");
    let found = check(&sandbox, 1, []);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().all(|line| line.contains("exit code 3")), "{found:#?}");
}

// "config errors"
#[test]
fn a_file_that_is_not_loaded_is_a_problem() {
    let sandbox = Sandbox::directory();
    sandbox.config("app.twc", described("/none", "true", "lacks", ""));
    sandbox.config("bad.twc", "RegisterWatch(\n");
    let _daemon = sandbox.start();
    wait_until_served(&sandbox);
    let found = check(&sandbox, 1, []);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("config: ") && found[0].contains("bad.twc:"), "{found:#?}");
    sandbox.remove_config("bad.twc");
    wait_until("all to be well", || check_any(&sandbox) == ["ok: 1 watch"]);
}

// "ledger lost"
#[test]
fn a_lost_ledger_is_a_problem_and_a_pause_then_lasts_until_a_restart() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", described("/n", "true", "named", ""));
    // The directory cannot be created below a file. The socket is named after it.
    fs::write(sandbox.path("file"), "").expect("write a file");
    let nowhere = sandbox.path("file").join(sandbox.state().file_name().expect("a name"));
    let _daemon = sandbox.daemon_with_state(&nowhere).start();
    wait_for_state(&sandbox, "named", "idle");
    let found = check(&sandbox, 1, []);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("ledger: ") && found[0].contains("ledger.db"), "{found:#?}");
    assert!(found[1].starts_with("cache: ") && found[1].contains("cache.db"), "{found:#?}");
    let shown = sandbox.operator(["status"]).finish().expect(0);
    shown.expect_said(&["LEDGER LOST: "]);
    sandbox.operator(["history"]).finish().expect(1).expect_said(&["ledger.db"]);
    sandbox.operator(["logs", "1"]).finish().expect(1).expect_said(&["ledger.db"]);
    sandbox.operator(["pause", "named"]).finish().expect(0).expect_said(&["until a restart"]);
}

// Without this file, an action that was just started may run a second time after `kill -9`.
#[test]
fn a_file_of_starts_that_cannot_be_used_is_a_problem_until_it_can() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", described("/n", "true", "named", ""));
    let starts = sandbox.state().join("starts");
    fs::create_dir_all(&starts).expect("create a directory");
    let daemon = sandbox.start();
    wait_for_state(&sandbox, "named", "idle");
    let found = check(&sandbox, 1, []);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("starts: ") && found[0].contains("the next one may not find"), "{found:#?}");
    fs::remove_dir(&starts).expect("remove the directory");
    wait_until("all to be well", || check_any(&sandbox) == ["ok: 1 watch"]);
    daemon.wait_for_log(&["starts: works again"]);
}

// Some programs look at the exit code and do not read the output.
#[test]
fn check_exits_1_for_a_problem_that_nobody_reads() {
    let sandbox = Sandbox::directory();
    sandbox.config("bad.twc", "RegisterWatch(");
    let _daemon = sandbox.start();
    wait_until_served(&sandbox);
    for redirect in [">&-", ">/dev/full", "| (exec <&-; sleep 0.2)"] {
        let script = format!("set -o pipefail; \"$0\" status --check --control-socket \"$1\" {redirect}");
        let shell =
            sandbox.twitcher([]).under(["bash", "-c", &script]).arg(sandbox.control_socket()).finish();
        // Who reads no further, as `head`, has what they want.
        let has_reader = redirect.starts_with('|');
        assert!(shell.code == Some(1) && shell.stderr.is_empty() == has_reader, "{redirect}: {shell:?}");
    }
}

#[test]
fn check_excludes_other_formats() {
    let sandbox = Sandbox::directory();
    for wrong in ["--wide", "--follow"] {
        sandbox.operator(["status", "--check", wrong]).finish().expect(2).expect_said(&["--check", wrong]);
    }
    sandbox.operator(["status", "--stuck-after", "5"]).finish().expect(2).expect_said(&["--check"]);
    sandbox.operator(["status", "--check", "--stuck-after", "soon"]).finish().expect(2);
}
