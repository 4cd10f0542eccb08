//! A table that Rainer has written: "served as it is, without altering its columns".

use twitcher::commits::{Conflict, encode};

use super::{Diary, all, commit, names};
use crate::harness::{CommitServer, DatabaseKind};

/// The table as Rainer makes it.
const TABLE: &str = "CREATE TABLE diary (name varbinary(255) NOT NULL, version int NOT NULL,
    payload mediumblob, is_empty tinyint(1) NOT NULL, PRIMARY KEY (name, version)) ENGINE = InnoDB;";

/// Rows as Rainer writes them: two commits of a key, a removed key, and rows that are nobody's commit.
fn rows() -> String {
    let rows = [
        r#"{"author":"gian","comment":"rofl","key":"foo","mtime":"2014-02-11T14:01:28-08:00","version":1}"#,
        r#"{"author":"gian","comment":"","key":"foo","mtime":"2014-02-11T22:01:28Z","version":2,"x":[1]}"#,
        r#"{"author":"eva","comment":"new","key":"bar","mtime":"2014-02-11T22:01:28Z","version":1}"#,
        r#"{"author":"e","comment":"","key":"bar","mtime":"2014-02-11T22:01:28Z","empty":true,"version":2}"#,
    ];
    let [first, second, third, removed] = rows.map(|header| format!("{}\\n{header}\\n", header.len()));
    format!(
        r#"INSERT INTO diary VALUES
            ('foo', 1, '{first}{{"hey":"what"}}\n', 0),
            ('foo', 2, '{second}\0\n', 0),
            ('bar', 1, '{third}x\n', 0),
            ('bar', 2, '{removed}\n', 1),
            ('bad', 1, 'nothing', 0),
            ('null', 1, NULL, 0)"#
    )
}

#[test]
fn a_table_that_rainer_has_written_is_served_as_it_is_and_written_as_rainer_does() {
    let database = DatabaseKind::MySql.database();
    database.sql(TABLE);
    database.sql(&rows());
    let columns = database.sql("SHOW CREATE TABLE diary");
    let diary = Diary::try_open(&database.url, "diary").expect("Rainer's table");
    let first = diary.commit("foo", Some(1)).unwrap().unwrap();
    assert_eq!((&*first.header.author, &*first.header.comment), ("gian", "rofl"));
    assert_eq!(
        (&*first.header.mtime, &*first.payload),
        ("2014-02-11T14:01:28-08:00", &br#"{"hey":"what"}"#[..])
    );
    assert_eq!(diary.commit("foo", None).unwrap().unwrap().payload, b"\0");
    let heads = diary.heads(&all());
    assert_eq!(names(&heads), "bar foo");
    assert!(heads.commits[0].header.empty && heads.commits[0].payload.is_empty());
    assert_eq!(heads.corrupt.iter().map(|corrupt| &*corrupt.key).collect::<Vec<_>>(), ["bad", "null"]);
    assert_eq!(diary.log("bar", None, 9).len(), 2);
    // Both kinds of servers find what the other one has saved.
    let next = commit("foo", 3, b"\xff\0");
    let saved = diary.runtime.block_on(diary.journal.save(commit("foo", 2, b"x")));
    assert_eq!(saved, Ok(Err(Conflict { expected: 3 })));
    diary.save(next.clone());
    let hex = database.sql("SELECT hex(payload), is_empty FROM diary WHERE name = 'foo' AND version = 3");
    let digits: String = encode(&next).iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(hex, format!("{digits}\t0"));
    let mut removal = commit("foo", 4, b"");
    removal.header.empty = true;
    diary.save(removal.clone());
    assert_eq!(diary.commit("foo", None), Ok(Some(removal)));
    assert_eq!(database.sql("SELECT is_empty FROM diary WHERE name = 'foo' AND version = 4"), "1");
    assert_eq!(database.sql("SHOW CREATE TABLE diary"), columns);
    assert_eq!(database.sql("SHOW TABLES"), "diary");
}

#[test]
fn a_header_that_is_longer_than_what_a_list_reads_is_read_all_the_same() {
    let database = DatabaseKind::MySql.database();
    let diary = Diary::open(&database);
    let mut long = commit("foo", 1, b"payload");
    long.header.comment = "\u{1}".repeat(20_000);
    diary.save(long.clone());
    assert_eq!(diary.log("foo", None, 1), [long.header.clone()]);
    let heads = diary.heads(&twitcher::commits::Page { with_payloads: false, ..all() });
    assert_eq!((&heads.commits[0].header, heads.commits[0].payload.len()), (&long.header, 0));
}

#[test]
fn a_table_without_what_rainer_needs_is_refused() {
    let database = DatabaseKind::MySql.database();
    for table in [
        TABLE.replace("varbinary(255)", "varchar(190)"),
        TABLE.replace("mediumblob", "blob"),
        TABLE.replace("PRIMARY KEY", "KEY"),
    ] {
        database.sql(&table);
        let refused = Diary::refusal(&database.url, "diary");
        assert!(refused.contains("was not made by Twitcher"), "{refused}");
        database.sql("DROP TABLE diary");
    }
}

// The server says once what it cannot read, and goes on with the rest.
#[test]
fn the_server_serves_what_can_be_read_of_it() {
    let database = DatabaseKind::MySql.database();
    database.sql(TABLE);
    database.sql(&rows());
    let server = CommitServer::on_database(&database.url);
    for _ in 0..3 {
        let listed = server.get("/diary?all=yes");
        assert_eq!(listed.json().as_object().unwrap().len(), 2, "{}", listed.text());
    }
    assert_eq!(server.get("/diary/foo/1").text(), r#"{"hey":"what"}"#);
    let refused = server.get("/diary/bad");
    assert_eq!(refused.status, 500);
    assert!(refused.text().starts_with("commit 1 of bad cannot be read: "), "{}", refused.text());
    assert_eq!(server.save("bad", 2, b"good").status, 200);
    assert_eq!(server.get("/diary/bad").text(), "good");
    assert!(server.get("/-/metrics").text().contains("corrupt_commits{namespace=\"diary\"} 2\n"));
    let told = server.log();
    assert_eq!(told.matches("commit 1 of bad cannot be read").count(), 1, "{told}");
    assert_eq!(told.matches("commit 1 of null cannot be read").count(), 1, "{told}");
}
