//! "Its death is an outage of its store: said once, backoff, a new half, everything read again, nothing lost,
//! nothing run for nothing" and "Nothing is deaf": a process of a store that dies or hangs at a bad moment.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;

use crate::harness::control::get;
use crate::harness::wait::throughout;
use crate::harness::{
    Daemon, Process, Sandbox, command, exec, load, on_every_store, require_root, wait_for, wait_until, watch,
};

#[track_caller]
fn half(daemon: &Daemon) -> Process {
    wait_for("the process of the store", || match daemon.process().halves()[..] {
        [half] if half.is_alive() => Some(half),
        _ => None,
    })
}

/// What `status --json` says of the only store.
#[track_caller]
fn store(sandbox: &Sandbox) -> serde_json::Value {
    let status = sandbox.operator(["status", "--json"]).finish().expect(0).text();
    serde_json::from_str::<serde_json::Value>(&status).unwrap()["daemon"]["stores"][0].take()
}

/// A directory whose file system answers nothing, or lets in nobody, until this is dropped.
struct Hanging {
    path: PathBuf,
    server: Option<File>,
}

impl Hanging {
    /// Without `allow_other`, the file system refuses the process of the store, which is another user.
    fn mount(path: PathBuf) -> Self {
        Self::mount_with(path, "user_id=0,allow_other")
    }

    /// It is another user's, and refuses everybody else, root as well.
    fn closed(path: PathBuf) -> Self {
        Self::mount_with(path, "user_id=4321")
    }

    fn mount_with(path: PathBuf, options: &str) -> Self {
        fs::create_dir(&path).unwrap();
        let server = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let data = format!("fd={},rootmode=40000,group_id=0,{options}", server.as_raw_fd());
        mount(Some("none"), &path, Some("fuse"), MsFlags::empty(), Some(data.as_str())).unwrap();
        Self { path, server: Some(server) }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        drop(self.server.take());
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}

/// Has a link lead to `target` from one moment to the next.
fn point(link: &Path, target: &Path) {
    let new = link.with_extension("new");
    symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

on_every_store!(a_stopped_half_is_an_outage_and_another_takes_its_place);
fn a_stopped_half_is_an_outage_and_another_takes_its_place(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "one");
    sandbox.config("a.twc", watch("/n", &exec(&journal.record()), ""));
    let daemon = sandbox.daemon().args(["--session-timeout", "2"]).start();
    journal.wait_for(&["one"]);
    let stopped = half(&daemon);
    assert_eq!(
        (store(sandbox)["pid"].as_i64(), store(sandbox)["restarts"].as_u64()),
        (Some(stopped.0.into()), Some(0))
    );
    stopped.signal(Signal::SIGSTOP);
    sandbox.nodes.set("/n", "two");
    daemon.wait_for_log(&["not connected", "gave no answer for 2 s, and was killed"]);
    journal.wait_for(&["one", "two"]);
    assert!(!stopped.is_alive());
    assert_ne!(half(&daemon).0, stopped.0);
    assert_eq!(store(sandbox)["restarts"], 1, "once for each process");
    assert_eq!(daemon.log_lines(&["not connected"]).len(), 1, "it is said once");
}

// A mount point without its file system looks like a store in which every node was deleted, also to a process
// that never saw the nodes.
#[test]
fn a_half_that_dies_while_its_directory_is_away_makes_no_deletions() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    sandbox.config("a.twc", watch("/n", &exec(&journal.record_event()), "run_on_delete: true"));
    let daemon = sandbox.start();
    journal.wait_for(&["load content"]);
    let (nodes, aside) = (sandbox.root().join("nodes"), sandbox.root().join("aside"));
    let (rounds, _) = load((3, 0), (20, 0));
    for round in 0..rounds {
        // The first is the one that saw the nodes, and it sees nothing of this.
        half(&daemon).signal(Signal::SIGSTOP);
        fs::rename(&nodes, &aside).unwrap();
        fs::create_dir(&nodes).unwrap();
        // The next ones were only told.
        for _ in 0..2 {
            let half = half(&daemon);
            half.signal(Signal::SIGKILL);
            wait_until("its end", || !half.is_alive());
        }
        wait_until("the outage", || {
            store(&sandbox)["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("is its file system not mounted?"))
        });
        fs::remove_dir(&nodes).unwrap();
        fs::rename(&aside, &nodes).unwrap();
        wait_until("the connection", || store(&sandbox)["connected"] == true);
        assert_eq!(journal.lines(), ["load content"], "round {round}");
    }
    sandbox.nodes.set("/n", "last");
    journal.wait_for(&["load content", "changed last"]);
}

#[test]
fn a_half_that_dies_while_its_file_system_is_unmounted_makes_no_deletions() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.config("a.twc", watch("/n", &exec(&journal.record_event()), "run_on_delete: true"));
    let nodes = sandbox.root().join("nodes");
    let nodes = nodes.display();
    let mounted = |content: &str| format!("mount -t tmpfs tmpfs {nodes} && echo {content} > {nodes}/n");
    let script = format!("{} && exec \"$@\"", mounted("content"));
    let daemon = sandbox.daemon().under(["unshare", "--mount", "sh", "-c", &script, "sh"]).start();
    journal.wait_for(&["load content"]);
    let within = |script: &str| {
        let target = format!("--target={}", daemon.process().0);
        let done = command("nsenter").arg(target).args(["--mount", "sh", "-c", script]).status();
        assert!(done.unwrap().success(), "{script}");
    };
    // It saw the nodes, and sees nothing of this.
    let first = half(&daemon);
    first.signal(Signal::SIGSTOP);
    within(&format!("umount -l {nodes}"));
    first.signal(Signal::SIGKILL);
    daemon.wait_for_log(&["is its file system not mounted?"]);
    within(&mounted("new"));
    journal.wait_for(&["load content", "changed new"]);
}

#[test]
fn a_start_that_hangs_is_said_and_waited_for() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "one");
    sandbox.config("a.twc", watch("/n", &exec(&journal.record()), ""));
    let (link, nodes) = (sandbox.path("link"), sandbox.root().join("nodes"));
    symlink(&nodes, &link).unwrap();
    let url = format!("dir:{}", link.display());
    let daemon = sandbox.daemon_on(&url).args(["--session-timeout", "2"]).start();
    journal.wait_for(&["one"]);
    let first = half(&daemon);
    let hanging = Hanging::mount(sandbox.path("hanging"));
    // It looks there, and hangs as well.
    point(&link, &hanging.path);
    daemon.wait_for_log(&["not connected", "gave no answer for 2 s, and was killed"]);
    daemon.wait_for_log(&["did not start within 10 s", "hangs"]);
    let store = store(&sandbox);
    assert_eq!(
        (store["pid"].as_i64(), store["confinement"].as_str(), store["restarts"].as_u64()),
        (None, None, Some(0))
    );
    assert!(!first.is_alive());
    point(&link, &nodes);
    sandbox.nodes.set("/n", "two");
    drop(hanging);
    journal.wait_for(&["one", "two"]);
}

// A file system of another user's in FUSE: the kernel refuses root as well, whatever its modes are.
#[test]
fn a_directory_that_lets_in_nobody_is_an_outage_and_starts_no_half_after_another() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.settings("rescan_interval = 1\n");
    sandbox.nodes.set("/n", "one");
    sandbox.config("a.twc", watch("/n", &exec(&journal.record_event()), "run_on_delete: true"));
    let (link, nodes) = (sandbox.path("link"), sandbox.root().join("nodes"));
    symlink(&nodes, &link).unwrap();
    let daemon = sandbox.daemon_on(&format!("dir:{}", link.display())).start();
    journal.wait_for(&["load one"]);
    let closed = Hanging::closed(sandbox.path("closed"));
    point(&link, &closed.path);
    daemon.wait_for_log(&["not connected", "/link: Permission denied", "allow_other"]);
    let restarts = || store(&sandbox)["restarts"].as_u64().unwrap();
    // It is looked at each second. The processes that took over are as many as before.
    let before = restarts();
    throughout(Duration::from_secs(4), || assert!(restarts() <= before + 1, "{}", restarts()));
    // Once, and once more after many attempts.
    assert!(daemon.log_lines(&["not connected"]).len() <= 2, "{:?}", daemon.log());
    sandbox.nodes.set("/n", "two");
    point(&link, &nodes);
    journal.wait_for(&["load one", "changed two"]);
    drop(closed);
}

#[test]
fn a_login_that_cannot_be_read_is_said_with_its_file() {
    require_root();
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "one");
    let (link, secrets) = (sandbox.path("link"), sandbox.path("secrets"));
    fs::create_dir(&secrets).unwrap();
    sandbox.private(&secrets.join("digest"), "we:secret");
    symlink(&secrets, &link).unwrap();
    let file = link.join("digest");
    sandbox.settings(&format!("[[auth]]\nscheme = \"digest\"\ncredentials = {{ file = {file:?} }}\n"));
    sandbox.config("a.twc", watch("/n", &exec(&journal.record()), ""));
    let daemon = sandbox.start();
    journal.wait_for(&["one"]);
    let hanging = Hanging::mount(sandbox.path("hanging"));
    point(&link, &hanging.path);
    half(&daemon).signal(Signal::SIGKILL);
    daemon.wait_for_log(&["the login cannot be read", &file.display().to_string()]);
    point(&link, &secrets);
    sandbox.nodes.set("/n", "two");
    drop(hanging);
    journal.wait_for(&["one", "two"]);
}

// The daemon itself has no descriptor left: that is no lie of the half.
#[test]
fn a_daemon_without_descriptors_blames_no_half() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "small");
    sandbox.config("a.twc", watch("/n", &exec(&journal.note("$(wc -c)")), ""));
    let daemon = sandbox.start();
    journal.wait_for(&["5"]);
    let pid = daemon.process().0.to_string();
    let limited = |limit: &str| {
        let done = command("prlimit").args(["--pid", &pid, &format!("--nofile={limit}:")]).status();
        assert!(done.unwrap().success());
    };
    limited("3");
    sandbox.nodes.set("/n", [b'x'; 100_000]);
    let said = daemon.wait_for_log(&["not connected", "cannot take what", "raise LimitNOFILE="]);
    assert!(!said.contains("report this"), "{said}");
    limited("1000");
    journal.wait_for(&["5", "100000"]);
}

on_every_store!(a_half_that_is_killed_again_and_again_is_refused_with_what_helps);
fn a_half_that_is_killed_again_and_again_is_refused_with_what_helps(sandbox: &Sandbox) {
    let daemon = sandbox.start();
    daemon.wait_for_log(&["connected to"]);
    wait_until("what helps", || {
        daemon.process().halves().into_iter().for_each(|half| half.signal(Signal::SIGKILL));
        !daemon.log_lines(&["ended by SIGKILL", "again and again", "store_memory"]).is_empty()
    });
    wait_until("the connection", || store(sandbox)["connected"] == true);
    let store = store(sandbox);
    assert!(store["restarts"].as_u64().unwrap() >= 4, "{store}");
    assert_eq!(store["pid"].as_i64(), Some(half(&daemon).0.into()));
}

// "`status` and metrics show restarts": each that took the place of one that died, and no other.
on_every_store!(as_many_restarts_are_shown_as_halves_were_killed);
fn as_many_restarts_are_shown_as_halves_were_killed(sandbox: &Sandbox) {
    let daemon = sandbox.start();
    daemon.wait_for_log(&["connected to"]);
    let counted = || {
        let metrics = get(&sandbox.control_socket(), "/metrics").text();
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("twitcher_store_restarts_total{store=\"default\"} "));
        line.map(str::to_owned)
    };
    let mut killed = None;
    for kills in 0..load(4_u64, 20) {
        let half = wait_for("the next process", || {
            let store = store(sandbox);
            let pid = store["pid"].as_i64().filter(|_| store["connected"] == true);
            let half = Process(i32::try_from(pid?).unwrap());
            (killed != Some(half.0)).then_some(half)
        });
        assert_eq!(store(sandbox)["restarts"], kills);
        assert_eq!(counted(), Some(kills.to_string()));
        half.signal(Signal::SIGKILL);
        killed = Some(half.0);
    }
    drop(daemon);
}

// "One bad thing … is said once": the next half finds it as well.
#[test]
fn a_node_that_stays_unreadable_is_said_once() {
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.nodes.set("/closed", "one");
    sandbox.nodes.close_to_everybody("/closed");
    sandbox.nodes.set("/n", "one");
    sandbox.config(
        "a.twc",
        [watch("/closed", &exec("true"), ""), watch("/n", &exec(&journal.record()), "")].concat(),
    );
    let daemon = sandbox.start();
    journal.wait_for(&["one"]);
    daemon.wait_for_log(&["/closed", "cannot be read"]);
    for update in ["two", "three"] {
        half(&daemon).signal(Signal::SIGKILL);
        sandbox.nodes.set("/n", update);
        journal.wait_for_last(update);
    }
    assert_eq!(daemon.log_lines(&["/closed", "cannot be read"]).len(), 1, "{:?}", daemon.log());
}

#[test]
fn nodes_that_anyone_may_change_are_said_once() {
    let sandbox = Sandbox::zookeeper();
    let daemon = sandbox.start();
    daemon.wait_for_log(&["connected to"]);
    for number in 0..3 {
        // Nodes are looked at in the order in which they were read, so that this one comes last.
        let node = format!("/n{number}");
        sandbox.nodes.set(&node, "");
        sandbox.config(&format!("{number}.twc"), watch(&node, &exec("true"), ""));
        daemon.wait_for_log(&[&format!("node {node}: anyone may write to it")]);
        half(&daemon).signal(Signal::SIGKILL);
        wait_until("the next process", || store(&sandbox)["restarts"] == number + 1);
    }
    let said = daemon.log_lines(&["anyone may write to it"]);
    assert_eq!(said.len(), 3, "{said:?}");
}

// "The kernel ends the process of a store before the daemon."
#[test]
fn the_kernel_ends_a_half_before_its_daemon_when_memory_is_short() {
    require_root();
    let sandbox = Sandbox::directory();
    let daemon = sandbox.start();
    daemon.wait_for_log(&["connected to"]);
    let score = |process: Process| -> i32 {
        fs::read_to_string(format!("/proc/{}/oom_score_adj", process.0)).unwrap().trim().parse().unwrap()
    };
    assert_eq!(score(half(&daemon)), score(daemon.process()) + 100);
}

// Backoff: attempts lie further and further apart, and at most 5 s.
#[test]
fn a_half_that_was_killed_often_is_still_replaced_in_time() {
    let sandbox = Sandbox::directory();
    let daemon = sandbox.start();
    daemon.wait_for_log(&["connected to"]);
    let first = std::time::Instant::now();
    for _ in 0..8 {
        let killed = half(&daemon);
        killed.signal(Signal::SIGKILL);
        let began = std::time::Instant::now();
        wait_until("another", || daemon.process().halves().iter().any(|half| half.0 != killed.0));
        assert!(began.elapsed() < Duration::from_secs(20), "5 s, and time to start");
    }
    // 0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 5 + 5 s, of which chance leaves at least the half.
    assert!(first.elapsed() > Duration::from_secs(8), "{:?}", first.elapsed());
}
