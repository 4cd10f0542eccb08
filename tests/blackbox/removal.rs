//! `twitcher rm --recursive` of many nodes, which takes longer than the session timeout.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Daemon, Proxy, Sandbox, Store, Twitcher, on_every_server, on_every_store, wait_until};

const TIMEOUT: Duration = Duration::from_secs(3);

/// How long the network takes for each packet.
const DELAY: Duration = Duration::from_millis(100);

/// Fills a node with so many children, and returns the command that removes it over a slow network.
fn slow_removal(store: Store, sandbox: &Sandbox, children: usize) -> (Proxy, Twitcher) {
    let proxy = Proxy::to(&store.shared_server().address());
    proxy.delay(DELAY);
    sandbox.nodes.set("/tree/below", "");
    sandbox.nodes.create_many((0..children).map(|number| format!("/tree/below/{number}")));
    let store = sandbox.nodes.url_by_way_of(&proxy.address());
    let timeout = TIMEOUT.as_secs().to_string();
    let rm = sandbox.twitcher(["rm", "--recursive", "/tree", "--store", &store]);
    (proxy, rm.args(["--session-timeout", &timeout]))
}

fn number_of_nodes(sandbox: &Sandbox) -> usize {
    sandbox.client(["ls", "/tree/below"]).finish().text().lines().count()
}

// "make it as long as it needs, with progress and what is left"
on_every_server!(a_removal_takes_as_long_as_it_needs);
fn a_removal_takes_as_long_as_it_needs(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    // etcd removes thousands of keys with one request.
    let (_proxy, rm) = slow_removal(store, &sandbox, if store == Store::Etcd { 20_000 } else { 4000 });
    let began = Instant::now();
    let finished = rm.finish().expect(0);
    assert!(began.elapsed() > TIMEOUT, "the test removes too fast: {:?}", began.elapsed());
    finished.expect_said(&["nodes at /tree so far: ", "removed, about "]);
    assert_eq!(sandbox.nodes.get("/tree"), None);
}

/// Waits until the removal has come some way: a busy server may take long for the first requests.
fn wait_for_progress(rm: &Daemon) {
    wait_until("some removed nodes", || {
        let said = rm.log_lines(&["nodes at /tree so far: ", " removed, about ", " left"]);
        said.iter().any(|line| !line.contains(" 0 removed"))
    });
}

on_every_server!(a_removal_that_is_interrupted_or_cut_off_says_what_is_left);
fn a_removal_that_is_interrupted_or_cut_off_says_what_is_left(store: Store) {
    type End = fn(&Daemon, &Proxy);
    let ends: [(&str, End); 3] = [
        ("interrupted", |rm, _| rm.signal(Signal::SIGINT)),
        ("interrupted", |rm, _| rm.signal(Signal::SIGTERM)),
        ("connection", |_, proxy| proxy.refuse()),
    ];
    for (said, end) in ends {
        let sandbox = Sandbox::of_kind(store);
        let (proxy, rm) = slow_removal(store, &sandbox, 20_000);
        let mut rm = rm.start();
        wait_for_progress(&rm);
        end(&rm, &proxy);
        assert_eq!(rm.wait_for_exit(), Some(1));
        rm.wait_for_log(&[said, "nodes at /tree so far: ", " left; run the command again"]);
        let left = number_of_nodes(&sandbox);
        assert!((1..20_000).contains(&left), "{left}");
        sandbox.client(["rm", "--recursive", "/tree"]).finish().expect(0);
        assert_eq!(sandbox.nodes.get("/tree"), None);
    }
}

on_every_store!(a_removal_takes_deep_and_wide_trees_and_only_them);
fn a_removal_takes_deep_and_wide_trees_and_only_them(sandbox: &Sandbox) {
    let deep = format!("/tree{}", "/deeper".repeat(60));
    sandbox.nodes.set(&deep, "x");
    for node in ["/tree/a/b", "/tree/a/c", "/tree/d", "/beside", "/treetop"] {
        sandbox.nodes.set(node, "x");
    }
    let rm = sandbox.client(["rm", "--recursive", "/tree"]).finish().expect(0);
    // A slow machine has the time to say how far it is.
    assert!(rm.stderr.lines().all(|line| line.contains("nodes at /tree so far: ")), "{}", rm.stderr);
    assert_eq!(sandbox.client(["ls", "/"]).finish().expect(0).text(), "beside\ntreetop\n");
}
