//! What is saved, and who wins a version.

use futures_util::future::join_all;
use twitcher::commits::{Conflict, Size};

use super::{Diary, commit, key};
use crate::harness::{TestDatabase, on_every_database};

on_every_database!(what_was_saved_is_there_byte_for_byte_also_for_another_server);
fn what_was_saved_is_there_byte_for_byte_also_for_another_server(database: &TestDatabase) {
    let diary = Diary::open(database);
    assert_eq!(diary.commit("foo", None), Ok(None));
    let mut first = commit("foo", 1, b"\0\xff\n line\n'; DROP TABLE diary; -- \\?1");
    first.header.author = "Ева \"O'Hara\\ 🦀 ?2".to_owned();
    first.header.comment = "%s $1 {} '' x'".to_owned();
    first.header.mtime = "2014-02-11T14:01:28.839-08:00".to_owned();
    diary.save(first.clone());
    let large = commit("foo", 2, &[7; 1 << 20]);
    diary.save(large.clone());
    let mut removal = commit("foo", 3, b"");
    removal.header.empty = true;
    diary.save(removal.clone());
    let name = "é".repeat(127) + "'";
    diary.save(commit(&name, 1, b""));
    let diary = Diary::open(database);
    assert_eq!(diary.commit("foo", None), Ok(Some(removal)));
    assert_eq!(diary.commit("foo", Some(1)), Ok(Some(first)));
    assert_eq!(diary.commit("foo", Some(2)), Ok(Some(large)));
    assert_eq!(diary.commit("foo", Some(4)), Ok(None));
    assert_eq!(diary.commit("Foo", None), Ok(None));
    assert_eq!(diary.commit("foo ", None), Ok(None));
    assert_eq!(diary.commit(&name, None), Ok(Some(commit(&name, 1, b""))));
    let size = diary.runtime.block_on(diary.journal.size());
    assert_eq!(size, Ok(Size { keys: 2, commits: 4, corrupt: 0 }));
}

on_every_database!(a_version_that_is_not_the_next_one_is_a_conflict_and_changes_nothing);
fn a_version_that_is_not_the_next_one_is_a_conflict_and_changes_nothing(database: &TestDatabase) {
    let diary = Diary::open(database);
    let save = |version: i64| diary.runtime.block_on(diary.journal.save(commit("foo", version, b"x")));
    for version in [-1, 0, 2, i64::MAX] {
        assert_eq!(save(version), Ok(Err(Conflict { expected: 1 })), "{version}");
    }
    diary.save(commit("foo", 1, b"a"));
    for version in [0, 1, 3] {
        assert_eq!(save(version), Ok(Err(Conflict { expected: 2 })), "{version}");
    }
    assert_eq!(diary.commit("foo", None), Ok(Some(commit("foo", 1, b"a"))));
}

// "Versions are decided in the database, not in memory: two servers on one database never both win."
on_every_database!(of_many_writers_of_a_version_exactly_one_wins_also_over_two_servers);
fn of_many_writers_of_a_version_exactly_one_wins_also_over_two_servers(database: &TestDatabase) {
    let servers = [Diary::open(database), Diary::open(database)];
    let runtime = &servers[0].runtime;
    for version in 1..=10 {
        // Each writer also has a new key of its own, which nobody else stands in the way of.
        let own = (0..16).map(|writer| {
            let key = format!("{version}-{writer}");
            servers[writer % 2].journal.save(commit(&key, 1, b"x"))
        });
        let shared = (0..16).map(|writer| {
            let payload = writer.to_string();
            servers[writer % 2].journal.save(commit("foo", version, payload.as_bytes()))
        });
        let results = runtime.block_on(join_all(own.chain(shared)));
        assert!(results[..16].iter().all(|result| *result == Ok(Ok(()))), "{results:?}");
        let won = results[16..].iter().filter(|result| **result == Ok(Ok(()))).count();
        let conflict = Ok(Err(Conflict { expected: version + 1 }));
        let lost = results[16..].iter().filter(|result| **result == conflict).count();
        assert_eq!((won, lost), (1, 15), "{results:?}");
    }
    let size = runtime.block_on(servers[0].journal.size());
    assert_eq!(size, Ok(Size { keys: 161, commits: 170, corrupt: 0 }));
    let log = runtime.block_on(servers[1].journal.log(&key("foo"), None, 99)).unwrap();
    assert_eq!(log.iter().map(|header| header.version).collect::<Vec<_>>(), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
}

on_every_database!(a_log_is_newest_first_and_goes_on_where_it_ended);
fn a_log_is_newest_first_and_goes_on_where_it_ended(database: &TestDatabase) {
    let diary = Diary::open(database);
    for version in 1..=5 {
        diary.save(commit("foo", version, b"x"));
    }
    let versions = |before, limit| -> Vec<i64> {
        diary.log("foo", before, limit).iter().map(|header| header.version).collect()
    };
    assert_eq!(versions(None, 3), [5, 4, 3]);
    assert_eq!(versions(Some(3), 3), [2, 1]);
    assert_eq!(versions(Some(1), 3), [0; 0]);
    assert_eq!(diary.log("foo", None, 1), [commit("foo", 5, b"").header]);
    assert!(diary.log("bar", None, 3).is_empty());
}
