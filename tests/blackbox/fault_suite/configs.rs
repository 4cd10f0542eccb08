//! Configs that are read again and again, and configs that are removed while their action runs.

use std::fs::File;
use std::time::SystemTime;

use nix::sys::signal::Signal;

use crate::harness::{Daemon, Journal, Process, Sandbox, exec, load, wait_for, wait_until, watch};

// "Nothing runs for nothing. A ... reload of an unchanged watch starts no action. One change starts one run
// at most".
#[test]
fn a_hundred_reloads_start_nothing_and_the_change_after_them_starts_one_run() {
    let sandbox = Sandbox::zookeeper();
    let (journal, seen) = (sandbox.journal(), sandbox.journal_named("seen"));
    for node in ["/n", "/marker"] {
        sandbox.nodes.set(node, "old");
    }
    let (names, text) = unchanging(&journal);
    sandbox.config("app.twc", &text);
    let daemon = sandbox.start();
    // The daemon handles signals now, and it has loaded everything for the first time.
    daemon.wait_for_log(&["configs loaded"]);
    for round in 0..load(24, 100) {
        reload(&sandbox, &daemon, round, &text);
        // When the daemon has loaded the new marker, it has also looked at the other file.
        let marker = seen.note(&round.to_string());
        sandbox.config("marker.twc", watch("/marker", &exec(&marker), ""));
        seen.wait_for_line(&round.to_string());
    }
    let hangups = daemon.log_lines(&["SIGHUP"]).len();
    assert_eq!(hangups, load(6, 25), "every fourth reload");
    for content in ["new", "after"] {
        sandbox.nodes.set("/n", content);
        names.iter().for_each(|name| journal.wait_for_line(&format!("{name} {content}")));
    }
    let runs = |name: &&str| ["old", "new"].map(|content| journal.count(&format!("{name} {content}")));
    let expected = [[1, 1], [1, 1], [1, 1], [0, 1]];
    assert_eq!(names.iter().map(runs).collect::<Vec<_>>(), expected, "{:?}", journal.lines());
}

/// Watches with every kind of action and their names.
fn unchanging(journal: &Journal) -> ([&'static str; 4], String) {
    let noting = |name: &str| exec(&journal.note(&format!("{name} $(cat)")));
    let function =
        format!(r#"|event| run(["sh", "-c", "echo function " + event.text + " >> {}"])"#, journal.path());
    let watches = [
        watch("/n", &noting("queue"), "timeout: 60, retry: #{ attempts: 3, delay: 1 }"),
        watch("/n", &noting("parallel"), "run_mode: PARALLEL, max_parallel: 3"),
        watch("/n", &function, r#"description: "function""#),
        watch("/n", &noting("quiet"), "run_on_load: false"),
    ];
    (["queue", "parallel", "function", "quiet"], watches.concat())
}

/// Makes the daemon look at the file again, without a change of a watch.
fn reload(sandbox: &Sandbox, daemon: &Daemon, round: usize, text: &str) {
    match round % 4 {
        0 => daemon.signal(Signal::SIGHUP),
        1 => sandbox.config("app.twc", text),
        2 => sandbox.config("app.twc", format!("// Round {round}.\n{text}")),
        _ => {
            let file = File::options().append(true).open(sandbox.configs().join("app.twc"));
            file.and_then(|file| file.set_modified(SystemTime::now())).expect("touch the file");
        }
    }
}

// "a removed file removes its watches; a running action of a removed ... watch runs to its end", and its
// timeout still holds: "then SIGTERM, and SIGKILL 5 s later".
#[test]
fn an_action_whose_config_is_gone_is_timed_out_killed_and_reaped_all_the_same() {
    // On a busy machine the timeout may come before the daemon has noticed the removal, so longer ones are
    // tried.
    let gone_first = [1, 5, 25].into_iter().any(times_out_after_its_config_is_gone);
    assert!(gone_first, "the daemon did not notice in 25 s that the file is gone");
}

/// Returns whether the daemon noticed the removal before the timeout.
fn times_out_after_its_config_is_gone(timeout: u32) -> bool {
    let sandbox = Sandbox::zookeeper();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.nodes.set("/n", "content");
    let stubborn =
        format!("trap 'echo term >> {}' TERM; {}; {}", journal.path(), journal.note("$$"), gate.pass());
    sandbox.config("app.twc", watch("/n", &exec(&stubborn), &format!("timeout: {timeout}")));
    let daemon = sandbox.start();
    let leader = Process::parse(&wait_for("the action to run", || journal.lines().into_iter().next()));
    sandbox.remove_config("app.twc");
    daemon.wait_for_log(&["app.twc: removed"]);
    let gone_first = daemon.log_lines(&["timed out"]).is_empty();
    daemon.wait_for_log(&["app.twc-1 run", "timed out, sent SIGTERM"]);
    journal.wait_for_line("term");
    daemon.wait_for_log(&["app.twc-1 run", "sent SIGKILL"]);
    daemon.wait_for_log(&["app.twc-1 run", "killed by SIGKILL"]);
    assert!(!leader.is_alive());
    wait_until("all children to be gone, also as zombies", || daemon.process().children().is_empty());
    // A new watch of the same name does not wait for the old action.
    sandbox.config("app.twc", watch("/n", &exec(&journal.note("again")), ""));
    journal.wait_for_last("again");
    gone_first
}
