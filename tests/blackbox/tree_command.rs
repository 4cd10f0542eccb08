//! `tree` and `get --json`, on all stores.

use serde_json::{Value, json};

use crate::harness::{Nodes, Sandbox, kazoo, on_every_store};

fn object(sandbox: &Sandbox, args: &[&str]) -> Value {
    let command = args.iter().fold(sandbox.client([]), |command, arg| command.arg(arg));
    serde_json::from_str(&command.finish().expect(0).text()).expect("JSON")
}

// "`twitcher tree NODE` (the nodes below, indented as people expect from tree(1), sorted"
on_every_store!(tree_draws_the_nodes_below_sorted);
fn tree_draws_the_nodes_below_sorted(sandbox: &Sandbox) {
    for (node, data) in
        [("/s/z/x", "1"), ("/s/z/y/deep", ""), ("/s/a-b", "long text"), ("/s/a/b", ""), ("/other", "")]
    {
        sandbox.nodes.set(node, data);
    }
    let tree = |args: &[&str]| {
        args.iter().fold(sandbox.client(["tree", "/s"]), |command, arg| command.arg(arg)).finish()
    };
    let whole = "/s\n├── a\n│   └── b\n├── a-b\n└── z\n    ├── x\n    └── y\n        └── deep\n";
    assert_eq!(tree(&[]).expect(0).text(), whole);
    let cut = "/s\n├── a  … 1 below\n├── a-b\n└── z  … 2 below\n";
    assert_eq!(tree(&["--depth", "1"]).expect(0).text(), cut);
    assert!(tree(&["--size"]).expect(0).text().contains("├── [      9]  a-b\n"));
    let shown = object(sandbox, &["tree", "--json", "/s"]);
    assert_eq!(shown["children"][1], json!({ "znode": "/s/a-b", "size": 9, "children": [] }));
    assert_eq!(shown["children"][2]["children"][1]["children"][0]["znode"], "/s/z/y/deep");
    assert_eq!(object(sandbox, &["tree", "--json", "-L1", "/s"])["children"][2]["children"], 2);
    assert!(sandbox.client(["tree", "/"]).finish().expect(0).text().ends_with("\n            └── deep\n"));
    sandbox.client(["tree", "/missing"]).finish().expect(1).expect_said(&["/missing", "does not exist"]);
}

// One node that cannot be read hides only what is below it.
#[test]
fn a_node_without_rights_hides_only_what_is_below_it() {
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.set("/s/closed/below", "");
    sandbox.nodes.set("/s/open/below", "");
    sandbox.nodes.close_to_everybody("/s/closed");
    let shown = sandbox.client(["tree", "/s"]).finish().expect(1);
    assert_eq!(shown.text(), "/s\n├── closed\n└── open\n    └── below\n");
    shown.expect_said(&["/s/closed", "no permission"]);
}

on_every_store!(a_tree_of_thousands_of_nodes_is_shown_whole);
fn a_tree_of_thousands_of_nodes_is_shown_whole(sandbox: &Sandbox) {
    sandbox.nodes.make("/many");
    sandbox.nodes.create_many((0..3000).map(|number| format!("/many/{number:04}")));
    let shown = sandbox.client(["tree", "/many"]).finish().expect(0).text();
    assert_eq!(shown.lines().count(), 3001);
    assert!(shown.ends_with("├── 2998\n└── 2999\n"));
}

// "`get --json` (object with znode, data or base64, version, and what the store knows of the node"
on_every_store!(get_json_tells_what_the_store_knows);
fn get_json_tells_what_the_store_knows(sandbox: &Sandbox) {
    sandbox.client(["set", "/a/n", "text"]).finish().expect(0);
    let shown = object(sandbox, &["get", "--json", "/a/n"]);
    assert_eq!((&shown["znode"], &shown["data"]), (&json!("/a/n"), &json!("text")));
    // etcd knows revisions, and no times.
    let since = shown["mtime"].as_i64() > Some(1_600_000_000_000) || shown["mod_revision"].as_i64() > Some(0);
    assert!(shown["version"].is_i64() && since, "{shown}");
    sandbox.client(["set", "/a/n", "-"]).stdin(b"\xff\x00").finish().expect(0);
    let shown = object(sandbox, &["get", "--json", "/a/n"]);
    assert_eq!((&shown["base64"], &shown["data"]), (&json!("/wA="), &Value::Null));
    let missing = sandbox.client(["get", "--json", "/missing"]).finish().expect(1);
    assert!(missing.stdout.is_empty());
}

#[test]
fn get_json_has_the_stat_that_kazoo_sees() {
    let sandbox = Sandbox::zookeeper();
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    let script = format!(
        "zk.create('{root}/e', b'abc', ephemeral=True)\nzk.set('{root}/e', b'abcd')\n\
         import json, subprocess\n\
         out = subprocess.run({:?}, capture_output=True, check=True).stdout\n\
         shown = json.loads(out)\ns = zk.get('{root}/e')[1]\n\
         for name in ('czxid mzxid pzxid ctime mtime version cversion aversion '\n\
         \x20            'ephemeralOwner dataLength numChildren').split():\n\
         \x20   assert shown[name] == getattr(s, name), (name, shown, s)\n\
         assert shown['ephemeralOwner'] == zk.client_id[0] and shown['version'] == 1\nprint('same')",
        [env!("CARGO_BIN_EXE_twitcher"), "get", "--json", "/e", "--store", &sandbox.nodes.url()]
    );
    assert_eq!(kazoo(address, &script).trim(), "same");
}
