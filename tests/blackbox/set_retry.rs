//! `set --retry`: a store that is away for a short time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Proxy, Sandbox, Server, ZooKeeper};

// "for the store's short absence: tries until then, also over refused connections"
#[test]
fn a_store_that_is_away_for_a_while_is_waited_for() {
    let server = ZooKeeper::stopped();
    let sandbox = Sandbox::on_whole(&server);
    let set = sandbox.client(["set", "/a/n", "x", "--retry", "60"]);
    let finished = std::thread::scope(|scope| {
        let setting = scope.spawn(|| set.finish());
        server.up();
        setting.join().unwrap()
    });
    finished.expect(0);
    assert_eq!(sandbox.nodes.get("/a/n").as_deref(), Some(&b"x"[..]));
}

#[test]
fn the_retry_ends_in_time_and_says_why() {
    let sandbox = Sandbox::directory();
    let silent = Proxy::to(&ZooKeeper::shared().address());
    silent.stall();
    for (address, reason) in
        [(ZooKeeper::stopped().address(), "connection refused"), (silent.address(), "no answer")]
    {
        let began = Instant::now();
        let set = sandbox.twitcher(["set", "/n", "x", "--zkservers", &address, "--retry", "2"]);
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
    sandbox.client(["set", "/closed", "y", "--create", "--retry", "600"]).finish().expect(3);
    sandbox.client(["set", "/n", "y", "--if-version", "7", "--retry", "600"]).finish().expect(3);
    assert!(began.elapsed() < Duration::from_secs(300));
}

// A write of which nobody knows whether it was done is repeated only if that does no harm.
#[test]
fn a_write_whose_reply_is_lost_is_repeated_unless_it_has_a_condition() {
    let server = ZooKeeper::start();
    let sandbox = Sandbox::on_whole(&server);
    sandbox.nodes.set("/n", "0");
    let set = |more: &[&str]| {
        let url = sandbox.nodes.url_by_way_of(&losing_the_first_reply(&server.address()));
        let set = sandbox.twitcher(["set", "/n", "x", "--retry", "60", "--store", &url]);
        more.iter().fold(set, |set, arg| set.arg(arg)).finish()
    };
    set(&["--if-version", "0"]).expect(1).expect_said(&["/n", "unknown", "not tried again"]);
    assert_eq!(version(&sandbox), 1, "it was written");
    set(&[]).expect(0).expect_said(&["unknown", "trying again"]);
    assert_eq!(version(&sandbox), 3, "it was written twice");
    set(&["--create"]).expect(1);
}

fn version(sandbox: &Sandbox) -> i64 {
    let shown = sandbox.client(["get", "--json", "/n"]).finish().expect(0).text();
    serde_json::from_str::<serde_json::Value>(&shown).expect("JSON")["version"].as_i64().expect("a version")
}

/// Returns the address of a network that lets the first session begin, and loses the connection after the
/// server has replied to the first request of the command. All later connections are as they should be.
fn losing_the_first_reply(server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = server.to_owned();
    thread::spawn(move || {
        for (number, client) in listener.incoming().flatten().enumerate() {
            let upstream = TcpStream::connect(&server).unwrap();
            let (mut from, mut to) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
            let (mut up_from, mut up_to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            thread::spawn(move || io::copy(&mut up_from, &mut up_to));
            thread::spawn(move || {
                if number > 0 {
                    let _ = io::copy(&mut from, &mut to);
                } else {
                    // The greeting, and the reply to what shows that the session is granted.
                    for _ in 0..2 {
                        let _ = message(&mut from).and_then(|message| to.write_all(&message));
                    }
                    let _ = message(&mut from);
                }
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    });
    address
}

/// Reads one message with its length.
fn message(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut body)?;
    Ok([&length[..], &body].concat())
}
