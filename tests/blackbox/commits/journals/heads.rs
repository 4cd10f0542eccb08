//! Lists of heads, their pages, and what is corrupt among them.

use std::time::{Duration, Instant};

use twitcher::commits::{JournalError, Page};

use super::{Diary, all, commit, key, names};
use crate::harness::{DatabaseKind, TestDatabase, load, on_every_database};

on_every_database!(heads_come_sorted_in_pages_and_without_removed_keys_if_so_asked);
fn heads_come_sorted_in_pages_and_without_removed_keys_if_so_asked(database: &TestDatabase) {
    let diary = Diary::open(database);
    assert!(diary.heads(&all()).commits.is_empty());
    for name in ["b", "a", "é", "c", "A"] {
        diary.save(commit(name, 1, b"old"));
        diary.save(commit(name, 2, name.as_bytes()));
    }
    let mut removed = commit("b", 3, b"");
    removed.header.empty = true;
    diary.save(removed.clone());
    let heads = diary.heads(&all());
    assert_eq!((&*names(&heads), heads.has_more), ("A a b c é", false));
    assert_eq!(heads.commits[2], removed);
    assert_eq!(heads.commits[4], commit("é", 2, "é".as_bytes()));
    let page = Page { limit: 2, with_removed: false, with_payloads: false, ..all() };
    let first = diary.heads(&page);
    assert_eq!((&*names(&first), first.has_more), ("A a", true));
    assert!(first.commits.iter().all(|head| head.payload.is_empty()));
    let rest = diary.heads(&Page { after: Some(key("a")), ..page.clone() });
    assert_eq!(names(&rest), "c é");
    // There may be a page that turns out to be empty.
    let end = diary.heads(&Page { after: Some(key("é")), ..page });
    assert_eq!((&*names(&end), end.has_more), ("", false));
}

on_every_database!(a_page_of_large_payloads_is_short);
fn a_page_of_large_payloads_is_short(database: &TestDatabase) {
    let diary = Diary::open(database);
    let large = vec![7; 1 << 20];
    for name in 0..8 {
        diary.save(commit(&format!("{name}"), 1, &large));
    }
    let first = diary.heads(&all());
    assert!(first.has_more && (4..=6).contains(&first.commits.len()), "{}", first.commits.len());
    assert_eq!(first.commits[3].payload, large);
    let last = first.commits.last().expect("a head").header.key.clone();
    let rest = diary.heads(&Page { after: Some(key(&last)), ..all() });
    assert_eq!(first.commits.len() + rest.commits.len(), 8);
    let bare = diary.heads(&Page { with_payloads: false, ..all() });
    assert_eq!((bare.commits.len(), bare.has_more), (8, false));
}

on_every_database!(a_row_that_is_no_commit_holds_up_its_own_key_only_and_is_told_once);
fn a_row_that_is_no_commit_holds_up_its_own_key_only_and_is_told_once(database: &TestDatabase) {
    let mut diary = Diary::open(database);
    for name in ["a", "b", "c", "d", "e", "f"] {
        diary.save(commit(name, 1, b"x"));
        diary.save(commit(name, 2, b"y"));
    }
    let (table, broken) = match database.kind {
        DatabaseKind::Sqlite | DatabaseKind::PostgreSql => (r#""order""#, "mtime = 'today'"),
        DatabaseKind::MySql => ("`order`", "payload = 'today'"),
    };
    database.sql(&format!(
        "UPDATE {table} SET {broken} WHERE name >= 'b' AND name < 'd' AND version = 2;
         UPDATE {table} SET name = 'e/e' WHERE name = 'e';
         UPDATE {table} SET {broken} WHERE name = 'f' AND version = 1"
    ));
    let first = diary.heads(&Page { limit: 1, ..all() });
    assert_eq!((&*names(&first), first.corrupt.len(), first.has_more), ("a", 0, true));
    // A page that would be nothing but corrupt goes on.
    let second = diary.heads(&Page { limit: 1, after: Some(key("a")), ..all() });
    assert_eq!((&*names(&second), second.corrupt.len()), ("d", 2));
    let rest = diary.heads(&Page { after: Some(key("a")), with_payloads: false, ..all() });
    assert_eq!((&*names(&rest), rest.has_more), ("d f", false));
    let corrupt: Vec<_> = rest.corrupt.iter().map(|corrupt| (&*corrupt.key, corrupt.version)).collect();
    assert_eq!(corrupt, [("b", 2), ("c", 2), ("e/e", 2)]);
    assert!(matches!(diary.commit("b", None), Err(JournalError::Corrupt(_))));
    assert_eq!(diary.commit("b", Some(1)), Ok(Some(commit("b", 1, b"x"))));
    assert_eq!(diary.log("b", None, 1), [commit("b", 1, b"x").header]);
    assert_eq!(diary.log("f", None, 9), [commit("f", 2, b"").header]);
    let size = diary.runtime.block_on(diary.journal.size()).unwrap();
    assert_eq!(size.corrupt, 3);
    let mut told = Vec::new();
    while let Ok(corrupt) = diary.corrupt.try_recv() {
        told.push(corrupt);
    }
    assert_eq!(told, rest.corrupt);
    assert!(told[0].to_string().starts_with("commit 2 of b cannot be read: "), "{}", told[0]);
    // The next version mends the key.
    diary.save(commit("b", 3, b"z"));
    assert_eq!(diary.commit("b", None), Ok(Some(commit("b", 3, b"z"))));
}

// "100,000 keys with 10 versions each: the round reads heads only, < 2 s where nothing changed"
on_every_database!(going_over_all_heads_does_not_read_the_history);
fn going_over_all_heads_does_not_read_the_history(database: &TestDatabase) {
    let diary = Diary::open(database);
    let keys = load(3_000, 100_000);
    fill(database, keys, 10);
    let began = Instant::now();
    let (mut page, mut found) = (Page { limit: 2000, ..all() }, 0);
    loop {
        let heads = diary.heads(&page);
        found += heads.commits.len();
        assert!(heads.corrupt.is_empty() && heads.commits.iter().all(|head| head.header.version >= 10));
        match heads.commits.last() {
            Some(last) if heads.has_more => page.after = Some(key(&last.header.key)),
            _ => break,
        }
    }
    assert_eq!(found, keys);
    let took = began.elapsed();
    println!("{:?}: {keys} heads in {took:?}", database.kind);
    assert!(load(true, took < Duration::from_secs(2)), "{took:?}");
}

/// Adds keys, each with so many versions.
fn fill(database: &TestDatabase, keys: usize, versions: usize) {
    let columns = "version, author, comment, mtime, is_empty, payload";
    match database.kind {
        DatabaseKind::Sqlite => database.sql(&format!(
            r#"WITH RECURSIVE n(n) AS
                   (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {keys} * {versions} - 1)
               INSERT INTO "order" (name, {columns})
               SELECT 'key-' || (n / {versions}), n % {versions} + 1, 'eva', 'why',
                   '2026-11-28T05:00:00.000Z', 0, zeroblob(200) FROM n"#
        )),
        DatabaseKind::PostgreSql => database.sql(&format!(
            r#"INSERT INTO "order" (name, {columns})
               SELECT 'key-' || k, v, 'eva', 'why', '2026-11-28T05:00:00.000Z', false, ''
               FROM generate_series(1, {versions}) v, generate_series(1, {keys}) k"#
        )),
        DatabaseKind::MySql => database.sql(&format!(
            r#"INSERT INTO `order` (name, version, payload, is_empty)
               SELECT name, version, concat(length(header), '\n', header, '\nx\n'), 0 FROM (
                   SELECT concat('key-', k.seq) AS name, v.seq AS version,
                       concat('{{"author":"eva","comment":"why","key":"key-', k.seq,
                           '","mtime":"2026-11-28T05:00:00.000Z","version":', v.seq, '}}') AS header
                   FROM seq_1_to_{keys} AS k, seq_1_to_{versions} AS v
               ) AS filled"#
        )),
    };
}
