//! A name server that never answers.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Journal, Machine, Sandbox, Twitcher, ZooKeeper, command, exec, wait_until, watch};

/// How long the C library waits for an answer before it asks again, and how often it asks: much longer than
/// anything that this test waits for.
const OPTIONS: &str = "nameserver 127.0.0.1\noptions timeout:15 attempts:5\n";

/// The time in which something must be done that is not to wait for the name server. It would take 75 s.
const SOON: Duration = Duration::from_secs(30);

/// The session timeout in seconds.
const TIMEOUT: &str = "2";

/// A name server that says nothing until a file is there, and then has one address for all names.
const SERVER: &str = r#"
import os, socket, sys
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.bind(("127.0.0.1", 53))
print("ready", flush=True)
while True:
    question, client = asked.recvfrom(512)
    if os.path.exists(sys.argv[1]):
        end = question.index(0, 12) + 5
        is_v4 = question[end - 3] == 1
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(sys.argv[2]) if is_v4 else b""
        counts = bytes([0, 1, 0, is_v4, 0, 0, 0, 0])
        asked.sendto(question[:2] + b"\x81\x80" + counts + question[12:end] + answer, client)
"#;

/// A machine whose names a name server resolves that says nothing at first.
struct Resolved {
    machine: Machine,
    server: Child,
    gate: PathBuf,
    /// Replaces the machine's own files.
    mounts: String,
}

impl Resolved {
    #[track_caller]
    fn new(sandbox: &Sandbox) -> Self {
        let machine = Machine::new();
        let (gate, pid) = (sandbox.path("answers"), machine.pid());
        let mut server = command("nsenter")
            .args(["-t", &pid, "-n", "--", "setpriv", "--pdeathsig", "KILL", "--", "/usr/bin/python3", "-c"])
            .args([SERVER, &gate.display().to_string(), machine.address()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the name server");
        let mut said = String::new();
        BufReader::new(server.stdout.take().expect("piped")).read_line(&mut said).expect("a line");
        assert_eq!(said, "ready\n");
        let switch = "hosts: files dns\npasswd: files\ngroup: files\n";
        let files = [("resolv.conf", OPTIONS), ("nsswitch.conf", switch), ("hosts", "127.0.0.1 localhost\n")];
        let mounts = files.map(|(name, text)| {
            let file = sandbox.root().join(name);
            fs::write(&file, text).expect("write a file");
            format!("mount --bind {} /etc/{name} && ", file.display())
        });
        Self { machine, server, gate, mounts: mounts.concat() }
    }

    /// Runs a command on this machine.
    fn on(&self, command: Twitcher) -> Twitcher {
        let script = format!("{}exec \"$@\"", self.mounts);
        command
            .under(["nsenter", "-t", &self.machine.pid(), "-n", "--"])
            .under(["unshare", "--mount", "sh", "-c", &script, "sh"])
    }

    fn answer(&self) {
        fs::write(&self.gate, "").expect("let it answer");
    }
}

impl Drop for Resolved {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[track_caller]
fn soon<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    assert!(began.elapsed() < SOON, "{what} took {:?}", began.elapsed());
    done
}

// "One bad thing stays one bad thing", "every command that talks to a store fails within the session
// timeout": a name server that never answers hurts only the store whose name it should resolve.
#[test]
fn a_name_server_that_never_answers_delays_no_other_store_no_command_and_no_end() {
    let server = ZooKeeper::start_on_all_addresses();
    let sandbox = Sandbox::on(&server);
    let resolved = Resolved::new(&sandbox);
    let at = |host: &str| sandbox.nodes.url_by_way_of(&format!("{host}:{}", server.port()));
    let (named, numbered) = (at("zk.example"), at(resolved.machine.address()));
    let directory = sandbox.root().join("directory");
    fs::create_dir(&directory).expect("a directory");
    sandbox.settings(&format!(
        "[stores.numbered]\nurl = {numbered:?}\n[stores.directory]\nurl = \"dir:{}\"\n",
        directory.display()
    ));
    let [journal, by_number, local] =
        ["named", "numbered", "directory"].map(|name| (name, sandbox.journal_named(name)));
    let in_store = |(name, journal): &(&str, Journal), store: &str| {
        watch("/n", &exec(&journal.record()), &format!("description: {name:?}, {store}"))
    };
    let watches = [
        in_store(&journal, ""),
        in_store(&by_number, "store: \"numbered\""),
        in_store(&local, "store: \"directory\""),
    ];
    sandbox.config("app.twc", watches.concat());
    let start = || resolved.on(sandbox.daemon_on(&named).args(["--session-timeout", TIMEOUT])).start();

    let mut daemon = start();
    daemon.wait_for_log(&["not connected", "zk.example", "no answer within 2.0 s"]);
    for round in 0..5 {
        soon("the updates of other stores", || {
            sandbox.nodes.set("/n", round.to_string());
            fs::write(directory.join(".n"), round.to_string()).expect("write a node");
            fs::rename(directory.join(".n"), directory.join("n")).expect("put it in place");
            by_number.1.wait_for_last(&round.to_string());
            local.1.wait_for_last(&round.to_string());
        });
    }
    assert_eq!(journal.1.lines(), [""; 0]);
    soon("the status", || sandbox.operator(["status"]).finish().expect(0)).expect_said(&["NOT CONNECTED"]);
    for words in [&["get", "/n"][..], &["set", "/n", "x"], &["poke", "/n"], &["ls", "/"], &["rm", "/n"]] {
        let client = words.iter().fold(sandbox.twitcher([]), |client, word| client.arg(word));
        let client = resolved.on(client.args(["--store", &named, "--session-timeout", TIMEOUT]));
        soon(words[0], || client.finish().expect(1)).expect_said(&["zk.example", "no answer within"]);
    }
    assert_eq!(soon("the end", || daemon.stop()), Some(0));
    assert_eq!(daemon.log_lines(&["not connected"]).len(), 1, "it is said once");

    // Threads hang while it is silent, and it must not need another one when it answers.
    let daemon = start();
    daemon.wait_for_log(&["not connected", "zk.example", "no answer within 2.0 s"]);
    let half = daemon.process().halves();
    wait_until("some more attempts", || half.iter().any(|half| half.threads() >= 4));
    resolved.answer();
    daemon.wait_for_log(&["connected to ZooKeeper zk.example"]);
    journal.1.wait_for_last("4");
}
