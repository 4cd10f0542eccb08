//! `get`, `set`, `poke`, `ls` and `rm`, on both stores.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use crate::harness::{Proxy, Sandbox, Store, command, exec, on_every_server, on_every_store, watch};

// "`twitcher set NODE DATA | - | --empty` create (with parents) or replace; - is stdin", "`twitcher get NODE`
// write the node's bytes to stdout"
on_every_store!(set_creates_with_parents_or_replaces_and_get_gives_the_bytes_back);
fn set_creates_with_parents_or_replaces_and_get_gives_the_bytes_back(sandbox: &Sandbox) {
    sandbox.client(["set", "/a/b/c", "text"]).finish().expect(0);
    assert_eq!(sandbox.nodes.get("/a/b/c").as_deref(), Some(&b"text"[..]));
    assert_eq!(sandbox.client(["get", "/a/b/c"]).finish().expect(0).stdout, b"text");
    let binary = b"\0\xff\n bytes \n\n";
    sandbox.client(["set", "/a/b/c", "-"]).stdin(binary).finish().expect(0);
    assert_eq!(sandbox.client(["get", "/a/b/c"]).finish().expect(0).stdout, binary);
    sandbox.client(["set", "/a/b/c", "--empty"]).finish().expect(0);
    assert_eq!(sandbox.nodes.get("/a/b/c").as_deref(), Some(&b""[..]));
    let odd = OsStr::from_bytes(b"-\xff");
    sandbox.client(["set", "/a/b/c"]).arg(odd).finish().expect(0);
    assert_eq!(sandbox.nodes.get("/a/b/c").as_deref(), Some(&b"-\xff"[..]));
}

// A variable or a pipe that came out empty does not empty a node: "DATA, `-` or `--empty` is required".
on_every_store!(no_node_is_emptied_by_accident);
fn no_node_is_emptied_by_accident(sandbox: &Sandbox) {
    sandbox.nodes.set("/n", "content");
    for args in [&[][..], &[""], &["x", "--empty"]] {
        let set = args.iter().fold(sandbox.client(["set", "/n"]), |command, arg| command.arg(arg));
        set.finish().expect(2).expect_said(&["/n", "DATA", " - ", "--empty"]);
    }
    let set = || sandbox.client(["set", "/n", "-"]).stdin(b"");
    set().finish().expect(1).expect_said(&["stdin was empty", "/n", "--empty"]);
    assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b"content"[..]));
    set().arg("--empty").finish().expect(0);
    assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b""[..]));
    sandbox.client(["set", "/n", "-", "--empty"]).stdin(b"x").finish().expect(0);
    assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b"x"[..]));
    sandbox.client(["set", "/n", "", "--empty"]).finish().expect(0);
    assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b""[..]));
    for wrong in ["", "/n/"] {
        sandbox.client(["rm", "--recursive", wrong]).finish().expect(2);
    }
    sandbox.client(["rm", "--recursive", "/"]).finish().expect(1).expect_said(&["root"]);
    assert!(sandbox.nodes.get("/n").is_some());
}

// "Exit codes: 0 done, 1 failed, 2 wrong usage. Errors go to stderr."
on_every_store!(commands_on_a_missing_node_fail_and_name_it);
fn commands_on_a_missing_node_fail_and_name_it(sandbox: &Sandbox) {
    for command in ["get", "poke", "ls", "rm"] {
        let finished = sandbox.client([command, "/missing/node"]).finish().expect(1);
        assert!(finished.stderr.contains("/missing/node"), "{finished:?}");
        assert!(finished.stdout.is_empty(), "{finished:?}");
        // Who removes a node does not want to create it.
        assert_eq!(finished.stderr.contains("twitcher set"), command != "rm", "{finished:?}");
    }
}

#[test]
fn wrong_usage_exits_2() {
    let sandbox = Sandbox::directory();
    for wrong in [["get", "relative"], ["get", "/a//b"], ["set", "--no-such-flag"], ["no-such-command", "/n"]]
    {
        sandbox.client(wrong).finish().expect(2);
    }
    sandbox.client(["get"]).finish().expect(2);
    sandbox.twitcher(["get", "/n", "--store", "nonsense://x"]).finish().expect(2);
    sandbox.twitcher(["get", "/n", "--store", "dir:/tmp", "--zkservers", "localhost"]).finish().expect(2);
}

// "`twitcher ls NODE` child names, sorted, one a line"
on_every_store!(ls_gives_the_sorted_names_one_a_line);
fn ls_gives_the_sorted_names_one_a_line(sandbox: &Sandbox) {
    for name in ["b", "a", "C", "with space"] {
        sandbox.nodes.set(&format!("/members/{name}"), "");
    }
    assert_eq!(sandbox.client(["ls", "/members"]).finish().expect(0).text(), "C\na\nb\nwith space\n");
    assert_eq!(sandbox.client(["ls", "/members/a"]).finish().expect(0).text(), "");
    assert_eq!(sandbox.client(["ls", "/"]).finish().expect(0).text(), "members\n");
}

// A terminal obeys what it is sent, and a pipe needs the exact bytes.
on_every_store!(a_terminal_gets_content_escaped_and_a_pipe_gets_it_as_it_is);
fn a_terminal_gets_content_escaped_and_a_pipe_gets_it_as_it_is(sandbox: &Sandbox) {
    let content = "tab\tred \u{1b}[31m\r\nlast \u{9b}31m";
    sandbox.nodes.set("/n", content);
    assert_eq!(sandbox.client(["get", "/n"]).finish().expect(0).text(), content);
    let (code, shown) = sandbox.client(["get", "/n"]).finish_on_terminal(80);
    let plain = shown.replace("        ", "\t");
    assert_eq!((code, &*plain), (Some(0), "tab\tred \\u{1b}[31m\\r\nlast \\u{9b}31m\n"));
    let name = "over\u{202e}ride";
    sandbox.nodes.set(&format!("/odd/{name}"), "");
    assert_eq!(sandbox.client(["ls", "/odd"]).finish().expect(0).text(), format!("{name}\n"));
    let (code, shown) = sandbox.client(["ls", "/odd"]).finish_on_terminal(80);
    assert!(code == Some(0) && shown.starts_with("over") && shown.ends_with("ride\n"), "{shown:?}");
}

// "`twitcher rm NODE [--recursive]`"
on_every_store!(rm_removes_a_leaf_and_a_tree_only_with_recursive);
fn rm_removes_a_leaf_and_a_tree_only_with_recursive(sandbox: &Sandbox) {
    for node in ["/tree/a/b", "/tree/c", "/leaf", "/other"] {
        sandbox.nodes.set(node, "");
    }
    sandbox.client(["rm", "/leaf"]).finish().expect(0);
    assert_eq!(sandbox.nodes.get("/leaf"), None);
    sandbox.client(["rm", "/tree"]).finish().expect(1);
    assert!(sandbox.nodes.get("/tree/a/b").is_some(), "a refused command removes nothing");
    sandbox.client(["rm", "--recursive", "/tree"]).finish().expect(0);
    assert_eq!(sandbox.client(["ls", "/"]).finish().expect(0).text(), "other\n");
}

// "`twitcher poke NODE` rewrite the same data, so that watches fire"
on_every_store!(poke_makes_watches_fire_and_leaves_the_data);
fn poke_makes_watches_fire_and_leaves_the_data(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", b"bytes \0\xff");
    sandbox.config("app.twc", watch("/n", &exec(&journal.note("$TWITCHER_EVENT")), ""));
    let _daemon = sandbox.start();
    journal.wait_for(&["load"]);
    sandbox.client(["poke", "/n"]).finish().expect(0);
    journal.wait_for(&["load", "changed"]);
    assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b"bytes \0\xff"[..]));
    sandbox.client(["poke", "/n"]).finish().expect(0);
    journal.wait_for(&["load", "changed", "changed"]);
}

// "`poke` is compare-and-set with retry". In a directory only commands wait for one another.
on_every_server!(poke_undoes_no_concurrent_update);
fn poke_undoes_no_concurrent_update(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    sandbox.nodes.set("/n", "0");
    std::thread::scope(|scope| {
        let poker = scope.spawn(|| {
            for _ in 0..15 {
                sandbox.client(["poke", "/n"]).finish().expect(0);
            }
        });
        let mut value = 0;
        while !poker.is_finished() {
            value += 1;
            // A poke that read the old value before this would now put it back, if it did not compare.
            sandbox.nodes.set_each("/n", [value], |_| {});
            assert_eq!(sandbox.nodes.get("/n"), Some(value.to_string().into_bytes()));
        }
    });
}

// "Every command that talks to a store ... fails within the session timeout."
on_every_server!(a_command_fails_within_the_session_timeout_when_nobody_answers);
fn a_command_fails_within_the_session_timeout_when_nobody_answers(store: Store) {
    let absent = store.stopped_server();
    let silent = Proxy::to(&store.shared_server().address());
    silent.stall();
    let sandbox = Sandbox::of_kind(store);
    for address in [absent.address(), silent.address()] {
        for command in
            [&["get", "/n"][..], &["set", "/n", "x"], &["poke", "/n"], &["ls", "/n"], &["rm", "/n"]]
        {
            let began = Instant::now();
            let command = command.iter().fold(sandbox.twitcher([]), |twitcher, arg| twitcher.arg(arg));
            command
                .args(["--store", &sandbox.nodes.url_by_way_of(&address), "--session-timeout", "1"])
                .finish()
                .expect(1);
            // A busy machine may be slow to start a process, but not by 9 s.
            assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        }
    }
}

// "names starting with a dot are no nodes; `..`, `.` and empty components are refused"
#[test]
fn the_directory_store_has_no_node_outside_its_directory_and_none_whose_name_starts_with_a_dot() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "");
    std::fs::write(sandbox.root().join("nodes/.hidden"), "x").expect("write a file");
    assert_eq!(sandbox.client(["ls", "/"]).finish().expect(0).text(), "n\n");
    let hidden = sandbox.client(["get", "/.hidden"]).finish();
    assert!(matches!(hidden.code, Some(1 | 2)), "{hidden:?}");
    for path in ["/../configs", "/./n", "/n/../n", "//n"] {
        let outside = sandbox.client(["get", path]).finish();
        assert!(matches!(outside.code, Some(1 | 2)), "{outside:?}");
    }
    assert!(matches!(sandbox.client(["set", "/../outside", "x"]).finish().code, Some(1 | 2)));
    assert!(!sandbox.root().join("outside").exists());
}

// "a node is a file, its children the entries of a directory; `echo x > PATH/git/head` is an update; a
// directory holds empty data"
#[test]
fn a_shell_redirection_into_the_directory_store_is_an_update() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let head = watch("/git/head", &exec(&journal.record_event()), "");
    let directory = watch("/git", &exec(&journal.note("directory $(wc -c)")), "");
    sandbox.config("app.twc", [head, directory].concat());
    std::fs::create_dir(sandbox.root().join("nodes/git")).expect("create a directory");
    let _daemon = sandbox.start();
    journal.wait_for(&["directory 0"]);
    let mut expected = vec!["directory 0".to_owned()];
    for (event, word) in [("created", "one"), ("changed", "two"), ("changed", "three")] {
        let redirect = format!("echo {word} > {}", sandbox.root().join("nodes/git/head").display());
        assert!(command("sh").args(["-c", &redirect]).status().expect("sh").success());
        expected.push(format!("{event} {word}"));
        journal.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

// "A missing node (or missing parents) is a normal state": even the directory of the store may be missing.
#[test]
fn a_directory_store_that_goes_and_comes_back_loses_nothing() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let (root, aside) = (sandbox.root().join("nodes"), sandbox.root().join("aside"));
    sandbox.nodes.set("/n", "one");
    std::fs::rename(&root, &aside).expect("take the store away");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let mut daemon = sandbox.start();
    daemon.wait_for_log(&["app.twc"]);
    std::fs::rename(&aside, &root).expect("put the store back");
    journal.wait_for(&["one"]);
    std::fs::remove_dir_all(&root).expect("remove the store");
    sandbox.nodes.set("/n", "two");
    journal.wait_for(&["one", "two"]);
    assert!(daemon.is_running());
}

// What `get` prints is what `set` takes, up to the ends of CBOR's integers and beyond them.
#[test]
fn numbers_come_back_from_their_plain_form_as_they_were() {
    let sandbox = Sandbox::directory();
    let numbers: [(&[u8], &str); 9] = [
        (b"\x1b\x7f\xff\xff\xff\xff\xff\xff\xff", "9223372036854775807"),
        (b"\x1b\x80\0\0\0\0\0\0\0", "9223372036854775808"),
        (b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
        (b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", "-9223372036854775808"),
        (b"\x3b\x80\0\0\0\0\0\0\0", "-9223372036854775809"),
        (b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", "-18446744073709551616"),
        (b"\xc2\x49\x01\0\0\0\0\0\0\0\0", r#"{"$tag":[2,{"$bytes":"AQAAAAAAAAAA"}]}"#),
        (b"\xc3\x49\x01\0\0\0\0\0\0\0\0", r#"{"$tag":[3,{"$bytes":"AQAAAAAAAAAA"}]}"#),
        (b"\xfb\x40\x3f\x3e\xca\x06\xfa\xea\x82", "31.245270191439438"),
    ];
    let all: Vec<u8> = numbers.iter().fold(vec![0x80 + 9], |all, (bytes, _)| [&all, *bytes].concat());
    sandbox.nodes.set("/n", &all);
    let plain = sandbox.client(["get", "--decode", "cbor", "/n"]).finish().expect(0).text();
    assert_eq!(plain, format!("[{}]\n", numbers.map(|(_, text)| text).join(",")));
    sandbox.client(["set", "--encode", "cbor", "/m", &plain]).finish().expect(0);
    assert_eq!(sandbox.nodes.get("/m"), Some(all));
    let refused = sandbox.client(["set", "--encode", "cbor", "/m", "[-18446744073709551617]"]).finish();
    let said = "line 1, column 2: this integer is not from -2^64 to 2^64-1; write a float (1e30), or a tag 2";
    refused.expect(1).expect_said(&[said]);
}
