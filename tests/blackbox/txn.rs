//! `txn`: several changes at once, or none, on ZooKeeper and etcd.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Nodes, Sandbox, Store, exec, kazoo, on_every_server, watch};

/// Runs a transaction and returns what it printed.
#[track_caller]
fn txn(sandbox: &Sandbox, code: i32, transaction: &Value) -> Value {
    let done = sandbox.client(["txn"]).stdin(transaction.to_string()).finish();
    assert_eq!(done.code, Some(code), "{transaction}: {done:?}");
    serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

fn get(sandbox: &Sandbox, node: &str) -> Option<String> {
    sandbox.nodes.get(node).map(|data| String::from_utf8(data).unwrap())
}

/// The version of a node that was created and then changed `changes` times.
fn version(kind: Store, changes: i64) -> i64 {
    changes + i64::from(kind == Store::Etcd)
}

// "does all or nothing on ZooKeeper (multi) and etcd (txn) ..., prints the results as JSON, exit 3 for
// `else`"
on_every_server!(the_branch_that_the_conditions_choose_is_done);
fn the_branch_that_the_conditions_choose_is_done(kind: Store) {
    let sandbox = Sandbox::of_kind(kind);
    let (first, second) = (version(kind, 0), version(kind, 1));
    sandbox.nodes.set("/a", "one");
    sandbox.nodes.set("/old", "x");
    let transaction = json!({
        "if": [
            { "znode": "/a", "version": first },
            { "znode": "/a", "value": "one" },
            { "znode": "/new/deep/n", "absent": true },
            { "znode": "/old", "absent": false },
        ],
        "then": [
            { "set": "/a", "data": "two" },
            { "set": "/new/deep/n", "data": "new" },
            { "set": { "znode": "/new/deep/m", "base64": "/wA=" } },
            { "rm": "/old" },
            { "get": "/a" },
            { "get": "/missing" },
        ],
        "else": [{ "get": "/a" }, { "get": "/new/deep/m" }, { "set": "/failed", "data": "yes" }],
    });
    let done = txn(&sandbox, 0, &transaction);
    assert_eq!(
        done,
        json!({ "succeeded": true, "results": [
            { "set": "/a", "version": second },
            { "set": "/new/deep/n", "version": first },
            { "set": "/new/deep/m", "version": first },
            { "rm": "/old" },
            { "get": "/a", "data": "two", "version": second },
            { "get": "/missing", "absent": true },
        ] })
    );
    assert_eq!(get(&sandbox, "/a").as_deref(), Some("two"));
    assert_eq!(sandbox.nodes.get("/new/deep/m").as_deref(), Some(&b"\xff\0"[..]));
    assert_eq!((get(&sandbox, "/old"), get(&sandbox, "/failed")), (None, None));
    assert_eq!(
        txn(&sandbox, 3, &transaction),
        json!({ "succeeded": false, "results": [
            { "get": "/a", "data": "two", "version": second },
            { "get": "/new/deep/m", "base64": "/wA=", "version": first },
            { "set": "/failed", "version": first },
        ] })
    );
    assert_eq!(get(&sandbox, "/failed").as_deref(), Some("yes"));
}

// Conditions and reads alone change nothing, not even for a moment: nobody who watches hears of them.
on_every_server!(conditions_alone_are_heard_by_nobody);
fn conditions_alone_are_heard_by_nobody(kind: Store) {
    let sandbox = Sandbox::of_kind(kind);
    let journal = sandbox.journal();
    sandbox.nodes.set("/dir/a", "x");
    let action = exec(&journal.note("$(tr '\\n' ' ')"));
    sandbox.config("app.twc", watch("/dir", &action, "watch_type: WATCH_CHILDREN"));
    let _daemon = sandbox.start();
    journal.wait_for(&["a "]);
    let absent = |node: &str| json!({ "znode": node, "absent": true });
    let done = txn(
        &sandbox,
        0,
        &json!({ "if": [absent("/dir/b"), absent("/no/parents")], "then": [{ "get": "/dir/c" }] }),
    );
    assert_eq!(done["results"], json!([{ "get": "/dir/c", "absent": true }]));
    txn(&sandbox, 3, &json!({ "if": [absent("/dir/a")], "else": [{ "get": "/dir/a" }] }));
    txn(&sandbox, 0, &json!({ "if": [{ "znode": "/dir/a", "version": version(kind, 0) }] }));
    assert_eq!((get(&sandbox, "/dir/b"), get(&sandbox, "/no")), (None, None));
    sandbox.nodes.set("/dir/z", "");
    journal.wait_for(&["a ", "a z "]);
}

// A condition on a node that the branch does not create, beside a write elsewhere.
on_every_server!(an_absence_is_a_condition_of_a_write_elsewhere);
fn an_absence_is_a_condition_of_a_write_elsewhere(kind: Store) {
    let sandbox = Sandbox::of_kind(kind);
    sandbox.nodes.set("/n", "0");
    let set = |data: &str| {
        json!({
            "if": [{ "znode": "/lock/of/mine", "absent": true }],
            "then": [{ "set": "/n", "data": data }],
            "else": [{ "get": "/lock/of/mine" }],
        })
    };
    txn(&sandbox, 0, &set("1"));
    assert_eq!((get(&sandbox, "/n").as_deref(), get(&sandbox, "/lock")), (Some("1"), None));
    sandbox.nodes.set("/lock/of/mine", "held");
    let refused = txn(&sandbox, 3, &set("2"));
    assert_eq!(refused["results"][0]["data"], "held");
    assert_eq!(get(&sandbox, "/n").as_deref(), Some("1"));
}

// A child before its parent, a parent that goes before its child comes: what the operations before one have
// done is there for it. Where it was taken for a race, this took ten seconds.
on_every_server!(an_operation_finds_what_those_before_it_have_done);
fn an_operation_finds_what_those_before_it_have_done(kind: Store) {
    let sandbox = Sandbox::of_kind(kind);
    let began = Instant::now();
    let child_first = json!({
        "if": [{ "znode": "/t", "absent": true }],
        "then": [{ "set": "/t/p/q", "data": "y" }, { "set": "/t/p", "data": "x" }, { "get": "/t/p/q" }],
    });
    let done = txn(&sandbox, 0, &child_first);
    assert_eq!(done["results"][2]["data"], "y");
    let read = |node: &str| get(&sandbox, node);
    assert_eq!((read("/t/p/q").as_deref(), read("/t/p").as_deref()), (Some("y"), Some("x")));
    // What is told of the version holds.
    let again = json!({
        "if": [{ "znode": "/t/p", "version": done["results"][1]["version"] }],
        "then": [{ "rm": "/t/p/q" }, { "rm": "/t/p" }],
    });
    txn(&sandbox, 0, &again);
    sandbox.nodes.set("/t/p", "x");
    txn(&sandbox, 0, &json!({ "then": [{ "rm": "/t/p" }, { "set": "/t/p/q/r", "data": "z" }] }));
    assert_eq!(read("/t/p/q/r").as_deref(), Some("z"));
    if kind == Store::ZooKeeper {
        let found = txn(&sandbox, 0, &json!({ "then": [{ "set": "/u/v", "data": "" }, { "get": "/u" }] }));
        assert_eq!(found["results"][1], json!({ "get": "/u", "version": 0, "data": "" }));
    }
    // Nodes that are absent, one below the other, as conditions and as reads.
    let absent = |node: &str| json!({ "get": node, "absent": true });
    let reads = json!({ "then": [{ "get": "/y/a" }, { "get": "/y/a/b" }, { "get": "/y" }] });
    let found = txn(&sandbox, 0, &reads);
    assert_eq!(found["results"], json!([absent("/y/a"), absent("/y/a/b"), absent("/y")]));
    let gone = |node: &str| json!({ "znode": node, "absent": true });
    let tests = json!({ "if": [gone("/y/q"), gone("/y/q/r")], "then": [{ "set": "/y/z", "data": "1" }] });
    txn(&sandbox, 0, &tests);
    assert_eq!((read("/y/z").as_deref(), read("/y/q"), read("/y/q/r")), (Some("1"), None, None));
    let around = json!({
        "if": [gone("/w/l")],
        "then": [{ "set": "/w/m/n/o", "data": "1" }, { "get": "/w/l" }, { "get": "/w" }, { "get": "/w/m/n" }],
    });
    let found = txn(&sandbox, 0, &around);
    assert_eq!(found["results"][1], absent("/w/l"));
    let parent = |node: &str| match kind {
        Store::ZooKeeper => json!({ "get": node, "version": 0, "data": "" }),
        _ => absent(node),
    };
    assert_eq!((&found["results"][2], &found["results"][3]), (&parent("/w"), &parent("/w/m/n")));
    assert_eq!((read("/w/m/n/o").as_deref(), read("/w/l")), (Some("1"), None));
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

// All or nothing: what cannot be done whole is not begun.
#[test]
fn a_transaction_of_which_a_part_fails_does_nothing() {
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.set("/tree/below", "");
    sandbox.nodes.set("/closed", "x");
    sandbox.nodes.close_to_everybody("/closed");
    for (last, said) in [
        (json!({ "rm": "/tree" }), "has children"),
        (json!({ "rm": "/missing" }), "/missing does not exist"),
        (json!({ "set": "/closed", "data": "y" }), "no permission to write node /closed"),
        (json!({ "set": "/closed/n", "data": "y" }), "no permission to create node /closed/n"),
    ] {
        let transaction = json!({ "then": [{ "set": "/n", "data": "x" }, last] }).to_string();
        let failed = sandbox.client(["txn"]).stdin(transaction).finish().expect(1);
        failed.expect_said(&[said]);
        assert!(failed.stdout.is_empty());
        assert_eq!(get(&sandbox, "/n"), None);
    }
}

// No server takes a number for a wildcard, or a part of a number for the whole.
on_every_server!(a_version_that_no_node_has_does_not_hold);
fn a_version_that_no_node_has_does_not_hold(kind: Store) {
    let sandbox = Sandbox::of_kind(kind);
    sandbox.nodes.set("/n", "x");
    for wrong in [-1, version(kind, 0) + (1 << 32), i64::MAX, i64::MIN] {
        let transaction = json!({
            "if": [{ "znode": "/n", "version": wrong }],
            "then": [{ "set": "/n", "data": "wrong" }],
        });
        txn(&sandbox, 3, &transaction);
    }
    assert_eq!(get(&sandbox, "/n").as_deref(), Some("x"));
}

// "all or nothing": what etcd does not take, for its name, number or size, is named, and nothing is done.
#[test]
fn a_transaction_that_etcd_does_not_take_does_nothing() {
    let sandbox = Sandbox::of_kind(Store::Etcd);
    let set = |node: &str, data: &str| json!({ "set": node, "data": data });
    let many: Vec<_> = (0..200).map(|number| set(&format!("/many/{number}"), "x")).collect();
    for (operations, said) in [
        (vec![set("/n", "x"), json!({ "rm": "/missing" })], "/missing does not exist"),
        (many, "etcd takes 128 operations in a transaction"),
        (vec![set("/n", "x"), set("/large", &"x".repeat(2_000_000))], "bytes are too many"),
        (vec![set("/n", "x"), set("/@4:oid/x", "x")], "`x` is no oid"),
    ] {
        let transaction = json!({ "then": operations }).to_string();
        let failed = sandbox.client(["txn"]).stdin(transaction).finish().expect(1);
        failed.expect_said(&[said]);
        assert!(failed.stdout.is_empty());
        assert_eq!((get(&sandbox, "/n"), get(&sandbox, "/many/0")), (None, None), "{said}");
    }
}

// Two hundred transactions at once, each of which adds one: none is lost, none is done twice.
on_every_server!(concurrent_transactions_are_atomic);
fn concurrent_transactions_are_atomic(kind: Store) {
    let sandbox = Sandbox::of_kind(kind);
    sandbox.nodes.set("/a", "0");
    sandbox.nodes.set("/b", "0");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut done = 0;
                while done < 5 {
                    let read = txn(&sandbox, 0, &json!({ "then": [{ "get": "/a" }, { "get": "/b" }] }));
                    let number = |index: usize| -> u32 {
                        read["results"][index]["data"].as_str().unwrap().parse().unwrap()
                    };
                    let (a, b) = (number(0), number(1));
                    assert_eq!(a, b, "both are read at one moment");
                    let transaction = json!({
                        "if": [{ "znode": "/a", "value": a.to_string() }],
                        "then": [
                            { "set": "/a", "data": (a + 1).to_string() },
                            { "set": "/b", "data": (b + 1).to_string() },
                        ],
                    });
                    let finished = sandbox.client(["txn"]).stdin(transaction.to_string()).finish();
                    match finished.code {
                        Some(0) => done += 1,
                        Some(3) => {}
                        code => panic!("{code:?}: {finished:?}"),
                    }
                }
            });
        }
    });
    assert_eq!((get(&sandbox, "/a").as_deref(), get(&sandbox, "/b").as_deref()), (Some("20"), Some("20")));
}

// Another client changes the nodes all the time; what it sees is all or nothing.
#[test]
fn kazoo_sees_all_of_a_transaction_or_nothing() {
    let sandbox = Sandbox::zookeeper();
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    sandbox.nodes.set("/lock", "");
    let script = format!(
        "import subprocess, threading, time\n\
         def flip():\n\
         \x20   while not done.is_set():\n\
         \x20       try: zk.create('{root}/flag', b'k')\n\
         \x20       except Exception: zk.delete('{root}/flag')\n\
         done = threading.Event()\nthread = threading.Thread(target=flip)\nthread.start()\n\
         import json\ncodes = set()\n\
         for number in range(30):\n\
         \x20   txn = json.dumps({{\n\
         \x20       'if': [{{'znode': '/flag', 'absent': True}}],\n\
         \x20       'then': [{{'set': '/flag', 'data': 'ours'}}, {{'set': '/seen%d' % number, 'data': ''}}]\
             }})\n\
         \x20   code = subprocess.run({:?}, input=txn.encode(), stdout=subprocess.DEVNULL).returncode\n\
         \x20   codes.add(code)\n\
         \x20   assert (code == 0) == bool(zk.exists('{root}/seen%d' % number)), code\n\
         done.set()\nthread.join()\nassert codes <= {{0, 3}}, codes\nprint('done')",
        [env!("CARGO_BIN_EXE_twitcher"), "txn", "--store", &sandbox.nodes.url()]
    );
    assert_eq!(kazoo(address, &script).trim(), "done");
}

// "is refused on `dir:`"
#[test]
fn a_directory_store_has_no_transactions() {
    let sandbox = Sandbox::directory();
    let transaction = r#"{"then": [{"set": "/n", "data": "x"}]}"#;
    let refused = sandbox.client(["txn"]).stdin(transaction).finish().expect(1);
    refused.expect_said(&["no transactions"]);
    assert_eq!(sandbox.nodes.get("/n"), None);
}

on_every_server!(what_is_no_transaction_is_refused_before_it_is_sent);
fn what_is_no_transaction_is_refused_before_it_is_sent(kind: Store) {
    let sandbox = Sandbox::of_kind(kind);
    for (wrong, said) in [
        ("", "EOF"),
        ("[]", "no object"),
        (r#"{"then": [["/a", null, null, "x"]]}"#, "then[0]: it is no object"),
        (r#"{"then": [{"set": ["/a", "x"]}]}"#, "then[0]: set is an array"),
        (r#"{"then": [{"set": "/a", "set": "/b", "data": "x"}]}"#, "duplicate field"),
        (r#"{"than": []}"#, "than"),
        (r#"{"if": [{"znode": "/a"}]}"#, "if[0]: a condition has one of"),
        (r#"{"if": [{"znode": "/a", "version": 1, "absent": true}]}"#, "if[0]"),
        (r#"{"if": [{"znode": "a", "version": 1}]}"#, "not absolute"),
        (r#"{"then": [{"set": "a", "data": "x"}]}"#, "not absolute"),
        (r#"{"then": [{"rm": "a"}]}"#, "not absolute"),
        (r#"{"then": [{"get": {"znode": "a"}}]}"#, "not absolute"),
        (r#"{"then": [{"get": {"znode": "/a", "znode": "/b"}}]}"#, "duplicate field"),
        (r#"{"then": [{"rm": 5}]}"#, "expected the path of a node, or an object with it"),
        (r#"{"if": {"znode": "/a"}}"#, "expected a sequence at line 1 column 7"),
        ("{\"then\": [\n{\"get\" \"/a\"}]}", "expected `:` at line 2 column 8"),
        (r#"{"if": [{"znode": "/a", "version": 9223372036854775808}]}"#, "line 1 column 54"),
        (&*"[".repeat(100_000), "recursion limit exceeded"),
        (r#"{"then": [{"set": "/a", "data": "x"}, {}]}"#, "then[1]: an operation has one of"),
        (r#"{"then": [{"set": "/a"}]}"#, "then[0]: set has one of data and base64"),
        (r#"{"then": [{"set": {"znode": "/a", "data": "x"}, "data": "y"}]}"#, "and beside it"),
        (r#"{"then": [{"set": {"znode": "/a", "base64": ""}, "data": "y"}]}"#, "and beside it"),
        (r#"{"then": [{"rm": "/a", "data": "x"}]}"#, "only set has data"),
        (r#"{"then": [{"set": "/a", "base64": "%"}]}"#, "base64"),
        (r#"{"else": [{"set": "/a", "data": "x"}, {"rm": "/a"}]}"#, "/a is written twice"),
    ] {
        sandbox.client(["txn"]).stdin(wrong).finish().expect(2).expect_said(&[
            "stdin: ",
            said,
            "see `twitcher txn --help`",
        ]);
    }
    sandbox.client(["txn", "/no/such/file"]).finish().expect(1).expect_said(&["/no/such/file"]);
    let file = sandbox.path("txn.json");
    std::fs::write(&file, r#"{"then": [{"set": "/a", "data": "x"}]}"#).unwrap();
    sandbox.client(["txn"]).arg(&file).finish().expect(0);
    assert_eq!(get(&sandbox, "/a").as_deref(), Some("x"));
}
