//! The root of a store without a prefix, which has no key: it is always there, as in ZooKeeper.

use std::fs;

use crate::harness::{Etcd, Sandbox, exec, wait_until, watch};

// "Everything that works on ZooKeeper works here": watches of an empty store run, and see it filled and
// emptied again without a deletion of the root.
#[test]
fn a_root_without_a_prefix_is_there_while_no_key_is() {
    let server = Etcd::start();
    let sandbox = Sandbox::on_whole(&server);
    let names = sandbox.journal_named("names");
    let tree = sandbox.journal_named("tree");
    let list = exec(&names.note("$TWITCHER_EVENT $(tr '\\n' ' ')"));
    sandbox.config("names.twc", watch("/", &list, "watch_type: WATCH_CHILDREN, run_on_delete: true"));
    let nodes = "$(sed 's/.*\"znode\":\"//; s/\".*//' | tr '\\n' ' ')";
    let changes = exec(&tree.note(&format!("$TWITCHER_EVENT {nodes}")));
    sandbox.config("tree.twc", watch("/", &changes, "watch_type: WATCH_TREE, run_on_delete: true"));
    let data = sandbox.journal_named("data");
    sandbox.config("data.twc", watch("/", &exec(&data.record_event()), ""));
    let _daemon = sandbox.start();
    names.wait_for(&["load "]);
    tree.wait_for(&["load / "]);
    let say = |command: &str| sandbox.client([command, "/"]).finish().expect(0).text();
    assert_eq!((say("ls"), say("export")), (String::new(), "{\"znode\":\"/\"}\n".to_owned()));
    assert_eq!(say("tree").lines().next(), Some("/"));
    sandbox.nodes.set("/a/b", "1");
    names.wait_for(&["load ", "children a "]);
    wait_until("the new nodes", || tree.lines().len() == 2);
    sandbox.nodes.remove("/a/b");
    names.wait_for(&["load ", "children a ", "children "]);
    wait_until("the end of the nodes", || tree.lines().len() == 3);
    assert!(tree.lines().iter().all(|line| !line.starts_with("deleted")), "{:?}", tree.lines());
    // It has no data, which a root with a prefix can have.
    assert_eq!(fs::read_to_string(data.path()).unwrap_or_default(), "");
    sandbox.client(["get", "/"]).finish().expect(1).expect_said(&["the root has no data"]);
}
