//! `twitcher commits edit`: the payload in an editor, and nothing lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Twitcher, require_root};

use super::fake_server::FakeServer;

/// `edit foo` with this shell script as the editor, which has the file as `$1`.
fn edit(server: &FakeServer, script: &str) -> Twitcher {
    let editor = server.sandbox.executable("editor", &format!("#!/bin/sh\n{script}\n"));
    let command = server.commits(["edit", "foo", "--author", "max"]);
    command.env("VISUAL", editor).env("TMPDIR", server.sandbox.path(""))
}

/// The words of a shell that save this text as lea.
fn lea_saves(server: &FakeServer, text: &str) -> String {
    let binary = env!("CARGO_BIN_EXE_twitcher");
    format!("printf '{text}' | {binary} commits save foo -m faster --author lea --url '{}'", server.url())
}

fn left_over(server: &FakeServer) -> usize {
    let names = fs::read_dir(server.sandbox.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("twitcher-edit")).count()
}

fn head(server: &FakeServer) -> String {
    server.commits(["show", "foo"]).finish().expect(0).text()
}

/// Panics unless the message names a file with this text.
#[track_caller]
fn assert_kept(message: &str, text: &str) {
    let file = message.trim().rsplit("the edited text is in ").next().expect("never empty");
    assert_eq!(fs::read_to_string(file).unwrap_or_else(|error| panic!("{error}: {message}")), text);
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_edited_text_is_saved_and_what_was_not_changed_is_not() {
    let server = FakeServer::start();
    // A key that does not exist begins as an empty text.
    let saved = edit(&server, "echo one >\"$1\"").args(["-m", "new"]).finish().expect(0);
    assert_eq!(saved.text(), "foo: saved as version 1 by max\n");
    edit(&server, "sed -i s/one/two/ \"$1\"").args(["-m", "why"]).finish().expect(0);
    assert_eq!(head(&server), "two\n");
    server.commits(["log", "foo"]).finish().expect_said(&["max", "why"]);
    edit(&server, "true").args(["-m", "x"]).finish().expect(0).expect_said(&["unchanged"]);
    edit(&server, "exit 3").args(["-m", "x"]).finish().expect(1).expect_said(&["failed"]);
    let emptied = edit(&server, ": >\"$1\"").args(["-m", "x"]).finish().expect(1);
    emptied.expect_said(&["empty", "--empty"]);
    let failed = edit(&server, "echo three >\"$1\"; kill -9 $$").args(["-m", "x"]).finish().expect(1);
    assert_kept(&failed.stderr, "three\n");
    let large = edit(&server, "head -c 1048577 /dev/zero >\"$1\"").args(["-m", "x"]).finish().expect(1);
    large.expect_said(&["1 MiB", "the edited text is in"]);
    // Nobody can be asked.
    edit(&server, "echo x >\"$1\"").finish().expect(2).expect_said(&["-m"]);
    assert_eq!((head(&server), left_over(&server)), ("two\n".to_owned(), 2));
    let lost = FakeServer::with("lost-save", &[]);
    let unknown = edit(&lost, "echo ours >\"$1\"").args(["-m", "x"]).finish().expect(1);
    unknown.expect_said(&["is not known"]);
    assert_kept(&unknown.stderr, "ours\n");
}

#[test]
fn a_conflict_keeps_the_text_where_nobody_can_be_asked() {
    let server = FakeServer::start();
    server.save("foo", "one\n");
    let script = format!("{}; echo ours >\"$1\"", lea_saves(&server, "hers\\n"));
    let conflict = edit(&server, &script).args(["-m", "x"]).finish().expect(3);
    conflict.expect_said(&["version 2 by max", "version 1 by gian", "version 2, by lea (faster)"]);
    assert_kept(&conflict.stderr, "ours\n");
    assert_eq!(head(&server), "hers\n");
}

#[test]
fn a_conflict_offers_both_texts_on_a_terminal() {
    let server = FakeServer::start();
    server.save("foo", "one\nlast\n");
    // First our own change, while lea saves hers; then the conflict, of which both lines are taken.
    let script = format!(
        "if grep -q '^<<<<<<< yours' \"$1\"; then cp \"$1\" merged; sed -i '/^[<=>]\\{{7\\}}/d' \"$1\"\n\
         else {} >said; sed -i s/one/ours/ \"$1\"; fi",
        lea_saves(&server, "hers\\nlast\\n")
    );
    let (code, shown) = edit(&server, &script).finish_typing("why not\ny\n");
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("Comment") && shown.contains("Edit again, with both texts?"), "{shown}");
    assert!(shown.contains("version 2 by lea"), "{shown}");
    let merged = server.sandbox.read_text("merged");
    assert_eq!(merged, "<<<<<<< yours\nours\n=======\nhers\n>>>>>>> version 2 by lea\nlast\n");
    assert_eq!(head(&server), "ours\nhers\nlast\n");
    server.commits(["log", "foo"]).finish().expect_said(&["why not", "faster", "rofl"]);
    assert_eq!(left_over(&server), 0);
}

#[test]
fn a_conflict_that_is_not_resolved_keeps_the_text() {
    for (typed, kept) in [("n\n", "ours\n"), ("\n", "<<<<<<< yours\nours\n=======\nhers\n>>>>>>>")] {
        let server = FakeServer::start();
        server.save("foo", "one\n");
        let save = lea_saves(&server, "hers\\n");
        let script = format!("grep -q ours \"$1\" && exit; {save} >said; echo ours >\"$1\"");
        let (code, shown) = edit(&server, &script).args(["-m", "x"]).finish_typing(typed);
        assert_eq!(code, Some(3), "{shown}");
        let file = shown.trim().rsplit("the edited text is in ").next().expect("never empty");
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{error}: {shown}"));
        assert!(text.starts_with(kept), "{text}");
        assert_eq!(head(&server), "hers\n");
    }
    // Without a comment, nothing is saved, and the text stays.
    let server = FakeServer::start();
    let (code, shown) = edit(&server, "echo ours >\"$1\"").finish_typing("\n");
    assert_eq!(code, Some(1), "{shown}");
    assert_kept(shown.trim().lines().last().unwrap(), "ours\n");
}

// "Root gives root up before it connects", but the editor is the user's.
#[test]
fn the_editor_runs_as_the_user_who_asked() {
    require_root();
    let server = FakeServer::start();
    edit(&server, "id -u >\"$1\"").args(["-m", "x"]).finish().expect(0);
    assert_eq!(head(&server), "0\n");
}
