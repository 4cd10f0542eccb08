//! Trees in etcd, where a node is there if its key is, or any below it. A tree is created when nothing was
//! there before, and deleted when nothing is left, as its root is for `WATCH_CHILDREN`.

use super::{Trace, tree};
use crate::harness::{Journal, Link, Sandbox, Store, exec, watch};

/// Watches the tree at `/t`, and the children of `/t`, which the journal has.
fn watch_both(trace: &Trace, sandbox: &Sandbox) -> Journal {
    sandbox.config("tree.twc", tree(&exec(&trace.note()), "run_on_delete: true"));
    let names = sandbox.journal_named("names");
    let list = exec(&names.note("$TWITCHER_EVENT $(tr '\\n' ' ')"));
    sandbox.config("names.twc", watch("/t", &list, "watch_type: WATCH_CHILDREN, run_on_delete: true"));
    names
}

// "the node is there for `WATCH_CHILDREN`, `ls` and trees if its key is, or any below it"
#[test]
fn the_key_of_a_tree_comes_and_goes_as_a_change_while_others_are_there() {
    let sandbox = Sandbox::of_kind(Store::Etcd);
    let trace = Trace::new(&sandbox);
    sandbox.nodes.set("/t/a", "1");
    let names = watch_both(&trace, &sandbox);
    let _daemon = sandbox.start();
    let mut runs = vec!["load: load /t=, load /t/a=1"];
    trace.wait_for(&runs);
    let mut next = |run| {
        runs.push(run);
        trace.wait_for(&runs);
    };
    sandbox.nodes.set("/t", "own");
    next("changed: changed /t=own");
    sandbox.nodes.remove("/t");
    next("changed: changed /t=");
    sandbox.nodes.set("/t", "again");
    next("changed: changed /t=again");
    sandbox.nodes.remove("/t/a");
    next("changed: deleted /t/a");
    sandbox.nodes.remove("/t");
    next("deleted: ");
    sandbox.nodes.set("/t/b", "1");
    next("created: created /t=, created /t/b=1");
    names.wait_for(&["load a ", "children ", "deleted ", "created b "]);
}

// "re-creation runs ... as `created`, also when the deletion itself went unseen": it is one if no key is left
// of those that were there.
#[test]
fn a_tree_was_created_while_nobody_looked_if_no_key_of_it_is_left() {
    let (link, sandbox) = Link::start(Store::Etcd);
    let trace = Trace::new(&sandbox);
    ["/t/a", "/t/b"].iter().for_each(|node| sandbox.nodes.set(node, "1"));
    watch_both(&trace, &sandbox);
    let _daemon = link.daemon(&sandbox).start();
    let mut runs = vec!["load: load /t=, load /t/a=1, load /t/b=1"];
    trace.wait_for(&runs);
    let mut next = |change: &dyn Fn(), run| {
        link.isolate(&sandbox);
        change();
        link.resume();
        runs.push(run);
        trace.wait_for(&runs);
    };
    let rewrite = |node| {
        sandbox.nodes.remove(node);
        sandbox.nodes.set(node, "1");
    };
    next(&|| sandbox.nodes.set("/t", "own"), "changed: changed /t=own");
    next(&|| rewrite("/t"), "changed: changed /t=1");
    // The oldest key goes, and comes again.
    next(&|| rewrite("/t/a"), "changed: created /t/a=1");
    next(&|| sandbox.nodes.remove("/t"), "changed: changed /t=");
    let rewrite_all = || ["/t/a", "/t/b"].into_iter().for_each(rewrite);
    next(&rewrite_all, "created: created /t/a=1, created /t/b=1");
}
