//! `drain`: the time that clients have to see that a member is gone, before what served it ends.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{MEMBER, checked, service, wait_for_absence, wait_for_member, wait_for_state};
use crate::harness::{Sandbox, exec, on_every_store, watch};

const DRAIN: Duration = Duration::from_secs(3);

// "between the withdrawal of a member and what follows it": the daemon goes on for so long, and so do the
// actions that it would end.
on_every_store!(a_daemon_that_stops_gives_clients_the_time_to_leave);
fn a_daemon_that_stops_gives_clients_the_time_to_leave(sandbox: &Sandbox) {
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.nodes.set("/n", "1");
    let action = format!("trap '' TERM; {}; {}; {}", journal.note("runs"), gate.pass(), journal.note("done"));
    let longest = format!("drain: {}", DRAIN.as_secs());
    let shorter = service("drain: 1").replace("h:1", "h:2");
    sandbox.config("web.twc", [service(&longest), shorter, watch("/n", &exec(&action), "")].concat());
    sandbox.settings("stop_timeout = 0\n");
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    journal.wait_for(&["runs"]);
    let began = Instant::now();
    daemon.signal(Signal::SIGTERM);
    wait_for_absence(sandbox);
    daemon.wait_for_log(&["SIGTERM: stopping", "clients have 3 s to see it"]);
    assert!(daemon.is_running(), "it ended with the members");
    // The action ends by itself in that time, although `stop_timeout` gives it none.
    gate.open();
    journal.wait_for(&["runs", "done"]);
    assert_eq!(daemon.wait_for_exit(), Some(0));
    assert!(began.elapsed() >= DRAIN, "{:?}", began.elapsed());
}

#[test]
fn a_second_signal_ends_the_wait_and_without_a_member_there_is_none() {
    let sandbox = &Sandbox::zookeeper();
    sandbox.config("web.twc", service("drain: 1000"));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    daemon.signal(Signal::SIGTERM);
    wait_for_absence(sandbox);
    assert!(daemon.is_running(), "it waits for clients");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait_for_exit(), Some(0));
    // Nobody knows of a member that never was.
    sandbox.config("web.twc", checked(sandbox, "drain: 1000, fall: 1"));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "failing");
    assert_eq!(daemon.stop(), Some(0));
}

// "`drain: SECONDS` and `twitcher pause` answer the last": what comes after the command finds no client.
on_every_store!(a_pause_is_done_when_clients_have_left);
fn a_pause_is_done_when_clients_have_left(sandbox: &Sandbox) {
    let config = service("drain: 2, description: \"web\"");
    sandbox.config("web.twc", config + &*service("").replace("h:1", "h:2"));
    let mut daemon = sandbox.start();
    for name in ["web.twc:web", "web.twc-2"] {
        wait_for_state(sandbox, name, "announced");
    }
    let order = |words: [&str; 2]| {
        let began = Instant::now();
        (sandbox.operator(words).finish().expect(0).text(), began.elapsed())
    };
    let (said, took) = order(["pause", "web"]);
    assert_eq!(sandbox.nodes.get(MEMBER), None);
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(said.contains("web.twc:web: paused: its member is withdrawn"), "{said}");
    assert!(said.ends_with("clients have 2 s to see it\n"), "{said}");
    // Without `drain`, the member is gone all the same when the command is done.
    let (said, _) = order(["pause", "web.twc-2"]);
    assert_eq!(sandbox.nodes.get("/services/web/h:2"), None);
    let (again, _) = order(["pause", "web"]);
    assert!(!said.contains("clients") && !again.contains("clients"), "{said}{again}");
    order(["resume", "web"]);
    wait_for_member(sandbox);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn check_explains_drain_and_refuses_what_is_too_long() {
    let sandbox = &Sandbox::directory();
    let check = || sandbox.twitcher(["check", "--explain", "--config-path"]).arg(sandbox.configs()).finish();
    sandbox.config("web.twc", service("drain: 2.5"));
    assert!(check().expect(0).text().contains("drain:         2.5 s\n"));
    sandbox.config("web.twc", service("drain: 0"));
    assert!(!check().expect(0).text().contains("drain:"));
    for (wrong, said) in [("4000", "3600"), ("-1", "drain"), ("\"5s\"", "5")] {
        sandbox.config("web.twc", service(&format!("drain: {wrong}")));
        check().expect(1).expect_said(&["web.twc:1:", "`drain`", said]);
    }
}
