//! "HUP reloads, TERM and INT stop: no new runs, running actions get 10 s to end, then TERM, then KILL."

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Daemon, Gate, Journal, Process, Sandbox, exec, wait_until, watch};

/// Starts a daemon whose action journals `start CONTENT`, waits at the gate, and journals `end CONTENT`. On
/// TERM it journals `term` and goes on.
fn running(sandbox: &Sandbox) -> (Daemon, Journal, Gate) {
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.nodes.set("/n", "one");
    let action = format!(
        "trap '{}' TERM; v=$(cat); {}; {}; {}",
        format_args!("echo term >> {}", journal.path()),
        journal.note("start $v"),
        gate.pass(),
        journal.note("end $v")
    );
    sandbox.config("app.twc", watch("/n", &exec(&action), ""));
    let daemon = sandbox.start();
    journal.wait_for(&["start one"]);
    (daemon, journal, gate)
}

/// Sends a signal and waits until the daemon has logged something about it.
fn send(daemon: &Daemon, signal: Signal) {
    let said = daemon.log().len();
    daemon.signal(signal);
    wait_until("the daemon to react", || daemon.log().len() > said);
}

// "TERM and INT stop: no new runs, running actions get 10 s to end"
#[test]
fn a_running_action_may_end_after_term_and_nothing_new_starts() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sandbox = Sandbox::directory();
        let (mut daemon, journal, gate) = running(&sandbox);
        sandbox.nodes.set("/n", "two");
        send(&daemon, signal);
        sandbox.nodes.set("/n", "three");
        gate.open();
        assert_eq!(daemon.wait_for_exit(), Some(0), "after {signal}");
        assert_eq!(journal.lines(), ["start one", "end one"], "after {signal}");
    }
}

// "Stopping says what it waits for, for how long, and that a second Ctrl-C ends it"; "an interrupted run says
// that it will run again"
#[test]
fn a_stopping_daemon_says_what_it_waits_for_and_how_to_end_that() {
    let sandbox = Sandbox::directory();
    let (mut daemon, journal, _gate) = running(&sandbox);
    let pid = daemon.wait_for_log(&["app.twc-1 run 1: started, pid "]);
    let pid = pid.split_once("pid ").and_then(|(_, rest)| rest.split_once(',')).expect("a pid").0.to_owned();
    daemon.signal(Signal::SIGINT);
    let waits = daemon.wait_for_log(&["SIGINT: stopping; 1 action still running: "]);
    let named = format!("app.twc-1 run 1 (pid {pid}); waiting 10 s for them to end");
    assert!(
        waits.contains(&named) && waits.contains("a second Ctrl-C or SIGTERM ends the wait now"),
        "{waits}"
    );
    daemon.signal(Signal::SIGINT);
    daemon.wait_for_log(&["SIGINT: stopping; 1 action still running: ", "SIGTERM now, SIGKILL 5 s later"]);
    daemon.wait_for_log(&["app.twc-1 run 1: ", "(stopped); the next daemon runs it again"]);
    daemon.wait_for_exit();
    let mut next = sandbox.start();
    wait_until("it to run again", || journal.count("start one") == 2);
    // A daemon that is killed says nothing, so the next one does.
    let action = next.wait_for_log(&["started, pid "]);
    next.kill();
    let action = action.split_once("pid ").and_then(|(_, rest)| rest.split_once(',')).expect("a pid").0;
    let action = Process(action.parse().expect("a number"));
    nix::sys::signal::killpg(nix::unistd::Pid::from_raw(action.0), Signal::SIGKILL).expect("kill the action");
    wait_until("the action to end", || !action.is_alive());
    let last = sandbox.start();
    last.wait_for_log(&["was interrupted by the end of its daemon; it runs again"]);
    wait_until("it to run once more", || journal.count("start one") == 3);
}

// An idle daemon waits for nothing.
#[test]
fn an_idle_daemon_waits_for_nothing_and_says_so() {
    let sandbox = Sandbox::directory();
    let mut daemon = sandbox.start();
    daemon.wait_for_log(&["configs loaded"]);
    daemon.stop();
    assert!(daemon.wait_for_log(&["SIGTERM: stopping"]).ends_with("stopping; 0 actions still running"));
}

// "running actions get 10 s to end, then TERM, then KILL"
#[test]
fn an_action_that_does_not_end_in_the_grace_is_terminated_and_then_killed() {
    let sandbox = Sandbox::directory();
    let (mut daemon, journal, _gate) = running(&sandbox);
    let began = Instant::now();
    send(&daemon, Signal::SIGTERM);
    journal.wait_for(&["start one", "term"]);
    assert!(began.elapsed() > Duration::from_secs(9), "TERM after {:?}", began.elapsed());
    daemon.wait_for_exit();
    assert_eq!(journal.lines(), ["start one", "term"]);
}

// "A second TERM or INT skips the grace."
#[test]
fn a_second_term_skips_the_grace() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sandbox = Sandbox::directory();
        let (mut daemon, journal, _gate) = running(&sandbox);
        let began = Instant::now();
        send(&daemon, Signal::SIGTERM);
        daemon.signal(signal);
        daemon.wait_for_exit();
        // Actions would otherwise have 10 s until TERM and 5 s more until KILL.
        assert!(began.elapsed() < Duration::from_secs(10), "ended after {:?}", began.elapsed());
        assert_eq!(journal.count("end one"), 0);
    }
}

// Without a running action the daemon stops at once, with exit code 0.
#[test]
fn an_idle_daemon_stops_on_term() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let mut daemon = sandbox.start();
    journal.wait_for(&["content"]);
    assert_eq!(daemon.stop(), Some(0));
}

// "HUP reloads": "a reload of an unchanged watch starts no action".
#[test]
fn hup_reloads_and_runs_nothing_that_has_not_changed() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "one");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), ""));
    let daemon = sandbox.start();
    journal.wait_for(&["load one"]);
    for _ in 0..3 {
        send(&daemon, Signal::SIGHUP);
    }
    sandbox.nodes.set("/n", "two");
    journal.wait_for(&["load one", "changed two"]);
    sandbox.config("new.twc", watch("/n", &exec(&journal.note("new file")), ""));
    daemon.signal(Signal::SIGHUP);
    journal.wait_for(&["load one", "changed two", "new file"]);
}
