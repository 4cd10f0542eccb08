//! Tests of addresses that are taken or lost: the daemon gets them back, and says so meanwhile.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use super::wait_until_served;
use crate::harness::control::ask;
use crate::harness::{Sandbox, exec, wait_until, watch};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watch("/n", &exec("true"), ""));
    sandbox
}

#[track_caller]
fn wait_for_check(sandbox: &Sandbox, code: i32, said: &[&str]) {
    wait_until(&format!("status --check to say {said:?}"), || {
        let finished = sandbox.operator(["status", "--check"]).finish();
        finished.code == Some(code) && said.iter().all(|part| finished.text().contains(part))
    });
}

// "An unbound metrics port ... in --check", and tried again.
#[test]
fn a_metrics_address_that_was_taken_is_served_as_soon_as_it_is_free() {
    let sandbox = sandbox();
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("its address");
    sandbox.settings(&format!("[metrics]\nlisten = \"{address}\"\n"));
    let daemon = sandbox.start();
    wait_until_served(&sandbox);
    wait_for_check(&sandbox, 1, &["metrics: metrics.listen", "free the address"]);
    let status = sandbox.operator(["status"]).finish().expect(0).text();
    assert!(status.contains("DEGRADED: metrics: "), "{status}");
    drop(other);
    wait_for_check(&sandbox, 0, &["ok: 1 watch"]);
    let metrics = ask(std::net::TcpStream::connect(address).expect("connect"), "GET", "/metrics");
    assert_eq!(metrics.status, 200);
    assert!(!metrics.text().contains("twitcher_degraded{"), "{}", metrics.text());
    assert_eq!(daemon.log_lines(&["metrics.listen"]).len(), 1, "said once: {:#?}", daemon.log());
    daemon.wait_for_log(&["metrics: works again"]);
}

// Cleaners of temporary directories remove sockets.
#[test]
fn a_control_socket_that_is_removed_is_made_again() {
    let sandbox = sandbox();
    let mut daemon = sandbox.start();
    wait_until_served(&sandbox);
    let removed = Instant::now();
    fs::remove_file(sandbox.control_socket()).expect("remove the socket");
    wait_for_check(&sandbox, 0, &["ok: 1 watch"]);
    assert!(removed.elapsed() < Duration::from_secs(30), "it is noticed before the look of each minute");
    daemon.wait_for_log(&["control socket", "was removed or replaced"]);
    daemon.wait_for_log(&["control socket: works again"]);
    // Another program takes its place for a while, in one step: a name that is free for a moment is taken by
    // the daemon.
    let elsewhere = sandbox.control_socket().with_extension("other");
    let other = UnixListener::bind(&elsewhere).expect("bind");
    fs::rename(elsewhere, sandbox.control_socket()).expect("replace the socket");
    wait_until("the loss to be found", || {
        daemon.log_lines(&["control socket", "was removed or replaced"]).len() == 2
    });
    drop(other);
    wait_for_check(&sandbox, 0, &["ok: 1 watch"]);
    assert_eq!(daemon.stop(), Some(0));
    assert!(!sandbox.control_socket().exists());
}
