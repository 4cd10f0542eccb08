//! Going over all keys: what is found among many, and how it is asked for.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use twitcher::commits::encode;

use super::{Diary, NEVER, commit, node};
use crate::harness::liar::{message, read_message, reply};
use crate::harness::{Nodes, Sandbox, Store, load, on_every_server, on_every_store};

/// The operation by which ZooKeeper 3.6 and newer read many nodes at once.
const MULTI_READ: i32 = 22;

// Many nodes are looked at by one request where a store can do that.
on_every_store!(a_round_over_many_keys_finds_each_that_differs);
fn a_round_over_many_keys_finds_each_that_differs(sandbox: &Sandbox) {
    let diary = Diary::of(sandbox);
    let publisher = diary.publisher(&sandbox.nodes.url(), NEVER);
    let name = |number: usize| format!("key-{number:03}");
    for number in 0..150 {
        diary.publish(&publisher, commit(&name(number), 1, "x"));
    }
    publisher.wait_until_done();
    let same = diary.compare(&publisher, false);
    assert_eq!((same.checked, same.differing), (150, 0), "{same:?}");
    for number in [0, 31, 32, 149] {
        sandbox.nodes.set(&node(&name(number)), "evil");
    }
    for number in [1, 64, 148] {
        sandbox.nodes.remove(&node(&name(number)));
    }
    // Only the payload, or only the header, is another one.
    sandbox.nodes.set(&node(&name(77)), encode(&commit(&name(77), 1, "y")));
    let mut alike = commit(&name(78), 1, "x");
    alike.header.comment = "lofr".to_owned();
    sandbox.nodes.set(&node(&name(78)), encode(&alike));
    let found = diary.compare(&publisher, true);
    let names: Vec<_> = found.differences.iter().map(|found| &found.key[4..]).collect();
    assert_eq!(names, ["000", "001", "031", "032", "064", "077", "078", "148", "149"]);
    assert_eq!((found.differing, found.repaired), (9, 9));
    let same = diary.compare(&publisher, false);
    assert_eq!((same.checked, same.differing), (150, 0), "{same:?}");
}

// What is too large for one reply is looked at in parts.
#[test]
fn many_large_nodes_that_others_have_written_are_compared() {
    let sandbox = Sandbox::zookeeper();
    let diary = Diary::of(&sandbox);
    for number in 0..40 {
        diary.save(commit(&format!("key-{number:02}"), 1, "x"));
    }
    let publisher = diary.publisher(&sandbox.nodes.url(), NEVER);
    publisher.wait_until_connected();
    assert_eq!(diary.compare(&publisher, true).repaired, 40);
    let large = "x".repeat(1_000_000);
    (0..18).for_each(|number| sandbox.nodes.set(&node(&format!("key-{number:02}")), &large));
    let made = diary.compare(&publisher, true);
    assert_eq!((made.differing, made.repaired), (18, 18), "{made:?}");
    assert_eq!(diary.compare(&publisher, false).differing, 0);
    sandbox.nodes.close_to_everybody(&node("key-30"));
    let looked = diary.compare(&publisher, true);
    let failures: Vec<_> =
        looked.differences.iter().map(|found| (&*found.key, found.failure.as_deref())).collect();
    assert_eq!(failures, [("key-30", Some("no permission to read it"))]);
}

#[test]
fn a_server_that_cannot_read_many_nodes_at_once_is_asked_for_each() {
    let sandbox = Sandbox::zookeeper();
    let diary = Diary::of(&sandbox);
    for number in 0..200 {
        diary.save(commit(&format!("key-{number}"), 1, "x"));
    }
    let Nodes::ZooKeeper { address, .. } = &sandbox.nodes else { unreachable!("it was asked for") };
    let older = OlderZooKeeper::before(address);
    let publisher = diary.publisher(&sandbox.nodes.url_by_way_of(&older.address), NEVER);
    publisher.wait_until_connected();
    assert_eq!(diary.compare(&publisher, true).repaired, 200);
    sandbox.nodes.set(&node("key-150"), "changed");
    let compared = diary.compare(&publisher, false);
    assert_eq!((compared.checked, compared.differing), (200, 1), "{compared:?}");
    assert_eq!(older.refused.load(Ordering::SeqCst), 1, "it is asked once, on a connection of its own");
    diary.stop(&publisher);
}

/// Makes a server look like one of 3.5: it refuses to read many nodes at once, and ends the session.
struct OlderZooKeeper {
    address: String,
    refused: Arc<AtomicUsize>,
}

impl OlderZooKeeper {
    fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
        let address = listener.local_addr().expect("the port").to_string();
        let (refused, upstream) = (Arc::new(AtomicUsize::new(0)), upstream.to_owned());
        let counted = Arc::clone(&refused);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&upstream).expect("connect to the server");
                let (mut replies, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || {
                    // Either side may have left.
                    let _ = std::io::copy(&mut replies, &mut to_client);
                    let _ = to_client.shutdown(Shutdown::Both);
                });
                let counted = Arc::clone(&counted);
                thread::spawn(move || forward(client, server, &counted));
            }
        });
        Self { address, refused }
    }
}

/// Forwards requests until one of the two leaves, or something is asked that the server cannot do.
fn forward(mut client: TcpStream, mut server: TcpStream, refused: &AtomicUsize) {
    let mut is_greeting = true;
    while let Some(request) = read_message(&mut client) {
        let number = |at: usize| i32::from_be_bytes(request[at..at + 4].try_into().unwrap());
        if !std::mem::take(&mut is_greeting) && number(4) == MULTI_READ {
            refused.fetch_add(1, Ordering::SeqCst);
            let _ = client.write_all(&reply(number(0), -6, &[]));
            break;
        }
        if server.write_all(&message(&request)).is_err() {
            break;
        }
    }
    for end in [client, server] {
        let _ = end.shutdown(Shutdown::Both);
    }
}

// "100,000 keys with 10 versions each: … the auto-publisher's round (goal: the round reads heads only, < 2 s
// where nothing changed)". This is no measurement: the program is not optimized here.
on_every_server!(many_keys_are_published_and_gone_over_in_a_moment);
fn many_keys_are_published_and_gone_over_in_a_moment(kind: Store) {
    let sandbox = Sandbox::of_kind(kind);
    let diary = Diary::of(&sandbox);
    let keys = load(2_500, 100_000);
    for some in (0..keys).collect::<Vec<_>>().chunks(500) {
        let save = |number: &usize| diary.journal.save(commit(&format!("key-{number}"), 1, "x".repeat(100)));
        let saved = diary.runtime.block_on(futures_util::future::join_all(some.iter().map(save)));
        assert!(saved.into_iter().all(|saved| saved == Ok(Ok(()))));
    }
    let publisher = diary.publisher(&sandbox.nodes.url(), NEVER);
    publisher.wait_until_connected();
    let began = Instant::now();
    let compared = diary.compare(&publisher, true);
    let publishing = began.elapsed();
    assert_eq!((compared.checked, compared.repaired), (keys as u64, keys as u64));
    assert_eq!(compared.differences.len(), keys.min(10_000), "a bounded part of them is listed");
    let began = Instant::now();
    let compared = diary.compare(&publisher, true);
    let round = began.elapsed();
    assert_eq!((compared.checked, compared.differing), (keys as u64, 0));
    println!("{keys} keys published in {publishing:?}, gone over in {round:?}");
    assert!(round < Duration::from_secs(20), "{round:?}");
}
