//! The execution context that a watch gives its action: environment variables, working directory, umask, nice
//! value, resource limits, privileges, and the destination of the output.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Child;

use crate::harness::{Sandbox, Twitcher, command, exec, require_root, wait_for, wait_until, watch};

const NOBODY: u32 = 65534;

/// The number of the capability's bit; see capabilities(7).
const CAP_SYS_RESOURCE: u32 = 24;

/// The daemon with at most 2,048 descriptors and without the capability to raise a hard limit.
fn without_raising(daemon: Twitcher) -> Twitcher {
    let drop = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource", "--"];
    daemon.under(["prlimit", "--nofile=1024:2048"]).under(drop)
}

/// A sandbox in which `/n` contains `content`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    sandbox
}

/// A watch whose action runs `script` as nobody and then moves its output to the file `name` in one step.
fn reporting(sandbox: &Sandbox, name: &str, script: &str, more: &str) -> String {
    let (new, report) = (sandbox.path(&format!("{name}.new")), sandbox.path(name));
    let (new, report) = (new.display(), report.display());
    let script = format!("{{ {script}; }} > {new}; mv {new} {report}");
    watch("/n", &exec(&script), &format!("uid: \"nobody\", description: {name:?}, {more}"))
}

/// Waits for the file `name` and returns its text.
#[track_caller]
fn report(sandbox: &Sandbox, name: &str) -> String {
    wait_until(&format!("the report {name}"), || sandbox.has(name));
    sandbox.read_text(name)
}

/// The output of `script` as the action of a watch with these keys.
#[track_caller]
fn report_of(script: &str, more: &str) -> String {
    let sandbox = sandbox();
    sandbox.config("app.twc", reporting(&sandbox, "report", script, more));
    let _daemon = sandbox.start();
    report(&sandbox, "report")
}

// ---- env -----------------------------------------------------------------------------------------

#[test]
fn an_action_has_the_variables_that_its_watch_gives() {
    require_root();
    let env = r#"env: #{ TEXT: "a 'b'  $c", EMPTY: "", INT: 42, FLOAT: 0.5, FLAG: true, HOME: "/srv",
        SHELL: "sh" }"#;
    let report = report_of("tr '\\000' '\\n' < /proc/$$/environ", env);
    let lines: Vec<_> = report.lines().collect();
    for line in ["TEXT=a 'b'  $c", "EMPTY=", "INT=42", "FLOAT=0.5", "FLAG=true"] {
        assert!(lines.contains(&line), "{line} in {report}");
    }
    let named = |name: &str| -> Vec<_> { lines.iter().filter(|line| line.starts_with(name)).collect() };
    assert_eq!(named("HOME="), [&"HOME=/srv"], "this replaces the user's");
    assert_eq!(named("SHELL="), [&"SHELL=sh"]);
    assert_eq!(named("USER="), [&"USER=nobody"], "the other variables stay");
    assert_eq!(named("TWITCHER_").len(), 5, "{report}");
    assert_eq!(lines.len(), 10 + 5, "there are no others: {report}");
}

#[test]
fn the_path_that_a_watch_gives_is_where_its_program_is_looked_for() {
    let sandbox = sandbox();
    let report_path = sandbox.path("report");
    sandbox.executable("greet", &format!("#!/bin/sh\necho \"$1 $PATH\" > {}\n", report_path.display()));
    let directory = sandbox.path("");
    let path = format!("/none:{}:/bin", directory.display());
    let with_path = format!("env: #{{ PATH: {path:?} }}");
    sandbox.config(
        "app.twc",
        [
            watch("/n", r#"Exec(["greet", "hello"])"#, &with_path),
            watch("/n", r#"Exec(["greet", "hello"])"#, r#"description: "usual""#),
        ]
        .concat(),
    );
    let daemon = sandbox.start();
    daemon.wait_for_log(&["usual", "cannot start greet: No such file"]);
    wait_until("the program's report", || {
        sandbox.has("report") && sandbox.read_text("report") == format!("hello {path}\n")
    });
}

// ---- cwd -----------------------------------------------------------------------------------------

#[test]
fn an_action_starts_in_its_watchs_directory() {
    require_root();
    let sandbox = sandbox();
    let home = sandbox.path("home");
    fs::create_dir(&home).expect("create a directory");
    // Only its owner nobody can enter it.
    fs::set_permissions(&home, Permissions::from_mode(0o700)).expect("close it");
    chown(&home, Some(NOBODY), Some(NOBODY)).expect("give it away");
    sandbox.config("app.twc", reporting(&sandbox, "report", "pwd", &format!("cwd: {home:?}")));
    let _daemon = sandbox.start();
    assert_eq!(report(&sandbox, "report"), format!("{}\n", home.display()));
}

// "entered under the action's own identity", "an error of that run that names the directory, never a stuck
// watch"
#[test]
fn a_directory_that_cannot_be_entered_is_an_error_of_that_run_that_names_it() {
    require_root();
    let sandbox = sandbox();
    let (closed, missing) = (sandbox.path("closed"), sandbox.path("missing"));
    fs::create_dir(&closed).expect("create a directory");
    // Root itself could enter.
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).expect("close it");
    sandbox.config(
        "app.twc",
        [
            reporting(&sandbox, "closed-report", "pwd", &format!("cwd: {closed:?}")),
            reporting(&sandbox, "missing-report", "pwd", &format!("cwd: {missing:?}")),
        ]
        .concat(),
    );
    let daemon = sandbox.start();
    let (closed_text, missing_text) = (closed.display(), missing.display());
    daemon.wait_for_log(&[
        "closed-report",
        &format!("cannot start /bin/sh: cwd {closed_text}: Permission denied"),
    ]);
    daemon.wait_for_log(&[
        "missing-report",
        &format!("cannot start /bin/sh: cwd {missing_text}: No such file"),
    ]);
    fs::create_dir(&missing).expect("create a directory");
    fs::set_permissions(&closed, Permissions::from_mode(0o755)).expect("open it");
    sandbox.nodes.set("/n", "more");
    for (name, directory) in [("closed-report", &closed), ("missing-report", &missing)] {
        assert_eq!(report(&sandbox, name), format!("{}\n", directory.display()));
    }
}

#[test]
fn the_error_of_a_missing_program_names_the_program_and_no_key() {
    let sandbox = sandbox();
    let keys = r#"cwd: "/tmp", nice: 1, umask: 0o077, no_new_privs: true, description: "gone""#;
    sandbox.config("app.twc", watch("/n", r#"Exec(["/no/such/program"])"#, keys));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["gone", "cannot start /no/such/program: No such file"]);
}

// ---- umask, nice, no_new_privs -------------------------------------------------------------------

#[test]
fn an_action_has_its_watchs_umask() {
    require_root();
    assert_eq!(report_of("umask", "umask: 0o027"), "0027\n");
    assert_eq!(report_of("umask", "umask: 0"), "0000\n");
}

#[test]
fn an_action_has_its_watchs_nice_in_its_session_and_among_all() {
    require_root();
    let look = "nice; sed 's/.* //' /proc/self/autogroup 2>/dev/null || :";
    let of_the_session = |nice: &str| match fs::exists("/proc/self/autogroup") {
        Ok(true) => format!("{nice}\n{nice}\n"),
        Ok(false) | Err(_) => format!("{nice}\n"),
    };
    assert_eq!(report_of(look, "nice: 10"), of_the_session("10"));
    // Only root may do this, and the daemon is still root when it does it.
    assert_eq!(report_of(look, "nice: -5"), of_the_session("-5"));
}

#[test]
fn nice_is_absolute_and_not_added_to_the_daemons_own() {
    let sandbox = sandbox();
    let watches = ["", "nice: 3"].map(|nice| {
        let name = if nice.is_empty() { "inherited" } else { "set" };
        reporting(&sandbox, name, "nice", nice)
    });
    sandbox.config("app.twc", watches.concat());
    let _daemon = sandbox.daemon().under(["nice", "-n", "7"]).start();
    assert_eq!((report(&sandbox, "inherited"), report(&sandbox, "set")), ("7\n".into(), "3\n".into()));
}

#[test]
fn without_root_a_nice_below_0_is_an_error_at_load() {
    require_root();
    let sandbox = sandbox();
    sandbox.config("app.twc", watch("/n", &exec("true"), "nice: -1"));
    let binary = sandbox.copy_of_the_binary();
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let check = sandbox.twitcher(["check"]).arg(sandbox.configs()).binary(&binary).under(as_nobody).finish();
    check.expect(1).expect_said(&[
        "app.twc:1:53: `nice`: only root can run actions below 0; the config asks for -1, and this is \
         uid 65534\n",
    ]);
}

#[test]
fn an_action_gains_no_privileges_if_its_watch_says_so() {
    require_root();
    let look = "grep NoNewPrivs /proc/self/status";
    assert_eq!(report_of(look, "no_new_privs: true"), "NoNewPrivs:\t1\n");
    assert_eq!(report_of(look, ""), "NoNewPrivs:\t0\n");
}

// ---- rlimits -------------------------------------------------------------------------------------

/// The soft and the hard limit in a line of `/proc/PID/limits`.
fn limit<'a>(limits: &'a str, name: &str) -> (&'a str, &'a str) {
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("a line of that name");
    let mut values = line.split_whitespace();
    (values.next().expect("a soft limit"), values.next().expect("a hard limit"))
}

#[test]
fn an_action_has_its_watchs_limits_soft_and_hard() {
    require_root();
    let limits = r#"rlimits: #{ nofile: 100, nproc: 900, "as": 2000000000, core: 4096, cpu: 100,
        fsize: 1000000, stack: 1000000, memlock: 4096, data: 500000000, sigpending: 10 }"#;
    let report = report_of("cat /proc/self/limits", limits);
    for (name, value) in [
        ("Max open files", "100"),
        ("Max processes", "900"),
        ("Max address space", "2000000000"),
        // Without this key an action dumps no core.
        ("Max core file size", "4096"),
        ("Max cpu time", "100"),
        ("Max file size", "1000000"),
        ("Max stack size", "1000000"),
        ("Max locked memory", "4096"),
        ("Max data size", "500000000"),
        ("Max pending signals", "10"),
    ] {
        assert_eq!(limit(&report, name), (value, value), "{name} in {report}");
    }
    assert_eq!(limit(&report, "Max resident set"), ("unlimited", "unlimited"), "{report}");
}

#[test]
fn a_hard_limit_that_cannot_be_raised_is_an_error_of_that_run_that_names_it() {
    let sandbox = sandbox();
    sandbox.config(
        "app.twc",
        [
            reporting(&sandbox, "beyond", "true", "rlimits: #{ nofile: 4096 }"),
            reporting(&sandbox, "endless", "true", "rlimits: #{ nofile: \"unlimited\" }"),
            reporting(&sandbox, "within", "ulimit -Sn; ulimit -Hn", "rlimits: #{ nofile: 2048 }"),
        ]
        .concat(),
    );
    let daemon = without_raising(sandbox.daemon()).start();
    daemon.wait_for_log(&["beyond", "cannot start /bin/sh: rlimits nofile 4096: Operation not permitted"]);
    daemon.wait_for_log(&[
        "endless",
        "cannot start /bin/sh: rlimits nofile unlimited: Operation not permitted",
    ]);
    assert_eq!(report(&sandbox, "within"), "2048\n2048\n");
}

// Root in a container often lacks the capability. Then there is nothing to test.
#[test]
fn root_raises_hard_limits_for_others() {
    let status = fs::read_to_string("/proc/self/status").expect("read our status");
    let privileges = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).expect("our privileges");
    let may_raise = u64::from_str_radix(privileges, 16).expect("a number") & 1 << CAP_SYS_RESOURCE != 0;
    if !may_raise {
        return;
    }
    let sandbox = sandbox();
    let limits = "rlimits: #{ nofile: 4096, nproc: 900 }";
    sandbox.config("app.twc", reporting(&sandbox, "report", "cat /proc/self/limits", limits));
    let _daemon = sandbox.daemon().under(["prlimit", "--nofile=1024:2048", "--nproc=800:800"]).start();
    let report = report(&sandbox, "report");
    assert_eq!(limit(&report, "Max open files"), ("4096", "4096"));
    assert_eq!(limit(&report, "Max processes"), ("900", "900"));
}

/// A process of the user nobody, which ends when this is dropped.
struct Bystander(Child);

impl Bystander {
    fn start() -> Self {
        let as_nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=KILL"];
        let child = command("setpriv").args(as_nobody).args(["sleep", "1000"]).spawn();
        let bystander = Self(child.expect("start a process"));
        let status = format!("/proc/{}/status", bystander.0.id());
        wait_until("it to run as nobody", || {
            fs::read_to_string(&status).is_ok_and(|status| status.contains("Uid:\t65534"))
        });
        bystander
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.0.kill().expect("end it");
        self.0.wait().expect("reap it");
    }
}

// The kernel counts all processes of a user. Processes outside of the action must not keep the action from
// starting, but only from forking.
#[test]
fn a_user_with_more_processes_than_the_limit_still_gets_the_action() {
    require_root();
    let _bystanders = [Bystander::start(), Bystander::start()];
    let sandbox = sandbox();
    let copy = sandbox.path("limits");
    let words = format!(r#"Exec(["cp", "/proc/self/limits", {copy:?}])"#);
    sandbox.config("app.twc", watch("/n", &words, r#"uid: "nobody", rlimits: #{ nproc: 1 }"#));
    let _daemon = sandbox.start();
    let limits = wait_for("the copy", || {
        fs::read_to_string(&copy).ok().filter(|limits| limits.contains("Max realtime timeout"))
    });
    assert_eq!(limit(&limits, "Max processes"), ("1", "1"));
}

// ---- output --------------------------------------------------------------------------------------

/// The output of runs that the ledger has.
fn kept(sandbox: &Sandbox) -> Vec<String> {
    let ledger = rusqlite::Connection::open(sandbox.state().join("ledger.db")).expect("open the ledger");
    let mut outputs = ledger.prepare("SELECT CAST(output AS TEXT) FROM history").expect("prepare");
    let rows = outputs.query_map([], |row| row.get::<_, Option<String>>(0)).expect("query");
    rows.filter_map(|output| output.expect("a row")).filter(|output| !output.is_empty()).collect()
}

const TALK: &str = "echo spoken; echo shouted >&2";

#[test]
fn discarded_output_is_neither_logged_nor_kept() {
    let sandbox = sandbox();
    let look = format!(
        "{TALK}; ends=$(readlink /proc/$$/fd/1 /proc/$$/fd/2); echo \"$ends\" > {}",
        sandbox.path("ends").display()
    );
    sandbox.config(
        "app.twc",
        [
            watch("/n", &exec(&look), r#"output: "discard", description: "quiet""#),
            watch("/n", &exec("echo heard"), r#"output: "log", description: "loud""#),
        ]
        .concat(),
    );
    let mut daemon = sandbox.daemon().arg("-v").start();
    daemon.wait_for_log(&["quiet", "ended"]);
    daemon.wait_for_log(&["loud", "stdout: heard"]);
    daemon.wait_for_log(&["loud", "ended"]);
    assert_eq!(sandbox.read_text("ends"), "/dev/null\n/dev/null\n");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(daemon.log_lines(&["quiet", "spoken"]), [""; 0]);
    assert_eq!(daemon.log_lines(&["quiet", "shouted"]), [""; 0]);
    assert_eq!(kept(&sandbox), ["heard\n"]);
}

#[test]
fn output_goes_to_a_file_without_passing_through_the_daemon() {
    require_root();
    let sandbox = sandbox();
    // The user nobody can neither create nor open a file there, but the daemon can.
    let logs = sandbox.root().join("logs");
    fs::create_dir(&logs).expect("create a directory");
    fs::set_permissions(&logs, Permissions::from_mode(0o700)).expect("close it");
    let file = logs.join("app.log");
    let keys = format!("uid: \"nobody\", output: {file:?}, description: \"filed\"");
    let says = |text: &str| fs::read_to_string(&file).is_ok_and(|said| said == text);
    sandbox.config("app.twc", watch("/n", &exec(TALK), &keys));
    let mut daemon = sandbox.daemon().arg("-v").start();
    wait_until("the first run's output", || says("spoken\nshouted\n"));
    let metadata = fs::metadata(&file).expect("look at the file");
    assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o640, 0));
    sandbox.nodes.set("/n", "more");
    wait_until("the second run's output", || says("spoken\nshouted\nspoken\nshouted\n"));
    // Logrotate renames files like this.
    fs::rename(&file, logs.join("app.log.1")).expect("rotate");
    sandbox.nodes.set("/n", "still more");
    wait_until("the third run's output", || says("spoken\nshouted\n"));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(daemon.log_lines(&["spoken"]), [""; 0]);
    assert_eq!(kept(&sandbox), [""; 0]);
}

// "it must be a regular file or it is an error of that run, and opening must not block"
#[test]
fn an_output_file_that_cannot_be_opened_is_an_error_of_that_run_that_names_it() {
    let sandbox = sandbox();
    let journal = sandbox.journal();
    let pipe = sandbox.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("make a pipe");
    let read_pipe = sandbox.path("read-pipe");
    nix::unistd::mkfifo(&read_pipe, nix::sys::stat::Mode::S_IRWXU).expect("make a pipe");
    let _reader = fs::File::options().read(true).write(true).open(&read_pipe).expect("read the pipe");
    let late = sandbox.path("late").join("log");
    let cases = [
        ("pipe", pipe.as_path(), "not a regular file"),
        ("read-pipe", &read_pipe, "not a regular file"),
        ("device", Path::new("/dev/null"), "not a regular file"),
        ("directory", &sandbox.path(""), "Is a directory"),
        ("late", &late, "No such file"),
    ];
    let watches = cases.map(|(name, path, _)| {
        watch("/n", &exec(&journal.note(name)), &format!("output: {path:?}, description: {name:?}"))
    });
    sandbox.config("app.twc", watches.concat());
    let daemon = sandbox.start();
    for (name, path, reason) in &cases {
        let said = format!("cannot start /bin/sh: output {}: {reason}", path.display());
        daemon.wait_for_log(&[&format!("app.twc:{name} "), &said]);
    }
    fs::create_dir(late.parent().expect("a directory")).expect("create it");
    sandbox.nodes.set("/n", "more");
    journal.wait_for(&["late"]);
}

// ---- all of these ---------------------------------------------------------------------------------

#[test]
fn a_function_gets_all_of_these_as_well() {
    require_root();
    let sandbox = sandbox();
    let file = sandbox.path("said");
    let body = r#"|event| {
        print(env("GREETING"));
        let looked = run("pwd; umask; nice; ulimit -n; grep NoNewPrivs /proc/self/status");
        print(looked.stdout);
    }"#;
    let keys = format!(
        "uid: \"nobody\", env: #{{ GREETING: \"hello\" }}, cwd: \"/tmp\", umask: 0o077, nice: 4, \
         rlimits: #{{ nofile: 99 }}, no_new_privs: true, output: {file:?}"
    );
    sandbox.config("app.twc", watch("/n", body, &keys));
    let _daemon = sandbox.start();
    wait_until("what it said", || {
        sandbox.has("said") && sandbox.read_text("said") == "hello\n/tmp\n0077\n4\n99\nNoNewPrivs:\t1\n\n"
    });
}

#[test]
fn a_function_whose_limits_are_too_low_for_the_interpreter_says_so() {
    let sandbox = sandbox();
    let keys = r#"rlimits: #{ "as": 80000000 }, description: "starved""#;
    sandbox.config("app.twc", watch("/n", "|event| 0", keys));
    let daemon = sandbox.start();
    daemon.wait_for_log(&[
        "starved",
        "the interpreter takes a thread with 64 MiB of stack",
        "`rlimits` `as`",
    ]);
    daemon.wait_for_log(&["starved", "failed: exit code 1"]);
}

#[test]
fn a_change_of_any_of_these_keys_is_a_change_of_the_watch() {
    let sandbox = sandbox();
    let journal = sandbox.journal();
    let define = |keys: &str| sandbox.config("app.twc", watch("/n", &exec(&journal.note("ran")), keys));
    define("");
    let daemon = sandbox.daemon().arg("-v").start();
    wait_until("the first run", || journal.count("ran") == 1);
    // These are the defaults.
    define(r#"env: #{}, cwd: "/", umask: 0o022, rlimits: #{}, no_new_privs: false, output: "log""#);
    daemon.wait_for_log(&["app.twc: loaded, 0 added, 0 changed, 0 removed"]);
    let changes = [
        r#"env: #{ A: "1" }"#,
        r#"cwd: "/tmp""#,
        "umask: 0o077",
        "nice: 1",
        "rlimits: #{ nofile: 50 }",
        "no_new_privs: true",
        r#"output: "discard""#,
    ];
    for (n, keys) in changes.into_iter().enumerate() {
        define(keys);
        wait_until(&format!("a run for {keys}"), || journal.count("ran") == n + 2);
    }
}
