//! `set --acl`: who may do what with a node of ZooKeeper.

use crate::harness::{Nodes, Sandbox, ZooKeeper, exec, kazoo, watch};

/// Our credentials, as `twitcher.toml` and kazoo have them.
const AUTH: &str = "[[auth]]\nscheme = \"digest\"\ncredentials = \"deploy:secret\"\n";

fn acls(sandbox: &Sandbox, node: &str) -> String {
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    let script = format!(
        "zk.add_auth('digest', 'deploy:secret')\n\
         for a in zk.get_acls('{root}{node}')[0]:\n    print(a.perms, a.id.scheme, a.id.id.split(':')[0])"
    );
    kazoo(address, &script).lines().collect::<Vec<_>>().join(", ")
}

// "`--acl open|read|owner` or the ZooKeeper notation `world:anyone:r`"
#[test]
fn an_acl_is_set_with_the_node_or_alone() {
    let sandbox = Sandbox::zookeeper();
    sandbox.settings(AUTH);
    let set = |args: &[&str]| {
        let set = sandbox.client(["set"]).env("TWITCHER_CONFIG_PATH", sandbox.configs());
        args.iter().fold(set, |set, arg| set.arg(arg)).finish()
    };
    set(&["/a/n", "x", "--acl", "read"]).expect(0);
    assert_eq!(acls(&sandbox, "/a/n"), "31 digest deploy, 1 world anyone");
    assert_eq!(acls(&sandbox, "/a"), "31 digest deploy, 1 world anyone", "parents get it, too");
    set(&["/a/n", "y", "--acl", "owner"]).expect(0);
    assert_eq!(acls(&sandbox, "/a/n"), "31 digest deploy");
    sandbox.client(["get", "/a/n"]).finish().expect(1).expect_said(&["no permission"]);
    // Without DATA, the data stays.
    set(&["/a/n", "--acl", "world:anyone:rw,auth::cdrwa"]).expect(0);
    assert_eq!(acls(&sandbox, "/a/n"), "3 world anyone, 31 digest deploy");
    assert_eq!(sandbox.nodes.get("/a/n").as_deref(), Some(&b"y"[..]));
    set(&["/a/n", "--acl", "open"]).expect(0);
    assert_eq!(acls(&sandbox, "/a/n"), "31 world anyone");
    set(&["/missing", "--acl", "open"]).expect(1).expect_said(&["/missing", "does not exist"]);
    set(&["/a/n", "--acl", "open", "--create"]).expect(2).expect_said(&["no DATA"]);
    set(&["/a/n", "x", "--acl", "everybody"]).expect(2).expect_said(&["open, read, owner"]);
    // What the server refuses is explained.
    sandbox.client(["set", "/b", "x", "--acl", "owner"]).finish().expect(1).expect_said(&[
        "/b",
        "credentials",
        "auth",
    ]);
    set(&["/a/n", "--acl", "world:anyone:r"]).expect(0);
    set(&["/a/n", "--acl", "open"])
        .expect(1)
        .expect_said(&["no permission to change the ACL of node /a/n", "`a`"]);
    set(&["/c", "x", "--acl", "world:anyone:r"]).expect(0);
    assert_eq!(acls(&sandbox, "/c"), "1 world anyone");
}

// "refused where the store has none"
#[test]
fn a_directory_has_no_acls() {
    let sandbox = Sandbox::directory();
    for args in [&["/n", "x", "--acl", "read"][..], &["/n", "--acl", "read"]] {
        let set = args.iter().fold(sandbox.client(["set"]), |set, arg| set.arg(arg));
        set.finish().expect(1).expect_said(&["no ACLs", "owners and modes"]);
    }
    assert_eq!(sandbox.nodes.get("/n"), None);
}

// The warning of a node that everybody can write names a command, and the command ends the warning's cause.
#[test]
fn the_remedy_of_the_warning_works() {
    let server = ZooKeeper::start();
    let sandbox = Sandbox::on(&server);
    sandbox.settings(AUTH);
    sandbox.client(["set", "/n", "x"]).finish().expect(0);
    sandbox.config("app.twc", watch("/n", &exec("true"), ""));
    let daemon = sandbox.start();
    let warning = daemon.wait_for_log(&["/n", "anyone may write"]);
    assert!(warning.contains("`twitcher set /n --acl read`"), "{warning}");
    let remedy =
        sandbox.client(["set", "/n", "--acl", "read"]).env("TWITCHER_CONFIG_PATH", sandbox.configs());
    remedy.finish().expect(0);
    assert_eq!(acls(&sandbox, "/n"), "31 digest deploy, 1 world anyone");
}
