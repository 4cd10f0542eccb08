//! Tests that a room of `src/` uses only the rooms that it may use, and that no files use one another in a
//! circle.
//!
//! An *arrow* leads from a file or room to another one that it uses. The tests read every `crate::`,
//! `super::` and `self::` path of every file and resolve it to the file that defines the item. They ignore
//! test code, which may use anything. `cargo test --test arrows -- --nocapture` prints the counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

mod sizes;
mod source;

use source::Source;

/// Each room with the rooms that it may use. The table lists a room after all rooms that it uses, so there
/// can be no circle.
const ARROWS: [(&str, &[&str]); 26] = [
    ("text", &[]),
    ("model", &["text"]),
    ("sys", &["model"]),
    ("trust", &["text"]),
    ("content", &["model"]),
    ("value", &["model", "text"]),
    ("store", &["content", "model", "sys", "text", "trust", "value"]),
    ("listen", &[]),
    ("commits", &["model", "store", "text", "value"]),
    ("settings", &["commits", "model", "store", "text", "trust"]),
    ("config", &["model", "sys", "text", "trust", "value"]),
    ("decode", &["model", "sys", "text"]),
    ("watch", &["model"]),
    ("service", &["model"]),
    ("action", &["model", "sys", "text", "trust"]),
    ("act", &["config", "content", "model", "value"]),
    ("ledger", &["action", "model", "service", "text", "watch"]),
    ("report", &["action", "ledger", "model", "service", "store", "sys", "text", "watch"]),
    ("cache", &["model", "report", "sys", "text"]),
    ("metrics", &["action", "ledger", "model", "report", "service", "watch"]),
    (
        "control",
        &["action", "cache", "ledger", "listen", "metrics", "model", "report", "sys", "text", "trust"],
    ),
    ("serve", &["commits", "listen", "model", "report", "settings", "store", "sys", "text"]),
    (
        "daemon",
        &[
            "act", "action", "cache", "config", "control", "decode", "ledger", "metrics", "model", "report",
            "service", "store", "sys", "text", "watch",
        ],
    ),
    (
        "cli",
        &[
            "act", "action", "cache", "commits", "config", "content", "control", "daemon", "decode",
            "ledger", "listen", "metrics", "model", "report", "serve", "service", "settings", "store", "sys",
            "text", "trust", "value", "watch",
        ],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

#[test]
fn a_room_uses_only_rooms_below_it() {
    for (index, (room, used)) in ARROWS.iter().enumerate() {
        let below: Vec<&str> = ARROWS[..index].iter().map(|(room, _)| *room).collect();
        for other in *used {
            assert!(
                below.contains(other),
                "the table lets {room} use {other}, which does not stand above it"
            );
        }
    }
    let source = Source::read("src");
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ARROWS.iter().map(|(room, used)| (*room, used.iter().copied().collect())).collect();
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut wrong = String::new();
    for (file, other) in source.arrows() {
        let (from, to) = (room(file), room(other));
        if from == to {
            continue;
        }
        found.entry(from).or_default().insert(to);
        match allowed.get(from) {
            None => writeln!(wrong, "{file}: the table has no room {from}").unwrap(),
            Some(rooms) if !rooms.contains(to) => {
                writeln!(wrong, "{file} uses {other}, and {from} may not use {to}").unwrap();
            }
            Some(_) => {}
        }
    }
    for (room, rooms) in &allowed {
        for unused in
            rooms.iter().filter(|other| !found.get(room).is_some_and(|found| found.contains(*other)))
        {
            writeln!(wrong, "the table lets {room} use {unused}, which it does not").unwrap();
        }
    }
    let rooms: Vec<&str> = found.keys().copied().collect();
    let circles =
        circles(&rooms, |room| found[room].iter().copied().filter(|to| found.contains_key(to)).collect());
    println!(
        "{} rooms, {} arrows between them, {} circles of rooms",
        allowed.len(),
        found.values().map(BTreeSet::len).sum::<usize>(),
        circles.len()
    );
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(circles.is_empty(), "{circles:?}");
}

// The daemon, which may run as root, never looks at the content of a node. `sys` only copies it, the socket
// of a store's process sends it, and the table above keeps the daemon from using `content`.
#[test]
fn only_what_copies_or_reads_contents_gets_at_their_bytes() {
    let source = Source::read("src");
    let readers = ["src/content/read.rs", "src/store/half/socket.rs", "src/sys/blob.rs"];
    assert_eq!(source.files_with(".expose()"), readers);
}

/// The files of `store` that use `content`. All of them run without root, but `encoding`: there the daemon
/// reads the index of a tree, which the process of the store has written, and no node's bytes.
const READERS_IN_STORES: [&str; 13] = [
    "src/store/directory/claim.rs",
    "src/store/directory/client/mod.rs",
    "src/store/directory/file.rs",
    "src/store/encoding.rs",
    "src/store/half/outbox.rs",
    "src/store/half/serve.rs",
    "src/store/tree/assembly.rs",
    "src/store/zookeeper/client/bulk.rs",
    "src/store/zookeeper/client/change.rs",
    "src/store/zookeeper/client/mod.rs",
    "src/store/zookeeper/client/transaction.rs",
    "src/store/zookeeper/client/walk.rs",
    "src/store/zookeeper/requests.rs",
];

// The daemon's side of a store's process is in the same room as the process.
#[test]
fn only_what_runs_without_root_reads_contents_in_a_store() {
    let source = Source::read("src");
    let arrows = source.arrows();
    let reads = |(user, used): &&(&str, &str)| room(user) == "store" && room(used) == "content";
    let readers: BTreeSet<&str> = arrows.iter().filter(reads).map(|(user, _)| *user).collect();
    assert_eq!(readers.into_iter().collect::<Vec<_>>(), READERS_IN_STORES);
}

// What runs in the process of a function action reads contents. The daemon only writes down what it is to do.
#[test]
fn the_daemon_takes_of_functions_only_how_they_are_asked() {
    let taken: Vec<String> = Source::read("src").names("daemon", "act").into_iter().collect();
    assert_eq!(taken, ["act::function::ActEvent", "act::function::ActRequest"]);
}

#[test]
fn no_files_use_one_another_in_a_circle() {
    let source = Source::read("src");
    let files: Vec<&str> = source.files().collect();
    let arrows = source.arrows();
    let circles =
        circles(&files, |file| arrows.iter().filter(|(from, _)| *from == file).map(|(_, to)| *to).collect());
    println!(
        "{} files, {} arrows between them, {} circles of files",
        files.len(),
        arrows.len(),
        circles.len()
    );
    assert!(circles.is_empty(), "{}", described(&circles, &arrows));
}

/// Returns the room of a file: `daemon` for `src/daemon/runs.rs`, `main` for `src/main.rs`.
fn room(file: &str) -> &str {
    let below = file.strip_prefix("src/").unwrap_or(file);
    below.split(['/', '.']).next().unwrap_or(below)
}

/// Returns the strongly connected components with more than one member. Each contains at least one circle.
fn circles<'a>(members: &[&'a str], uses: impl Fn(&str) -> Vec<&'a str>) -> Vec<Vec<&'a str>> {
    let reach = |start: &'a str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(member) = open.pop() {
            open.extend(uses(member).into_iter().filter(|next| seen.insert(*next)));
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        members.iter().map(|member| (*member, reach(member))).collect();
    let mut placed = BTreeSet::new();
    let mut circles = Vec::new();
    for member in members {
        let mutual = reached[member].iter().filter(|other| reached[**other].contains(*member));
        let circle: Vec<&str> = mutual.copied().collect();
        if circle.len() > 1 && placed.insert(circle.clone()) {
            circles.push(circle);
        }
    }
    circles
}

fn described(circles: &[Vec<&str>], arrows: &BTreeSet<(&str, &str)>) -> String {
    let mut text = String::new();
    for circle in circles {
        writeln!(text, "\na circle of {} files:", circle.len()).unwrap();
        for (from, to) in arrows.iter().filter(|(from, to)| circle.contains(from) && circle.contains(to)) {
            writeln!(text, "    {from} uses {to}").unwrap();
        }
    }
    text
}
