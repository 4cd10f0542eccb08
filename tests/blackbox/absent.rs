//! "A missing node (or missing parents) is a normal state."

use crate::harness::{Daemon, Journal, Sandbox, exec, on_every_store, watch};

/// Starts a daemon with a watch on a missing node, which journals the event and the content. Returns after
/// the daemon has seen that the node is missing, so that whatever comes later is a creation.
#[track_caller]
fn waiting(sandbox: &Sandbox, znode: &str, more: &str) -> (Daemon, Journal) {
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch(znode, &exec(&journal.record_event()), more));
    let daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&[znode, "observed"]);
    (daemon, journal)
}

// "the watch waits, and its creation is an update"
on_every_store!(a_missing_node_waits_and_its_creation_is_an_update);
fn a_missing_node_waits_and_its_creation_is_an_update(sandbox: &Sandbox) {
    sandbox.nodes.set("/parent/sibling", "");
    let (_daemon, journal) = waiting(sandbox, "/parent/n", "");
    sandbox.nodes.set("/parent/n", "new");
    journal.wait_for(&["created new"]);
}

// "A missing node (or missing parents) is a normal state"
on_every_store!(missing_parents_wait_like_a_missing_node);
fn missing_parents_wait_like_a_missing_node(sandbox: &Sandbox) {
    let (_daemon, journal) = waiting(sandbox, "/far/away/from/here", "");
    sandbox.nodes.set("/far/away/from/here", "new");
    journal.wait_for(&["created new"]);
}

// "run_on_load ... run when the watch is first loaded": at the load there was no content, and the later
// creation is an update.
on_every_store!(a_creation_is_an_update_also_without_run_on_load);
fn a_creation_is_an_update_also_without_run_on_load(sandbox: &Sandbox) {
    let (_daemon, journal) = waiting(sandbox, "/n", "run_on_load: false");
    sandbox.nodes.set("/n", "new");
    journal.wait_for(&["created new"]);
}

// "Deletion runs nothing by default; re-creation runs, also with equal bytes, as `created`"
on_every_store!(deletion_runs_nothing_and_recreation_with_equal_bytes_runs_as_created);
fn deletion_runs_nothing_and_recreation_with_equal_bytes_runs_as_created(sandbox: &Sandbox) {
    sandbox.nodes.set("/n", "same");
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), ""));
    let _daemon = sandbox.start();
    journal.wait_for(&["load same"]);
    sandbox.nodes.remove("/n");
    sandbox.nodes.set("/n", "same");
    journal.wait_for(&["load same", "created same"]);
    sandbox.nodes.set("/n", "other");
    journal.wait_for(&["load same", "created same", "changed other"]);
}

// "A missing node (or missing parents) is a normal state", for a watch on children too.
on_every_store!(children_of_a_missing_node_are_watched_once_it_exists);
fn children_of_a_missing_node_are_watched_once_it_exists(sandbox: &Sandbox) {
    let (_daemon, journal) = waiting(sandbox, "/members", "watch_type: WATCH_CHILDREN");
    sandbox.nodes.set("/members/one", "");
    // The daemon may see the node and its child together or one after the other.
    let line = journal.wait_for_line_where("the child", |line| line.ends_with(" one"));
    assert!(["created one", "children one"].contains(&line.as_str()), "{line}");
    assert_eq!(journal.lines().iter().filter(|line| line.starts_with("created")).count(), 1);
}

// `zk://host:port/chroot`: a chroot that is missing is like any missing parent.
#[test]
fn a_missing_chroot_is_a_missing_parent() {
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), ""));
    let below = format!("{}/deep/er", sandbox.nodes.url());
    let daemon = sandbox.daemon_on(&below).start();
    daemon.wait_for_log(&["app.twc"]);
    sandbox.nodes.set("/deep/er/n", "new");
    journal.wait_for_line_where("the new node", |line| line.ends_with(" new"));
    sandbox
        .twitcher(["set", "/other", "x", "--store", &format!("{}/else/where", sandbox.nodes.url())])
        .finish()
        .expect(0);
    assert_eq!(sandbox.nodes.get("/else/where/other").as_deref(), Some(&b"x"[..]));
}

// Node paths are Unicode text. (ZooKeeper itself refuses characters that take two UTF-16 units.)
on_every_store!(nodes_with_spaces_and_letters_of_any_script_are_watched);
fn nodes_with_spaces_and_letters_of_any_script_are_watched(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    let node = "/d\u{e9}ploiement/\u{433}\u{43e}\u{43b}\u{43e}\u{432}\u{430} 1";
    sandbox.nodes.set(node, "one");
    sandbox.config("app.twc", watch(node, &exec(&journal.note("$TWITCHER_ZNODE $(cat)")), ""));
    let _daemon = sandbox.start();
    let line = |content| format!("{node} {content}");
    journal.wait_for(&[&line("one")]);
    sandbox.nodes.set(node, "two");
    journal.wait_for(&[&line("one"), &line("two")]);
}

// The root is a node like any other.
on_every_store!(the_children_of_the_root_are_watched);
fn the_children_of_the_root_are_watched(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    sandbox.nodes.set("/one", "");
    let names = exec(&journal.note("$(tr '\\n' ' ')"));
    sandbox.config("app.twc", watch("/", &names, "watch_type: WATCH_CHILDREN"));
    let _daemon = sandbox.start();
    journal.wait_for(&["one "]);
    sandbox.nodes.set("/two", "");
    journal.wait_for(&["one ", "one two "]);
}
