//! `--check`: a member is there as long as its check succeeds.

use std::time::{Duration, Instant};

use super::{MEMBER, member, register, wait_for_absence, wait_for_member};
use crate::harness::{Sandbox, Store, on_every_kind, poll, wait_until};

// "with --check announced after the first success, withdrawn after 2 failures in a row"
on_every_kind!(a_check_announces_and_withdraws);
fn a_check_announces_and_withdraws(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    let checks = sandbox.journal();
    let well = sandbox.path("well");
    let check = format!("{}; echo why it fails; test -e {}", checks.note("checked"), well.display());
    let mut register = register(&sandbox, &sandbox.nodes.url())
        .args(["--check", &check, "--interval", "0.1", "--", "sleep", "1000"])
        .start();
    let rounds = |more: usize| {
        let before = checks.lines().len();
        wait_until("more checks", || checks.lines().len() >= before + more);
    };
    rounds(3);
    assert_eq!(member(&sandbox), None);
    std::fs::write(&well, "").expect("be well");
    wait_for_member(&sandbox);
    let before = sandbox.nodes.get(MEMBER);
    rounds(5);
    assert_eq!(sandbox.nodes.get(MEMBER), before, "it is announced once");
    std::fs::remove_file(&well).expect("fail");
    wait_for_absence(&sandbox);
    rounds(3);
    // Before it was well, and now. Each turn is told once.
    assert_eq!(register.log_lines(&["the check fails", "exit code 1", "why it fails"]).len(), 2);
    assert_eq!(register.log_lines(&[": it is withdrawn"]).len(), 1);
    std::fs::write(&well, "").expect("be well again");
    wait_for_member(&sandbox);
    assert_eq!(register.log_lines(&["the check succeeds"]).len(), 2);
    // The command is a program that has the signals as they were left to it.
    assert_eq!(register.stop(), Some(128 + 15));
    assert_eq!(sandbox.nodes.get(MEMBER), None);
}

// One failure, as of a service that restarts, withdraws nothing.
#[test]
fn one_failed_check_withdraws_nothing() {
    let sandbox = Sandbox::zookeeper();
    let checks = sandbox.journal();
    // It fails every second time.
    let check = format!("{}; test $(($(wc -l < {}) % 2)) = 1", checks.note("checked"), checks.path());
    let url = sandbox.nodes.url();
    let register = register(&sandbox, &url).args(["--check", &check, "--interval", "0.05"]).start();
    wait_for_member(&sandbox);
    let before = sandbox.nodes.get(MEMBER);
    let seen = checks.lines().len();
    wait_until("ten more checks", || {
        assert_eq!(sandbox.nodes.get(MEMBER), before);
        checks.lines().len() > seen + 10
    });
    assert_eq!(register.log_lines(&["the check fails"]).len(), 0);
}

// "a check longer than 5 s is killed and failed", with all that it has started.
#[test]
fn a_check_that_hangs_is_killed_and_has_failed() {
    let sandbox = Sandbox::zookeeper();
    let (checks, survivors) = (sandbox.journal(), sandbox.path("survivors"));
    let hang = sandbox.path("hang");
    let check = format!(
        "{}; test ! -e {} || {{ (sleep 8; touch {}) & sleep 1000; }}",
        checks.note("checked"),
        hang.display(),
        survivors.display()
    );
    let url = sandbox.nodes.url();
    let register = register(&sandbox, &url).args(["--check", &check, "--interval", "0.1"]).start();
    wait_for_member(&sandbox);
    std::fs::write(&hang, "").expect("have it hang");
    let began = Instant::now();
    wait_for_absence(&sandbox);
    assert!(began.elapsed() >= Duration::from_secs(9), "two checks of 5 s each");
    register.wait_for_log(&["the check fails", "longer than 5 s"]);
    assert_eq!(poll(Duration::from_secs(4), || survivors.exists().then_some(())), None);
}

// A check that floods its output, or leaves processes behind that hold it open, holds up nothing.
#[test]
fn a_check_that_floods_its_output_holds_up_nothing() {
    let sandbox = Sandbox::zookeeper();
    let check = "head -c 50000000 /dev/zero; sleep 20 & true";
    let url = sandbox.nodes.url();
    let mut register = register(&sandbox, &url).args(["--check", check]).start();
    wait_for_member(&sandbox);
    assert!(register.process().resident() < 64 << 10, "KiB");
    assert_eq!(register.stop(), Some(0));
}
