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

/// Debian's jar names most of what it needs, but not all that TLS takes.
const CLASS_PATH: &str =
    "/usr/share/java/zookeeper.jar:/usr/share/java/netty-codec.jar:/usr/share/java/netty-resolver.jar";

/// Who may log in by SASL; nobody where it is empty.
pub(super) const JAAS: &str = "jaas.conf";

/// Ports below those that the kernel hands out by itself, so that no outgoing connection takes ours while
/// its server is down.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

pub struct ZooKeeper {
    home: TempDir,
    port: u16,
    server: Mutex<Option<Server>>,
}

/// The server process on its leash: a shell that kills it when told so, and also when our end of the shell's
/// stdin closes, which it does even where nothing is dropped, as with statics and with a killed test run. In that
/// case nobody else removes the data.
struct Server {
    leash: Child,
    java: Process,
}

impl ZooKeeper {
    /// The server that all tests share which do nothing to it; each under a node of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ZooKeeper> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of the test's own, up and running.
    #[track_caller]
    pub fn start() -> Self {
        let zookeeper = Self::stopped();
        zookeeper.up();
        zookeeper
    }

    /// A server of the test's own that is reached by every address of the machine.
    #[track_caller]
    pub fn start_on_all_addresses() -> Self {
        // The last of two lines counts.
        let zookeeper = Self::with_settings("clientPortAddress=0.0.0.0\n");
        zookeeper.up();
        zookeeper
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A server of the test's own that was never up.
    #[track_caller]
    pub fn stopped() -> Self {
        Self::with_settings("")
    }

    /// Member `number` of an ensemble whose `server.N` lines these are, never up so far.
    #[track_caller]
    pub(super) fn member(number: usize, peers: &str) -> Self {
        // A member that is silent for this many ticks is taken for dead: soon enough for tests to wait for it, and
        // longer than a loaded machine keeps a living one from its turn.
        let member = Self::with_settings(&format!("initLimit=100\nsyncLimit=15\n{peers}"));
        fs::write(member.home.path().join("myid"), number.to_string()).expect("write myid");
        member
    }

    /// A server of the test's own that was never up, with these lines in its `zoo.cfg`, too; HOME in them is its
    /// directory.
    #[track_caller]
    pub(super) fn with_settings(more: &str) -> Self {
        assert!(
            Path::new(JAR).exists() && java().is_some(),
            "this test needs a ZooKeeper server: apt-get install -y zookeeper"
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
        fs::write(home.path().join(JAAS), "").expect("write the logins");
        Self { home, port, server: Mutex::new(None) }
    }

    /// Where its settings and data are.
    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it, again on the same port and data, and waits until it serves.
    #[track_caller]
    pub fn up(&self) {
        self.launch();
        self.wait_until_serving();
    }

    /// Starts it without waiting: a member of an ensemble serves only once most of them are there.
    pub fn launch(&self) {
        *self.server.lock().unwrap() = Some(Server::spawn(self.home.path()));
    }

    #[track_caller]
    pub fn wait_until_serving(&self) {
        wait_until("ZooKeeper to serve", || self.ask("srvr").contains("Mode"));
    }

    /// Returns true if and only if it leads an ensemble now.
    pub fn leads(&self) -> bool {
        self.ask("srvr").contains("Mode: leader")
    }

    /// Kills it; what it has confirmed is on disk.
    pub fn down(&self) {
        drop(self.server.lock().unwrap().take());
    }

    /// Stops the process in its tracks: connections stand, nobody answers.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// How many sessions are alive.
    pub fn sessions(&self) -> usize {
        self.expect_number("mntr", "zk_global_sessions")
    }

    /// Returns true if and only if it serves, and so many sessions are alive.
    pub fn has_sessions(&self, count: usize) -> bool {
        number(&self.ask("mntr"), "zk_global_sessions") == Some(count)
    }

    /// How many watches its clients have set.
    pub fn watches(&self) -> usize {
        self.expect_number("wchs", "Total watches:")
    }

    /// Returns true if and only if it serves, and some client has set a watch at this very server.
    pub fn is_watched(&self) -> bool {
        number(&self.ask("wchs"), "Total watches:").is_some_and(|watches| watches > 0)
    }

    #[track_caller]
    fn expect_number(&self, command: &str, name: &str) -> usize {
        let answer = self.ask(command);
        number(&answer, name).unwrap_or_else(|| panic!("{command} says nothing of {name}: {answer}"))
    }

    /// The answer to a four-letter command; empty if there is none.
    pub fn ask(&self, command: &str) -> String {
        let mut answer = Vec::new();
        if let Ok(mut socket) = TcpStream::connect(self.address()) {
            // Whatever goes wrong here, the answer is empty or cut, and the caller waits on.
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
        let mut leash = command("/bin/sh")
            .arg("-c")
            .arg(r#""$@" >"$DATA/log" 2>&1 & echo $!; read -r told; kill -9 $!; wait; [ "$told" ] || rm -rf "$DATA""#)
            .arg("leash")
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
        let output = leash.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut pid).expect("the server's process number");
        Self { leash, java: Process::parse(&pid) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.leash.stdin.take() {
            let _ = stdin.write_all(b"end\n");
        }
        // Returns when the server is gone too, so that the next one finds its port free.
        let _ = self.leash.wait();
    }
}

/// The number behind this name in the answer to a four-letter command.
fn number(answer: &str, name: &str) -> Option<usize> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn java() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join("java")).find(|java| java.exists())
}

/// A port that nobody listens on, different at each call.
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
