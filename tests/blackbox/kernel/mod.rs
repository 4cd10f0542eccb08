//! Kernels without the newer system calls, and containers that forbid them: "do without where one can".
//!
//! `deny.py` makes system calls fail as an older kernel, or the seccomp profile of a container, does.

use nix::libc::{
    EACCES, EINVAL, ENOLCK, ENOSYS, EOPNOTSUPP, EPERM, SYS_close_range, SYS_epoll_create1, SYS_eventfd2,
    SYS_fcntl, SYS_flock, SYS_memfd_create, SYS_pidfd_open, SYS_prlimit64, SYS_socketpair, c_long,
};

use crate::harness::{
    Daemon, Process, Sandbox, exec, on_every_store, require_root, wait_for, wait_until, watch,
};

/// Debian's Python, which every user can execute.
const PYTHON: &str = "/usr/bin/python3";

/// Starts the sandbox's daemon, for which these system calls fail with these errors.
#[track_caller]
pub fn start_without(sandbox: &Sandbox, calls: &[(c_long, i32)]) -> Daemon {
    require_root();
    let script = sandbox.executable("deny.py", include_str!("deny.py"));
    let calls: Vec<_> = calls.iter().map(|(number, error)| format!("{number}:{error}")).collect();
    let script = script.to_str().expect("temporary paths are UTF-8");
    sandbox.daemon().arg("-v").under([PYTHON, script, &calls.join(",")]).start()
}

#[test]
fn each_newer_system_call_can_be_done_without_and_is_named_at_the_start() {
    let cases: [(&str, &[(c_long, i32)]); 7] = [
        ("pidfd_open", &[(SYS_pidfd_open, EPERM)]),
        ("pidfd_open", &[(SYS_pidfd_open, ENOSYS)]),
        ("close_range", &[(SYS_close_range, EINVAL)]),
        ("close_range", &[(SYS_close_range, ENOSYS)]),
        ("close_range", &[(SYS_close_range, EPERM)]),
        ("memfd_create", &[(SYS_memfd_create, EACCES)]),
        ("memfd_create", &[(SYS_pidfd_open, ENOSYS), (SYS_close_range, ENOSYS), (SYS_memfd_create, ENOSYS)]),
    ];
    for (name, calls) in cases {
        let sandbox = Sandbox::directory();
        let journal = sandbox.journal();
        sandbox.nodes.set("/n", "content");
        let action = format!("[ \"$(cat /dev/stdin)\" = content ] && {}; exit 3", journal.note("ended"));
        let keys = "uid: \"nobody\", description: \"command\"";
        let function =
            watch("/n", "|event| if event.text == \"content\" { 7 } else { 8 }", "uid: \"nobody\"");
        let descriptors = sandbox.path("descriptors");
        let list = format!("uid: \"nobody\", description: \"list\", output: {descriptors:?}");
        let list = watch("/n", r#"Exec(["ls", "/proc/self/fd"])"#, &list);
        sandbox.config("app.twc", watch("/n", &exec(&action), keys) + &*function + &*list);
        let mut daemon = start_without(&sandbox, calls);
        daemon.wait_for_log(&[&format!("the system call {name} fails: "), "use Linux"]);
        daemon.wait_for_log(&["app.twc:command run 1", "failed: exit code 3"]);
        daemon.wait_for_log(&["app.twc-2 run", "failed: exit code 7"]);
        assert_eq!(journal.lines(), ["ended"], "without {calls:?}");
        daemon.wait_for_log(&["app.twc:list run", "ended"]);
        // It has a descriptor for the directory itself.
        let open: Vec<_> = sandbox.read_text("descriptors").lines().map(str::to_owned).collect();
        assert_eq!(open, ["0", "1", "2", "3"], "without {calls:?}");
        assert_eq!(daemon.stop(), Some(0));
    }
}

// "Never two at once in QUEUE and DISCARD, not even across `kill -9` of the daemon."
#[test]
fn an_action_of_a_former_daemon_is_followed_without_pidfd_open() {
    let sandbox = Sandbox::directory();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.nodes.set("/n", "1");
    let action = format!("{}; {}; {}", journal.note("began"), gate.pass(), journal.note("ended"));
    sandbox.config("app.twc", watch("/n", &exec(&action), ""));
    let mut first = start_without(&sandbox, &[(SYS_pidfd_open, ENOSYS)]);
    journal.wait_for(&["began"]);
    first.kill();
    let second = start_without(&sandbox, &[(SYS_pidfd_open, ENOSYS)]);
    second.wait_for_log(&["still runs"]);
    assert_eq!(journal.lines(), ["began"]);
    gate.open();
    journal.wait_for(&["began", "ended", "began", "ended"]);
}

// The processes end while nobody looks; none stays a zombie, and a timeout reaches them.
#[test]
fn a_timeout_ends_an_action_without_pidfd_open() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let pid = sandbox.path("pid");
    let action = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", pid.display());
    sandbox.config("app.twc", watch("/n", &exec(&action), "timeout: 0.3"));
    let daemon = start_without(&sandbox, &[(SYS_pidfd_open, EPERM)]);
    daemon.wait_for_log(&["(timeout)"]);
    let process = Process::parse(&sandbox.read_text("pid"));
    wait_until("its end", || !process.is_alive());
    assert!(daemon.process().children().iter().all(|child| child.is_alive()), "a zombie");
}

// Some network file systems have no locks.
#[test]
fn a_daemon_whose_files_cannot_be_locked_runs_and_says_so_in_the_check() {
    for error in [ENOLCK, EOPNOTSUPP] {
        let sandbox = Sandbox::directory();
        let journal = sandbox.journal();
        sandbox.nodes.set("/n", "content");
        sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
        sandbox.settings(&format!("pid_file = {:?}\n", sandbox.path("pid")));
        let _daemon = start_without(&sandbox, &[(SYS_flock, error)]);
        journal.wait_for(&["content"]);
        let checked = sandbox.operator(["status", "--check"]).finish();
        assert_eq!(checked.code, Some(1), "{checked:#?}");
        checked.expect_said(&["state directory lock: ", "pid file lock: ", "cannot be locked", "local one"]);
        // The path is locked all the same.
        sandbox.daemon().finish().expect(1).expect_said(&["in use by another twitcher"]);
    }
}

#[test]
fn a_daemon_without_proc_says_so_and_does_not_start() {
    require_root();
    let sandbox = Sandbox::directory();
    let hidden = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /proc && exec \"$@\"", "sh"];
    let mut daemon = sandbox.daemon().under(hidden).start();
    assert_eq!(daemon.wait_for_exit(), Some(1));
    wait_for("the reason", || {
        daemon.log_lines(&["/proc is needed", "mount -t proc proc /proc"]).into_iter().next()
    });
}

// "Operation not permitted (os error 1)" alone tells nobody what to permit.
#[test]
fn a_system_call_that_the_start_needs_is_named_with_what_it_is_for() {
    let cases = [
        (SYS_epoll_create1, "wait for events", "epoll_create1"),
        (SYS_eventfd2, "wait for events", "eventfd2"),
        (SYS_socketpair, "receive signals", "socketpair"),
        (SYS_prlimit64, "read the limits", "prlimit64"),
        (SYS_fcntl, "take stdout for the log", "fcntl"),
    ];
    for (number, doing, call) in cases {
        for error in [EPERM, ENOSYS] {
            let sandbox = Sandbox::directory();
            let mut daemon = start_without(&sandbox, &[(number, error)]);
            assert_eq!(daemon.wait_for_exit(), Some(1), "{call}");
            let said = daemon.wait_for_log(&["twitcher: cannot", doing]);
            assert!(said.contains("seccomp filter") && said.contains(call), "{said}");
        }
    }
    // The greatest limit with which the daemon gets as far. With a greater one, the runtime of this build
    // panics over a socket that only tests need.
    let sandbox = Sandbox::directory();
    let short = (8..=18).rev().find_map(|limit| {
        let limited = format!("--nofile={limit}:{limit}");
        let mut daemon = sandbox.daemon().under(["prlimit", &limited]).start();
        (daemon.wait_for_exit() == Some(1)).then_some(daemon)
    });
    short
        .expect("a limit that is too low")
        .wait_for_log(&["twitcher: cannot wait for events: Too many open files", "RLIMIT_NOFILE"]);
}

// systemd/hardening.conf: "The daemon itself works with all lines."
on_every_store!(all_of_the_daemons_work_is_possible_with_the_system_calls_of_the_drop_in);
fn all_of_the_daemons_work_is_possible_with_the_system_calls_of_the_drop_in(sandbox: &Sandbox) {
    require_root();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "[1]");
    let keys = |name: &str, more: &str| format!("uid: \"nobody\", description: {name:?}, {more}");
    let service =
        "RegisterService(#{ service: \"/services/web\", address: \"h:1\", check: Exec(\"true\") });\n";
    let watches = [
        watch("/n", &exec(&journal.record()), &keys("command", "decode: JSON, timeout: 60")),
        watch("/n", "|event| if event.text == \"[1]\" { 7 } else { 8 }", &keys("function", "")),
        watch("/n", &exec("chroot / true"), "description: \"denied\""),
        service.to_owned(),
    ];
    sandbox.config("app.twc", watches.concat());
    let script = sandbox.executable("allow.py", include_str!("allow.py"));
    let script = script.to_str().expect("temporary paths are UTF-8");
    let drop_in = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/hardening.conf");
    let mut daemon = sandbox.daemon().under([PYTHON, script, drop_in]).start();
    journal.wait_for(&["[1]"]);
    daemon.wait_for_log(&["app.twc:function run", "failed: exit code 7"]);
    daemon.wait_for_log(&["app.twc:denied run", "Operation not permitted"]);
    daemon.wait_for_log(&["announced /services/web/h:1"]);
    daemon.wait_for_log(&["members are held by", "confined by Landlock and by seccomp"]);
    let status = sandbox.operator(["status", "--json"]).finish().expect(0).text();
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let confinement = status["daemon"]["stores"][0]["confinement"].as_str().expect("a text");
    assert!(confinement.ends_with("confined by Landlock and by seccomp"), "{confinement}");
    let half = wait_for("the process of the store", || daemon.process().halves().pop());
    half.signal(nix::sys::signal::Signal::SIGKILL);
    sandbox.nodes.set("/n", "[2]");
    journal.wait_for(&["[1]", "[2]"]);
    daemon.wait_for_log(&["app.twc:function run", "failed: exit code 8"]);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(daemon.log_lines(&["without Landlock"]), [""; 0]);
}
