//! A real ZooKeeper server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::command::command;
use super::process::Process;
use super::sandbox::TEMPORARY;
use super::wait::{wait_for, wait_until};

const JAR: &str = "/usr/share/java/zookeeper.jar";

/// The class path. Debian's jar names most of the jars that it needs, but not those for TLS.
const CLASS_PATH: &str =
    "/usr/share/java/zookeeper.jar:/usr/share/java/netty-codec.jar:/usr/share/java/netty-resolver.jar";

/// The file of those who may log in by SASL. Nobody may if it is empty.
pub(super) const JAAS: &str = "jaas.conf";

/// Ports below those that the kernel gives to outgoing connections, so that none of these takes a server's
/// port while the server is down.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

pub struct ZooKeeper {
    home: TempDir,
    port: u16,
    server: Mutex<Option<Server>>,
}

/// The server process and the shell that started it. The shell kills the server when it is told to, and when
/// our end of the shell's stdin closes. The end closes even if this value is never dropped, because it is a
/// static or the test run was killed. Then the shell also removes the data.
struct Server {
    guard: Child,
    java: Process,
}

impl ZooKeeper {
    /// The server that is shared by all tests which do nothing to it. Each has a root of its own there.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ZooKeeper> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server for one test.
    #[track_caller]
    pub fn start() -> Self {
        let zookeeper = Self::stopped();
        zookeeper.up();
        zookeeper
    }

    /// Starts a server for one test, which is reached at every address of the machine.
    #[track_caller]
    pub fn start_on_all_addresses() -> Self {
        // Of two lines for one setting the last counts.
        let zookeeper = Self::with_settings("clientPortAddress=0.0.0.0\n");
        zookeeper.up();
        zookeeper
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A server for one test that was never up.
    #[track_caller]
    pub fn stopped() -> Self {
        Self::with_settings("")
    }

    /// Member `number` of an ensemble, never up so far. `peers` has the `server.N` lines.
    #[track_caller]
    pub(super) fn member(number: usize, peers: &str) -> Self {
        // A member that is silent for this many ticks counts as dead. Tests can wait for that, and a busy
        // machine does not keep a living member from its turn for so long.
        let member = Self::with_settings(&format!("initLimit=100\nsyncLimit=15\n{peers}"));
        fs::write(member.home.path().join("myid"), number.to_string()).expect("write myid");
        member
    }

    /// A server for one test that was never up, with these further lines in its `zoo.cfg`. HOME in them
    /// becomes the server's directory.
    #[track_caller]
    pub(super) fn with_settings(more: &str) -> Self {
        assert!(
            Path::new(JAR).exists() && java().is_some(),
            "this test needs a ZooKeeper server: run tests/run"
        );
        let home =
            tempfile::Builder::new().prefix("zookeeper-").tempdir_in(TEMPORARY).expect("create a directory");
        let port = free_port();
        let settings = format!(
            "tickTime=200\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\n{}",
            home.path().display(),
            more.replace("HOME", &home.path().display().to_string()),
        );
        fs::write(home.path().join("zoo.cfg"), settings).expect("write zoo.cfg");
        fs::write(home.path().join(JAAS), "").expect("write who may log in");
        Self { home, port, server: Mutex::new(None) }
    }

    /// The directory with its settings and data.
    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it, on the same port and data as before, and waits until it serves.
    #[track_caller]
    pub fn up(&self) {
        self.launch();
        self.wait_until_serving();
    }

    /// Starts it without waiting: a member of an ensemble serves only once there is a quorum.
    pub fn launch(&self) {
        *self.server.lock().unwrap() = Some(Server::spawn(self.home.path()));
    }

    #[track_caller]
    pub fn wait_until_serving(&self) {
        wait_until("ZooKeeper to serve", || self.ask("srvr").contains("Mode"));
    }

    /// Returns whether it leads an ensemble now.
    pub fn leads(&self) -> bool {
        self.ask("srvr").contains("Mode: leader")
    }

    /// Kills it. What it has confirmed is on disk.
    pub fn down(&self) {
        drop(self.server.lock().unwrap().take());
    }

    /// Stops the process with SIGSTOP: connections stay open, and nobody answers.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// The number of sessions that are alive.
    pub fn sessions(&self) -> usize {
        self.expect_number("mntr", "zk_global_sessions")
    }

    /// Returns whether it serves and has this many sessions.
    pub fn has_sessions(&self, count: usize) -> bool {
        number(&self.ask("mntr"), "zk_global_sessions") == Some(count)
    }

    /// The number of watches that its clients have set.
    pub fn watches(&self) -> usize {
        self.expect_number("wchs", "Total watches:")
    }

    /// Returns whether it serves and a client has set a watch at this server.
    pub fn is_watched(&self) -> bool {
        number(&self.ask("wchs"), "Total watches:").is_some_and(|watches| watches > 0)
    }

    #[track_caller]
    fn expect_number(&self, command: &str, name: &str) -> usize {
        let answer = self.ask(command);
        number(&answer, name).unwrap_or_else(|| panic!("{command} says nothing of {name}: {answer}"))
    }

    /// The reply to a four-letter command, empty if there is none.
    pub fn ask(&self, command: &str) -> String {
        let mut answer = Vec::new();
        if let Ok(mut socket) = TcpStream::connect(self.address()) {
            // After any error here the reply is empty or cut, and the caller asks again.
            let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = socket.write_all(command.as_bytes());
            let _ = socket.shutdown(Shutdown::Write);
            let _ = socket.read_to_end(&mut answer);
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn signal(&self, signal: Signal) {
        self.server.lock().unwrap().as_ref().expect("the server is up").java.signal(signal);
    }
}

impl Server {
    fn spawn(data: &Path) -> Self {
        let mut guard = command("/bin/sh")
            .arg("-c")
            .arg(
                r#""$@" >"$DATA/log" 2>&1 & echo $!
                read -r told; kill -9 $!; wait; [ "$told" ] || rm -rf "$DATA""#,
            )
            .arg("guard")
            .args([java().expect("checked before").as_os_str(), "-Xmx256m".as_ref()])
            .args(["-XX:+UseSerialGC", "-cp", CLASS_PATH])
            .arg(format!("-Djava.security.auth.login.config={}", data.join(JAAS).display()))
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(data.join("zoo.cfg"))
            .env("DATA", data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start a shell");
        let mut pid = String::new();
        let output = guard.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut pid).expect("the server's process number");
        Self { guard, java: Process::parse(&pid) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.guard.stdin.take() {
            let _ = stdin.write_all(b"end\n");
        }
        // The shell ends after the server, so that the next server finds its port free.
        let _ = self.guard.wait();
    }
}

/// The number after this name in the reply to a four-letter command.
fn number(answer: &str, name: &str) -> Option<usize> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn java() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join("java")).find(|java| java.exists())
}

/// A port that nobody listens on. No two calls return the same one.
pub(super) fn free_port() -> u16 {
    static HANDED_OUT: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut handed_out = HANDED_OUT.lock().unwrap();
    let port = wait_for("a free port", || {
        let port = fastrand::u16(PORTS);
        (!handed_out.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok()).then_some(port)
    });
    handed_out.push(port);
    port
}
