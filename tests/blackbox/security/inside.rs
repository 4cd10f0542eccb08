//! "What the half can reach is tried from inside it": the process itself makes the system calls that somebody
//! would who has taken it over. `inside.py` steers it, which only root can.

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

use nix::libc::{
    self, EACCES, EINVAL, ENOSYS, SYS_bind, SYS_clone, SYS_clone3, SYS_connect, SYS_execve, SYS_fork,
    SYS_ioctl, SYS_kill, SYS_memfd_create, SYS_openat, SYS_pidfd_getfd, SYS_pidfd_open, SYS_prctl,
    SYS_prlimit64, SYS_process_vm_readv, SYS_ptrace, SYS_setuid, SYS_socket, SYS_tgkill, SYS_unlinkat,
    SYS_unshare, SYS_vfork, c_long,
};

use crate::harness::{Process, Sandbox, command, exec, require_root, set_mode, wait_for, watch};

/// Debian's Python.
const PYTHON: &str = "/usr/bin/python3";

/// The directory from which relative paths lead.
const HERE: i64 = libc::AT_FDCWD as i64;

const READ: i64 = libc::O_RDONLY as i64;
const WRITE: i64 = (libc::O_WRONLY | libc::O_CREAT) as i64;

/// One system call with its arguments, as `inside.py` takes them.
fn call<const N: usize>(number: c_long, arguments: [String; N]) -> String {
    format!("{number}:{}", arguments.join(","))
}

fn n(number: impl Into<i64>) -> String {
    number.into().to_string()
}

fn text(text: &str) -> String {
    format!("={text}")
}

fn open(path: &str, flags: i64) -> String {
    call(SYS_openat, [n(HERE), text(path), n(flags), n(0o600)])
}

/// Has the process make these calls. Returns what each returned.
#[track_caller]
fn from_inside(process: Process, calls: &[String]) -> Vec<i64> {
    let mut command = command(PYTHON);
    command.args(["-c", include_str!("inside.py"), &process.0.to_string()]).args(calls);
    let output = command.output().expect("run the intruder");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("numbers")
}

/// A process of root's that waits.
struct Free(std::process::Child);

impl Free {
    fn start() -> Self {
        Self(command("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("start sleep"))
    }

    fn process(&self) -> Process {
        Process(self.0.id().cast_signed())
    }
}

impl Drop for Free {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is beyond each half, and what root's process can do with all of it.
struct Attempts {
    sandbox: Sandbox,
    listener: TcpListener,
    victim: Free,
}

impl Attempts {
    fn on(sandbox: Sandbox) -> Self {
        require_root();
        sandbox.private(&sandbox.path("secret"), "secret");
        set_mode(&sandbox.state(), 0o700);
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
        Self { sandbox, listener, victim: Free::start() }
    }

    /// The address of the listener, as the kernel takes it.
    fn address(&self) -> String {
        let port = self.listener.local_addr().expect("the port").port();
        let family = (libc::AF_INET as u16).to_ne_bytes();
        let bytes = [&family[..], &port.to_be_bytes(), &[127, 0, 0, 1], &[0; 8]].concat();
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("#{digits}")
    }

    /// Files that no half reads, and what none writes. All of them fail for want of a right.
    fn files(&self) -> Vec<String> {
        let secret = self.sandbox.path("secret").display().to_string();
        let ledger = self.sandbox.state().join("ledger.db").display().to_string();
        assert!(fs::exists(&ledger).unwrap_or(false), "{ledger}");
        let environment = format!("/proc/{}/environ", self.victim.process().0);
        [&secret, &ledger, &environment, "/proc/self/status", "/sys/kernel/notes", "/dev/null"]
            .map(|path| open(path, READ))
            .into()
    }

    /// What no half has the calls for.
    fn calls(&self, daemon: Process) -> Vec<String> {
        let (victim, daemon) = (i64::from(self.victim.process().0), i64::from(daemon.0));
        let new = self.sandbox.path("new").display().to_string();
        let secret = self.sandbox.path("secret").display().to_string();
        vec![
            open(&new, WRITE),
            open(&secret, libc::O_RDWR.into()),
            call(SYS_unlinkat, [n(HERE), text(&secret), n(0)]),
            call(SYS_execve, [text("/bin/true"), n(0), n(0)]),
            call(SYS_clone, [n(libc::SIGCHLD), n(0), n(0), n(0), n(0)]),
            call(SYS_clone3, [n(0), n(88)]),
            call(SYS_fork, []),
            call(SYS_vfork, []),
            call(SYS_unshare, [n(libc::CLONE_NEWUSER)]),
            call(SYS_kill, [n(victim), n(0)]),
            call(SYS_kill, [n(daemon), n(0)]),
            call(SYS_kill, [n(-1), n(0)]),
            call(SYS_tgkill, [n(daemon), n(daemon), n(0)]),
            call(SYS_ptrace, [n(libc::PTRACE_SEIZE), n(victim), n(0), n(0)]),
            call(SYS_process_vm_readv, [n(victim), n(0), n(0), n(0), n(0), n(0)]),
            call(SYS_pidfd_open, [n(victim), n(0)]),
            call(SYS_pidfd_getfd, [n(0), n(0), n(0)]),
            call(SYS_prlimit64, [n(victim), n(libc::RLIMIT_NOFILE as i64), n(0), n(0)]),
            call(SYS_prctl, [n(libc::PR_SET_DUMPABLE), n(1)]),
            call(SYS_prctl, [n(libc::PR_SET_PDEATHSIG), n(0)]),
            call(SYS_setuid, [n(0)]),
            call(SYS_socket, [n(libc::AF_UNIX), n(libc::SOCK_STREAM), n(0)]),
            call(SYS_ioctl, [n(0), n(libc::TIOCSTI as i64), text("X")]),
        ]
    }

    /// A socket, and a connection to a port that is none of the store's.
    fn connection(&self, socket: i64) -> String {
        call(SYS_connect, [n(socket), self.address(), n(16)])
    }
}

fn tcp() -> String {
    call(SYS_socket, [n(libc::AF_INET), n(libc::SOCK_STREAM), n(0)])
}

#[track_caller]
fn all_are(expected: i32, calls: &[String], results: &[i64]) {
    let other: Vec<_> =
        calls.iter().zip(results).filter(|(_, result)| **result != -i64::from(expected)).collect();
    assert!(other.is_empty(), "not {expected}: {other:?}");
}

/// Tries all of it from inside the process of a store. Returns that process.
fn tried(attempts: &Attempts) -> Process {
    let sandbox = &attempts.sandbox;
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "one");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let daemon = sandbox.start();
    journal.wait_for(&["one"]);
    let half = wait_for("the process of the store", || daemon.process().halves().pop());
    let (files, calls) = (attempts.files(), attempts.calls(daemon.process()));
    // Each of them is one that root's process can make.
    let free = Free::start();
    let opened = from_inside(free.process(), &files);
    assert!(opened.iter().all(|result| *result > 2), "{opened:?}");
    let [.., socket] = from_inside(free.process(), &[tcp()])[..] else { panic!("no socket") };
    assert_eq!(from_inside(free.process(), &[attempts.connection(socket)]), [0]);

    all_are(EACCES, &files, &from_inside(half, &files));
    all_are(ENOSYS, &calls, &from_inside(half, &calls));
    assert!(!sandbox.has("new") && sandbox.has("secret"));
    // It can still make what it makes for its daemon, and was not harmed.
    let made = from_inside(half, &[call(SYS_memfd_create, [text("content"), n(0)])]);
    assert!(made[0] > 2, "{made:?}");
    sandbox.nodes.set("/n", "two");
    journal.wait_for(&["one", "two"]);
    assert!(half.is_alive());
    assert_eq!(daemon.log_lines(&["not connected"]), [""; 0]);

    let is_directory = sandbox.nodes.url().starts_with("dir:");
    let socket = from_inside(half, &[tcp()])[0];
    if is_directory {
        assert_eq!(socket, -i64::from(ENOSYS));
        all_are(EACCES, &["passwd".to_owned()], &from_inside(half, &[open("/etc/passwd", READ)]));
    } else {
        assert!(socket > 2, "{socket}");
        let elsewhere = [attempts.connection(socket)];
        all_are(EACCES, &elsewhere, &from_inside(half, &elsewhere));
        // No socket can be named: neither this one, nor that to the daemon, after a file.
        let address = format!("#0100{}", "78".repeat(10));
        let sizes = [16, 110].map(|size| call(SYS_bind, [n(socket), address.clone(), n(size)]));
        all_are(ENOSYS, &sizes, &from_inside(half, &sizes));
        let daemons: Vec<_> =
            (3..12).map(|number| call(SYS_bind, [n(number), address.clone(), n(12)])).collect();
        let named = from_inside(half, &daemons);
        assert!(named.iter().all(|result| *result < 0), "{named:?}");
        assert!(named.contains(&-i64::from(EINVAL)), "one has a name already: {named:?}");
    }
    half
}

#[test]
fn whoever_takes_over_the_half_of_a_directory_reaches_nothing_else() {
    tried(&Attempts::on(Sandbox::directory()));
}

#[test]
fn whoever_takes_over_the_half_of_a_server_reaches_nothing_else() {
    tried(&Attempts::on(Sandbox::zookeeper()));
}

/// Runs a program on a terminal of root's, and has it type there.
#[track_caller]
fn typing(words: &[&str]) -> serde_json::Value {
    let mut command = command(PYTHON);
    command.args(["-c", include_str!("inside.py"), "--terminal"]).args(words);
    let output = command.output().expect("run the intruder");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a report")
}

// What it typed, root's shell would run when the command has ended.
#[test]
fn whoever_takes_over_a_command_of_roots_types_nothing_into_its_terminal() {
    require_root();
    let free = typing(&["/bin/sleep", "1000"]);
    assert_eq!((&free["typed"], &free["shown"]), (&0.into(), &true.into()), "the attempt itself works");
    let silent = TcpListener::bind("127.0.0.1:0").expect("bind a port");
    let store = format!("zk://{}", silent.local_addr().expect("the port"));
    let binary = env!("CARGO_BIN_EXE_twitcher");
    let client = typing(&[binary, "get", "/n", "--session-timeout", "60", "--store", &store]);
    assert_ne!(client["uid"], 0);
    assert_eq!((&client["typed"], &client["shown"]), (&(-ENOSYS).into(), &false.into()));
}
