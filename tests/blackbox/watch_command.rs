//! `twitcher watch`: follows a node, on both stores.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::harness::{
    Daemon, Nodes, Proxy, Sandbox, Store, kazoo, on_every_server, on_every_store, wait_until,
};

/// The lines so far, without times and versions: `changed 3 bytes: one`.
fn said(watch: &Daemon) -> Vec<String> {
    watch.log().iter().map(|line| without_numbers(line)).collect()
}

fn without_numbers(line: &str) -> String {
    let (time, rest) = line.split_once(' ').expect("a time");
    assert_eq!(time.replace(|c: char| c.is_ascii_digit(), "0"), "0000-00-00T00:00:00.000Z", "{line}");
    match rest.split_once(" version ") {
        None => rest.to_owned(),
        Some((event, rest)) => {
            let (version, rest) = rest.split_once(", ").expect("more than the version");
            assert!(version.parse::<i64>().is_ok(), "{line}");
            format!("{event} {rest}")
        }
    }
}

#[track_caller]
fn wait_for_lines(watch: &Daemon, expected: &[&str]) {
    wait_until(&format!("the lines {expected:?}"), || {
        let said = said(watch);
        let so_far = expected.get(..said.len()).unwrap_or(expected);
        assert_eq!(said, so_far);
        said.len() == expected.len()
    });
}

// "First line: the present state." "A line per observed change"
on_every_store!(each_change_of_a_node_is_one_line_after_its_present_state);
fn each_change_of_a_node_is_one_line_after_its_present_state(sandbox: &Sandbox) {
    sandbox.nodes.set("/sibling", "");
    let mut watch = sandbox.client(["watch", "/n"]).start();
    wait_for_lines(&watch, &["absent"]);
    let mut expected = vec!["absent"];
    let mut wait_for_another = |line| {
        expected.push(line);
        wait_for_lines(&watch, &expected);
    };
    sandbox.nodes.set("/n", "one\ntwo");
    wait_for_another("created 7 bytes: one\\ntwo");
    sandbox.nodes.set("/n", b"\x1b[31m\xff");
    wait_for_another("changed 6 bytes: \\u{1b}[31m\u{fffd}");
    sandbox.client(["poke", "/n"]).finish().expect(0);
    wait_for_another("changed 6 bytes: \\u{1b}[31m\u{fffd}");
    sandbox.nodes.remove("/n");
    wait_for_another("absent");
    sandbox.nodes.set("/n", "");
    wait_for_another("created 0 bytes");
    // "until interrupted (exit 0 on INT/TERM...)"
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.wait_for_exit(), Some(0));
    let mut again = sandbox.client(["watch", "/n"]).start();
    wait_for_lines(&again, &["present 0 bytes"]);
    assert_eq!(again.stop(), Some(0));
}

// "full in `--json`" with "children as an array"
on_every_store!(json_has_the_whole_content_and_count_ends_the_command);
fn json_has_the_whole_content_and_count_ends_the_command(sandbox: &Sandbox) {
    let long = "x".repeat(100_000);
    sandbox.nodes.set("/n", &long);
    let mut watch = sandbox.client(["watch", "/n", "--json", "--count", "2"]).start();
    wait_until("the first line", || watch.log().len() == 1);
    sandbox.nodes.set("/n", "\"\n\u{fc}");
    assert_eq!(watch.wait_for_exit(), Some(0));
    wait_until("the second line", || watch.log().len() == 2);
    let mut values: Vec<Value> =
        watch.log().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for value in &mut values {
        let map = value.as_object_mut().expect("an object");
        assert_eq!(map.remove("time").unwrap().as_str().unwrap().len(), "2026-01-01T00:00:00.000Z".len());
        assert!(map.remove("version").unwrap().is_i64());
    }
    let expected = [
        json!({ "znode": "/n", "event": "present", "size": 100_000, "text": long }),
        json!({ "znode": "/n", "event": "changed", "size": 4, "text": "\"\n\u{fc}" }),
    ];
    assert_eq!(values, expected);

    sandbox.nodes.set("/members/b", "");
    sandbox.nodes.set("/members/a c", "");
    let command = ["watch", "/members", "--children", "--json", "--count", "1"];
    let children = sandbox.client(command).finish().expect(0).text();
    let value: Value = serde_json::from_str(&children).expect("JSON");
    assert_eq!(value["children"], json!(["a c", "b"]));
    assert_eq!((&value["event"], value.get("size")), (&json!("present"), None));
}

on_every_store!(children_are_followed);
fn children_are_followed(sandbox: &Sandbox) {
    sandbox.nodes.set("/members/one", "");
    let watch = sandbox.client(["watch", "/members", "--children"]).start();
    wait_for_lines(&watch, &["present 1 child: one"]);
    sandbox.nodes.set("/members/two", "");
    wait_for_lines(&watch, &["present 1 child: one", "children 2 children: one, two"]);
}

// "A closed stdout (`| head -1`) ends it quietly with exit 0": at once, not at the next change.
on_every_store!(it_ends_when_nobody_reads_it_any_more);
fn it_ends_when_nobody_reads_it_any_more(sandbox: &Sandbox) {
    sandbox.nodes.set("/n", "one");
    let head = "set -o pipefail; \"$@\" | head -n 1; echo code ${PIPESTATUS[0]}";
    let finished = sandbox.client(["watch", "/n"]).under(["bash", "-c", head, "bash"]).finish().expect(0);
    let text = finished.text();
    assert!(text.contains(", 3 bytes: one\n") && text.ends_with("code 0\n"), "{finished:?}");
    assert_eq!(finished.stderr, "");
}

// "until interrupted", also while it waits for a reader that does not read.
#[test]
fn it_can_be_interrupted_while_it_writes() {
    let sandbox = Sandbox::directory();
    // This is more than a pipe holds.
    sandbox.nodes.set("/n", vec![b'x'; 1 << 20]);
    let pipe = sandbox.path("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).expect("make a pipe");
    let redirect = format!("exec \"$@\" 1<> {}", pipe.display());
    let mut watch = sandbox.client(["watch", "/n"]).under(["sh", "-c", &redirect, "sh"]).start();
    File::open(&pipe).expect("open the pipe").read_exact(&mut [0]).expect("read a byte");
    assert_eq!(watch.stop(), Some(0));
}

// "It fails within the session timeout if the first connection cannot be made"
on_every_server!(it_fails_within_the_session_timeout_when_it_cannot_connect);
fn it_fails_within_the_session_timeout_when_it_cannot_connect(store: Store) {
    let absent = store.stopped_server();
    let silent = Proxy::to(&store.shared_server().address());
    silent.stall();
    let sandbox = Sandbox::of_kind(store);
    for address in [absent.address(), silent.address()] {
        let began = Instant::now();
        let url = sandbox.nodes.url_by_way_of(&address);
        let watch = sandbox.twitcher(["watch", "/n", "--store", &url, "--session-timeout", "1"]);
        let finished = watch.finish().expect(1);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        finished.expect_said(&[&url, "check that it runs, and --store"]);
        assert_eq!(finished.text(), "");
    }
}

// "later it says on stderr that the connection is lost/back and goes on". A node that did not change brings
// no line.
on_every_server!(a_lost_connection_is_reported_on_stderr_and_a_change_made_meanwhile_brings_a_line);
fn a_lost_connection_is_reported_on_stderr_and_a_change_made_meanwhile_brings_a_line(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    let proxy = Proxy::to(&store.shared_server().address());
    sandbox.nodes.set("/n", "one");
    let log = sandbox.path("stderr");
    let redirect = format!("exec \"$@\" 2> {}", log.display());
    let url = sandbox.nodes.url_by_way_of(&proxy.address());
    let watch =
        sandbox.twitcher(["watch", "/n", "--store", &url]).under(["sh", "-c", &redirect, "sh"]).start();
    let complaints = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_for_lines(&watch, &["present 3 bytes: one"]);
    proxy.cut();
    wait_until("the connection to be back", || complaints().contains("twitcher: connected again to "));
    proxy.refuse();
    wait_until("the second outage", || complaints().matches("; trying again\n").count() == 2);
    sandbox.nodes.set("/n", "two");
    proxy.resume();
    wait_for_lines(&watch, &["present 3 bytes: one", "changed 3 bytes: two"]);
    let complaints = complaints();
    assert!(complaints.starts_with("twitcher: not connected: the connection to "), "{complaints}");
    assert_eq!(complaints.lines().count(), 4, "{complaints}");
}

#[test]
fn an_unreadable_node_is_reported_and_shown_when_it_can_be_read() {
    let sandbox = Sandbox::zookeeper();
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    sandbox.nodes.set("/n", "one");
    let acl = |acl: &str| format!("zk.set_acls('{root}/n', [{acl}])");
    kazoo(address, &acl("make_digest_acl('a', 'b', all=True), make_acl('world', 'anyone', admin=True)"));
    let watch = sandbox.client(["watch", "/n"]).start();
    let unreadable = "unreadable: no permission to read it; check its ACL and `auth`";
    wait_for_lines(&watch, &[unreadable]);
    kazoo(address, &acl("make_acl('world', 'anyone', all=True)"));
    wait_for_lines(&watch, &[unreadable, "present 3 bytes: one"]);
}

// "cut to the terminal width on a terminal"
#[test]
fn a_line_is_cut_to_the_width_of_the_terminal() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "x".repeat(1000));
    let (code, line) = sandbox.client(["watch", "/n", "--count", "1"]).finish_on_terminal(90);
    let line = line.trim();
    assert!(code == Some(0) && line.contains(", 1000 bytes: xxx") && line.len() == 90, "{line}");
}

#[test]
fn it_takes_the_name_of_a_store_and_refuses_wrong_arguments() {
    let sandbox = Sandbox::directory();
    let settings = format!("[stores.local]\nurl = {:?}\n", sandbox.nodes.url());
    std::fs::write(sandbox.configs().join("twitcher.toml"), settings).expect("write the settings");
    let watch = |args: [&str; 4]| {
        let command = sandbox.twitcher(["watch"]).args(args).env("TWITCHER_CONFIG_PATH", sandbox.configs());
        command.finish()
    };
    let finished = watch(["/n", "--count=1", "--store", "local"]).expect(0);
    assert!(finished.text().ends_with(" absent\n"), "{finished:?}");
    let url = sandbox.nodes.url();
    watch(["/n", "--count=1", "--store", "locale"]).expect(2).expect_said(&["did you mean `local`?"]);
    watch(["/n", "--count=0", "--store", &url]).expect(2);
    watch(["n", "--count=1", "--store", &url]).expect(2);
}
