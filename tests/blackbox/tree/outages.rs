//! A tree behind a network that fails.

use super::{Trace, tree};
use crate::harness::{Daemon, Nodes, Proxy, Sandbox, ZooKeeper, exec, kazoo, wait_until};

/// A daemon that watches a tree of three nodes below `/t` on a server of its own, behind a proxy.
struct Remote {
    server: ZooKeeper,
    proxy: Proxy,
    sandbox: Sandbox,
    trace: Trace,
    _daemon: Daemon,
}

const REMOTE: &str = "load: load /t=, load /t/a=, load /t/a/x=1, load /t/b=1";

impl Remote {
    fn start() -> Self {
        let server = ZooKeeper::start();
        let proxy = Proxy::to(&server.address());
        let sandbox = Sandbox::on(&server);
        let trace = Trace::new(&sandbox);
        sandbox.nodes.set("/t/a/x", "1");
        sandbox.nodes.set("/t/b", "1");
        sandbox.config("app.twc", tree(&exec(&trace.note()), ""));
        let daemon = sandbox.daemon_on(&sandbox.nodes.url_by_way_of(&proxy.address())).start();
        trace.wait_for(&[REMOTE]);
        Self { server, proxy, sandbox, trace, _daemon: daemon }
    }

    fn isolate(&self) {
        self.proxy.refuse();
        wait_until("the server to see the connection end", || self.server.watches() == 0);
    }

    /// Changes all nodes. Once the daemon is back, there must be one run with all changes, and then one for
    /// another change.
    fn change_and_return(&self, change: impl FnOnce(&Self)) {
        self.sandbox.nodes.set("/t/a/x", "2");
        self.sandbox.nodes.remove("/t/b");
        self.sandbox.nodes.set("/t/c/x/y", "3");
        change(self);
        self.proxy.resume();
        let back =
            "changed: changed /t/a/x=2, deleted /t/b, created /t/c=, created /t/c/x=, created /t/c/x/y=3";
        self.trace.wait_for(&[REMOTE, back]);
        self.sandbox.nodes.set("/t/c/x/y", "4");
        self.trace.wait_for(&[REMOTE, back, "changed: changed /t/c/x/y=4"]);
    }
}

// "After reconnects ... the tree must not be given piecemeal": all that happened meanwhile is one update.
#[test]
fn what_changed_while_the_session_expired_is_given_at_once() {
    let it = Remote::start();
    it.isolate();
    wait_until("the session to expire", || it.server.sessions() == 0);
    it.change_and_return(|_| {});
}

#[test]
fn what_changed_before_a_server_restart_is_given_at_once() {
    let it = Remote::start();
    it.isolate();
    it.change_and_return(|it| {
        it.server.down();
        it.server.up();
    });
}

// "A reconnect ... starts no action."
#[test]
fn a_reconnect_runs_nothing_for_a_tree() {
    let it = Remote::start();
    for _ in 0..3 {
        let so_far = it.proxy.attempts();
        it.proxy.cut();
        wait_until("the watches to be armed again", || {
            it.proxy.attempts() > so_far && it.server.watches() == 4
        });
    }
    it.sandbox.nodes.set("/t/b", "2");
    it.trace.wait_for(&[REMOTE, "changed: changed /t/b=2"]);
}

// "At rest, the last state given is the true one"
#[test]
fn a_tree_is_right_after_random_changes_over_cuts_and_restarts() {
    let it = Remote::start();
    let seed = fastrand::u32(..);
    let Nodes::ZooKeeper { address, root } = &it.sandbox.nodes else { unreachable!() };
    let changes = format!(
        "import random\n\
         from kazoo.exceptions import NoNodeError, NodeExistsError, NotEmptyError\n\
         chance = random.Random({seed})\n\
         paths = ['/t', '/t/a', '/t/a/x', '/t/a/x/y', '/t/a-b', '/t/b', '/t/c/x/y', '/t/c/z']\n\
         for n in range(400):\n \
           path = '{root}' + chance.choice(paths)\n \
           try:\n  \
             if chance.random() < 0.7:\n   \
               retry(zk.ensure_path, path)\n   \
               retry(zk.set, path, str(n).encode())\n  \
             else:\n   \
               retry(zk.delete, path, recursive=True)\n \
           except (NoNodeError, NodeExistsError, NotEmptyError): pass\n\
         retry(zk.ensure_path, '{root}/t/end')\n\
         def show(path):\n \
           print(path[len('{root}'):], retry(zk.get, path)[0].decode(), sep='=')\n \
           for name in retry(zk.get_children, path): show(path + '/' + name)\n\
         show('{root}/t')"
    );
    let shown = std::thread::scope(|scope| {
        let writer = scope.spawn(|| kazoo(address, &changes));
        for round in 0.. {
            let so_far = it.proxy.attempts();
            if round % 4 == 1 {
                it.server.down();
                it.server.up();
            }
            it.proxy.cut();
            wait_until("the daemon to come back", || it.proxy.attempts() > so_far && it.server.is_watched());
            if writer.is_finished() {
                break;
            }
        }
        writer.join().expect("the changes are made")
    });
    let nodes: Vec<_> = shown.lines().map(|line| line.split_once('=').expect("a node")).collect();
    assert!(nodes.len() >= 2, "{nodes:?}");
    eprintln!("seed {seed}");
    it.trace.wait_for_mirror(&nodes);
}
