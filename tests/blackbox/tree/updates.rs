//! Tests of which events are updates of a tree, and which changes each update has.

use std::fs;

use super::{Run, Trace, observe, started, string, tree};
use crate::harness::{
    Nodes, Sandbox, Server, Store, ZooKeeper, exec, on_every_server, on_every_store, wait_until, watch,
};

// "Any creation, change of data or deletion below the root node, or of it, is an update"
on_every_store!(every_creation_change_and_deletion_in_the_tree_is_an_update);
fn every_creation_change_and_deletion_in_the_tree_is_an_update(sandbox: &Sandbox) {
    let (_daemon, trace) = started(sandbox);
    let mut expected = vec!["load: load /t=, load /t/a=1"];
    let mut next = |run| {
        expected.push(run);
        trace.wait_for(&expected);
    };
    sandbox.nodes.set("/t/a", "2");
    next("changed: changed /t/a=2");
    sandbox.nodes.set("/t/b", "1");
    next("changed: created /t/b=1");
    sandbox.nodes.remove("/t/a");
    next("changed: deleted /t/a");
    // These two changes may come in one run or in two.
    sandbox.nodes.make("/t/c");
    sandbox.nodes.set("/t/c/d", "deep");
    trace.wait_for_mirror(&[("/t", ""), ("/t/b", "1"), ("/t/c", ""), ("/t/c/d", "deep")]);
    sandbox.nodes.set("/t/c/d", "deeper");
    let deeper = || trace.runs().last().map(Run::text);
    wait_until("the deep change", || deeper().as_deref() == Some("changed: changed /t/c/d=deeper"));
    sandbox.nodes.remove("/t/c/d");
    sandbox.nodes.remove("/t/c");
    // This node is not in the tree.
    sandbox.nodes.set("/tree", "");
    sandbox.nodes.set("/t/b", "end");
    trace.wait_for_mirror(&[("/t", ""), ("/t/b", "end")]);
}

// "the root is a node like any"
on_every_server!(a_change_of_the_root_is_an_update);
fn a_change_of_the_root_is_an_update(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    let (_daemon, trace) = started(&sandbox);
    sandbox.nodes.set("/t", "root");
    trace.wait_for(&["load: load /t=, load /t/a=1", "changed: changed /t=root"]);
}

// A node without children is a tree of one node.
on_every_store!(a_single_node_is_a_tree);
fn a_single_node_is_a_tree(sandbox: &Sandbox) {
    let trace = Trace::new(sandbox);
    sandbox.nodes.set("/t", "1");
    sandbox.config("app.twc", tree(&exec(&trace.note()), ""));
    let _daemon = sandbox.start();
    trace.wait_for(&["load: load /t=1"]);
    sandbox.nodes.set("/t", "2");
    trace.wait_for(&["load: load /t=1", "changed: changed /t=2"]);
}

// "deletion of the root node itself ... runs nothing; its re-creation runs as `created`"
on_every_store!(the_deletion_of_the_root_runs_nothing_and_its_recreation_runs_with_the_new_tree);
fn the_deletion_of_the_root_runs_nothing_and_its_recreation_runs_with_the_new_tree(sandbox: &Sandbox) {
    let (daemon, trace) = started(sandbox);
    sandbox.nodes.remove("/t/a");
    trace.wait_for(&["load: load /t=, load /t/a=1", "changed: deleted /t/a"]);
    observe(&daemon, || sandbox.nodes.remove("/t"));
    sandbox.nodes.set("/t/b", "1");
    trace.wait_for_mirror(&[("/t", ""), ("/t/b", "1")]);
    let runs: Vec<_> = trace.runs().iter().map(Run::text).collect();
    match &runs[2..] {
        [both] => assert_eq!(both, "created: created /t=, created /t/b=1"),
        runs => assert_eq!(runs, ["created: created /t=", "changed: created /t/b=1"]),
    }
}

// "a missing node ... waits, and its creation is an update"
on_every_store!(a_missing_root_is_waited_for);
fn a_missing_root_is_waited_for(sandbox: &Sandbox) {
    let trace = Trace::new(sandbox);
    sandbox.config("app.twc", tree(&exec(&trace.note()), ""));
    let daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["/t (tree): observed"]);
    sandbox.nodes.set("/t/a", "1");
    trace.wait_for_mirror(&[("/t", ""), ("/t/a", "1")]);
    assert!(trace.runs()[0].text().starts_with("created: load /t="));
}

// "A burst ... must not give a thousand trees of growing size."
on_every_server!(a_thousand_nodes_that_come_at_once_are_given_at_once);
fn a_thousand_nodes_that_come_at_once_are_given_at_once(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    let (_daemon, trace) = started(&sandbox);
    let names: Vec<_> = (0..1000).map(|n| format!("/t/{n:03}")).collect();
    sandbox.nodes.create_many(names.clone());
    let mut expected = vec![("/t", ""), ("/t/a", "1")];
    expected.extend(names.iter().map(|name| (name.as_str(), "old")));
    trace.wait_for_mirror(&expected);
    // The nodes came in two transactions, or in eight of etcd, which takes fewer operations in one.
    let transactions = if store == Store::Etcd { 8 } else { 2 };
    assert!(trace.runs().len() <= 1 + transactions, "{} runs", trace.runs().len());
    sandbox.nodes.set("/t/a", "2");
    wait_until("the last change", || {
        trace.runs().last().map(Run::text).as_deref() == Some("changed: changed /t/a=2")
    });
}

// "A burst ... must not give a thousand trees of growing size": files come one after the other.
#[test]
fn a_directory_that_is_moved_in_and_out_is_given_with_all_below_it() {
    let sandbox = Sandbox::directory();
    let (_daemon, trace) = started(&sandbox);
    let Nodes::Directory(root) = &sandbox.nodes else { unreachable!() };
    fs::create_dir_all(root.join(".new/sub")).expect("a directory");
    for name in ["x", "y", "sub/z"] {
        fs::write(root.join(".new").join(name), name).expect("a file");
    }
    fs::rename(root.join(".new"), root.join("t/b")).expect("move it in");
    let load = "load: load /t=, load /t/a=1";
    let created = "changed: created /t/b=, created /t/b/sub=, created /t/b/sub/z=sub/z, created /t/b/x=x, \
                   created /t/b/y=y";
    trace.wait_for(&[load, created]);
    fs::rename(root.join("t/b"), root.join(".old")).expect("move it out");
    let deleted =
        "changed: deleted /t/b, deleted /t/b/sub, deleted /t/b/sub/z, deleted /t/b/x, deleted /t/b/y";
    trace.wait_for(&[load, created, deleted]);
}

// "What one transaction writes is told of together."
on_every_server!(what_a_transaction_writes_is_given_together);
fn what_a_transaction_writes_is_given_together(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    let trace = Trace::new(&sandbox);
    ["/t", "/t/a", "/t/b"].iter().for_each(|node| sandbox.nodes.make(node));
    let both = ["/t/a/x", "/t/b/x"].map(str::to_owned);
    both.iter().for_each(|node| sandbox.nodes.set(node, "0"));
    sandbox.config("app.twc", tree(&exec(&trace.note()), "run_mode: PARALLEL"));
    let _daemon = sandbox.start();
    trace.wait_for_mirror(&[("/t", ""), ("/t/a", ""), ("/t/a/x", "0"), ("/t/b", ""), ("/t/b/x", "0")]);
    // A run that starts before the load has ended well is given the whole tree.
    wait_until("the load to end", || sandbox.operator(["status"]).finish().expect(0).text().contains("idle"));
    sandbox.nodes.set_together(&both, 1..=300);
    wait_until("the last write", || trace.runs().iter().any(|run| run.text().contains("=300")));
    for run in &trace.runs()[1..] {
        let texts: Vec<_> = run.changes.iter().map(|change| string(change, "text")).collect();
        assert!(texts.len() == 2 && texts[0] == texts[1], "{}", run.text());
    }
}

// "a node may be followed by a plain watch AND by one or more trees"
#[test]
fn trees_and_plain_watches_share_the_servers_watches() {
    let server = ZooKeeper::start();
    let sandbox = Sandbox::on(&server);
    let trace = Trace::new(&sandbox);
    let (plain, inner) = (sandbox.journal_named("plain"), sandbox.journal_named("inner"));
    sandbox.nodes.set("/t/a/x", "1");
    sandbox.config("tree.twc", tree(&exec(&trace.note()), ""));
    let inner_tree = watch("/t/a", &exec(&inner.note("$(wc -l)")), "watch_type: WATCH_TREE");
    sandbox.config("inner.twc", inner_tree);
    sandbox.config("plain.twc", watch("/t/a/x", &exec(&plain.record()), ""));
    let _daemon = sandbox.start();
    trace.wait_for(&["load: load /t=, load /t/a=, load /t/a/x=1"]);
    inner.wait_for(&["2"]);
    plain.wait_for(&["1"]);
    // The server counts only watches on data.
    assert_eq!(server.watches(), Some(3));
    sandbox.nodes.set("/t/a/x", "2");
    inner.wait_for(&["2", "1"]);
    plain.wait_for(&["1", "2"]);
    sandbox.remove_config("tree.twc");
    wait_until("what only the outer tree needs to be let go", || server.watches() == Some(2));
    sandbox.nodes.set("/t/a/x", "3");
    inner.wait_for(&["2", "1", "1"]);
    plain.wait_for(&["1", "2", "3"]);
    sandbox.remove_config("inner.twc");
    wait_until("what only the inner tree needs to be let go", || server.watches() == Some(1));
    sandbox.nodes.set("/t/a/x", "4");
    plain.wait_for(&["1", "2", "3", "4"]);
    sandbox.config("tree.twc", tree(&exec(&trace.note()), "timeout: 60"));
    trace.wait_for_mirror(&[("/t", ""), ("/t/a", ""), ("/t/a/x", "4")]);
    sandbox.remove_config("plain.twc");
    sandbox.nodes.set("/t/a/x", "5");
    trace.wait_for_mirror(&[("/t", ""), ("/t/a", ""), ("/t/a/x", "5")]);
}

// "`/zookeeper` below the root `/` should not be part of a tree at `/`"
#[test]
fn a_tree_at_the_root_does_not_contain_zookeepers_own_nodes() {
    let server = ZooKeeper::start();
    let sandbox = Sandbox::on_whole(&server);
    let trace = Trace::new(&sandbox);
    sandbox.nodes.set("/a/zookeeper", "1");
    sandbox.config("app.twc", watch("/", &exec(&trace.note()), "watch_type: WATCH_TREE"));
    let _daemon = sandbox.start();
    trace.wait_for(&["load: load /=, load /a=, load /a/zookeeper=1"]);
    sandbox.nodes.set("/b", "2");
    trace.wait_for(&["load: load /=, load /a=, load /a/zookeeper=1", "changed: created /b=2"]);
}
