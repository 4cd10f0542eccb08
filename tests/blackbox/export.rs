//! `twitcher export`, read by other programs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Etcd, Proxy, Sandbox, Server, ZooKeeper, kazoo, on_every_store, python, wait_until};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

// "writes a tree as JSON lines `{"znode", "data"|"base64", "version"}`"
on_every_store!(a_tree_is_written_a_node_a_line);
fn a_tree_is_written_a_node_a_line(sandbox: &Sandbox) {
    sandbox.nodes.make("/app");
    for (node, data) in [
        ("/app/a", &b"two\nlines, \"quoted\" \xc3\xbc"[..]),
        ("/app/a-b", b"\xff\x00"),
        ("/app/c/d", b""),
        ("/application", b"beside"),
    ] {
        sandbox.nodes.set(node, data);
    }
    let exported = sandbox.client(["export", "/app"]).finish().expect(0);
    let found = lines(&exported.text());
    assert_eq!(found[0]["znode"], "/app");
    let node = |name: &str| found.iter().find(|line| line["znode"] == name).cloned().unwrap_or_default();
    assert_eq!(node("/app/a")["data"], "two\nlines, \"quoted\" \u{fc}");
    assert_eq!(node("/app/a-b")["base64"], "/wA=");
    assert_eq!(node("/app/c/d")["data"], "");
    assert_eq!(node("/application"), Value::Null);
    let shown = sandbox.client(["get", "--json", "/app/a"]).finish().expect(0).text();
    assert_eq!(node("/app/a")["version"], serde_json::from_str::<Value>(&shown).unwrap()["version"]);

    let array = sandbox.client(["export", "/app", "--format", "json"]).finish().expect(0).text();
    assert_eq!(serde_json::from_str::<Vec<Value>>(&array).expect("an array"), found);
    let csv = sandbox.client(["export", "/app", "--format", "csv"]).finish().expect(0);
    std::fs::write(sandbox.path("app.csv"), csv.stdout).unwrap();
    let script = format!(
        "import csv\nfor row in csv.DictReader(open({:?}, newline='')):\n  \
         print(row['znode'], repr(row['data']), row['base64'])",
        sandbox.path("app.csv")
    );
    let rows = python(&script);
    assert!(rows.contains("/app/a 'two\\nlines, \"quoted\" \u{fc}' \n"), "{rows}");
    assert!(rows.contains("/app/a-b '' /wA=\n"), "{rows}");
    sandbox.client(["export", "/missing"]).finish().expect(1).expect_said(&["/missing", "does not exist"]);
}

// "--decode gives the decoded value"
on_every_store!(decoded_values_take_the_place_of_data);
fn decoded_values_take_the_place_of_data(sandbox: &Sandbox) {
    sandbox.nodes.make("/app");
    sandbox.nodes.set("/app/good", "{\"a\": [1, 2.5]}");
    let exported = sandbox.client(["export", "/app", "--decode", "json"]).finish().expect(0);
    let found = lines(&exported.text());
    assert_eq!((&found[0]["data"], &found[1]["value"]), (&json!(""), &json!({ "a": [1, 2.5] })));
    sandbox.nodes.set("/app/bad", "{");
    let exported = sandbox.client(["export", "/app", "--decode", "json"]).finish().expect(1);
    assert!(lines(&exported.text()).iter().any(|line| line["data"] == "{"));
    exported.expect_said(&["node /app/bad is exported as it is: it "]);
}

// "consistent at one revision on etcd"
#[test]
fn on_etcd_an_export_shows_one_moment() {
    let sandbox = Sandbox::on(Etcd::shared());
    sandbox.nodes.create_many((0..1000).map(|number| format!("/t/{number:03}")));
    let pair = ["/t/000".to_owned(), "/t/999".to_owned()];
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut value = 0;
            while !is_done.load(Ordering::Relaxed) {
                sandbox.nodes.set_together(&pair, [value]);
                value += 1;
            }
        });
        let pairs: Vec<_> = (0..15)
            .map(|_| {
                let exported = sandbox.client(["export", "/t"]).finish().text();
                let found = lines(&exported);
                // The root has no key of its own.
                (found.len(), found[1]["data"].clone(), found[found.len() - 1]["data"].clone())
            })
            .collect();
        is_done.store(true, Ordering::Relaxed);
        assert!(pairs.iter().all(|(nodes, first, last)| *nodes == 1001 && first == last), "{pairs:?}");
        assert!(pairs.first() != pairs.last(), "nothing changed meanwhile");
    });
}

// What belongs to a session or a lease is not carried away from it.
#[test]
fn what_lives_as_long_as_a_session_or_a_lease_is_left_out_and_counted() {
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.set("/s/stays", "x");
    let (address, root) = (ZooKeeper::shared().address(), sandbox.nodes.root());
    let binary = env!("CARGO_BIN_EXE_twitcher");
    let url = sandbox.nodes.url();
    let said = kazoo(
        &address,
        &format!(
            "import subprocess\nzk.create('{root}/s/fleeting', b'', ephemeral=True)\n\
             done = subprocess.run(['{binary}', 'export', '/s', '--store', '{url}'], capture_output=True)\n\
             print(done.returncode, done.stdout.decode(), done.stderr.decode())"
        ),
    );
    assert!(said.starts_with("0 ") && said.contains("/s/stays") && !said.contains("fleeting"), "{said}");
    assert!(said.contains("1 node left out") && said.contains("ACLs are not exported"), "{said}");

    let sandbox = Sandbox::on(Etcd::shared());
    sandbox.nodes.set("/s/stays", "x");
    let etcd = sandbox.nodes.etcd();
    etcd.set_leased("/s/fleeting", b"", &etcd.grant(600));
    etcd.set_key(b"/s/\xff", b"no path");
    etcd.set("/s//double", b"no path");
    let exported = sandbox.client(["export", "/s"]).finish().expect(0);
    assert_eq!(lines(&exported.text()).len(), 2);
    exported.expect_said(&[
        "1 node left out, because it lives",
        "2 keys left out, because they are no node paths",
    ]);
    // They stay, whatever is mirrored.
    sandbox.client(["import", "--mirror"]).stdin(exported.text()).finish().expect(0);
    let exported = sandbox.client(["export", "/s"]).finish().expect(0);
    exported.expect_said(&[
        "1 node left out, because it lives",
        "2 keys left out, because they are no node paths",
    ]);
}

// "one that may not be read: an error at the end naming it, the rest is written"
#[test]
fn a_node_without_rights_is_named_and_the_rest_is_written() {
    let sandbox = Sandbox::zookeeper();
    for node in ["/s/closed/below", "/s/open/below"] {
        sandbox.nodes.set(node, "x");
    }
    sandbox.nodes.close_to_everybody("/s/closed");
    let exported = sandbox.client(["export", "/s"]).finish().expect(1);
    let found: Vec<_> = lines(&exported.text()).into_iter().map(|line| line["znode"].clone()).collect();
    assert_eq!(found, ["/s", "/s/open", "/s/open/below"]);
    exported.expect_said(&["node /s/closed is not exported", "no permission"]);
}

// An import must not take a part for the whole: with --mirror, it would remove the rest.
#[test]
fn an_export_that_is_cut_off_is_no_import() {
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.set("/many", "");
    sandbox.nodes.create_many((0..20_000).map(|number| format!("/many/{number}")));
    let proxy = Proxy::to(&ZooKeeper::shared().address());
    proxy.delay(Duration::from_millis(20));
    let store = sandbox.nodes.url_by_way_of(&proxy.address());
    let export = sandbox.twitcher(["export", "/many", "--store", &store]);
    let out = sandbox.path("export").display().to_string();
    let export = export.under(["sh", "-c", &format!("exec \"$0\" \"$@\" >{out}")]);
    let mut export = export.start();
    let written = || std::fs::metadata(&out).is_ok_and(|file| file.len() > 0);
    wait_until("a part of the export", written);
    proxy.refuse();
    assert_eq!(export.wait_for_exit(), Some(1));
    export.wait_for_log(&["ends in the middle of a line"]);
    let number = sandbox.read_text("export").lines().count();
    let import = sandbox.client(["import", &out, "--mirror"]).finish().expect(1);
    import.expect_said(&[&format!("{out}:{number}: the file ends in the middle of this line")]);
    assert_eq!(sandbox.client(["ls", "/many"]).finish().text().lines().count(), 20_000);
}

// "Whoever reads what is exported may have taken long": longer than a session lives in silence.
on_every_store!(a_reader_that_stalls_longer_than_the_session_timeout_gets_all);
fn a_reader_that_stalls_longer_than_the_session_timeout_gets_all(sandbox: &Sandbox) {
    const NODES: usize = 10_000;
    sandbox.nodes.make("/many");
    sandbox.nodes.create_many((0..NODES).map(|number| format!("/many/{number}")));
    // The promise is about a length of time. A pipe holds a tenth of the lines.
    let reader = "set -o pipefail; \"$0\" \"$@\" | { sleep 4; cat; }";
    let export = sandbox.client(["export", "/many", "--session-timeout", "1"]);
    let exported = export.under(["bash", "-c", reader]).finish().expect(0);
    assert_eq!(lines(&exported.text()).len(), 1 + NODES);
}
