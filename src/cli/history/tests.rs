//! Tests of the table of runs.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::*;
use crate::text::is_hidden;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_277_700)
}

fn run(special: Value) -> RunRecord {
    let mut run = json!({
        "run": "7-1", "watch": "git.twc:deploy", "znode": "/n", "watch_type": "data", "event": "changed",
        "version": 12, "started": "2026-11-21T16:13:31.000Z", "seconds": 0.043, "outcome": "success",
        "exit_code": 0, "signal": null, "error": null,
    });
    let Value::Object(special) = special else { panic!("{special}") };
    special.into_iter().for_each(|(key, value)| run[key] = value);
    serde_json::from_value(run).unwrap()
}

fn commit(author: &str, comment: &str) -> RunRecord {
    run(json!({
        "commit": { "version": 7, "author": author, "comment": comment },
        "transaction": "0x1f3", "changed": "2026-11-21T16:13:30.900Z",
    }))
}

fn plain(table: String) -> String {
    anstream::adapter::strip_str(&table).to_string()
}

#[test]
fn a_run_is_listed_with_the_commit_or_the_change_that_made_it() {
    let transaction = run(json!({ "transaction": "0x1f3", "changed": "2026-11-21T16:13:30.900Z" }));
    let revision = run(json!({ "transaction": "4711" }));
    let file =
        run(json!({ "version": 1_795_277_610_900_000_000_i64, "changed": "2026-11-21T16:13:30.900Z" }));
    for (record, whole, short) in [
        (commit("gian", "rofl"), "v7 by gian: rofl", "v7 by gian: rofl"),
        (transaction, "0x1f3 2026-11-21T16:13:30Z", "0x1f3 16:13:30Z"),
        (revision, "4711", "4711"),
        // The column VERSION has the time of the file.
        (file, "2026-11-21T16:13:30Z", ""),
        (run(json!({})), "", ""),
    ] {
        let last = |table: String, id: &str| {
            let table = plain(table);
            let row = table.lines().nth(1).unwrap();
            row.split_once(id).unwrap().1.trim().to_owned()
        };
        let records = [record];
        assert_eq!(last(whole_table(&records), "7-1"), whole);
        let table = short_table(&records, None, 120, now());
        assert_eq!(plain(table.clone()).contains(CHANGE), !short.is_empty());
        assert_eq!(last(table, "7-1"), short);
    }
}

#[test]
fn what_an_author_wrote_stays_within_its_cell() {
    let long = "漢".repeat(300);
    for (author, comment) in
        [("a\u{1b}[31m\nforged row", "\u{202e}\u{9b}2J\r\0"), (&*long, &*long), ("\u{200f}", "\n\n  x")]
    {
        let runs = [commit(author, comment), run(json!({}))];
        let tables = [80, 100, 200].map(|width| (Some(width), short_table(&runs, None, width, now())));
        for (width, table) in tables.into_iter().chain([(None, whole_table(&runs))]) {
            let shown = plain(table);
            assert_eq!(shown.lines().count(), 3, "{shown}");
            assert!(!shown.chars().any(|c| c != '\n' && is_hidden('\0', c)), "{shown:?}");
            let fits = |line: &str| width.is_none_or(|width| line.width() <= width);
            assert!(shown.lines().all(fits), "{width:?}: {shown}");
            assert!(shown.contains("v7 by "), "{shown}");
        }
    }
}
