//! "What talks to the network has no root, and its death is an outage": each store runs in a process of its
//! own, its half.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{
    Daemon, Process, Sandbox, exec, load, on_both_stores, poll, require_root, set_mode, wait_for, wait_until,
    watch,
};

/// Waits until one process serves the default store, which `settled` accepts, and returns it.
#[track_caller]
fn half_where(daemon: &Daemon, settled: impl Fn(Process) -> bool) -> Process {
    wait_for("the process of the store", || match daemon.process().halves()[..] {
        [half] if settled(half) => Some(half),
        _ => None,
    })
}

#[track_caller]
fn half(daemon: &Daemon) -> Process {
    half_where(daemon, Process::is_alive)
}

// "said once, backoff, a new half, everything read again, nothing lost, nothing run for nothing"
#[test]
fn the_death_of_a_half_loses_nothing_and_runs_nothing_twice() {
    let (updates, kills) = load((100, 10), (1000, 200));
    on_both_stores(|sandbox| {
        let (journal, other) = (sandbox.journal(), sandbox.journal_named("other"));
        sandbox.nodes.set("/n", "0");
        sandbox.nodes.set("/quiet", "still");
        let record = |node: &str, journal: &str| watch(node, &exec(journal), "");
        sandbox
            .config("a.twc", [record("/n", &journal.record()), record("/quiet", &other.record())].concat());
        let daemon = sandbox.start();
        journal.wait_for_last("0");
        other.wait_for(&["still"]);
        let mut killed = 0;
        for update in 1..=updates {
            sandbox.nodes.set("/n", update.to_string());
            if update % (updates / kills) == 0 {
                // At any moment of its life: some are not connected yet.
                if let Some(half) = poll(Duration::from_secs(20), || daemon.process().halves().pop()) {
                    half.signal(Signal::SIGKILL);
                    killed += 1;
                }
            }
        }
        let lines: Vec<u32> =
            journal.wait_for_last(&updates.to_string()).iter().map(|line| line.parse().unwrap()).collect();
        assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "{lines:?}");
        assert_eq!(killed, kills);
        assert_eq!(other.lines(), ["still"], "nothing happened to it");
        let status = sandbox.operator(["status", "--json"]).finish().expect(0).text();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert!(status["daemon"]["stores"][0]["restarts"].as_u64().unwrap() > 0, "{status}");
    });
}

// "nothing runs for nothing": a half that starts anew counts the incarnations of a directory's nodes anew.
#[test]
fn what_was_created_anew_stays_known_to_the_next_half() {
    let sandbox = Sandbox::directory();
    let (journal, tree) = (sandbox.journal(), sandbox.journal_named("tree"));
    sandbox.nodes.set("/t/n", "one");
    let node = watch("/t/n", &exec(&journal.note("$TWITCHER_EVENT $(cat)")), "");
    let changes = exec(&tree.note("$TWITCHER_EVENT $(grep -o '\"event\":\"[a-z]*\"' | tr -d '\\n')"));
    sandbox.config("a.twc", [node, watch("/t", &changes, "watch_type: WATCH_TREE")].concat());
    let daemon = sandbox.start();
    journal.wait_for(&["load one"]);
    sandbox.nodes.remove("/t/n");
    wait_until("the tree without the node", || tree.lines().len() == 2);
    sandbox.nodes.set("/t/n", "two");
    journal.wait_for(&["load one", "created two"]);
    wait_until("the tree with the node", || tree.lines().len() == 3);
    let first = half(&daemon);
    first.signal(Signal::SIGKILL);
    half_where(&daemon, |half| half.0 != first.0);
    daemon.wait_for_log(&["connected to", "it was away"]);
    sandbox.nodes.set("/t/n", "three");
    journal.wait_for(&["load one", "created two", "changed three"]);
    wait_until("the tree with the changed node", || tree.lines().len() == 4);
    assert_eq!(tree.lines()[3], "changed \"event\":\"changed\"", "and not the whole tree anew");
}

#[test]
fn a_half_has_no_rights_and_no_belongings() {
    require_root();
    on_both_stores(|sandbox| {
        let daemon = sandbox.daemon().env("TWITCHER_TEST_SECRET", "secret").start();
        daemon.wait_for_log(&["connected to"]);
        let half = half(&daemon);
        let is_directory = sandbox.nodes.url().starts_with("dir:");
        let ids = half.status("Uid");
        assert_eq!(ids.starts_with("0\t"), is_directory, "{ids}: the directory is root's");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(half.status(set), "0000000000000000", "{set}");
        }
        assert_eq!((half.status("NoNewPrivs"), half.status("Groups")), ("1".to_owned(), String::new()));
        let file = |name: &str| format!("/proc/{}/{name}", half.0);
        assert_eq!(fs::read(file("environ")).unwrap(), b"");
        assert_eq!(fs::read_link(file("cwd")).unwrap().to_str(), Some("/"));
        let limits = fs::read_to_string(file("limits")).unwrap();
        let limit = |name: &str| {
            let line = limits.lines().find(|line| line.starts_with(name)).expect(name);
            line[name.len()..].split_whitespace().next().unwrap().to_owned()
        };
        assert_eq!(
            (limit("Max core file size"), limit("Max open files")),
            ("0".to_owned(), "128".to_owned())
        );
        assert_eq!(limit("Max address space"), (256 << 20).to_string());
        let open = fs::read_dir(file("fd")).unwrap().flatten();
        for target in open.map(|entry| fs::read_link(entry.path()).unwrap().display().to_string()) {
            let is_own = ["socket:[", "pipe:[", "anon_inode:"].iter().any(|own| target.starts_with(own));
            assert!(is_own || target == "/dev/null", "{target}");
        }
        let session = fs::read_to_string(file("stat")).unwrap();
        let session = session.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap().to_owned();
        assert_eq!(session, half.0.to_string(), "a session of its own");
        // Undumpable: its files are root's, and nobody else of its user can trace it.
        assert_eq!(fs::metadata(file("mem")).unwrap().permissions().mode() & 0o777, 0o600);
        daemon.signal(Signal::SIGKILL);
        wait_until("the half to die with its daemon", || !half.is_alive());
    });
}

#[test]
fn a_directory_is_read_by_its_owner_who_must_reach_it() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    set_mode(sandbox.root(), 0o755);
    let home = sandbox.path("home");
    fs::create_dir(&home).unwrap();
    let nodes = home.join("nodes");
    sandbox.config("a.twc", watch("/n", &exec(&journal.record()), ""));
    let daemon = sandbox.daemon_on(&format!("dir:{}", nodes.display())).start();
    daemon.wait_for_log(&["not connected", "No such file"]);
    assert!(half(&daemon).status("Uid").starts_with("0\t"), "it does not exist yet");
    let own = |user: u32| {
        let new = sandbox.path("new");
        fs::create_dir(&new).unwrap();
        fs::write(new.join("n"), user.to_string()).unwrap();
        chown(new.join("n"), Some(user), Some(user)).unwrap();
        set_mode(&new.join("n"), 0o600);
        chown(&new, Some(user), Some(user)).unwrap();
        set_mode(&new, 0o700);
        if nodes.exists() {
            fs::remove_dir_all(&nodes).unwrap();
        }
        fs::rename(&new, &nodes).unwrap();
    };
    own(4321);
    journal.wait_for(&["4321"]);
    assert!(half(&daemon).status("Uid").starts_with("4321\t"));
    own(4322);
    journal.wait_for(&["4321", "4322"]);
    let second = half_where(&daemon, |half| half.status("Uid").starts_with("4322\t"));

    set_mode(&home, 0o700);
    second.signal(Signal::SIGKILL);
    daemon.wait_for_log(&["not connected", "Permission denied", "reads it as its owner"]);
    set_mode(&home, 0o755);
    half_where(&daemon, |half| half.0 != second.0 && half.is_alive());
    fs::write(nodes.join("n"), "again").unwrap();
    journal.wait_for(&["4321", "4322", "again"]);
}

#[test]
fn a_half_that_dies_again_and_again_is_refused_with_what_helps() {
    let sandbox = Sandbox::directory();
    let daemon = sandbox.start();
    daemon.wait_for_log(&["connected to"]);
    wait_until("the store to be refused", || {
        daemon.process().halves().into_iter().for_each(|half| half.signal(Signal::SIGSEGV));
        !daemon.log_lines(&["again and again", "store_memory"]).is_empty()
    });
    daemon.wait_for_log(&["not connected", "ended by SIGSEGV"]);
}

// "Clients too: `twitcher get` and its like, run by root, give root up before they connect."
#[test]
fn a_client_of_roots_is_root_no_more_when_it_connects() {
    require_root();
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.set("/n", "content");
    assert_eq!(sandbox.client(["get", "/n"]).finish().expect(0).text(), "content");
    let client = sandbox.client(["watch", "/n"]).start();
    client.wait_for_log(&["content"]);
    let process = client.process();
    assert!(!process.status("Uid").starts_with("0\t"));
    assert_eq!((process.status("CapEff"), process.status("NoNewPrivs")), ("0".repeat(16), "1".to_owned()));
}
