//! A real ZooKeeper server.

mod archive;

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use super::guarded::Guarded;
use super::nodes::Nodes;
use super::ports::free_port;
use super::sandbox::TEMPORARY;
use super::server::Server;
use super::wait::wait_until;

const JAR: &str = "/usr/share/java/zookeeper.jar";

/// The class path. Debian's jar names most of the jars that it needs, but not those for TLS.
const CLASS_PATH: &str =
    "/usr/share/java/zookeeper.jar:/usr/share/java/netty-codec.jar:/usr/share/java/netty-resolver.jar";

const MAIN_CLASS: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

/// The file of those who may log in by SASL. Nobody may if it is empty.
pub(super) const JAAS: &str = "jaas.conf";

pub struct ZooKeeper {
    home: TempDir,
    port: u16,
    server: Guarded,
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
        Self { home, port, server: Guarded::default() }
    }

    /// What starts it, with a further option of the JVM.
    fn command_line(&self, option: Option<String>) -> Vec<OsString> {
        let home = self.home.path();
        let jaas = format!("-Djava.security.auth.login.config={}", home.join(JAAS).display());
        let mut words = vec![java().expect("checked before").into_os_string()];
        // Few servers live long enough to be worth the work of the second compiler.
        words.extend(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(OsString::from));
        words.extend(option.map(OsString::from));
        words.extend(["-cp", CLASS_PATH, &jaas, MAIN_CLASS].map(OsString::from));
        words.push(home.join("zoo.cfg").into());
        words
    }

    /// The directory with its settings and data.
    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The number of sessions that are alive.
    pub fn sessions(&self) -> usize {
        self.expect_number("mntr", "zk_global_sessions")
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
}

impl Server for ZooKeeper {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn launch(&self) {
        let home = self.home.path();
        let words = archive::path().map(|archive| format!("-XX:SharedArchiveFile={}", archive.display()));
        let words = self.command_line(words);
        self.server.start(home, &words.iter().map(AsRef::as_ref).collect::<Vec<_>>());
    }

    fn process(&self) -> &Guarded {
        &self.server
    }

    fn is_serving(&self) -> bool {
        self.ask("srvr").contains("Mode")
    }

    fn leads(&self) -> bool {
        self.ask("srvr").contains("Mode: leader")
    }

    fn watches(&self) -> Option<usize> {
        number(&self.ask("wchs"), "Total watches:")
    }

    fn has_sessions(&self, count: usize) -> bool {
        number(&self.ask("mntr"), "zk_global_sessions") == Some(count)
    }

    fn forget_clients(&self) {
        wait_until("the sessions to expire", || self.sessions() == 0);
    }

    fn nodes(&self, root: String) -> Nodes {
        Nodes::ZooKeeper { address: self.address(), root }
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
