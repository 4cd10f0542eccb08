//! Tests of a log that cannot be written, or that is rotated away: no line is lost without a word.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::harness::{Daemon, Process, Sandbox, control, exec, require_root, wait_until, watch};

const DROPPED: &str = "twitcher_log_lines_dropped_total";

/// A sandbox whose action prints what is in the node, and logs to a file in a directory of its own.
struct Logging {
    sandbox: Sandbox,
    file: PathBuf,
}

impl Logging {
    fn new() -> Self {
        let sandbox = Sandbox::directory();
        sandbox.config("app.twc", watch("/n", &exec("echo got $(cat)"), r#"description: "named""#));
        let directory = sandbox.path("logs");
        fs::create_dir(&directory).expect("create a directory");
        Self { file: directory.join("tw.log"), sandbox }
    }

    #[track_caller]
    fn start(&self) -> Daemon {
        self.sandbox.daemon_logging_elsewhere().arg("--log-file").arg(&self.file).start()
    }

    /// Has the action print this.
    fn print(&self, text: &str) {
        self.sandbox.nodes.set("/n", text);
    }

    /// Has the action print this, and waits until it is in the log.
    #[track_caller]
    fn expect_printed(&self, text: &str) {
        self.print(text);
        wait_for_text(&self.file, &format!("got {text}\n"));
    }

    /// Waits until this many runs have succeeded.
    #[track_caller]
    fn wait_for_runs(&self, runs: u64) {
        wait_until(&format!("{runs} runs"), || {
            let socket = self.sandbox.control_socket();
            socket.exists() && self.metric("twitcher_runs_total{outcome=\"success\"}") == Some(runs)
        });
    }

    fn metric(&self, name: &str) -> Option<u64> {
        let metrics = control::get(&self.sandbox.control_socket(), "/metrics").text();
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok())
    }

    #[track_caller]
    fn check(&self, code: i32, said: &[&str]) {
        wait_until(&format!("status --check to say {said:?}"), || {
            let finished = self.sandbox.operator(["status", "--check"]).finish();
            finished.code == Some(code) && said.iter().all(|part| finished.text().contains(part))
        });
    }
}

#[track_caller]
fn wait_for_text(file: &Path, text: &str) {
    wait_until(&format!("{text:?} in {}", file.display()), || {
        fs::read_to_string(file).is_ok_and(|log| log.contains(text))
    });
}

// "A rotated `log_file` is written to its deleted inode": logrotate renames, and may or may not create;
// people delete; and a file system is mounted again.
#[test]
fn a_log_file_that_is_rotated_is_followed() {
    let logging = Logging::new();
    let _daemon = logging.start();
    logging.expect_printed("one");
    let rotated = logging.file.with_extension("log.1");
    fs::rename(&logging.file, &rotated).expect("rotate");
    logging.expect_printed("two");
    assert!(!fs::read_to_string(&rotated).expect("the old file").contains("two"));
    fs::rename(&logging.file, &rotated).expect("rotate");
    File::create(&logging.file).expect("create a file");
    logging.expect_printed("three");
    fs::remove_file(&logging.file).expect("remove the file");
    logging.expect_printed("four");
    File::options().write(true).open(&logging.file).and_then(|file| file.set_len(0)).expect("truncate");
    logging.expect_printed("five");
    let directory = logging.file.parent().expect("a directory");
    fs::rename(directory, logging.sandbox.path("elsewhere")).expect("move the directory away");
    fs::create_dir(directory).expect("create a directory");
    logging.expect_printed("six");
    logging.check(0, &["ok"]);
}

#[test]
fn a_log_whose_directory_is_gone_waits_for_it_and_says_so() {
    let logging = Logging::new();
    let daemon = logging.start();
    logging.expect_printed("one");
    let directory = logging.file.parent().expect("a directory");
    fs::remove_dir_all(directory).expect("remove the directory");
    logging.print("two");
    logging.check(1, &["log: ", "tw.log: No such file"]);
    daemon.wait_for_log(&["tw.log: No such file"]);
    fs::create_dir(directory).expect("create a directory");
    wait_for_text(&logging.file, "got two\n");
    wait_for_text(&logging.file, "the log could not be written for");
    logging.check(0, &["ok"]);
}

// "Two thirds of a log lost on a full disk": each line waits, or is counted and told of.
#[test]
fn a_log_on_a_full_disk_loses_no_line_without_a_word() {
    require_root();
    let mut logging = Logging::new();
    let directory = logging.file.parent().expect("a directory").to_owned();
    let mount = format!("mount -t tmpfs -o size=64k tmpfs {} && exec \"$@\"", directory.display());
    let daemon = logging.sandbox.daemon_logging_elsewhere().arg("--log-file").arg(&logging.file);
    let daemon = daemon.under(["unshare", "--mount", "sh", "-c", &mount, "sh"]).start();
    // The file as the daemon sees it.
    let root = PathBuf::from(format!("/proc/{}/root", daemon.process().0));
    let below = |path: &Path| root.join(path.strip_prefix("/").expect("absolute"));
    (logging.file, logging.sandbox) = (below(&logging.file), logging.sandbox);
    logging.expect_printed("first");
    let fill = below(&directory.join("fill"));
    // The disk takes what it has room for.
    let _ = fs::write(&fill, vec![0; 100_000]);
    // The last block of the file has room for some lines; the last of these is written in part.
    for number in 1..60 {
        logging.print(&number.to_string());
        logging.wait_for_runs(1 + number);
    }
    logging.check(1, &["log: ", "No space left"]);
    let written = fs::read_to_string(&logging.file).expect("the log").matches("got ").count();
    assert!(written < 59, "the disk is full");
    fs::remove_file(&fill).expect("make room");
    wait_for_text(&logging.file, "got 59\n");
    let log = fs::read_to_string(&logging.file).expect("the log");
    for number in 1..60 {
        assert_eq!(log.matches(&format!("got {number}\n")).count(), 1, "{log}");
    }
    let time = |line: &str| line.split(' ').next().map(str::len);
    let is_whole = |line: &str| line.starts_with("20") && time(line) == log.lines().next().and_then(time);
    assert!(log.lines().all(is_whole), "each line is whole: {log}");
    assert!(log.contains("the log could not be written for"), "{log}");
    logging.check(0, &["ok"]);
}

#[test]
fn lines_for_which_there_is_no_room_are_counted_in_the_metrics_and_in_the_log() {
    let logging = Logging::new();
    symlink("/dev/full", &logging.file).expect("make a link");
    // More lines than wait for a log.
    let flood = |n: usize| watch("/n", &exec("seq 900"), &format!("description: \"{n}\""));
    logging.sandbox.config("app.twc", (0..8).map(flood).collect::<String>());
    logging.print("go");
    let daemon = logging.start();
    logging.check(1, &["log: ", "No space left"]);
    logging.wait_for_runs(8);
    wait_until("lines to be dropped", || logging.metric(DROPPED) > Some(0));
    fs::remove_file(&logging.file).expect("remove the link");
    // The writer of the log may still be at work, and then it tells of the rest later.
    let told = || {
        let text = fs::read_to_string(&logging.file).unwrap_or_default();
        let counts = text.lines().filter_map(|line| {
            let (before, _) = line.split_once(" log lines dropped: the log could not be written")?;
            before.rsplit(' ').next()?.parse::<u64>().ok()
        });
        counts.sum::<u64>()
    };
    wait_until("the log to tell of each dropped line", || {
        let told = told();
        told > 0 && logging.metric(DROPPED) == Some(told)
    });
    logging.check(0, &["ok"]);
    assert_eq!(daemon.log_lines(&["No space left"]).len(), 1, "once on stderr: {:#?}", daemon.log());
}

// A reader that does not read: the log stands still, and nothing else does.
#[test]
fn a_log_that_nobody_reads_is_a_problem() {
    let logging = Logging::new();
    nix::unistd::mkfifo(&logging.file, nix::sys::stat::Mode::S_IRWXU).expect("make a pipe");
    let reader = File::options().read(true).write(true).open(&logging.file).expect("open the pipe");
    let flood = watch("/n", &exec("yes 'a line of some length' | head -n 900"), r#"description: "named""#);
    logging.sandbox.config("app.twc", [&*flood, &*flood.replace("named", "other")].concat());
    logging.print("go");
    let _daemon = logging.start();
    for (runs, text) in [(4, "again"), (6, "and again")] {
        logging.wait_for_runs(runs - 2);
        logging.print(text);
        logging.wait_for_runs(runs);
    }
    logging.check(1, &["log: ", "tw.log takes no lines"]);
    drop(std::thread::spawn(move || std::io::copy(&mut &reader, &mut std::io::sink())));
    logging.check(0, &["ok"]);
}

// "In a container without `/dev/log` a broken config gives not a byte anywhere."
#[test]
fn without_syslog_the_log_goes_to_stderr_and_says_why() {
    let logging = Logging::new();
    logging.sandbox.config("bad.twc", "RegisterWatch(");
    let without = "[ ! -e /dev/log ] || mount --bind /dev/null /dev/log || exit; exec \"$@\"";
    let daemon = logging.sandbox.daemon_logging_elsewhere();
    let daemon = daemon.under(["unshare", "--mount", "sh", "-c", without, "sh"]).start();
    daemon.wait_for_log(&["WARNING", "syslog (/dev/log)", "the log goes to stderr meanwhile"]);
    daemon.wait_for_log(&["ERROR", "bad.twc:1:"]);
    logging.check(1, &["config: "]);
    logging.sandbox.remove_config("bad.twc");
    logging.check(0, &["ok: 1 watch"]);
    assert_eq!(daemon.log_lines(&["syslog"]).len(), 1, "{:#?}", daemon.log());
}

#[test]
fn without_syslog_and_without_stderr_the_log_is_lost_and_status_says_so() {
    let logging = Logging::new();
    let without = "[ ! -e /dev/log ] || mount --bind /dev/null /dev/log || exit; exec \"$@\" 2> /dev/null";
    let daemon = logging.sandbox.daemon_logging_elsewhere();
    let _daemon = daemon.under(["unshare", "--mount", "sh", "-c", without, "sh"]).start();
    logging.check(1, &["log: syslog (/dev/log): ", "--log-file"]);
}

// "A closed stdout counts as written": Rust opens /dev/null in its place.
#[test]
fn a_log_to_a_closed_stdout_is_lost_and_said_to_be() {
    let logging = Logging::new();
    let closed = ["sh", "-c", "exec \"$@\" >&-", "sh"];
    logging.print("go");
    let to = |path: &str| logging.sandbox.daemon_logging_elsewhere().args(["--log-file", path]);
    for daemon in [logging.sandbox.daemon(), to("/dev/stdout"), to("/dev/fd/1"), to("/proc/self/fd/1")] {
        let mut daemon = daemon.under(closed).start();
        logging.check(1, &["log: ", "it was closed when the daemon started"]);
        let socket = logging.sandbox.control_socket();
        wait_until("the run", || control::get(&socket, "/v1/watches").text().contains("\"idle\""));
        assert_eq!(daemon.stop(), Some(0));
        daemon.wait_for_log(&["log lines dropped at the end", "it was closed when the daemon started"]);
    }
    // Neither is in the way of a log elsewhere.
    let daemon = logging.sandbox.daemon_logging_elsewhere().arg("--log-file").arg(&logging.file);
    let _daemon = daemon.under(["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"]).start();
    logging.expect_printed("one");
    logging.check(0, &["ok"]);
}

#[test]
fn a_daemon_in_the_background_knows_that_its_stdout_was_closed() {
    let logging = Logging::new();
    let pid_file = logging.sandbox.path("pid");
    let daemon = logging.sandbox.daemon().arg("--daemonize").arg("--pid-file").arg(&pid_file);
    daemon.under(["sh", "-c", "exec \"$@\" >&-", "sh"]).finish().expect(0);
    logging.check(1, &["log: ", "stdout: it was closed when the daemon started"]);
    let process = Process::parse(&logging.sandbox.read_text("pid"));
    process.signal(nix::sys::signal::Signal::SIGTERM);
    wait_until("its end", || !process.is_alive());
}

// A reader that does not read, until the end: what is in the pipe and what is said to be lost are all lines.
#[test]
fn lines_behind_a_blocked_log_are_counted_at_the_end() {
    let logged = |is_read: bool| {
        let logging = Logging::new();
        nix::unistd::mkfifo(&logging.file, nix::sys::stat::Mode::S_IRWXU).expect("make a pipe");
        let pipe = File::options().read(true).write(true).open(&logging.file).expect("open the pipe");
        let reader = is_read.then(|| {
            let pipe = pipe.try_clone().expect("another descriptor");
            std::thread::spawn(move || {
                BufReader::new(pipe).lines().map_while(Result::ok).position(|line| line.contains("stopped"))
            })
        });
        let flood = watch("/n", &exec("yes 'a line of some length' | head -n 900"), r#"description: "one""#);
        logging.sandbox.config("app.twc", [&*flood, &*flood.replace("one", "two")].concat());
        logging.print("go");
        let mut daemon = logging.start();
        logging.wait_for_runs(2);
        assert_eq!(daemon.stop(), Some(0));
        let dropped = daemon.log_lines(&["log lines dropped at the end", "tw.log takes no lines"]);
        if let Some(reader) = reader {
            assert!(dropped.is_empty(), "{dropped:?}");
            return 1 + reader.join().expect("the reader").expect("the last line");
        }
        let dropped = daemon.wait_for_log(&["log lines dropped at the end", "tw.log takes no lines"]);
        let count = dropped.split(' ').find_map(|word| word.parse::<usize>().ok()).expect("a number");
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe that never blocks");
        let mut text = Vec::new();
        let _ = (&pipe).read_to_end(&mut text);
        let text = String::from_utf8(text).expect("text");
        assert!(
            text.ends_with('\n') && count > 100,
            "{count} lines dropped; the last: {:?}",
            text.lines().last()
        );
        text.lines().count() + count
    };
    assert_eq!(logged(false), logged(true));
}

// A pipe without a reader, and a file with a lease, hold up neither the start nor the loop.
#[test]
fn a_log_file_that_cannot_be_opened_yet_holds_up_nobody() {
    let logging = Logging::new();
    nix::unistd::mkfifo(&logging.file, nix::sys::stat::Mode::S_IRWXU).expect("make a pipe");
    let _daemon = logging.start();
    logging.print("one");
    logging.wait_for_runs(1);
    logging.check(1, &["log: ", "tw.log: No such device", "a pipe that no process reads"]);
    let reader = File::options().read(true).write(true).open(&logging.file).expect("open the pipe");
    let found = BufReader::new(reader).lines().map_while(Result::ok).any(|line| line.ends_with("got one"));
    assert!(found);
    logging.check(0, &["ok"]);
}
