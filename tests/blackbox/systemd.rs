//! Tests of what the daemon tells systemd (sd_notify(3)), and that no other process gets systemd's variables.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};

use crate::harness::{
    Daemon, Message, Notify, Sandbox, Twitcher, exec, require_root, wait, wait_for, wait_until, watch,
};

/// The command that runs the daemon of the sandbox, and the service manager that it notifies.
fn managed(sandbox: &Sandbox) -> (Notify, Twitcher) {
    let notify = Notify::at(&sandbox.path("notify"));
    let daemon = sandbox.daemon().env("NOTIFY_SOCKET", notify.name());
    (notify, daemon)
}

/// A sandbox in which `/n` contains `content`, with a watch that runs `script` at each change of it.
fn sandbox(script: &str) -> Sandbox {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    sandbox.config("app.twc", watch("/n", &exec(script), "run_on_load: false"));
    sandbox
}

// "READY=1: Tells the service manager that service startup is finished": each config is loaded or has failed.
#[test]
fn it_is_ready_when_the_configs_are_loaded_and_not_before() {
    let sandbox = sandbox("true");
    // The daemon gives this config up after two seconds, which include the start of the evaluator.
    sandbox.config("endless.twc", "loop {}");
    let (notify, daemon) = managed(&sandbox);
    let began = Instant::now();
    let daemon = daemon.start();
    let ready = notify.wait_for_stage(1, "READY");
    assert!(ready.at - began >= Duration::from_secs(1), "{:?} after the start", ready.at - began);
    assert_eq!(
        notify.status_at(&ready).as_deref(),
        Some("1 watch, 0 running, 0 failing; store connected"),
        "the status comes with READY or before it"
    );
    daemon.wait_for_log(&["endless.twc", "did not end"]);
}

// "and the store was tried": the daemon is ready also if the store is away, because other watches may work.
#[test]
fn it_is_ready_when_the_store_was_tried_and_not_before() {
    let sandbox = sandbox("true");
    // This server accepts connections and never replies.
    let silent = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = silent.local_addr().expect("an address");
    let notify = Notify::at(&sandbox.path("notify"));
    let daemon = sandbox.daemon_on(&format!("zk://{address}")).args(["--session-timeout", "3"]);
    let began = Instant::now();
    let daemon = daemon.env("NOTIFY_SOCKET", notify.name()).start();
    daemon.wait_for_log(&["configs loaded: 1 watch"]);
    let ready = notify.wait_for_stage(1, "READY");
    // A server has three fifths of the session timeout to reply.
    assert!(ready.at - began >= Duration::from_secs(1), "{:?} after the start", ready.at - began);
    assert_eq!(
        notify.status_at(&ready).as_deref(),
        Some("1 watch, 0 running, 0 failing; store not connected")
    );
    daemon.wait_for_log(&["store: not connected"]);
}

/// The time of the clock that `MONOTONIC_USEC` is read from.
fn microseconds() -> u64 {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock"));
    now.as_micros().try_into().expect("not that long")
}

// "RELOADING=1: ... when the service manager ... reloading its configuration", with "MONOTONIC_USEC="; "Once
// reloading is complete another notification message must be sent, containing READY=1".
#[test]
fn a_reload_is_announced_and_ends_when_its_configs_are_loaded() {
    let sandbox = sandbox("true");
    let (notify, daemon) = managed(&sandbox);
    let daemon = daemon.start();
    notify.wait_for_stage(1, "READY");
    for round in 1..=5 {
        let before = microseconds();
        sandbox.config(&format!("new{round}.twc"), watch("/n", &exec("true"), "run_on_load: false"));
        daemon.signal(Signal::SIGHUP);
        let reloading = notify.wait_for_stage(2 * round, "RELOADING");
        let time: u64 = reloading.value("MONOTONIC_USEC").expect("a time").parse().expect("a number");
        assert!((before..=microseconds()).contains(&time), "{time} after {before}");
        let ready = notify.wait_for_stage(2 * round + 1, "READY");
        let watches = 1 + round;
        assert_eq!(
            notify.status_at(&ready),
            Some(format!("{watches} watches, 0 running, 0 failing; store connected"))
        );
    }
}

// Systemd waits for the READY that follows the RELOADING with the newest time.
#[test]
fn of_many_reloads_at_once_the_last_ready_comes_after_all() {
    let sandbox = sandbox("true");
    let (notify, daemon) = managed(&sandbox);
    let daemon = daemon.start();
    notify.wait_for_stage(1, "READY");
    let last = 30;
    for round in 1..=last {
        sandbox.config(&format!("new{round}.twc"), watch("/n", &exec("true"), "run_on_load: false"));
        let before = microseconds();
        daemon.signal(Signal::SIGHUP);
        let is_newer = |message: Message| {
            let time = message.value("MONOTONIC_USEC").and_then(|time| time.parse::<u64>().ok());
            time.is_some_and(|time| time >= before)
        };
        wait_until("the reload to be told", || notify.heard().into_iter().any(is_newer));
    }
    wait_until("the last reload to end", || notify.stages().last() == Some(&"READY"));
    let stages = notify.stages();
    assert_eq!(stages.iter().filter(|stage| **stage == "RELOADING").count(), last);
    let ready = notify.wait_for_stage(stages.len(), "READY");
    let watches = 1 + last;
    let expected = format!("{watches} watches, 0 running, 0 failing; store connected");
    assert_eq!(notify.status_at(&ready), Some(expected));
}

// "STOPPING=1: Tells the service manager that the service is beginning its shutdown."
#[test]
fn a_stop_is_announced_at_its_first_signal_and_nothing_after_it() {
    let sandbox = Sandbox::directory();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.nodes.set("/n", "content");
    let action = format!("{}; {}", journal.note("runs"), gate.pass());
    sandbox.config("app.twc", watch("/n", &exec(&action), ""));
    let notify = Notify::abstract_at(&format!("twitcher-test-{}-stop", std::process::id()));
    let mut daemon = sandbox.daemon().env("NOTIFY_SOCKET", notify.name()).start();
    notify.wait_for_stage(1, "READY");
    journal.wait_for(&["runs"]);
    daemon.signal(Signal::SIGTERM);
    notify.wait_for_stage(2, "STOPPING");
    assert!(daemon.is_running(), "its action runs");
    daemon.signal(Signal::SIGHUP);
    daemon.signal(Signal::SIGINT);
    daemon.wait_for_exit();
    assert_eq!(notify.stages(), ["READY", "STOPPING"]);
}

// "STATUS=: Passes a single-line UTF-8 status string back to the service manager that describes the service
// state."
#[test]
fn the_status_counts_watches_running_and_failing() {
    let sandbox = Sandbox::directory();
    let gate = sandbox.gate();
    sandbox.nodes.set("/n", "content");
    let text = [
        watch("/n", &exec("true"), ""),
        watch("/n", &exec(&format!("{}; exit 1", gate.pass())), ""),
        watch("/n", &exec("[ $TWITCHER_EVENT != load ]"), "on_failure: STOP"),
    ];
    sandbox.config("app.twc", text.concat());
    let (notify, daemon) = managed(&sandbox);
    let daemon = daemon.start();
    notify.wait_for_status("3 watches, 1 running, 1 failing; store connected");
    gate.open();
    notify.wait_for_status("3 watches, 0 running, 2 failing; store connected");
    sandbox.config("app.twc", text[..2].concat());
    notify.wait_for_status("2 watches, 0 running, 1 failing; store connected");
    drop(daemon);
    // A watch that stays stopped over a restart counts as failing from the start.
    sandbox.config("app.twc", text.concat());
    let daemon = sandbox.daemon().env("NOTIFY_SOCKET", notify.name()).start();
    notify.wait_for_status("3 watches, 0 running, 2 failing; store connected");
    sandbox.remove_config("app.twc");
    notify.wait_for_status("0 watches, 0 running, 0 failing; store connected");
    drop(daemon);
}

// Each message wakes up systemd and every program that follows the unit's properties.
#[test]
fn a_busy_daemon_sends_its_status_about_once_a_second_and_an_idle_one_sends_none() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let (notify, daemon) = managed(&sandbox);
    let _daemon = daemon.start();
    notify.wait_for_stage(1, "READY");
    let began = Instant::now();
    for value in 1..=100 {
        sandbox.nodes.set("/n", value.to_string());
        journal.wait_for_last(&value.to_string());
    }
    notify.wait_for_status("1 watch, 0 running, 0 failing; store connected");
    let (told, busy) = (notify.statuses().len(), began.elapsed().as_secs());
    // Two more for the partial seconds at both ends, one for the start, and one for READY.
    assert!(told as u64 <= busy + 4, "{told} in {busy} s: {:?}", notify.statuses());
    let heard = notify.heard().len();
    wait::throughout(Duration::from_secs(2), || assert_eq!(notify.heard().len(), heard));
}

/// The command with a watchdog of 200 ms.
fn watched(daemon: Twitcher) -> Twitcher {
    daemon.env("WATCHDOG_USEC", "200000")
}

// "WATCHDOG=1: Tells the service manager to update the watchdog timestamp", "send keep-alive pings ... every
// half of" it.
#[test]
fn the_watchdog_is_fed_only_while_the_daemons_loop_runs() {
    let sandbox = sandbox("true");
    let (notify, daemon) = managed(&sandbox);
    let daemon = watched(daemon).start();
    let fed_again = || {
        let before = notify.feeds();
        wait_until("the watchdog to be fed", || notify.feeds() >= before + 5);
    };
    notify.wait_for_stage(1, "READY");
    fed_again();
    let feeds: Vec<_> =
        notify.heard().into_iter().filter(|message| message.value("WATCHDOG") == Some("1")).collect();
    let (first, last) = (&feeds[0], &feeds[feeds.len() - 1]);
    let least = Duration::from_millis(90) * (feeds.len() as u32 - 1);
    assert!(last.at - first.at >= least, "{} in {:?}", feeds.len(), last.at - first.at);
    daemon.signal(Signal::SIGSTOP);
    wait_until("the daemon to be stopped", || {
        fs::read_to_string(format!("/proc/{}/stat", daemon.process().0))
            .is_ok_and(|stat| stat.contains(") T"))
    });
    // The listener has received what was sent before.
    let mut before = usize::MAX;
    wait_until("silence", || std::mem::replace(&mut before, notify.feeds()) == notify.feeds());
    wait::throughout(Duration::from_secs(1), || assert_eq!(notify.feeds(), before));
    daemon.signal(Signal::SIGCONT);
    fed_again();
}

// "$WATCHDOG_PID: ... the PID of the process the watchdog is for", if it is set.
#[test]
fn only_a_watchdog_of_this_process_is_fed() {
    for (pid, fed) in [("$$", true), ("1", false)] {
        let sandbox = sandbox("true");
        let (notify, daemon) = managed(&sandbox);
        let script = format!("WATCHDOG_PID={pid} exec \"$@\"");
        let daemon = watched(daemon).under(["sh", "-c", &script, "sh"]).start();
        notify.wait_for_stage(1, "READY");
        if fed {
            wait_until("the watchdog to be fed", || notify.feeds() > 3);
        } else {
            wait::throughout(Duration::from_secs(1), || assert_eq!(notify.feeds(), 0));
        }
        drop(daemon);
    }
}

/// Panics unless updates still run and a reload works.
#[track_caller]
fn works(sandbox: &Sandbox, daemon: &mut Daemon) {
    let journal = sandbox.journal();
    sandbox.config("works.twc", watch("/works", &exec(&journal.record()), ""));
    for value in ["one", "two", "three"] {
        sandbox.nodes.set("/works", value);
        journal.wait_for_last(value);
    }
    daemon.signal(Signal::SIGHUP);
    sandbox.nodes.set("/works", "last");
    journal.wait_for_last("last");
    assert!(daemon.is_running());
}

#[test]
fn a_missing_service_manager_is_logged_once_and_harms_nothing() {
    for (name, reason) in [
        ("/no/such/socket", "No such file"),
        ("dead", "Connection refused"),
        ("@twitcher-test-nobody", "Connection refused"),
        ("vsock:2:1234", "neither a path nor an abstract name"),
    ] {
        let sandbox = sandbox("true");
        let mut name = name.to_owned();
        if name == "dead" {
            name = sandbox.path("notify").display().to_string();
            drop(UnixDatagram::bind(&name).expect("listen"));
        }
        let mut daemon = watched(sandbox.daemon().env("NOTIFY_SOCKET", &name)).start();
        works(&sandbox, &mut daemon);
        daemon.wait_for_log(&["systemd cannot be told", &name, reason]);
        assert_eq!(daemon.stop(), Some(0));
        assert_eq!(daemon.log_lines(&["systemd cannot be told"]).len(), 1);
    }
}

// "What systemd could not be told is told again": the unit does not stay in its start for good.
#[test]
fn a_service_manager_that_comes_late_gets_everything_and_is_a_problem_before() {
    let sandbox = sandbox("true");
    let path = sandbox.path("notify");
    let mut daemon = watched(sandbox.daemon().env("NOTIFY_SOCKET", &path)).start();
    works(&sandbox, &mut daemon);
    let check = || sandbox.operator(["status", "--check"]).finish();
    let found = check();
    assert_eq!(found.code, Some(1), "{found:?}");
    found.expect_said(&["systemd: ", "No such file"]);
    let notify = Notify::at(&path);
    wait_until("it to be ready", || notify.stages().last() == Some(&"READY"));
    daemon.wait_for_log(&["systemd: works again"]);
    wait_until("the check to be well", || check().code == Some(0));
}

#[test]
fn a_service_manager_that_hangs_harms_nothing_and_gets_everything_later() {
    let sandbox = sandbox("true");
    let path = sandbox.path("notify");
    let full = UnixDatagram::bind(&path).expect("listen");
    // Each message comes from a new socket, because one socket's buffer may hold less than the queue.
    let make_noise = || {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to(b"NOISE=1", &path)
    };
    while make_noise().is_ok() {}
    let name = path.display().to_string();
    let mut daemon = watched(sandbox.daemon().env("NOTIFY_SOCKET", &name)).start();
    works(&sandbox, &mut daemon);
    let notify = Notify::on(full, name);
    wait_until("it to be ready", || notify.stages().last() == Some(&"READY"));
    wait_until("the watchdog to be fed", || notify.feeds() > 3);
    assert_eq!(daemon.stop(), Some(0));
    wait_until("the end to be told", || notify.stages().last() == Some(&"STOPPING"));
    assert!(daemon.log_lines(&["systemd cannot be told"]).is_empty(), "{:#?}", daemon.log());
}

/// The variables that systemd sets for the daemon alone.
const VARIABLES: [(&str, &str); 8] = [
    ("CREDENTIALS_DIRECTORY", "/run/credentials/twitcher.service"),
    ("NOTIFY_SOCKET", "/no/such/socket"),
    ("WATCHDOG_USEC", "30000000"),
    ("WATCHDOG_PID", "1"),
    ("JOURNAL_STREAM", "1:2"),
    ("LISTEN_FDS", "1"),
    ("LISTEN_PID", "1"),
    ("LISTEN_FDNAMES", "unknown"),
];

/// Starts the daemon of the sandbox with the variables that systemd sets.
fn with_variables(sandbox: &Sandbox) -> Daemon {
    VARIABLES.iter().fold(sandbox.daemon(), |daemon, (name, value)| daemon.env(name, value)).start()
}

// "Environment: PATH, HOME, USER, LOGNAME, SHELL of its user, and TWITCHER_WATCH, ..."
#[test]
fn actions_get_none_of_systemds_variables() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    let file = |name| sandbox.path(name).display().to_string();
    let function = format!("|event| {{ write_file({:?}, run([\"env\"]).stdout); 0 }}", file("function"));
    let command = exec(&format!("env > {0}.new && mv {0}.new {0}", file("command")));
    sandbox.config("app.twc", [watch("/n", &command, ""), watch("/n", &function, "")].concat());
    let _daemon = with_variables(&sandbox);
    for name in ["command", "function"] {
        wait_until("the environment", || sandbox.has(name));
        let environment = sandbox.read_text(name);
        assert!(environment.contains("TWITCHER_RUN_ID="), "{environment}");
        for (variable, _) in VARIABLES {
            assert!(!environment.contains(variable), "{name}: {environment}");
        }
    }
}

#[test]
fn the_evaluator_of_configs_gets_none_of_systemds_variables() {
    require_root();
    let sandbox = Sandbox::directory();
    sandbox.config("endless.twc", "loop {}");
    let daemon = with_variables(&sandbox);
    let of_evaluator = || {
        daemon.process().children().into_iter().find_map(|child| {
            let read = |file| fs::read(format!("/proc/{}/{file}", child.0)).ok();
            let is_it = read("cmdline")?.split(|byte| *byte == 0).any(|word| word == b"evaluate");
            is_it.then(|| read("environ"))?
        })
    };
    let environment = wait_for("the evaluator", of_evaluator);
    assert_eq!(String::from_utf8_lossy(&environment), "");
}
