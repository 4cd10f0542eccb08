//! "A permission error on a node is reported, retried with backoff, and heals when the ACL is fixed."

use std::os::unix::fs::PermissionsExt;

use crate::harness::{Nodes, Sandbox, Server, ZooKeeper, exec, kazoo, watch};

/// An ACL that allows everything except reading.
const UNREADABLE: &str =
    "[make_acl('world', 'anyone', read=False, write=True, create=True, delete=True, admin=True)]";

fn set_acl(sandbox: &Sandbox, node: &str, acl: &str) {
    let Nodes::ZooKeeper { root, .. } = &sandbox.nodes else { panic!("only ZooKeeper has ACLs") };
    kazoo(&ZooKeeper::shared().address(), &format!("zk.set_acls('{root}{node}', {acl})"));
}

// "an unreadable node is retried at least every 30 s"; "One bad thing stays one bad thing."
#[test]
fn an_unreadable_node_is_reported_once_and_heals_without_touching_other_watches() {
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    for node in ["/locked", "/open"] {
        sandbox.nodes.set(node, "old");
    }
    set_acl(&sandbox, "/locked", UNREADABLE);
    let noting = |name: &str| exec(&journal.note(&format!("{name} $TWITCHER_EVENT $(cat)")));
    sandbox.config(
        "app.twc",
        [
            watch("/locked", &noting("locked"), r#"description: "locked-watch""#),
            watch("/open", &noting("open"), ""),
        ]
        .concat(),
    );
    let daemon = sandbox.start();
    daemon.wait_for_log(&["/locked"]);
    journal.wait_for(&["open load old"]);
    sandbox.nodes.set("/locked", "new");
    sandbox.nodes.set("/open", "new");
    journal.wait_for(&["open load old", "open changed new"]);
    assert_eq!(daemon.log_lines(&["/locked"]).len(), 1, "said once");
    set_acl(&sandbox, "/locked", "OPEN_ACL_UNSAFE");
    journal.wait_for(&["open load old", "open changed new", "locked load new"]);
}

// The node becomes unreadable while it is watched. The server does not announce a change to clients that may
// not read it, but removes their watch, so that the daemon has to look at the node again to notice.
#[test]
fn an_update_of_a_node_that_was_locked_meanwhile_runs_when_it_is_unlocked() {
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "old");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let daemon = sandbox.start();
    journal.wait_for(&["old"]);
    set_acl(&sandbox, "/n", UNREADABLE);
    sandbox.nodes.set("/n", "new");
    daemon.wait_for_log(&["/n", "app.twc"]);
    set_acl(&sandbox, "/n", "OPEN_ACL_UNSAFE");
    journal.wait_for(&["old", "new"]);
}

// A server does not tell of a node that is created unreadable, and forgets the watch. This is no defect, and
// no alert must ask people to report it.
#[test]
fn what_the_server_does_not_tell_for_want_of_rights_is_no_missed_change() {
    let sandbox = Sandbox::zookeeper();
    let Nodes::ZooKeeper { root, .. } = &sandbox.nodes else { panic!("only ZooKeeper has ACLs") };
    let journal = sandbox.journal();
    for node in ["/locked", "/closed", "/brief"] {
        sandbox.nodes.set(node, "1");
    }
    let watches = ["/n", "/locked", "/closed"].map(|node| watch(node, &exec("cat"), ""));
    let brief = watch("/brief", &exec(&journal.record()), "");
    sandbox.config("app.twc", [watches.concat(), brief].concat());
    let daemon = sandbox.daemon().arg("--debug").start();
    for node in ["/n", "/locked", "/closed", "/brief"] {
        daemon.wait_for_log(&[node, "observed"]);
    }
    for node in ["/locked", "/closed"] {
        set_acl(&sandbox, node, UNREADABLE);
    }
    // The last one can be read again before the daemon looks.
    let brief = format!("{root}/brief");
    kazoo(
        &ZooKeeper::shared().address(),
        &format!(
            "zk.create('{root}/n', b'1', acl={UNREADABLE}); zk.set('{root}/locked', b'2')\n\
             zk.set_acls('{brief}', {UNREADABLE}); zk.set('{brief}', b'2')\n\
             zk.set_acls('{brief}', OPEN_ACL_UNSAFE)"
        ),
    );
    // Of these, one has other rights and no other content.
    for node in ["/n", "/locked", "/closed"] {
        daemon.wait_for_log(&[node, "cannot be read"]);
    }
    for node in ["/n", "/locked", "/closed"] {
        set_acl(&sandbox, node, "OPEN_ACL_UNSAFE");
    }
    for node in ["/n", "/locked", "/closed"] {
        daemon.wait_for_log(&[node, "can be read again"]);
    }
    journal.wait_for(&["1", "2"]);
    assert_eq!(daemon.log_lines(&["no watch had announced"]), [""; 0]);
}

// "daemon settings that hold secrets or lists live in `twitcher.toml`": credentials for ZooKeeper.
#[test]
fn credentials_in_the_settings_open_a_protected_node_to_daemon_and_client() {
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "secret");
    set_acl(&sandbox, "/n", "[make_digest_acl('operator', 'hunter2', all=True)]");
    let settings = sandbox.configs().join("twitcher.toml");
    std::fs::write(&settings, "[[auth]]\nscheme = \"digest\"\ncredentials = \"operator:hunter2\"\n")
        .expect("write the settings");
    std::fs::set_permissions(&settings, PermissionsExt::from_mode(0o600)).expect("close it");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let daemon = sandbox.start();
    journal.wait_for(&["secret"]);
    sandbox.client(["get", "/n"]).finish().expect(1);
    let client = || sandbox.client(["set", "/n", "new"]).env("TWITCHER_CONFIG_PATH", sandbox.configs());
    client().finish().expect(0);
    journal.wait_for(&["secret", "new"]);
    assert!(daemon.log_lines(&["hunter2"]).is_empty(), "secrets are not logged");
}
