//! What is published, and what is done about what others write.

use std::time::Duration;

use twitcher::commits::{PublisherEvent, encode};
use twitcher::model::NodePath;
use twitcher::store::{Client, ReadNode};

use super::{Diary, NEVER, commit, key, node, published, removal, store, wait_until_published};
use crate::harness::{Sandbox, kazoo, on_every_store, wait_until};

fn read(diary: &Diary, sandbox: &Sandbox, key: &str) -> ReadNode {
    let settings = store(&sandbox.nodes.url(), Duration::from_secs(10));
    let path = NodePath::parse(&node(key)).unwrap();
    let local = tokio::task::LocalSet::new();
    let read = async { Client::connect(&settings).await?.read_node(&path).await };
    local.block_on(&diary.runtime, read).expect("the node")
}

// "A save is durable in the journal before it is answered, and published right after"
on_every_store!(a_save_is_published_at_once_and_a_removal_removes_the_node);
fn a_save_is_published_at_once_and_a_removal_removes_the_node(sandbox: &Sandbox) {
    let diary = Diary::of(sandbox);
    let publisher = diary.publisher(&sandbox.nodes.url(), NEVER);
    for (version, payload) in [(1, &b"{\"hey\":\"what\"}"[..]), (2, b""), (3, b"\0\xff\n")] {
        let commit = commit("foo", version, payload);
        diary.publish(&publisher, commit.clone());
        wait_until_published(sandbox, &commit);
    }
    diary.publish(&publisher, commit("a b", 1, "x"));
    wait_until_published(sandbox, &commit("a b", 1, "x"));
    diary.publish(&publisher, removal("foo", 4));
    wait_until_published(sandbox, &removal("foo", 4));
    // That a removed key has no node is no difference.
    diary.publish(&publisher, removal("foo", 5));
    diary.publish(&publisher, commit("foo", 6, "back"));
    wait_until_published(sandbox, &commit("foo", 6, "back"));
    publisher.wait_until_done();
    let compared = diary.compare(&publisher, false);
    assert_eq!((compared.checked, compared.differing), (2, 0), "{compared:?}");
    diary.stop(&publisher);
    let only_connected = |event: &PublisherEvent| {
        !matches!(
            event,
            PublisherEvent::Connected { .. } | PublisherEvent::BecameLeader | PublisherEvent::NoLongerLeader
        )
    };
    assert_eq!(publisher.has_told(only_connected), 0, "{:?}", publisher.events());
}

// FORMATS: "an identical commit is no change"
on_every_store!(what_is_published_already_is_not_written_again);
fn what_is_published_already_is_not_written_again(sandbox: &Sandbox) {
    let diary = Diary::of(sandbox);
    diary.save(commit("foo", 1, "x"));
    // Another server writes the same commit in another way.
    let header =
        r#"{"key":"foo","version":1,"author":"gian","comment":"rofl","mtime":"2014-02-11T22:01:28.839Z"}"#;
    sandbox.nodes.set(&node("foo"), format!("{}\n{header}\nx\n", header.len()));
    let before = read(&diary, sandbox, "foo");
    let publisher = diary.publisher(&sandbox.nodes.url(), NEVER);
    publisher.publisher.published_soon(&key("foo"));
    publisher.wait_until_done();
    publisher.wait_until_connected();
    let compared = diary.compare(&publisher, true);
    assert_eq!((compared.checked, compared.differing), (1, 0), "{compared:?}");
    let after = read(&diary, sandbox, "foo");
    assert!(after.version.is_same_state(before.version) && after.data == before.data);
}

// "what somebody wrote into the store behind its back is overwritten at the next round and said in the log"
on_every_store!(what_was_written_behind_the_journals_back_is_told_and_overwritten);
fn what_was_written_behind_the_journals_back_is_told_and_overwritten(sandbox: &Sandbox) {
    let diary = Diary::of(sandbox);
    for key in ["corrupt", "missing", "newer", "other", "same"] {
        diary.save(commit(key, 1, key));
    }
    diary.save(commit("older", 1, "1"));
    diary.save(commit("older", 2, "2"));
    diary.save(removal("removed", 1));
    let publisher = diary.publisher(&sandbox.nodes.url(), NEVER);
    publisher.wait_until_connected();
    assert_eq!(diary.compare(&publisher, true).repaired, 6);
    let mut newer = commit("newer", 9, "evil");
    newer.header.author = "eva".to_owned();
    sandbox.nodes.set(&node("newer"), encode(&newer));
    sandbox.nodes.set(&node("other"), encode(&commit("other", 1, "evil")));
    sandbox.nodes.set(&node("corrupt"), "evil");
    sandbox.nodes.set(&node("older"), encode(&commit("older", 1, "1")));
    sandbox.nodes.set(&node("removed"), encode(&commit("removed", 2, "evil")));
    sandbox.nodes.set(&node("stranger"), encode(&commit("stranger", 5, "whose?")));
    sandbox.nodes.remove(&node("missing"));
    let looked = diary.compare(&publisher, false);
    let differences: Vec<_> = looked.differences.iter().map(|it| (&*it.key, it.journal, it.store)).collect();
    let expected = [
        ("corrupt", Some(1), None),
        ("missing", Some(1), None),
        ("newer", Some(1), Some(9)),
        ("older", Some(2), Some(1)),
        ("other", Some(1), Some(1)),
        ("removed", Some(1), Some(2)),
        ("stranger", None, Some(5)),
    ];
    assert_eq!(differences, expected);
    assert_eq!((looked.checked, looked.differing, looked.repaired), (8, 7, 0));
    assert_eq!(published(sandbox, "corrupt").as_deref(), Some(&b"evil"[..]), "it only looks");

    let repaired = diary.compare(&publisher, true);
    assert_eq!((repaired.checked, repaired.differing, repaired.repaired), (8, 7, 6));
    for commit in [
        commit("corrupt", 1, "corrupt"),
        commit("missing", 1, "missing"),
        commit("newer", 1, "newer"),
        commit("older", 2, "2"),
        commit("other", 1, "other"),
        removal("removed", 1),
        commit("same", 1, "same"),
    ] {
        wait_until_published(sandbox, &commit);
    }
    let left = diary.compare(&publisher, true);
    assert_eq!((left.differing, left.repaired), (1, 0), "{left:?}");
    assert!(published(sandbox, "stranger").is_some(), "perhaps the journal is the wrong one");
    let mut told: Vec<String> = Vec::new();
    for event in publisher.events() {
        if let PublisherEvent::Overwrote { key, what } = event {
            told.push(format!("{key}: {what}"));
        }
    }
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "corrupt: no commit (byte 0: a commit begins with the length of its header, and a newline)",
            "newer: version 9 by eva, which the journal does not have",
            "other: another version 1 than the journal's, by gian",
            "removed: version 2 by gian, which the journal does not have",
        ]
    );
    assert_eq!(publisher.has_told(|event| *event == PublisherEvent::Repaired { keys: 2 }), 1);
}

on_every_store!(the_leader_goes_over_all_keys_again_and_again);
fn the_leader_goes_over_all_keys_again_and_again(sandbox: &Sandbox) {
    let diary = Diary::of(sandbox);
    diary.save(commit("foo", 1, "x"));
    let publisher = diary.publisher(&sandbox.nodes.url(), Duration::from_millis(200));
    wait_until_published(sandbox, &commit("foo", 1, "x"));
    for _ in 0..2 {
        sandbox.nodes.set(&node("foo"), "evil");
        wait_until_published(sandbox, &commit("foo", 1, "x"));
    }
    wait_until("a round to be told of", || {
        let status = publisher.publisher.status();
        status.leader && status.last_round.is_some_and(|round| round.checked == 1)
    });
    wait_until("both to be told", || {
        publisher.has_told(|event| matches!(event, PublisherEvent::Overwrote { .. })) == 2
    });
    // A node of a key that the journal does not know stays, and is told once.
    sandbox.nodes.set(&node("stranger"), "x");
    let stranger = PublisherEvent::Strangers { nodes: 1, one: "stranger".to_owned() };
    wait_until("it to be told", || publisher.has_told(|event| *event == stranger) == 1);
    let rounds = || publisher.publisher.status().last_round.map(|round| round.at);
    for _ in 0..2 {
        let before = rounds();
        wait_until("another round", || rounds() != before);
    }
    assert_eq!(publisher.has_told(|event| matches!(event, PublisherEvent::Strangers { .. })), 1);
    assert_eq!(sandbox.nodes.get(&node("stranger")).as_deref(), Some(&b"x"[..]));
}

#[test]
fn another_client_reads_the_bytes_that_rainer_writes() {
    let sandbox = Sandbox::zookeeper();
    let diary = Diary::of(&sandbox);
    let publisher = diary.publisher(&sandbox.nodes.url(), NEVER);
    let commit = commit("foo", 1, r#"{"hey":"what"}"#);
    diary.publish(&publisher, commit.clone());
    wait_until_published(&sandbox, &commit);
    let url = sandbox.nodes.url();
    let script = format!(
        "data, stat = zk.get('{}')\nprint(repr(data), stat.version, stat.ephemeralOwner)",
        node("foo")
    );
    let expected = concat!(
        r#"b'112\n{"author":"gian","comment":"rofl","key":"foo","mtime":"2014-02-11T14:01:28.839-08:00","#,
        r#""version":1,"empty":false}\n{"hey":"what"}\n' 0 0"#,
        "\n"
    );
    assert_eq!(kazoo(url.strip_prefix("zk://").unwrap(), &script), expected);
}
