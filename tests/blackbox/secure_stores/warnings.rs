//! Warnings about stores that work but are insecure: plaintext, and nodes that anyone may change.

use nix::ifaddrs::getifaddrs;

use super::count;
use crate::harness::{Sandbox, Server, ZooKeeper, exec, kazoo, wait_until, watch};

// "A plaintext connection to a non-local server [...] warns once."
#[test]
fn plaintext_to_another_host_brings_one_warning_and_on_loopback_none() {
    let server = ZooKeeper::start_on_all_addresses();
    let sandbox = Sandbox::on(&server);
    let (_, port) =
        server.address().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let address = getifaddrs()
        .unwrap()
        .filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()))
        .find(|address| !address.is_loopback())
        .expect("this test needs an address that is not loopback");
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch("/n", &exec(&journal.note("$(cat)")), ""));
    sandbox.nodes.set("/n", "1");
    let url = sandbox.nodes.url_by_way_of(&format!("{address}:{port}"));
    let warning = ["WARNING", "the connection to", "is not encrypted", "[tls]"];

    let daemon = sandbox.start();
    journal.wait_for(&["1"]);
    count(&daemon, &warning, 0);
    drop(daemon);
    let daemon = sandbox.daemon_on(&url).start();
    daemon.wait_for_log(&warning);
    for round in 1..=2 {
        server.down();
        server.up();
        wait_until("the daemon to be back", || {
            daemon.log_lines(&["connected to", "it was away"]).len() == round
        });
    }
    sandbox.nodes.set("/n", "2");
    journal.wait_for_line("2");
    count(&daemon, &warning, 1);
}

// "a watched node writable by `world:anyone` warns once". Of many such nodes only a few are named.
#[test]
fn nodes_that_anyone_may_change_bring_one_warning_each_and_only_a_few_are_named() {
    let server = ZooKeeper::start();
    let sandbox = Sandbox::on_whole(&server);
    kazoo(
        &server.address(),
        "ours = [make_acl('world', 'anyone', read=True, admin=True)]\n\
         zk.create('/closed', b'1', acl=ours)\n\
         zk.create('/writable', b'1', acl=[make_acl('world', 'anyone', read=True, write=True)])\n\
         zk.create('/parent', b'1', acl=[make_acl('world', 'anyone', read=True, delete=True)])\n",
    );
    let journal = sandbox.journal();
    let note = |name: &str| exec(&journal.note(name));
    let children = "watch_type: WATCH_CHILDREN";
    let watches = [
        watch("/closed", &note("closed"), ""),
        watch("/writable", &note("writable"), ""),
        watch("/parent", &note("data"), ""),
        watch("/parent", &note("children"), children),
        watch("/later", &note("later"), ""),
    ];
    sandbox.config("app.twc", watches.concat());
    let daemon = sandbox.start();
    let line = |path: &str| format!("store: node {path}: anyone may");
    daemon.wait_for_log(&["WARNING", &line("/writable"), "write to it", "remove w from world:anyone"]);
    daemon.wait_for_log(&["WARNING", &line("/parent"), "create or delete its children"]);
    // This node is absent at first, and open to anyone when it is created.
    sandbox.nodes.set("/later", "1");
    daemon.wait_for_log(&[&line("/later")]);
    server.down();
    server.up();
    daemon.wait_for_log(&["connected to", "it was away"]);

    sandbox.nodes.create_many((0..20).map(|number| format!("/open-{number}")));
    let open: String = (0..20).map(|number| watch(&format!("/open-{number}"), &note("open"), "")).collect();
    sandbox.config("open.twc", open);
    daemon.wait_for_log(&["WARNING", "there are more nodes that anyone may change"]);
    sandbox.nodes.set("/writable", "2");
    wait_until("the action", || journal.count("writable") == 2);
    count(&daemon, &["anyone may"], 6);
    count(&daemon, &[&line("/closed")], 0);
    count(&daemon, &[&line("/writable")], 1);
    count(&daemon, &[&line("/parent")], 1);
}
