//! `set --if-version`, `set --create` and `rm --if-version`, on all stores: exit 3 where the condition does
//! not hold. And `set --ttl`.

use serde_json::Value;

use crate::harness::{Etcd, Sandbox, Server, Store, etcdctl, kazoo, on_every_store, wait_until};

fn version(sandbox: &Sandbox, node: &str) -> i64 {
    let shown = sandbox.client(["get", "--json", node]).finish().expect(0).text();
    serde_json::from_str::<Value>(&shown).expect("JSON")["version"].as_i64().expect("a version")
}

// "`set --if-version N`, `set --create` (only if absent), `rm --if-version N`: exit 3 where the condition
// fails"
on_every_store!(a_condition_that_does_not_hold_changes_nothing_and_exits_3);
fn a_condition_that_does_not_hold_changes_nothing_and_exits_3(sandbox: &Sandbox) {
    let set = |args: &[&str]| {
        args.iter().fold(sandbox.client(["set", "/a/n"]), |command, arg| command.arg(arg)).finish()
    };
    set(&["x", "--if-version", "0"]).expect(3).expect_said(&["/a/n", "does not exist"]);
    assert_eq!(sandbox.client(["ls", "/"]).finish().expect(0).text(), "", "nothing is created");
    set(&["one", "--create"]).expect(0);
    set(&["two", "--create"]).expect(3).expect_said(&["/a/n", "exists already", "nothing was changed"]);
    assert_eq!(sandbox.nodes.get("/a/n").as_deref(), Some(&b"one"[..]));
    let first = version(sandbox, "/a/n");
    set(&["two", "--if-version", &first.to_string()]).expect(0);
    let second = version(sandbox, "/a/n");
    assert!(second > first);
    let found = format!("has version {second}, not {first}");
    set(&["three", "--if-version", &first.to_string()]).expect(3).expect_said(&[&found]);
    set(&["three", "--if-version", "9223372036854775807"]).expect(3);
    assert_eq!(sandbox.nodes.get("/a/n").as_deref(), Some(&b"two"[..]));
    set(&["three", "--if-version", "-1"]).expect(2);
    set(&["three", "--if-version", "1", "--create"]).expect(2);

    let rm = |node: &str, version: i64| {
        sandbox.client(["rm", node, "--if-version", &version.to_string()]).finish()
    };
    rm("/a/n", first).expect(3).expect_said(&[&found]);
    rm("/a/missing", 0).expect(3).expect_said(&["/a/missing", "does not exist"]);
    assert!(sandbox.nodes.get("/a/n").is_some());
    rm("/a/n", second).expect(0);
    assert_eq!(sandbox.nodes.get("/a/n"), None);
    sandbox.client(["rm", "/a", "--recursive", "--if-version", "0"]).finish().expect(2);
}

// Two writers with one version: one of them wins, and the other one learns that it did not.
on_every_store!(of_many_writers_with_the_same_version_one_writes);
fn of_many_writers_with_the_same_version_one_writes(sandbox: &Sandbox) {
    sandbox.client(["set", "/n", "0"]).finish().expect(0);
    for _ in 0..3 {
        let version = version(sandbox, "/n").to_string();
        let codes: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer: u32| {
                    let set = sandbox.client(["set", "/n", &writer.to_string(), "--if-version", &version]);
                    scope.spawn(move || set.finish().code)
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
        assert_eq!(codes.iter().filter(|code| **code == Some(3)).count(), 3, "{codes:?}");
    }
}

// "`set --ttl SECONDS` ... refused where a store has none"
#[test]
fn a_store_without_leases_refuses_a_ttl() {
    for sandbox in [Sandbox::directory(), Sandbox::zookeeper()] {
        let refused = sandbox.client(["set", "/n", "x", "--ttl", "60"]).finish().expect(1);
        refused.expect_said(&["leases", "--ttl"]);
        assert_eq!(sandbox.nodes.get("/n"), None);
    }
}

// "`set --ttl SECONDS` on etcd (a lease)"
#[test]
fn a_node_with_a_ttl_goes_by_itself_unless_it_is_set_again() {
    let sandbox = Sandbox::of_kind(Store::Etcd);
    let set =
        |args: &[&str]| args.iter().fold(sandbox.client(["set"]), |command, arg| command.arg(arg)).finish();
    set(&["/gone", "x", "--ttl", "1"]).expect(0);
    set(&["/stays", "x", "--ttl", "1", "--create"]).expect(0);
    // Whatever is set without a lease has none any more.
    set(&["/stays", "y"]).expect(0);
    set(&["/long", "x", "--ttl", "600"]).expect(0);
    set(&["/long", "y", "--ttl", "600", "--if-version", "1"]).expect(0);
    // A condition that fails leaves the node as it was.
    set(&["/long", "z", "--ttl", "1", "--if-version", "1"]).expect(3);
    set(&["/long", "z", "--ttl", "1", "--create"]).expect(3);
    wait_until("the node to go", || sandbox.nodes.get("/gone").is_none());
    set(&["/gone", "again", "--create"]).expect(0);
    set(&["/last", "x", "--ttl", "1"]).expect(0);
    wait_until("the next one to go", || sandbox.nodes.get("/last").is_none());
    let there = ["/gone", "/stays", "/long"].map(|node| sandbox.nodes.get(node));
    assert_eq!(there, ["again", "y", "y"].map(|data| Some(data.into())));
    for wrong in ["0", "-1", "x", "1e18", "inf"] {
        set(&["/n", "x", &format!("--ttl={wrong}")]).expect(2);
    }
    assert_eq!(sandbox.nodes.get("/n"), None);
}

// Whoever tries again and again to get a lock leaves no lease for each try.
#[test]
fn a_condition_that_fails_leaves_no_lease() {
    let server = Etcd::start();
    let sandbox = Sandbox::on(&server);
    let set = |code| {
        sandbox.client(["set", "/lock", "mine", "--ttl", "600", "--create"]).finish().expect(code);
    };
    set(0);
    (0..3).for_each(|_| set(3));
    let leases = etcdctl(&server.address(), &["lease", "list"]);
    assert!(leases.contains("found 1 leases"), "{leases}");
}

// What is poked or edited does not stay for that.
#[test]
fn a_node_keeps_its_lease_when_it_is_poked_or_edited() {
    let sandbox = Sandbox::of_kind(Store::Etcd);
    let lease = || {
        let shown = sandbox.client(["get", "--json", "/n"]).finish().expect(0).text();
        serde_json::from_str::<Value>(&shown).expect("JSON")["lease"].clone()
    };
    sandbox.client(["set", "/n", "x", "--ttl", "600"]).finish().expect(0);
    let before = lease();
    assert_ne!(before, "0");
    sandbox.client(["poke", "/n"]).finish().expect(0);
    assert_eq!(lease(), before);
    sandbox.client(["edit", "/n"]).env("VISUAL", "sed -i s/x/y/").finish().expect(0);
    assert_eq!((lease(), sandbox.nodes.get("/n").unwrap()), (before, b"y".to_vec()));
    sandbox.client(["set", "/n", "z"]).finish().expect(0);
    assert_eq!(lease(), "0");
}

// The versions are those that another client sees.
#[test]
fn kazoo_and_the_commands_mean_the_same_by_a_version() {
    let sandbox = Sandbox::zookeeper();
    let crate::harness::Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    kazoo(
        address,
        &format!("zk.create('{root}/n', b'0')\nfor i in range(3): zk.set('{root}/n', b'k%d' % i)"),
    );
    sandbox.client(["set", "/n", "ours", "--if-version", "2"]).finish().expect(3);
    sandbox.client(["set", "/n", "ours", "--if-version", "3"]).finish().expect(0);
    let seen = kazoo(address, &format!("d, s = zk.get('{root}/n')\nprint(d, s.version)"));
    assert_eq!(seen.trim(), "b'ours' 4");
}
