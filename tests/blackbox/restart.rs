//! What a daemon knows of the one before it: nothing lost, nothing twice, over a stop and over `kill -9`.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{
    Daemon, Gate, Journal, Process, Sandbox, exec, on_both_stores, python, wait_for, wait_until, watch,
};

const MODES: [&str; 2] = ["QUEUE", "DISCARD"];

/// A watch on `/n` that journals event and content, and one on `/witness` that runs at every start: when the
/// latter has run, the former has had its chance.
struct Fixture<'a> {
    sandbox: &'a Sandbox,
    journal: Journal,
    witness: Journal,
}

impl<'a> Fixture<'a> {
    fn new(sandbox: &'a Sandbox, keys: &str) -> Self {
        let (journal, witness) = (sandbox.journal(), sandbox.journal_named("witness"));
        sandbox.nodes.set("/n", "1");
        sandbox.nodes.set("/witness", "up");
        sandbox.config("witness.twc", watch("/witness", &exec(&witness.record()), ""));
        let it = Self { sandbox, journal, witness };
        it.define(&it.journal.record_event(), keys);
        it
    }

    fn define(&self, script: &str, keys: &str) {
        self.sandbox.config("app.twc", watch("/n", &exec(script), keys));
    }

    /// Starts a daemon, lets it do what it finds to do, and stops it.
    fn run_once(&self) {
        let mut daemon = self.sandbox.daemon().arg("--debug").start();
        self.wait_until_settled(&daemon);
        assert_eq!(daemon.stop(), Some(0));
        assert_eq!(daemon.log_lines(&["ledger"]), [""; 0], "the ledger is in order");
    }

    /// Sets `/n`, and waits until the daemon has dealt with that.
    fn set(&self, daemon: &Daemon, value: &str) {
        let observed = || daemon.log_lines(&["/n: observed"]).len();
        let so_far = observed();
        self.sandbox.nodes.set("/n", value);
        wait_until("the node to be observed", || observed() > so_far);
        self.wait_until_settled(daemon);
    }

    fn wait_until_settled(&self, daemon: &Daemon) {
        daemon.wait_for_log(&["/n", "observed"]);
        let so_far = self.witness.lines().len();
        self.sandbox.nodes.set("/witness", so_far.to_string());
        self.witness.wait_for_last(&so_far.to_string());
    }
}

// "A change made while the daemon was down runs at start, also with `run_on_load: false`."
#[test]
fn a_change_made_while_no_daemon_ran_runs_at_the_next_start() {
    on_both_stores(|sandbox| {
        let it = Fixture::new(sandbox, "run_on_load: false");
        it.run_once();
        it.journal.wait_for(&[]);
        sandbox.nodes.set("/n", "2");
        it.run_once();
        it.journal.wait_for(&["changed 2"]);
        sandbox.nodes.remove("/n");
        it.run_once();
        sandbox.nodes.set("/n", "2");
        it.run_once();
        it.journal.wait_for(&["changed 2", "created 2"]);
        it.run_once();
        it.journal.wait_for(&["changed 2", "created 2"]);
    });
}

// The same for children.
#[test]
fn a_child_that_came_while_no_daemon_ran_runs_at_the_next_start() {
    on_both_stores(|sandbox| {
        let it = Fixture::new(sandbox, "");
        sandbox.nodes.set("/members/one", "");
        let names = it.journal.note("$TWITCHER_EVENT $(tr '\\n' ' ')");
        let keys = "watch_type: WATCH_CHILDREN, run_on_load: false";
        let members = watch("/members", &exec(&names), keys);
        sandbox.config("app.twc", [watch("/n", &exec("true"), ""), members].concat());
        it.run_once();
        sandbox.nodes.set("/members/two", "");
        it.run_once();
        it.journal.wait_for(&["children one two "]);
        it.run_once();
        it.journal.wait_for(&["children one two "]);
    });
}

// "Nothing runs for nothing": also where the node was made anew under the daemon before.
#[test]
fn a_restart_after_a_recreation_runs_nothing() {
    on_both_stores(|sandbox| {
        for run_on_load in ["false", "CHANGED"] {
            let it = Fixture::new(sandbox, "");
            it.define(&it.journal.record_event(), &format!("run_on_load: {run_on_load}, timeout: 60"));
            let mut daemon = sandbox.daemon().arg("--debug").start();
            it.wait_until_settled(&daemon);
            sandbox.nodes.remove("/n");
            it.wait_until_settled(&daemon);
            sandbox.nodes.set("/n", "2");
            it.journal.wait_for_last("created 2");
            it.wait_until_settled(&daemon);
            assert_eq!(daemon.stop(), Some(0));
            let lines = it.journal.lines();
            it.run_once();
            assert_eq!(it.journal.lines(), lines);
        }
    });
}

// "a restart of an unchanged host runs nothing" with `run_on_load: CHANGED`; only `true` runs at every start.
#[test]
fn run_on_load_changed_runs_what_is_not_applied_in_this_definition() {
    on_both_stores(|sandbox| {
        let it = Fixture::new(sandbox, "run_on_load: CHANGED");
        it.run_once();
        it.run_once();
        it.journal.wait_for(&["load 1"]);
        sandbox.nodes.set("/n", "2");
        it.run_once();
        it.run_once();
        it.journal.wait_for(&["load 1", "load 2"]);
        it.define(&it.journal.record_event(), "run_on_load: CHANGED, timeout: 60");
        it.run_once();
        it.run_once();
        it.journal.wait_for(&["load 1", "load 2", "load 2"]);
        it.define(&it.journal.record_event(), "run_on_load: true");
        it.run_once();
        it.run_once();
        it.journal.wait_for(&["load 1", "load 2", "load 2", "load 2", "load 2"]);
    });
}

// "what the ledger does not show as applied": what failed is not.
#[test]
fn run_on_load_changed_runs_again_what_failed() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    it.define(&format!("{}; exit 1", it.journal.record_event()), "run_on_load: CHANGED");
    it.run_once();
    it.run_once();
    it.journal.wait_for(&["load 1", "load 1"]);
}

// A file that is taken away and put back, as deployments do, has still been applied.
#[test]
fn run_on_load_changed_knows_a_watch_that_comes_back() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "run_on_load: CHANGED");
    let daemon = sandbox.daemon().arg("--verbose").start();
    daemon.wait_for_log(&["app.twc-1", "ended"]);
    sandbox.remove_config("app.twc");
    daemon.wait_for_log(&["app.twc: removed"]);
    it.define(&it.journal.record_event(), "run_on_load: CHANGED");
    wait_until("the file to be loaded again", || daemon.log_lines(&["app.twc", "loaded"]).len() == 2);
    sandbox.nodes.set("/n", "2");
    it.journal.wait_for(&["load 1", "changed 2"]);
}

// "An action interrupted by a stop is pending and runs again." "TERM drains for `--stop-timeout`".
#[test]
fn an_action_that_a_stop_interrupted_runs_again() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let gate = sandbox.gate();
    let script = format!("{}; {}; {}", it.journal.note("begins"), gate.pass(), it.journal.record_event());
    it.define(&script, "run_on_load: CHANGED");
    let mut daemon = sandbox.daemon().args(["--stop-timeout", "0.2"]).start();
    it.journal.wait_for(&["begins"]);
    assert_eq!(daemon.stop(), Some(0));
    daemon.wait_for_log(&["app.twc-1", "sent SIGTERM"]);
    gate.open();
    it.run_once();
    it.run_once();
    it.journal.wait_for(&["begins", "begins", "load 1"]);
}

// "nothing is marked applied that was not": also where the action takes SIGTERM for a reason to end well.
#[test]
fn an_action_that_ends_well_because_it_is_told_to_runs_again() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let script = format!("trap 'exit 0' TERM; {}; while :; do sleep 0.05; done", it.journal.record_event());
    it.define(&script, "run_on_load: false");
    let mut daemon = sandbox.daemon().args(["--stop-timeout", "0"]).arg("--debug").start();
    it.wait_until_settled(&daemon);
    sandbox.nodes.set("/n", "2");
    it.journal.wait_for(&["changed 2"]);
    assert_eq!(daemon.stop(), Some(0));
    it.define(&it.journal.record_event(), "run_on_load: false");
    it.run_once();
    it.journal.wait_for(&["changed 2", "changed 2"]);
}

// "TERM drains for `--stop-timeout` (default 10 s)": what ends by itself in that time has run.
#[test]
fn an_action_that_ends_while_the_daemon_stops_has_run() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let gate = sandbox.gate();
    it.define(&format!("{}; {}", it.journal.record_event(), gate.pass()), "run_on_load: CHANGED");
    let mut daemon = sandbox.start();
    it.journal.wait_for(&["load 1"]);
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_log(&["stopping"]);
    gate.open();
    assert_eq!(daemon.wait_for_exit(), Some(0));
    it.run_once();
    it.journal.wait_for(&["load 1"]);
}

/// A daemon that was killed while its action ran with `1`, and lives on until `gate` opens.
fn killed_while_running(it: &Fixture<'_>, keys: &str) -> (Gate, Process) {
    let gate = it.sandbox.gate();
    let pid = it.sandbox.journal_named("pid");
    let script = format!(
        "content=$(cat); {}; {}; {}; {}",
        pid.note("$$"),
        it.journal.note("begins $content"),
        gate.pass(),
        it.journal.note("ends $content"),
    );
    it.define(&script, keys);
    let mut daemon = it.sandbox.start();
    it.journal.wait_for(&["begins 1"]);
    // Known to the ledger by its process, and not by its environment only.
    daemon.wait_for_log(&["app.twc-1", "started"]);
    it.sandbox.nodes.set("/witness", "once more");
    it.witness.wait_for_last("once more");
    daemon.kill();
    (gate, Process::parse(&pid.lines()[0]))
}

// "waits for it in QUEUE and DISCARD ... and then runs the latest content"
#[test]
fn an_action_that_outlives_its_killed_daemon_is_waited_for() {
    for mode in MODES {
        for run_on_load in ["true", "false", "CHANGED"] {
            let sandbox = Sandbox::directory();
            let it = Fixture::new(&sandbox, "");
            let keys = |run_on_load: &str| format!("run_mode: {mode}, run_on_load: {run_on_load}");
            // It runs first in any case.
            let (gate, orphan) = killed_while_running(&it, &keys("true"));
            let text = std::fs::read_to_string(sandbox.configs().join("app.twc")).expect("the config");
            sandbox.config("app.twc", text.replace(&keys("true"), &keys(run_on_load)));
            sandbox.nodes.set("/n", "2");
            let mut daemon = sandbox.daemon().arg("--debug").start();
            daemon.wait_for_log(&["app.twc-1", "still runs", &orphan.0.to_string()]);
            it.wait_until_settled(&daemon);
            it.set(&daemon, "3");
            it.journal.wait_for(&["begins 1"]);
            gate.open();
            it.journal.wait_for(&["begins 1", "ends 1", "begins 3", "ends 3"]);
            wait_until("it to have ended, for DISCARD", || {
                daemon.log_lines(&["app.twc-1", "ended after"]).len() == 1
            });
            // And nothing more.
            sandbox.nodes.set("/n", "4");
            it.journal.wait_for(&["begins 1", "ends 1", "begins 3", "ends 3", "begins 4", "ends 4"]);
            assert_eq!(daemon.stop(), Some(0));
        }
    }
}

// "not even across a restart or `kill -9`": of two daemons in a row, with a ledger that is lost in between.
#[test]
fn an_action_that_outlives_two_killed_daemons_and_their_ledger_is_waited_for() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let (gate, orphan) = killed_while_running(&it, "run_on_load: CHANGED");
    let mut daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["app.twc-1", "still runs"]);
    it.wait_until_settled(&daemon);
    for file in std::fs::read_dir(sandbox.state()).expect("the state directory") {
        std::fs::remove_file(file.expect("a file").path()).expect("remove it");
    }
    it.wait_until_settled(&daemon);
    daemon.wait_for_log(&["ledger", "a new one is begun"]);
    it.wait_until_settled(&daemon);
    daemon.kill();
    sandbox.nodes.set("/n", "2");
    let daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["app.twc-1", "still runs", &orphan.0.to_string()]);
    it.wait_until_settled(&daemon);
    it.journal.wait_for(&["begins 1"]);
    gate.open();
    it.journal.wait_for(&["begins 1", "ends 1", "begins 2", "ends 2"]);
}

// The same for one whose end nobody saw: "counts as interrupted".
#[test]
fn an_action_that_died_with_its_daemon_runs_again() {
    for run_on_load in ["false", "CHANGED"] {
        let sandbox = Sandbox::directory();
        let it = Fixture::new(&sandbox, "");
        let (gate, orphan) = killed_while_running(&it, "run_on_load: CHANGED");
        orphan.signal(Signal::SIGKILL);
        wait_until("the action to be gone", || !orphan.is_alive());
        let text = std::fs::read_to_string(sandbox.configs().join("app.twc")).expect("the config");
        sandbox.config("app.twc", text.replace("CHANGED", run_on_load));
        gate.open();
        it.run_once();
        it.run_once();
        it.journal.wait_for(&["begins 1", "begins 1", "ends 1"]);
    }
}

// "applies its timeout"
#[test]
fn an_action_that_outlives_its_killed_daemon_is_timed_out() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let (gate, orphan) = killed_while_running(&it, "timeout: 10");
    let daemon = sandbox.start();
    daemon.wait_for_log(&["app.twc-1", "still runs"]);
    daemon.wait_for_log(&["timed out, sent SIGTERM"]);
    wait_until("the action to be gone", || !orphan.is_alive());
    it.journal.wait_for(&["begins 1", "begins 1"]);
    assert_eq!(ledger(&sandbox, "select outcome from runs where pid = ?", orphan.0), "unknown");
    gate.open();
    it.journal.wait_for(&["begins 1", "begins 1", "ends 1"]);
}

/// Does this to the ledger, and returns what it gives.
fn ledger(sandbox: &Sandbox, statement: &str, parameter: i32) -> String {
    let path = sandbox.state().join("ledger.db");
    let script = format!(
        "import sqlite3\n\
         db = sqlite3.connect('{}')\n\
         for row in db.execute('{statement}', ({parameter},)): print(row[0], end='')\n\
         db.commit()",
        path.display()
    );
    python(&script)
}

// "its `TWITCHER_RUN_ID` only where no pid was recorded"
#[test]
fn an_action_whose_daemon_died_before_it_noted_the_process_is_found_by_its_run_id() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let (gate, orphan) = killed_while_running(&it, "");
    ledger(&sandbox, "update runs set pid = null, pid_started = null where pid = ?", orphan.0);
    let daemon = sandbox.start();
    daemon.wait_for_log(&["app.twc-1", "still runs", &orphan.0.to_string()]);
    gate.open();
    it.journal.wait_for(&["begins 1", "ends 1", "begins 1", "ends 1"]);
}

// "(boot id, pid and start time ...)": another process with its number, or of another boot, is not it.
#[test]
fn a_process_that_only_has_the_number_of_an_action_is_not_waited_for() {
    for forgery in ["boot = char(63)", "pid_started = pid_started + 1"] {
        let sandbox = Sandbox::directory();
        let it = Fixture::new(&sandbox, "");
        let (gate, orphan) = killed_while_running(&it, "");
        ledger(&sandbox, &format!("update runs set {forgery} where pid = ?"), orphan.0);
        let daemon = sandbox.start();
        daemon.wait_for_log(&["app.twc-1", "was interrupted by the end of its daemon"]);
        it.journal.wait_for(&["begins 1", "begins 1"]);
        gate.open();
        wait_until("both to end", || it.journal.count("ends 1") == 2);
    }
}

// The same for one whose watch is in no file any more, or in one that cannot be loaded: "One bad thing stays
// one bad thing."
#[test]
fn an_action_whose_config_is_gone_or_broken_is_timed_out_and_waited_for() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let (gate, orphan) = killed_while_running(&it, "run_on_load: true");
    let text = std::fs::read_to_string(sandbox.configs().join("app.twc")).expect("the config");
    sandbox.config("app.twc", "RegisterWatch(");
    let daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["app.twc", "Syntax error"]);
    sandbox.config("app.twc", &text);
    daemon.wait_for_log(&["app.twc", "loaded", "1 added"]);
    it.wait_until_settled(&daemon);
    assert!(orphan.is_alive());
    it.journal.wait_for(&["begins 1"]);
    gate.open();
    it.journal.wait_for(&["begins 1", "ends 1", "begins 1", "ends 1"]);
    drop(daemon);

    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let (_gate, orphan) = killed_while_running(&it, "timeout: 10");
    sandbox.remove_config("app.twc");
    let daemon = sandbox.start();
    daemon.wait_for_log(&["app.twc-1", "still runs"]);
    daemon.wait_for_log(&["timed out, sent SIGTERM"]);
    wait_until("the action to be gone", || !orphan.is_alive());
}

// "TERM drains for `--stop-timeout`, then TERM, then KILL to groups; nothing of ours is left behind": nor of
// the daemon's before.
#[test]
fn a_stop_leaves_nothing_behind() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let (_gate, orphan) = killed_while_running(&it, "");
    let pids = sandbox.journal_named("pids");
    let stubborn = format!("trap '' TERM; sleep 600 & {}; wait; sleep 600", pids.note("$$ $!"));
    sandbox.config("stubborn.twc", watch("/witness", &exec(&stubborn), ""));
    let mut daemon = sandbox.daemon().args(["--stop-timeout", "0.2"]).start();
    daemon.wait_for_log(&["app.twc-1", "still runs"]);
    let own = wait_for("the other action", || pids.lines().into_iter().next());
    assert_eq!(daemon.stop(), Some(0));
    let left: Vec<_> = own.split(' ').map(Process::parse).chain([orphan]).filter(|p| p.is_alive()).collect();
    assert!(left.is_empty(), "{left:?}");
    daemon.wait_for_log(&["stubborn.twc-1", "SIGKILL"]);
}

// "An update that DISCARD dropped does not come back by a restart."
#[test]
fn what_discard_ignored_does_not_come_back_by_a_restart() {
    for (run_on_load, how) in [("false", Signal::SIGTERM), ("CHANGED", Signal::SIGKILL)] {
        let sandbox = Sandbox::directory();
        let it = Fixture::new(&sandbox, "");
        let gate = sandbox.gate();
        let script = format!("{}; {}", it.journal.record_event(), gate.pass());
        let keys = |run_on_load| format!("run_mode: DISCARD, run_on_load: {run_on_load}");
        it.define(&script, &keys(run_on_load));
        let mut daemon = sandbox.daemon().arg("--debug").start();
        it.wait_until_settled(&daemon);
        it.set(&daemon, "2");
        daemon.wait_for_log(&["app.twc-1", "started"]);
        it.set(&daemon, "3");
        daemon.wait_for_log(&["ignored"]);
        gate.open();
        daemon.wait_for_log(&["app.twc-1", "ended"]);
        let so_far = it.journal.lines();
        match how {
            Signal::SIGKILL => {
                // By then the ledger has the end.
                it.wait_until_settled(&daemon);
                daemon.kill();
            }
            _ => assert_eq!(daemon.stop(), Some(0)),
        }
        it.run_once();
        assert_eq!(it.journal.lines(), so_far);
    }
}

// "`STOP` (the watch stops until its definition changes ...)": a restart is no change.
#[test]
fn a_watch_that_a_failure_stopped_stays_stopped_over_a_restart() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    let failing = format!("{}; exit 1", it.journal.record_event());
    it.define(&failing, "on_failure: STOP");
    it.run_once();
    sandbox.nodes.set("/n", "2");
    it.run_once();
    it.journal.wait_for(&["load 1"]);
    let mut daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["app.twc-1", "stays stopped"]);
    sandbox.nodes.set("/n", "3");
    it.wait_until_settled(&daemon);
    assert_eq!(daemon.stop(), Some(0));
    let why = ledger(&sandbox, "select last_error from failing where failures = ?", 1);
    assert!(why.contains("exit code 1"), "{why:?}");
    it.define(&failing, "on_failure: STOP, timeout: 60");
    it.run_once();
    it.journal.wait_for(&["load 1", "load 3"]);
}

// "(excepted ... what `run_on_load: false` finds at its first load)": another node is another first load.
#[test]
fn a_watch_on_another_node_does_not_inherit_what_was_seen() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "run_on_load: false");
    it.run_once();
    sandbox.nodes.set("/other", "other");
    sandbox.config("app.twc", watch("/other", &exec(&it.journal.record_event()), "run_on_load: false"));
    let daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["/other", "observed"]);
    sandbox.nodes.set("/other", "new");
    it.journal.wait_for(&["changed new"]);
}

// "--stop-timeout (default 10 s)": the flag, or `stop_timeout` in twitcher.toml.
#[test]
fn the_stop_timeout_can_be_set_in_the_settings_file() {
    let sandbox = Sandbox::directory();
    let it = Fixture::new(&sandbox, "");
    it.define(&format!("{}; sleep 600", it.journal.record_event()), "");
    std::fs::write(sandbox.configs().join("twitcher.toml"), "stop_timeout = 0.1\n").expect("write settings");
    let mut daemon = sandbox.start();
    it.journal.wait_for(&["load 1"]);
    let told = Instant::now();
    assert_eq!(daemon.stop(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(8), "not the default: {:?}", told.elapsed());
}
