//! `WATCH_MEMBERS`: "the children of the node with the data of each", on all stores.

mod commands;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{
    Daemon, Journal, Link, Nodes, Sandbox, Store, exec, kazoo, on_every_kind, on_every_server,
    on_every_store, wait_until, watch,
};

/// A watch on the members of `/services/web`.
fn members(action: &str, more: &str) -> String {
    watch("/services/web", action, &format!("watch_type: WATCH_MEMBERS, {more}"))
}

/// Starts a daemon whose action writes the event and its stdin to the journal.
#[track_caller]
fn started(sandbox: &Sandbox) -> (Daemon, Journal) {
    let journal = sandbox.journal();
    sandbox.config("app.twc", members(&exec(&journal.record_event()), ""));
    (sandbox.daemon().arg("--debug").start(), journal)
}

/// The object that the last run got.
fn last(journal: &Journal) -> Option<Value> {
    let line = journal.lines().pop()?;
    serde_json::from_str(line.split_once(' ')?.1).ok()
}

#[track_caller]
fn wait_for_last(journal: &Journal, expected: &Value) {
    wait_until(&format!("the last run to get {expected}"), || last(journal).as_ref() == Some(expected));
}

// "The action's stdin is one JSON object `{name: data, ...}`, sorted, decoded as `services --json` does. It
// runs when a member comes, goes or changes"
on_every_store!(each_coming_change_and_going_is_one_run_with_all_members);
fn each_coming_change_and_going_is_one_run_with_all_members(sandbox: &Sandbox) {
    sandbox.nodes.set("/services/web/b:80", "{\"pid\": 7,\n \"weight\": 1.5}");
    let (daemon, journal) = started(sandbox);
    let mut expected = vec![r#"load {"b:80":{"pid":7,"weight":1.5}}"#];
    journal.wait_for(&expected);
    let mut wait_for_another = |line| {
        expected.push(line);
        journal.wait_for(&expected);
    };
    sandbox.nodes.set("/services/web/a:80", "text");
    wait_for_another(r#"changed {"a:80":{"string_value":"text"},"b:80":{"pid":7,"weight":1.5}}"#);
    sandbox.nodes.set("/services/web/b:80", "{\"weight\": 2}");
    wait_for_another(r#"changed {"a:80":{"string_value":"text"},"b:80":{"weight":2}}"#);
    sandbox.nodes.remove("/services/web/a:80");
    wait_for_another(r#"changed {"b:80":{"weight":2}}"#);
    // Written again with what it said before, and what is no member.
    sandbox.nodes.set("/services/web/b:80", "{\"weight\":2}");
    sandbox.nodes.set("/services/other/c:80", "{}");
    sandbox.nodes.set("/services/web/b:80", "");
    wait_for_another(r#"changed {"b:80":null}"#);
    let seen = || daemon.log_lines(&["/services/web (members): observed"]).len();
    let before = seen();
    sandbox.nodes.remove("/services/web/b:80");
    // Without its last member, a node of etcd is there only if it has a key.
    if matches!(sandbox.nodes, Nodes::Etcd { .. }) {
        wait_until("the daemon to see that it is gone", || seen() > before);
        sandbox.nodes.set("/services/web/c:80", "\n");
        wait_for_another(r#"created {"c:80":{}}"#);
    } else {
        wait_for_another("changed {}");
        sandbox.nodes.set("/services/web/c:80", "\n");
        wait_for_another(r#"changed {"c:80":{}}"#);
    }
}

on_every_store!(the_object_is_what_services_shows);
fn the_object_is_what_services_shows(sandbox: &Sandbox) {
    for (name, data) in [
        ("object", &b"{ \"z\": 1, \"a\": [1, 12345678901234567890123], \"\xc3\xbc\": \"\\u00fc\" }"[..]),
        ("array", b"[1]"),
        ("number", b"7"),
        ("null", b"null"),
        ("cut", b"{\"a\": 1"),
        ("twice", b"{\"a\": 1, \"a\": 2}"),
        ("nul", b"a\0b"),
        ("binary", b"\xff\xfe"),
        ("plain", b"{\"$bytes\": \"aGk=\"}"),
        ("empty", b""),
        ("space", b" \n\t"),
        ("quote\"d\\", b"{}"),
        ("\u{fc}nic\u{f6}de", b"{}"),
    ] {
        sandbox.nodes.set(&format!("/services/web/{name}"), data);
    }
    let deep = [&b"{\"a\":".repeat(127)[..], b"1", &b"}".repeat(127)].concat();
    sandbox.nodes.set("/services/web/deep", deep);
    let (_daemon, journal) = started(sandbox);
    let shown = sandbox.client(["services", "/services/web", "--json"]).finish().expect(0).text();
    // What nests deeper than others read is compared as text.
    let shown = shown.replace(&"{\"a\":".repeat(127), "[").replace(&"}".repeat(127), "]");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    journal.wait_for_line_where("the members", |line| line.starts_with("load "));
    let line = journal.lines()[0].replace(&"{\"a\":".repeat(127), "[").replace(&"}".repeat(127), "]");
    let object: Value = serde_json::from_str(line.split_once(' ').unwrap().1).expect("JSON");
    assert_eq!(object, shown["children"]);
    assert_eq!(object["empty"], Value::Null);
    assert_eq!((&object["space"], &object["nul"]), (&json!({}), &json!({ "string_value": "a\0b" })));
    assert_eq!(object["binary"], json!({ "string_value": { "$bytes": "//4=" } }));
    let names = object.as_object().unwrap().keys();
    assert!(names.is_sorted() && line.find("\"array\"") < line.find("\"binary\""));
    // Its lines, one a member, are the same texts.
    let listed = sandbox.client(["services", "/services/web"]).finish().expect(0).text();
    for member in listed.lines().filter(|line| !line.contains("deep") && !line.contains('\\')) {
        let (name, said) = member.split_once(' ').unwrap();
        assert!(line.contains(&format!("\"{name}\":{said}")), "{member} in {line}");
    }
}

// "a missing node is Absent as for children; grandchildren do not matter (their creation changes nothing)"
on_every_store!(a_missing_service_is_waited_for_and_what_is_below_a_member_changes_nothing);
fn a_missing_service_is_waited_for_and_what_is_below_a_member_changes_nothing(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    sandbox.config("app.twc", members(&exec(&journal.record_event()), "run_on_delete: true"));
    let daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["/services/web (members): observed"]);
    sandbox.nodes.make("/services");
    sandbox.nodes.make("/services/web");
    journal.wait_for(&["created {}"]);
    sandbox.nodes.make("/services/web/a");
    journal.wait_for(&["created {}", "changed {\"a\":null}"]);
    sandbox.nodes.set("/services/web/a/below", "1");
    sandbox.nodes.set("/services/web/a/below", "2");
    sandbox.nodes.set("/services/web/b", "{}");
    let expected = ["created {}", "changed {\"a\":null}", "changed {\"a\":null,\"b\":{}}"];
    journal.wait_for(&expected);
    sandbox.client(["rm", "/services/web", "--recursive"]).finish().expect(0);
    // The members can go one by one before, and the node last.
    journal.wait_for_line_where("the deletion", |line| line.trim_end() == "deleted");
    sandbox.nodes.set("/services/web/a", "");
    // On ZooKeeper, the service can be seen before its member.
    wait_until("the creation", || {
        let lines = journal.lines();
        let after: Vec<_> = lines.iter().rev().take_while(|line| line.trim_end() != "deleted").collect();
        after.first().is_some_and(|line| line.contains("{\"a\":null}"))
            && after.last().is_some_and(|line| line.starts_with("created "))
    });
}

// "stdin, functions have `event.members`"
on_every_store!(a_function_gets_the_members);
fn a_function_gets_the_members(sandbox: &Sandbox) {
    let output = sandbox.path("output");
    sandbox.nodes.set("/services/web/a:80", "{\"weight\": 3}");
    sandbox.nodes.set("/services/web/b:80", "text");
    let function = format!(
        "|event| {{ let text = `${{event.event}} ${{event.members.len()}}`; \
         for name in event.members.keys() {{ text += ` ${{name}}=${{event.members[name]}}`; }} \
         write_file({:?}, text); }}",
        output.to_str().unwrap()
    );
    sandbox.config("app.twc", members(&function, ""));
    let _daemon = sandbox.start();
    let expected = "load 2 a:80=#{\"weight\": 3} b:80=#{\"string_value\": \"text\"}";
    wait_until("the function's file", || fs::read_to_string(&output).is_ok_and(|text| text == expected));
}

// "guards count members"
on_every_store!(a_guard_counts_members);
fn a_guard_counts_members(sandbox: &Sandbox) {
    for name in ["a", "b", "c", "d"] {
        sandbox.nodes.set(&format!("/services/web/{name}"), "{}");
    }
    sandbox.nodes.make("/services/web");
    let journal = sandbox.journal();
    let guard = "guard: #{ max_shrink: 10, not_empty: true }";
    sandbox.config("app.twc", members(&exec(&journal.record_event()), guard));
    let daemon = sandbox.start();
    journal.wait_for(&["load {\"a\":{},\"b\":{},\"c\":{},\"d\":{}}"]);
    // What each says may become less.
    sandbox.nodes.set("/services/web/a", "");
    journal.wait_for_last("changed {\"a\":null,\"b\":{},\"c\":{},\"d\":{}}");
    for name in ["a", "b", "c"] {
        sandbox.nodes.remove(&format!("/services/web/{name}"));
    }
    daemon.wait_for_log(&["(members)", "has 1 member, where the last success had 4 (max_shrink: 10)"]);
    let status = sandbox.operator(["status", "--json"]).finish().expect(0).text();
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["watches"][0]["watch_type"], "members", "{status}");
    let history = sandbox.operator(["history", "--json"]).finish().expect(0).text();
    let run: Value = serde_json::from_str(history.lines().next().unwrap()).expect("JSON");
    assert_eq!(run["watch_type"], "members", "{history}");
    sandbox.operator(["trigger", "--force", "app.twc-1"]).finish().expect(0);
    journal.wait_for_last("trigger {\"d\":{}}");
}

// "Nothing runs for nothing": not after a restart of the daemon either.
on_every_store!(a_restart_runs_nothing_and_finds_what_changed_meanwhile);
fn a_restart_runs_nothing_and_finds_what_changed_meanwhile(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    sandbox.nodes.set("/services/web/a", "1");
    sandbox.config("app.twc", members(&exec(&journal.record_event()), "run_on_load: CHANGED"));
    let first = r#"load {"a":{"string_value":"1"}}"#;
    for _ in 0..2 {
        let mut daemon = sandbox.daemon().arg("--debug").start();
        daemon.wait_for_log(&["/services/web (members): observed"]);
        journal.wait_for(&[first]);
        // A run that is interrupted runs again.
        wait_until("the end of the run", || {
            let history = sandbox.operator(["history", "--json"]).finish().expect(0).text();
            history.lines().count() == 1 && history.contains("\"success\"")
        });
        // The same once more is no change.
        sandbox.nodes.set("/services/web/a", "1");
        daemon.kill();
    }
    sandbox.nodes.set("/services/web/a", "2");
    let _daemon = sandbox.start();
    journal.wait_for(&[first, r#"load {"a":{"string_value":"2"}}"#]);
}

// "never with a member missing because it could not be read"
#[test]
fn a_member_that_its_acl_hides_is_named_and_stops_the_runs_until_it_can_be_read() {
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.set("/services/web/a", "1");
    let (daemon, journal) = started(&sandbox);
    let first = r#"load {"a":{"string_value":"1"}}"#;
    journal.wait_for(&[first]);
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    let locked =
        "[make_acl('world', 'anyone', read=False, write=True, create=True, delete=True, admin=True)]";
    kazoo(address, &format!("zk.create('{root}/services/web/b', b'secret', acl={locked})"));
    daemon.wait_for_log(&["(members): cannot be read", "/services/web/b", "no permission", "app.twc-1"]);
    sandbox.nodes.set("/services/web/a", "2");
    sandbox.nodes.set("/services/web/c", "3");
    daemon.wait_for_log(&["/services/web"]);
    journal.wait_for(&[first]);
    kazoo(address, &format!("zk.set_acls('{root}/services/web/b', OPEN_ACL_UNSAFE)"));
    let said = |text: &str| json!({ "string_value": text });
    let all = json!({ "a": said("2"), "b": said("secret"), "c": said("3") });
    journal.wait_for(&[first, &format!("changed {all}")]);
    assert_eq!(daemon.log_lines(&["cannot be read"]).len(), 1, "said once");
}

// A link to nowhere is listed, and is no node.
#[test]
fn a_link_to_nowhere_in_a_directory_is_no_member() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/services/web/a", "1");
    let (_daemon, journal) = started(&sandbox);
    journal.wait_for(&[r#"load {"a":{"string_value":"1"}}"#]);
    let Nodes::Directory(root) = &sandbox.nodes else { unreachable!() };
    std::os::unix::fs::symlink("nowhere", root.join("services/web/link")).expect("a link");
    fs::write(root.join(OsStr::from_bytes(b"services/web/\xff")), "binary").expect("a file");
    sandbox.nodes.set("/services/web/b", "2");
    let all = json!({ "a": { "string_value": "1" }, "b": { "string_value": "2" } });
    journal.wait_for(&[r#"load {"a":{"string_value":"1"}}"#, &format!("changed {all}")]);
}

// "never for one half of a change": a transaction replaces members by others, and changes the rest.
on_every_server!(what_happens_at_once_is_given_at_once);
fn what_happens_at_once_is_given_at_once(store: Store) {
    const GENERATIONS: usize = 40;
    let sandbox = Sandbox::of_kind(store);
    sandbox.nodes.set("/services/web/all", "0");
    sandbox.nodes.set("/services/web/m0", "0");
    let (_daemon, journal) = started(&sandbox);
    for generation in 1..=GENERATIONS {
        let transaction = json!({ "if": [], "then": [
            { "rm": format!("/services/web/m{}", generation - 1) },
            { "set": format!("/services/web/m{generation}"), "data": generation.to_string() },
            { "set": "/services/web/all", "data": generation.to_string() },
        ] });
        let file = sandbox.path("txn.json");
        fs::write(&file, transaction.to_string()).expect("write it");
        sandbox.client(["txn"]).arg(&file).finish().expect(0);
    }
    let said = |generation: usize| json!({ "string_value": generation.to_string() });
    let of = |generation: usize| {
        let name = format!("m{generation}");
        Value::from(serde_json::Map::from_iter([("all".into(), said(generation)), (name, said(generation))]))
    };
    wait_for_last(&journal, &of(GENERATIONS));
    for line in journal.lines() {
        let object: Value = serde_json::from_str(line.split_once(' ').unwrap().1).expect("JSON");
        let generation = object["all"]["string_value"].as_str().unwrap().parse().unwrap();
        assert_eq!(object, of(generation), "half of a change");
    }
}

on_every_store!(a_thousand_members_are_one_object);
fn a_thousand_members_are_one_object(sandbox: &Sandbox) {
    sandbox.nodes.make("/services");
    sandbox.nodes.make("/services/web");
    let name = |n: usize| format!("host{n:04}:8080");
    sandbox.nodes.create_many((0..1000).map(|n| format!("/services/web/{}", name(n))));
    let (_daemon, journal) = started(sandbox);
    let all: BTreeMap<String, Value> =
        (0..1000).map(|n| (name(n), json!({ "string_value": "old" }))).collect();
    wait_for_last(&journal, &json!(all));
    sandbox.nodes.set(&format!("/services/web/{}", name(7)), "new");
    let mut changed = all;
    changed.insert(name(7), json!({ "string_value": "new" }));
    wait_for_last(&journal, &json!(changed));
    assert_eq!(journal.lines().len(), 2);
}

// "At rest, the last run has exactly the true members": while sessions expire, the network is cut, and the
// process of the store is killed.
on_every_kind!(at_rest_the_last_run_has_the_true_members_whatever_happened);
fn at_rest_the_last_run_has_the_true_members_whatever_happened(store: Store) {
    let (link, sandbox) = Link::start(store);
    let journal = sandbox.journal();
    sandbox.nodes.make("/services");
    sandbox.nodes.make("/services/web");
    sandbox.config("app.twc", members(&exec(&journal.record_event()), ""));
    let daemon = link.daemon(&sandbox).start();
    journal.wait_for(&["load {}"]);
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let done = AtomicBool::new(false);
    let expected = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let expected = change_at_random(&sandbox.nodes, seed);
            done.store(true, Ordering::Release);
            expected
        });
        let mut round = 0;
        while !done.load(Ordering::Acquire) && !writer.is_finished() {
            round += 1;
            match round % 3 {
                0 => daemon.process().halves().into_iter().for_each(|half| half.signal(Signal::SIGKILL)),
                _ => link.interrupt(&sandbox),
            }
        }
        writer.join().expect("the changes are made")
    });
    wait_for_last(&journal, &expected);
    // Nothing is under way any more: the next run is for the next change.
    let runs = journal.lines().len();
    sandbox.nodes.set("/services/web/end", "over");
    let mut expected = expected;
    expected["end"] = json!({ "string_value": "over" });
    wait_for_last(&journal, &expected);
    assert_eq!(journal.lines().len(), runs + 1);
}

/// Creates, changes and removes members. Returns what is there at the end.
fn change_at_random(nodes: &Nodes, seed: u64) -> Value {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut there = BTreeMap::new();
    for number in 0..600 {
        let name = format!("m{}", chance.usize(..40));
        let node = format!("/services/web/{name}");
        if there.contains_key(&name) && chance.bool() {
            nodes.remove(&node);
            there.remove(&name);
        } else {
            nodes.set(&node, number.to_string());
            there.insert(name, json!({ "string_value": number.to_string() }));
        }
    }
    nodes.set("/services/web/end", "end");
    there.insert("end".to_owned(), json!({ "string_value": "end" }));
    json!(there)
}

// "members that they write are read ... by `WATCH_MEMBERS`": ephemeral ones, which go with their session.
#[test]
fn members_that_kazoo_holds_go_with_its_session() {
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.make("/services");
    sandbox.nodes.make("/services/web");
    let (_daemon, journal) = started(&sandbox);
    journal.wait_for(&["load {}"]);
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    let script = format!(
        "import time\n\
         t = zk.transaction()\n\
         t.create('{root}/services/web/h:1', b'{{\"pid\":1}}', ephemeral=True)\n\
         t.create('{root}/services/web/h:2', b'{{\"pid\":2}}', ephemeral=True)\n\
         t.commit()\n\
         end = time.time() + 30\n\
         while '\"h:2\"' not in open({:?}).read():\n    assert time.time() < end\n    time.sleep(0.01)",
        journal.path()
    );
    kazoo(address, &script);
    journal.wait_for(&["load {}", r#"changed {"h:1":{"pid":1},"h:2":{"pid":2}}"#, "changed {}"]);
}

// Rows of a typed table are members of the table.
#[test]
fn rows_are_the_members_of_their_table() {
    let sandbox = Sandbox::of_kind(Store::Etcd);
    let slot = 20_000 + u16::try_from(std::process::id() % 20_000).unwrap();
    let node = |key: &str| format!("/@{slot}:oid{key}");
    let set = |key: &str, data: &str| sandbox.client(["set", &node(key), data]).finish().expect(0);
    set("/10", "{\"a\": 1}");
    let journal = sandbox.journal();
    let action = exec(&journal.record_event());
    sandbox.config("app.twc", watch(&node(""), &action, "watch_type: WATCH_MEMBERS"));
    let _daemon = sandbox.start();
    journal.wait_for(&[r#"load {"10":{"a":1}}"#]);
    set("/2", "two");
    journal.wait_for(&[r#"load {"10":{"a":1}}"#, r#"changed {"10":{"a":1},"2":{"string_value":"two"}}"#]);
    for key in ["/2", "/10"] {
        sandbox.client(["rm", &node(key)]).finish().expect(0);
    }
}
