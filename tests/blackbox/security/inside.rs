//! "What the half can reach is tried from inside it": the process itself makes the system calls that somebody
//! would who has taken it over. `inside.py` steers it, which only root can.

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

use nix::libc::{
    self, EACCES, EFBIG, EINVAL, ENOSYS, EXDEV, SYS_bind, SYS_clone, SYS_clone3, SYS_close, SYS_connect,
    SYS_execve, SYS_fchmod, SYS_fchmodat, SYS_fchownat, SYS_fork, SYS_ioctl, SYS_kill, SYS_linkat,
    SYS_memfd_create, SYS_mkdirat, SYS_mknodat, SYS_openat, SYS_pidfd_getfd, SYS_pidfd_open, SYS_prctl,
    SYS_prlimit64, SYS_process_vm_readv, SYS_ptrace, SYS_pwrite64, SYS_renameat2, SYS_rt_sigaction,
    SYS_setuid, SYS_socket, SYS_symlinkat, SYS_tgkill, SYS_unlinkat, SYS_unshare, SYS_vfork, c_long,
};

use crate::harness::{
    Daemon, Nodes, Process, Sandbox, command, exec, on_every_store, require_root, set_mode, wait_for,
    wait_until, watch,
};

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

/// What is beyond each process of a store, and what root's process can do with all of it.
struct Attempts<'a> {
    sandbox: &'a Sandbox,
    listener: TcpListener,
    victim: Free,
}

impl<'a> Attempts<'a> {
    fn on(sandbox: &'a Sandbox) -> Self {
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

    /// Files that none of them reads. All of them fail for want of a right.
    fn files(&self) -> Vec<String> {
        let secret = self.sandbox.path("secret").display().to_string();
        let ledger = self.sandbox.state().join("ledger.db").display().to_string();
        assert!(fs::exists(&ledger).unwrap_or(false), "{ledger}");
        let environment = format!("/proc/{}/environ", self.victim.process().0);
        [&secret, &ledger, &environment, "/proc/self/status", "/sys/kernel/notes", "/dev/null"]
            .map(|path| open(path, READ))
            .into()
    }

    /// What would change files. Only a keeper of files has the calls for it.
    fn changes(&self) -> Vec<String> {
        let new = self.sandbox.path("new").display().to_string();
        let secret = self.sandbox.path("secret").display().to_string();
        vec![
            open(&new, WRITE),
            open(&secret, libc::O_RDWR.into()),
            call(SYS_unlinkat, [n(HERE), text(&secret), n(0)]),
            call(SYS_mkdirat, [n(HERE), text(&new), n(0o755)]),
            call(SYS_renameat2, [n(HERE), text(&secret), n(HERE), text(&new), n(0)]),
        ]
    }

    /// What none has the calls for.
    fn calls(&self, daemon: Process) -> Vec<String> {
        let (victim, daemon) = (i64::from(self.victim.process().0), i64::from(daemon.0));
        let secret = self.sandbox.path("secret").display().to_string();
        vec![
            call(SYS_fchmodat, [n(HERE), text(&secret), n(0o4755)]),
            call(SYS_fchmod, [n(0), n(0o4755)]),
            call(SYS_fchownat, [n(HERE), text(&secret), n(1), n(1), n(0)]),
            call(SYS_symlinkat, [text("/etc"), n(HERE), text(&secret)]),
            call(SYS_mknodat, [n(HERE), text(&secret), n(libc::S_IFCHR), n(0)]),
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

/// Tries all of it from inside a process that serves the sandbox's store.
fn try_all(attempts: &Attempts, daemon: &Daemon, process: Process, keeps_files: bool) {
    let sandbox = &attempts.sandbox;
    let (files, calls) = (attempts.files(), attempts.calls(daemon.process()));
    // Each of them is one that root's process can make.
    let free = Free::start();
    let opened = from_inside(free.process(), &files);
    assert!(opened.iter().all(|result| *result > 2), "{opened:?}");
    let [.., socket] = from_inside(free.process(), &[tcp()])[..] else { panic!("no socket") };
    assert_eq!(from_inside(free.process(), &[attempts.connection(socket)]), [0]);

    all_are(EACCES, &files, &from_inside(process, &files));
    all_are(ENOSYS, &calls, &from_inside(process, &calls));
    let changes = attempts.changes();
    all_are(if keeps_files { EACCES } else { ENOSYS }, &changes, &from_inside(process, &changes));
    assert!(!sandbox.has("new") && sandbox.has("secret"));

    let socket = from_inside(process, &[tcp()])[0];
    if sandbox.nodes.url().starts_with("dir:") {
        assert_eq!(socket, -i64::from(ENOSYS));
        all_are(EACCES, &["passwd".to_owned()], &from_inside(process, &[open("/etc/passwd", READ)]));
    } else {
        assert!(socket > 2, "{socket}");
        let elsewhere = [attempts.connection(socket)];
        all_are(EACCES, &elsewhere, &from_inside(process, &elsewhere));
        // No socket can be named: neither this one, nor that to the daemon, after a file.
        let address = format!("#0100{}", "78".repeat(10));
        let sizes = [16, 110].map(|size| call(SYS_bind, [n(socket), address.clone(), n(size)]));
        all_are(ENOSYS, &sizes, &from_inside(process, &sizes));
        let daemons: Vec<_> =
            (3..12).map(|number| call(SYS_bind, [n(number), address.clone(), n(12)])).collect();
        let named = from_inside(process, &daemons);
        assert!(named.iter().all(|result| *result < 0), "{named:?}");
        assert!(named.contains(&-i64::from(EINVAL)), "one has a name already: {named:?}");
    }
    expect_short_files(process);
}

/// No file that it writes can be longer than its limit, not even one in memory, which has no other.
fn expect_short_files(process: Process) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.0)).expect("its limits");
    let line = limits.lines().find(|line| line.starts_with("Max file size")).expect("a limit");
    let limit: i64 = line.split_whitespace().nth(3).expect("a limit").parse().expect("a number");
    // The signal that comes with the error would end it. Who has taken it over ignores that.
    let ignore = format!("#01{}", "00".repeat(31));
    let ignored = call(SYS_rt_sigaction, [n(libc::SIGXFSZ), ignore, n(0), n(8)]);
    let made = call(SYS_memfd_create, [text("content"), n(0)]);
    let [0, made] = from_inside(process, &[ignored, made])[..] else { panic!("it makes no file") };
    let at = |offset: i64| call(SYS_pwrite64, [n(made), text("x"), n(1), n(offset)]);
    let written = from_inside(process, &[at(limit - 1), at(limit), call(SYS_close, [n(made)])]);
    assert_eq!(written, [1, -i64::from(EFBIG), 0]);
}

on_every_store!(whoever_takes_over_a_half_reaches_nothing_else);
fn whoever_takes_over_a_half_reaches_nothing_else(sandbox: &Sandbox) {
    let attempts = Attempts::on(sandbox);
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "one");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let daemon = sandbox.start();
    journal.wait_for(&["one"]);
    let half = wait_for("the process of the store", || daemon.process().halves().pop());
    try_all(&attempts, &daemon, half, false);
    // It was not harmed, and still does what it does for its daemon.
    sandbox.nodes.set("/n", "two");
    journal.wait_for(&["one", "two"]);
    assert!(half.is_alive());
    assert_eq!(daemon.log_lines(&["not connected"]), [""; 0]);
}

on_every_store!(whoever_takes_over_a_keeper_reaches_nothing_else);
fn whoever_takes_over_a_keeper_reaches_nothing_else(sandbox: &Sandbox) {
    const MEMBER: &str = "/services/web/h:1";
    let attempts = Attempts::on(sandbox);
    sandbox.config("web.twc", "RegisterService(#{ service: \"/services/web\", address: \"h:1\" });\n");
    let daemon = sandbox.start();
    let is_there = || sandbox.nodes.get(MEMBER).is_some_and(|data| !data.is_empty());
    wait_until("the member", is_there);
    let keeper = wait_for("the process that keeps it", || daemon.process().keepers().pop());
    let directory = match &sandbox.nodes {
        Nodes::Directory(directory) => Some(directory.display().to_string()),
        _ => None,
    };
    try_all(&attempts, &daemon, keeper, directory.is_some());
    if let Some(directory) = directory {
        try_within(sandbox, keeper, &directory);
    }
    sandbox.nodes.remove(MEMBER);
    wait_until("the member again", is_there);
    assert!(keeper.is_alive());
}

/// What a keeper of files can do in its directory, and cannot: neither a program that runs as root comes of
/// it, nor does a file get in or out.
fn try_within(sandbox: &Sandbox, keeper: Process, directory: &str) {
    let secret = sandbox.path("secret").display().to_string();
    let new = sandbox.path("new").display().to_string();
    let [made, stolen, special] = ["made", "stolen", "special"].map(|name| format!("{directory}/{name}"));
    let done = from_inside(keeper, &[open(&made, WRITE | i64::from(libc::O_EXCL))]);
    assert!(done[0] > 2, "{done:?}");
    let anonymous = i64::from(libc::O_TMPFILE | libc::O_WRONLY);
    let mut attempts = Vec::new();
    for mode in [0o4755, 0o2755, 0o1777] {
        attempts.push(call(SYS_openat, [n(HERE), text(&special), n(WRITE), n(mode)]));
        attempts.push(call(SYS_openat, [n(HERE), text(directory), n(anonymous), n(mode)]));
        attempts.push(call(SYS_mkdirat, [n(HERE), text(&special), n(mode)]));
        attempts.push(call(SYS_fchmodat, [n(HERE), text(&made), n(mode)]));
        attempts.push(call(SYS_fchmod, [n(done[0]), n(mode)]));
    }
    all_are(ENOSYS, &attempts, &from_inside(keeper, &attempts));
    let links = [call(SYS_linkat, [n(HERE), text(&secret), n(HERE), text(&stolen), n(0)])];
    all_are(EXDEV, &links, &from_inside(keeper, &links));
    let moves = [call(SYS_renameat2, [n(HERE), text(&made), n(HERE), text(&new), n(0)])];
    all_are(EACCES, &moves, &from_inside(keeper, &moves));
    let removed = [call(SYS_close, [n(done[0])]), call(SYS_unlinkat, [n(HERE), text(&made), n(0)])];
    assert_eq!(from_inside(keeper, &removed), [0, 0]);
    assert!(
        !sandbox.has("new") && !fs::exists(special).unwrap_or(true) && !fs::exists(stolen).unwrap_or(true)
    );
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
