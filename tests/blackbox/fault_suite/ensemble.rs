//! An ensemble of three servers that loses some of them.

use std::fs;
use std::thread;
use std::time::Duration;

use super::oracle::{Numbers, Oracle};
use crate::harness::wait::throughout;
use crate::harness::{Daemon, Ensemble, Sandbox, ZooKeeper, kazoo, load, wait_until};

/// The script of the foreign client. A node's content is its version number, so that each content occurs
/// once: a write that is repeated because its confirmation was lost finds the version taken. `sync` is there
/// because a member may lag behind what another one has confirmed.
const WRITER: &str = "
import os
from kazoo.exceptions import BadVersionError
retry(zk.sync, '/')
nodes = sorted('/' + name for name in zk.get_children('/'))
versions = {node: retry(zk.get, node)[1].version for node in nodes}
def update(node):
    try:
        retry(zk.set, node, b'%d' % (versions[node] + 1), version=versions[node])
    except BadVersionError:
        pass
    versions[node] += 1
";

/// An ensemble and a daemon that knows all members and watches some nodes.
struct Fixture {
    ensemble: Ensemble,
    sandbox: Sandbox,
    oracle: Oracle,
    daemon: Daemon,
}

impl Fixture {
    /// Starts all of it. The nodes contain 0, and their actions have run with that.
    fn watching(nodes: usize) -> Self {
        let ensemble = Ensemble::start();
        let sandbox = Sandbox::on_ensemble(&ensemble);
        let oracle = Oracle::new(&sandbox);
        let config = format!(
            "for n in 0..{nodes} {{ RegisterWatch(#{{ znode: `/n${{n}}`, action: {} }}); }}",
            oracle.action()
        );
        sandbox.config("app.twc", config);
        let daemon = sandbox.start();
        let it = Self { ensemble, sandbox, oracle, daemon };
        let create = format!("for n in range({nodes}): retry(zk.create, '/n%d' % n, b'0')");
        let all = it.ensemble.address();
        it.script(&all, &create);
        it.oracle.expect_last(&it.contents(&all));
        it
    }

    /// Runs a script of the foreign client, which connects to these members.
    fn script(&self, address: &str, script: &str) -> String {
        let url = self.sandbox.nodes.url_by_way_of(address);
        kazoo(url.trim_start_matches("zk://"), script)
    }

    /// Updates each node once through these members.
    fn update_all(&self, address: &str) {
        self.script(address, &format!("{WRITER}\nfor node in nodes: update(node)"));
    }

    /// Updates every other node once through these members. The rest shows whether an unchanged node runs.
    fn update_half(&self, address: &str) {
        self.script(address, &format!("{WRITER}\nfor node in nodes[::2]: update(node)"));
    }

    /// The contents of the nodes, as the foreign client reads them from these members.
    fn contents(&self, address: &str) -> Numbers {
        let script = format!("{WRITER}\nfor node in nodes: print(node, int(retry(zk.get, node)[0]))");
        let said = self.script(address, &script);
        let lines = said.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(node, number)| (node.to_owned(), number.parse().expect("a number"))).collect()
    }

    /// Panics unless each node's last content is the last that ran, and each content ran at most once and in
    /// order.
    fn expect_all_done(&self) {
        let all = self.ensemble.address();
        self.oracle.expect_last(&self.contents(&all));
        // A run too many would come before the runs of these updates.
        self.update_all(&all);
        self.oracle.expect_last(&self.contents(&all));
        self.oracle.expect_each_once_in_order();
    }

    /// Makes at least this many updates. The leader dies after half of them, while they go on. Afterwards one
    /// node after the other gets its last update, some of them before the daemon has reconnected: only a lost
    /// last update would stay lost.
    fn update_while_the_leader_dies(&self, updates: usize, round: usize) {
        let [half, dead] = ["half", "dead"].map(|name| self.sandbox.path(&format!("{name}-{round}")));
        let script = format!(
            "{WRITER}\n\
             import random\n\
             for _ in range({updates} // 2): update(random.choice(nodes))\n\
             open('{half}', 'w').close()\n\
             while not os.path.exists('{dead}'): update(random.choice(nodes))\n\
             for left in range({updates} // 2, 0, -1):\n    \
                 update(random.choice(nodes[:left * len(nodes) * 2 // {updates}] or nodes[:1]))",
            half = half.display(),
            dead = dead.display(),
        );
        let leader = self.ensemble.leader();
        thread::scope(|scope| {
            let writer = scope.spawn(|| self.script(&self.ensemble.address(), &script));
            wait_until("half of the updates", || half.exists() || writer.is_finished());
            leader.down();
            fs::write(&dead, "").expect("tell the writer");
        });
        self.oracle.expect_last(&self.contents(&self.ensemble.address_without(leader)));
        leader.up();
    }
}

// "Nothing is lost. ... server restarts ... do not break this.", "Never two at once in QUEUE", "One change
// starts one run at most": each node's final content, as a foreign client reads it, is what its action ran
// with last; no two runs of a node overlap; no content runs twice or after a later one.
#[test]
fn updates_while_the_leader_dies_again_and_again_are_not_lost() {
    let (nodes, deaths, updates) = load((20, 1, 200), (100, 3, 1_000_usize));
    let it = Fixture::watching(nodes);
    for round in 0..deaths {
        it.update_while_the_leader_dies(updates.div_ceil(deaths), round);
    }
    it.expect_all_done();
}

// "Reconnect attempts lie at most 5 s apart", and the daemon does nothing else while the quorum is away: it
// uses less than 1 % of one core, and its memory grows by less than 2 MiB. (A server that accepts a
// connection but no session is asked once whether it expects TLS, for which the TLS library allocates tables
// that stay.) "Nothing is lost": what changes once the quorum is back runs. "A reconnect ... starts no
// action": nothing else runs.
#[test]
fn a_daemon_without_a_quorum_idles_and_then_catches_up() {
    let length = Duration::from_secs(load(6, 60));
    let it = Fixture::watching(load(20, 100));
    let outages = || it.daemon.log_lines(&["not connected"]).len();
    let before = outages();
    let lost = &it.ensemble.members[..2];
    for member in lost {
        member.down();
    }
    wait_until("the daemon to notice", || outages() > before);

    let process = it.daemon.process();
    let (ticks, memory) = (process.cpu_ticks(), process.resident());
    let mut most = memory;
    // The promise is about a length of time, so the test waits for time to pass.
    throughout(length, || most = most.max(process.resident()));
    let ticks = process.cpu_ticks() - ticks;
    // A tick is 10 ms, which is 1 % of a second. Two more are for rounding.
    assert!(ticks <= length.as_secs() + 2, "{ticks} ticks of processor time in {length:?}");
    let grown = most - memory;
    assert!(grown < 2048, "{grown} KiB more than {memory} KiB after {length:?}");

    for member in lost {
        member.launch();
    }
    it.ensemble.members.iter().for_each(ZooKeeper::wait_until_serving);
    it.update_half(&it.ensemble.address());
    it.expect_all_done();
}

// "Nothing is lost": changes through the other members while the daemon's member is frozen run before that
// member is back. "Nothing runs for nothing": its return, with old contents and an old session, runs nothing.
#[test]
fn updates_while_the_daemons_own_server_is_frozen_are_not_lost() {
    let it = Fixture::watching(load(5, 20));
    for _ in 0..load(1, 3) {
        let frozen = it.ensemble.watched();
        let others = it.ensemble.address_without(frozen);
        frozen.freeze();
        it.update_half(&others);
        it.oracle.expect_last(&it.contents(&others));
        // The daemon has a session with another member, so the remaining session is not that of the frozen
        // one.
        wait_until("the old session to expire", || {
            it.ensemble.others(frozen).all(|member| member.has_sessions(1))
        });
        it.update_half(&others);
        frozen.thaw();
        frozen.wait_until_serving();
        it.expect_all_done();
    }
}
