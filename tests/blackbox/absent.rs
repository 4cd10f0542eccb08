//! "A missing node (or missing parents) is a normal state."

use crate::harness::{Journal, Sandbox, exec, on_both_stores, watch};

/// A watch on `/n` that journals events with the content, and one on `/ready` that tells when it is armed.
fn watched(sandbox: &Sandbox, znode: &str, more: &str) -> Journal {
    let journal = sandbox.journal();
    sandbox.nodes.set("/ready", "ready");
    sandbox.config(
        "app.twc",
        [
            watch(znode, &exec(&journal.record_event()), more),
            watch("/ready", &exec(&journal.record_event()), r#"description: "ready""#),
        ]
        .concat(),
    );
    journal
}

// "the watch waits, and its creation is an update"
#[test]
fn a_missing_node_waits_and_its_creation_is_an_update() {
    on_both_stores(|sandbox| {
        sandbox.nodes.set("/parent/sibling", "");
        let journal = watched(sandbox, "/parent/n", "");
        let _daemon = sandbox.start();
        journal.wait_for(&["load ready"]);
        sandbox.nodes.set("/parent/n", "new");
        journal.wait_for(&["load ready", "created new"]);
    });
}

// "A missing node (or missing parents) is a normal state"
#[test]
fn missing_parents_wait_like_a_missing_node() {
    on_both_stores(|sandbox| {
        let journal = watched(sandbox, "/far/away/from/here", "");
        let _daemon = sandbox.start();
        journal.wait_for(&["load ready"]);
        sandbox.nodes.set("/far/away/from/here", "new");
        journal.wait_for(&["load ready", "created new"]);
    });
}

// "run_on_load ... run when the watch is first loaded": there is nothing to run with, and what comes later
// is an update.
#[test]
fn creation_is_an_update_also_without_run_on_load() {
    on_both_stores(|sandbox| {
        let journal = watched(sandbox, "/n", "run_on_load: false");
        let _daemon = sandbox.start();
        journal.wait_for(&["load ready"]);
        // The marker runs on a subscription of its own: another pair of updates orders the two.
        sandbox.nodes.set("/n", "new");
        journal.wait_for_line("created new");
    });
}

// "Deletion runs nothing by default; re-creation runs, also with equal bytes, as `created`"
#[test]
fn deletion_runs_nothing_and_recreation_with_equal_bytes_runs_as_created() {
    on_both_stores(|sandbox| {
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
    });
}

// "A missing node (or missing parents) is a normal state", for a watch on children too.
#[test]
fn children_of_a_missing_node_are_watched_once_it_exists() {
    on_both_stores(|sandbox| {
        let journal = watched(sandbox, "/members", "watch_type: WATCH_CHILDREN");
        let _daemon = sandbox.start();
        journal.wait_for(&["load ready"]);
        sandbox.nodes.set("/members/one", "");
        // The node and its child may be seen at once, or one after the other.
        let line = journal.wait_for_line_where("the child", |line| line.ends_with(" one"));
        assert!(["created one", "children one"].contains(&line.as_str()), "{line}");
        assert_eq!(journal.lines().iter().filter(|line| line.starts_with("created")).count(), 1);
    });
}
