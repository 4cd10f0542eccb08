//! One daemon per state directory and pid file, daemons in the background, and `--devel`.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::harness::{
    Journal, Process, Sandbox, Twitcher, command, exec, require_root, wait_for, wait_until, watch,
};

/// A sandbox whose one watch journals the content of `/n`, which is `content`.
fn sandbox() -> (Sandbox, Journal) {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    (sandbox, journal)
}

// "A second daemon on one state directory or pid file exits 1."
#[test]
fn a_second_daemon_on_one_state_directory_exits_1() {
    let (sandbox, journal) = sandbox();
    let mut first = sandbox.start();
    journal.wait_for(&["content"]);
    let second = sandbox.daemon().finish().expect(1);
    assert!(second.stderr.contains("state"), "{second:?}");
    // The first daemon is not disturbed. Once it has ended, another may start.
    sandbox.nodes.set("/n", "new");
    journal.wait_for(&["content", "new"]);
    first.kill();
    let _third = sandbox.start();
    wait_until("the next daemon to run", || journal.lines().len() == 3);
}

#[test]
fn a_second_daemon_on_one_pid_file_exits_1() {
    let (sandbox, journal) = sandbox();
    let pid_file = sandbox.path("pid");
    let first = sandbox.daemon().arg("--pid-file").arg(&pid_file).start();
    journal.wait_for(&["content"]);
    assert_eq!(sandbox.read_text("pid").trim(), first.process().0.to_string());
    let second = sandbox.daemon_with_state(&sandbox.path("other")).arg("--pid-file").arg(&pid_file);
    second.finish().expect(1);
    assert_eq!(
        sandbox.read_text("pid").trim(),
        first.process().0.to_string(),
        "still the number of the first daemon"
    );
}

// "Never two at once": a lock on a directory goes with the directory, and a second ledger would know nothing
// of the runs in the first.
#[test]
fn a_second_daemon_on_the_path_of_a_moved_state_directory_or_pid_file_exits_1() {
    let (sandbox, journal) = sandbox();
    let pid_file = sandbox.path("pid");
    let daemon = |state: &Path| sandbox.daemon_with_state(state).arg("--pid-file").arg(&pid_file);
    let mut first = daemon(&sandbox.state()).start();
    journal.wait_for(&["content"]);
    fs::rename(sandbox.state(), sandbox.root().join("moved")).expect("move the state directory");
    let pid = first.process().0.to_string();
    let refused = |second: Twitcher, what: &str| {
        let mut second = second.start();
        assert_eq!(second.wait_for_exit(), Some(1));
        second.wait_for_log(&["in use by another twitcher", &pid, what]);
    };
    refused(sandbox.daemon(), "state directory");
    fs::rename(&pid_file, sandbox.path("old")).expect("move the pid file");
    refused(daemon(&sandbox.root().join("other")), "pid file");
    // The first daemon goes on, and takes a directory at the old path again.
    sandbox.nodes.set("/n", "new");
    journal.wait_for(&["content", "new"]);
    first.kill();
    let _third = daemon(&sandbox.state()).start();
    wait_until("the next daemon to run", || journal.lines().len() == 3);
}

#[test]
fn a_daemon_says_that_another_one_runs_the_same_configs_on_the_same_store() {
    let (sandbox, journal) = sandbox();
    let mut first = sandbox.start();
    journal.wait_for(&["content"]);
    let other = sandbox.root().join("other");
    let second = sandbox.daemon_with_state(&other).start();
    let pid = first.process().0.to_string();
    let parts = ["second daemon", "another twitcher", &pid, "stop one of them"];
    second.wait_for_log(&parts);
    let socket = sandbox.root().join("other.sock");
    let check = || sandbox.twitcher(["status", "--check", "--control-socket"]).arg(&socket).finish();
    let done = check();
    assert_eq!(done.code, Some(1), "{done:#?}");
    done.expect_said(&parts);
    first.stop();
    wait_until("the check to be well", || check().code == Some(0));
}

// The daemon that left the pid file was killed.
#[test]
fn a_stale_pid_file_is_taken_over() {
    let (sandbox, journal) = sandbox();
    fs::write(sandbox.path("pid"), "1\n").expect("write a pid file");
    let daemon = sandbox.daemon().arg("--pid-file").arg(sandbox.path("pid")).start();
    journal.wait_for(&["content"]);
    assert_eq!(sandbox.read_text("pid").trim(), daemon.process().0.to_string());
}

// "[--pid-file FILE] [--daemonize]"
#[test]
fn a_daemonized_daemon_runs_in_the_background_under_its_pid_file() {
    let (sandbox, journal) = sandbox();
    let (pid_file, log) = (sandbox.path("pid"), sandbox.path("log"));
    sandbox
        .daemon_logging_elsewhere()
        .arg("--daemonize")
        .arg("--pid-file")
        .arg(&pid_file)
        .arg("--log-file")
        .arg(&log)
        .finish()
        .expect(0);
    let pid =
        wait_for("the pid file", || fs::read_to_string(&pid_file).ok().filter(|pid| pid.ends_with('\n')));
    let daemon = Leftover(Process::parse(&pid));
    journal.wait_for(&["content"]);
    sandbox.nodes.set("/n", "new");
    journal.wait_for(&["content", "new"]);
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", daemon.0.0)).expect("its directory").as_os_str(), "/");
    daemon.0.signal(Signal::SIGTERM);
    wait_until("the daemon to end", || !daemon.0.is_alive());
}

/// A process that is not our child and that the test must not leave behind.
struct Leftover(Process);

impl Drop for Leftover {
    fn drop(&mut self) {
        if self.0.is_alive() {
            self.0.signal(Signal::SIGKILL);
        }
    }
}

// "`--devel`: foreground, debug log to stdout, the examples in `etc/examples`, and the embedded directory
// store", "in a temporary directory that it prints, with the command to try next"
#[test]
fn devel_prints_its_temporary_directory_and_the_command_to_try_next() {
    let sandbox = Sandbox::directory();
    let daemon = sandbox.twitcher(["run", "--devel"]).env("TMPDIR", sandbox.path(""));
    let mut daemon = daemon.current_dir(env!("CARGO_MANIFEST_DIR")).start();
    let line = daemon.wait_for_log(&["twitcher", " set ", "dir:"]);
    let store = line.split_whitespace().find_map(|word| word.strip_prefix("dir:")).expect("a store");
    let store = store.trim_matches(|c: char| !c.is_alphanumeric() && c != '/');
    assert!(fs::metadata(store).is_ok_and(|nodes| nodes.is_dir()), "{store} in {line}");
    assert!(Path::new(store).starts_with(sandbox.path("")), "{store} is below TMPDIR");
    // The instructions come last, so that a small terminal still shows them.
    daemon.wait_for_log(&["with -d, it logs everything"]);
    let log = daemon.log();
    let position = |part: &str| log.iter().position(|line| line.contains(part)).expect(part);
    assert!(position("configs loaded") < position("Nodes and state are in"), "{log:#?}");
    assert!(log.len() - position("Nodes and state are in") < 24, "{log:#?}");
    assert!(log.iter().all(|line| !line.contains(" DEBUG ")), "{log:#?}");
    assert_eq!(log[position("Nodes and state are in") - 1].trim(), "\u{2500}".repeat(76));
    // The printed command works.
    let command = line.split_once("twitcher ").expect("it contains that").1;
    let words: Vec<_> = command.split_whitespace().map(|word| word.trim_matches(['\'', '"', '`'])).collect();
    let node = *words.iter().find(|word| word.starts_with('/')).expect("a node");
    words.iter().fold(sandbox.twitcher([]), |twitcher, word| twitcher.arg(word)).finish().expect(0);
    daemon.wait_for_log(&["run", node]);
    let line = daemon.wait_for_log(&["twitcher", " status --control-socket "]);
    let command = line.split_once("twitcher ").expect("it contains that").1;
    let words = command.split_whitespace();
    let status = words.fold(sandbox.twitcher([]), |twitcher, word| twitcher.arg(word)).finish().expect(0);
    status.expect_said(&["example1.twc", node]);
    daemon.stop();
    wait_until("the temporary directory to be gone", || !fs::exists(store).expect("look"));
}

// The newcomer's first command works without root, although the examples name users.
#[test]
fn devel_without_root_runs_all_examples_as_the_caller() {
    require_root();
    let sandbox = Sandbox::directory();
    let scratch = sandbox.path("scratch");
    fs::create_dir(&scratch).expect("create a directory");
    std::os::unix::fs::chown(&scratch, Some(65534), Some(65534)).expect("give it away");
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/examples/.");
    let copied = command("cp").arg("-r").arg(examples).arg(sandbox.configs()).status().expect("cp");
    assert!(copied.success());
    let binary = sandbox.copy_of_the_binary();
    let daemon = sandbox.twitcher(["run", "--devel"]).binary(&binary).env("TMPDIR", &scratch);
    let daemon = daemon.arg("--config-path").arg(sandbox.configs());
    let mut daemon =
        daemon.under(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]).start();
    daemon.wait_for_log(&["with -d, it logs everything"]);
    let log = daemon.log();
    assert!(!log.iter().any(|line| line.contains("ERROR")), "{log:#?}");
    daemon.wait_for_log(&["--devel without root", "as this user"]);
    daemon.wait_for_log(&["git-pull.twc: loaded, 1 added"]);
    daemon.stop();
}

// The process that daemonizes waits until the daemon has started or failed, and exits accordingly.
#[test]
fn a_daemonized_daemon_that_cannot_start_exits_1_and_says_why() {
    let (sandbox, _) = sandbox();
    // This limit suffices for the locks, but not for the event loop.
    let finished = sandbox
        .daemon_logging_elsewhere()
        .arg("--daemonize")
        .arg("--log-file")
        .arg(sandbox.path("log"))
        .under(["prlimit", "--nofile=11:11"])
        .finish()
        .expect(1);
    finished.expect_said(&["twitcher: cannot wait for events", "open files", "raise", "RLIMIT_NOFILE"]);
}

// With an inherited SIGCHLD that is ignored the daemon would not see how its children end, and with a blocked
// SIGTERM it would not stop.
#[test]
fn an_inherited_ignored_sigchld_and_a_blocked_sigterm_are_reset() {
    let (sandbox, journal) = sandbox();
    let script = "import os, signal, sys\n\
                  signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n\
                  signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGHUP])\n\
                  os.execv(sys.argv[1], sys.argv[1:])";
    let mut daemon = sandbox.daemon().arg("-v").under(["python3", "-c", script]).start();
    journal.wait_for(&["content"]);
    daemon.wait_for_log(&["ended after"]);
    assert_eq!(daemon.stop(), Some(0));
}
