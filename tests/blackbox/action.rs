//! Tests of what an action gets: environment, identity, descriptors, signals.

use std::collections::BTreeMap;

use crate::harness::{Daemon, Sandbox, Twitcher, exec, on_every_store, require_root, wait_until, watch};

/// The user `nobody`, who exists everywhere and owns nothing.
const NOBODY: &str = "65534";

/// Starts a daemon with one watch whose action runs `script`. Returns what `script` prints, and the daemon.
#[track_caller]
fn report_of(sandbox: &Sandbox, daemon: Twitcher, script: &str, more: &str) -> (String, Daemon) {
    sandbox.nodes.set("/n", "content");
    let (new, report) = (sandbox.path("report.new"), sandbox.path("report"));
    let script =
        format!("{{ {script}; }} > {new}; mv {new} {report}", new = new.display(), report = report.display());
    sandbox.config("app.twc", watch("/n", &exec(&script), more));
    let daemon = daemon.start();
    wait_until("the action's report", || report.exists());
    (sandbox.read_text("report"), daemon)
}

/// Parses `Name:  values` lines as in `/proc/PID/status`. The values become separated by single spaces.
fn status(text: &str) -> BTreeMap<&str, String> {
    let words = |values: &str| values.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, values)| (name, words(values))).collect()
}

// "Environment: `PATH`, `HOME`, `USER`, `LOGNAME`, `SHELL` of its user, and `TWITCHER_WATCH`,
// `TWITCHER_ZNODE`, `TWITCHER_EVENT` (`load`, `created`, `changed`, `children`), `TWITCHER_VERSION`,
// `TWITCHER_RUN_ID`."
#[test]
fn an_action_gets_exactly_the_promised_environment() {
    let sandbox = Sandbox::directory();
    let daemon = sandbox.daemon().env("DAEMON_SECRET", "hunter2");
    let dump = "tr '\\000' '\\n' < /proc/$$/environ";
    let (report, _daemon) = report_of(&sandbox, daemon, dump, r#"description: "named", uid: "nobody""#);
    let env: BTreeMap<_, _> = report.lines().filter_map(|line| line.split_once('=')).collect();
    let mut names: Vec<_> = env.keys().copied().collect();
    names.sort();
    let promised = [
        "HOME",
        "LOGNAME",
        "PATH",
        "SHELL",
        "TWITCHER_EVENT",
        "TWITCHER_RUN_ID",
        "TWITCHER_VERSION",
        "TWITCHER_WATCH",
        "TWITCHER_ZNODE",
        "USER",
    ];
    assert_eq!(names, promised);
    assert_eq!((env["USER"], env["LOGNAME"], env["HOME"]), ("nobody", "nobody", "/nonexistent"));
    assert_eq!((env["TWITCHER_ZNODE"], env["TWITCHER_EVENT"]), ("/n", "load"));
    assert!(env["TWITCHER_WATCH"].contains("named"));
    assert!(env["PATH"].split(':').any(|directory| directory == "/bin"));
    assert!(!env["TWITCHER_RUN_ID"].is_empty() && env["TWITCHER_VERSION"].parse::<i64>().is_ok());
}

// "TWITCHER_RUN_ID"
#[test]
fn each_run_has_a_run_id_of_its_own() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watch("/n", &exec(&journal.note("$TWITCHER_RUN_ID")), ""));
    let _daemon = sandbox.start();
    wait_until("one run", || journal.lines().len() == 1);
    sandbox.nodes.set("/n", "2");
    wait_until("another run", || journal.lines().len() == 2);
    let ids = journal.lines();
    assert_ne!(ids[0], ids[1]);
}

// "Node data never enters a command line or the environment."
#[test]
fn node_data_enters_neither_command_line_nor_environment() {
    let sandbox = Sandbox::directory();
    let dump = "cat /proc/$$/environ /proc/$$/cmdline | tr '\\000' '\\n'";
    let (report, _daemon) = report_of(&sandbox, sandbox.daemon(), dump, "");
    assert!(!report.contains("content"), "{report}");
}

// "Own session, cwd `/`, umask 022"
#[test]
fn an_action_leads_its_own_session_at_the_root_with_umask_022() {
    let sandbox = Sandbox::directory();
    let script = "cut -d' ' -f1,5,6 /proc/$$/stat; readlink /proc/$$/cwd; umask";
    let daemon = sandbox.daemon().under(["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    let (report, _daemon) = report_of(&sandbox, daemon, script, "");
    let lines: Vec<_> = report.lines().collect();
    let ids: Vec<_> = lines[0].split(' ').collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "process, group and session are one: {ids:?}");
    assert_eq!(lines[1..], ["/", "0022"]);
}

// "default signal dispositions and mask", whatever the daemon inherited or handles itself.
#[test]
fn an_action_has_default_signal_dispositions_and_mask() {
    let sandbox = Sandbox::directory();
    let daemon = sandbox.daemon().under(["env", "--ignore-signal=PIPE,USR1,INT", "--block-signal=USR2,CHLD"]);
    let (report, _daemon) = report_of(&sandbox, daemon, "cat /proc/self/status", "");
    let status = status(&report);
    // This includes the signals that glibc keeps for itself. Its posix_spawn leaves them ignored in every
    // program that this suite starts.
    for set in ["SigBlk", "SigIgn", "SigCgt"] {
        assert_eq!(u64::from_str_radix(&status[set], 16), Ok(0), "{set} in {report}");
    }
}

// "no core dump (soft limit only)"
#[test]
fn an_action_dumps_no_core_but_may_ask_to() {
    let sandbox = Sandbox::directory();
    let daemon = sandbox.daemon().under(["prlimit", "--core=4096:8192"]);
    let (report, _daemon) = report_of(&sandbox, daemon, "ulimit -Sc; grep -i core /proc/self/limits", "");
    let limits: Vec<_> = report.split_whitespace().collect();
    assert_eq!(
        (limits[0], limits[limits.len() - 3..].to_vec()),
        ("0", vec!["0", "8192", "bytes"]),
        "{report}"
    );
}

// "no file descriptor but 0, 1, 2"
on_every_store!(an_action_has_the_descriptors_0_1_and_2_and_no_other);
fn an_action_has_the_descriptors_0_1_and_2_and_no_other(sandbox: &Sandbox) {
    let inheriting = "exec 7</etc/passwd 8>/dev/null; exec \"$@\"";
    let daemon = sandbox.daemon().under(["sh", "-c", inheriting, "sh"]);
    // An inner shell looks, because the outer one keeps a copy of its stdout open, which exec closes.
    let look = "sh -c 'ls /proc/$$/fd'";
    let (report, _daemon) = report_of(sandbox, daemon, look, "");
    assert_eq!(report.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2"]);
}

// "`uid` without `gid` means the user's primary group and supplementary groups; nothing of root is left"
#[test]
fn nothing_of_root_is_left_in_an_action_of_nobody() {
    require_root();
    for uid in [r#"uid: "nobody""#, "uid: 65534"] {
        let sandbox = Sandbox::directory();
        let daemon = sandbox.daemon().under(["setpriv", "--groups", "0,4,27", "--"]);
        let (report, _daemon) = report_of(&sandbox, daemon, "cat /proc/self/status", uid);
        let status = status(&report);
        let all_of = |id: &str| [id; 4].join(" ");
        assert_eq!((&status["Uid"], &status["Gid"]), (&all_of(NOBODY), &all_of(NOBODY)), "{uid}");
        assert_eq!(status["Groups"], NOBODY, "{uid}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&status[set], 16), Ok(0), "{set} with {uid}");
        }
    }
}

// "`gid: 0` is honoured."
#[test]
fn gid_0_is_honoured() {
    require_root();
    let sandbox = Sandbox::directory();
    let (report, _daemon) =
        report_of(&sandbox, sandbox.daemon(), "cat /proc/self/status", r#"uid: "nobody", gid: 0"#);
    let status = status(&report);
    assert_eq!((status["Uid"].as_str(), status["Gid"].as_str()), ("65534 65534 65534 65534", "0 0 0 0"));
}

// "uid, gid: int or name"
#[test]
fn a_gid_may_be_a_name() {
    require_root();
    let sandbox = Sandbox::directory();
    let (report, _daemon) = report_of(&sandbox, sandbox.daemon(), "id -g; id -u", r#"gid: "daemon""#);
    assert_eq!(report, "1\n0\n");
}

// "Without root, actions run as the caller, and another `uid` is an error at load."
#[test]
fn without_root_actions_run_as_the_caller_and_another_uid_is_an_error() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    sandbox.config("mine.twc", watch("/n", &exec(&journal.note("mine $(id -u)")), ""));
    sandbox.config("other.twc", watch("/n", &exec(&journal.note("other")), r#"uid: "root""#));
    std::os::unix::fs::chown(sandbox.state(), Some(65534), Some(65534)).expect("give the state away");
    let binary = sandbox.copy_of_the_binary();
    let daemon = sandbox
        .daemon()
        .binary(&binary)
        .under(["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"])
        .start();
    journal.wait_for_line("mine 65534");
    daemon.wait_for_log(&["other.twc", "root"]);
    assert_eq!(journal.count("other"), 0);
}

// "`/dev/stdin`, `/dev/stdout`, `/dev/stderr` can be opened under the action's uid."
#[test]
fn the_standard_streams_can_be_opened_by_name_as_nobody() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let script = format!(
        "echo spoken > /dev/stdout; echo shouted > /dev/stderr; {}",
        journal.note("$(cat /dev/stdin) $(id -un)")
    );
    sandbox.nodes.set("/n", "content");
    sandbox.config("app.twc", watch("/n", &exec(&script), r#"uid: "nobody", description: "streams""#));
    let daemon = sandbox.start();
    journal.wait_for(&["content nobody"]);
    daemon.wait_for_log(&["streams", "spoken"]);
    daemon.wait_for_log(&["streams", "shouted"]);
}

// "`Exec("string")` runs `/bin/sh -c string`; `Exec(["prog", "arg"])` runs exactly that."
#[test]
fn exec_runs_a_string_in_a_shell_and_a_list_as_it_is() {
    let sandbox = Sandbox::directory();
    let (one, two) = (sandbox.path("one"), sandbox.path("two"));
    sandbox.nodes.set("/n", "content");
    let shell = exec(&format!("tr '\\000' '|' < /proc/$$/cmdline > {}", one.display()));
    let list = format!(r#"Exec(["tee", {two:?}, "{}/$HOME; *"])"#, sandbox.path("").display());
    sandbox.config("app.twc", [watch("/n", &shell, ""), watch("/n", &list, "")].concat());
    let _daemon = sandbox.start();
    wait_until("the shell's report", || sandbox.has("one") && sandbox.read_text("one").ends_with('|'));
    assert!(sandbox.read_text("one").starts_with("/bin/sh|-c|tr '"), "{}", sandbox.read_text("one"));
    wait_until("the literal name", || sandbox.has("$HOME; *") && sandbox.read_text("$HOME; *") == "content");
    assert_eq!(sandbox.read_text("two"), "content");
}
