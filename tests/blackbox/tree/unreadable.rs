//! Trees that cannot be read because of one node's permissions or because of their size.

use std::fs;

use super::{started, tree};
use crate::harness::{Nodes, Sandbox, exec, kazoo};

// "An unreadable node within the tree makes the tree unreadable (with the node's name), never a wrong tree
// that looks complete."
#[test]
fn an_unreadable_node_is_named_and_stops_the_updates_of_its_tree_until_it_can_be_read() {
    let sandbox = Sandbox::zookeeper();
    let (daemon, trace) = started(&sandbox);
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    let locked =
        "[make_acl('world', 'anyone', read=False, write=True, create=True, delete=True, admin=True)]";
    kazoo(address, &format!("zk.create('{root}/t/b', b'secret', acl={locked})"));
    let said = daemon.wait_for_log(&["/t (tree): cannot be read", "/t/b", "no permission", "app.twc-1"]);
    assert!(!said.contains("secret"));
    sandbox.nodes.set("/t/a", "2");
    sandbox.nodes.set("/t/c", "new");
    kazoo(address, &format!("zk.set_acls('{root}/t/b', OPEN_ACL_UNSAFE)"));
    let load = "load: load /t=, load /t/a=1";
    let healed = "changed: changed /t/a=2, created /t/b=secret, created /t/c=new";
    trace.wait_for(&[load, healed]);
    daemon.wait_for_log(&["/t (tree): can be read again"]);
    assert_eq!(daemon.log_lines(&["cannot be read"]).len(), 1, "said once");
}

// "at most 10,000 nodes": beyond that it is unreadable, "and heals when the tree shrinks".
#[test]
fn a_tree_of_too_many_nodes_is_unreadable_until_it_shrinks() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let Nodes::Directory(root) = &sandbox.nodes else { unreachable!() };
    fs::create_dir(root.join("t")).expect("a directory");
    for n in 0..10_000 {
        fs::write(root.join(format!("t/{n}")), "x").expect("a file");
    }
    sandbox.config("app.twc", tree(&exec(&journal.note("$TWITCHER_EVENT $(wc -l)")), ""));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["/t (tree): cannot be read", "more than 10000 nodes", "remove some", "app.twc-1"]);
    fs::remove_file(root.join("t/7")).expect("remove a node");
    journal.wait_for(&["load 10000"]);
}

// "64 MiB of data"
#[test]
fn a_tree_of_too_much_data_is_unreadable_until_it_shrinks() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let Nodes::Directory(root) = &sandbox.nodes else { unreachable!() };
    fs::create_dir(root.join("t")).expect("a directory");
    for n in 0..5 {
        fs::write(root.join(format!("t/{n}")), vec![b'x'; 14 << 20]).expect("a file");
    }
    let action = exec(&journal.note("$TWITCHER_EVENT"));
    sandbox.config("app.twc", tree(&action, "pipe_stdin: false"));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["/t (tree): cannot be read", "more than 64 MiB", "remove some", "app.twc-1"]);
    journal.wait_for(&[]);
    sandbox.nodes.set("/t/3", "small");
    journal.wait_for(&["load"]);
}
