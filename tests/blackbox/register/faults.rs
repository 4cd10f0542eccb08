//! What happens to members when somebody, or something, interferes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{MEMBER, keeper, member, register, wait_for_absence, wait_for_member};
use crate::harness::{
    Nodes, Proxy, Sandbox, Store, command, kazoo, on_every_kind, on_every_server, wait_for, wait_until,
};

/// The promise: a member is back so soon. The rest is for a busy machine.
const SOON: Duration = Duration::from_secs(1);

#[track_caller]
fn soon<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    assert!(began.elapsed() < SOON + Duration::from_secs(4), "{what} took {:?}", began.elapsed());
    done
}

// "deleted or overwritten by somebody, ... it is back within 1 s"; "a parent deleted while running heals,
// too"
on_every_kind!(a_member_that_somebody_deletes_or_overwrites_is_put_back);
fn a_member_that_somebody_deletes_or_overwrites_is_put_back(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    let register = register(&sandbox, &sandbox.nodes.url()).args(["--data", "a=1"]).start();
    register.wait_for_log(&[": it is announced"]);
    let data = sandbox.nodes.get(MEMBER).expect("the member");
    let is_back = || sandbox.nodes.get(MEMBER).as_ref() == Some(&data);
    for _ in 0..3 {
        sandbox.nodes.remove(MEMBER);
        soon("to put it back", || wait_until("the member to be back", is_back));
        sandbox.client(["rm", "/services", "--recursive"]).finish().expect(0);
        soon("to put its parents back", || wait_until("the member to be back", is_back));
    }
    // In ZooKeeper, nobody may write to it. In etcd, whoever overwrites it takes it away from its lease.
    if store != Store::ZooKeeper {
        for _ in 0..3 {
            sandbox.nodes.set(MEMBER, "overwritten");
            soon("to put it right", || wait_until("the member to be back", is_back));
        }
        assert_eq!(register.log_lines(&["it is not announced"]), [""; 0]);
    }
}

#[test]
fn a_member_that_somebody_overwrites_is_put_right() {
    let sandbox = Sandbox::zookeeper();
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    let register = register(&sandbox, &sandbox.nodes.url()).start();
    register.wait_for_log(&[": it is announced"]);
    let data = sandbox.nodes.get(MEMBER);
    // Nobody may write to it, but everybody may give it another ACL's node in its place.
    for is_ephemeral in ["True", "False"] {
        let script = format!(
            "t = zk.transaction()\nt.delete('{root}{MEMBER}')\n\
             t.create('{root}{MEMBER}', b'overwritten', ephemeral={is_ephemeral})\nprint(t.commit())"
        );
        kazoo(address, &script);
        soon("to put it right", || wait_until("the member to be back", || sandbox.nodes.get(MEMBER) == data));
    }
}

// "What another living host holds under the same name is left alone: a `conflict`, said once, tried again
// when it goes." A node that nobody holds is one, too.
on_every_kind!(a_node_that_nobody_holds_is_left_alone);
fn a_node_that_nobody_holds_is_left_alone(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    sandbox.nodes.set(MEMBER, "persistent");
    let register = register(&sandbox, &sandbox.nodes.url()).start();
    register.wait_for_log(&["it is not announced", "nobody holds", "twitcher rm ", " /services/web/h:1`"]);
    sandbox.nodes.set(MEMBER, "still");
    sandbox.nodes.set(MEMBER, "there");
    assert_eq!(sandbox.nodes.get(MEMBER).as_deref(), Some(&b"there"[..]));
    sandbox.nodes.remove(MEMBER);
    register.wait_for_log(&[": it is announced"]);
    assert_eq!(register.log_lines(&["it is not announced"]).len(), 1);
}

// The command that it gives removes the node, from the store and with the name that are meant.
#[test]
fn the_remedy_for_a_node_that_nobody_holds_can_be_pasted_into_a_shell() {
    let sandbox = Sandbox::of_kind(Store::Etcd);
    sandbox.settings(&format!("[stores.eu]\nurl = \"{}\"\n", sandbox.nodes.url()));
    sandbox.nodes.set("/services/a b/h:1", "persistent");
    let register = sandbox.twitcher(["register", "/services/a b", "h:1", "--store", "eu", "--config-path"]);
    let register = register.arg(sandbox.configs()).start();
    let line = register.wait_for_log(&["it is not announced", "nobody holds"]);
    let remedy = line.split('`').nth(1).expect("a command").to_owned();
    assert!(remedy.starts_with("twitcher rm --store eu "), "{remedy}");
    let remedy = remedy.replacen("twitcher", env!("CARGO_BIN_EXE_twitcher"), 1);
    let done = command("/bin/sh").args(["-c", &remedy]).status().expect("start a shell");
    assert!(done.success(), "{remedy}");
    register.wait_for_log(&[": it is announced"]);
}

// In a directory, the kernel tells at once that the keeper is dead.
#[test]
fn what_a_killed_register_left_in_a_directory_is_taken_at_once() {
    let sandbox = Sandbox::directory();
    let url = sandbox.nodes.url();
    let start = |data: &str| register(&sandbox, &url).args(["--data", data]).start();
    let mut first = start("run=1");
    first.wait_for_log(&[": it is announced"]);
    let mut second = start("run=2");
    second.wait_for_log(&["it is not announced", "another one holds"]);
    assert_eq!(member(&sandbox).expect("the member")["run"], 1);
    // The keeper of a killed register would withdraw the member.
    keeper(&first).signal(Signal::SIGKILL);
    first.kill();
    second.wait_for_log(&[": it is announced"]);
    assert_eq!(member(&sandbox).expect("the member")["run"], 2);
    // Nobody takes a claim for a node, and it is gone in the end.
    let listed = || sandbox.client(["ls", "/services/web"]).finish().expect(0).text();
    assert_eq!(listed(), "h:1\n");
    assert_eq!(second.stop(), Some(0));
    assert_eq!(listed(), "");
    sandbox.client(["rm", "/services/web"]).finish().expect(0);
}

// A `register` that is killed with its keeper leaves a ghost, which is somebody else's for the next one.
on_every_server!(what_a_killed_register_left_is_taken_when_it_expires);
fn what_a_killed_register_left_is_taken_when_it_expires(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    let url = sandbox.nodes.url();
    let start =
        |data: &str| register(&sandbox, &url).args(["--data", data, "--session-timeout", "2"]).start();
    let mut first = start("run=1");
    first.wait_for_log(&[": it is announced"]);
    // The keeper of a killed register would withdraw the member.
    keeper(&first).signal(Signal::SIGKILL);
    first.kill();
    let mut second = start("run=2");
    second.wait_for_log(&["it is not announced", "another one holds"]);
    second.wait_for_log(&[": it is announced"]);
    assert_eq!(member(&sandbox).expect("the member")["run"], 2);
    assert_eq!(second.stop(), Some(0));
}

// A register that is killed alone takes its member with it: nobody would see the command end.
on_every_kind!(a_killed_register_leaves_no_member);
fn a_killed_register_leaves_no_member(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    let mut register = register(&sandbox, &sandbox.nodes.url()).start();
    register.wait_for_log(&[": it is announced"]);
    register.kill();
    soon("to withdraw it", || wait_for_absence(&sandbox));
}

// "After `kill -9` and a restart within the session timeout the member is never seen twice and never lost:
// the node of the dead session is replaced in one transaction by one of the living."
on_every_kind!(a_killed_keeper_is_replaced_and_its_member_never_absent);
fn a_killed_keeper_is_replaced_and_its_member_never_absent(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    let url = sandbox.nodes.url();
    let register = register(&sandbox, &url).args(["--session-timeout", "4"]).start();
    register.wait_for_log(&[": it is announced"]);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Polls as fast as it can.
        let poller = scope.spawn(|| {
            let mut looks = 0_u32;
            while !is_over.load(Ordering::Relaxed) {
                assert!(sandbox.nodes.get(MEMBER).is_some(), "absent after {looks} looks");
                looks += 1;
            }
            looks
        });
        for round in 1..=2 {
            let before = keeper(&register);
            before.signal(Signal::SIGKILL);
            wait_until("its end to be said", || {
                register.log_lines(&["not connected", "was ended by SIGKILL"]).len() == round
            });
            wait_until("another keeper to hold it", || {
                register.log_lines(&[": it is announced"]).len() > round
            });
        }
        // The sessions of the dead expire, and take nothing with them.
        let began = Instant::now();
        wait_for("the dead to expire", || (began.elapsed() > Duration::from_secs(6)).then_some(()));
        is_over.store(true, Ordering::Relaxed);
        assert!(poller.join().expect("it is never absent") > 20);
    });
}

// "its session expired, it is back within 1 s of the daemon knowing"
on_every_server!(a_member_whose_session_expires_is_put_back);
fn a_member_whose_session_expires_is_put_back(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    let proxy = Proxy::to(&store.shared_server().address());
    let url = sandbox.nodes.url_by_way_of(&proxy.address());
    let mut register = register(&sandbox, &url).args(["--session-timeout", "2"]).start();
    register.wait_for_log(&[": it is announced"]);
    let data = sandbox.nodes.get(MEMBER);
    for round in 1..=2 {
        proxy.stall();
        wait_for_absence(&sandbox);
        register.wait_for_log(&["not connected", "the member stays until its owner expires"]);
        // What was stalled must not arrive.
        proxy.refuse();
        proxy.resume();
        wait_until("another session", || register.log_lines(&["connected to"]).len() > round);
        soon("to put it back", || wait_for_member(&sandbox));
        assert_eq!(sandbox.nodes.get(MEMBER), data, "the same data");
        wait_until("it to be said", || register.log_lines(&[": it is announced"]).len() > round);
    }
    // It says nothing that it does not know.
    proxy.refuse();
    wait_until("the loss", || register.log_lines(&["not connected"]).len() > 2);
    assert_eq!(register.stop(), Some(0));
    register.wait_for_log(&["nobody knows whether it is withdrawn"]);
    assert!(register.log_lines(&[": it is withdrawn"]).is_empty());
}

// "an ACL that forbids the write (said once, retried, shown)"
#[test]
fn a_write_that_is_forbidden_is_said_once_and_tried_again() {
    let sandbox = Sandbox::zookeeper();
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    sandbox.nodes.make("/services");
    let script = format!("zk.create('{root}/services/web', acl=[make_acl('world', 'anyone', read=True)])");
    kazoo(address, &script);
    let register = register(&sandbox, &sandbox.nodes.url()).start();
    register.wait_for_log(&["it is not written", "no permission to create it", "`c`"]);
    let began = Instant::now();
    // It is tried again after 1, 2 and 4 s.
    wait_for("three more tries", || (began.elapsed() > Duration::from_secs(4)).then_some(()));
    assert_eq!(register.log_lines(&["it is not written"]).len(), 1);
    sandbox.nodes.remove("/services/web");
    register.wait_for_log(&[": it is announced"]);
}
