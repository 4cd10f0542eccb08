//! The headers of commits, as people and programs read them.

use std::time::SystemTime;

use crate::cli::shared::table::{self, Cell, Column, Table, duration};
use crate::model::Commit;
use crate::text::Timestamp;

/// One line of JSON.
pub fn json(commit: &Commit) -> String {
    serde_json::to_string(commit).unwrap_or_else(|_| unreachable!("texts and numbers are JSON")) + "\n"
}

/// The table of `list`.
pub fn list(heads: &[Commit], now: SystemTime) -> String {
    let mut table = Table::new([
        Column::whole("KEY"),
        Column::whole("VERSION"),
        Column::words("AUTHOR"),
        Column::whole("AGE"),
        Column::long_words("COMMENT", 20),
    ]);
    for head in heads {
        let age = Timestamp::parse(&head.mtime).and_then(|Timestamp(time)| now.duration_since(time).ok());
        table.row([
            head.key.as_str().into(),
            head.version.to_string().into(),
            head.author.as_str().into(),
            age.map_or("-".to_owned(), |age| duration(age.as_secs_f64())).into(),
            comment(head),
        ]);
    }
    table.render(table::terminal_width(), &[])
}

/// The table of `log`.
pub fn log(commits: &[Commit], now: SystemTime) -> String {
    let mut table = Table::new([
        Column::whole("VERSION"),
        Column::whole("TIME"),
        Column::words("AUTHOR"),
        Column::long_words("COMMENT", 20),
    ]);
    let width = table::terminal_width();
    for commit in commits {
        table.row([
            commit.version.to_string().into(),
            time(&commit.mtime, width.map(|_| now)).into(),
            commit.author.as_str().into(),
            comment(commit),
        ]);
    }
    table.render(width, &[])
}

/// Returns a time as other commands show it: short on a terminal. What is no time stays as it is.
fn time(mtime: &str, now: Option<SystemTime>) -> String {
    match (Timestamp::parse(mtime), now) {
        (Some(time), Some(now)) => time.short(now),
        (Some(time), None) => time.to_the_second(),
        (None, _) => mtime.to_owned(),
    }
}

fn comment(commit: &Commit) -> Cell {
    match commit.empty {
        true => Cell::new(format!("(removed) {}", commit.comment), table::ODD),
        false => commit.comment.as_str().into(),
    }
}
