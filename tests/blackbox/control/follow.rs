//! `logs -f`: what a running action prints.

use super::{described, look_at, wait_for_state};
use crate::harness::{Sandbox, wait_until};

fn sandbox(script: &str) -> Sandbox {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", described("/n", script, "a", ""));
    sandbox
}

// "`logs -f RUN` follows a running action", "ends when the run ends"
#[test]
fn the_output_of_a_run_is_shown_while_it_is_written_and_to_its_end() {
    let sandbox = Sandbox::directory();
    let (first, second) = (sandbox.gate_named("first"), sandbox.gate_named("second"));
    let script =
        format!("echo one; {}; echo two >&2; {}; printf 'a\\377three'; exit 3", first.pass(), second.pass());
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", described("/n", &script, "a", ""));
    let _daemon = sandbox.start();
    let run = wait_for_state(&sandbox, "a", "running")["runs"][0]["run"].as_str().expect("a run").to_owned();
    let mut follower = sandbox.operator(["logs", "-f", &run]).start();
    follower.wait_for_log(&["one"]);
    first.open();
    follower.wait_for_log(&["two"]);
    assert!(follower.is_running());
    second.open();
    assert_eq!(follower.wait_for_exit(), Some(0));
    wait_until("the end of its output", || follower.log().len() == 3);
    assert_eq!(follower.log(), ["one", "two", "a\u{fffd}three"]);
    // A run that has ended is shown at once.
    let ended = sandbox.operator(["logs", "-f", &run]).finish().expect(0);
    assert_eq!(ended.stdout, b"one\ntwo\na\xffthree");
    sandbox.operator(["logs", "-f", "none"]).finish().expect(1).expect_said(&["no run none"]);
}

// "goes on with the next run (WATCH) until Ctrl-C"
#[test]
fn the_runs_of_a_watch_are_followed_one_after_another() {
    let sandbox = sandbox("echo $(cat) of $TWITCHER_EVENT");
    let _daemon = sandbox.start();
    wait_for_state(&sandbox, "a", "idle");
    let mut follower = sandbox.operator(["logs", "-f", "a"]).start();
    // The follower is known to look at the watch once it shows a run.
    let mut value = 1;
    wait_until("it to follow", || {
        value += 1;
        sandbox.nodes.set("/n", format!("{value}."));
        wait_until("the run", || {
            look_at(&sandbox, "a")["applied_version"] == look_at(&sandbox, "a")["version"]
        });
        !follower.log_lines(&[" of changed"]).is_empty()
    });
    for value in ["x.", "y.", "z."] {
        sandbox.nodes.set("/n", value);
        follower.wait_for_log(&[&format!("{value} of changed")]);
    }
    assert!(follower.log_lines(&["of load"]).is_empty(), "{:?}", follower.log());
    assert!(!follower.log_lines(&["==> app.twc:a: run ", ", changed <=="]).is_empty());
    // A shell has commands in the background ignore SIGINT.
    follower.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(follower.wait_for_exit(), None);
}

// "a slow reader harms nobody (it is told what was dropped)"
#[test]
fn a_follower_that_comes_late_is_told_what_it_missed() {
    let sandbox = Sandbox::directory();
    let gate = sandbox.gate();
    let script = format!("head -c 1000000 /dev/zero | tr '\\000' x; echo; echo end; {}", gate.pass());
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", described("/n", &script, "a", ""));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["stdout: end"]);
    let follower = sandbox.operator(["logs", "-f", "1"]).start();
    follower.wait_for_log(&["end"]);
    let told = follower.wait_for_log(&["bytes not shown"]);
    let missed: usize =
        told.split(' ').find_map(|word| word.parse().ok()).unwrap_or_else(|| panic!("no number in {told}"));
    let shown: usize =
        follower.log().iter().filter(|line| !line.contains("not shown")).map(|l| l.len() + 1).sum();
    assert_eq!(missed + shown, 1_000_001 + 4, "{told}");
    assert!(shown <= 130 << 10, "{shown}");
    gate.open();
}
