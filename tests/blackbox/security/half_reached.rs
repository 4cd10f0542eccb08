//! What others can do to the process of a store, and who a command is when it connects.

use std::net::TcpListener;

use crate::harness::{Process, Sandbox, Twitcher, require_root, wait_for};

/// Tries what could look into process `sys.argv[1]` or steer it, and prints what succeeded, as JSON.
const INTRUDER: &str = r#"
import ctypes, json, os, sys
pid, done = int(sys.argv[1]), []
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, work):
    try:
        if work() is not False: done.append(name)
    except OSError: pass
def call(*arguments):
    return libc.syscall(*[ctypes.c_long(argument) for argument in arguments]) >= 0
for name in ["mem", "environ", "maps", "auxv", "stack", "syscall", "io", "pagemap", "smaps", "personality"]:
    attempt("read " + name, lambda: os.read(os.open(f"/proc/{pid}/{name}", os.O_RDONLY), 1))
for name in ["mem", "oom_score_adj", "clear_refs"]:
    attempt("write " + name, lambda: os.open(f"/proc/{pid}/{name}", os.O_WRONLY))
for name in ["fd", "fdinfo", "map_files", "ns", "task/" + str(pid) + "/fd"]:
    attempt("list " + name, lambda: len(os.listdir(f"/proc/{pid}/{name}")) > 0)
for name in ["exe", "cwd", "root", "fd/0", "ns/net"]:
    attempt("follow " + name, lambda: os.readlink(f"/proc/{pid}/{name}"))
    attempt("open " + name, lambda: os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
libc.ptrace.argtypes = [ctypes.c_long] * 4
attempt("attach", lambda: libc.ptrace(16, pid, 0, 0) == 0)
attempt("seize", lambda: libc.ptrace(0x4206, pid, 0, 0) == 0)
pidfd = libc.syscall(434, pid, 0)
for number in range(12):
    attempt(f"take descriptor {number}", lambda: call(438, pidfd, number, 0))
attempt("compare", lambda: call(312, pid, os.getpid(), 1, 0, 0))
buffer = ctypes.create_string_buffer(64)
iov = (ctypes.c_ulong * 2)(ctypes.addressof(buffer), 8)
attempt("read memory", lambda: call(310, pid, ctypes.addressof(iov), 1, ctypes.addressof(iov), 1, 0))
attempt("limit", lambda: call(302, pid, 7, 0, ctypes.addressof(buffer)))
attempt("signal", lambda: os.kill(pid, 0))
print(json.dumps(done))
"#;

fn attempted(user: &str, on: Process) -> Vec<String> {
    let words = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--"];
    let mut command = std::process::Command::new(words[0]);
    command.args(&words[1..]).args(["/usr/bin/python3", "-c", INTRUDER, &on.0.to_string()]);
    let output = command.output().expect("run the intruder");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a report")
}

// Its memory has the store's credentials. Another process of its user can end it, by a signal or a lower
// limit, which is an outage of its store, and nothing else.
#[test]
fn a_process_of_the_same_user_can_end_a_half_and_do_nothing_else_to_it() {
    require_root();
    let sandbox = Sandbox::zookeeper();
    let daemon = sandbox.start();
    daemon.wait_for_log(&["connected to"]);
    let half = wait_for("the process of the store", || daemon.process().halves().pop());
    let user = half.status("Uid").split_whitespace().next().expect("a user").to_owned();
    assert_ne!(user, "0");
    assert!(attempted("0", half).len() > 20, "otherwise the attempts themselves would be wrong");
    assert_eq!(attempted(&user, half), ["limit", "signal"]);
    assert_eq!(attempted("12345", half), [""; 0], "nobody else can do even that");
    assert!(half.is_alive());
}

/// The commands that connect to a store, with what they need besides.
const CLIENTS: [&[&str]; 15] = [
    &["get", "/n"],
    &["set", "/n", "content"],
    &["poke", "/n"],
    &["ls", "/"],
    &["rm", "/n", "--recursive"],
    &["watch", "/n"],
    &["tree", "/n"],
    &["export", "/n"],
    &["import", "NODES"],
    &["txn", "TRANSACTION"],
    &["tables"],
    &["exchange", "/n"],
    &["services", "/n"],
    &["properties", "/n"],
    &["register", "/n", "h:1"],
];

/// The part of `edit` that connects. It is in no help.
const HIDDEN: &str = "exchange";

// "`twitcher get` and its like, run by root, give root up before they connect."
#[test]
fn no_command_of_roots_is_root_when_it_connects() {
    require_root();
    let sandbox = Sandbox::directory();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
    let server = listener.local_addr().expect("the port").to_string();
    sandbox.private(&sandbox.path("credentials"), "operator:hunter2\n");
    let credentials = sandbox.path("credentials").display().to_string();
    sandbox.settings(&format!(
        "store = \"zk://{server}/chroot\"\n[[auth]]\nscheme = \"digest\"\n\
         credentials = {{ file = {credentials:?} }}\n"
    ));
    let nodes = sandbox.path("import");
    std::fs::write(&nodes, "{\"znode\":\"/n\",\"data\":\"\",\"version\":1}\n").expect("write the nodes");
    let transaction = sandbox.path("transaction");
    std::fs::write(&transaction, r#"{"then": [{"get": "/n"}]}"#).expect("write the transaction");
    for words in CLIENTS {
        let words: Vec<&str> = words
            .iter()
            .map(|word| match *word {
                "NODES" => nodes.to_str().expect("a path"),
                "TRANSACTION" => transaction.to_str().expect("a path"),
                word => word,
            })
            .collect();
        for place in 0..5 {
            let client = words.iter().fold(sandbox.twitcher([]), Twitcher::arg);
            let client = match place {
                0 => client.args(["--store", &format!("zk://{server}")]),
                1 => client.args(["--zkservers", &server]),
                2 => client.env("TWITCHER_STORE", format!("zk://{server}")),
                3 => client.args(["--store", &format!("etcd://{server}")]),
                // From a file that only root can read, as are the credentials.
                _ => client.env("TWITCHER_CONFIG_PATH", sandbox.configs()),
            };
            let sudo = [("SUDO_UID", "0"), ("SUDO_USER", "root"), ("HOME", "/root"), ("USER", "root")];
            let client = sudo.into_iter().fold(client, |client, (name, value)| client.env(name, value));
            let client = client.under(["setpriv", "--groups=1,2", "--inh-caps=+chown", "--"]).start();
            let (_connection, _) = listener.accept().expect("it connects");
            let process = match words[0] {
                // A process of its own connects.
                "register" => wait_for("the keeper", || client.process().keepers().pop()),
                _ => client.process(),
            };
            for ids in ["Uid", "Gid"] {
                let ids = process.status(ids);
                assert!(ids.split_whitespace().all(|id| id != "0"), "{words:?}: {ids}");
            }
            for (name, expected) in [
                ("CapEff", "0".repeat(16)),
                ("CapPrm", "0".repeat(16)),
                ("CapInh", "0".repeat(16)),
                ("CapAmb", "0".repeat(16)),
                ("NoNewPrivs", "1".to_owned()),
                // It starts no process, and reaches none.
                ("Seccomp", "2".to_owned()),
                ("Groups", String::new()),
            ] {
                assert_eq!(process.status(name), expected, "{words:?}: {name}");
            }
            let user = process.status("Uid").split_whitespace().next().expect("a user").to_owned();
            assert_eq!(attempted(&user, process), ["limit", "signal"], "{words:?}");
            process.signal(nix::sys::signal::Signal::SIGKILL);
            client.signal(nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// The commands of `commits`, all of which connect to a server.
const COMMITS: [&[&str]; 9] = [
    &["list"],
    &["show", "foo"],
    &["log", "foo"],
    &["diff", "foo"],
    &["save", "foo", "PAYLOAD", "-m", "x"],
    &["edit", "foo", "-m", "x"],
    &["revert", "foo", "1", "-m", "x"],
    &["remove", "foo", "-m", "x"],
    &["publish"],
];

#[test]
fn no_command_of_roots_is_root_when_it_connects_to_a_server_of_commits() {
    require_root();
    let sandbox = Sandbox::directory();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
    let url = format!("http://{}/diary", listener.local_addr().expect("the port"));
    // What only root can read was read before.
    let [token, payload] = ["token", "payload"].map(|name| sandbox.path(name));
    for path in [&token, &payload] {
        sandbox.private(path, "hunter2\n");
    }
    sandbox.settings(&format!("[commits]\nurl = {url:?}\ntoken = {{ file = {token:?} }}\n"));
    for words in COMMITS {
        let payload = payload.to_str().expect("a path");
        let words = words.iter().map(|word| if *word == "PAYLOAD" { payload } else { word });
        let client = words.fold(sandbox.twitcher(["commits"]), Twitcher::arg);
        let client = client.env("TWITCHER_CONFIG_PATH", sandbox.configs()).env("VISUAL", "true").start();
        let (_connection, _) = listener.accept().expect("it connects");
        // For `edit`, a process of its own connects.
        let process = client.process().children().pop().unwrap_or_else(|| client.process());
        expect_no_root(process);
        process.signal(nix::sys::signal::Signal::SIGKILL);
        client.signal(nix::sys::signal::Signal::SIGKILL);
    }
    let help = sandbox.twitcher(["commits", "--help"]).finish().expect(0).text();
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    let known: Vec<&str> = COMMITS.iter().map(|words| words[0]).chain(["help"]).collect();
    assert_eq!(commands, known);
}

/// Panics if this process has something of root's left.
#[track_caller]
fn expect_no_root(process: Process) {
    for ids in ["Uid", "Gid"] {
        let ids = process.status(ids);
        assert!(ids.split_whitespace().all(|id| id != "0"), "{ids}");
    }
    for (name, expected) in [
        ("CapEff", "0".repeat(16)),
        ("CapPrm", "0".repeat(16)),
        ("NoNewPrivs", "1".into()),
        ("Groups", "".into()),
    ] {
        assert_eq!(process.status(name), expected, "{name}");
    }
}

// A new command that connects must be in the list above. For `edit`, a process of its own connects.
#[test]
fn every_command_that_connects_to_a_store_was_tried() {
    let sandbox = Sandbox::directory();
    let help = sandbox.twitcher(["--help"]).finish().expect(0).text();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| line.starts_with("  "));
    // The others continue the text about a command.
    let commands = commands.filter(|line| !line.starts_with("   "));
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 10, "{help}");
    let connects = |command: &&str| {
        let help = sandbox.twitcher([*command, "--help"]).finish().text();
        help.contains("--store ")
    };
    let mut connecting: Vec<&str> = commands.into_iter().filter(connects).collect();
    connecting.sort_unstable();
    let mut known: Vec<&str> = CLIENTS.iter().map(|words| words[0]).chain(["run", "edit"]).collect();
    known.retain(|command| *command != HIDDEN);
    known.sort_unstable();
    assert_eq!(connecting, known);
}
