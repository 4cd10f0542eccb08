//! `twitcher commits`: what it does with a server that does what it should.

use std::fs;

use super::fake_server::{FakeServer, objects};

#[test]
fn what_is_saved_is_listed_shown_and_logged() {
    let server = FakeServer::start();
    let saved =
        server.commits(["save", "foo", "-m", "first try", "--author", "gian"]).stdin("one\n").finish();
    assert_eq!(saved.expect(0).text(), "foo: saved as version 1 by gian\n");
    server.save("foo", "two\n");
    server.save("bar", "x");
    assert_eq!(server.commits(["show", "foo"]).finish().expect(0).text(), "two\n");
    assert_eq!(server.commits(["show", "foo", "1"]).finish().expect(0).text(), "one\n");
    let list = server.commits(["list"]).finish().expect(0).text();
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["KEY", "VERSION", "AUTHOR", "AGE", "COMMENT"]);
    assert_eq!([rows[1][0], rows[1][1], rows[1][2], rows[1][4]], ["bar", "1", "gian", "rofl"]);
    assert_eq!([rows[2][0], rows[2][1]], ["foo", "2"]);
    assert!(rows[1][3].contains('d') || rows[1][3].contains('h') || rows[1][3] == "-", "an age: {list}");
    let log = server.commits(["log", "foo"]).finish().expect(0).text();
    let rows: Vec<&str> = log.lines().collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[1].split_whitespace().collect::<Vec<_>>(), ["2", "2026-11-21T16:13:31Z", "gian", "rofl"]);
    assert!(rows[2].starts_with("1 ") && rows[2].ends_with("first try"), "{log}");
    let json = objects(&server.commits(["list", "--json"]).finish().expect(0).text());
    assert_eq!((json.len(), json[1]["key"].as_str(), json[1]["version"].as_i64()), (2, Some("foo"), Some(2)));
    let json = objects(&server.commits(["log", "foo", "--json", "-n", "1"]).finish().expect(0).text());
    assert_eq!((json.len(), json[0]["version"].as_i64()), (1, Some(2)));
    for words in [["show", "nothing"], ["log", "nothing"], ["remove", "nothing"]] {
        let missing = server.commits(words).args(["--timeout", "20"]);
        let missing = if words[0] == "remove" { missing.args(["-m", "x"]) } else { missing };
        missing.finish().expect(1).expect_said(&["there is no key nothing", "commits list"]);
    }
    let missing = server.commits(["show", "foo", "9"]).finish().expect(1);
    missing.expect_said(&["there is no version 9 of key foo", "commits log"]);
}

#[test]
fn a_payload_comes_back_byte_for_byte_and_its_key_can_have_anything() {
    let server = FakeServer::start();
    let mut payload: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    payload[..4].copy_from_slice(b"\0\xff\r\n");
    for key in ["50% ?#&+", "ключ", "meta", "-", "1"] {
        let saved = server.commits(["save", "-m", "größer", "--author", "zoë", "--", key]).stdin(&payload);
        saved.finish().expect(0);
        let shown = server.commits(["show", "--", key]).finish().expect(0);
        assert!(shown.stdout == payload, "{key}: other bytes");
    }
    let json = server.commits(["show", "meta", "--json"]).finish().expect(0).text();
    let json = &objects(&json)[0];
    assert_eq!((json["author"].as_str(), json["comment"].as_str()), (Some("zoë"), Some("größer")));
    assert!(json.get("payload_base64").is_some() && json.get("payload_utf8").is_none());
    server.save("text", "a\tb\u{1b}[31m\n");
    let json = &objects(&server.commits(["show", "text", "--json"]).finish().expect(0).text())[0];
    assert_eq!(json["payload_utf8"].as_str(), Some("a\tb\u{1b}[31m\n"));
    // A terminal gets nothing that it would obey.
    let (code, shown) = server.commits(["show", "text"]).finish_on_terminal(80);
    assert_eq!((code, &*shown), (Some(0), "a\tb\\u{1b}[31m\n"));
}

#[test]
fn a_payload_comes_from_a_file_or_stdin_and_is_empty_only_on_purpose() {
    let server = FakeServer::start();
    fs::write(server.sandbox.path("payload"), "from a file").unwrap();
    let save = |more: &[&str]| {
        let command = server.commits(["save", "foo", "-m", "x", "--author", "a"]);
        more.iter().fold(command, |command, word| command.arg(word))
    };
    save(&["payload", "--json"]).finish().expect(0).expect_said(&["\"version\":1"]);
    save(&["-"]).stdin("from stdin").finish().expect(0);
    assert_eq!(server.commits(["show", "foo", "1"]).finish().text(), "from a file");
    assert_eq!(server.commits(["show", "foo"]).finish().text(), "from stdin");
    save(&[]).finish().expect(1).expect_said(&["stdin was empty", "--empty"]);
    save(&["no-such-file"]).finish().expect(1).expect_said(&["no-such-file", "nothing was saved"]);
    let large = vec![b'x'; (1 << 20) + 1];
    save(&[]).stdin(&large).finish().expect(1).expect_said(&["1 MiB", "nothing was saved"]);
    save(&["--empty"]).finish().expect(0);
    assert_eq!(server.commits(["show", "foo"]).finish().expect(0).text(), "");
    let json = objects(&server.commits(["show", "foo", "--json"]).finish().text());
    assert_eq!((json[0]["version"].as_i64(), json[0]["empty"].as_bool()), (Some(3), Some(false)));
    server.commits(["save", "foo"]).stdin("x").finish().expect(2).expect_said(&["--comment"]);
    for wrong in ["", "two\nlines", "\u{1b}[31m"] {
        let refused = server.commits(["save", "foo", "-m", wrong]).stdin("x").finish().expect(2);
        refused.expect_said(&["a comment is"]);
    }
    for wrong in ["", "a/b", "..", "a\nb"] {
        server.commits(["show", "--", wrong]).finish().expect(2).expect_said(&["key"]);
    }
}

// "If another commit came after the one that was read, it is a conflict."
#[test]
fn a_conflict_names_both_versions_and_authors_and_saves_nothing() {
    let server = FakeServer::with("rival", &[]);
    let rival = |words: &[&str]| {
        let command = words.iter().fold(server.commits([]), |command, word| command.arg(word));
        command.stdin("ours").finish().expect(3)
    };
    // To the key that is not there yet nobody is faster.
    let saved = server.commits(["save", "foo", "-m", "x", "--author", "gian", "--version", "1"]);
    saved.stdin("one").finish().expect(0);
    let conflict = rival(&["save", "foo", "-m", "x", "--author", "max"]);
    conflict.expect_said(&[
        "conflict: foo was not saved as version 2 by max",
        "version 1 by gian",
        "the newest is version 2, by lea (faster)",
        "nothing was saved",
        "twitcher commits diff foo 1",
    ]);
    assert_eq!(server.commits(["show", "foo"]).finish().text(), "hers\n");
    let conflict = rival(&["save", "foo", "-m", "x", "--author", "max", "--version", "2"]);
    conflict.expect_said(&["not saved as version 2 by max", "the newest is version 2, by lea"]);
    let conflict = rival(&["save", "foo", "-m", "x", "--author", "max", "--version", "9"]);
    conflict.expect_said(&["not saved as version 9", "the newest is version 2"]);
    for command in ["remove", "revert"] {
        let server = FakeServer::with("rival", &[]);
        let saved = |version| {
            let words = ["save", "foo", "-m", "x", "--author", "gian", "--version", version];
            server.commits(words).stdin("x").finish().expect(0);
        };
        saved("1");
        saved("2");
        let words: &[&str] = if command == "revert" { &["revert", "foo", "1"] } else { &["remove", "foo"] };
        let command = words.iter().fold(server.commits([]), |command, word| command.arg(word));
        let conflict = command.args(["-m", "y", "--author", "max"]).finish().expect(3);
        conflict.expect_said(&["version 3 by max", "version 2 by gian", "version 3, by lea"]);
    }
}

#[test]
fn an_older_version_is_saved_again_and_a_removed_key_keeps_its_history() {
    let server = FakeServer::start();
    server.save("foo", "one");
    server.save("foo", "two");
    let by_lea = ["-m", "back", "--author", "lea"];
    let reverted = server.commits(["revert", "foo", "1"]).args(by_lea).finish().expect(0);
    assert_eq!(reverted.text(), "foo: saved as version 3 by lea\n");
    assert_eq!(server.commits(["show", "foo"]).finish().text(), "one");
    server.commits(["revert", "foo", "3"]).args(by_lea).finish().expect(1).expect_said(&["is the newest"]);
    server.commits(["revert", "foo", "8"]).args(by_lea).finish().expect(1).expect_said(&["no version 8"]);
    let removed = server.commits(["remove", "foo"]).args(by_lea).finish().expect(0);
    assert_eq!(removed.text(), "foo: removed by version 4 by lea\n");
    server
        .commits(["remove", "foo"])
        .args(by_lea)
        .finish()
        .expect(1)
        .expect_said(&["removed already", "lea"]);
    let shown = server.commits(["show", "foo"]).finish().expect(1);
    assert_eq!(shown.text(), "");
    shown.expect_said(&["version 4 of foo, by lea, removes the key (back)", "commits log"]);
    server.commits(["revert", "foo", "4"]).args(by_lea).finish().expect(1).expect_said(&["is the newest"]);
    assert_eq!(server.commits(["list"]).finish().text().lines().count(), 1);
    server.commits(["list", "--all"]).finish().expect_said(&["foo", "(removed) back"]);
    server.commits(["log", "foo"]).finish().expect_said(&["(removed) back", "rofl"]);
    server.commits(["revert", "foo", "2"]).args(by_lea).finish().expect(0);
    server.commits(["revert", "foo", "4"]).args(by_lea).finish().expect(1).expect_said(&["removes the key"]);
    assert_eq!(server.commits(["show", "foo"]).finish().text(), "two");
}

#[test]
fn a_diff_is_unified_and_says_what_it_compares() {
    let server = FakeServer::start();
    server.save("foo", "one\ntwo\n");
    server.save("foo", "one\n2\n");
    server.save("foo", "one\n2\n3\u{1b}[31m");
    let lines = |words: &[&str]| {
        let command = words.iter().fold(server.commits(["diff", "foo"]), |command, word| command.arg(word));
        let text = command.finish().expect(0).text();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let newest = lines(&[]);
    assert!(newest[0].starts_with("--- foo version 2 by gian at 2026-11-21"), "{newest:?}");
    assert!(newest[1].starts_with("+++ foo version 3 by gian"), "{newest:?}");
    // As it is, for `patch`.
    let end = "\\ No newline at end of file";
    assert_eq!(newest[2..], ["@@ -1,2 +1,3 @@", " one", " 2", "+3\u{1b}[31m", end]);
    assert_eq!(lines(&["1", "2"])[2..], ["@@ -1,2 +1,2 @@", " one", "-two", "+2"]);
    assert_eq!(lines(&["1"])[2..], ["@@ -1,2 +1,3 @@", " one", "-two", "+2", "+3\u{1b}[31m", end]);
    let first = lines(&["0", "1"]);
    assert_eq!(
        (&*first[0], &first[2..]),
        ("--- /dev/null", &["@@ -0,0 +1,2 @@", "+one", "+two"].map(str::to_owned)[..])
    );
    assert_eq!(lines(&["2", "2"]), [""; 0]);
    let (code, shown) = server.commits(["diff", "foo"]).finish_on_terminal(80);
    assert_eq!(code, Some(0));
    assert!(shown.contains("\u{1b}[32m+3\\u{1b}[31m\u{1b}[0m"), "green, and escaped: {shown:?}");
    let json = &objects(&server.commits(["diff", "foo", "1", "2", "--json"]).finish().expect(0).text())[0];
    assert_eq!((json["old"]["version"].as_i64(), json["equal"].as_bool()), (Some(1), Some(false)));
    assert!(json["diff"].as_str().is_some_and(|diff| diff.contains("\n-two\n+2\n")), "{json}");
    server.save("foo", b"\0\x01");
    assert!(lines(&[])[0].starts_with("Binary payloads differ: foo version 3"), "{:?}", lines(&[]));
    server.commits(["diff", "foo", "9"]).finish().expect(1).expect_said(&["no version 9"]);
}

#[test]
fn a_log_longer_than_a_page_is_listed_as_a_whole() {
    let server = FakeServer::start();
    for _ in 0..4 {
        server.save("foo", "x");
    }
    let log = |limit: &str| {
        let text = server.commits(["log", "foo", "--json", "-n", limit]).finish().expect(0).text();
        objects(&text).iter().map(|meta| meta["version"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((log("3"), log("9")), (vec![4, 3, 2], vec![4, 3, 2, 1]));
    server.sandbox.executable("fill", include_str!("fill.sh"));
    let filled = crate::harness::command(server.sandbox.path("fill")).arg(&server.address).status();
    assert!(filled.unwrap().success());
    let text = server.commits(["log", "full", "--json"]).finish().expect(0).text();
    let versions: Vec<_> = objects(&text).iter().map(|meta| meta["version"].as_i64().unwrap()).collect();
    assert_eq!(versions, (1..=450).rev().collect::<Vec<_>>());
}

#[test]
fn publish_tells_what_differs_and_checks_for_scripts() {
    let same = FakeServer::start();
    for words in [&["publish"][..], &["publish", "--check"]] {
        let command = words.iter().fold(same.commits([]), |command, word| command.arg(word));
        let said = command.finish().expect(0).text();
        assert_eq!(said, "3 keys compared with zk://h:1/config/diary: no difference\n");
    }
    let methods: Vec<String> =
        same.requests().into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(methods, ["POST /-/published/diary", "GET /-/published/diary"]);
    let differs = FakeServer::with("differs", &[]);
    // With a result, and no error, it exits with 1.
    let checked = differs.commits(["publish", "--check"]).finish();
    assert_eq!((checked.code, &*checked.stderr), (Some(1), ""));
    checked.expect_said(&[
        "foo: the journal has version 3, the store has version 2\n",
        "gone: the journal has no such key, the store has a node of which the journal knows nothing\n",
        "new: the journal has version 1, the store has nothing\n",
        "3 differences",
    ]);
    let json = differs.commits(["publish", "--check", "--json"]).finish();
    assert_eq!((json.code, objects(&json.text())[0]["differences"][0]["store"].as_i64()), (Some(1), Some(2)));
    // What is never removed is no success.
    let repaired = differs.commits(["publish"]).finish();
    assert_eq!((repaired.code, &*repaired.stderr), (Some(1), ""));
    repaired.expect_said(&[
        "foo: the journal has version 3, the store had version 2, which was put right\n",
        "gone: the journal has no such key, the store has a node of which the journal knows nothing, which \
         could not be put right: it stays\n",
    ]);
    let nowhere = FakeServer::with("no-keeper", &[]).commits(["publish", "--check"]).finish().expect(1);
    nowhere.expect_said(&["published nowhere", "[serve.commits.diary]"]);
}
