//! `services` and `properties`, and stores that nothing may write, on all stores.

use serde_json::{Value, json};

use crate::harness::{Nodes, Sandbox, Store, Twitcher, kazoo, on_every_store};

fn parsed(sandbox: &Sandbox, args: &[&str]) -> Value {
    let command = args.iter().fold(sandbox.client([]), |command, arg| command.arg(arg));
    serde_json::from_str(&command.finish().expect(0).text()).expect("JSON")
}

// "`services` prints a member a line (name, then its data as compact JSON); `--json` one object `{"path",
// "data", "children": {name: data}, "stat": {...}}` with ndServiceRegistry's decoding. No such node: exit 1."
on_every_store!(services_lists_the_members_with_their_data);
fn services_lists_the_members_with_their_data(sandbox: &Sandbox) {
    // A directory has no data of its own.
    let has_data = !matches!(sandbox.nodes, Nodes::Directory { .. });
    if has_data {
        sandbox.nodes.set("/services/web", "{\"owner\": \"ops\"}");
    }
    for (node, data) in [
        ("/services/web/b:80", "{\"weight\": 1.5,\n \"pid\": 7}"),
        ("/services/web/a:80", "text"),
        ("/services/web/c:80", " \n"),
        ("/services/web/d:80", ""),
        ("/services/other/x:80", "{}"),
    ] {
        sandbox.nodes.set(node, data);
    }
    let listed = sandbox.client(["services", "/services/web"]).finish().expect(0).text();
    // Its keys are sorted, whatever their order in the data.
    let expected = "a:80 {\"string_value\":\"text\"}\nb:80 {\"pid\":7,\"weight\":1.5}\nc:80 {}\nd:80 null\n";
    assert_eq!(listed, expected);
    let shown = parsed(sandbox, &["services", "/services/web", "--json"]);
    let own = if has_data { json!({ "owner": "ops" }) } else { Value::Null };
    assert_eq!((&shown["path"], &shown["data"]), (&json!("/services/web"), &own));
    let members = json!({
        "a:80": { "string_value": "text" }, "b:80": { "pid": 7, "weight": 1.5 }, "c:80": {}, "d:80": null
    });
    assert_eq!(shown["children"], members);
    assert!(shown["stat"]["version"].is_i64(), "{shown}");
    // A node is one without members as well.
    let alone = parsed(sandbox, &["services", "/services/web/b:80", "--json"]);
    assert_eq!((&alone["data"]["pid"], &alone["children"]), (&json!(7), &json!({})));
    sandbox.client(["services", "/services/none"]).finish().expect(1).expect_said(&["/services/none"]);
}

// "`--update` merges, `--replace` replaces all"
on_every_store!(properties_are_read_and_changed);
fn properties_are_read_and_changed(sandbox: &Sandbox) {
    let properties = |args: &[&str]| {
        args.iter().fold(sandbox.client(["properties", "/p"]), |command, arg| command.arg(arg)).finish()
    };
    properties(&[]).expect(1).expect_said(&["/p"]);
    properties(&["--update", "weight=10", "name=web 1", "on=true", "list=[1, 2]"]).expect(0);
    let expected = "{\"weight\":10,\"name\":\"web 1\",\"on\":true,\"list\":[1,2]}\n";
    assert_eq!(properties(&[]).expect(0).text(), expected);
    assert_eq!(properties(&["name"]).expect(0).text(), "web 1\n");
    assert_eq!(properties(&["list"]).expect(0).text(), "[1,2]\n");
    properties(&["none"]).expect(1).expect_said(&["/p", "none"]);
    properties(&["--update", "weight=\"10\"", "new=a=b"]).expect(0);
    properties(&["--unset", "on", "list", "unknown"]).expect(0);
    assert_eq!(
        parsed(sandbox, &["properties", "/p"]),
        json!({ "weight": "10", "name": "web 1", "new": "a=b" })
    );
    properties(&["--replace", "only=1"]).expect(0);
    assert_eq!(sandbox.client(["get", "/p"]).finish().expect(0).text(), "{\"only\":1}");
    for wrong in [&["--update", "weight"][..], &["--update", "=1"], &["--update", "a=1", "--unset", "b"]] {
        properties(wrong).expect(2);
    }
    // "What is no JSON object is shown as `{"string_value": ...}`"
    sandbox.client(["set", "/p", "plain"]).finish().expect(0);
    assert_eq!(parsed(sandbox, &["properties", "/p"]), json!({ "string_value": "plain" }));
    properties(&["--update", "string_value=other"]).expect(0);
    assert_eq!(sandbox.client(["get", "/p"]).finish().expect(0).text(), "other");
    sandbox.client(["set", "/p", "-"]).stdin(b"\xff").finish().expect(0);
    properties(&["--update", "a=1"]).expect(1).expect_said(&["/p", "UTF-8"]);
}

// What would be an object but for a fault keeps its properties: it is never wrapped as a `string_value`.
on_every_store!(an_object_with_a_fault_is_changed_by_nobody_but_replace);
fn an_object_with_a_fault_is_changed_by_nobody_but_replace(sandbox: &Sandbox) {
    for (data, place) in [
        ("{\"a\": 1, \"b\": 2, \"a\": 3}", "line 1, column 20: duplicate key \"a\""),
        ("{\"a\": 1e400}", "line 1, column 11: number out of range"),
        ("{\"a\": 1,\n}", "line 2, column 1: "),
    ] {
        sandbox.nodes.set("/p", data);
        for change in [["--update", "x=1"], ["--unset", "a"]] {
            let refused = sandbox.client(["properties", "/p"]).args(change).finish().expect(1);
            refused.expect_said(&["/p", place, "nothing was written", "--replace"]);
            assert_eq!(sandbox.nodes.get("/p").as_deref(), Some(data.as_bytes()));
        }
        assert_eq!(parsed(sandbox, &["properties", "/p"]), json!({ "string_value": data }));
        sandbox.client(["properties", "/p", "--replace", "x=1"]).finish().expect(0);
        assert_eq!(parsed(sandbox, &["properties", "/p"]), json!({ "x": 1 }));
    }
}

// "both compare-and-set with retry"
on_every_store!(properties_that_many_change_at_once_lose_nothing);
fn properties_that_many_change_at_once_lose_nothing(sandbox: &Sandbox) {
    std::thread::scope(|scope| {
        for writer in 0..4 {
            scope.spawn(move || {
                for number in 0..5 {
                    let property = format!("w{writer}n{number}={number}");
                    sandbox.client(["properties", "/p", "--update", &property]).finish().expect(0);
                }
            });
        }
    });
    let object = parsed(sandbox, &["properties", "/p"]);
    assert_eq!(object.as_object().map(serde_json::Map::len), Some(20), "{object}");
}

// A change of its properties must not end the life of what hangs on a session or a lease.
#[test]
fn a_member_of_a_lease_keeps_it_when_its_properties_change() {
    let sandbox = Sandbox::of_kind(Store::Etcd);
    let lease = || parsed(&sandbox, &["get", "--json", "/m"])["lease"].clone();
    sandbox.client(["set", "/m", "{}", "--ttl", "3600"]).finish().expect(0);
    let before = lease();
    assert_ne!(before, json!("0"));
    sandbox.client(["properties", "/m", "--update", "weight=1"]).finish().expect(0);
    assert_eq!(lease(), before);
}

#[test]
fn members_that_kazoo_wrote_are_read() {
    let sandbox = Sandbox::zookeeper();
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    let script = format!(
        "zk.create('{root}/s/h:1',\n\
         \x20         b'{{\"pid\":10733,\"created\":\"2012-12-15 00:45:03\"}}', ephemeral=True,\n\
         \x20         makepath=True)\nimport subprocess\n\
         print(subprocess.run({:?}, capture_output=True, check=True, text=True).stdout)",
        [env!("CARGO_BIN_EXE_twitcher"), "services", "/s", "--store", &sandbox.nodes.url()]
    );
    let expected = "h:1 {\"created\":\"2012-12-15 00:45:03\",\"pid\":10733}";
    assert_eq!(kazoo(address, &script).trim(), expected);
}

// "`readonly = true` in a store's block of `twitcher.toml`: every write through it is refused with a clear
// error."
on_every_store!(nothing_writes_through_a_store_that_is_readonly);
fn nothing_writes_through_a_store_that_is_readonly(sandbox: &Sandbox) {
    sandbox.nodes.set("/n", "kept");
    let url = sandbox.nodes.url();
    let file = sandbox.path("input");
    let file = file.to_str().expect("a path");
    for (settings, store) in [
        (format!("store = \"{url}\"\nreadonly = true\n"), None),
        (format!("[stores.prod]\nurl = \"{url}\"\nreadonly = true\n"), Some("prod")),
    ] {
        sandbox.settings(&settings);
        let client = |args: &[&str]| {
            let store = store.map(|store| ["--store", store]).into_iter().flatten();
            let client = sandbox.twitcher([]).env("TWITCHER_CONFIG_PATH", sandbox.configs());
            args.iter().copied().chain(store).fold(client, Twitcher::arg)
        };
        let refused = |args: &[&str]| {
            client(args).finish().expect(1).expect_said(&["read-only", "twitcher.toml", &url]);
        };
        assert_eq!(client(&["get", "/n"]).finish().expect(0).text(), "kept");
        refused(&["set", "/n", "other"]);
        refused(&["set", "/new", "other", "--retry", "60"]);
        refused(&["poke", "/n"]);
        refused(&["rm", "/n"]);
        refused(&["rm", "/n", "--recursive"]);
        refused(&["rm", "/n", "--if-version", "1"]);
        refused(&["properties", "/n", "--update", "a=1"]);
        std::fs::write(file, "{\"znode\":\"/new\",\"data\":\"x\"}\n").expect("write it");
        client(&["import", file, "--dry-run"]).finish().expect(0);
        refused(&["import", file]);
        match &sandbox.nodes {
            Nodes::Directory(_) => {}
            Nodes::ZooKeeper { .. } => refused(&["set", "/n", "--acl", "open"]),
            Nodes::Etcd { .. } => refused(&["tables", "attach", "T"]),
        }
        if !matches!(sandbox.nodes, Nodes::Directory(_)) {
            std::fs::write(file, "{\"if\": [], \"then\": [{\"get\": \"/n\"}]}").expect("write it");
            client(&["txn", file]).finish().expect(0);
            std::fs::write(file, "{\"if\": [], \"then\": [{\"rm\": \"/n\"}]}").expect("write it");
            refused(&["txn", file]);
        }
        // Nobody edits what cannot be written.
        let editor = format!("touch {};", sandbox.path("edited").display());
        let edit = client(&["edit", "/n"]).env("VISUAL", editor).finish().expect(1);
        edit.expect_said(&["read-only", "twitcher.toml"]);
        assert!(!sandbox.has("edited"));
        // Another URL is another store.
        let elsewhere = format!("dir:{}", sandbox.path("elsewhere").display());
        let other = sandbox.twitcher(["set", "/n", "x", "--store", &elsewhere]);
        other.env("TWITCHER_CONFIG_PATH", sandbox.configs()).finish().expect(0);
    }
    assert_eq!(sandbox.client(["ls", "/"]).finish().expect(0).text(), "n\n");
    assert_eq!(sandbox.client(["get", "/n"]).finish().expect(0).text(), "kept");
}
