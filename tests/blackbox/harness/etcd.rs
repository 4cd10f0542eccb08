//! A real etcd server.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tempfile::TempDir;

use super::command::command;
use super::etcd_client::EtcdClient;
use super::guarded::Guarded;
use super::machine::Machine;
use super::nodes::Nodes;
use super::ports::free_port;
use super::sandbox::TEMPORARY;
use super::server::Server;

pub struct Etcd {
    home: TempDir,
    name: String,
    /// The ports for clients, for the other members, and for metrics.
    ports: [u16; 3],
    /// All members, as `NAME=URL,NAME=URL`.
    cluster: String,
    /// Further flags. HOME in them is the server's directory.
    flags: Vec<String>,
    /// The machine that it runs on, if that is not ours, and the address for the other members.
    machine: Option<Arc<Machine>>,
    host: String,
    server: Guarded,
}

impl Etcd {
    /// The server that is shared by all tests which do nothing to it. Each has a root of its own there.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Etcd> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server for one test.
    #[track_caller]
    pub fn start() -> Self {
        let etcd = Self::stopped();
        etcd.up();
        etcd
    }

    /// A server for one test that was never up.
    #[track_caller]
    pub fn stopped() -> Self {
        Self::cluster(1).remove(0)
    }

    /// The members of a cluster, never up so far.
    #[track_caller]
    pub fn cluster(size: usize) -> Vec<Self> {
        Self::cluster_at(&vec!["127.0.0.1".to_owned(); size])
    }

    /// The members of a cluster, never up so far, which reach each other at these addresses.
    #[track_caller]
    pub fn cluster_at(hosts: &[String]) -> Vec<Self> {
        assert!(program("etcd").exists(), "this test needs an etcd server: run tests/run");
        let peers: Vec<_> = hosts.iter().map(|_| free_port()).collect();
        let cluster = hosts.iter().zip(&peers).enumerate();
        let cluster: Vec<_> =
            cluster.map(|(number, (host, port))| format!("m{number}=http://{host}:{port}")).collect();
        let (heartbeat, election) = if hosts.len() == 1 { (10, 100) } else { (50, 500) };
        let member = |(number, (host, peer)): (usize, (&String, u16))| Self {
            home: tempfile::Builder::new().prefix("etcd-").tempdir_in(TEMPORARY).expect("create a directory"),
            name: format!("m{number}"),
            ports: [free_port(), peer, free_port()],
            cluster: cluster.join(","),
            flags: vec![
                format!("--heartbeat-interval={heartbeat}"),
                format!("--election-timeout={election}"),
            ],
            machine: None,
            host: host.clone(),
            server: Guarded::default(),
        };
        hosts.iter().zip(peers).enumerate().map(member).collect()
    }

    /// Adds flags from its next start on.
    pub fn with(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Runs it on this machine from its next start on.
    pub fn on(mut self, machine: &Arc<Machine>) -> Self {
        self.machine = Some(Arc::clone(machine));
        self
    }

    /// The directory with its data.
    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The URL for the other members.
    fn peer(&self) -> String {
        format!("http://{}:{}", self.host, self.ports[1])
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// A client of all keys, without a login.
    pub fn client(&self) -> EtcdClient {
        EtcdClient::new(&self.address(), "")
    }

    /// Runs etcdctl on this server and returns what it said. Panics if it fails.
    #[track_caller]
    pub fn ctl<const N: usize>(&self, args: [&str; N]) -> String {
        etcdctl(&self.address(), &args)
    }

    /// As [`Self::ctl`], with a line on its stdin.
    #[track_caller]
    pub fn ctl_with_input<const N: usize>(&self, args: [&str; N], line: &str) {
        let mut etcdctl = command(program("etcdctl"));
        let etcdctl = etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", &self.address()]).args(args);
        let mut etcdctl = etcdctl.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("start etcdctl");
        writeln!(etcdctl.stdin.take().expect("piped"), "{line}").expect("write a line");
        assert!(etcdctl.wait().expect("wait for etcdctl").success(), "etcdctl {args:?}");
    }

    /// Saves a snapshot, to which [`Self::restore`] goes back.
    #[track_caller]
    pub fn save(&self, file: &Path) {
        // It does not replace a file.
        let _ = fs::remove_file(file);
        self.ctl(["snapshot", "save", file.to_str().expect("temporary paths are UTF-8")]);
    }

    /// Takes the data of a snapshot in the place of its own. It must be down.
    #[track_caller]
    pub fn restore(&self, file: &Path) {
        fs::remove_dir_all(self.data()).expect("remove the data");
        let file = file.to_str().expect("temporary paths are UTF-8");
        let (data, peer) = (self.data().display().to_string(), self.peer());
        self.ctl([
            "snapshot",
            "restore",
            file,
            "--data-dir",
            &data,
            "--name",
            &self.name,
            "--initial-cluster",
            &self.cluster,
            "--initial-advertise-peer-urls",
            &peer,
        ]);
    }

    /// Forgets what was before the present revision.
    #[track_caller]
    pub fn compact(&self) {
        let client = self.client();
        client.compact(client.revision());
    }

    /// The number after this name in its metrics, if it serves them.
    pub fn metric(&self, name: &str) -> Option<usize> {
        let metrics = self.ask("/metrics")?;
        metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    fn ask(&self, resource: &str) -> Option<String> {
        let address = format!("127.0.0.1:{}", self.ports[2]);
        let mut socket = match &self.machine {
            Some(machine) => machine.connect(&address).ok()?,
            None => TcpStream::connect(&address).ok()?,
        };
        let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
        socket.write_all(format!("GET {resource} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Server for Etcd {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    fn launch(&self) {
        let home = self.home.path().display().to_string();
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let ([client, _, metrics], peer) = (self.ports.map(url), self.peer());
        let mut words: Vec<_> = self.machine.iter().flat_map(|machine| machine.on_it()).collect();
        // A kill loses nothing without fsync; only the machine's end does.
        words.extend([
            program("etcd").display().to_string(),
            "--unsafe-no-fsync".to_owned(),
            "--logger=zap".to_owned(),
            "--log-level=warn".to_owned(),
            format!("--name={}", self.name),
            format!("--data-dir={}", self.data().display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--listen-metrics-urls={metrics}"),
            format!("--initial-cluster={}", self.cluster),
        ]);
        // Of two flags of one name the last counts.
        words.extend(self.flags.iter().map(|flag| flag.replace("HOME", &home)));
        let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        self.server.start(self.home.path(), &words);
    }

    fn process(&self) -> &Guarded {
        &self.server
    }

    fn is_serving(&self) -> bool {
        self.ask("/health").is_some_and(|answer| answer.contains(r#""health":"true""#))
    }

    fn leads(&self) -> bool {
        self.metric("etcd_server_is_leader") == Some(1)
    }

    fn watches(&self) -> Option<usize> {
        self.metric("etcd_debugging_mvcc_watcher_total")
    }

    fn forget_clients(&self) {
        let client = self.client();
        // What a client has read last must be older than what is forgotten.
        for content in [b"1", b"2"] {
            client.set("forgotten", content);
        }
        self.compact();
    }

    fn nodes(&self, root: String) -> Nodes {
        Nodes::Etcd { address: self.address(), root }
    }
}

/// Runs etcdctl on servers with this address and returns what it said. Panics if it fails.
#[track_caller]
pub fn etcdctl(address: &str, args: &[&str]) -> String {
    let mut etcdctl = command(program("etcdctl"));
    let output = etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", address]).args(args).output();
    let output = output.expect("start etcdctl");
    assert!(output.status.success(), "etcdctl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A program of etcd, where `tests/run` unpacks it, or in PATH.
pub fn program(name: &str) -> PathBuf {
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("etcd").join("usr/bin").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed =
        || std::env::split_paths(&path).map(|directory| directory.join(name)).find(|p| p.exists());
    if unpacked.exists() { unpacked } else { installed().unwrap_or(unpacked) }
}
