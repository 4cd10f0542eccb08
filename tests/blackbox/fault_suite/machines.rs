//! Two machines and a cable: the daemon has a network namespace with one link to the server's.

use std::fs;
use std::process::{Child, Stdio};

use crate::harness::{Sandbox, ZooKeeper, command, exec, load, require_root, wait_until, watch};

/// A network namespace with a link to ours. Namespace and link end with the process.
struct Machine {
    process: Child,
    /// The name of our end of the link.
    link: String,
    /// The address of our end.
    address: String,
}

impl Machine {
    #[track_caller]
    fn new() -> Self {
        require_root();
        let ours = fs::read_link("/proc/self/ns/net").expect("our network");
        let process = command("setpriv")
            .args(["--pdeathsig", "KILL", "--", "unshare", "--net", "--", "sleep", "infinity"])
            .stdin(Stdio::null())
            .spawn()
            .expect("start setpriv");
        let pid = process.id().to_string();
        wait_until("the network", || {
            fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|net| net != ours)
        });
        // The addresses are from the range for benchmarks, which nobody else uses. Each link takes four.
        let number = fastrand::u16(..0x8000);
        let [third, fourth] = (number << 1).to_be_bytes();
        let addresses = [1, 2].map(|end| format!("198.{}.{third}.{}", 18 + number % 2, (fourth & !3) + end));
        let link = format!("tw{number:x}");
        let machine = Self { process, link, address: addresses[0].clone() };
        let of_machine = ["nsenter", "-t", &pid, "-n", "--", "ip"];
        ip(&["ip"], &["link", "add", &machine.link, "type", "veth", "peer", "name", "eth0", "netns", &pid]);
        ip(&["ip"], &["addr", "add", &format!("{}/30", addresses[0]), "dev", &machine.link]);
        ip(&of_machine, &["addr", "add", &format!("{}/30", addresses[1]), "dev", "eth0"]);
        ip(&of_machine, &["link", "set", "lo", "up"]);
        ip(&of_machine, &["link", "set", "eth0", "up"]);
        machine.plug();
        machine
    }

    fn plug(&self) {
        ip(&["ip"], &["link", "set", &self.link, "up"]);
    }

    /// Neither end is told, so connections stay open.
    fn pull(&self) {
        ip(&["ip"], &["link", "set", &self.link, "down"]);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[track_caller]
fn ip(words: &[&str], args: &[&str]) {
    let done = command(words[0]).args(&words[1..]).args(args).output();
    let done = done.expect("this test needs ip: apt-get install -y iproute2");
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

// "Nothing is lost. ... session expiry, ... network cuts ... do not break this", and "a reconnect ... starts
// no action": the cable of the daemon's machine is pulled for a moment, or until the session has expired.
#[test]
fn an_update_while_the_cable_is_pulled_runs_once_when_it_is_plugged_in_again() {
    let machine = Machine::new();
    let server = ZooKeeper::start_on_all_addresses();
    let sandbox = Sandbox::on(&server);
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "before");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let store = sandbox.nodes.url_by_way_of(&format!("{}:{}", machine.address, server.port()));
    let pid = machine.process.id().to_string();
    let daemon = sandbox.daemon_on(&store).args(["--session-timeout", "4"]);
    let daemon = daemon.under(["nsenter", "-t", &pid, "-n", "--"]).start();
    let mut expected = vec!["before".to_owned()];
    let expect = |expected: &[String]| {
        journal.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
    };
    expect(&expected);
    for round in 0..load(2, 10) {
        machine.pull();
        sandbox.nodes.set("/n", format!("{round} during"));
        if round % 2 == 0 {
            wait_until("the session to expire", || server.sessions() == 0);
            daemon.wait_for_log(&["store: not connected"]);
        }
        machine.plug();
        expected.push(format!("{round} during"));
        expect(&expected);
        // A run too many would come before the run of this update.
        sandbox.nodes.set("/n", format!("{round} after"));
        expected.push(format!("{round} after"));
        expect(&expected);
    }
}
