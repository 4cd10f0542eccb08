//! What mirrors the heads of a keeper, as Rainer's `CommitKeeper.mirror` does.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{CommitServer, Sandbox, wait_until};

// docs/publishing.md: "A mirror of all heads in a file of its host"
#[test]
fn a_watch_of_the_tree_keeps_a_mirror_of_all_heads() {
    let sandbox = Sandbox::directory();
    let (url, place) = (sandbox.nodes.url(), sandbox.path("mirror"));
    std::fs::create_dir(&place).unwrap();
    let server = CommitServer::diary(&format!("store = \"{url}\"\npath = \"/config/diary\""));
    let document = include_str!("../../../docs/publishing.md");
    let (_, watch) = document.split_once("RegisterWatch(#{\n    description: \"mirror\"").expect("the watch");
    let (watch, _) = watch.split_once("```").expect("its end");
    let export = format!("{} export --store {url} ", env!("CARGO_BIN_EXE_twitcher"));
    let watch = watch.replace("/usr/sbin/twitcher export ", &export);
    let watch = watch.replace("/var/lib/diary", place.to_str().expect("a path"));
    assert!(watch.contains(&export) && watch.contains("/mirror"), "{watch}");
    sandbox.config("mirror.twc", format!("RegisterWatch(#{{ description: \"mirror\"{watch}"));
    let heads = || {
        let text = sandbox.read_text("mirror/heads.jsonl");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("an object"));
        let head = |line: Value| {
            let key = line["znode"].as_str()?.strip_prefix("/config/diary/data/")?.to_owned();
            Some((key, line["value"].as_str()?.to_owned()))
        };
        lines.filter_map(head).collect::<BTreeMap<_, _>>()
    };
    let expected = |heads: &[(&str, &str)]| {
        heads.iter().map(|(key, payload)| ((*key).to_owned(), (*payload).to_owned())).collect()
    };
    for key in ["bar", "foo"] {
        assert_eq!(server.save(key, 1, b"one").status, 200);
    }
    let _daemon = sandbox.start();
    wait_until("the mirror", || sandbox.has("mirror/heads.jsonl"));
    wait_until("all heads", || heads() == expected(&[("bar", "one"), ("foo", "one")]));
    // No key comes or goes.
    assert_eq!(server.save("foo", 2, b"two").status, 200);
    wait_until("another version", || heads() == expected(&[("bar", "one"), ("foo", "two")]));
    assert_eq!(server.save("new", 1, b"{}").status, 200);
    let removal = [("X-Rainer-Author", "eva"), ("X-Rainer-Empty", "Yes")];
    assert_eq!(server.ask("POST", "/diary/bar/2", &removal, b"").status, 200);
    wait_until("what was saved since", || heads() == expected(&[("foo", "two"), ("new", "{}")]));
}
