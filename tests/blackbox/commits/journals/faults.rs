//! A database that goes away: "503, nothing half done".

use std::thread;
use std::time::{Duration, Instant};

use twitcher::commits::JournalError;

use super::{Diary, commit};
use crate::harness::{
    CommitServer, DatabaseServer, Proxy, TestDatabase, on_every_database_server, wait_until,
};

on_every_database_server!(while_the_database_is_away_nothing_works_and_then_all_does_again);
fn while_the_database_is_away_nothing_works_and_then_all_does_again(database: &TestDatabase) {
    let proxy = Proxy::to(&format!("127.0.0.1:{}", database.server().port));
    let url = database.server().url_at(&proxy.address(), &database.name);
    let server = CommitServer::on_database(&url);
    assert_eq!(server.save("foo", 1, b"a").status, 200);
    // Connections that were cut while nobody used them are not missed.
    proxy.cut();
    assert_eq!(server.get("/diary/foo").text(), "a");
    proxy.refuse();
    let refused = server.save("foo", 2, b"b");
    assert_eq!(refused.status, 503);
    assert!(refused.text().starts_with("Journal is not available: "), "{}", refused.text());
    assert!(!refused.text().contains("hunter2"), "{}", refused.text());
    assert_eq!(server.get("/diary/foo").status, 503);
    assert_eq!(server.get("/-/healthy").status, 503);
    assert!(server.get("/-/metrics").text().contains("twitcher_serve_journal_up{namespace=\"diary\"} 0"));
    proxy.resume();
    wait_until("the journal to be back", || server.get("/-/healthy").status == 200);
    assert_eq!(server.save("foo", 2, b"b").status, 200);
    assert!(!server.log().contains("hunter2"), "{}", server.log());
}

on_every_database_server!(a_server_that_starts_while_its_database_is_away_waits_for_it);
fn a_server_that_starts_while_its_database_is_away_waits_for_it(database: &TestDatabase) {
    let proxy = Proxy::to(&format!("127.0.0.1:{}", database.server().port));
    let url = database.server().url_at(&proxy.address(), &database.name);
    proxy.refuse();
    thread::scope(|scope| {
        let starting = scope.spawn(|| CommitServer::on_database(&url));
        wait_until("attempts to connect", || proxy.attempts() > 1);
        proxy.resume();
        let server = starting.join().expect("a server");
        assert_eq!(server.save("foo", 1, b"x").status, 200);
        assert_eq!(server.log().matches("this is tried until it works").count(), 1, "{}", server.log());
    });
}

// Who waits for a database that does not answer is told so before the client gives up.
on_every_database_server!(a_database_that_does_not_answer_holds_nobody_up_for_long);
fn a_database_that_does_not_answer_holds_nobody_up_for_long(database: &TestDatabase) {
    let proxy = Proxy::to(&format!("127.0.0.1:{}", database.server().port));
    let diary = Diary::try_open(&database.server().url_at(&proxy.address(), &database.name), "diary");
    let diary = diary.expect("open the journal");
    diary.save(commit("foo", 1, b"x"));
    proxy.stall();
    let began = Instant::now();
    let saves = (0..20).map(|_| diary.journal.save(commit("foo", 2, b"y")));
    for saved in diary.runtime.block_on(futures_util::future::join_all(saves)) {
        assert!(matches!(saved, Err(JournalError::Unavailable(_))), "{saved:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    proxy.cut();
    proxy.resume();
    wait_until("the journal to be back", || diary.commit("foo", None).is_ok());
    // What the network has held back may have arrived.
    let head = diary.commit("foo", None).unwrap().unwrap().header.version;
    diary.save(commit("foo", head + 1, b"z"));
}

// "the database stopped for a minute, restarted": no answered save is lost, and none is half there.
on_every_database_server!(saves_go_on_over_kills_of_the_database);
fn saves_go_on_over_kills_of_the_database(database: &TestDatabase) {
    let database_server = DatabaseServer::start(database.kind);
    let name = database_server.create();
    let server = CommitServer::on_database(&database_server.url(&name));
    let payload = |writer: usize, version: u32| format!("{writer} {version} ").repeat(500).into_bytes();
    let kept: Vec<u32> = thread::scope(|scope| {
        let write = |writer: usize| {
            let (server, payload) = (&server, &payload);
            move || {
                let (mut last, mut outages, mut after) = (0, 0, 0);
                // Some saves before the outage, in it, and after it.
                while after < 5 {
                    let saved = server.save(&format!("w{writer}"), last + 1, &payload(writer, last + 1));
                    match saved.status {
                        200 => (last, after) = (last + 1, if outages > 0 { after + 1 } else { 0 }),
                        // It was kept, but the answer did not come: nobody else writes this key.
                        409 => {
                            let expected = saved.json()["conflict"]["expectedVersion"].as_u64();
                            assert_eq!(expected, Some(u64::from(last) + 2), "an answered save is lost");
                            last += 1;
                        }
                        503 => outages += 1,
                        status => panic!("status {status}"),
                    }
                }
                last
            }
        };
        let writers: Vec<_> = (0..4).map(|writer| scope.spawn(write(writer))).collect();
        wait_until("some saves", || {
            (0..4).all(|writer| server.get(&format!("/diary/w{writer}/3")).status == 200)
        });
        database_server.down();
        wait_until("the outage to be seen", || server.get("/-/healthy").status == 503);
        wait_until("each writer to see it", || {
            let metrics = server.get("/-/metrics").text();
            let failed = metrics.lines().find_map(|line| {
                line.strip_prefix("twitcher_serve_saves_total{namespace=\"diary\",result=\"failed\"} ")
            });
            failed.and_then(|failed| failed.parse::<u32>().ok()).is_some_and(|failed| failed >= 40)
        });
        database_server.up();
        writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
    });
    for (writer, last) in kept.into_iter().enumerate() {
        let head = server.get(&format!("/diary/w{writer}/meta")).json()["version"].as_u64().unwrap();
        assert_eq!(head, u64::from(last), "writer {writer}");
        for version in 1..=last {
            let read = server.get(&format!("/diary/w{writer}/{version}"));
            assert!(read.body == payload(writer, version), "writer {writer}, version {version}");
        }
    }
}
