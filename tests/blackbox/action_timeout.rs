//! Runs that end by themselves, by timeout, and with processes left behind.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Process, Sandbox, exec, wait_for, wait_until, watch};

// "then SIGTERM, and SIGKILL 5 s later, to the whole process group"
#[test]
fn a_timeout_terminates_and_five_seconds_later_kills_the_whole_group() {
    let sandbox = Sandbox::directory();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    // The leader, its child and its grandchild note the TERM and go on.
    let stubborn = sandbox.executable(
        "stubborn",
        &format!(
            "#!/bin/sh\ntrap 'echo term >> {journal}' TERM\n[ $1 -gt 0 ] && $0 $(($1 - 1)) &\n\
             echo pid $$ >> {journal}\n{pass}\n",
            journal = journal.path(),
            pass = gate.pass()
        ),
    );
    let quick = journal.note("quick");
    let action = format!("if [ $(cat) = quick ]; then {quick}; else exec {} 2; fi", stubborn.display());
    sandbox.nodes.set("/n", "slow");
    sandbox.config("app.twc", watch("/n", &exec(&action), r#"timeout: 0.5, description: "stubborn""#));
    let daemon = sandbox.start();
    wait_until("three processes to hear TERM", || journal.count("term") == 3);
    let terminated = Instant::now();
    let pids: Vec<_> =
        journal.lines().iter().filter_map(|line| line.strip_prefix("pid ").map(Process::parse)).collect();
    assert!(pids.iter().all(|process| process.is_alive()), "TERM alone ends none of them");
    wait_until("the whole group to be killed", || pids.iter().all(|process| !process.is_alive()));
    // The test may notice the kill late, but the daemon must not kill early.
    assert!(terminated.elapsed() > Duration::from_secs(4), "killed after {:?}", terminated.elapsed());
    daemon.wait_for_log(&["stubborn", "time"]);
    // The watch runs its next update.
    sandbox.nodes.set("/n", "quick");
    journal.wait_for_line("quick");
}

// "timeout: seconds, int or float": the daemon waits no longer for an action that ends on TERM.
#[test]
fn a_timeout_ends_a_sleeping_action_with_term() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "slow");
    let (start, end) = (journal.note("start $v"), journal.note("end $v"));
    let action = format!("v=$(cat); {start}; [ $v = quick ] || sleep 1000; {end}");
    sandbox.config("app.twc", watch("/n", &exec(&action), "timeout: 1"));
    let _daemon = sandbox.start();
    journal.wait_for(&["start slow"]);
    sandbox.nodes.set("/n", "quick");
    journal.wait_for(&["start slow", "start quick", "end quick"]);
}

// "A run ends when its first process ends and its output is drained, at most 1 s longer. Processes it left
// behind live on, and their later output is drained and dropped (no SIGPIPE for them)."
#[test]
fn processes_left_behind_live_on_while_the_run_has_ended() {
    let sandbox = Sandbox::directory();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.nodes.set("/n", "first");
    // The output is more than a pipe holds: if nobody drained the pipe, the writer would hang, and if it were
    // closed, the writer would get SIGPIPE.
    let behind = format!(
        "{}; head -c 300000 /dev/zero; echo late words; echo late words >&2; {}",
        gate.pass(),
        journal.note("survived")
    );
    let action = format!("v=$(cat); {}; [ $v = first ] && ( {behind} ) & true", journal.note("ran $v"));
    sandbox.config("app.twc", watch("/n", &exec(&action), "timeout: 60"));
    let daemon = sandbox.start();
    journal.wait_for(&["ran first"]);
    // The process left behind still holds the pipe. If the run waited for it, no other run could start.
    sandbox.nodes.set("/n", "second");
    journal.wait_for(&["ran first", "ran second"]);
    gate.open();
    journal.wait_for(&["ran first", "ran second", "survived"]);
    assert!(daemon.log_lines(&["late words"]).is_empty(), "the late output is dropped");
}

// The timeout does not concern a process that left the process group.
#[test]
fn a_process_that_left_the_group_survives_the_timeout() {
    let sandbox = Sandbox::directory();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.nodes.set("/n", "content");
    let escaped = format!("echo $$ >> {}; {}", journal.path(), gate.pass());
    let action = format!("setsid sh -c '{escaped}' & sleep 1000");
    sandbox.config("app.twc", watch("/n", &exec(&action), r#"timeout: 1, description: "leaver""#));
    let daemon = sandbox.start();
    let pid = wait_for("the process to escape", || journal.lines().into_iter().next());
    daemon.wait_for_log(&["leaver", "time"]);
    assert!(Process::parse(&pid).is_alive());
    gate.open();
}

// "A command that cannot be started is an error of that run ..., never a crash, never a stuck watch."
#[test]
fn a_command_that_cannot_be_started_is_an_error_of_its_run_only() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let plain = sandbox.path("not-executable");
    std::fs::write(&plain, "echo never\n").expect("write a file");
    sandbox.nodes.set("/n", "1");
    let missing = sandbox.path("missing");
    let commands = [("missing", missing.display()), ("plain", plain.display())]
        .map(|(name, path)| (name, path.to_string()));
    let directory = ("directory", sandbox.root().display().to_string());
    let text: String = commands
        .iter()
        .chain([&directory])
        .map(|(name, path)| {
            watch("/n", &format!("Exec([{path:?}])"), &format!("description: \"the-{name}\""))
        })
        .collect();
    sandbox.config("app.twc", [text, watch("/n", &exec(&journal.record()), "")].concat());
    let mut daemon = sandbox.start();
    journal.wait_for(&["1"]);
    for name in ["the-missing", "the-plain", "the-directory"] {
        daemon.wait_for_log(&[name]);
    }
    daemon.wait_for_log(&["the-missing", "No such file"]);
    // Once the missing program is there, the next update runs it.
    let script = format!("#!/bin/sh\n{}\n", journal.note("repaired $(cat)"));
    sandbox.executable("missing", &script);
    sandbox.nodes.set("/n", "2");
    journal.wait_for_line("repaired 2");
    journal.wait_for_line("2");
    assert!(daemon.is_running());
}

// The log names the watch and the exit code of a failed run.
#[test]
fn a_failing_action_is_logged_and_the_next_update_runs() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    let action = format!("{}; exit 67", journal.record());
    sandbox.config("app.twc", watch("/n", &exec(&action), r#"description: "failing""#));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["failing", "67"]);
    sandbox.nodes.set("/n", "2");
    journal.wait_for(&["1", "2"]);
}

// An end by a signal is a failure, too.
#[test]
fn an_action_that_dies_by_a_signal_is_logged_and_the_next_update_runs() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    let action = format!("{}; kill -SEGV $$", journal.record());
    sandbox.config("app.twc", watch("/n", &exec(&action), r#"description: "crashing""#));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["crashing", "SIGSEGV"]);
    sandbox.nodes.set("/n", "2");
    journal.wait_for(&["1", "2"]);
}

// A paused machine, or a slow disk: the action ended well and in time, and the daemon looks only later.
#[test]
fn a_run_that_ended_while_the_daemon_stood_still_has_not_timed_out() {
    let sandbox = Sandbox::directory();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.nodes.set("/n", "1");
    let action = format!("{}; {}; exit 0", journal.note("pid $$"), gate.pass());
    let timeout = Duration::from_secs(8);
    let keys = format!("timeout: {}, description: \"quick\"", timeout.as_secs());
    sandbox.config("app.twc", watch("/n", &exec(&action), &keys));
    let begun = Instant::now();
    // A success is logged only then.
    let daemon = sandbox.daemon().arg("-v").start();
    let pid = journal.wait_for_line_where("the pid", |line| line.starts_with("pid "));
    let action = Process::parse(pid.trim_start_matches("pid "));
    daemon.signal(Signal::SIGSTOP);
    gate.open();
    wait_until("the action to end", || !action.is_alive());
    assert!(begun.elapsed() < timeout, "this machine is too slow to tell");
    wait_until("the timeout to pass", || begun.elapsed() > timeout + Duration::from_secs(2));
    daemon.signal(Signal::SIGCONT);
    let ended = daemon.wait_for_log(&["app.twc:quick run 1", " after "]);
    assert!(ended.contains("ended after") && !ended.contains("timeout"), "{ended}");
    assert_eq!(daemon.log_lines(&["timed out"]), [""; 0]);
}
