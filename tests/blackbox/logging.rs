//! Tests of the log: what is in it, where it goes, and what is never in it.

use std::fs;
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::control::get;
use crate::harness::wait::throughout;
use crate::harness::{Sandbox, exec, require_root, wait_for, wait_until, watch};

/// A sandbox in which `/n` contains `content`, with a watch `named` that runs `script`.
fn sandbox(script: &str) -> Sandbox {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    sandbox.config("app.twc", watch("/n", &exec(script), r#"description: "named""#));
    sandbox
}

// "stdout and stderr become log lines that name the watch and the run."
#[test]
fn output_becomes_log_lines_that_name_the_watch_and_the_run() {
    let sandbox = sandbox("echo out of $TWITCHER_RUN_ID; echo err >&2; printf 'no newline'");
    let daemon = sandbox.start();
    let line = daemon.wait_for_log(&["named", "out of "]);
    let (said_by, id) = line.split_once("out of ").expect("it contains that");
    let run = id.rsplit('-').next().expect("never empty");
    assert!(said_by.contains(&format!("run {run}")), "{line}");
    for words in ["err", "no newline"] {
        daemon.wait_for_log(&["named", &format!("run {run}"), words]);
    }
}

// "long lines cut"
#[test]
fn long_lines_are_cut() {
    let sandbox = sandbox("head -c 1000000 /dev/zero | tr '\\000' x; echo; echo after it");
    let daemon = sandbox.start();
    daemon.wait_for_log(&["named", "after it"]);
    let longest = daemon.log().iter().map(String::len).max().expect("lines");
    assert!((1000..20_000).contains(&longest), "the longest line has {longest} bytes");
}

// "control characters escaped"
#[test]
fn control_characters_are_escaped_and_forge_no_line() {
    let sandbox = sandbox(r#"printf 'a\033[31mb\rc\001d\377e\n'; printf 'last\n'"#);
    let daemon = sandbox.start();
    daemon.wait_for_log(&["named", "last"]);
    let log = daemon.log();
    assert!(log.iter().all(|line| !line.chars().any(char::is_control)), "{log:#?}");
    assert!(
        log.iter().any(|line| line.contains("[31mb") && line.contains('c') && line.contains('e')),
        "{log:#?}"
    );
}

// "control characters escaped", also in names and in errors of configs.
#[test]
fn control_characters_in_names_and_errors_forge_no_line() {
    let sandbox = sandbox("true");
    sandbox.config("evil\x1b[31m\nFORGED.twc", "RegisterWatch(");
    sandbox.config("throws.twc", r#"throw "thrown \x1b[31m\nFORGED words";"#);
    sandbox.config("described.twc", watch("/n", &exec("true"), r#"description: "evil\x1b[31m\nFORGED""#));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["evil", ".twc:1:"]);
    daemon.wait_for_log(&["throws.twc", "thrown"]);
    daemon.wait_for_log(&["described.twc"]);
    let log = daemon.log();
    assert!(log.iter().all(|line| !line.chars().any(char::is_control)), "{log:#?}");
    let forged =
        |line: &String| line.split_whitespace().nth(2).is_some_and(|word| word.starts_with("FORGED"));
    assert!(!log.iter().any(|line| forged(line) || line.starts_with("FORGED")), "{log:#?}");
}

// "One bad thing stays one bad thing": nobody reads the log.
#[test]
fn a_log_that_nobody_reads_stalls_no_action() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    // At each update this is more than a pipe and any queue hold.
    let flood = watch("/n", &exec("yes 'a line of some length' | head -n 900"), "run_mode: PARALLEL");
    sandbox.config("app.twc", [flood, watch("/n", &exec(&journal.record()), "")].concat());
    let pipe = sandbox.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("make a pipe");
    let redirect = format!("exec \"$@\" > {}", pipe.display());
    let mut daemon = sandbox.daemon().under(["sh", "-c", &redirect, "sh"]).start();
    let reader = fs::File::open(&pipe).expect("open the pipe");
    journal.wait_for_line("0");
    for value in 1..=20 {
        sandbox.nodes.set("/n", value.to_string());
        journal.wait_for_line(&value.to_string());
    }
    // Then the reader goes away.
    drop(reader);
    sandbox.nodes.set("/n", "last");
    journal.wait_for_line("last");
    sandbox.nodes.set("/n", "very last");
    journal.wait_for_line("very last");
    assert!(daemon.is_running());
}

// "One bad thing stays one bad thing": the log cannot be written.
#[test]
fn a_log_file_on_a_full_disk_stalls_no_action() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "one");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let mut daemon = sandbox.daemon_logging_elsewhere().args(["--log-file", "/dev/full"]).start();
    journal.wait_for(&["one"]);
    sandbox.nodes.set("/n", "two");
    journal.wait_for(&["one", "two"]);
    assert!(daemon.is_running());
}

// "floods limited and counted"
#[test]
fn floods_are_limited_and_counted() {
    let sandbox = sandbox("yes flood | head -n 200000; exit 3");
    let daemon = sandbox.start();
    daemon.wait_for_log(&["named", "fail", "3"]);
    let flood = daemon.log_lines(&["named", "flood"]).len();
    assert!((1..50_000).contains(&flood), "{flood} lines of the flood were logged");
    let counted: usize = daemon
        .log_lines(&["named", "not logged"])
        .iter()
        .flat_map(|line| line.split(' '))
        .filter_map(|word| word.parse::<usize>().ok())
        .filter(|number| *number > 100)
        .sum();
    assert_eq!(flood + counted, 200_000, "each line was logged or counted");
}

// "the pause of a flooding action is for bytes, not only for lines": neither zeros without a newline nor
// single bytes take a processor.
#[test]
fn a_flood_of_bytes_takes_no_processor() {
    for script in ["exec cat /dev/zero", "exec dd if=/dev/zero bs=1 status=none", "exec yes"] {
        let sandbox = sandbox(script);
        let daemon = sandbox.start();
        daemon.wait_for_log(&["named", "started"]);
        let before = daemon.process().cpu_ticks();
        throughout(Duration::from_secs(3), || {});
        let used = daemon.process().cpu_ticks() - before;
        assert!(used < 100, "{script}: {used} ticks in 3 s");
        sandbox.operator(["kill", "named"]).finish().expect(0);
        daemon.wait_for_log(&["named", "failed"]);
    }
}

// Neither do many of them, each of whose pipes is always full, keep the daemon from its other work.
#[test]
fn fifty_floods_at_once_delay_nobody_who_asks_for_the_status() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let floods = "for i in 0..50 { RegisterWatch(#{ znode: \"/n\", description: `y${i}`, \
                  run_on_load: false, action: Exec(\"exec yes\") }); }";
    sandbox.config("app.twc", floods);
    let daemon = sandbox.daemon().args(["--stop-timeout", "0"]).start();
    daemon.wait_for_log(&["app.twc: loaded", "50 added"]);
    let socket = sandbox.control_socket();
    let median = || {
        let mut times: Vec<Duration> = (0..21)
            .map(|_| {
                let asked = Instant::now();
                assert!(get(&socket, "/v1/status").status == 200);
                asked.elapsed()
            })
            .collect();
        times.sort();
        times[times.len() / 2]
    };
    let before = median();
    sandbox.nodes.set("/n", "2");
    wait_until("all of them to run", || daemon.process().children().len() >= 50);
    daemon.wait_for_log(&["lines"]);
    let during = median();
    assert!(during < 10 * before + Duration::from_millis(300), "{during:?}, and {before:?} before");
    let ticks = daemon.process().cpu_ticks();
    throughout(Duration::from_secs(3), || {});
    let used = daemon.process().cpu_ticks() - ticks;
    assert!(used < 250, "{used} ticks in 3 s");
}

// The end of the output counts: a flood is over when all of it was read.
#[test]
fn the_end_of_a_flood_is_logged() {
    let sandbox = sandbox("head -c 20000000 /dev/zero; echo; printf 'the end'");
    let daemon = sandbox.start();
    daemon.wait_for_log(&["named", "the end"]);
}

// "Node data is never logged by default."
#[test]
fn node_data_is_not_logged() {
    for level in ["--log-to-stdout", "-v"] {
        let sandbox = Sandbox::directory();
        let journal = sandbox.journal();
        sandbox.nodes.set("/n", "s3cr3t-one");
        let text = [
            watch("/n", &exec(&format!("{}; exit 1", journal.record())), r#"description: "failing""#),
            watch("/n", "|event| { throw 42 }", r#"description: "throwing""#),
            watch("/n", r#"Exec(["/missing"])"#, r#"description: "missing""#),
        ]
        .concat();
        sandbox.config("app.twc", &text);
        let args = sandbox.daemon();
        let daemon = if level == "-v" { args.arg("-v").start() } else { args.start() };
        journal.wait_for(&["s3cr3t-one"]);
        sandbox.nodes.set("/n", "s3cr3t-two");
        journal.wait_for(&["s3cr3t-one", "s3cr3t-two"]);
        for name in ["failing", "throwing", "missing"] {
            daemon.wait_for_log(&[name]);
        }
        assert!(daemon.log_lines(&["s3cr3t"]).is_empty(), "with {level}: {:#?}", daemon.log());
    }
}

// "quiet by default (starts, ends that failed, config changes, connection changes)"
#[test]
fn by_default_starts_and_failed_ends_and_config_changes_are_logged() {
    let sandbox = sandbox("exit 42");
    let daemon = sandbox.start();
    daemon.wait_for_log(&["app.twc"]);
    daemon.wait_for_log(&["named", "start"]);
    daemon.wait_for_log(&["named", "42"]);
    sandbox.config("new.twc", "");
    sandbox.config("app.twc", "RegisterWatch(");
    daemon.wait_for_log(&["app.twc:1:"]);
}

// Without flags, successful ends are not logged.
#[test]
fn verbose_also_logs_successful_ends() {
    let sandbox = sandbox("true");
    let journal = sandbox.journal();
    sandbox.config("marker.twc", watch("/n", &exec(&journal.record()), r#"description: "marker""#));
    let verbose = sandbox.daemon().arg("--verbose").start();
    verbose.wait_for_log(&["named", "ended"]);
    drop(verbose);
    let quiet = sandbox.start();
    quiet.wait_for_log(&["named", "start"]);
    // The second run of a watch starts after the end of the first.
    sandbox.nodes.set("/n", "new");
    wait_until("a second run", || quiet.log_lines(&["named", "start"]).len() == 2);
    assert!(quiet.log_lines(&["named", "ended"]).is_empty(), "{:#?}", quiet.log());
}

// "Success with its duration is logged by default for what a person starts"
#[test]
fn the_success_of_what_an_operator_triggered_is_logged() {
    let sandbox = sandbox("true");
    let daemon = sandbox.start();
    daemon.wait_for_log(&["app.twc:named run 1: started"]);
    wait_until("an end", || sandbox.operator(["history"]).finish().text().contains("success"));
    sandbox.operator(["trigger", "named"]).finish().expect(0);
    daemon.wait_for_log(&[" NOTICE ", "app.twc:named run 2: ended after ", " ms"]);
    assert_eq!(daemon.log_lines(&["ended after"]).len(), 1, "that of the load is not: {:#?}", daemon.log());
}

// "Colour in logs and errors on a terminal (NO_COLOR respected)"
#[test]
fn levels_have_colours_on_a_terminal() {
    let sandbox = sandbox("exit 3");
    let daemon = || sandbox.daemon().args(["--once", "-d"]);
    let (_, shown) = daemon().finish_on_terminal(80);
    for level in ["\u{1b}[1mNOTICE \u{1b}[0m ", "\u{1b}[33mWARNING\u{1b}[0m ", "\u{1b}[2mDEBUG  \u{1b}[0m "] {
        assert!(shown.contains(level), "{level:?}: {shown:?}");
    }
    let (_, plain) = daemon().env("NO_COLOR", "1").finish_on_terminal(80);
    assert!(!plain.contains('\u{1b}') && plain.contains(" NOTICE  "), "{plain:?}");
    assert!(!daemon().finish().text().contains('\u{1b}'));
}

// "--log-file FILE"
#[test]
fn the_log_goes_to_a_file_when_one_is_named() {
    let sandbox = sandbox("echo to the file");
    let file = sandbox.path("daemon.log");
    let daemon = sandbox.daemon_logging_elsewhere().arg("--log-file").arg(&file).start();
    wait_until("the line in the file", || {
        fs::read_to_string(&file).is_ok_and(|log| log.contains("to the file"))
    });
    assert!(daemon.log().is_empty(), "{:#?}", daemon.log());
}

// "Without a terminal or `--log-to-stdout` the log goes to syslog, facility daemon", "surviving a missing or
// restarted `/dev/log`".
#[test]
fn without_a_terminal_the_log_goes_to_syslog_and_survives_its_restart() {
    require_root();
    let sandbox = sandbox(r#"printf 'heard \033[31m%s\n' "$(cat)""#);
    let devices = sandbox.path("dev");
    fs::create_dir(&devices).expect("create a directory");
    let socket = devices.join("log");
    let own_devices = own_devices(&devices);
    // The daemon starts while there is no syslog daemon, so stderr has the log meanwhile.
    let daemon = sandbox.daemon_logging_elsewhere();
    let daemon = daemon.under(["unshare", "--mount", "sh", "-c", &own_devices, "sh"]).start();
    daemon.wait_for_log(&["syslog (/dev/log)", "the log goes to stderr"]);
    daemon.wait_for_log(&["named", "heard ", "content"]);
    sandbox.operator(["status", "--check"]).finish().expect(0);
    let bound = SyslogSocket::bind(&socket);
    let line = bound.wait_for(&["named", "heard ", "content"]);
    assert!(!line.trim_end().contains(char::is_control), "{line:?}");
    let priority: u32 = line
        .strip_prefix('<')
        .and_then(|rest| rest.split_once('>'))
        .and_then(|(priority, _)| priority.parse().ok())
        .unwrap_or_else(|| panic!("{line:?} starts with a priority"));
    assert_eq!(priority >> 3, 3, "facility daemon: {line}");
    daemon.wait_for_log(&["the log goes to syslog"]);
    drop(bound);
    sandbox.nodes.set("/n", "between");
    daemon.wait_for_log(&["named", "heard ", "between"]);
    let check = || sandbox.operator(["status", "--check"]).finish();
    assert_eq!(check().code, Some(1));
    check().expect_said(&["log: syslog (/dev/log): ", "start a syslog daemon"]);
    let bound = SyslogSocket::bind(&socket);
    sandbox.nodes.set("/n", "after");
    bound.wait_for(&["named", "heard ", "between"]);
    bound.wait_for(&["named", "heard ", "after"]);
    check().expect(0);
}

// "`log_format = \"json\"`", on syslog: each message is one object, also that of an error of several lines.
#[test]
fn syslog_gets_one_json_object_a_message() {
    require_root();
    let sandbox = sandbox(r#"printf 'a"b\nc\n'"#);
    sandbox.config("bad.twc", "RegisterWatch(#{\n    znode: \"/n\",\n    acton: 3,\n});");
    let devices = sandbox.path("dev");
    fs::create_dir(&devices).expect("create a directory");
    let socket = devices.join("log");
    let bound = SyslogSocket::bind(&socket);
    let own_devices = own_devices(&devices);
    let daemon = sandbox.daemon_logging_elsewhere().args(["--log-format", "json"]);
    let _daemon = daemon.under(["unshare", "--mount", "sh", "-c", &own_devices, "sh"]).start();
    let object = |message: &str| {
        let (_, object) = message.split_once("]: ").unwrap_or_else(|| panic!("{message:?} has a head"));
        assert!(!object.trim_end_matches('\n').contains('\n'), "{message:?}");
        serde_json::from_str::<serde_json::Value>(object).unwrap_or_else(|error| panic!("{error}: {object}"))
    };
    let mut wanted = vec!["bad.twc:3:5", "a\\\"b", "stdout: c"];
    while !wanted.is_empty() {
        let message = bound.wait_for(&[]);
        let line = object(&message);
        assert!(
            line["time"].is_string() && line["level"].is_string() && line["message"].is_string(),
            "{line}"
        );
        if message.contains("bad.twc:3:5") {
            assert_eq!(
                (&line["file"], &line["line"], &line["column"]),
                (&"bad.twc".into(), &3.into(), &5.into())
            );
        }
        wanted.retain(|text| !message.contains(text));
    }
}

/// A script that runs its arguments with this directory as `/dev`: the machine's syslog daemon is left alone.
fn own_devices(devices: &Path) -> String {
    format!(
        "for device in null zero full random urandom tty; do
             : > {0}/$device && mount --bind /dev/$device {0}/$device || exit
         done
         ln -s /proc/self/fd {0}/fd && mount --rbind {0} /dev && exec \"$@\"",
        devices.display()
    )
}

/// The socket of a syslog daemon.
struct SyslogSocket<'a> {
    path: &'a Path,
    socket: UnixDatagram,
}

impl<'a> SyslogSocket<'a> {
    fn bind(path: &'a Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("bind the syslog socket");
        socket.set_nonblocking(true).expect("a socket that never blocks");
        Self { path, socket }
    }

    /// Waits for a message that contains all of `parts`.
    #[track_caller]
    fn wait_for(&self, parts: &[&str]) -> String {
        let mut buffer = vec![0; 64 * 1024];
        wait_for(&format!("a syslog message with {parts:?}"), || {
            let length = self.socket.recv(&mut buffer).ok()?;
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            parts.iter().all(|part| message.contains(part)).then_some(message)
        })
    }
}

impl Drop for SyslogSocket<'_> {
    fn drop(&mut self) {
        fs::remove_file(self.path).expect("remove the syslog socket");
        // As for the journal: a process that is just being started may have a copy.
        self.socket.shutdown(Shutdown::Both).expect("close the syslog socket");
    }
}
