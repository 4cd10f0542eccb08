//! A tree whose store is away for a while.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{Trace, tree};
use crate::harness::{Daemon, Link, Nodes, Sandbox, Store, exec, on_every_kind, on_every_server};

/// A daemon that watches a tree of three nodes below `/t` in a store of its own, which can be taken away.
struct Remote {
    link: Link,
    sandbox: Sandbox,
    trace: Trace,
    _daemon: Daemon,
}

const REMOTE: &str = "load: load /t=, load /t/a=, load /t/a/x=1, load /t/b=1";

impl Remote {
    #[track_caller]
    fn start(store: Store) -> Self {
        let (link, sandbox) = Link::start(store);
        let trace = Trace::new(&sandbox);
        ["/t", "/t/a"].iter().for_each(|node| sandbox.nodes.make(node));
        sandbox.nodes.set("/t/a/x", "1");
        sandbox.nodes.set("/t/b", "1");
        sandbox.config("app.twc", tree(&exec(&trace.note()), ""));
        let daemon = link.daemon(&sandbox).start();
        trace.wait_for(&[REMOTE]);
        Self { link, sandbox, trace, _daemon: daemon }
    }

    #[track_caller]
    fn isolate(&self) {
        self.link.isolate(&self.sandbox);
    }

    /// Changes all nodes. Once the daemon is back, there must be one run with all changes, and then one for
    /// another change.
    fn change_and_return(&self, change: impl FnOnce(&Self)) {
        self.sandbox.nodes.set("/t/a/x", "2");
        self.sandbox.nodes.remove("/t/b");
        ["/t/c", "/t/c/x"].iter().for_each(|node| self.sandbox.nodes.make(node));
        self.sandbox.nodes.set("/t/c/x/y", "3");
        change(self);
        self.link.resume();
        let back =
            "changed: changed /t/a/x=2, deleted /t/b, created /t/c=, created /t/c/x=, created /t/c/x/y=3";
        self.trace.wait_for(&[REMOTE, back]);
        self.sandbox.nodes.set("/t/c/x/y", "4");
        self.trace.wait_for(&[REMOTE, back, "changed: changed /t/c/x/y=4"]);
    }
}

// "After reconnects ... the tree must not be given piecemeal": all that happened meanwhile is one update.
on_every_kind!(what_changed_while_the_store_forgot_the_daemon_is_given_at_once);
fn what_changed_while_the_store_forgot_the_daemon_is_given_at_once(store: Store) {
    let it = Remote::start(store);
    it.isolate();
    it.link.forget_the_daemon();
    it.change_and_return(|it| it.link.forget_the_daemon());
}

on_every_server!(what_changed_before_a_server_restart_is_given_at_once);
fn what_changed_before_a_server_restart_is_given_at_once(store: Store) {
    let it = Remote::start(store);
    it.isolate();
    it.change_and_return(|it| {
        it.link.server().down();
        it.link.server().up();
    });
}

// "A reconnect ... starts no action."
on_every_kind!(a_reconnect_runs_nothing_for_a_tree);
fn a_reconnect_runs_nothing_for_a_tree(store: Store) {
    let it = Remote::start(store);
    for _ in 0..3 {
        it.link.interrupt(&it.sandbox);
    }
    it.sandbox.nodes.set("/t/b", "2");
    it.trace.wait_for(&[REMOTE, "changed: changed /t/b=2"]);
}

// "At rest, the last state given is the true one"
on_every_kind!(a_tree_is_right_after_random_changes_over_cuts_and_restarts);
fn a_tree_is_right_after_random_changes_over_cuts_and_restarts(store: Store) {
    let it = Remote::start(store);
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let done = AtomicBool::new(false);
    let expected = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let expected = change_at_random(&it.sandbox.nodes, seed);
            done.store(true, Ordering::Release);
            expected
        });
        while !done.load(Ordering::Acquire) && !writer.is_finished() {
            it.link.interrupt(&it.sandbox);
        }
        writer.join().expect("the changes are made")
    });
    if store != Store::Directory {
        it.isolate();
        it.link.server().down();
        it.link.server().up();
        it.link.resume();
    }
    let nodes: Vec<_> = expected.iter().map(|(node, text)| (node.as_str(), text.as_str())).collect();
    it.trace.wait_for_mirror(&nodes);
}

/// Creates, changes and removes nodes of the tree. Returns what is there at the end.
fn change_at_random(nodes: &Nodes, seed: u64) -> BTreeMap<String, String> {
    // Each may come only after those above it.
    const PLACES: [&str; 9] =
        ["/t", "/t/a", "/t/a/x", "/t/a-b", "/t/b", "/t/c", "/t/c/x", "/t/c/x/y", "/t/c/z"];
    let mut chance = fastrand::Rng::with_seed(seed);
    let loaded = [("/t", ""), ("/t/a", ""), ("/t/a/x", "1"), ("/t/b", "1")];
    let mut there: BTreeMap<_, _> =
        loaded.into_iter().map(|(node, text)| (node.to_owned(), text.to_owned())).collect();
    for number in 0..600 {
        let place = PLACES[chance.usize(..PLACES.len())];
        let below = format!("{place}/");
        let has_children = there.keys().any(|node| node.starts_with(&below));
        let may_have_children = PLACES.iter().any(|node| node.starts_with(&below));
        let parent = place.rsplit_once('/').expect("absolute").0;
        if !parent.is_empty() && !there.contains_key(parent) {
            continue;
        }
        if there.contains_key(place) && !has_children && chance.u8(..) < 64 {
            nodes.remove(place);
            there.remove(place);
        } else if !may_have_children {
            nodes.set(place, number.to_string());
            there.insert(place.to_owned(), number.to_string());
        } else if !there.contains_key(place) {
            nodes.make(place);
            there.insert(place.to_owned(), String::new());
        }
    }
    // What is missing at the end is no proof that it was seen to be there.
    nodes.make("/t");
    nodes.set("/t/end", "end");
    there.entry("/t".to_owned()).or_default();
    there.insert("/t/end".to_owned(), "end".to_owned());
    there
}
