//! Actions and files by which somebody else decides how long a start, or the end of an action, takes. Only
//! their own watch waits.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use nix::libc::{ENOSYS, SYS_pidfd_open};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{
    Daemon, Gate, Journal, Process, Sandbox, command, exec, require_root, wait_for, wait_until, watch,
};
use crate::kernel::start_without;

/// Debian's Python, which every user can execute.
const PYTHON: &str = "/usr/bin/python3";

/// Stops a traced process when it ends, also by SIGKILL; from ptrace(2).
const PTRACE_O_TRACEEXIT: u32 = 0x40;

/// A sandbox with a watch on `/other`, which must not notice anything.
struct Scene {
    sandbox: Sandbox,
    other: Journal,
    gate: Gate,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        require_root();
        let sandbox = Sandbox::directory();
        sandbox.executable("hold.py", include_str!("hold.py"));
        sandbox.nodes.set("/other", "zero");
        let (other, gate) = (sandbox.journal_named("other"), sandbox.gate_named("held"));
        let keys = r#"description: "other", run_on_load: CHANGED"#;
        sandbox.config("other.twc", watch("/other", &exec(&other.record()), keys));
        Self { sandbox, other, gate }
    }

    fn path(&self, name: &str) -> String {
        self.sandbox.path(name).to_str().expect("temporary paths are UTF-8").to_owned()
    }

    /// A program that records its stdin.
    fn program(&self, journal: &Journal) -> String {
        self.sandbox.executable("program", &format!("#!/bin/sh\n{}\n", journal.record()));
        self.path("program")
    }

    /// Starts a daemon, and waits until both watches have nothing to do.
    #[track_caller]
    fn start(&self) -> Daemon {
        let daemon = self.sandbox.start();
        wait_until("both watches to be idle", || {
            let status = self.sandbox.operator(["status"]).finish();
            status.code == Some(0) && status.text().matches("idle").count() == 2
        });
        daemon
    }

    /// The words of a command that runs `hold.py`.
    fn hold(&self, what: &str, more: &str) -> Vec<String> {
        let words = [PYTHON, &self.path("hold.py"), what, &self.path("held")].map(str::to_owned);
        words.into_iter().chain((!more.is_empty()).then(|| more.to_owned())).collect()
    }

    /// Runs `hold.py` until the gate opens. Returns when it is ready.
    fn start_hold(&self, what: &str, more: &str) -> Child {
        let words = self.hold(what, more);
        let mut child =
            command(&words[0]).args(&words[1..]).stdout(Stdio::piped()).spawn().expect("start python");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut ready).expect("read");
        assert_eq!(ready, "ready\n");
        child
    }

    /// Panics unless the daemon runs another watch's action and answers.
    #[track_caller]
    fn assert_others_go_on(&self, content: &str) {
        self.sandbox.nodes.set("/other", content);
        self.other.wait_for_last(content);
        self.sandbox.operator(["status"]).finish().expect(0);
    }

    /// The last run of a watch, as the history tells it.
    fn last_run(&self, watch: &str) -> Option<Value> {
        let history = self.sandbox.operator(["history", watch, "--json"]).finish().expect(0).text();
        history.lines().next().map(|line| serde_json::from_str(line).expect("a JSON object a line"))
    }
}

/// A child of this daemon that has not executed its program, and shares the daemon's memory.
fn starting_child(daemon: &Daemon) -> Option<Process> {
    let has_its_words = |child: &Process| {
        let words = fs::read(format!("/proc/{}/cmdline", child.0)).unwrap_or_default();
        String::from_utf8_lossy(&words).contains("--state-dir")
    };
    daemon.process().children().into_iter().find(has_its_words)
}

/// The processes of this daemon that nobody has reaped.
fn zombies(daemon: &Daemon) -> Vec<Process> {
    daemon.process().children().into_iter().filter(|child| !child.is_alive()).collect()
}

// "an action whose end another process hides is `unknown` and over within a second"
#[test]
fn a_tracer_that_hides_the_end_of_an_action_holds_up_neither_the_daemon_nor_its_watch() {
    a_hidden_end_holds_up_nobody(Sandbox::start);
}

// The same, where only /proc tells that the action has ended.
#[test]
fn a_tracer_holds_up_nobody_either_on_a_kernel_without_pidfd_open() {
    a_hidden_end_holds_up_nobody(|sandbox| start_without(sandbox, &[(SYS_pidfd_open, ENOSYS)]));
}

#[track_caller]
fn a_hidden_end_holds_up_nobody(start: impl Fn(&Sandbox) -> Daemon) {
    let it = Scene::new();
    let action = format!("Exec({:?})", it.hold("traced", ""));
    it.sandbox.nodes.set("/n", "1");
    it.sandbox.config("app.twc", watch("/n", &action, r#"description: "traced", uid: "nobody""#));
    let mut daemon = start(&it.sandbox);
    daemon.wait_for_log(&["app.twc:traced", "has ended", "cannot be read: process", "traces it"]);
    it.assert_others_go_on("one");
    let last = wait_for("the run in the history", || it.last_run("traced"));
    assert_eq!(last["outcome"], "unknown", "{last}");
    // The run is over, so that the next one starts.
    it.sandbox.nodes.set("/n", "2");
    wait_until("the next run", || daemon.log_lines(&["app.twc:traced", "started"]).len() == 2);
    wait_until("its end", || daemon.log_lines(&["app.twc:traced", "traces it"]).len() == 2);
    assert!(!zombies(&daemon).is_empty());
    it.gate.open();
    wait_until("all processes to be reaped", || zombies(&daemon).is_empty());
    assert_eq!(daemon.stop(), Some(0));
}

// "a process that outlives SIGKILL is said once; its own watch waits for it, and nobody else"
#[test]
fn an_action_that_cannot_be_killed_holds_up_its_own_watch_alone_and_not_the_end_of_the_daemon() {
    let it = Scene::new();
    let action = format!("Exec({:?})", it.hold("traced", &PTRACE_O_TRACEEXIT.to_string()));
    it.sandbox.nodes.set("/n", "1");
    let keys = r#"description: "undead", uid: "nobody", timeout: 0.5"#;
    it.sandbox.config("app.twc", watch("/n", &action, keys));
    let mut daemon = it.sandbox.start();
    daemon.wait_for_log(&["app.twc:undead", "after SIGKILL", "traces it"]);
    it.assert_others_go_on("one");
    it.sandbox.nodes.set("/n", "2");
    it.assert_others_go_on("two");
    assert_eq!(daemon.log_lines(&["app.twc:undead", "started"]).len(), 1, "never two at once");
    assert_eq!(daemon.log_lines(&["app.twc:undead", "after SIGKILL"]).len(), 1, "said once");
    assert_eq!(daemon.stop(), Some(0));
    // The next daemon waits for it as well.
    let daemon = it.sandbox.start();
    daemon.wait_for_log(&["app.twc:undead", "still runs"]);
    it.assert_others_go_on("three");
    assert!(daemon.log_lines(&["app.twc:undead", "started"]).is_empty(), "never two at once");
    it.gate.open();
    daemon.wait_for_log(&["app.twc:undead", "started"]);
}

// "a start that hangs stalls its own watch alone, and is given up"
#[test]
fn a_start_that_hangs_stalls_its_own_watch_alone_and_is_given_up() {
    // The second shares the daemon's memory until it executes its program.
    for user in [r#"uid: "nobody","#, ""] {
        let it = Scene::new();
        let ran = it.sandbox.journal();
        let program = it.program(&ran);
        let action = format!("Exec([{program:?}])");
        let keys = format!(r#"{user} description: "leased", run_on_load: false"#);
        it.sandbox.config("app.twc", watch("/n", &action, &keys));
        it.sandbox.nodes.set("/n", "0");
        let daemon = it.start();
        let mut lease = it.start_hold("lease", &program);
        it.sandbox.nodes.set("/n", "1");
        it.assert_others_go_on("one");
        let said = daemon.wait_for_log(&["app.twc:leased", "could not be started within"]);
        assert!(said.contains("executing its program hangs"), "{said}");
        it.assert_others_go_on("two");
        // It may be tried again already.
        wait_until("the run in the history", || {
            let history = it.sandbox.operator(["history", "leased", "--json"]).finish().expect(0).text();
            history.contains(r#""outcome":"not_started""#)
        });
        it.gate.open();
        lease.wait().expect("wait for python");
        it.sandbox.nodes.set("/n", "2");
        // The first update, which was put off, may be tried again before the store reports the second one.
        let lines = ran.wait_for_last("2");
        assert!(lines == ["2"] || lines == ["1", "2"], "{lines:?}");
        wait_until("all processes to be reaped", || zombies(&daemon).is_empty());
    }
}

// "The longest time that one run may take, from when its program executes"
#[test]
fn a_start_that_takes_longer_than_the_timeout_takes_nothing_from_it() {
    let it = Scene::new();
    let ran = it.sandbox.journal();
    let program = it.program(&ran);
    let keys = r#"description: "leased", run_on_load: false, timeout: 1.5"#;
    it.sandbox.config("app.twc", watch("/n", &format!("Exec([{program:?}])"), keys));
    it.sandbox.nodes.set("/n", "0");
    let daemon = it.start();
    let mut lease = it.start_hold("lease", &program);
    it.sandbox.nodes.set("/n", "1");
    wait_until("the start to take 2 s", || {
        let status = it.sandbox.operator(["status", "--json"]).finish().expect(0).text();
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let runs = status["watches"].as_array().into_iter().flatten().filter_map(|it| it["runs"].as_array());
        runs.flatten().any(|run| run["seconds"].as_f64() > Some(2.0) && run["pid"].is_null())
    });
    it.gate.open();
    lease.wait().expect("wait for python");
    ran.wait_for(&["1"]);
    let outcome = || it.last_run("leased").map(|last| last["outcome"].clone()).filter(|it| it != "running");
    assert_eq!(wait_for("its end", outcome), "success");
    assert!(daemon.log_lines(&["timed out"]).is_empty());
}

// A start that hangs, and whose process the kernel does not let go when it is killed: "further starts of this
// watch are put off", and the update is not lost.
#[test]
fn a_start_that_cannot_be_killed_stalls_its_own_watch_alone_and_puts_its_next_starts_off() {
    let it = Scene::new();
    let ran = it.sandbox.journal();
    let action = format!("Exec([{:?}])", it.program(&ran));
    it.sandbox.nodes.set("/n", "0");
    it.sandbox.config("app.twc", watch("/n", &action, r#"description: "leased", run_on_load: false"#));
    let daemon = it.start();
    let mut lease = it.start_hold("lease", &it.path("program"));
    it.sandbox.nodes.set("/n", "1");
    let child = wait_for("the child", || starting_child(&daemon));
    let mut tracer = it.start_hold("traces", &child.0.to_string());
    daemon.wait_for_log(&["app.twc:leased", "could not be started within 1", "executing its program hangs"]);
    assert!(child.is_alive());
    it.assert_others_go_on("one");
    // Its program was never executed, so the same update is put off.
    daemon.wait_for_log(&["app.twc:leased", "postponed"]);
    daemon.wait_for_log(&["app.twc:leased", "an earlier start of this watch still hangs"]);
    it.assert_others_go_on("two");
    it.gate.open();
    lease.wait().expect("wait for python");
    tracer.wait().expect("wait for python");
    ran.wait_for(&["1"]);
    wait_until("all processes to be reaped", || zombies(&daemon).is_empty());
}

// "the daemon's end does not wait for a start that hangs", and the next daemon runs what it did not
#[test]
fn a_start_that_hangs_does_not_hold_up_the_end_of_the_daemon() {
    let it = Scene::new();
    let ran = it.sandbox.journal();
    let program = it.program(&ran);
    it.sandbox.config("app.twc", watch("/n", &format!("Exec([{program:?}])"), r#"description: "leased""#));
    it.sandbox.nodes.set("/n", "1");
    let mut lease = it.start_hold("lease", &program);
    let mut daemon = it.sandbox.start();
    daemon.wait_for_log(&["configs loaded"]);
    wait_until("the start", || it.sandbox.operator(["status"]).finish().expect(0).text().contains("running"));
    assert_eq!(daemon.stop(), Some(0));
    assert!(daemon.log_lines(&["could not be started"]).is_empty(), "it did not wait until it gave up");
    assert!(ran.lines().is_empty());
    it.gate.open();
    lease.wait().expect("wait for python");
    let _daemon = it.sandbox.start();
    ran.wait_for(&["1"]);
}

// "a program that somebody writes to is put off, and the update is not lost"
#[test]
fn a_program_that_somebody_has_open_for_writing_is_put_off() {
    let it = Scene::new();
    let ran = it.sandbox.journal();
    let program = it.program(&ran);
    it.sandbox.config("app.twc", watch("/n", &format!("Exec([{program:?}])"), r#"description: "written""#));
    it.sandbox.nodes.set("/n", "1");
    let mut writer = it.start_hold("writes", &program);
    let daemon = it.sandbox.start();
    daemon.wait_for_log(&["app.twc:written", "postponed"]);
    it.gate.open();
    writer.wait().expect("wait for python");
    ran.wait_for(&["1"]);
}

// "Never two at once ... not even across `kill -9`": the action has no environment by which it could be
// found, and kills the daemon before the ledger can know its process.
#[test]
fn an_action_without_environment_is_found_by_the_next_daemon_however_early_this_one_dies() {
    let it = Scene::new();
    let begun = it.sandbox.journal();
    let script = format!("kill -9 $PPID; {}; {}", begun.note("$$"), it.gate.pass());
    let action = format!("Exec([\"/usr/bin/env\", \"-i\", \"/bin/sh\", \"-c\", {script:?}])");
    it.sandbox.nodes.set("/n", "1");
    it.sandbox.config("app.twc", watch("/n", &action, r#"description: "murderer", run_on_load: CHANGED"#));
    let mut daemon = it.sandbox.start();
    for round in 1..=10 {
        daemon.wait_for_end();
        wait_until("the action", || begun.lines().len() == round);
        let orphan = Process::parse(&begun.lines()[round - 1]);
        daemon = it.sandbox.start();
        daemon.wait_for_log(&["app.twc:murderer", "still runs", &orphan.0.to_string()]);
        it.assert_others_go_on(&round.to_string());
        assert_eq!(begun.lines().len(), round, "never two at once");
        // Its update runs again, and kills this daemon too.
        orphan.signal(Signal::SIGKILL);
    }
    daemon.wait_for_end();
    wait_until("the last action", || begun.lines().len() == 11);
    Process::parse(&begun.lines()[10]).signal(Signal::SIGKILL);
    assert!(fs::metadata(it.sandbox.state().join("starts")).is_ok_and(|file| file.len() > 0));
}

// A lease on an output file: "named in the error", its own watch waits, and the update is not lost.
#[test]
fn a_lease_on_an_output_file_is_named_and_stalls_its_own_watch_alone() {
    let it = Scene::new();
    let output = it.sandbox.executable("output", "").to_str().expect("UTF-8").to_owned();
    let keys = format!("description: \"leased\", run_on_load: false, output: {output:?}");
    it.sandbox.config("app.twc", watch("/n", &exec("cat"), &keys));
    it.sandbox.nodes.set("/n", "0");
    let daemon = it.start();
    let mut lease = it.start_hold("lease", &output);
    it.sandbox.nodes.set("/n", "1");
    daemon.wait_for_log(&["app.twc:leased", "output /", "holds a lease on it (/proc/locks)"]);
    daemon.wait_for_log(&["app.twc:leased", "postponed"]);
    it.assert_others_go_on("one");
    it.gate.open();
    lease.wait().expect("wait for python");
    wait_until("the output", || it.sandbox.read_text("output") == "1");
}

// "The longest time that one run may take, from when its program executes", also for the next daemon, which
// only sees when the process was made.
#[test]
fn a_start_that_hung_takes_nothing_from_the_timeout_of_an_orphan_either() {
    let it = Scene::new();
    let times = it.sandbox.journal();
    let note = format!("read -r up _ < /proc/uptime; echo $up >> {}", times.path());
    let script = format!("#!/bin/sh\ntrap '{note}; exit' TERM\n{note}\nwhile :; do sleep 0.1; done\n");
    let program = it.sandbox.executable("program", &script).to_str().expect("UTF-8").to_owned();
    let keys = r#"description: "leased", run_on_load: false, timeout: 7"#;
    it.sandbox.config("app.twc", watch("/n", &format!("Exec([{program:?}])"), keys));
    it.sandbox.nodes.set("/n", "0");
    let mut daemon = it.start();
    let mut lease = it.start_hold("lease", &program);
    it.sandbox.nodes.set("/n", "1");
    wait_until("the start to take 6 s", || {
        let status = it.sandbox.operator(["status", "--json"]).finish().expect(0).text();
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let runs = status["watches"].as_array().into_iter().flatten().filter_map(|it| it["runs"].as_array());
        runs.flatten().any(|run| run["seconds"].as_f64() > Some(6.0))
    });
    it.gate.open();
    lease.wait().expect("wait for python");
    wait_until("the action", || times.lines().len() == 1);
    // Now the ledger knows its process.
    it.assert_others_go_on("one");
    daemon.kill();
    let daemon = it.sandbox.start();
    daemon.wait_for_log(&["app.twc:leased", "still runs"]);
    wait_until("its timeout", || times.lines().len() == 2);
    let times: Vec<f64> = times.lines().iter().map(|line| line.parse().expect("a number")).collect();
    // Counted from the fork, it would be 1 s.
    assert!(times[1] - times[0] > 4.0, "{times:?}");
}
