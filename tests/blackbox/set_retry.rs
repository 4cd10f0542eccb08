//! `set --retry`: a store that is away for a short time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Nodes, Proxy, Sandbox, Store, on_every_server, on_every_store};

// "for the store's short absence: tries until then, also over refused connections"
on_every_server!(a_store_that_is_away_for_a_while_is_waited_for);
fn a_store_that_is_away_for_a_while_is_waited_for(store: Store) {
    let server = store.stopped_server();
    let sandbox = Sandbox::on_whole(&*server);
    let set = sandbox.client(["set", "/a/n", "x", "--retry", "60"]);
    let finished = std::thread::scope(|scope| {
        let setting = scope.spawn(|| set.finish());
        server.up();
        setting.join().unwrap()
    });
    finished.expect(0);
    assert_eq!(sandbox.nodes.get("/a/n").as_deref(), Some(&b"x"[..]));
}

on_every_server!(the_retry_ends_in_time_and_says_why);
fn the_retry_ends_in_time_and_says_why(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    let silent = Proxy::to(&store.shared_server().address());
    silent.stall();
    for (address, reason) in
        [(store.stopped_server().address(), "connection refused"), (silent.address(), "no answer")]
    {
        let began = Instant::now();
        let url = sandbox.nodes.url_by_way_of(&address);
        let set = sandbox.twitcher(["set", "/n", "x", "--store", &url, "--retry", "2"]);
        set.finish().expect(1).expect_said(&[reason, "2 s"]);
        // A busy machine may be slow to start a process, but the session timeout of 10 s was not waited for.
        assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    }
}

// "not for refusals such as missing rights"
#[test]
fn a_refusal_is_final() {
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.set("/closed", "x");
    sandbox.nodes.close_to_everybody("/closed");
    let began = Instant::now();
    sandbox
        .client(["set", "/closed", "y", "--retry", "600"])
        .finish()
        .expect(1)
        .expect_said(&["no permission"]);
    assert!(began.elapsed() < Duration::from_secs(300));
}

on_every_store!(a_condition_that_fails_is_final);
fn a_condition_that_fails_is_final(sandbox: &Sandbox) {
    sandbox.nodes.set("/n", "x");
    let began = Instant::now();
    sandbox.client(["set", "/n", "y", "--create", "--retry", "600"]).finish().expect(3);
    sandbox.client(["set", "/n", "y", "--if-version", "7", "--retry", "600"]).finish().expect(3);
    assert!(began.elapsed() < Duration::from_secs(300));
    assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b"x"[..]));
}

// A write of which nobody knows whether it was done is repeated only if that does no harm.
on_every_server!(a_write_whose_reply_is_lost_is_repeated_unless_it_has_a_condition);
fn a_write_whose_reply_is_lost_is_repeated_unless_it_has_a_condition(store: Store) {
    let server = store.shared_server().address();
    let sandbox = Sandbox::of_kind(store);
    sandbox.nodes.set("/n", "0");
    let set = |node: &str, data: &str, more: &[&str]| {
        let network = losing_the_reply(&server, sandbox.nodes.clone(), node.to_owned(), data.to_owned());
        let url = sandbox.nodes.url_by_way_of(&network);
        let set = sandbox.twitcher(["set", node, data, "--retry", "60", "--store", &url]);
        more.iter().fold(set, |set, arg| set.arg(arg)).finish()
    };
    let first = version(&sandbox, "/n");
    set("/n", "1", &["--if-version", &first.to_string()]).expect(1).expect_said(&[
        "/n",
        "unknown",
        "not tried again",
    ]);
    assert_eq!(version(&sandbox, "/n"), first + 1, "it was written");
    set("/n", "2", &[]).expect(0).expect_said(&["unknown", "trying again"]);
    assert_eq!(version(&sandbox, "/n"), first + 3, "it was written twice");
    set("/new", "3", &["--create"]).expect(1).expect_said(&["/new", "unknown", "not tried again"]);
    assert_eq!(version(&sandbox, "/new"), first, "it was created");
}

fn version(sandbox: &Sandbox, node: &str) -> i64 {
    let shown = sandbox.client(["get", "--json", node]).finish().expect(0).text();
    serde_json::from_str::<serde_json::Value>(&shown).expect("JSON")["version"].as_i64().expect("a version")
}

/// Returns the address of a network that loses its first connection as soon as the server has written `data`
/// to the node, before it passes on the reply. All later connections are as they should be.
fn losing_the_reply(server: &str, nodes: Nodes, node: String, data: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = server.to_owned();
    thread::spawn(move || {
        for (number, client) in listener.incoming().flatten().enumerate() {
            let upstream = TcpStream::connect(&server).unwrap();
            let (mut from, mut to) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
            let (mut up_from, mut up_to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            let (nodes, node, data) = (nodes.clone(), node.clone(), data.clone());
            thread::spawn(move || io::copy(&mut up_from, &mut up_to));
            thread::spawn(move || {
                let mut reply = [0; 1 << 16];
                while let Ok(length @ 1..) = from.read(&mut reply)
                    && (number > 0 || nodes.get(&node).as_deref() != Some(data.as_bytes()))
                    && to.write_all(&reply[..length]).is_ok()
                {}
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    });
    address
}
