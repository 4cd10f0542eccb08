//! `twitcher import`, into every kind of store.

mod rights;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{
    Etcd, Finished, Proxy, Sandbox, Server, Store, ZooKeeper, etcdctl, kazoo, on_every_server,
    on_every_store, wait_until,
};

const LINES: &str = "{\"znode\":\"/app\",\"data\":\"\",\"version\":7}\n\
                     {\"znode\":\"/app/a\",\"data\":\"one\"}\n\
                     {\"znode\":\"/app/b/c\",\"base64\":\"/wA=\"}\n\
                     {\"znode\":\"/app/b/\u{fc} x\",\"data\":\"two\\nlines\"}\n";

fn import(sandbox: &Sandbox, lines: &str, args: &[&str]) -> Finished {
    args.iter().fold(sandbox.client(["import"]), |import, arg| import.arg(arg)).stdin(lines).finish()
}

/// The lines of an export without versions, sorted.
fn exported(sandbox: &Sandbox, node: &str) -> Vec<String> {
    let text = sandbox.client(["export", node]).finish().expect(0).text();
    let mut lines: Vec<_> = text
        .lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).expect("JSON");
            line.as_object_mut().expect("an object").remove("version");
            line.to_string()
        })
        .collect();
    lines.sort();
    lines
}

// "writes it into any store ... a second import changes nothing"
on_every_store!(a_second_import_changes_nothing);
fn a_second_import_changes_nothing(sandbox: &Sandbox) {
    import(sandbox, LINES, &["--dry-run"])
        .expect(0)
        .expect_said(&["create /app/a\n", "4 nodes would be created"]);
    sandbox.client(["ls", "/app"]).finish().expect(1);
    import(sandbox, LINES, &[]).expect(0).expect_said(&["4 nodes created, 0 changed, 0 removed; 0 the same"]);
    assert_eq!(sandbox.nodes.get("/app/a").as_deref(), Some(&b"one"[..]));
    assert_eq!(sandbox.nodes.get("/app/b/c").as_deref(), Some(&b"\xff\x00"[..]));
    assert_eq!(sandbox.nodes.get("/app/b/\u{fc} x").as_deref(), Some(&b"two\nlines"[..]));
    let before = sandbox.client(["export", "/app"]).finish().expect(0).text();
    import(sandbox, LINES, &[]).expect(0).expect_said(&["0 nodes created, 0 changed, 0 removed; 4 the same"]);
    import(sandbox, &before, &["--mirror"]).expect(0).expect_said(&["0 nodes created, 0 changed, 0 removed"]);
    assert_eq!(sandbox.client(["export", "/app"]).finish().expect(0).text(), before, "with the versions");
    let changed = LINES.replace("one", "six").replace("two", "three");
    import(sandbox, &changed, &[])
        .expect(0)
        .expect_said(&["0 nodes created, 2 changed, 0 removed; 2 the same"]);
    assert_eq!(sandbox.nodes.get("/app/a").as_deref(), Some(&b"six"[..]));
}

// "--at puts the tree below another node" "--mirror removes what the file does not have"
on_every_store!(a_tree_is_put_elsewhere_and_mirrored);
fn a_tree_is_put_elsewhere_and_mirrored(sandbox: &Sandbox) {
    for node in ["/x/copy/old/deep/er", "/x/copy/b/more", "/x/beside", "/x/copying"] {
        sandbox.nodes.set(node, "");
    }
    import(sandbox, LINES, &["--at", "/x/copy"]).expect(0);
    assert!(sandbox.nodes.get("/x/copy/b/more").is_some(), "only --mirror removes");
    let dry = import(sandbox, LINES, &["--at", "/x/copy", "--mirror", "--dry-run"]).expect(0);
    dry.expect_said(&["remove /x/copy/b/more\n", "remove /x/copy/old/deep/er\n"]);
    assert!(sandbox.nodes.get("/x/copy/b/more").is_some());
    import(sandbox, LINES, &["--at", "/x/copy", "--mirror"]).expect(0);
    let names = |node: &str| sandbox.client(["ls", node]).finish().expect(0).text();
    assert_eq!((names("/x/copy"), names("/x/copy/b")), ("a\nb\n".into(), "c\n\u{fc} x\n".into()));
    assert_eq!(names("/x"), "beside\ncopy\ncopying\n");
    sandbox.client(["ls", "/app"]).finish().expect(1);
}

// "an import file cut in the middle of a line, invalid JSON, duplicate znodes, a znode outside the root, bad
// base64 ... with file:line", and nothing is written
on_every_store!(a_bad_file_is_refused_before_anything_is_written);
fn a_bad_file_is_refused_before_anything_is_written(sandbox: &Sandbox) {
    for (bad, said) in [
        ("{\"znode\":\"/app/z\",\"data\":\"tw", "the file ends in the middle of this line"),
        ("{\"znode\":\"/app/z\",\"data\":\"\"]\n", "column "),
        ("{\"znode\":\"/app/z\",\"data\":1}\n", "column "),
        ("{\"znode\":\"/app/a\",\"data\":\"\"}\n", "node /app/a is there twice"),
        ("{\"znode\":\"/app/../b\",\"data\":\"\"}\n", "\"..\""),
        ("{\"znode\":\"/app/z\",\"base64\":\"/w\"}\n", "base64"),
        ("{\"znode\":\"/app/z\"}\n", "has no data"),
        ("{\"znode\":\"/app/z\",\"value\":{}}\n", "--decode"),
        ("no JSON\n", "it is no JSON object"),
        ("/app/z,1,x,\n", "import takes jsonl and json, no csv"),
        ("{\"znode\":\"/app/z\",\"data\":\"\",\"znode\":\"/app/y\"}\n", "duplicate field `znode`"),
        ("{\"znode\":\"/app/z\",\"data\":\"\\ud800\"}\n", "column "),
    ] {
        let name = written(sandbox, &format!("{LINES}{bad}"));
        let place = format!("{name}:5: ");
        import(sandbox, "", &[&name]).expect(1).expect_said(&[&place, said]);
        let place = place.replace(&name, "stdin");
        import(sandbox, &format!("{LINES}{bad}"), &["--mirror"]).expect(1).expect_said(&[&place, said]);
    }
    let elsewhere = format!("{LINES}{{\"znode\":\"/apple\",\"data\":\"\"}}\n");
    for args in [&["--mirror"][..], &["--at", "/x"]] {
        import(sandbox, &elsewhere, args).expect(1).expect_said(&["node /apple is not below /app"]);
    }
    import(sandbox, "", &["--mirror"]).expect(1).expect_said(&["stdin has no nodes; nothing was changed"]);
    assert_eq!(sandbox.client(["ls", "/"]).finish().text(), "", "nothing was written");
    let array = format!("[\n{}\n]\n", LINES.trim().replace('\n', ",\n"));
    import(sandbox, &array, &[]).expect(0).expect_said(&["4 nodes created"]);
    // Nodes that stay where they are need no common root.
    import(sandbox, &elsewhere, &[]).expect(0).expect_said(&["1 node created", "4 the same"]);
    assert!(sandbox.nodes.get("/apple").is_some());
}

// "a value larger than the target store takes (named before anything is written)"
on_every_store!(a_value_that_is_too_large_is_named_before_anything_is_written);
fn a_value_that_is_too_large_is_named_before_anything_is_written(sandbox: &Sandbox) {
    let large = |size: usize| format!("{{\"znode\":\"/app/large\",\"data\":\"{}\"}}\n", "x".repeat(size));
    let (most, more) = match sandbox.nodes.url().split(':').next() {
        Some("zk") => (1_048_000, 1_048_600),
        Some("etcd") => (1_572_000, 1_573_000),
        _ => (16 << 20, (16 << 20) + 1),
    };
    let refused = import(sandbox, &format!("{LINES}{}", large(more)), &[]).expect(1);
    refused.expect_said(&["stdin:5: node /app/large has", &more.to_string(), "nothing was written"]);
    sandbox.client(["ls", "/app"]).finish().expect(1);
    import(sandbox, &format!("{LINES}{}", large(most)), &[]).expect(0);
    assert_eq!(sandbox.nodes.get("/app/large").map(|data| data.len()), Some(most));
}

// The server says what it takes: also less than usual, and to whoever may not write.
#[test]
fn a_server_that_is_configured_for_smaller_values_is_asked_before_anything_is_written() {
    let etcd = Etcd::stopped().with(&["--max-request-bytes=65536"]);
    etcd.up();
    let sandbox = Sandbox::on(&etcd);
    sandbox.nodes.set("/app/old", "x");
    let large = |size: usize| format!("{{\"znode\":\"/app/large\",\"data\":\"{}\"}}\n", "x".repeat(size));
    for args in [&[][..], &["--dry-run"], &["--mirror"]] {
        let refused = import(&sandbox, &format!("{LINES}{}", large(200_000)), args).expect(1);
        refused.expect_said(&["stdin:5: node /app/large has 200000 bytes", "nothing was written"]);
        assert_eq!(sandbox.client(["ls", "/app"]).finish().expect(0).text(), "old\n");
    }
    import(&sandbox, &format!("{LINES}{}", large(60_000)), &[]).expect(0);
}

#[test]
fn a_server_that_is_configured_for_larger_values_gets_them() {
    let etcd = Etcd::stopped().with(&["--max-request-bytes=4000000"]);
    etcd.up();
    let sandbox = Sandbox::on(&etcd);
    let line = format!("{{\"znode\":\"/app/large\",\"data\":\"{}\"}}\n", "x".repeat(2_000_000));
    import(&sandbox, &format!("{LINES}{line}"), &[]).expect(0);
    import(&sandbox, &format!("{LINES}{line}"), &[]).expect(0).expect_said(&["5 the same already"]);
}

// A directory has no data beside children, which is known before anything is written.
#[test]
fn what_a_directory_cannot_hold_is_refused_before_anything_is_written() {
    let sandbox = Sandbox::directory();
    let both = LINES.replace("\"/app\",\"data\":\"\"", "\"/app\",\"data\":\"x\"");
    import(&sandbox, &both, &[]).expect(1).expect_said(&["stdin:2: node /app has data and children"]);
    let hidden = format!("{LINES}{{\"znode\":\"/app/.x\",\"data\":\"\"}}\n");
    import(&sandbox, &hidden, &[]).expect(1).expect_said(&["stdin:5: ", "starts with a dot"]);
    let long = format!("{LINES}{{\"znode\":\"/app/{}\",\"data\":\"\"}}\n", "\u{fc}".repeat(128));
    import(&sandbox, &long, &[]).expect(1).expect_said(&["stdin:5: ", "256 bytes is too long for a file"]);
    assert_eq!(sandbox.client(["ls", "/"]).finish().text(), "");
    import(&sandbox, &long.replacen('\u{fc}', "u", 2), &[]).expect(0);
}

// What is in a directory can be in the way of a parent or of data, which is known before anything is written.
// --mirror makes room, and so does the file itself.
#[test]
fn what_a_directory_has_is_looked_at_before_anything_is_written() {
    let first = "{\"znode\":\"/k\",\"data\":\"\"}\n{\"znode\":\"/k/0\",\"data\":\"first\"}\n";
    let emptied = "{\"znode\":\"/k/a\",\"data\":\"\"}\n";
    let below = "{\"znode\":\"/k/a/b\",\"data\":\"1\"}\n";
    let above = "{\"znode\":\"/k/d\",\"data\":\"1\"}\n";
    let outside = "{\"znode\":\"/k/link/n\",\"data\":\"1\"}\n";
    let names = format!("/{}", "x".repeat(250)).repeat(17);
    let long = format!("{{\"znode\":\"{names}\",\"data\":\"1\"}}\n");
    let full = || {
        let sandbox = Sandbox::directory();
        sandbox.nodes.set("/k/a", "data");
        sandbox.nodes.set("/k/d/below", "x");
        sandbox
    };
    let sandbox = full();
    let url = sandbox.nodes.url();
    let link = format!("{}/k/link", url.strip_prefix("dir:").expect("a directory"));
    std::os::unix::fs::symlink("/usr", link).expect("make a link");
    for (line, said) in [
        (below, "its parent \"a\" holds data"),
        (above, "a node with children is a directory"),
        (outside, "out of the store"),
        (&long, "is too long for a file"),
    ] {
        for args in [&[][..], &["--dry-run"]] {
            import(&sandbox, &format!("{first}{line}"), args).expect(1).expect_said(&[said]);
            assert_eq!(sandbox.nodes.get("/k/0"), None, "{said}");
        }
    }
    import(&sandbox, &format!("{first}{emptied}{below}"), &[]).expect(0);
    assert_eq!(sandbox.nodes.get("/k/a/b").as_deref(), Some(&b"1"[..]));
    for lines in [below.to_owned(), format!("{below}{emptied}"), format!("{above}{below}")] {
        let (sandbox, lines) = (full(), format!("{first}{lines}"));
        import(&sandbox, &lines, &["--mirror", "--dry-run"]).expect(0).expect_said(&["change /k/a\n"]);
        import(&sandbox, &lines, &["--mirror"]).expect(0);
        assert_eq!(sandbox.nodes.get("/k/a/b").as_deref(), Some(&b"1"[..]));
        assert_eq!(sandbox.nodes.get("/k/d/below"), None);
        import(&sandbox, &lines, &["--mirror"])
            .expect(0)
            .expect_said(&["0 nodes created, 0 changed, 0 removed"]);
    }
}

// ZooKeeper's servers refuse some names that the other stores take.
#[test]
fn a_name_that_zookeeper_does_not_take_is_refused_before_anything_is_written() {
    let sandbox = Sandbox::zookeeper();
    for name in ["\u{1f600}", "\u{e000}", "\u{f8ff}", "\u{fff0}", "\u{fffd}"] {
        let line = format!("{{\"znode\":\"/app/{name}\",\"data\":\"\"}}\n");
        let number = format!("the character U+{:04X}", u32::from(name.chars().next().unwrap()));
        for args in [&[][..], &["--dry-run"]] {
            import(&sandbox, &format!("{LINES}{line}"), args).expect(1).expect_said(&["stdin:5: ", &number]);
        }
        sandbox.client(["ls", "/app"]).finish().expect(1);
        // It is the server that does not take it.
        sandbox.client(["set", &format!("/n/{name}"), "x"]).finish().expect(1).expect_said(&["the server"]);
    }
    let store = format!("zk://{}", ZooKeeper::shared().address());
    let own = "{\"znode\":\"/zookeeper/q\",\"data\":\"\"}\n";
    let import_own = sandbox.twitcher(["import", "--dry-run", "--store", &store]).stdin(own).finish();
    import_own.expect(1).expect_said(&["stdin:1: ", "/zookeeper belongs to ZooKeeper's own servers"]);
    import(&sandbox, own, &["--dry-run"]).expect(0);
    for name in ["\u{d7ff}", "\u{f900}", "\u{ffef}"] {
        let line = format!("{{\"znode\":\"/app/{name}\",\"data\":\"\"}}\n");
        import(&sandbox, &format!("{LINES}{line}"), &[]).expect(0);
    }
}

// "`export` and `import` between any two stores"
#[test]
fn a_tree_goes_through_all_stores_unchanged() {
    let from = Sandbox::directory();
    import(&from, LINES, &[]).expect(0);
    from.nodes.make("/app/b");
    let expected = exported(&from, "/app");
    let mut text = from.client(["export", "/app"]).finish().expect(0).text();
    for kind in [Store::ZooKeeper, Store::Etcd, Store::Directory, Store::Etcd, Store::ZooKeeper] {
        let to = Sandbox::of_kind(kind);
        import(&to, &text, &[]).expect(0);
        assert_eq!(exported(&to, "/app"), expected, "{kind:?}");
        text = to.client(["export", "/app"]).finish().expect(0).text();
        match kind {
            Store::Directory => {}
            Store::ZooKeeper => {
                let node = format!("{}/app/b/c", to.nodes.root());
                let read = kazoo(&ZooKeeper::shared().address(), &format!("print(zk.get('{node}')[0])"));
                assert_eq!(read, "b'\\xff\\x00'\n");
            }
            Store::Etcd => {
                let key = format!("{}/app/a", to.nodes.root());
                let read = etcdctl(&Etcd::shared().address(), &["get", &key, "--print-value-only"]);
                assert_eq!(read, "one\n");
            }
        }
    }
}

fn many(nodes: usize) -> String {
    let root = "{\"znode\":\"/app\",\"data\":\"\"}\n".to_owned();
    let line = |number| format!("{{\"znode\":\"/app/{number}\",\"data\":\"{number}\"}}\n");
    [root].into_iter().chain((0..nodes).map(line)).collect()
}

/// Writes the lines to a file, and returns its name.
fn written(sandbox: &Sandbox, lines: &str) -> String {
    let file = sandbox.path("tree.jsonl");
    std::fs::write(&file, lines).expect("write a file");
    file.display().to_string()
}

// "goes on after Ctrl-C where it stopped"
on_every_server!(an_import_that_is_interrupted_goes_on_where_it_stopped);
fn an_import_that_is_interrupted_goes_on_where_it_stopped(kind: Store) {
    const NODES: usize = 20_000;
    let sandbox = Sandbox::of_kind(kind);
    let proxy = Proxy::to(&kind.shared_server().address());
    proxy.delay(Duration::from_millis(100));
    let store = sandbox.nodes.url_by_way_of(&proxy.address());
    let file = written(&sandbox, &many(NODES));
    let mut running = sandbox.twitcher(["import", &file, "--store", &store]).start();
    let children = || sandbox.client(["ls", "/app"]).finish().text().lines().count();
    wait_until("some nodes", || children() > 1500);
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait_for_exit(), Some(1));
    running.wait_for_log(&[
        "interrupted; ",
        " of 20001 nodes were looked at: ",
        "the same command goes on from there",
    ]);
    assert!(children() < NODES);
    let again = sandbox.client(["import", &file]).finish().expect(0);
    assert!(!again.text().contains("; 0 the same"), "{}", again.text());
    assert_eq!(children(), NODES);
}

// "It shows progress on a terminal (nodes, of how many, rate)"
#[test]
fn a_terminal_is_told_how_far_it_is() {
    let sandbox = Sandbox::of_kind(Store::Etcd);
    let file = written(&sandbox, &many(3000));
    let (code, shown) = sandbox.client(["import", &file]).finish_on_terminal(80);
    assert_eq!(code, Some(0));
    assert!(shown.contains(" of 3001 nodes, ") && shown.contains(" a second"), "{shown:?}");
    assert!(shown.ends_with("3001 nodes created, 0 changed, 0 removed; 0 the same already\n"), "{shown:?}");
    let piped = sandbox.client(["import", &file]).finish().expect(0);
    assert_eq!(piped.stderr, "");
}

// "goes on after Ctrl-C where it stopped", also while it removes.
on_every_server!(a_mirror_that_is_interrupted_says_how_far_it_is);
fn a_mirror_that_is_interrupted_says_how_far_it_is(kind: Store) {
    let sandbox = Sandbox::of_kind(kind);
    import(&sandbox, &many(5000), &[]).expect(0);
    let proxy = Proxy::to(&kind.shared_server().address());
    proxy.delay(Duration::from_millis(100));
    let store = sandbox.nodes.url_by_way_of(&proxy.address());
    let file = written(&sandbox, &many(1));
    let mut running = sandbox.twitcher(["import", "--mirror", &file, "--store", &store]).start();
    let children = || sandbox.client(["ls", "/app"]).finish().text().lines().count();
    wait_until("some to be removed", || children() < 4500);
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait_for_exit(), Some(1));
    running.wait_for_log(&["interrupted; 0 of 2 nodes were looked at: ", " removed; ", "goes on from there"]);
    sandbox.client(["import", "--mirror", &file]).finish().expect(0);
    assert_eq!(children(), 1);
}

// "`--mirror` removes what the file does not have", also above a node that it has.
#[test]
fn a_mirror_leaves_no_data_that_the_file_does_not_have() {
    for kind in [Store::Etcd, Store::ZooKeeper] {
        let (from, to) = (Sandbox::of_kind(Store::Etcd), Sandbox::of_kind(kind));
        for (node, data) in [("/app", ""), ("/app/b/c", "new"), ("/app/z", "new")] {
            from.nodes.set(node, data);
        }
        for node in ["/app/b", "/app/b/c", "/app/z", "/app/other/below"] {
            to.nodes.set(node, "old");
        }
        let text = from.client(["export", "/app"]).finish().expect(0).text();
        let rehearsed = import(&to, &text, &["--mirror", "--dry-run"]).expect(0).text();
        import(&to, &text, &["--mirror"]).expect(0);
        match kind {
            Store::ZooKeeper => {
                assert!(rehearsed.contains("change /app/b\n"), "{rehearsed}");
                assert_eq!(to.nodes.get("/app/b").as_deref(), Some(&b""[..]));
            }
            Store::Etcd | Store::Directory => {
                assert!(rehearsed.contains("remove /app/b\n"), "{rehearsed}");
                assert_eq!(exported(&to, "/app"), exported(&from, "/app"));
            }
        }
        let again = import(&to, &text, &["--mirror"]).expect(0).text();
        assert!(again.contains("0 nodes created, 0 changed, 0 removed"), "{again}");
    }
}

// Nodes of other sessions are not a part of the tree.
#[test]
fn a_mirror_leaves_what_lives_as_long_as_a_lease() {
    let sandbox = Sandbox::on(Etcd::shared());
    import(&sandbox, LINES, &[]).expect(0);
    let etcd = sandbox.nodes.etcd();
    etcd.set_leased("/app/member", b"", &etcd.grant(600));
    sandbox.nodes.set("/app/other", "");
    import(&sandbox, LINES, &["--mirror"]).expect(0).expect_said(&["1 removed"]);
    assert!(sandbox.nodes.get("/app/member").is_some() && sandbox.nodes.get("/app/other").is_none());
}

// The same for the node that the file has only as the root of others.
on_every_store!(a_mirror_takes_the_data_of_a_root_that_has_none);
fn a_mirror_takes_the_data_of_a_root_that_has_none(sandbox: &Sandbox) {
    sandbox.nodes.set("/dst", "old");
    let lines = "{\"znode\":\"/src/a\"}\n{\"znode\":\"/src/a/b\",\"data\":\"1\"}\n";
    let mirror =
        |more: &[&str]| import(sandbox, lines, &[&["--at", "/dst", "--mirror"], more].concat()).expect(0);
    let rehearsed = mirror(&["--dry-run"]).text();
    assert!(rehearsed.starts_with("change /dst\n") || rehearsed.starts_with("remove /dst\n"), "{rehearsed}");
    mirror(&[]);
    assert!(sandbox.nodes.get("/dst").is_none_or(|data| data.is_empty()));
    assert_eq!(sandbox.nodes.get("/dst/b").as_deref(), Some(&b"1"[..]));
    mirror(&[]).expect_said(&["0 nodes created, 0 changed, 0 removed"]);
}

// A root that lives as long as a lease is left out, and is the root of what is below it all the same.
#[test]
fn a_tree_below_a_node_with_a_lease_goes_where_it_belongs() {
    let sandbox = Sandbox::on(Etcd::shared());
    let etcd = sandbox.nodes.etcd();
    let lease = etcd.grant(600);
    etcd.set_leased("/svc", b"x", &lease);
    let alone = sandbox.client(["export", "/svc"]).finish().expect(0);
    assert_eq!(alone.text(), "");
    for node in ["/svc/a", "/svc/b", "/x/old"] {
        sandbox.nodes.set(node, "1");
    }
    let text = sandbox.client(["export", "/svc"]).finish().expect(0).text();
    import(&sandbox, &text, &["--at", "/x", "--mirror"])
        .expect(0)
        .expect_said(&["2 nodes created", "1 removed"]);
    let data = |node: &str| sandbox.nodes.get(node).map(|data| String::from_utf8(data).expect("text"));
    let found = ["/x", "/x/a", "/x/b", "/x/old"].map(data);
    assert_eq!(found, [None, Some("1".into()), Some("1".into()), None]);
    // "an import makes a node that stays"
    etcd.set_leased("/x/a", b"1", &lease);
    import(&sandbox, &text, &["--at", "/x"]).expect(0).expect_said(&["0 nodes created, 1 changed"]);
    import(&sandbox, &text, &["--at", "/x"]).expect(0).expect_said(&["2 the same"]);
    etcd.ask("lease/revoke", &serde_json::json!({ "ID": lease }));
    assert_eq!(["/svc", "/x/a"].map(data), [None, Some("1".into())]);
}
