//! `get --cached`: "asks the daemon of this host for the last content of a node that it follows: it answers
//! while the store is away, and after a restart while the store is away".

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::harness::control::{ask, connect};
use crate::harness::{
    Daemon, Finished, Link, Sandbox, Store, exec, on_every_kind, on_every_store, wait_for, wait_until, watch,
};

/// What stderr says of data that may be outdated.
const OUTDATED: &str = "is from the daemon's cache, and was last known to be current";

/// As much binary data as a node may have on each of the stores, almost.
fn large() -> Vec<u8> {
    (0..1_000_000_u64).map(|number| (number * number % 251) as u8).collect()
}

fn cached(sandbox: &Sandbox, store: &str, node: &str) -> Finished {
    sandbox.operator(["get", "--cached", node, "--store", store]).finish()
}

/// Returns what the cache has of a node if it is known to be current.
fn current(sandbox: &Sandbox, store: &str, node: &str) -> Option<Vec<u8>> {
    let found = cached(sandbox, store, node);
    (found.code == Some(0) && found.stderr.is_empty()).then_some(found.stdout)
}

#[track_caller]
fn wait_for_current(sandbox: &Sandbox, store: &str, node: &str, data: &[u8]) {
    // The store would be asked for a node that the daemon does not follow yet.
    let is_in_cache = || {
        let shown = sandbox.operator(["get", "--cached", "--json", node, "--store", store]).finish();
        shown.text().contains("\"current_until\":null")
    };
    wait_until("the cache to have it", || {
        is_in_cache() && current(sandbox, store, node).is_some_and(|found| found == data)
    });
}

/// Shows that the last data is there although the store is away.
#[track_caller]
fn expect_the_last_data(sandbox: &Sandbox, store: &str) {
    let small = cached(sandbox, store, "/small").expect(0);
    assert_eq!(small.text(), "v2");
    small.expect_said(&["twitcher: node /small", OUTDATED, " ago ("]);
    assert!(cached(sandbox, store, "/large").expect(0).stdout == large());
    assert_eq!(cached(sandbox, store, "/empty").expect(0).stdout, b"");
    // A deleted node is known to be deleted, and what it had is not given back.
    let gone = cached(sandbox, store, "/gone").expect(1);
    gone.expect_said(&["node /gone does not exist", OUTDATED]);
    assert_eq!(gone.stdout, b"");
    let args = ["get", "--cached", "/small", "--store", store];
    let old = sandbox.operator(args).args(["--max-age", "0"]).finish().expect(1);
    old.expect_said(&["what the daemon saw of node /small was last known to be current", "--max-age is 0 s"]);
    assert_eq!(old.stdout, b"");
    assert_eq!(sandbox.operator(args).args(["--max-age", "3600"]).finish().expect(0).text(), "v2");
    let object = sandbox.operator(args).arg("--json").finish().expect(0).text();
    let object: serde_json::Value = serde_json::from_str(&object).expect("JSON");
    assert_eq!((&object["znode"], &object["data"]), (&"/small".into(), &"v2".into()));
    assert!(object["version"].is_i64() && object["current_until"].is_string(), "{object}");
}

fn watches(nodes: &[&str]) -> String {
    nodes.iter().map(|node| watch(node, &exec("true"), "")).collect()
}

on_every_kind!(the_last_data_is_there_while_the_store_is_away_and_after_a_kill);
fn the_last_data_is_there_while_the_store_is_away_and_after_a_kill(kind: Store) {
    let (link, sandbox) = Link::start(kind);
    let store = link.url(&sandbox);
    for (node, data) in [("/small", b"v1".as_slice()), ("/large", &large()), ("/empty", b""), ("/gone", b"x")]
    {
        sandbox.nodes.set(node, data);
    }
    sandbox.config("app.twc", watches(&["/small", "/large", "/empty", "/gone"]));
    let mut daemon = link.daemon(&sandbox).start();
    wait_for_current(&sandbox, &store, "/small", b"v1");
    wait_for_current(&sandbox, &store, "/gone", b"x");
    wait_for_current(&sandbox, &store, "/empty", b"");
    sandbox.nodes.set("/small", "v2");
    sandbox.nodes.remove("/gone");
    wait_for_current(&sandbox, &store, "/small", b"v2");
    wait_for_current(&sandbox, &store, "/large", &large());
    wait_until("the deletion to be known", || cached(&sandbox, &store, "/gone").code == Some(1));
    let current_object =
        sandbox.operator(["get", "--cached", "--json", "/small", "--store", &store]).finish();
    let object: serde_json::Value = serde_json::from_slice(&current_object.expect(0).stdout).expect("JSON");
    assert!(object["current_until"].is_null(), "{object}");

    link.isolate(&sandbox);
    daemon.wait_for_log(&["not connected"]);
    wait_until("the outage to be known", || current(&sandbox, &store, "/small").is_none());
    expect_the_last_data(&sandbox, &store);
    daemon.kill();
    let mut daemon = link.daemon(&sandbox).start();
    wait_until("the next daemon to answer", || cached(&sandbox, &store, "/small").stderr.contains(OUTDATED));
    expect_the_last_data(&sandbox, &store);
    daemon.wait_for_log(&["not connected"]);
    expect_the_last_data(&sandbox, &store);
    // And once more, by a daemon that ended in order and never saw the store.
    assert_eq!(daemon.stop(), Some(0));
    let daemon = link.daemon(&sandbox).start();
    wait_until("the next daemon to answer", || cached(&sandbox, &store, "/small").stderr.contains(OUTDATED));
    expect_the_last_data(&sandbox, &store);

    link.resume();
    wait_for_current(&sandbox, &store, "/small", b"v2");
    sandbox.nodes.set("/small", "v3");
    sandbox.nodes.set("/gone", "back");
    wait_for_current(&sandbox, &store, "/small", b"v3");
    wait_for_current(&sandbox, &store, "/gone", b"back");
    assert_eq!(daemon.log_lines(&["cache"]), [""; 0]);
    expect_private_files(&sandbox);
}

/// "0600 where the node is not world-readable"
#[track_caller]
fn expect_private_files(sandbox: &Sandbox) {
    let entries =
        fs::read_dir(sandbox.state()).expect("read the state directory").map(|entry| entry.unwrap());
    let files: Vec<_> =
        entries.filter(|entry| entry.file_name().to_string_lossy().contains("cache")).collect();
    assert!(!files.is_empty());
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
}

// "A node that it does not follow is read from the store."
on_every_store!(a_node_that_is_not_followed_for_its_data_is_read_from_the_store);
fn a_node_that_is_not_followed_for_its_data_is_read_from_the_store(sandbox: &Sandbox) {
    let store = sandbox.nodes.url();
    sandbox.nodes.make("/parent");
    for (node, data) in [("/n", "1"), ("/parent/child", "3"), ("/other", "4")] {
        sandbox.nodes.set(node, data);
    }
    let children = watch("/parent", &exec("true"), "watch_type: WATCH_CHILDREN");
    sandbox.config("app.twc", watches(&["/n"]) + children.as_str());
    let mut daemon = sandbox.start();
    wait_for_current(sandbox, &store, "/n", b"1");
    for (node, data) in [("/parent", ""), ("/parent/child", "3"), ("/other", "4")] {
        assert_eq!(current(sandbox, &store, node).as_deref(), Some(data.as_bytes()));
    }
    cached(sandbox, &store, "/none").expect(1).expect_said(&["node /none does not exist"]);
    let socket = sandbox.control_socket();
    let (url, node) = (store.replace(':', "%3A").replace('/', "%2F"), |node: &str| node.replace('/', "%2F"));
    let answer = |path: &str| {
        ask(connect(&socket), "GET", &format!("/v1/cached?store={url}&node={}", node(path))).text()
    };
    assert_eq!(answer("/n"), "1");
    assert!(answer("/other").contains("the daemon follows no data of node /other"), "{}", answer("/other"));
    // A node that is not followed any more may be outdated.
    sandbox.config("app.twc", children);
    wait_until("the node to be left", || answer("/n").contains("the daemon follows no data of node /n"));
    sandbox.nodes.set("/n", "5");
    assert_eq!(current(sandbox, &store, "/n").as_deref(), Some(b"5".as_slice()));
    assert_eq!(daemon.stop(), Some(0));
    let without = cached(sandbox, &store, "/n").expect(0);
    assert_eq!(without.text(), "5");
    without.expect_said(&["no cached data", "is read", "does the daemon run?"]);
    cached(sandbox, "dir:/no/such/store", "/n").expect(1);
}

#[test]
fn only_who_may_use_the_control_socket_has_cached_data() {
    let sandbox = Sandbox::directory();
    let binary = sandbox.copy_of_the_binary();
    sandbox.nodes.set("/n", "secret");
    let sandbox_nodes = sandbox.root().join("nodes");
    crate::harness::set_mode(&sandbox_nodes, 0o700);
    sandbox.config("app.twc", watches(&["/n"]));
    let store = sandbox.nodes.url();
    let _daemon = sandbox.start();
    wait_for_current(&sandbox, &store, "/n", b"secret");
    let nobody = ["setpriv", "--reuid=65534", "--clear-groups", "--regid=65534"];
    let refused = sandbox.operator(["get", "--cached", "/n", "--store", &store]);
    let refused = refused.binary(&binary).under(nobody).finish().expect(1);
    assert_eq!(refused.stdout, b"");
    refused.expect_said(&["permission denied: this user may not use the daemon's control socket"]);
    let file = sandbox.state().join("cache.db");
    let read = crate::harness::command("setpriv").args(&nobody[1..]).arg("cat").arg(file).output();
    assert!(!read.expect("run cat").status.success());
}

// "Wrong usage" is told before anything is asked.
#[test]
fn wrong_arguments_are_refused() {
    let sandbox = Sandbox::directory();
    for (args, said) in [
        (["--max-age", "5"], "--cached"),
        (["--cached", "--max-age=-1"], "--max-age"),
        (["--cached", "--max-age=soon"], "is not a number of seconds"),
        (["--control-socket", "/s"], "--cached"),
    ] {
        sandbox.client(["get", "/n"]).args(args).finish().expect(2).expect_said(&[said]);
    }
}

fn degraded(daemon: &Daemon) -> Vec<String> {
    daemon.log_lines(&["cache"])
}

// "One bad thing stays one bad thing": a cache that is damaged begins anew.
#[test]
fn a_damaged_cache_is_set_aside_and_a_removed_one_is_made_again() {
    let sandbox = Sandbox::directory();
    let (store, file) = (sandbox.nodes.url(), sandbox.state().join("cache.db"));
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watches(&["/n"]));
    fs::write(&file, "no database".repeat(1000)).expect("write garbage");
    let mut daemon = sandbox.start();
    wait_for_current(&sandbox, &store, "/n", b"1");
    assert_eq!(degraded(&daemon).len(), 1, "{:?}", daemon.log());
    daemon.wait_for_log(&["cache.db", "not a database", "cache.damaged.db", "the cache begins anew"]);
    assert!(fs::read(sandbox.state().join("cache.damaged.db")).unwrap().starts_with(b"no database"));
    fs::remove_file(&file).expect("remove the cache");
    sandbox.nodes.set("/n", "2");
    wait_for_current(&sandbox, &store, "/n", b"2");
    daemon.wait_for_log(&["cache.db was removed or replaced; beginning a new cache"]);
    assert_eq!(daemon.stop(), Some(0));
    expect_private_files(&sandbox);
    // The next daemon has it without its store.
    fs::rename(sandbox.root().join("nodes"), sandbox.root().join("away")).expect("take the store away");
    let _daemon = sandbox.start();
    let found = wait_for("an answer", || {
        Some(cached(&sandbox, &store, "/n")).filter(|found| found.stderr.contains(OUTDATED))
    });
    assert_eq!(found.expect(0).text(), "2");
}

#[test]
fn without_a_cache_every_node_is_read_from_the_store_and_nothing_is_kept() {
    let sandbox = Sandbox::directory();
    let store = sandbox.nodes.url();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watches(&["/n"]));
    let mut daemon = sandbox.start();
    wait_for_current(&sandbox, &store, "/n", b"1");
    assert_eq!(daemon.stop(), Some(0));
    assert!(sandbox.state().join("cache.db").exists());
    sandbox.settings("cache_size = 0");
    let daemon = sandbox.start();
    daemon.wait_for_log(&["connected to"]);
    assert_eq!(current(&sandbox, &store, "/n").as_deref(), Some(b"1".as_slice()));
    assert!(!sandbox.state().join("cache.db").exists());
    sandbox.settings("cache_size = 1000");
    let refused = sandbox.daemon().finish().expect(1);
    refused.expect_said(&["cache_size", "1000 is less than 1048576 bytes (1 MiB)", "0: no cache"]);
}

// "nothing written while nothing turns"
#[test]
fn a_daemon_that_is_killed_at_any_time_leaves_what_it_saw() {
    let sandbox = Sandbox::directory();
    let store = sandbox.nodes.url();
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    for round in 0..10 {
        let data = round.to_string();
        sandbox.nodes.set("/n", &data);
        let mut daemon = sandbox.start();
        wait_for_current(&sandbox, &store, "/n", data.as_bytes());
        // In the middle of whatever the cache does.
        (0..100 * round).for_each(|number| sandbox.nodes.set("/n", format!("{data} {number}")));
        daemon.signal(Signal::SIGKILL);
        daemon.wait_for_end();
        assert_eq!(degraded(&daemon), [""; 0], "round {round}");
    }
    let (nodes, away) = (sandbox.root().join("nodes"), sandbox.root().join("away"));
    fs::rename(&nodes, &away).expect("take the store away");
    let _daemon = sandbox.start();
    let found = wait_for("an answer", || {
        Some(cached(&sandbox, &store, "/n")).filter(|found| found.stderr.contains(OUTDATED))
    });
    assert!(found.expect(0).text().starts_with(['8', '9']));
}

/// Returns a node of this many bytes, the largest of which a directory store has is 16 MiB.
fn bytes_of(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|number| (number.wrapping_mul(31) >> 3) as u8 ^ seed as u8).collect()
}

// "the cache is on disk, bounded": what is newest stays, and what has no room is never given as empty.
#[test]
fn a_cache_that_is_full_forgets_the_oldest_and_the_largest_node_fits_into_a_usual_one() {
    const LIMIT: usize = 1 << 20;
    let sandbox = Sandbox::directory();
    let store = sandbox.nodes.url();
    let (nodes, away) = (sandbox.root().join("nodes"), sandbox.root().join("away"));
    let outdated = |node: &str| {
        let found = cached(&sandbox, &store, node);
        (found.code == Some(0) && found.stderr.contains(OUTDATED)).then_some(found.stdout)
    };
    sandbox.settings(&format!("cache_size = {LIMIT}"));
    sandbox.config("app.twc", watches(&["/1", "/2", "/3", "/huge"]));
    let mut daemon = sandbox.start();
    for (number, node) in ["/1", "/2", "/3"].into_iter().enumerate() {
        let data = bytes_of(400_000, number);
        sandbox.nodes.set(node, &data);
        wait_for_current(&sandbox, &store, node, &data);
    }
    let line = daemon.wait_for_log(&["cache.db: the data of all nodes does not fit into 1048576 bytes"]);
    assert!(line.contains("raise `cache_size` in twitcher.toml"), "{line}");
    let huge = bytes_of(16 << 20, 7);
    sandbox.nodes.set("/huge", &huge);
    wait_until("it to be read from the store", || current(&sandbox, &store, "/huge").as_ref() == Some(&huge));
    assert_eq!(daemon.stop(), Some(0));
    let size = fs::metadata(sandbox.state().join("cache.db")).expect("look at the cache").len();
    assert!(size <= LIMIT as u64, "{size}");
    fs::rename(&nodes, &away).expect("take the store away");
    let mut daemon = sandbox.start();
    wait_until("the newest", || outdated("/3").is_some_and(|data| data == bytes_of(400_000, 2)));
    for node in ["/1", "/huge"] {
        assert_eq!(cached(&sandbox, &store, node).expect(1).stdout, b"", "{node}");
    }
    assert_eq!(daemon.stop(), Some(0));

    fs::rename(&away, &nodes).expect("put the store back");
    sandbox.settings("");
    let mut daemon = sandbox.start();
    wait_for_current(&sandbox, &store, "/huge", &huge);
    daemon.kill();
    fs::rename(&nodes, &away).expect("take the store away");
    let _daemon = sandbox.start();
    wait_until("the largest", || outdated("/huge").is_some_and(|data| data == huge));
    expect_private_files(&sandbox);
}
