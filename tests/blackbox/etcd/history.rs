//! A store whose history ends or goes back: "nothing is lost over compaction ... a restore from a snapshot
//! (revisions go back)".

use super::{Own, record};
use crate::harness::{Daemon, Proxy, Server, exec, wait_until, watch};

/// A store whose daemon is behind a proxy.
struct Remote {
    own: Own,
    proxy: Proxy,
}

impl Remote {
    #[track_caller]
    fn start() -> Self {
        let own = Own::start(&[]);
        let proxy = Proxy::to(&own.server.address());
        Self { own, proxy }
    }

    #[track_caller]
    fn daemon(&self) -> Daemon {
        let sandbox = &self.own.sandbox;
        sandbox.daemon_on(&sandbox.nodes.url_by_way_of(&self.proxy.address())).start()
    }

    /// Takes the store away, and waits until it has seen that.
    #[track_caller]
    fn isolate(&self) {
        self.proxy.refuse();
        wait_until("the server to see the connection end", || self.own.server.is_unwatched());
    }

    /// Replaces the server's data by those of the snapshot that was saved last.
    #[track_caller]
    fn restore(&self) {
        self.own.server.down();
        self.own.server.restore(&self.own.sandbox.path("snapshot"));
        self.own.server.up();
    }

    fn save(&self) {
        self.own.server.save(&self.own.sandbox.path("snapshot"));
    }
}

// "Nothing is lost over compaction": all that happened while the daemon was away is compacted, but for the
// last state.
#[test]
fn what_was_compacted_while_the_daemon_was_away_is_caught_up() {
    let it = Remote::start();
    let sandbox = &it.own.sandbox;
    ["/changed", "/removed", "/recreated", "/still"].iter().for_each(|node| sandbox.nodes.set(node, "1"));
    let journals = record(sandbox, ["/changed", "/removed", "/recreated", "/still", "/new"]);
    let _daemon = it.daemon();
    journals[..4].iter().for_each(|journal| journal.wait_for(&["load 1"]));
    it.isolate();
    (2..=200).for_each(|number| sandbox.nodes.set("/changed", number.to_string()));
    ["/removed", "/recreated"].iter().for_each(|node| sandbox.nodes.remove(node));
    ["/recreated", "/new"].iter().for_each(|node| sandbox.nodes.set(node, "1"));
    it.own.server.forget_clients();
    it.proxy.resume();
    let [changed, removed, recreated, still, new] = &journals;
    changed.wait_for(&["load 1", "changed 200"]);
    removed.wait_for(&["load 1", "deleted "]);
    recreated.wait_for(&["load 1", "created 1"]);
    new.wait_for(&["created 1"]);
    sandbox.nodes.set("/still", "2");
    still.wait_for(&["load 1", "changed 2"]);
}

// A compaction under a watch that goes on takes nothing from it.
#[test]
fn compactions_under_a_watch_disturb_nothing() {
    let own = Own::start(&[]);
    own.sandbox.nodes.set("/n", "0");
    let [journal] = record(&own.sandbox, ["/n"]);
    let daemon = own.sandbox.start();
    let mut expected = vec!["load 0".to_owned()];
    for number in 1..=20 {
        journal.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
        own.server.forget_clients();
        own.sandbox.nodes.set("/n", number.to_string());
        expected.push(format!("changed {number}"));
    }
    journal.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(daemon.log_lines(&["not connected"]), [""; 0]);
}

// "a restore from a snapshot (revisions go back)": the daemon is connected, and the store goes back behind
// what the daemon has seen. What is there then is true.
#[test]
fn a_store_that_goes_back_to_a_snapshot_is_read_again() {
    let it = Remote::start();
    let sandbox = &it.own.sandbox;
    ["/changed", "/removed", "/still"].iter().for_each(|node| sandbox.nodes.set(node, "1"));
    let journals = record(sandbox, ["/changed", "/removed", "/still", "/new"]);
    let _daemon = it.daemon();
    journals[..3].iter().for_each(|journal| journal.wait_for(&["load 1"]));
    it.save();
    let [changed, removed, still, new] = &journals;
    sandbox.nodes.set("/changed", "2");
    sandbox.nodes.remove("/removed");
    sandbox.nodes.set("/new", "1");
    changed.wait_for(&["load 1", "changed 2"]);
    removed.wait_for(&["load 1", "deleted "]);
    new.wait_for(&["created 1"]);
    it.restore();
    changed.wait_for(&["load 1", "changed 2", "changed 1"]);
    removed.wait_for(&["load 1", "deleted ", "created 1"]);
    new.wait_for(&["created 1", "deleted "]);
    // These updates have revisions that were there before.
    for node in ["/changed", "/removed", "/still", "/new"] {
        sandbox.nodes.set(node, "3");
    }
    changed.wait_for(&["load 1", "changed 2", "changed 1", "changed 3"]);
    removed.wait_for(&["load 1", "deleted ", "created 1", "changed 3"]);
    new.wait_for(&["created 1", "deleted ", "created 3"]);
    still.wait_for(&["load 1", "changed 3"]);
}

// "After a restore the same revisions can carry other bytes": key, version, revision of creation and of the
// last change are all as they were.
#[test]
fn other_bytes_of_an_equal_revision_after_a_restore_run() {
    let it = Remote::start();
    let sandbox = &it.own.sandbox;
    ["/n", "/same"].iter().for_each(|node| sandbox.nodes.set(node, "1"));
    let [journal, same] = record(sandbox, ["/n", "/same"]);
    let _daemon = it.daemon();
    it.save();
    let write = |content: &str| {
        sandbox.nodes.set("/n", content);
        sandbox.nodes.set("/same", "2");
        it.own.client().revision()
    };
    journal.wait_for(&["load 1"]);
    same.wait_for(&["load 1"]);
    let before = write("first");
    journal.wait_for(&["load 1", "changed first"]);
    same.wait_for(&["load 1", "changed 2"]);
    it.isolate();
    it.restore();
    assert_eq!(write("second"), before, "the revisions are equal");
    it.proxy.resume();
    journal.wait_for(&["load 1", "changed first", "changed second"]);
    sandbox.nodes.set("/same", "3");
    same.wait_for(&["load 1", "changed 2", "changed 3"]);
}

// The same, while no daemon runs: the ledger knows the old bytes by their revision.
#[test]
fn other_bytes_of_an_equal_revision_run_at_the_next_start() {
    let it = Remote::start();
    let sandbox = &it.own.sandbox;
    ["/n", "/same"].iter().for_each(|node| sandbox.nodes.set(node, "1"));
    let journals = ["/n", "/same"].map(|node| {
        let journal = sandbox.journal_named(&node[1..]);
        let text = watch(node, &exec(&journal.record()), "run_on_load: CHANGED");
        sandbox.config(&format!("{}.twc", &node[1..]), text);
        journal
    });
    it.save();
    let write = |content: &str| {
        sandbox.nodes.set("/n", content);
        sandbox.nodes.set("/same", "2");
        it.own.client().revision()
    };
    let before = write("first");
    let once = || drop(sandbox.daemon().arg("--once").finish().expect(0));
    once();
    it.restore();
    assert_eq!(write("second"), before, "the revisions are equal");
    once();
    let [journal, same] = journals;
    journal.wait_for(&["first", "second"]);
    same.wait_for(&["2"]);
}

// "Never resume an old revision": a tree and a set of children go back as well.
#[test]
fn trees_and_children_go_back_with_their_store() {
    let it = Remote::start();
    let sandbox = &it.own.sandbox;
    sandbox.nodes.set("/t/one", "1");
    let names = sandbox.journal_named("names");
    let changes = sandbox.journal_named("changes");
    let list = exec(&names.note("$(tr '\\n' ' ')"));
    let events = exec(&changes.note("$(grep -o '\"event\":\"[a-z]*\"' | tr '\\n' ' ')"));
    sandbox.config("names.twc", watch("/t", &list, "watch_type: WATCH_CHILDREN"));
    sandbox.config("tree.twc", watch("/t", &events, "watch_type: WATCH_TREE"));
    let _daemon = it.daemon();
    names.wait_for(&["one "]);
    wait_until("the tree", || changes.lines().len() == 1);
    it.save();
    sandbox.nodes.set("/t/two", "2");
    names.wait_for(&["one ", "one two "]);
    wait_until("the tree with another node", || changes.lines().len() == 2);
    it.restore();
    names.wait_for(&["one ", "one two ", "one "]);
    wait_until("the tree without it", || changes.lines().len() == 3);
    assert!(changes.lines()[2].contains("deleted"), "{:?}", changes.lines());
    sandbox.nodes.set("/t/two", "3");
    names.wait_for(&["one ", "one two ", "one ", "one two "]);
    wait_until("the tree with it again", || changes.lines().len() == 4);
}

// Compactions, restarts of the member and cuts, again and again under updates: at rest the last content is
// what ran.
#[test]
fn compactions_and_restarts_under_updates_lose_nothing() {
    let it = Remote::start();
    let sandbox = &it.own.sandbox;
    sandbox.nodes.set("/n", "0");
    let [journal] = record(sandbox, ["/n"]);
    let _daemon = it.daemon();
    journal.wait_for(&["load 0"]);
    let mut number = 0;
    let mut set = || {
        number += 1;
        sandbox.nodes.set("/n", number.to_string());
        format!("changed {number}")
    };
    for round in 0..6 {
        (0..20).for_each(|_| drop(set()));
        match round % 3 {
            0 => it.own.server.forget_clients(),
            1 => {
                it.own.server.down();
                it.own.server.up();
                it.own.server.forget_clients();
            }
            _ => it.proxy.cut(),
        }
        journal.wait_for_last(&set());
    }
    let lines = journal.lines();
    let numbers: Vec<u32> =
        lines.iter().skip(1).map(|line| line["changed ".len()..].parse().expect("a number")).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "each once at most, and in order: {numbers:?}");
}
