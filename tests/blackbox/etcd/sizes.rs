//! Large contents, and keys that are no nodes.

use super::{Own, record};
use crate::harness::{Proxy, Sandbox, Server, Store, exec, wait_until, watch};

const MEBIBYTE: usize = 1 << 20;

// "16 MiB of catch-up": what one reply or one event of the watch cannot carry at once.
#[test]
fn sixteen_mebibytes_that_came_while_the_daemon_was_away_are_caught_up() {
    const NODES: usize = 16;
    let own = Own::start(&[]);
    let (sandbox, proxy) = (&own.sandbox, Proxy::to(&own.server.address()));
    let journal = sandbox.journal();
    let node = |number: usize| format!("/large/{number}");
    let fill = |size: usize| (0..NODES).for_each(|n| sandbox.nodes.set(&node(n), vec![b'x'; size]));
    fill(MEBIBYTE);
    let count = exec(&journal.note("$TWITCHER_ZNODE $(wc -c)"));
    let each = (0..NODES).map(|number| watch(&node(number), &count, ""));
    sandbox.config("large.twc", each.collect::<String>());
    let tree = sandbox.journal_named("tree");
    let sizes = exec(&tree.note("$(wc -c)"));
    sandbox.config("tree.twc", watch("/large", &sizes, "watch_type: WATCH_TREE"));
    let _daemon = sandbox.daemon_on(&sandbox.nodes.url_by_way_of(&proxy.address())).start();
    let wait_for_all = |size: usize| {
        (0..NODES).for_each(|number| journal.wait_for_line(&format!("{} {size}", node(number))));
    };
    wait_for_all(MEBIBYTE);
    wait_until("the tree", || tree.lines().len() == 1);
    proxy.refuse();
    wait_until("the server to see the connection end", || own.server.is_unwatched());
    fill(MEBIBYTE - 1);
    proxy.resume();
    wait_for_all(MEBIBYTE - 1);
    // The server may tell the changes in parts.
    wait_until("the changed tree", || tree.lines().len() >= 2);
    // The same while it watches.
    fill(MEBIBYTE - 2);
    wait_for_all(MEBIBYTE - 2);
    assert_eq!(journal.lines().len(), 3 * NODES, "each content once");
}

// The watch's stream delivers what the server takes, however large that is.
#[test]
fn a_node_of_many_mebibytes_is_delivered_by_a_server_that_takes_it() {
    let own = Own::start(&["--max-request-bytes=20000000"]);
    own.sandbox.nodes.set("/n", "small");
    let journal = own.sandbox.journal();
    own.sandbox.config("app.twc", watch("/n", &exec(&journal.note("$(wc -c)")), ""));
    let _daemon = own.sandbox.start();
    journal.wait_for(&["5"]);
    own.sandbox.nodes.set("/n", vec![b'x'; 12 * MEBIBYTE]);
    journal.wait_for(&["5", "12582912"]);
    own.sandbox.nodes.set("/n", "again");
    journal.wait_for(&["5", "12582912", "5"]);
}

// "`max-request-bytes`": a value that is too large is named as such, and leaves the node as it was.
#[test]
fn a_value_that_the_server_does_not_take_is_named_as_too_large() {
    let own = Own::start(&["--max-request-bytes=100000"]);
    let set = |size: usize| own.sandbox.client(["set", "/n", "-"]).stdin(vec![b'x'; size]).finish();
    set(90_000).expect(0);
    for size in [200_000, 3_000_000] {
        set(size).expect(1).expect_said(&[&format!("{size} bytes are too many"), "/n", "max-request-bytes"]);
        assert_eq!(own.sandbox.nodes.get("/n").map(|data| data.len()), Some(90_000));
    }
}

// "binary keys under a watched prefix are skipped and counted, once said"
#[test]
fn keys_that_are_no_paths_are_no_nodes() {
    let sandbox = Sandbox::of_kind(Store::Etcd);
    let client = sandbox.nodes.etcd();
    let journal = sandbox.journal();
    client.set("/members/good", b"");
    client.set("/members/", b"");
    client.set("/members//double", b"");
    client.set_key(b"/members/\xff\xfe", b"");
    client.set_key(b"/members/\0\x01", b"");
    client.set_key(b"/members\0", b"");
    // Both watches find the same keys, which are counted once.
    let names = watch("/members", &exec(&journal.note("$(tr '\\n' ' ')")), "watch_type: WATCH_CHILDREN");
    let tree = watch("/members", &exec("true"), "watch_type: WATCH_TREE");
    sandbox.config("app.twc", format!("{names}{tree}"));
    let daemon = sandbox.start();
    journal.wait_for(&["good "]);
    // Two bad paths and two of binary bytes.
    daemon.wait_for_log(&["4 keys below \"/members\"", "are no node paths; such keys are skipped"]);
    assert_eq!(sandbox.client(["ls", "/members"]).finish().expect(0).text(), "good\n");
    client.set_key(b"/members/\xff\xfd", b"");
    client.set("/members/next", b"");
    journal.wait_for(&["good ", "good next "]);
    assert_eq!(daemon.log_lines(&["no node paths"]).len(), 1, "one that comes later is not said again");
}

// "the node is there for `WATCH_CHILDREN`, `ls` and trees if its key is, or any below it", and "A node's data
// is there if and only if its key is".
#[test]
fn a_node_without_a_key_has_children_and_no_data() {
    let sandbox = Sandbox::of_kind(Store::Etcd);
    sandbox.nodes.set("/a/b/c", "1");
    let names = sandbox.journal_named("names");
    let list = exec(&names.note("$TWITCHER_EVENT $(tr '\\n' ' ')"));
    sandbox.config("names.twc", watch("/a", &list, "watch_type: WATCH_CHILDREN"));
    let [data] = record(&sandbox, ["/a/b"]);
    let _daemon = sandbox.start();
    names.wait_for(&["load b "]);
    assert_eq!(sandbox.client(["ls", "/a"]).finish().expect(0).text(), "b\n");
    sandbox.client(["get", "/a/b"]).finish().expect(1);
    // Its key comes and goes, and its child is there all the time.
    sandbox.nodes.set("/a/b", "data");
    data.wait_for(&["created data"]);
    sandbox.nodes.remove("/a/b");
    data.wait_for(&["created data", "deleted "]);
    sandbox.nodes.set("/a", "own");
    sandbox.nodes.remove("/a");
    sandbox.nodes.set("/a/d", "");
    names.wait_for(&["load b ", "children b d "]);
    // The last key below it takes it away.
    sandbox.nodes.remove("/a/b/c");
    names.wait_for(&["load b ", "children b d ", "children d "]);
}

// "a lease that expires" is a deletion, also while the daemon is away.
#[test]
fn a_lease_that_ends_deletes_its_node() {
    let own = Own::start(&[]);
    let (sandbox, proxy) = (&own.sandbox, Proxy::to(&own.server.address()));
    let client = own.client();
    let leased = |content: &[u8]| client.set_leased("/n", content, &client.grant(2));
    leased(b"1");
    let [journal] = record(sandbox, ["/n"]);
    let _daemon = sandbox.daemon_on(&sandbox.nodes.url_by_way_of(&proxy.address())).start();
    wait_until("the first lease to end", || !journal.lines().is_empty() && client.get("/n").is_none());
    journal.wait_for(&["load 1", "deleted "]);
    leased(b"2");
    journal.wait_for(&["load 1", "deleted ", "created 2"]);
    proxy.refuse();
    wait_until("the lease to end", || client.get("/n").is_none());
    proxy.resume();
    journal.wait_for(&["load 1", "deleted ", "created 2", "deleted "]);
    client.set("/n", b"3");
    journal.wait_for(&["load 1", "deleted ", "created 2", "deleted ", "created 3"]);
}

// "Seen from outside": etcdctl and Twitcher read what the other one writes.
#[test]
fn etcdctl_and_twitcher_share_their_nodes() {
    use crate::harness::{etcdctl, txaioetcd};
    let sandbox = Sandbox::of_kind(Store::Etcd);
    let address = Store::Etcd.shared_server().address();
    let root = sandbox.nodes.root();
    let [journal] = record(&sandbox, ["/a/n"]);
    let _daemon = sandbox.start();
    etcdctl(&address, &["put", &format!("{root}/a/n"), "theirs"]);
    journal.wait_for_line_where("the content", |line| line.ends_with(" theirs"));
    assert_eq!(sandbox.client(["get", "/a/n"]).finish().expect(0).text(), "theirs");
    sandbox.client(["set", "/a/n", "ours"]).finish().expect(0);
    journal.wait_for_last("changed ours");
    let read = etcdctl(&address, &["get", "--print-value-only", &format!("{root}/a/n")]);
    assert_eq!(read, "ours\n");
    etcdctl(&address, &["del", &format!("{root}/a/n")]);
    journal.wait_for_last("deleted ");
    // A client in Python, which has nothing in common with etcdctl.
    let theirs = |body: &str| txaioetcd(&address, &body.replace("NODE", &format!("'{root}/a/n'.encode()")));
    let body = "client = etcd.Client(reactor, 'http://' + sys.argv[1])\n\
                await client.set(NODE, b'python\\x00\\xff')\n";
    theirs(body);
    journal.wait_for_line_where("the content", |line| line.starts_with("created python"));
    assert_eq!(sandbox.client(["get", "/a/n"]).finish().expect(0).stdout, b"python\0\xff");
    sandbox.client(["set", "/a/n", "ours again"]).finish().expect(0);
    let body = "client = etcd.Client(reactor, 'http://' + sys.argv[1])\n\
                found = await client.get(NODE)\nprint(found.kvs[0].value.decode())\n\
                await client.delete(NODE)\n";
    assert_eq!(theirs(body), "ours again\n");
    journal.wait_for_last("deleted ");
}
