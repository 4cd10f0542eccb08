//! The cache under a full disk: the daemon continues, and what the cache could not write it writes later.

use std::fs;

use super::ledger::SmallDisk;
use crate::harness::{Sandbox, exec, wait_for, wait_until, watch};

// "full ...: done without, said once, and the daemon goes on", and taken up again when there is room.
#[test]
fn a_full_disk_costs_the_cache_nothing_that_fits_into_memory() {
    let sandbox = Sandbox::directory();
    let (store, journal) = (sandbox.nodes.url(), sandbox.journal());
    sandbox.nodes.set("/n", "0");
    sandbox.config("app.twc", watch("/n", &exec(&journal.note("$(wc -c)")), ""));
    let cached = || sandbox.operator(["get", "--cached", "/n", "--store", &store]).finish();
    let disk = SmallDisk::mount(sandbox.state());
    let mut daemon = sandbox.start();
    journal.wait_for(&["1"]);
    wait_until("the cache to have it", || cached().text() == "0");
    disk.fill();
    let data = "x".repeat(200_000);
    sandbox.nodes.set("/n", &data);
    journal.wait_for(&["1", "200000"]);
    let said = daemon.wait_for_log(&["cache", "cache.db: ", "make room there"]);
    assert!(said.contains("`twitcher get --cached`"), "{said}");
    let found = cached().expect(0);
    assert_eq!((found.text(), found.stderr), (data.clone(), String::new()));
    sandbox.nodes.set("/n", format!("{data}."));
    journal.wait_for(&["1", "200000", "200001"]);
    assert_eq!(daemon.log_lines(&["cache.db"]).len(), 1, "said once: {:?}", daemon.log());
    disk.make_room();
    daemon.wait_for_log(&["cache", "works again"]);
    daemon.kill();
    fs::rename(sandbox.root().join("nodes"), sandbox.root().join("away")).expect("take the store away");
    let _daemon = sandbox.start();
    let found = wait_for("an answer", || Some(cached()).filter(|found| found.stderr.contains("last known")));
    assert_eq!(found.expect(0).text(), format!("{data}."));
}

// "read-only ...: done without, said once, and the daemon goes on", also where the next daemon finds it so.
#[test]
fn a_read_only_disk_leaves_the_cache_readable_and_is_said_once() {
    let sandbox = Sandbox::directory();
    let (store, journal) = (sandbox.nodes.url(), sandbox.journal());
    sandbox.nodes.set("/n", "0");
    sandbox.nodes.set("/m", "m");
    let both = watch("/n", &exec(&journal.record()), "") + &*watch("/m", &exec("true"), "");
    sandbox.config("app.twc", both);
    let cached = |node: &str| sandbox.operator(["get", "--cached", node, "--store", &store]).finish();
    let disk = SmallDisk::mount(sandbox.state());
    let mut daemon = sandbox.start();
    journal.wait_for(&["0"]);
    wait_until("the cache to have both", || cached("/n").text() == "0" && cached("/m").text() == "m");
    daemon.stop();
    disk.read_only(true);
    let nodes = sandbox.root().join("nodes");
    fs::rename(&nodes, sandbox.root().join("away")).expect("take the store away");
    let mut daemon = sandbox.start();
    let found =
        wait_for("an answer", || Some(cached("/m")).filter(|found| found.stderr.contains("last known")));
    assert_eq!(found.expect(0).text(), "m");
    fs::rename(sandbox.root().join("away"), &nodes).expect("put the store back");
    sandbox.nodes.set("/n", "1");
    wait_until("the new data", || cached("/n").text() == "1");
    daemon.wait_for_log(&["cache", "cache.db: "]);
    assert_eq!(daemon.log_lines(&["cache.db"]).len(), 1, "said once: {:?}", daemon.log());
    disk.read_only(false);
    daemon.wait_for_log(&["cache", "works again"]);
    assert_eq!(daemon.stop(), Some(0));
}
