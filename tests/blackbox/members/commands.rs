//! Commands that follow members or explain their watches, and the example.

use std::fs;

use serde_json::{Value, json};

use super::members;
use crate::harness::{Daemon, Sandbox, exec, on_every_store, require_root, wait_until};

on_every_store!(watch_and_services_follow_members);
fn watch_and_services_follow_members(sandbox: &Sandbox) {
    sandbox.nodes.set("/services/web/a:80", "{\"n\": 1}");
    sandbox.nodes.make("/services/web");
    let watched = sandbox.client(["watch", "/services/web", "--members"]).start();
    let json = sandbox.client(["watch", "/services/web", "--members", "--json", "--count", "2"]).start();
    let mut lists = sandbox.client(["services", "/services/web", "--follow"]).start();
    let objects = sandbox.client(["services", "/services/web", "--follow", "--json"]).start();
    let lines = |command: &Daemon, count| {
        wait_until("the lines", || command.log().len() >= count);
        command.log()
    };
    let (first, first_object) = (lines(&watched, 1), lines(&objects, 1));
    assert!(first[0].ends_with(", 1 member: {\"a:80\":{\"n\":1}}"), "{first:?}");
    assert_eq!(lines(&lists, 2), ["a:80 {\"n\":1}", ""]);
    lines(&json, 1);
    let shown = sandbox.client(["services", "/services/web", "--json"]).finish().expect(0).text();
    let parsed = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    assert_eq!(parsed(&first_object[0]), parsed(&shown));
    sandbox.nodes.set("/services/web/b:80", "");
    let second = lines(&watched, 2);
    assert!(second[1].contains(" changed version ") && second[1].contains(", 2 members: "), "{second:?}");
    assert_eq!(lines(&lists, 5)[2..], ["a:80 {\"n\":1}", "b:80 null", ""]);
    let second = parsed(&lines(&json, 2)[1]);
    assert_eq!(second["members"], json!({ "a:80": { "n": 1 }, "b:80": null }));
    assert_eq!(parsed(&lines(&objects, 2)[1])["children"], second["members"]);
    assert_eq!(lists.stop(), Some(0));
    sandbox.client(["services", "/services/none", "--follow"]).finish().expect(1).expect_said(&["none"]);
    sandbox.client(["watch", "/services/web", "--members", "--children"]).finish().expect(2);
    sandbox.client(["watch", "/services/web", "--members", "--decode", "json"]).finish().expect(2);
}

#[test]
fn decode_is_refused_and_check_explains_members() {
    let sandbox = Sandbox::directory();
    sandbox.config("app.twc", members(&exec("true"), "decode: JSON"));
    let file = sandbox.configs().join("app.twc");
    let refused = sandbox.twitcher(["check"]).arg(&file).finish().expect(1);
    refused.expect_said(&["`decode` is for watch_type: WATCH_DATA only"]);
    sandbox.config("app.twc", members(&exec("true"), "").replace("MEMBERS", "MEMBER"));
    sandbox.twitcher(["check"]).arg(&file).finish().expect(1).expect_said(&["did you mean `WATCH_MEMBERS`"]);
    sandbox.config("app.twc", members("|event| event.members.len()", ""));
    let explained = sandbox.twitcher(["check", "--explain"]).arg(&file).finish().expect(0).text();
    assert!(explained.contains("WATCH_MEMBERS"), "{explained}");
    sandbox.nodes.set("/services/web/a", "");
    let dry = sandbox.daemon().arg("--dry-run").start();
    dry.wait_for_log(&["/services/web (members)", "run_on_load is true"]);
}

// The example that everybody wants: it replaces nginx's upstream only after its check passed.
on_every_store!(the_example_writes_an_upstream_that_passed_its_check_and_reloads);
fn the_example_writes_an_upstream_that_passed_its_check_and_reloads(sandbox: &Sandbox) {
    require_root();
    let directory = sandbox.path("upstreams");
    fs::create_dir(&directory).expect("a directory");
    let reloads = sandbox.journal();
    // It takes no server with this weight, and reads what its config includes.
    let nginx = sandbox.executable(
        "nginx",
        &format!(
            "#!/bin/sh\nif [ \"$1\" = -s ]; then {}; exit; fi\n\
             included=$(sed -n 's/.*include \\(.*\\);.*/\\1/p' \"$4\")\n\
             if grep weight=666 \"$included\"; then echo 'not this one' >&2; exit 1; fi\n",
            reloads.note("$*")
        ),
    );
    let config = include_str!("../../../etc/examples/members.twc")
        .replace("/etc/nginx/upstreams", directory.to_str().unwrap())
        .replace("[\"nginx\"", &format!("[{:?}", nginx.to_str().unwrap()))
        .replace("retry: #{ attempts: 5 },", "");
    sandbox.config("members.twc", config);
    let upstream = || fs::read_to_string(directory.join("web.conf")).unwrap_or_default();
    let wait_for_servers = |servers: &[&str]| {
        let servers: String = servers.iter().map(|server| format!("    server {server};\n")).collect();
        wait_until("the upstream", || upstream() == format!("upstream web {{\n{servers}}}\n"));
    };
    sandbox.nodes.set("/services/web/web1:8080", "{\"weight\": 3}");
    sandbox.nodes.set("/services/web/evil;}", "{}");
    let daemon = sandbox.start();
    wait_for_servers(&["web1:8080 weight=3"]);
    reloads.wait_for(&["-s reload"]);
    sandbox.nodes.set("/services/web/web2:8080", "");
    wait_for_servers(&["web1:8080 weight=3", "web2:8080"]);
    reloads.wait_for(&["-s reload", "-s reload"]);
    sandbox.nodes.set("/services/web/web1:8080", "{\"weight\": 666}");
    daemon.wait_for_log(&["upstream-web", "not this one"]);
    daemon.wait_for_log(&["upstream-web", "failed", "exit code 1"]);
    assert!(upstream().contains("weight=3"));
    sandbox.nodes.set("/services/web/web1:8080", "{\"weight\": 4}");
    wait_for_servers(&["web1:8080 weight=4", "web2:8080"]);
    reloads.wait_for(&["-s reload"; 3]);
}
