//! Machines of their own and the cables between them and ours.

use std::fs::{self, File};
use std::io;
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns};

use super::command::command;
use super::process::require_root;
use super::wait::wait_until;

/// A network namespace with a link to ours. Namespace and link end with the process.
pub struct Machine {
    process: Child,
    /// The name of our end of the link.
    link: String,
    /// The addresses of our end and of the machine's.
    pub addresses: [String; 2],
}

impl Machine {
    #[track_caller]
    pub fn new() -> Self {
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
        let machine = Self { process, link: format!("tw{number:x}"), addresses };
        let [ours, theirs] = &machine.addresses;
        ip(&["ip"], &["link", "add", &machine.link, "type", "veth", "peer", "name", "eth0", "netns", &pid]);
        ip(&["ip"], &["addr", "add", &format!("{ours}/30"), "dev", &machine.link]);
        machine.ip(&["addr", "add", &format!("{theirs}/30"), "dev", "eth0"]);
        machine.ip(&["link", "set", "lo", "up"]);
        machine.ip(&["link", "set", "eth0", "up"]);
        machine.plug();
        machine
    }

    /// The number of a process on it.
    pub fn pid(&self) -> String {
        self.process.id().to_string()
    }

    /// The address of our end.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// The words that run a command on the machine.
    pub fn on_it(&self) -> [String; 5] {
        ["nsenter", "-t", &self.process.id().to_string(), "-n", "--"].map(str::to_owned)
    }

    pub fn plug(&self) {
        ip(&["ip"], &["link", "set", &self.link, "up"]);
    }

    /// Neither end is told, so connections stay open.
    pub fn pull(&self) {
        ip(&["ip"], &["link", "set", &self.link, "down"]);
    }

    /// As [`Self::plug`], for a cable that was pulled at the machine's end.
    pub fn plug_there(&self) {
        self.ip(&["link", "set", "eth0", "up"]);
    }

    /// As [`Self::pull`], but our address stays ours, for processes of ours that use it among themselves.
    pub fn pull_there(&self) {
        self.ip(&["link", "set", "eth0", "down"]);
    }

    /// Connects to an address as a process on the machine does, with or without the cable.
    pub fn connect(&self, address: &str) -> io::Result<TcpStream> {
        let network = File::open(format!("/proc/{}/ns/net", self.process.id()))?;
        // Only the thread that connects goes there.
        thread::scope(|scope| {
            let connecting = scope.spawn(|| {
                setns(network, CloneFlags::CLONE_NEWNET)?;
                TcpStream::connect(address)
            });
            connecting.join().expect("connect there")
        })
    }

    #[track_caller]
    fn ip(&self, args: &[&str]) {
        let words = self.on_it();
        let words: Vec<_> = words.iter().map(String::as_str).chain(["ip"]).collect();
        ip(&words, args);
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
