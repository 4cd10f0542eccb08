//! A server of commits, and the least of a client of it.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use twitcher::commits::{Database, FullCommit, Journal, open};
use twitcher::model::Commit;

use crate::table::percentile;
use crate::usage;
use crate::{Result, Scale};

/// How long the server may take to start, and what is not measured.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How many bytes each payload has.
pub const PAYLOAD: usize = 100;

/// Where the journals are.
pub struct Place {
    database: Database,
    pub url: String,
    /// The directory of a file of SQLite. Below /var/tmp, which is on a disk.
    _dir: TempDir,
}

impl Place {
    /// Makes a new file of SQLite, unless there is a `url` of another database.
    pub fn new(url: Option<&str>) -> Result<Self> {
        let dir = tempfile::tempdir_in("/var/tmp")?;
        let url = match url {
            Some(url) => url.to_owned(),
            None => format!("sqlite:{}", dir.path().join("commits.db").display()),
        };
        Ok(Self { database: url.parse()?, url, _dir: dir })
    }

    /// Opens a journal in this process, without a server.
    pub async fn journal(&self, table: &str) -> Result<Arc<dyn Journal>> {
        Ok(open(&self.database, &table.parse()?, tokio::sync::mpsc::unbounded_channel().0).await?)
    }
}

/// A table that no other run has.
pub fn table(name: &str) -> String {
    format!("bench_{}_{name}", std::process::id())
}

/// A commit of which nobody asks more than that it is kept.
pub fn commit(key: &str, version: i64) -> FullCommit {
    let header = Commit {
        key: key.to_owned(),
        version,
        author: "bench".to_owned(),
        comment: format!("version {version}"),
        mtime: "2014-02-11T14:01:28.839-08:00".to_owned(),
        empty: false,
    };
    FullCommit { header, payload: payload(version) }
}

pub fn payload(version: i64) -> Vec<u8> {
    format!("{version:<PAYLOAD$}").into_bytes()
}

/// A running `twitcher serve`.
pub struct CommitServer {
    process: Child,
    address: String,
    _dir: TempDir,
}

impl CommitServer {
    /// Starts a server with these blocks of namespaces.
    pub async fn start(place: &Place, namespaces: &str) -> Result<Self> {
        let dir = tempfile::tempdir_in("/var/tmp")?;
        let settings =
            format!("[serve]\nlisten = \"127.0.0.1:0\"\ndatabase = \"{}\"\n{namespaces}", place.url);
        fs::write(dir.path().join("twitcher.toml"), settings)?;
        let log = dir.path().join("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_twitcher"));
        command.args(["serve", "--config-path"]).arg(dir.path());
        let process = command.stdin(Stdio::null()).stderr(File::create(&log)?).spawn()?;
        let mut server = Self { process, address: String::new(), _dir: dir };
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let said = fs::read_to_string(&log)?;
            if let Some(line) = said.lines().find(|line| line.contains(" serving ")) {
                server.address = line.rsplit(' ').next().unwrap_or_default().to_owned();
                return Ok(server);
            }
            if server.process.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(format!("{said}\ntwitcher serve does not serve").into());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The URL of a namespace, for `twitcher commits`.
    pub fn url(&self, namespace: &str) -> String {
        format!("http://{}/{namespace}", self.address)
    }

    /// Saves a commit of the namespace `bench`.
    pub async fn save(&self, key: &str, version: i64) -> Result<()> {
        let headers = "X-Rainer-Author: bench\r\nX-Rainer-Comment: why\r\n";
        self.ask("POST", &format!("/bench/{key}/{version}"), headers, &payload(version)).await.map(drop)
    }

    pub async fn get(&self, path: &str) -> Result<Vec<u8>> {
        self.ask("GET", path, "", b"").await
    }

    /// Compares the journal of a namespace with the store, and publishes what differs. Returns how many keys
    /// there are, and how many differed.
    pub async fn publish(&self, namespace: &str) -> Result<(u64, u64)> {
        let reply = self.ask("POST", &format!("/-/published/{namespace}"), "", b"").await?;
        let compared: Value = serde_json::from_slice(&reply)?;
        let number = |name: &str| compared[name].as_u64().ok_or_else(|| format!("{compared} has no {name}"));
        Ok((number("checked")?, number("differing")?))
    }

    /// Waits until a metric of a namespace has this value.
    pub async fn metric(&self, name: &str, namespace: &str, value: f64) -> Result<()> {
        let line = format!("{name}{{namespace=\"{namespace}\"}} {value}\n");
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let metrics = String::from_utf8(self.get("/-/metrics").await?)?;
            if metrics.contains(&line) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{metrics}\nwaited {TIMEOUT:?} in vain for {line}").into());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The resident memory in MiB.
    pub fn resident(&self) -> Result<f64> {
        Ok(usage::resident(self.process.id())?.total())
    }

    /// Sends a request on a connection of its own, as the server wants it, and returns the body of the reply.
    async fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (host, length) = (&self.address, body.len());
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).await?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await?;
        let end = reply.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.ok_or_else(|| format!("no reply to {method} {path}"))?;
        match reply.starts_with(b"HTTP/1.1 200 ") {
            true => Ok(reply.split_off(end + 4)),
            false => Err(format!("{method} {path}: {}", String::from_utf8_lossy(&reply)).into()),
        }
    }
}

impl Drop for CommitServer {
    fn drop(&mut self) {
        // It gives up what it leads in the store.
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

/// How many milliseconds pass until the work is done, as the median of some times.
pub async fn median(scale: &Scale, mut work: impl AsyncFnMut(usize) -> Result<()>) -> Result<f64> {
    let mut times = Vec::new();
    for index in 0..scale.rounds {
        let start = Instant::now();
        work(index).await?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(percentile(&times, 0.5))
}
