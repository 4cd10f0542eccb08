//! TLS, SASL and credentials, against a ZooKeeper server that demands them.

mod refusals;
mod secrets;
mod silent;
mod warnings;

use std::fs::{self};

use crate::harness::secure::{DIGEST, Login, ODD_PASSWORDS, Secure};
use crate::harness::{Daemon, Sandbox, Server, Twitcher, Validity, ZooKeeper, exec, wait_until, watch};

/// A client command that reads the settings of the sandbox.
fn client<const N: usize>(sandbox: &Sandbox, args: [&str; N]) -> Twitcher {
    sandbox.twitcher(args).env("TWITCHER_CONFIG_PATH", sandbox.configs())
}

/// Runs a command until it succeeds: a server that has just started may be slow with its first handshakes.
#[track_caller]
fn done<const N: usize>(sandbox: &Sandbox, args: [&str; N]) {
    wait_until("the command to succeed", || client(sandbox, args).finish().code == Some(0));
}

#[track_caller]
fn set(sandbox: &Sandbox, node: &str, data: &str) {
    done(sandbox, ["set", node, data]);
}

#[track_caller]
fn count(daemon: &Daemon, parts: &[&str], expected: usize) {
    let lines = daemon.log_lines(parts);
    assert_eq!(lines.len(), expected, "{parts:?}: {lines:#?}");
}

// "Mandatory SASL with watches survives server restarts", with TLS, a client certificate, `digest`
// credentials, a chroot and two servers, one of which is down.
#[test]
fn mandatory_sasl_over_tls_with_all_the_rest_survives_server_restarts() {
    let secure = Secure::start(Login::Mandatory);
    let nowhere = ZooKeeper::stopped();
    let sandbox = Sandbox::directory();
    let servers = format!("{},{}", secure.address("localhost"), nowhere.address());
    sandbox.settings(&format!(
        "store = \"zk://{servers}/chroot\"\nsession_timeout = 4\n\
         [[auth]]\nscheme = \"digest\"\ncredentials = {DIGEST:?}\n{}",
        secure.settings(&sandbox)
    ));
    let journal = sandbox.journal();
    for (node, watch_type) in [("/n", "WATCH_DATA"), ("/members", "WATCH_CHILDREN"), ("/tree", "WATCH_TREE")]
    {
        let action = exec(&journal.note(&format!("{node} $TWITCHER_EVENT")));
        let more = format!("watch_type: {watch_type}, run_on_load: false");
        sandbox.config(&format!("{}.twc", &node[1..]), watch(node, &action, &more));
    }
    let quiet = sandbox.journal_named("quiet");
    let action = exec(&quiet.note("$TWITCHER_EVENT $(cat)"));
    sandbox.config("ours.twc", watch("/ours", &action, ""));
    for node in ["/n", "/members/a", "/tree/x"] {
        set(&sandbox, node, "0");
    }
    // Only clients with the digest credentials can read this node.
    secure.create_for_digest("/chroot/ours");
    let daemon = sandbox.daemon_without_store().env("TWITCHER_STORE", "").arg("--debug").start();
    daemon.wait_for_log(&["connected to ZooKeeper localhost:", " (TLS, SASL twitcher), session "]);
    quiet.wait_for(&["load 0"]);
    for node in ["/n: observed", "/members (children): observed", "/tree (tree): observed"] {
        daemon.wait_for_log(&[node]);
    }
    let mut expected = Vec::new();
    for round in 1..=3 {
        set(&sandbox, "/n", &round.to_string());
        expected.push("/n changed".to_owned());
        journal.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
        set(&sandbox, &format!("/members/{round}"), "--empty");
        expected.push("/members children".to_owned());
        journal.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
        set(&sandbox, "/tree/x", &round.to_string());
        expected.push("/tree changed".to_owned());
        journal.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
        if round < 3 {
            secure.restart();
            wait_until("the daemon to be back", || {
                daemon.log_lines(&["connected to ZooKeeper localhost:", "it was away"]).len() == round
            });
        }
    }
    // The outages and their ends have run nothing.
    assert_eq!(quiet.lines(), ["load 0"]);
    // A warning that anyone may write names who else could.
    let said = daemon.log_lines(&["credentials"]);
    assert!(said.iter().all(|line| line.contains("--acl")), "{said:?}");
}

// "names re-resolved on reconnect"
#[test]
fn a_servers_name_is_resolved_anew_for_each_connection() {
    let plain = ZooKeeper::start();
    re_resolved(&plain, "", &format!("moving.example:{}", port(&plain.address())));
    let secure = Secure::start(Login::Mandatory);
    secure.certify(&secure.authority.issue(&["moving.example", "localhost"], Validity::Now));
    secure.restart();
    let tls = Sandbox::directory();
    re_resolved(&secure.server, &secure.settings(&tls), &secure.address("moving.example"));
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').expect("a port").1
}

/// Runs a daemon with a file of its own as `/etc/hosts`, in which the server's name at first has an address
/// without a server.
fn re_resolved(server: &ZooKeeper, settings: &str, at: &str) {
    let sandbox = Sandbox::directory();
    sandbox.settings(&format!("store = \"zk://{at}\"\nsession_timeout = 4\n{settings}"));
    let hosts = sandbox.root().join("hosts");
    let lead_to =
        |address: &str| fs::write(&hosts, format!("{address} moving.example\n")).expect("write the hosts");
    lead_to("127.0.0.9");
    let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    let mounted =
        sandbox.daemon_without_store().under(["unshare", "--mount", "--", "sh", "-c", &script, "sh"]).start();
    mounted
        .wait_for_log(&["not connected: cannot connect to ZooKeeper: moving.example:", "connection refused"]);
    lead_to("127.0.0.1");
    mounted.wait_for_log(&["connected to ZooKeeper moving.example:"]);
    lead_to("127.0.0.9");
    server.down();
    mounted.wait_for_log(&["the connection to ZooKeeper moving.example", "was lost"]);
    server.up();
    lead_to("127.0.0.1");
    mounted.wait_for_log(&["connected to ZooKeeper moving.example:", "it was away"]);
}

// Passwords may contain any characters.
#[test]
fn odd_passwords_log_in() {
    let secure = Secure::start(Login::Mandatory);
    let sandbox = Sandbox::directory();
    let store = format!("store = \"zk://{}\"\n{}", secure.address("localhost"), secure.tls(&sandbox));
    for (number, password) in ODD_PASSWORDS.into_iter().enumerate() {
        sandbox.settings(&format!("{store}[sasl]\nusername = \"odd{number}\"\npassword = {password:?}\n"));
        done(&sandbox, ["ls", "/"]);
    }
}
