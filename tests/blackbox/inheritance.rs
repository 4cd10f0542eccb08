//! What a daemon inherits from the process that started it, what the kernel can send it, and what it owes as
//! the first process of a container.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::sys::signal::Signal;

use crate::harness::{Daemon, Process, Sandbox, exec, require_root, wait_for, wait_until, watch};

/// Runs the rest of the command line as the first process of a container.
const FIRST_PROCESS: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// The daemon that `unshare` started, by the number that it has outside.
#[track_caller]
fn inner(daemon: &Daemon) -> Process {
    wait_for("the daemon in its container", || daemon.process().children().first().copied())
}

#[test]
fn no_signal_but_those_that_stop_it_ends_the_daemon() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    sandbox.config("app.twc", watch("/n", &exec(&journal.note("$(cat)")), ""));
    let mut daemon = sandbox.start();
    journal.wait_for(&["0"]);
    use Signal::*;
    for signal in [SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT] {
        daemon.signal(signal);
        daemon.wait_for_log(&[&format!("{} is ignored", signal.as_str()), "SIGTERM stops the daemon"]);
    }
    daemon.signal(SIGXCPU);
    daemon.wait_for_log(&["SIGXCPU", "raise RLIMIT_CPU"]);
    for signal in [SIGPIPE, SIGXFSZ, SIGCHLD, SIGURG, SIGWINCH, SIGCONT] {
        daemon.signal(signal);
    }
    sandbox.nodes.set("/n", "1");
    journal.wait_for(&["0", "1"]);
    daemon.signal(SIGQUIT);
    assert_eq!(daemon.wait_for_exit(), Some(0));
    assert_eq!(daemon.log_lines(&["SIGQUIT: stopping"]).len(), 1);
}

// The limit counts for the daemon's own files: it goes on, and actions get the limit as it was.
#[test]
fn a_limit_on_the_size_of_files_does_not_end_the_daemon() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    // `ulimit` counts blocks of 512 bytes.
    let lines = "yes $(printf %01000d 7) | head -n 20";
    let action = format!("{lines}; {}", journal.note("$(cat) $(ulimit -f)"));
    sandbox.config("app.twc", watch("/n", &exec(&action), ""));
    let log = sandbox.path("log");
    let daemon = sandbox.daemon_logging_elsewhere().arg("--log-file").arg(&log).arg("-d");
    let mut daemon = daemon.under(["prlimit", "--fsize=262144:262144", "--"]).start();
    journal.wait_for(&["0 512"]);
    for n in 1..40 {
        sandbox.nodes.set("/n", n.to_string());
        journal.wait_for_line(&format!("{n} 512"));
    }
    wait_until("a full log", || fs::metadata(&log).is_ok_and(|log| log.len() > 250_000));
    assert!(daemon.is_running());
    assert!(fs::read_to_string(&log).expect("the log").contains("RLIMIT_FSIZE"));
    // A soft limit is raised, as that of descriptors.
    drop(daemon);
    let daemon = sandbox.daemon().under(["prlimit", "--fsize=4096:unlimited", "--"]).start();
    daemon.wait_for_log(&["configs loaded"]);
    sandbox.nodes.set("/n", "x");
    journal.wait_for_line("x 8");
    assert!(daemon.log_lines(&["RLIMIT_FSIZE"]).is_empty());
}

#[test]
fn an_inherited_umask_neither_opens_nor_closes_the_files_of_the_daemon() {
    require_root();
    for umask in ["0", "0777"] {
        let sandbox = Sandbox::directory();
        fs::remove_dir(sandbox.state()).expect("remove the state directory");
        let script = format!("umask {umask}; exec \"$@\"");
        let daemon = sandbox.daemon().under(["sh", "-c", &script, "sh"]).start();
        daemon.wait_for_log(&["configs loaded"]);
        let ledger = wait_for("the ledger", || {
            let files = fs::read_dir(sandbox.state()).ok()?.flatten().map(|file| file.path());
            files.filter(|file| file.is_file()).collect::<Vec<_>>().first().cloned()
        });
        let mode = fs::metadata(&ledger).expect("the ledger").mode() & 0o777;
        assert_eq!(mode & 0o622, 0o600, "{} with umask {umask}", ledger.display());
        assert_eq!(fs::metadata(sandbox.state()).expect("a directory").mode() & 0o777, 0o700);
    }
}

#[test]
fn the_first_log_file_has_its_mode_whatever_umask_was_inherited() {
    for umask in ["0", "077", "0777"] {
        let sandbox = Sandbox::directory();
        let log = sandbox.path("log");
        let script = format!("umask {umask}; exec \"$@\"");
        let daemon = sandbox.daemon_logging_elsewhere().arg("--log-file").arg(&log);
        let _daemon = daemon.under(["sh", "-c", &script, "sh"]).start();
        wait_until("the log", || fs::read_to_string(&log).is_ok_and(|log| log.contains("configs loaded")));
        assert_eq!(fs::metadata(&log).expect("the log").mode() & 0o777, 0o640, "umask {umask}");
    }
}

// A daemon in the background must not keep a lock, a pipe or a mount of the process that started it.
#[test]
fn a_daemon_in_the_background_closes_what_it_inherited() {
    let sandbox = Sandbox::directory();
    let held = sandbox.path("held");
    let pid = sandbox.path("pid");
    let script = format!("exec 9>{}; exec \"$@\"", held.display());
    let started = sandbox.daemon_logging_elsewhere().arg("--log-file").arg(sandbox.path("log"));
    let started = started.arg("--daemonize").arg("--pid-file").arg(&pid);
    started.under(["sh", "-c", &script, "sh"]).finish().expect(0);
    let daemon = Process::parse(&fs::read_to_string(&pid).expect("a pid file"));
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.0)).expect("its descriptors").flatten();
    let targets: Vec<_> = open.filter_map(|file| fs::read_link(file.path()).ok()).collect();
    daemon.signal(Signal::SIGTERM);
    wait_until("its end", || !daemon.is_alive());
    assert!(!targets.contains(&held), "{targets:?}");
}

#[test]
fn the_first_process_of_a_container_reaps_what_lost_its_parent() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    // Each run leaves two processes behind, which end later. One is in a session of its own.
    let action = format!("(sleep 0.1) & (setsid sleep 0.05) & {}", journal.note("$(cat)"));
    sandbox.config("app.twc", watch("/n", &exec(&action), ""));
    let daemon = sandbox.daemon().arg("-v").under(FIRST_PROCESS).start();
    for n in 0..10 {
        sandbox.nodes.set("/n", n.to_string());
        journal.wait_for_line(&n.to_string());
    }
    let first = inner(&daemon);
    wait_until("no zombies", || first.children().iter().all(|child| child.is_alive()));
    // Nobody else reaped the runs.
    assert!(daemon.log_lines(&["lost track"]).is_empty());
    assert!(daemon.log_lines(&["run", "ended after"]).len() >= 2);
    first.signal(Signal::SIGTERM);
}

// `docker stop` kills a container after 10 s.
#[test]
fn the_first_process_of_a_container_stops_within_ten_seconds() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    let action = format!("trap '' TERM; {}; while :; do sleep 0.1; done", journal.note("began"));
    sandbox.config("app.twc", watch("/n", &exec(&action), ""));
    let mut daemon = sandbox.daemon().under(FIRST_PROCESS).start();
    journal.wait_for(&["began"]);
    let stopped = std::time::Instant::now();
    inner(&daemon).signal(Signal::SIGTERM);
    assert_eq!(daemon.wait_for_exit(), Some(0));
    assert!(stopped.elapsed().as_secs_f64() < 9.9, "{:?}", stopped.elapsed());
    assert!(!daemon.log_lines(&["sent SIGKILL"]).is_empty());
}

#[test]
fn a_first_process_does_not_go_into_the_background() {
    require_root();
    let sandbox = Sandbox::directory();
    let daemonized = sandbox.daemon().arg("--daemonize").under(FIRST_PROCESS);
    daemonized.finish().expect(1).expect_said(&["--daemonize: this is the first process of its container"]);
}

// "Processes it left behind live on, and their later output is drained and dropped (no SIGPIPE for them)."
#[test]
fn a_process_that_was_left_behind_outlives_the_daemon_and_may_write() {
    let sandbox = Sandbox::directory();
    let file = sandbox.path("ticks");
    // More than a pipe holds with each tick, so that it also needs a reader who goes on. The shell writes
    // some of it itself, so that SIGPIPE would end it.
    let service = format!(
        "i=0; while [ ! -e {0}.stop ]; do i=$((i+1)); echo tick; head -c 70000 /dev/zero; \
         echo $$ $i > {0}.new; mv {0}.new {0}; sleep 0.01; done",
        file.display()
    );
    sandbox.nodes.set("/n", "1");
    let action = format!("setsid sh -c '{service}' & exit 0");
    sandbox.config("app.twc", watch("/n", &exec(&action), "uid: \"nobody\""));
    require_root();
    // The process and its ticks.
    let seen = || -> Option<(i32, u64)> {
        let text = fs::read_to_string(&file).ok()?;
        let (pid, ticks) = text.trim().split_once(' ')?;
        Some((pid.parse().ok()?, ticks.parse().ok()?))
    };
    let ticks = || seen().map_or(0, |(_, ticks)| ticks);
    let mut daemon = sandbox.daemon().arg("-v").start();
    daemon.wait_for_log(&["ended after"]);
    wait_until("the first ticks", || ticks() > 1);
    assert_eq!(daemon.stop(), Some(0));
    let before = ticks();
    wait_until("more ticks", || ticks() > before + 20);
    // The reader is a process of no other user.
    let drains = || {
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let is_drain = read("cmdline").starts_with("twitcher\0drain\0");
            is_drain && !read("status").contains("Uid:\t0\t")
        })
        .count()
    };
    assert!(drains() >= 1);
    fs::write(file.with_extension("stop"), "").expect("stop the service");
    let service = Process(seen().expect("the service").0);
    wait_until("its end", || !service.is_alive());
}
