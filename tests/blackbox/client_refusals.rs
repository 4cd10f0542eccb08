//! Why a store did not do what a command asked: each cause has its own message, and the remedy.

use std::fs;

use nix::fcntl::{Flock, FlockArg};

use crate::harness::{Nodes, Sandbox, Server, ZooKeeper, require_root, set_mode};

const NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

// "Exit codes: ... 1 failed": a store's refusal is final, and the command does not try again for ever.
#[test]
fn content_that_is_too_large_is_named_as_such() {
    let sandbox = Sandbox::zookeeper();
    let set =
        |sandbox: &Sandbox, size: usize| sandbox.client(["set", "/n", "-"]).stdin(vec![b'x'; size]).finish();
    for size in [2 << 20, 1_048_570] {
        let refused = set(&sandbox, size).expect(1);
        refused.expect_said(&[&format!("{size} bytes are too many"), "/n", "jute.maxbuffer", "1048575"]);
        assert!(!refused.stderr.contains("try again"), "{refused:?}");
        assert_eq!(sandbox.nodes.get("/n"), None);
    }
    set(&sandbox, 1_000_000).expect(0);
    let sandbox = Sandbox::directory();
    set(&sandbox, (16 << 20) + 1).expect(1).expect_said(&["16777217 bytes are too many", "16 MiB"]);
    assert_eq!(sandbox.nodes.get("/n"), None);
    set(&sandbox, 16 << 20).expect(0);
    assert_eq!(sandbox.client(["get", "/n"]).finish().expect(0).stdout.len(), 16 << 20);
}

#[test]
fn a_store_that_is_not_there_is_told_from_a_node_that_is_not_there() {
    let sandbox = Sandbox::zookeeper();
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    sandbox.nodes.set("/n", "content");
    let chroot = format!("zk://{address}{root}/typo");
    let directory = format!("dir:{}", sandbox.root().join("typo").display());
    for (store, what) in [(&chroot, format!("the chroot {root}/typo")), (&directory, "the directory".into())]
    {
        for command in ["get", "ls", "poke", "rm"] {
            let finished = sandbox.twitcher([command, "/n", "--store", store]).finish().expect(1);
            finished.expect_said(&[&what, store, "does not exist", "right store?"]);
        }
    }
    let missing = sandbox.client(["get", "/missing"]).finish().expect(1);
    assert!(!missing.stderr.contains("chroot"), "{missing:?}");
    let file = sandbox.path("file");
    fs::write(&file, "").unwrap();
    let store = format!("dir:{}", file.display());
    sandbox.twitcher(["set", "/n", "x", "--store", &store]).finish().expect(1).expect_said(&["no directory"]);
}

// "no rights vs missing node vs node has children"
#[test]
fn a_missing_right_of_zookeeper_is_named() {
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.set("/closed/n/below", "content");
    sandbox.nodes.set("/open", "content");
    // Nobody has these credentials.
    sandbox.nodes.close_to_everybody("/closed/n");
    sandbox.nodes.close_to_everybody("/closed");
    for (command, right) in [
        (&["get", "/closed/n"][..], "no permission to read node /closed/n in zk://"),
        (&["ls", "/closed"], "no permission to read node /closed in zk://"),
        (&["set", "/closed/n", "x"], "no permission to write node /closed/n in zk://"),
        (&["poke", "/closed/n"], "no permission to read node /closed/n in zk://"),
        (&["set", "/closed/new", "x"], "no permission to create node /closed/new in zk://"),
        (&["set", "/closed/new/deep", "x"], "no permission to create node /closed/new/deep in zk://"),
        (&["rm", "/closed/n/below"], "no permission to remove node /closed/n/below in zk://"),
    ] {
        let whole = command.iter().fold(sandbox.twitcher([]), |whole, word| whole.arg(word));
        whole.args(["--store", &sandbox.nodes.url()]).finish().expect(1).expect_said(&[
            right,
            "ACL",
            "twitcher.toml",
        ]);
    }
}

// Parents are created below the node that exists, though we may create nothing beside that one.
#[test]
fn set_needs_no_right_above_the_nodes_that_exist() {
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.set("/closed/free", "");
    sandbox.nodes.close_to_everybody("/closed");
    sandbox.client(["set", "/closed/free/a/b/c", "x"]).finish().expect(0);
    assert_eq!(sandbox.nodes.get("/closed/free/a/b/c").as_deref(), Some(&b"x"[..]));
}

#[test]
fn a_missing_right_in_a_directory_store_is_named() {
    require_root();
    let sandbox = Sandbox::directory();
    let copy = sandbox.copy_of_the_binary();
    sandbox.nodes.set("/dir/n", "content");
    let nodes = sandbox.root().join("nodes");
    set_mode(&nodes.join("dir/n"), 0o600);
    // There must be a lock before users without rights can take it.
    sandbox.client(["poke", "/dir/n"]).finish().expect(0);
    let expect = |args: &[&str], said: &str| {
        let whole = args.iter().fold(sandbox.twitcher([]), |whole, word| whole.arg(word));
        let refused =
            whole.args(["--store", &sandbox.nodes.url()]).binary(&copy).under(NOBODY).finish().expect(1);
        refused.expect_said(&[said, "owners and modes", "nodes/dir"]);
        assert!(!refused.stderr.contains("auth"), "{refused:?}");
    };
    expect(&["get", "/dir/n"], "no permission to read node /dir/n");
    expect(&["set", "/dir/n", "x"], "no permission to write node /dir/n");
    expect(&["set", "/dir/m/x", "x"], "no permission to create node /dir/m/x");
    expect(&["rm", "/dir/n"], "no permission to remove node /dir/n");
    expect(&["rm", "--recursive", "/dir"], "no permission to remove node /dir");
    assert_eq!(sandbox.nodes.get("/dir/n").as_deref(), Some(&b"content"[..]));
    let parent = sandbox.client(["set", "/dir/n/child", "x"]).finish().expect(1);
    parent.expect_said(&["its parent \"n\" holds data"]);
}

// Neither a lock that somebody keeps nor a file that somebody keeps writing to is waited for without end.
#[test]
fn a_command_does_not_wait_for_others_without_end() {
    let sandbox = Sandbox::directory();
    sandbox.client(["set", "/n", "x"]).finish().expect(0);
    let lock = fs::File::open(sandbox.root().join("nodes/.twitcher.lock")).unwrap();
    let held = Flock::lock(lock, FlockArg::LockExclusiveNonblock).expect("a free lock");
    let set = || sandbox.client(["set", "/n", "y", "--session-timeout", "0.5"]);
    set().finish().expect(1).expect_said(&["/n", "another command has held", ".twitcher.lock"]);
    assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b"x"[..]));
    drop(held);
    set().finish().expect(0);
}

#[test]
fn what_keeps_a_command_from_a_server_is_named() {
    let sandbox = Sandbox::directory();
    let expect = |servers: &str, said: &str| {
        let get = sandbox.twitcher(["get", "/n", "--zkservers", servers, "--session-timeout", "2"]);
        get.finish().expect(1).expect_said(&[servers, said]);
    };
    expect("no-such-host.invalid:2181", "cannot resolve the name");
    expect(&ZooKeeper::stopped().address(), "connection refused");
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    std::thread::spawn(move || other.incoming().for_each(drop));
    expect(&address, "no ZooKeeper serves there");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    expect(&silent.local_addr().unwrap().to_string(), "no answer within");
}
