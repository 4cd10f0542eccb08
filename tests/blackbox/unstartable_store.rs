//! "Its death is an outage of its store": so is a process that cannot be started. It is said once, with the
//! remedy, and ends without a restart of the daemon.

use std::fs;
use std::process::{Child, Command};

use nix::sys::signal::Signal;

use crate::harness::{Daemon, Process, Sandbox, exec, require_root, set_mode, wait_for, wait_until, watch};

/// The user of the stores' processes in the tests, with a number that nobody else has.
fn store_user(sandbox: &Sandbox) -> (u32, String) {
    let uid = 0x6800_0000 + std::process::id();
    let users = fs::read_to_string("/etc/passwd").expect("read the users");
    let others: String =
        users.lines().filter(|line| !line.starts_with("twitcher:")).map(|line| format!("{line}\n")).collect();
    let file = sandbox.path("passwd");
    fs::write(&file, format!("{others}twitcher:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n"))
        .expect("write");
    (uid, format!("mount --bind {} /etc/passwd && exec \"$@\"", file.display()))
}

#[track_caller]
fn half(daemon: &Daemon) -> Process {
    wait_for("the process of the store", || {
        daemon.process().halves().into_iter().find(|half| half.is_alive())
    })
}

/// Processes of a user, which end with this.
struct Crowd(Vec<Child>);

impl Crowd {
    fn of(uid: u32, count: usize) -> Self {
        let start = |_| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &uid.to_string(), "--clear-groups", "--", "sleep", "1000"]);
            command.spawn().expect("start a process")
        };
        Self((0..count).map(start).collect())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_half_whose_user_has_no_free_processes_is_said_once_and_started_later() {
    require_root();
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let (uid, mount) = store_user(&sandbox);
    let crowd = Crowd::of(uid, 30);
    let all =
        || crowd.0.iter().all(|child| Process(child.id() as i32).status("Uid").starts_with(&uid.to_string()));
    wait_until("processes of this user", all);
    let daemon = sandbox.daemon().under(["prlimit", "--nproc=20:20", "--"]);
    let daemon = daemon.under(["unshare", "--mount", "sh", "-c", &mount, "sh"]).start();
    daemon.wait_for_log(&["not connected", "cannot be started", "no free process for twitcher"]);
    drop(crowd);
    journal.wait_for(&["content"]);
    // Once, and once more after many attempts.
    assert!(daemon.log_lines(&["cannot be started"]).len() <= 2, "{:?}", daemon.log());
    assert!(half(&daemon).status("Uid").starts_with(&uid.to_string()));
}

// A daemon that starts without /proc says so itself.
#[test]
fn a_proc_that_is_gone_is_named_and_waited_for() {
    require_root();
    let sandbox = Sandbox::directory();
    let daemon = sandbox.daemon().under(["unshare", "--mount", "--"]).start();
    daemon.wait_for_log(&["connected to"]);
    let inside = |script: &str| {
        let pid = daemon.process().0.to_string();
        let entered =
            Command::new("nsenter").args(["--mount", "--target", &pid, "sh", "-c", script]).status();
        assert!(entered.is_ok_and(|status| status.success()), "{script}");
    };
    inside("mount -t tmpfs none /proc");
    half(&daemon).signal(Signal::SIGKILL);
    daemon.wait_for_log(&["cannot be started", "mount -t proc proc /proc"]);
    inside("umount /proc");
    daemon.wait_for_log(&["connected to", "it was away"]);
}

// An upgrade replaces the binary while its daemon runs. The daemon's stores stay with the version of the
// daemon, since the two must understand each other.
#[test]
fn a_replaced_binary_is_not_what_the_next_half_executes() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let binary = sandbox.copy_of_the_binary();
    let daemon = sandbox.daemon().binary(&binary).start();
    journal.wait_for(&["0"]);
    let other = sandbox.journal_named("other");
    let replacements: [&dyn Fn(); 2] = [
        &|| {
            let new = binary.with_extension("new");
            fs::write(&new, format!("#!/bin/sh\n{}\n", other.note("executed"))).expect("write the new one");
            set_mode(&new, 0o755);
            fs::rename(&new, &binary).expect("replace it");
        },
        &|| fs::remove_file(&binary).expect("remove it"),
    ];
    for (value, replace) in ["1", "2"].iter().zip(replacements) {
        replace();
        let before = half(&daemon);
        before.signal(Signal::SIGKILL);
        let after = wait_for("another process", || Some(half(&daemon)).filter(|half| half.0 != before.0));
        sandbox.nodes.set("/n", value);
        journal.wait_for_last(value);
        let program = |process: Process| fs::metadata(format!("/proc/{}/exe", process.0)).expect("a program");
        let inode = |process| std::os::unix::fs::MetadataExt::ino(&program(process));
        assert_eq!(inode(after), inode(daemon.process()));
    }
    assert_eq!(journal.lines(), ["0", "1", "2"]);
    assert_eq!(other.lines(), [""; 0]);
}

// Contents go through files in memory, which need no file system.
#[test]
fn a_half_needs_no_directory_for_temporary_files() {
    require_root();
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "x".repeat(100_000));
    sandbox.config("app.twc", watch("/n", &exec(&journal.note("$(wc -c)")), ""));
    let hide = "mount -t tmpfs -o ro none /dev/shm && mount -t tmpfs -o ro none /var/tmp && exec \"$@\"";
    let daemon = sandbox.daemon().env("TMPDIR", "/nonexistent");
    let daemon = daemon.under(["unshare", "--mount", "sh", "-c", hide, "sh"]).start();
    journal.wait_for(&["100000"]);
    half(&daemon).signal(Signal::SIGKILL);
    daemon.wait_for_log(&["connected to", "it was away"]);
    sandbox.nodes.set("/n", "x".repeat(100_001));
    journal.wait_for(&["100000", "100001"]);
}
