//! "Rainer's own Python client must work unchanged": pyrainer 0.26.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::harness::{CommitServer, TestDatabase, command, on_every_database_server};

/// Runs pyrainer's command line as the user gian. It is unchanged; only the name that a login at a terminal
/// would give is told to it, and its output is read with the colours that it has for terminals.
fn pyrainer(server: &CommitServer, arguments: &[&str], stdin: &str) -> Output {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("pyrainer").join("bin/python3");
    assert!(python.exists(), "this test needs pyrainer: run tests/run");
    let main = "import os, sys; os.getlogin = lambda: 'gian'\n\
                from pyrainer.rainer import main\n\
                main(os.environ['URL'])";
    let mut command = command(python);
    let command = command.args(["-c", main]).args(arguments).env("URL", server.url());
    let command = command.env("EDITOR", server.home.path().join("editor"));
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start python");
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).expect("write");
    child.wait_with_output().expect("wait for python")
}

#[track_caller]
fn says(server: &CommitServer, arguments: &[&str], stdin: &str) -> String {
    let output = pyrainer(server, arguments, stdin);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The editor of the user, who writes this into the file.
fn set_editor(server: &CommitServer, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = server.home.path().join("editor");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn rainers_client_commits_shows_lists_and_logs() {
    let server = CommitServer::diary("");
    says(&server, &["commit-value", "foo", "1", "-m", "first"], "hello\n");
    assert_eq!(says(&server, &["show", "foo"], ""), "hello\n\n");
    let prepared = "author: gian\ncomment: second\nversion: 2\n---\nworld\n";
    let told = says(&server, &["commit", "foo"], prepared);
    assert!(told.contains("'version': 2") && told.contains("'comment': 'second'"), "{told}");
    assert_eq!(says(&server, &["show", "foo", "1"], ""), "hello\n\n");
    let listed = says(&server, &["list"], "");
    let line = format!("2  {:35}\t{}/foo/2\n", "foo", server.url());
    assert_eq!(listed, line);
    let log = says(&server, &["log", "foo"], "");
    let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("no {text}: {log}"));
    assert!(place("Commit 2") < place("Commit 1"), "{log}");
    assert!(place("  second") < place("-hello") && place("-hello") < place("+world"), "{log}");
    assert!(place("Author: gian") < place("Commit 1"), "{log}");
    assert_eq!(server.get("/diary/foo/meta").json()["author"], "gian");
}

// The same client, with the journal on a server.
on_every_database_server!(rainers_client_works_with_a_journal_on_a_server);
fn rainers_client_works_with_a_journal_on_a_server(database: &TestDatabase) {
    let server = CommitServer::on_database(&database.url);
    says(&server, &["commit-value", "foo", "1", "-m", "first"], "hello\n");
    says(&server, &["commit-value", "foo", "2", "-m", "second"], "world\n");
    assert_eq!(says(&server, &["show", "foo"], ""), "world\n\n");
    assert_eq!(says(&server, &["show", "foo", "1"], ""), "hello\n\n");
    let log = says(&server, &["log", "foo"], "");
    assert!(log.contains("Commit 2") && log.contains("+world"), "{log}");
    assert_eq!(says(&server, &["list"], ""), format!("2  {:35}\t{}/foo/2\n", "foo", server.url()));
    let output = pyrainer(&server, &["commit-value", "foo", "2", "-m", "again"], "x");
    assert!(!output.status.success());
}

#[test]
fn rainers_client_removes_and_lists_what_was_removed() {
    let server = CommitServer::diary("");
    says(&server, &["commit-value", "foo", "-m", "first"], "hello");
    says(&server, &["commit-value", "bar", "-m", "first"], "hello");
    // Its `uncommit` does not work with Python 3 and a value; its `commit` with `empty` does.
    says(&server, &["commit", "foo"], "author: gian\ncomment: gone\nempty: true\nversion: 2\n---\n");
    assert!(!says(&server, &["list"], "").contains("foo"));
    let all = says(&server, &["list", "-A"], "");
    assert!(all.contains("2  foo") && all.contains("1  bar"), "{all}");
    assert_eq!(says(&server, &["show", "foo"], ""), "");
}

#[test]
fn rainers_client_edits_and_is_told_of_a_conflict() {
    let server = CommitServer::diary("");
    says(&server, &["commit-value", "foo", "-m", "first"], "hello\n");
    set_editor(&server, "sed -i -e 's/hello/world/' -e \"s/^comment: .*/comment: edited/\" \"$1\"");
    let told = says(&server, &["edit", "foo"], "yes\n");
    assert!(told.contains("(yes/no)?") && told.contains("'version': 2"), "{told}");
    assert_eq!(says(&server, &["show", "foo"], ""), "world\n\n");
    assert_eq!(server.get("/diary/foo/meta").json()["comment"], "edited");
    // Somebody else is faster, while the editor is open.
    let save = format!(
        "/usr/bin/python3 -c \"import urllib.request as r; \
         r.urlopen(r.Request('http://{}/diary/foo/3', b'faster', {{'X-Rainer-Author': 'eva'}}))\"",
        server.address
    );
    set_editor(&server, &format!("{save} > /dev/null; sed -i s/world/mine/ \"$1\""));
    let output = pyrainer(&server, &["edit", "foo"], "yes\n");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && told.contains("HTTP Error 409"), "{told}");
    assert!(told.contains("expectedVersion\":4,\"providedVersion\":3"), "{told}");
    assert_eq!(server.get("/diary/foo").text(), "faster");
}
