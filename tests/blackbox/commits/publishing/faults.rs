//! Stores that are away, keys that cannot be published, and servers that publish at the same time.

use std::time::{Duration, Instant};

use twitcher::commits::{PublishError, PublisherEvent, encode};

use super::{Diary, NEVER, commit, key, node, published, removal, wait_until_published};
use crate::harness::{Sandbox, Store, on_every_server, on_every_store, wait_until};

// "the store away for a minute while saves go on"
on_every_server!(what_is_saved_while_the_store_is_away_is_published_when_it_is_back);
fn what_is_saved_while_the_store_is_away_is_published_when_it_is_back(kind: Store) {
    let server = kind.server();
    let sandbox = Sandbox::on(&*server);
    let diary = Diary::of(&sandbox);
    let publisher = diary.publisher(&sandbox.nodes.url(), NEVER);
    diary.publish(&publisher, commit("foo", 1, "before"));
    wait_until_published(&sandbox, &commit("foo", 1, "before"));
    server.down();
    let began = Instant::now();
    for number in 0..300 {
        diary.publish(&publisher, commit(&format!("key-{number}"), 1, "during"));
    }
    diary.publish(&publisher, commit("foo", 2, "during"));
    diary.publish(&publisher, commit("foo", 3, "last"));
    wait_until("the outage to be seen", || {
        let status = publisher.publisher.status();
        !status.connected && status.lag > 0.0 && status.trouble.is_some() && !status.leader
    });
    assert_eq!(publisher.publisher.status().waiting, 301);
    let error = diary.runtime.block_on(publisher.publisher.compare(false));
    assert!(matches!(error, Err(PublishError::Away(_))), "{error:?}");
    assert!(publisher.publisher.status().lag <= began.elapsed().as_secs_f64());
    server.up();
    wait_until_published(&sandbox, &commit("foo", 3, "last"));
    publisher.wait_until_done();
    assert_eq!(diary.compare(&publisher, false).differing, 0);
    wait_until("no trouble to be left", || {
        let status = publisher.publisher.status();
        status.connected && status.trouble.is_none()
    });
    assert_eq!(publisher.has_told(|event| matches!(event, PublisherEvent::StoreAway { .. })), 1);
    assert_eq!(publisher.has_told(|event| matches!(event, PublisherEvent::Connected { .. })), 2);
}

#[test]
fn a_commit_that_cannot_be_read_holds_up_its_own_key_only() {
    let sandbox = Sandbox::directory();
    let diary = Diary::of(&sandbox);
    for name in ["a", "b", "c"] {
        diary.save(commit(name, 1, "first"));
    }
    let journal = rusqlite::Connection::open(sandbox.path("commits.db")).unwrap();
    journal.execute("UPDATE diary SET mtime = 'today' WHERE name = 'b'", []).unwrap();
    let publisher = diary.publisher(&sandbox.nodes.url(), NEVER);
    for name in ["a", "b", "c"] {
        publisher.publisher.published_soon(&key(name));
    }
    wait_until_published(&sandbox, &commit("a", 1, "first"));
    wait_until_published(&sandbox, &commit("c", 1, "first"));
    let compared = diary.compare(&publisher, true);
    assert_eq!((compared.checked, compared.differing, compared.repaired), (3, 1, 0));
    let [difference] = &*compared.differences else { panic!("{compared:?}") };
    assert_eq!((&*difference.key, difference.journal), ("b", Some(1)));
    assert!(difference.failure.as_ref().is_some_and(|why| why.contains("cannot be read")), "{difference:?}");
    assert_eq!(publisher.has_told(|event| matches!(event, PublisherEvent::CannotPublish { .. })), 1);
    assert_eq!(publisher.has_told(|event| matches!(event, PublisherEvent::JournalAway { .. })), 0);
    diary.publish(&publisher, commit("b", 2, "mended"));
    wait_until_published(&sandbox, &commit("b", 2, "mended"));
}

on_every_server!(a_publisher_starts_while_its_store_is_away);
fn a_publisher_starts_while_its_store_is_away(kind: Store) {
    let server = kind.stopped_server();
    let sandbox = Sandbox::on_whole(&*server);
    let diary = Diary::of(&sandbox);
    let publisher = diary.publisher(&sandbox.nodes.url(), NEVER);
    diary.publish(&publisher, commit("foo", 1, "x"));
    wait_until("the outage to be told", || {
        publisher.has_told(|event| matches!(event, PublisherEvent::StoreAway { .. })) == 1
    });
    server.up();
    wait_until_published(&sandbox, &commit("foo", 1, "x"));
}

#[test]
fn a_key_that_nobody_may_write_is_told_once_and_published_once_it_may_be() {
    let sandbox = Sandbox::zookeeper();
    let diary = Diary::of(&sandbox);
    for name in ["closed", "hidden"] {
        sandbox.nodes.set(&node(name), encode(&commit(name, 1, "old")));
        diary.save(commit(name, 1, "old"));
    }
    sandbox.nodes.close_to_writers(&node("closed"));
    sandbox.nodes.close_to_everybody(&node("hidden"));
    let publisher = diary.publisher(&sandbox.nodes.url(), Duration::from_millis(100));
    for name in ["closed", "hidden"] {
        diary.publish(&publisher, commit(name, 2, "new"));
    }
    diary.publish(&publisher, commit("open", 1, "x"));
    wait_until_published(&sandbox, &commit("open", 1, "x"));
    let told = |name: &str| {
        publisher.has_told(|event| match event {
            PublisherEvent::CannotPublish { key, why } => key == name && why.contains("permission"),
            _ => false,
        })
    };
    wait_until("both to be told", || told("closed") == 1 && told("hidden") == 1);
    let rounds = || publisher.publisher.status().last_round.map(|round| round.at);
    for _ in 0..3 {
        let before = rounds();
        wait_until("another round", || rounds() != before);
    }
    assert_eq!((told("closed"), told("hidden")), (1, 1));
    let status = publisher.publisher.status();
    assert!(status.trouble.is_some_and(|trouble| trouble.contains("is not published: ")));
    assert!(status.lag > 0.0 && status.waiting == 2);
    // Looking at them is no attempt: the reason stays known, and is not told again.
    let looked_at = diary.compare(&publisher, false);
    let why: Vec<_> = looked_at.differences.iter().map(|found| found.failure.as_deref()).collect();
    assert!(
        why.len() == 2 && why.iter().all(|why| why.is_some_and(|why| why.contains("permission"))),
        "{why:?}"
    );
    assert!(publisher.publisher.status().trouble.is_some());
    let before = rounds();
    wait_until("another round", || rounds() != before);
    assert_eq!((told("closed"), told("hidden")), (1, 1));
    // The next round after somebody has mended the ACL publishes it, without a save or a restart.
    sandbox.nodes.open_to_everybody(&node("closed"));
    wait_until_published(&sandbox, &commit("closed", 2, "new"));
    wait_until("one trouble to be left", || {
        publisher.publisher.status().trouble.is_some_and(|trouble| trouble.starts_with("hidden "))
    });
    assert_eq!((told("closed"), told("hidden")), (1, 1));
}

// "a payload of 1 MiB with NUL and invalid UTF-8"
on_every_store!(the_largest_payload_is_published_or_told_and_holds_up_no_other);
fn the_largest_payload_is_published_or_told_and_holds_up_no_other(sandbox: &Sandbox) {
    let diary = Diary::of(sandbox);
    let publisher = diary.publisher(&sandbox.nodes.url(), NEVER);
    let payload = b"\0\xff\n".repeat(1 << 20)[..1 << 20].to_vec();
    let large = commit("large", 1, &payload);
    diary.publish(&publisher, large.clone());
    diary.publish(&publisher, commit("small", 1, "x"));
    wait_until_published(sandbox, &commit("small", 1, "x"));
    if sandbox.nodes.url().starts_with("zk://") {
        // A server takes 1 MiB with all that is around it.
        wait_until("it to be told", || {
            publisher.has_told(
                |event| matches!(event, PublisherEvent::CannotPublish { key, .. } if key == "large"),
            ) == 1
        });
        assert_eq!(published(sandbox, "large"), None);
        let fitting = commit("large", 2, &payload[..(1 << 20) - 1000]);
        diary.publish(&publisher, fitting.clone());
        wait_until_published(sandbox, &fitting);
        publisher.wait_until_done();
    } else {
        wait_until_published(sandbox, &large);
    }
    assert_eq!(publisher.has_told(|event| matches!(event, PublisherEvent::StoreAway { .. })), 0);
}

#[test]
fn a_key_that_can_be_no_file_is_told() {
    let sandbox = Sandbox::directory();
    let diary = Diary::of(&sandbox);
    let publisher = diary.publisher(&sandbox.nodes.url(), NEVER);
    diary.publish(&publisher, commit(".hidden", 1, "x"));
    wait_until("it to be told", || {
        publisher.has_told(
            |event| matches!(event, PublisherEvent::CannotPublish { why, .. } if why.contains("dot")),
        ) == 1
    });
}

// "two servers on one database never both win": the last commit is published in the end, whoever is slow.
on_every_store!(what_two_servers_publish_at_the_same_time_ends_with_the_last_commit);
fn what_two_servers_publish_at_the_same_time_ends_with_the_last_commit(sandbox: &Sandbox) {
    let url = sandbox.nodes.url();
    let servers: Vec<_> = (0..2)
        .map(|_| {
            let diary = Diary::of(sandbox);
            let publisher = diary.publisher(&url, NEVER);
            publisher.wait_until_connected();
            (diary, publisher)
        })
        .collect();
    let names = ["a", "b", "c"];
    std::thread::scope(|scope| {
        for (diary, publisher) in &servers {
            scope.spawn(move || {
                for _ in 0..150 {
                    let name = names[fastrand::usize(..names.len())];
                    // Both save, and one of them is too late now and then.
                    let head = diary.runtime.block_on(diary.journal.log(&key(name), None, 1)).unwrap();
                    let version = head.first().map_or(1, |head| head.version + 1);
                    let commit = match fastrand::u8(..4) {
                        0 => removal(name, version),
                        _ => commit(name, version, version.to_string()),
                    };
                    if diary.runtime.block_on(diary.journal.save(commit)).unwrap().is_ok() {
                        publisher.publisher.published_soon(&key(name));
                    }
                }
            });
        }
    });
    for (_, publisher) in &servers {
        publisher.wait_until_done();
    }
    let (diary, publisher) = &servers[0];
    let compared = diary.compare(publisher, false);
    assert_eq!(compared.differing, 0, "{compared:?}");
    for (_, publisher) in &servers {
        let accused = publisher.has_told(|event| matches!(event, PublisherEvent::Overwrote { .. }));
        assert_eq!(accused, 0, "{:?}", publisher.events());
    }
}
