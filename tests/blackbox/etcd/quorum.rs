//! Members without a quorum: "a partitioned member must not be believed".
//!
//! Each write here is for one version of its node. A request that a member without a leader gave up can still
//! be done later, and would otherwise be an update of its own, beside the one that was tried again.

use std::sync::Arc;

use super::record;
use crate::harness::{Etcd, EtcdClient, Journal, Machine, Proxy, Sandbox, Server, exec, wait_until, watch};

/// Three members, the first of which is on another machine. The daemon knows all of them and is connected to
/// that one, which it reaches also while the cable between the members is pulled.
struct Fixture {
    machine: Arc<Machine>,
    members: Vec<Etcd>,
    sandbox: Sandbox,
    /// One for each member.
    proxies: Vec<Proxy>,
}

impl Fixture {
    #[track_caller]
    fn start() -> Self {
        let machine = Arc::new(Machine::new());
        let [ours, theirs] = &machine.addresses;
        let mut members = Etcd::cluster_at(&[theirs.clone(), ours.clone(), ours.clone()]);
        let cut_off = members.remove(0).on(&machine);
        members.insert(0, cut_off);
        members.iter().for_each(Server::launch);
        members.iter().for_each(Server::wait_until_serving);
        let there = Arc::clone(&machine);
        let mut proxies = vec![Proxy::by(&members[0].address(), move |address| there.connect(address))];
        proxies.extend(members[1..].iter().map(|member| Proxy::to(&member.address())));
        let sandbox = Sandbox::on(&members[1]);
        Self { machine, members, sandbox, proxies }
    }

    /// A client of the members with a quorum.
    fn client(&self) -> EtcdClient {
        let [_, second, third] = &self.members[..] else { unreachable!() };
        let addresses = format!("{},{}", second.address(), third.address());
        EtcdClient::new(&addresses, self.sandbox.nodes.root())
    }

    /// The URL with the members that these numbers stand for.
    fn url<const N: usize>(&self, members: [usize; N]) -> String {
        let addresses = members.map(|number| self.proxies[number].address());
        self.sandbox.nodes.url_by_way_of(&addresses.join(","))
    }

    /// Pulls the cable and waits until the member on the other machine knows of no leader.
    #[track_caller]
    fn part(&self) {
        self.machine.pull_there();
        wait_until("the member to miss its leader", || {
            self.members[0].metric("etcd_server_has_leader") == Some(0)
        });
        wait_until("the others to have one", || self.members[1..].iter().any(Server::leads));
    }

    /// Plugs the cable in and waits until all members have a leader.
    #[track_caller]
    fn join(&self) {
        self.machine.plug_there();
        self.members.iter().for_each(Server::wait_until_serving);
    }
}

// "a partitioned member must not be believed": the daemon goes to another one, and what changed meanwhile
// runs.
#[test]
fn a_daemon_leaves_a_member_that_is_cut_off_from_the_quorum() {
    let it = Fixture::start();
    let client = it.client();
    ["/n", "/still"].iter().for_each(|node| client.set_version(node, 0, b"1"));
    let [journal, still] = record(&it.sandbox, ["/n", "/still"]);
    it.proxies[1..].iter().for_each(Proxy::refuse);
    let daemon = it.sandbox.daemon_on(&it.url([0, 1, 2])).start();
    [&journal, &still].iter().for_each(|journal| journal.wait_for(&["load 1"]));
    it.proxies[1..].iter().for_each(Proxy::resume);
    it.part();
    client.set_version("/n", 1, b"2");
    journal.wait_for(&["load 1", "changed 2"]);
    client.set_version("/n", 2, b"3");
    journal.wait_for(&["load 1", "changed 2", "changed 3"]);
    it.join();
    client.set_version("/n", 3, b"4");
    journal.wait_for(&["load 1", "changed 2", "changed 3", "changed 4"]);
    client.set_version("/still", 1, b"2");
    still.wait_for(&["load 1", "changed 2"]);
    drop(daemon);
}

// The same, where the daemon knows no other member: it is not connected, and says so.
#[test]
fn a_daemon_that_knows_only_a_member_without_a_quorum_is_not_connected() {
    let it = Fixture::start();
    let client = it.client();
    client.set_version("/n", 0, b"1");
    let [journal] = record(&it.sandbox, ["/n"]);
    let daemon = it.sandbox.daemon_on(&it.url([0])).start();
    journal.wait_for(&["load 1"]);
    it.part();
    client.set_version("/n", 1, b"2");
    daemon.wait_for_log(&["not connected", "leader"]);
    // A watch that is new must not believe it either: the node is there, but not for this member.
    client.set_version("/new", 0, b"1");
    let new = quiet(&it.sandbox, "/new");
    daemon.wait_for_log(&["new.twc"]);
    it.join();
    journal.wait_for(&["load 1", "changed 2"]);
    new.wait_for(&["load 1"]);
}

// A daemon that starts while it reaches only that member believes it no more.
#[test]
fn a_daemon_does_not_begin_with_a_member_without_a_quorum() {
    let it = Fixture::start();
    let client = it.client();
    client.set_version("/n", 0, b"old");
    wait_until("the member to have it", || it.members[0].metric("etcd_server_has_leader") == Some(1));
    let journal = quiet(&it.sandbox, "/n");
    it.part();
    client.set_version("/n", 1, b"new");
    let url = it.url([0]);
    let daemon = it.sandbox.daemon_on(&url).start();
    daemon.wait_for_log(&["not connected"]);
    let get = it.sandbox.twitcher(["get", "/n", "--store", &url, "--session-timeout", "3"]);
    get.finish().expect(1);
    it.join();
    journal.wait_for(&["load new"]);
}

// "loss of the leader": it is frozen, and comes back when there is another one.
#[test]
fn a_leader_that_freezes_and_comes_back_is_no_source_of_old_contents() {
    let members = Etcd::cluster(3);
    members.iter().for_each(Server::launch);
    members.iter().for_each(Server::wait_until_serving);
    let addresses: Vec<_> = members.iter().map(Server::address).collect();
    let sandbox = Sandbox::on(&members[0]);
    sandbox.nodes.set("/n", "1");
    let [journal] = record(&sandbox, ["/n"]);
    let _daemon = sandbox.daemon_on(&sandbox.nodes.url_by_way_of(&addresses.join(","))).start();
    journal.wait_for(&["load 1"]);
    let mut last = 1;
    for _ in 0..2 {
        wait_until("a leader", || members.iter().any(Server::leads));
        let Some(leader) = members.iter().position(Server::leads) else { continue };
        members[leader].freeze();
        let others: Vec<_> =
            (0..3).filter(|number| *number != leader).map(|number| addresses[number].clone()).collect();
        let client = EtcdClient::new(&others.join(","), sandbox.nodes.root());
        client.set_version("/n", last, (last + 1).to_string().as_bytes());
        last += 1;
        journal.wait_for_last(&format!("changed {last}"));
        members[leader].thaw();
        members[leader].wait_until_serving();
    }
    let expected: Vec<_> =
        (1..=last).map(|n| if n == 1 { "load 1".to_owned() } else { format!("changed {n}") }).collect();
    journal.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Watches a node, and journals event and content.
fn quiet(sandbox: &Sandbox, node: &str) -> Journal {
    let journal = sandbox.journal_named(&node[1..]);
    let text = watch(node, &exec(&journal.record_event()), "");
    sandbox.config(&format!("{}.twc", &node[1..]), text);
    journal
}
