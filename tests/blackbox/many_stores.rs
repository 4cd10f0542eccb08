//! Twenty stores of one daemon, each with a process of its own.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Daemon, Nodes, Process, Sandbox, exec, load, wait_for, wait_until, watch};

const STORES: usize = 20;

/// The memory in KiB that the process of a store, or the daemon, may hold in a test: a debug build holds more
/// than the one that is shipped, and still a fraction of this.
const MAX_HELD: u64 = 64 << 10;

/// One thread of each store, and those that start actions, of which some wait for more work for a while.
const MAX_THREADS: usize = STORES + 64;

/// The time in which a daemon must end that waits for nothing: that of one store after the other would be
/// longer.
const END: Duration = Duration::from_secs(15);

/// The processes of all stores, once each store has one that says it is connected.
#[track_caller]
fn halves(sandbox: &Sandbox, daemon: &Daemon, without: &[Process]) -> Vec<Process> {
    wait_for("a process of each store", || {
        let status = sandbox.operator(["status", "--json"]).finish().expect(0).text();
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let stores = status["daemon"]["stores"].as_array().expect("stores");
        let is_new = |pid: i64| without.iter().all(|old| i64::from(old.0) != pid);
        let connected = stores.iter().filter(|store| store["connected"] == true);
        let pids: Vec<i64> = connected.filter_map(|store| store["pid"].as_i64()).collect();
        let are_new = pids.iter().all(|pid| is_new(*pid));
        let halves = daemon.process().halves();
        (are_new && pids.len() == STORES && halves.len() == STORES).then_some(halves)
    })
}

// "An unreachable store affects only its own watches", also if all of them are: each has a process of its
// own, all die at once, and all are back.
#[test]
fn twenty_stores_whose_processes_die_at_once_lose_nothing_and_leave_nothing_behind() {
    let sandbox = Sandbox::zookeeper();
    let mut stores = vec![("default".to_owned(), sandbox.nodes.clone())];
    for number in 1..STORES {
        let name = format!("s{number}");
        let path = sandbox.root().join(&name);
        fs::create_dir(&path).expect("create a store");
        stores.push((name, Nodes::Directory(path)));
    }
    let named = |(name, nodes): &(String, Nodes)| format!("[stores.{name}]\nurl = {:?}\n", nodes.url());
    sandbox.settings(&stores[1..].iter().map(named).collect::<String>());
    let journals: Vec<_> = stores.iter().map(|(name, _)| sandbox.journal_named(name)).collect();
    for ((name, nodes), journal) in stores.iter().zip(&journals) {
        nodes.set("/n", "0");
        let action = exec(&journal.record_event());
        sandbox.config(&format!("{name}.twc"), watch("/n", &action, &format!("store: {name:?}")));
    }
    let mut daemon = sandbox.start();
    journals.iter().for_each(|journal| journal.wait_for(&["load 0"]));
    let mut before = halves(&sandbox, &daemon, &[]);
    let measure = |halves: &[Process]| {
        let process = daemon.process();
        for one in halves.iter().chain([&process]) {
            assert!(one.held() < MAX_HELD, "{one:?} holds {} KiB", one.held());
        }
        (process.threads(), process.open_files())
    };
    let (threads, files) = measure(&before);
    let mut expected = vec!["load 0".to_owned()];
    for round in 1..=load(3, 10) {
        before.iter().for_each(|half| half.signal(Signal::SIGKILL));
        stores.iter().for_each(|(_, nodes)| nodes.set("/n", round.to_string()));
        expected.push(format!("changed {round}"));
        let lines: Vec<&str> = expected.iter().map(String::as_str).collect();
        journals.iter().for_each(|journal| journal.wait_for(&lines));
        let after = halves(&sandbox, &daemon, &before);
        assert!(before.iter().all(|half| !half.is_alive()), "round {round}");
        before = after;
    }
    assert!(threads <= MAX_THREADS, "{threads} threads");
    let what = format!("{files} files as before, and few threads");
    wait_until(&what, || {
        let (threads, open) = measure(&before);
        threads <= MAX_THREADS && open <= files + 4
    });
    let zombies = daemon.process().children();
    assert!(zombies.is_empty(), "{zombies:?}");

    let began = Instant::now();
    assert_eq!(daemon.stop(), Some(0));
    assert!(began.elapsed() < END, "{:?}", began.elapsed());
    assert!(before.iter().all(|half| !half.is_alive()), "no process of a store outlives its daemon");
}
