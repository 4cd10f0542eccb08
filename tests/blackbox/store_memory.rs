//! `store_memory`: "one bad thing stays one bad thing". What does not fit into the memory of a store's
//! process is the trouble of one node, and the process lives.

use std::fs::File;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::liar::{CHILDREN, Liar, list, reply, stat};
use crate::harness::wait::throughout;
use crate::harness::{
    Daemon, Journal, Nodes, Process, Sandbox, exec, on_every_store, wait_for, wait_until, watch,
};

/// The least that is allowed.
const LEAST: &str = "store_memory = 67108864";

const NO_ROOM: [&str; 3] =
    ["cannot be read", "`store_memory` (67108864 bytes) does not leave so many", "raise it"];

/// A daemon with the least memory for its store.
struct Fixture<'a> {
    daemon: Daemon,
    half: Process,
    journal: Journal,
    nodes: &'a dyn Fn(&str),
}

impl<'a> Fixture<'a> {
    /// Starts it with these watches, and one on `/n`, which `set` sets.
    fn start(sandbox: &Sandbox, store: &str, watches: &str, set: &'a dyn Fn(&str)) -> Self {
        sandbox.settings(LEAST);
        let journal = sandbox.journal_named("n");
        set("0");
        sandbox.config("app.twc", format!("{}{watches}", watch("/n", &exec(&journal.record()), "")));
        let daemon = sandbox.daemon_on(store).start();
        journal.wait_for_last("0");
        let half = wait_for("the process of the store", || daemon.process().halves().pop());
        Self { daemon, half, journal, nodes: set }
    }

    /// Shows that the same process still follows the other node.
    #[track_caller]
    fn expect_unharmed(&self) {
        (self.nodes)("1");
        self.journal.wait_for_last("1");
        assert!(self.half.is_alive());
        assert_eq!(self.daemon.log_lines(&["not connected"]), [""; 0]);
    }
}

/// A watch that notes how much it reads.
fn count(journal: &Journal, node: &str, kind: &str) -> String {
    watch(node, &exec(&journal.note("$TWITCHER_EVENT $(wc -c)")), &format!("watch_type: {kind}"))
}

on_every_store!(a_tree_that_does_not_fit_is_unreadable_until_it_does);
fn a_tree_that_does_not_fit_is_unreadable_until_it_does(sandbox: &Sandbox) {
    let tree = sandbox.journal_named("tree");
    let node = |number: usize| format!("/tree/{number}");
    // Almost as much as a tree may have.
    (0..64).for_each(|number| sandbox.nodes.set(&node(number), "x".repeat(1_000_000)));
    let set = |text: &str| sandbox.nodes.set("/n", text);
    let it = Fixture::start(sandbox, &sandbox.nodes.url(), &count(&tree, "/tree", "WATCH_TREE"), &set);
    it.daemon.wait_for_log(&NO_ROOM);
    it.expect_unharmed();
    assert_eq!(tree.lines(), [""; 0]);
    (2..64).for_each(|number| sandbox.nodes.remove(&node(number)));
    // It can be read, and run, before the last of them is gone.
    wait_until("the tree to be read", || !tree.lines().is_empty());
    assert!(it.half.is_alive());
}

// What the daemon does not take must not fill the memory, nor the table of descriptors, which has room for
// 128.
on_every_store!(many_large_nodes_wait_in_little_memory_for_a_daemon_that_takes_none);
fn many_large_nodes_wait_in_little_memory_for_a_daemon_that_takes_none(sandbox: &Sandbox) {
    // Twice the 60 MB that they have together would not fit, nor would a descriptor for each.
    const NODES: usize = 150;
    const SIZE: usize = 400_000;
    let large = sandbox.journal_named("large");
    let node = |number: usize| format!("/large/{number}");
    let fill =
        |letter: &str| (0..NODES).for_each(|number| sandbox.nodes.set(&node(number), letter.repeat(SIZE)));
    fill("x");
    let watches: String = (0..NODES).map(|number| count(&large, &node(number), "WATCH_DATA")).collect();
    let set = |text: &str| sandbox.nodes.set("/n", text);
    let it = Fixture::start(sandbox, &sandbox.nodes.url(), &watches, &set);
    wait_until("each to be read", || large.count("load 400000") == NODES);
    it.daemon.signal(Signal::SIGSTOP);
    fill("y");
    throughout(Duration::from_secs(2), || {
        let open = it.half.open_files();
        assert!(it.half.is_alive() && open < 64, "{open} descriptors");
    });
    it.daemon.signal(Signal::SIGCONT);
    wait_until("each to be read again", || large.count("changed 400000") == NODES);
    it.expect_unharmed();
}

#[test]
fn the_largest_nodes_of_a_directory_fit_into_the_least_memory() {
    let sandbox = Sandbox::directory();
    let (data, children) = (sandbox.journal_named("data"), sandbox.journal_named("children"));
    sandbox.nodes.set("/data", vec![b'\xff'; 16 << 20]);
    sandbox.nodes.set("/larger", vec![b'x'; 20 << 20]);
    sandbox.nodes.set("/children/first", "");
    let Nodes::Directory(root) = &sandbox.nodes else { panic!("it is a directory") };
    for number in 0..50_000 {
        File::create(root.join(format!("children/a-child-with-a-long-name-{number}"))).unwrap();
    }
    let watches = [
        count(&data, "/data", "WATCH_DATA"),
        count(&data, "/larger", "WATCH_DATA"),
        count(&children, "/children", "WATCH_CHILDREN"),
    ];
    let set = |text: &str| sandbox.nodes.set("/n", text);
    let it = Fixture::start(&sandbox, &sandbox.nodes.url(), &watches.concat(), &set);
    data.wait_for(&["load 16777216"]);
    it.daemon.wait_for_log(&["/larger", "cannot be read", "larger than 16 MiB"]);
    wait_until("the children to be read", || children.lines().len() == 1);
    it.expect_unharmed();
}

#[test]
fn the_largest_node_of_a_zookeeper_fits_and_a_list_that_does_not_is_unreadable() {
    let (liar, sandbox) = (Liar::start(10_000), Sandbox::directory());
    let (data, children) = (sandbox.journal_named("data"), sandbox.journal_named("children"));
    liar.set("/data", vec![b'\xff'; 16 << 20]);
    liar.set("/children", "");
    let names: Vec<String> = (0..800_000).map(|number| number.to_string()).collect();
    let names = list(&names.iter().map(String::as_bytes).collect::<Vec<_>>());
    liar.lie(move |connection, asked| {
        asked.operation == CHILDREN && {
            connection.send(&reply(asked.xid, 0, &[&names[..], &stat(1, 1, 1)].concat()));
            true
        }
    });
    let watches =
        [count(&data, "/data", "WATCH_DATA"), count(&children, "/children", "WATCH_CHILDREN")].concat();
    let set = |text: &str| liar.set("/n", text);
    let it = Fixture::start(&sandbox, &liar.url(), &watches, &set);
    data.wait_for(&["load 16777216"]);
    it.daemon.wait_for_log(&NO_ROOM);
    it.expect_unharmed();
    liar.be_honest();
    children.wait_for(&["load 0"]);
    assert!(it.half.is_alive());
}

// "When it reaches the limit, it ends, which is an outage of this store: the log names this setting"
on_every_store!(a_process_that_dies_for_want_of_memory_says_which_setting_helps);
fn a_process_that_dies_for_want_of_memory_says_which_setting_helps(sandbox: &Sandbox) {
    sandbox.settings(LEAST);
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let daemon = sandbox.start();
    journal.wait_for(&["0"]);
    // The names alone of so many nodes do not fit. Small files, one after the other, are loaded in time also
    // by a busy machine.
    let name = format!("{}/", "x".repeat(199)).repeat(18);
    let died = || daemon.log_lines(&["not connected", "`store_memory` allows", "raise it"]).pop();
    let mut files = Vec::new();
    let line = loop {
        assert!(files.len() < 120, "lives with {} files", files.len());
        let file = format!("many{}.twc", files.len());
        let one = watch("N", &exec("true"), "").replace("\"N\"", "`/${name}${number}`");
        let all = format!("let name = \"{name}{file}\"; for number in 0..250 {{ {one} }}");
        sandbox.config(&file, all);
        let loaded = wait_for("the file to be loaded", || {
            let loaded = daemon.log_lines(&[&format!(" {file}: loaded")]).pop();
            died().or(loaded)
        });
        files.push(file);
        if loaded.contains("not connected") {
            break loaded;
        }
    };
    assert!(!line.contains("RUST_BACKTRACE"), "{line}");
    files.iter().for_each(|file| sandbox.remove_config(file));
    sandbox.nodes.set("/n", "last");
    journal.wait_for_last("last");
}
