//! The process that keeps the members of a daemon: who it is, and what its death, and the daemon's, does to
//! members.

use std::fs;
use std::os::unix::fs::chown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::{
    MEMBER, checked, data, said, service, set_well, wait_for_absence, wait_for_member, wait_for_state,
};
use crate::harness::control::get;
use crate::harness::wait::throughout;
use crate::harness::{
    Daemon, Nodes, Process, Sandbox, exec, kazoo, on_every_store, require_root, wait_for, wait_until, watch,
};

const NONE: &str = "0000000000000000";

#[track_caller]
fn keeper(daemon: &Daemon) -> Process {
    wait_for("the process that keeps members", || match daemon.process().keepers()[..] {
        [keeper] => Some(keeper),
        _ => None,
    })
}

fn status(sandbox: &Sandbox) -> serde_json::Value {
    serde_json::from_slice(&sandbox.operator(["status", "--json"]).finish().expect(0).stdout).expect("JSON")
}

fn user(process: Process) -> String {
    process.status("Uid").split_whitespace().next().expect("a user").to_owned()
}

/// Polls as fast as it can while `work` goes on: the member must be there at each look, and no other one.
fn never_absent_nor_double(sandbox: &Sandbox, work: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    let while_it_lasts = |what: &str, look: &dyn Fn()| {
        let mut looks = 0;
        while !is_over.load(Ordering::Relaxed) {
            look();
            looks += 1;
        }
        assert!(looks > 10, "{what}: {looks} looks");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while_it_lasts("polling", &|| {
                assert!(sandbox.nodes.get(MEMBER).is_some(), "the member is absent")
            });
        });
        scope.spawn(|| {
            while_it_lasts("listing", &|| {
                let listed = sandbox.client(["ls", "/services/web"]).finish().expect(0).text();
                assert_eq!(listed, "h:1\n");
            });
        });
        // Also if it panics.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&is_over);
        work();
    });
}

// "what speaks to the network has no root", and what writes into a directory of root's has no more than that.
on_every_store!(a_keeper_is_confined_and_is_not_root_where_it_need_not_be);
fn a_keeper_is_confined_and_is_not_root_where_it_need_not_be(sandbox: &Sandbox) {
    require_root();
    sandbox.config("web.twc", service(""));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    let keeper = keeper(&daemon);
    let is_directory = matches!(sandbox.nodes, Nodes::Directory(_));
    for ids in ["Uid", "Gid"] {
        let ids = keeper.status(ids);
        assert!(ids.split_whitespace().all(|id| (id == "0") == is_directory), "{ids}");
    }
    for (name, expected) in [
        ("CapInh", NONE),
        ("CapPrm", NONE),
        ("CapEff", NONE),
        ("CapBnd", NONE),
        ("CapAmb", NONE),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("Groups", ""),
    ] {
        assert_eq!(keeper.status(name), expected, "{name}");
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", keeper.0)).expect("its limits");
    let line = limits.lines().find(|line| line.starts_with("Max address space")).expect("a limit");
    let limit: u64 = line.split_whitespace().nth(3).expect("a limit").parse().expect("a number");
    assert!((256 << 20..512 << 20).contains(&limit), "{line}");
    assert_eq!(fs::read(format!("/proc/{}/environ", keeper.0)).expect("its environment"), b"");
    daemon.wait_for_log(&["members are held by", "by process", "confined by Landlock and by seccomp"]);
    assert_eq!(daemon.stop(), Some(0));
    wait_until("it to end", || !keeper.is_alive());
}

#[test]
fn the_keeper_of_a_directory_is_its_owner() {
    require_root();
    let sandbox = &Sandbox::directory();
    let root = sandbox.nodes.url().trim_start_matches("dir:").to_owned();
    fs::create_dir_all(&root).expect("make the directory");
    chown(&root, Some(12345), Some(12345)).expect("give it away");
    sandbox.config("web.twc", service(""));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    assert_eq!(user(keeper(&daemon)), "12345");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(sandbox.nodes.get(MEMBER), None);
}

// "none for stores without services"
#[test]
fn a_daemon_without_services_has_no_keeper() {
    let sandbox = &Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    sandbox.config("a.twc", watch("/n", &exec(&journal.record()), ""));
    let mut daemon = sandbox.start();
    journal.wait_for(&["1"]);
    assert!(daemon.process().keepers().is_empty());
    sandbox.config("web.twc", service(""));
    wait_for_member(sandbox);
    keeper(&daemon);
    assert_eq!(daemon.stop(), Some(0));
}

// "A member is announced within one round trip of its check succeeding": its process and its session are
// there by then.
#[test]
fn a_keeper_is_there_before_the_first_check_succeeds_and_ends_with_a_service_that_never_was_well() {
    let sandbox = &Sandbox::directory();
    sandbox.config("web.twc", checked(sandbox, "fall: 1"));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "failing");
    daemon.wait_for_log(&["members are held by"]);
    let first = keeper(&daemon);
    set_well(sandbox, true);
    wait_for_state(sandbox, "web.twc-1", "announced");
    assert_eq!(keeper(&daemon).0, first.0);
    set_well(sandbox, false);
    wait_for_state(sandbox, "web.twc-1", "failing");
    sandbox.remove_config("web.twc");
    wait_until("the keeper to end", || !first.is_alive() && daemon.process().keepers().is_empty());
    sandbox.config("web.twc", checked(sandbox, "fall: 1"));
    let second = keeper(&daemon);
    sandbox.remove_config("web.twc");
    wait_until("the keeper to end", || !second.is_alive() && daemon.process().keepers().is_empty());
    assert_eq!(daemon.stop(), Some(0));
}

// "its death is an outage", and "the node of the dead session is replaced in one transaction"
on_every_store!(a_keeper_that_is_killed_is_replaced_and_its_member_never_absent);
fn a_keeper_that_is_killed_is_replaced_and_its_member_never_absent(sandbox: &Sandbox) {
    sandbox.config("web.twc", service("data: #{ weight: 1 }"));
    let mut daemon = sandbox.daemon().args(["--session-timeout", "6"]).start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    never_absent_nor_double(sandbox, || {
        for round in 1..=3 {
            keeper(&daemon).signal(Signal::SIGKILL);
            wait_until("its end to be said", || said(&daemon, "was ended by SIGKILL") == round);
            wait_until("another keeper", || said(&daemon, "members are held by") > round);
            // Before its session ends, the next one must have taken it over.
            wait_for_state(sandbox, "web.twc-1", "announced");
        }
        daemon.wait_for_log(&["members are held by", "after 3 others"]);
        // The sessions of the dead expire, and take nothing with them.
        let began = Instant::now();
        wait_for("the dead to expire", || (began.elapsed() > Duration::from_secs(8)).then_some(()));
    });
    assert_eq!(said(&daemon, "cannot announce"), 0, "it did not know what the dead one left");
    // Its ends are counted beside those of the store's process, of which there were none.
    let store = &status(sandbox)["daemon"]["stores"][0];
    assert_eq!(
        (&store["keeper_restarts"], &store["keeper_pid"], &store["restarts"]),
        (&json!(3), &json!(keeper(&daemon).0), &json!(0)),
        "{store}"
    );
    let text = sandbox.operator(["status"]).finish().expect(0).text();
    assert!(text.contains("its keeper of members was replaced 3 times"), "{text}");
    let metrics = get(&sandbox.control_socket(), "/metrics").text();
    assert!(metrics.contains("twitcher_keeper_restarts_total{store=\"default\"} 3\n"), "{metrics}");
    // It is held, and not only left.
    sandbox.nodes.remove(MEMBER);
    wait_for_member(sandbox);
    // What is ordered while there is none is done by the next one.
    keeper(&daemon).signal(Signal::SIGKILL);
    sandbox.config("web.twc", service("data: #{ weight: 2 }"));
    wait_until("the new data", || data(sandbox, MEMBER).is_some_and(|data| data["weight"] == json!(2)));
    keeper(&daemon).signal(Signal::SIGKILL);
    sandbox.remove_config("web.twc");
    wait_for_absence(sandbox);
    daemon.wait_for_log(&["web.twc-1: withdrew /services/web/h:1"]);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(said(&daemon, "withdrew"), 1);
}

// A keeper without members would hold a session and a process for nothing.
on_every_store!(a_keeper_ends_with_the_last_service_and_comes_back_with_the_next);
fn a_keeper_ends_with_the_last_service_and_comes_back_with_the_next(sandbox: &Sandbox) {
    let second = service("").replace("h:1", "h:2");
    sandbox.config("web.twc", service("") + &*second);
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-2", "announced");
    let first = keeper(&daemon);
    sandbox.config("web.twc", service(""));
    daemon.wait_for_log(&["web.twc-2: withdrew"]);
    wait_for_state(sandbox, "web.twc-1", "announced");
    assert_eq!(keeper(&daemon).0, first.0, "a service is left");
    for round in 1..=2 {
        let before = keeper(&daemon);
        sandbox.remove_config("web.twc");
        wait_for_absence(sandbox);
        wait_until("the keeper to end", || !before.is_alive() && daemon.process().keepers().is_empty());
        sandbox.config("web.twc", service(""));
        wait_for_state(sandbox, "web.twc-1", "announced");
        assert_eq!(said(&daemon, "web.twc-1: withdrew"), round);
    }
    assert_eq!(said(&daemon, "members cannot be announced"), 0, "its end is no outage");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(sandbox.nodes.get(MEMBER), None);
}

// It cannot say that it hangs.
on_every_store!(a_stopped_keeper_is_killed_and_another_holds_its_member);
fn a_stopped_keeper_is_killed_and_another_holds_its_member(sandbox: &Sandbox) {
    sandbox.config("web.twc", service(""));
    let mut daemon = sandbox.daemon().args(["--session-timeout", "2"]).start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    let stopped = keeper(&daemon);
    stopped.signal(Signal::SIGSTOP);
    daemon.wait_for_log(&["gave no answer for 2 s, and was killed"]);
    wait_until("its end", || !stopped.is_alive());
    daemon.wait_for_log(&["members are held by", "after 1 other"]);
    assert_ne!(keeper(&daemon).0, stopped.0);
    wait_for_state(sandbox, "web.twc-1", "announced");
    wait_for_member(sandbox);
    assert_eq!(said(&daemon, "gave no answer"), 1, "it is said once");
    // It is held, and not only left.
    sandbox.nodes.remove(MEMBER);
    wait_for_member(sandbox);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(sandbox.nodes.get(MEMBER), None);
}

// "After `kill -9` and a restart within the session timeout the member is never seen twice and never lost"
on_every_store!(a_daemon_that_is_killed_and_started_again_never_loses_its_member);
fn a_daemon_that_is_killed_and_started_again_never_loses_its_member(sandbox: &Sandbox) {
    sandbox.config("web.twc", service(""));
    let start = || sandbox.daemon().args(["--session-timeout", "6"]).start();
    let mut daemon = start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    never_absent_nor_double(sandbox, || {
        for _ in 0..3 {
            let keeper = keeper(&daemon);
            daemon.kill();
            daemon = start();
            wait_until("the former keeper to end", || !keeper.is_alive());
            let pid = json!(daemon.process().0);
            wait_until("the next daemon's member", || {
                data(sandbox, MEMBER).is_some_and(|data| data["pid"] == pid)
            });
            assert_eq!(said(&daemon, "cannot announce"), 0, "it did not know what the dead one left");
        }
        let began = Instant::now();
        wait_for("the dead to expire", || (began.elapsed() > Duration::from_secs(8)).then_some(()));
    });
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(sandbox.nodes.get(MEMBER), None);
}

// Nobody gives it orders any more, and what it holds is the next daemon's for so long.
on_every_store!(the_keeper_of_a_killed_daemon_ends_at_once_and_withdraws_nothing);
fn the_keeper_of_a_killed_daemon_ends_at_once_and_withdraws_nothing(sandbox: &Sandbox) {
    sandbox.config("web.twc", service(""));
    let mut daemon = sandbox.daemon().args(["--session-timeout", "4"]).start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    let keeper = keeper(&daemon);
    daemon.kill();
    let began = Instant::now();
    wait_until("it to end", || !keeper.is_alive());
    assert!(sandbox.nodes.get(MEMBER).is_some());
    if matches!(sandbox.nodes, Nodes::Directory(_)) {
        throughout(Duration::from_secs(1), || assert!(sandbox.nodes.get(MEMBER).is_some()));
        return;
    }
    wait_for_absence(sandbox);
    assert!(began.elapsed() > Duration::from_secs(1), "it was withdrawn after {:?}", began.elapsed());
}

// What a service manager or a terminal sends to all processes must not keep the daemon from withdrawing.
#[test]
fn a_keeper_ends_with_its_daemon_and_by_no_signal_of_others() {
    let sandbox = &Sandbox::zookeeper();
    sandbox.config("web.twc", service(""));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    let keeper = keeper(&daemon);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        keeper.signal(signal);
    }
    daemon.signal(Signal::SIGTERM);
    wait_for_absence(sandbox);
    assert_eq!(daemon.wait_for_exit(), Some(0));
    assert_eq!(said(&daemon, "was ended by"), 0);
}

// It has no right to read them: the daemon does, before each connection.
#[test]
fn a_keeper_logs_in_with_credentials_that_only_root_can_read() {
    let sandbox = &Sandbox::zookeeper();
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    let credentials = sandbox.path("credentials");
    sandbox.private(&credentials, "operator:hunter2\n");
    let file = credentials.display().to_string();
    sandbox.settings(&format!("[[auth]]\nscheme = \"digest\"\ncredentials = {{ file = {file:?} }}\n"));
    sandbox.config("web.twc", service("acl: OWNER"));
    let mut daemon = sandbox.start();
    for round in 0..2 {
        wait_for_state(sandbox, "web.twc-1", "announced");
        let script = format!(
            "zk.add_auth('digest', 'operator:hunter2')\n\
             print([acl.id.id.split(':')[0] for acl in zk.get_acls('{root}{MEMBER}')[0]])"
        );
        assert_eq!(kazoo(address, &script).trim(), "['operator']");
        if round == 0 {
            keeper(&daemon).signal(Signal::SIGKILL);
            wait_until("another keeper", || said(&daemon, "members are held by") > 1);
        }
    }
    assert_eq!(daemon.stop(), Some(0));
}
