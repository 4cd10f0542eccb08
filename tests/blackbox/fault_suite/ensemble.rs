//! An ensemble of three servers that loses some of them.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::oracle::{Numbers, Oracle};
use crate::harness::wait::throughout;
use crate::harness::{Daemon, Ensemble, Sandbox, Store, Writer, load, on_every_server, wait_until};

/// An ensemble and a daemon that knows all members and watches some nodes.
struct Fixture {
    ensemble: Ensemble,
    sandbox: Sandbox,
    oracle: Oracle,
    daemon: Daemon,
    /// What was written last.
    numbers: RefCell<Numbers>,
}

impl Fixture {
    /// Starts all of it. The nodes contain 0, and their actions have run with that.
    #[track_caller]
    fn watching(store: Store, nodes: usize) -> Self {
        let ensemble = Ensemble::start(store);
        let sandbox = Sandbox::on_ensemble(&ensemble);
        let oracle = Oracle::new(&sandbox);
        let config = format!(
            "for n in 0..{nodes} {{ RegisterWatch(#{{ znode: `/n${{n}}`, action: {} }}); }}",
            oracle.action()
        );
        sandbox.config("app.twc", config);
        let daemon = sandbox.start();
        let numbers: Numbers = (0..nodes).map(|n| (format!("/n{n}"), 0)).collect();
        numbers.keys().for_each(|node| sandbox.nodes.set(node, "0"));
        oracle.expect_last(&numbers);
        Self { ensemble, sandbox, oracle, daemon, numbers: numbers.into() }
    }

    /// A foreign client, which connects to these members.
    fn writer(&self, address: &str) -> Writer {
        self.sandbox.nodes.at(address).writer()
    }

    /// Updates each of these nodes once through these members.
    fn update(&self, address: &str, nodes: impl Fn(usize) -> bool) {
        let mut writer = self.writer(address);
        for (_, (node, number)) in self.numbers.borrow_mut().iter_mut().enumerate().filter(|(n, _)| nodes(*n))
        {
            writer.update(node, number);
        }
    }

    /// Updates each node once through these members.
    fn update_all(&self, address: &str) {
        self.update(address, |_| true);
    }

    /// Updates every other node once through these members. The rest shows whether an unchanged node runs.
    fn update_half(&self, address: &str) {
        self.update(address, |n| n % 2 == 0);
    }

    /// Panics unless the servers have what was written, and waits until the actions have run with that.
    #[track_caller]
    fn expect_last(&self, address: &str) {
        let mut writer = self.writer(address);
        for (node, number) in &*self.numbers.borrow() {
            assert_eq!(writer.read(node), *number, "{node}");
        }
        self.oracle.expect_last(&self.numbers.borrow());
    }

    /// Panics unless each node's last content is the last that ran, and each content ran at most once and in
    /// order.
    #[track_caller]
    fn expect_all_done(&self) {
        let all = self.ensemble.address();
        self.expect_last(&all);
        // A run too many would come before the runs of these updates.
        self.update_all(&all);
        self.expect_last(&all);
        self.oracle.expect_each_once_in_order();
    }

    /// Makes at least this many updates. The leader dies after half of them, while they go on. Afterwards one
    /// node after the other gets its last update, some of them before the daemon has reconnected: only a lost
    /// last update would stay lost.
    #[track_caller]
    fn update_while_the_leader_dies(&self, updates: usize) {
        let half = updates / 2;
        let (is_half_done, is_dead) = (AtomicBool::new(false), AtomicBool::new(false));
        let mut writer = self.writer(&self.ensemble.address());
        let leader = self.ensemble.leader();
        let mut numbers = self.numbers.borrow_mut();
        let mut nodes: Vec<_> = numbers.iter_mut().collect();
        let all = nodes.len();
        thread::scope(|scope| {
            let (is_half_done, is_dead) = (&is_half_done, &is_dead);
            let written = scope.spawn(move || {
                let mut update_one_of = |count: usize| {
                    let (node, number) = &mut nodes[fastrand::usize(..count)];
                    writer.update(node, number);
                };
                (0..half).for_each(|_| update_one_of(all));
                is_half_done.store(true, Ordering::Release);
                while !is_dead.load(Ordering::Acquire) {
                    update_one_of(all);
                }
                (1..=half).rev().for_each(|left| update_one_of((left * all / half).max(1)));
            });
            wait_until("half of the updates", || {
                is_half_done.load(Ordering::Acquire) || written.is_finished()
            });
            leader.down();
            is_dead.store(true, Ordering::Release);
        });
        drop(numbers);
        self.expect_last(&self.ensemble.address_without(leader));
        leader.up();
    }
}

// "Nothing is lost. ... server restarts ... do not break this.", "Never two at once in QUEUE", "One change
// starts one run at most": each node's final content, as a foreign client reads it, is what its action ran
// with last; no two runs of a node overlap; no content runs twice or after a later one.
on_every_server!(updates_while_the_leader_dies_again_and_again_are_not_lost);
fn updates_while_the_leader_dies_again_and_again_are_not_lost(store: Store) {
    let (nodes, deaths, updates) = load((20, 1, 200), (100, 3, 1_000_usize));
    let it = Fixture::watching(store, nodes);
    for _ in 0..deaths {
        it.update_while_the_leader_dies(updates.div_ceil(deaths));
    }
    it.expect_all_done();
}

// "Reconnect attempts lie at most 5 s apart", and the daemon does nothing else while the quorum is away: it
// uses less than 1 % of one core, and its memory grows by less than 2 MiB. (A server that accepts a
// connection but no session is asked once whether it expects TLS, for which the TLS library allocates tables
// that stay.) "Nothing is lost": what changes once the quorum is back runs. "A reconnect ... starts no
// action": nothing else runs.
on_every_server!(a_daemon_without_a_quorum_idles_and_then_catches_up);
fn a_daemon_without_a_quorum_idles_and_then_catches_up(store: Store) {
    let length = Duration::from_secs(load(6, 60));
    let it = Fixture::watching(store, load(20, 100));
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
    it.ensemble.wait_until_serving();
    it.update_half(&it.ensemble.address());
    it.expect_all_done();
}

// "Nothing is lost": changes through the other members while the daemon's member is frozen run before that
// member is back. "Nothing runs for nothing": its return, with old contents and an old session, runs nothing.
on_every_server!(updates_while_the_daemons_own_server_is_frozen_are_not_lost);
fn updates_while_the_daemons_own_server_is_frozen_are_not_lost(store: Store) {
    let it = Fixture::watching(store, load(5, 20));
    for _ in 0..load(1, 3) {
        let frozen = it.ensemble.watched();
        let others = it.ensemble.address_without(frozen);
        frozen.freeze();
        it.update_half(&others);
        it.expect_last(&others);
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
