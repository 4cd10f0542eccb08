//! `edit`: the data in an editor, and nothing lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Sandbox, kazoo, on_every_store, require_root};

/// `edit` of /n with this shell script as the editor, which has the file as `$1`.
fn edit(sandbox: &Sandbox, script: &str) -> crate::harness::Twitcher {
    let editor = sandbox.executable("editor", &format!("#!/bin/sh\n{script}\n"));
    sandbox.client(["edit", "/n"]).env("VISUAL", editor).env("TMPDIR", sandbox.path(""))
}

fn left_over(sandbox: &Sandbox) -> Vec<String> {
    let names = fs::read_dir(sandbox.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with("twitcher-edit"))
        .collect()
}

on_every_store!(the_edited_text_is_written_and_the_file_is_private_and_removed);
fn the_edited_text_is_written_and_the_file_is_private_and_removed(sandbox: &Sandbox) {
    sandbox.nodes.set("/n", "one\n");
    let look = sandbox.path("look");
    let script =
        format!("stat -c '%a %n' \"$1\" \"${{1%/*}}\" >{0}; sed -i s/one/two/ \"$1\"", look.display());
    edit(sandbox, &script).finish().expect(0);
    assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b"two\n"[..]));
    let modes: Vec<_> =
        sandbox.read_text("look").lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(modes, ["600", "700"]);
    assert_eq!(left_over(sandbox), [""; 0]);
    // $EDITOR with arguments, and $VISUAL before it.
    let editor = sandbox.client(["edit", "/n"]).env("VISUAL", "").env("EDITOR", "sed -i -e s/two/three/");
    editor.finish().expect(0);
    assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b"three\n"[..]));
    sandbox.client(["edit", "/missing"]).env("VISUAL", "true").finish().expect(1).expect_said(&["/missing"]);
}

// "unchanged text writes nothing; editor's failure writes nothing"
on_every_store!(what_was_not_edited_is_not_written);
fn what_was_not_edited_is_not_written(sandbox: &Sandbox) {
    sandbox.nodes.set("/n", "one");
    let state = || sandbox.client(["get", "--json", "/n"]).finish().expect(0).text();
    let before = state();
    edit(sandbox, "true").finish().expect(0).expect_said(&["unchanged"]);
    edit(sandbox, "touch \"$1\"").finish().expect(0).expect_said(&["unchanged"]);
    // As vi and others leave a file.
    edit(sandbox, "echo one >\"$1\"").finish().expect(0).expect_said(&["unchanged but for a newline"]);
    edit(sandbox, "exit 3").finish().expect(1).expect_said(&["failed", "nothing was written"]);
    edit(sandbox, ": >\"$1\"").finish().expect(1).expect_said(&["empty", "--empty"]);
    assert_eq!(left_over(sandbox), [""; 0]);
    let failed = edit(sandbox, "echo two >\"$1\"; kill -9 $$").finish().expect(1);
    assert_kept(&failed.stderr, "two\n");
    let missing = sandbox.client(["edit", "/n"]).env("VISUAL", "/no/such/editor").finish().expect(1);
    missing.expect_said(&["/no/such/editor", "EDITOR"]);
    assert_eq!(state(), before);
}

/// Panics unless the message names a file with this text.
#[track_caller]
fn assert_kept(message: &str, text: &str) {
    let file = message.trim().rsplit("the edited text is in ").next().expect("never empty");
    assert_eq!(fs::read_to_string(file).unwrap_or_else(|error| panic!("{error}: {message}")), text);
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

// "a conflict is an error that keeps the edited text in a file and names it"
on_every_store!(somebody_elses_change_is_not_overwritten_and_the_text_is_kept);
fn somebody_elses_change_is_not_overwritten_and_the_text_is_kept(sandbox: &Sandbox) {
    let binary = env!("CARGO_BIN_EXE_twitcher");
    let other = |command: &str| format!("{binary} {command} --store '{}' || exit 9", sandbox.nodes.url());
    let change = other("set /n theirs");
    // A node that is made anew has its former version on ZooKeeper.
    let anew = format!("{}; {}", other("rm /n"), other("set /n theirs"));
    for others in [change, anew] {
        sandbox.nodes.set("/n", "one");
        let conflict = edit(sandbox, &format!("{others}; echo ours >\"$1\"")).finish().expect(1);
        conflict.expect_said(&["changed meanwhile", "nothing was written"]);
        assert_kept(&conflict.stderr, "ours\n");
        assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b"theirs"[..]));
        sandbox.nodes.remove("/n");
    }
    sandbox.nodes.set("/n", "one");
    let removed = edit(sandbox, &format!("{}; echo ours >\"$1\"", other("rm /n"))).finish().expect(1);
    removed.expect_said(&["removed meanwhile"]);
    assert_kept(&removed.stderr, "ours\n");
    assert_eq!(sandbox.nodes.get("/n"), None);
}

#[test]
fn what_the_store_does_not_take_is_kept() {
    let sandbox = Sandbox::zookeeper();
    let crate::harness::Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    kazoo(address, &format!("zk.create('{root}/n', b'one', acl=[make_acl('world', 'anyone', read=True)])"));
    let refused = edit(&sandbox, "echo two >\"$1\"").finish().expect(1);
    refused.expect_said(&["no permission to write"]);
    assert_kept(&refused.stderr, "two\n");
}

// "root gives root up before it connects ..., so mind who runs the editor"
#[test]
fn the_editor_runs_as_the_user_who_asked() {
    require_root();
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.set("/n", "one");
    edit(&sandbox, "id -u >\"$1\"").finish().expect(0);
    assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b"0\n"[..]));
    let copy = sandbox.copy_of_the_binary();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    edit(&sandbox, "id -u >\"$1\"").binary(&copy).under(nobody).finish().expect(0);
    assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b"65534\n"[..]));
}

// A directory in which others can exchange the file is no place for it.
#[test]
fn the_text_is_put_only_where_nobody_else_can_exchange_it() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "one");
    crate::harness::set_mode(&sandbox.path(""), 0o777);
    edit(&sandbox, "echo two >\"$1\"").finish().expect(1).expect_said(&["other users", "TMPDIR"]);
    assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b"one"[..]));
}
