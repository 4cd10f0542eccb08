//! The daemon and its client commands hide their memory from other processes of their user and leave no core
//! dumps.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::harness::{self, Daemon, Process, Sandbox, Twitcher, exec, require_root, wait_until, watch};

/// A user without any rights. The user database need not know it.
struct Nobody(String);

impl Nobody {
    /// A user whom no other test run has.
    fn new() -> Self {
        require_root();
        Self((300_000 + std::process::id()).to_string())
    }

    fn words(&self) -> [&str; 8] {
        ["setpriv", "--reuid", &self.0, "--regid", &self.0, "--clear-groups", "--pdeathsig", "KILL"]
    }

    /// Runs this binary for the command as this user.
    fn own(&self, sandbox: &Sandbox, binary: &Path, command: Twitcher) -> Twitcher {
        let id = self.0.parse().expect("a number");
        for place in [sandbox.state(), sandbox.root().to_owned()] {
            chown(place, Some(id), Some(id)).expect("give it away");
        }
        command.binary(binary).under(self.words()).under(["--"])
    }

    /// Whether the script succeeds as this user. It gets the process's directory in /proc as `$1`.
    fn can(&self, process: Process, script: &str) -> bool {
        let [program, words @ ..] = self.words();
        let mut command = harness::command(program);
        command.args(words).args(["--", "sh", "-c", script, "sh", &format!("/proc/{}", process.0)]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("run setpriv").success()
    }
}

/// Scripts that succeed only for those who can also read the process's memory.
const LOOKS: [&str; 4] = ["exec 3< $1/mem", "cat $1/environ", "ls $1/fd/", "readlink $1/exe"];

// "Secrets ... never reach children, logs, status, core dumps", nor other processes of the daemon's user.
#[test]
fn neither_the_daemon_nor_a_client_shows_itself_to_others_of_its_user() {
    let nobody = Nobody::new();
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    let binary = sandbox.copy_of_the_binary();
    let daemon = nobody.own(&sandbox, &binary, sandbox.daemon()).start();
    daemon.wait_for_log(&["configs loaded"]);
    // The client never gets a reply, so it keeps running.
    let silent = TcpListener::bind("127.0.0.1:0").expect("listen");
    let store = format!("zk://{}", silent.local_addr().expect("an address"));
    let client = sandbox.twitcher(["get", "/n", "--session-timeout", "60", "--store", &store]);
    let client = nobody.own(&sandbox, &binary, client).start();
    silent.accept().expect("the client");
    // Once the first word is there, the program is executed.
    let open = nobody.own(&sandbox, "sh".as_ref(), sandbox.twitcher([]));
    let open = open.args(["-c", "echo there; exec sleep 1000"]).start();
    open.wait_for_log(&["there"]);
    wait_until("sleep", || {
        fs::read(format!("/proc/{}/cmdline", open.process().0)).is_ok_and(|words| words.starts_with(b"sleep"))
    });
    for look in LOOKS {
        assert!(nobody.can(open.process(), look), "{look} fails also for a process that does not hide");
        assert!(!nobody.can(daemon.process(), look), "{look} of the daemon");
        assert!(!nobody.can(client.process(), look), "{look} of a client");
    }
}

/// Ends the process with this signal and returns whether the kernel dumped its core.
#[track_caller]
fn dumps(mut process: Daemon, signal: Signal) -> bool {
    process.signal(signal);
    let end = process.wait_for_end();
    assert_eq!(end.signal(), Some(signal as i32));
    end.core_dumped()
}

#[test]
fn neither_the_daemon_nor_a_client_leaves_a_core_dump() {
    let sandbox = Sandbox::directory();
    let dumping = |command: Twitcher| {
        let out = sandbox.path("");
        command.under(["prlimit", "--core=unlimited", "--"]).current_dir(out.to_str().expect("UTF-8")).start()
    };
    let shell = dumping(sandbox.twitcher(["-c", "echo there; exec sleep 1000"]).binary("sh".as_ref()));
    shell.wait_for_log(&["there"]);
    assert!(
        dumps(shell, Signal::SIGABRT),
        "this machine dumps no cores at all, so the test cannot show anything"
    );
    // SIGABRT is the watchdog's signal, SIGILL that of broken code.
    for signal in [Signal::SIGABRT, Signal::SIGILL] {
        let daemon = dumping(sandbox.daemon());
        daemon.wait_for_log(&["configs loaded"]);
        assert!(!dumps(daemon, signal), "the daemon and {signal}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").expect("listen");
    let store = format!("zk://{}", silent.local_addr().expect("an address"));
    let client = dumping(sandbox.twitcher(["get", "/n", "--session-timeout", "60", "--store", &store]));
    silent.accept().expect("the client");
    assert!(!dumps(client, Signal::SIGABRT), "a client");
}

// The files in /proc of a hidden process belong to root. What a daemon of another user does through them must
// still work.
#[test]
fn a_hidden_daemon_of_another_user_can_still_do_everything() {
    let nobody = Nobody::new();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    let autogroup = "$(sed 's/.* //' /proc/self/autogroup 2>/dev/null || echo 19)";
    let command = exec(&journal.note(&format!("command $(nice) {autogroup} $(cat /dev/stdin)")));
    let function = format!(
        "|event| {{ write_file({:?}, run(\"cat /proc/self/status\").stdout); 0 }}",
        sandbox.path("function").display().to_string()
    );
    sandbox.config("app.twc", [watch("/n", &command, "nice: 19"), watch("/n", &function, "")].concat());
    let settings = sandbox.configs().join("twitcher.toml");
    fs::write(settings, "[metrics]\nlisten = \"127.0.0.1:0\"\n").expect("write the settings");
    let _daemon = nobody.own(&sandbox, &sandbox.copy_of_the_binary(), sandbox.daemon()).start();
    journal.wait_for(&["command 19 19 content"]);
    wait_until("the function's file", || sandbox.has("function"));
    assert!(sandbox.read_text("function").contains(&format!("Uid:\t{0}\t{0}", nobody.0)));
    let said = crate::harness::control::get(&sandbox.control_socket(), "/metrics").text();
    for name in ["process_open_fds", "process_resident_memory_bytes", "process_start_time_seconds"] {
        assert!(said.contains(&format!("\n{name} ")), "{name} in {said}");
    }
}

// "An action dumps no core but may ask to": actions do not inherit that the daemon hides.
#[test]
fn an_action_is_visible_to_its_user() {
    let nobody = Nobody::new();
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    let pid = sandbox.path("pid");
    let command = exec(&format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", pid.display()));
    sandbox.config("app.twc", watch("/n", &command, ""));
    let _daemon = nobody.own(&sandbox, &sandbox.copy_of_the_binary(), sandbox.daemon()).start();
    wait_until("the action", || sandbox.has("pid"));
    assert!(nobody.can(Process::parse(&sandbox.read_text("pid")), "cat $1/environ && exec 3< $1/mem"));
}
