//! Tables that a journal does not know.

use super::{Diary, commit};
use crate::harness::{DatabaseKind, TestDatabase, on_every_database};

// "Migrations are versioned; an unknown newer schema is refused, not touched."
on_every_database!(what_this_program_does_not_know_is_refused_and_not_touched);
fn what_this_program_does_not_know_is_refused_and_not_touched(database: &TestDatabase) {
    Diary::open(database).save(commit("foo", 1, b"x"));
    Diary::try_open(&database.url, "other").expect("a namespace of its own");
    let quote = if database.kind == DatabaseKind::MySql { '`' } else { '"' };
    database.sql("UPDATE twitcher_journals SET version = 2, program = '9.0.0' WHERE name = 'order'");
    let refused = Diary::refusal(&database.url, "order");
    assert!(refused.contains("the table order has version 2, and Twitcher "), "{refused}");
    assert!(refused.ends_with("start Twitcher 9.0.0 or a later one"), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
    database.sql("UPDATE twitcher_journals SET version = 1 WHERE name = 'order'");
    assert_eq!(Diary::open(database).commit("foo", None), Ok(Some(commit("foo", 1, b"x"))));
    database.sql("CREATE TABLE mine (x int); INSERT INTO mine VALUES (1)");
    let refused = Diary::refusal(&database.url, "mine");
    assert!(refused.ends_with("was not made by Twitcher; name another with `table`"), "{refused}");
    // It has one column and one row, as before.
    database.sql("INSERT INTO mine SELECT x + 1 FROM mine");
    database.sql(&format!("DROP TABLE {quote}order{quote}"));
    let refused = Diary::refusal(&database.url, "order");
    assert!(refused.ends_with("the table order was removed; restore a backup"), "{refused}");
}

on_every_database!(servers_that_start_at_the_same_time_make_the_table_once);
fn servers_that_start_at_the_same_time_make_the_table_once(database: &TestDatabase) {
    std::thread::scope(|scope| {
        let opened: Vec<_> = (0..4).map(|_| scope.spawn(|| Diary::open(database))).collect();
        for (version, diary) in (1..).zip(opened) {
            diary.join().expect("a journal").save(commit("foo", version, b"x"));
        }
    });
}
