//! Results that cannot be written: a full disk is a failure, a reader that has seen enough is none.

use crate::harness::{Sandbox, Twitcher, exec, watch};

/// Runs a command whose stdout is a full disk.
const FULL: [&str; 4] = ["sh", "-c", "exec \"$@\" > /dev/full", "sh"];

/// Runs a command without a stdout.
const CLOSED: [&str; 4] = ["sh", "-c", "exec \"$@\" >&-", "sh"];

/// Runs a command whose stdout is only open for reading.
const READ_ONLY: [&str; 4] = ["sh", "-c", "exec \"$@\" 1< /dev/null", "sh"];

/// Runs a command whose stdout nobody reads any more.
const UNREAD: [&str; 4] = ["bash", "-c", "exec 3> >(:); wait $!; exec \"$@\" >&3", "bash"];

/// Runs a command that can report no error.
const MUTE: [&str; 4] = ["sh", "-c", "exec \"$@\" 2> /dev/full", "sh"];

/// All commands with a result, and their exit code where it is written.
fn commands(sandbox: &Sandbox) -> Vec<(Twitcher, i32)> {
    let configs = sandbox.configs();
    let check = |code| (sandbox.twitcher(["check"]).arg(&configs), code);
    vec![
        (sandbox.twitcher(["--help"]), 0),
        (sandbox.twitcher(["set", "--help"]), 0),
        (sandbox.twitcher(["--version"]), 0),
        (sandbox.client(["get", "/n"]), 0),
        (sandbox.client(["ls", "/"]), 0),
        (sandbox.client(["watch", "/n", "--count", "1"]), 0),
        (sandbox.client(["watch", "/n", "--count", "1", "--json"]), 0),
        check(0),
        (check(0).0.arg("--explain"), 0),
        (sandbox.daemon_with_state(&sandbox.root().join("other")).arg("--dry-run"), 0),
        (sandbox.operator(["status"]), 0),
        (sandbox.operator(["status", "--json"]), 0),
        (sandbox.operator(["status", "--check"]), 0),
        (sandbox.operator(["history"]), 0),
        (sandbox.operator(["history", "--json"]), 0),
        (sandbox.operator(["logs", "1"]), 0),
        (sandbox.operator(["pause", "good"]), 0),
        (sandbox.operator(["resume", "good"]), 0),
        (sandbox.operator(["reload"]), 0),
    ]
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    sandbox.config("app.twc", watch("/n", &exec("echo output"), "description: \"good\""));
    sandbox
}

#[test]
fn a_result_that_is_not_written_is_a_failure_of_every_command() {
    let sandbox = sandbox();
    let daemon = sandbox.daemon().arg("-v").start();
    daemon.wait_for_log(&["good", "output"]);
    sandbox.client(["get", "/n"]).finish().expect(0);
    for (command, _) in commands(&sandbox) {
        command.under(FULL).finish().expect(1).expect_said(&["cannot write to stdout", "No space left"]);
    }
    for (command, _) in commands(&sandbox) {
        let finished = command.under(CLOSED).finish().expect(1);
        finished.expect_said(&["cannot write to stdout: it was closed when this command started"]);
    }
    for (command, _) in commands(&sandbox) {
        command.under(READ_ONLY).finish().expect(1).expect_said(&["cannot write to stdout: Bad file"]);
    }
    // Commands that have nothing to print.
    for command in [
        sandbox.client(["set", "/n", "more"]),
        sandbox.client(["set", "/empty", "--empty"]),
        sandbox.client(["get", "/empty"]),
    ] {
        command.under(CLOSED).finish().expect(0);
    }
    // A directory with a wrong file beside a right one.
    sandbox.config("bad.twc", "RegisterWatch(");
    let check = sandbox.twitcher(["check"]).arg(sandbox.configs()).under(FULL).finish().expect(1);
    check.expect_said(&["cannot write to stdout", "bad.twc"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure_of_any_command() {
    let sandbox = sandbox();
    let daemon = sandbox.daemon().arg("-v").start();
    daemon.wait_for_log(&["good", "output"]);
    for (command, code) in commands(&sandbox) {
        let finished = command.under(UNREAD).finish();
        assert!(finished.code == Some(code) && finished.stderr.is_empty(), "{finished:#?}");
    }
    // The exit code tells still what is wrong.
    sandbox.config("bad.twc", "RegisterWatch(");
    sandbox.operator(["reload"]).finish().expect(1);
    sandbox.twitcher(["check"]).arg(sandbox.configs()).under(UNREAD).finish().expect(1);
    let check = sandbox.operator(["status", "--check"]).under(UNREAD).finish();
    assert_eq!(check.code, Some(1), "{check:#?}");
}

#[test]
fn an_error_that_is_not_written_is_in_the_exit_code() {
    let sandbox = sandbox();
    sandbox.config("bad.twc", "RegisterWatch(");
    for (command, code) in [
        (sandbox.client(["get", "/missing"]), 1),
        (sandbox.client(["set", "/n"]), 2),
        (sandbox.twitcher(["no-such-command"]), 2),
        (sandbox.twitcher(["check"]).arg(sandbox.configs()), 1),
        (sandbox.operator(["status"]), 1),
        (sandbox.client(["get", "/n"]), 0),
    ] {
        assert_eq!(command.under(MUTE).finish().code, Some(code));
    }
}

// Nothing may be taken for what was read from a stdin that cannot be read.
#[test]
fn a_stdin_that_is_closed_or_cannot_be_read_sets_nothing() {
    let sandbox = sandbox();
    for stdin in ["exec \"$@\" <&-", "exec \"$@\" 0> /dev/null"] {
        for more in [&[][..], &["--empty"]] {
            let command = more.iter().fold(sandbox.client(["set", "/n", "-"]), |it, word| it.arg(word));
            let finished = command.under(["sh", "-c", stdin, "sh"]).finish().expect(1);
            finished.expect_said(&["cannot read the data from stdin", "nothing was set"]);
        }
    }
    assert_eq!(sandbox.client(["get", "/n"]).finish().expect(0).text(), "content");
}
