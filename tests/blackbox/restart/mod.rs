//! Restarts of the daemon: after a stop and after `kill -9`, no update is lost, and none runs twice.

mod orphans;

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Daemon, Journal, Sandbox, exec, on_every_store, python, wait_until, watch};

/// A watch on `/n` that journals the event and the content, and a watch on `/witness`. When the latter has
/// run for an update, the daemon has dealt with every earlier update of `/n`.
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

    /// Starts a daemon, waits until it has done what is pending, and stops it.
    fn run_once(&self) {
        let mut daemon = self.sandbox.daemon().arg("--debug").start();
        self.wait_until_settled(&daemon);
        assert_eq!(daemon.stop(), Some(0));
        assert_eq!(daemon.log_lines(&["ledger"]), [""; 0], "nothing is wrong with the ledger");
    }

    /// Sets `/n` and waits until the daemon has dealt with that.
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
on_every_store!(a_change_made_while_no_daemon_ran_runs_at_the_next_start);
fn a_change_made_while_no_daemon_ran_runs_at_the_next_start(sandbox: &Sandbox) {
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
}

// "A change made while the daemon was down runs at start", for a watch on children.
on_every_store!(a_child_that_came_while_no_daemon_ran_runs_at_the_next_start);
fn a_child_that_came_while_no_daemon_ran_runs_at_the_next_start(sandbox: &Sandbox) {
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
}

// "Nothing runs for nothing": the former daemon has already run for the re-creation.
on_every_store!(a_restart_after_a_recreation_runs_nothing);
fn a_restart_after_a_recreation_runs_nothing(sandbox: &Sandbox) {
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
}

// "a restart of an unchanged host runs nothing" with `run_on_load: CHANGED`; only `true` runs at every start.
on_every_store!(run_on_load_changed_runs_what_is_not_applied_in_this_definition);
fn run_on_load_changed_runs_what_is_not_applied_in_this_definition(sandbox: &Sandbox) {
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
}

// "what the ledger does not show as applied": a failed run does not count as applied.
on_every_store!(run_on_load_changed_runs_again_what_failed);
fn run_on_load_changed_runs_again_what_failed(sandbox: &Sandbox) {
    let it = Fixture::new(sandbox, "");
    it.define(&format!("{}; exit 1", it.journal.record_event()), "run_on_load: CHANGED");
    it.run_once();
    it.run_once();
    it.journal.wait_for(&["load 1", "load 1"]);
}

// Deployments remove files and put them back. What such a file has applied stays applied.
on_every_store!(run_on_load_changed_knows_a_watch_that_comes_back);
fn run_on_load_changed_knows_a_watch_that_comes_back(sandbox: &Sandbox) {
    let it = Fixture::new(sandbox, "run_on_load: CHANGED");
    let daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["app.twc-1", "ended"]);
    sandbox.remove_config("app.twc");
    daemon.wait_for_log(&["app.twc: removed"]);
    let was_observed = daemon.log_lines(&["/n: observed"]).len();
    it.define(&it.journal.record_event(), "run_on_load: CHANGED");
    wait_until("the file to be loaded again", || daemon.log_lines(&["app.twc", "loaded"]).len() == 2);
    // What is set before the node is observed is what the watch comes back to.
    wait_until("the node to be observed again", || daemon.log_lines(&["/n: observed"]).len() > was_observed);
    sandbox.nodes.set("/n", "2");
    it.journal.wait_for(&["load 1", "changed 2"]);
}

// "An action interrupted by a stop is pending and runs again." "TERM drains for `--stop-timeout`".
on_every_store!(an_action_that_a_stop_interrupted_runs_again);
fn an_action_that_a_stop_interrupted_runs_again(sandbox: &Sandbox) {
    let it = Fixture::new(sandbox, "");
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

// "nothing is marked applied that was not": the action ends with 0 because it got SIGTERM.
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

// "TERM drains for `--stop-timeout` (default 10 s)": an action that ends by itself in that time counts as
// run.
on_every_store!(an_action_that_ends_while_the_daemon_stops_has_run);
fn an_action_that_ends_while_the_daemon_stops_has_run(sandbox: &Sandbox) {
    let it = Fixture::new(sandbox, "");
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

/// Executes an SQL statement on the ledger and returns its result.
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
                // After this the ledger has the end of the run.
                it.wait_until_settled(&daemon);
                daemon.kill();
            }
            _ => assert_eq!(daemon.stop(), Some(0)),
        }
        it.run_once();
        assert_eq!(it.journal.lines(), so_far);
    }
}

// "`STOP` (the watch stops until its definition changes ...)": a restart changes no definition.
on_every_store!(a_watch_that_a_failure_stopped_stays_stopped_over_a_restart);
fn a_watch_that_a_failure_stopped_stays_stopped_over_a_restart(sandbox: &Sandbox) {
    let it = Fixture::new(sandbox, "");
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
    let why = ledger(sandbox, "select last_error from failing where failures = ?", 1);
    assert!(why.contains("exit code 1"), "{why:?}");
    it.define(&failing, "on_failure: STOP, timeout: 60");
    it.run_once();
    it.journal.wait_for(&["load 1", "load 3"]);
}

// "(excepted ... what `run_on_load: false` finds at its first load)": for another node it is a first load
// again.
on_every_store!(a_watch_that_moves_to_another_node_inherits_nothing);
fn a_watch_that_moves_to_another_node_inherits_nothing(sandbox: &Sandbox) {
    let it = Fixture::new(sandbox, "run_on_load: false");
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
    fs::write(sandbox.configs().join("twitcher.toml"), "stop_timeout = 0.1\n").expect("write settings");
    let mut daemon = sandbox.start();
    it.journal.wait_for(&["load 1"]);
    let told = Instant::now();
    assert_eq!(daemon.stop(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(8), "not the default: {:?}", told.elapsed());
}
