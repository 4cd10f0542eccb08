//! The server of a store, and what it says about its clients.

mod etcd;
mod zookeeper;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Result;

pub use etcd::program as etcd_program;

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A kind of server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Store {
    ZooKeeper,
    Etcd,
}

impl Store {
    pub const ALL: [Self; 2] = [Self::ZooKeeper, Self::Etcd];

    /// The name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::ZooKeeper => "ZooKeeper",
            Self::Etcd => "etcd",
        }
    }

    /// The name in the arguments.
    pub fn name(self) -> &'static str {
        match self {
            Self::ZooKeeper => "zookeeper",
            Self::Etcd => "etcd",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|store| store.name() == name)
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::ZooKeeper => "zk",
            Self::Etcd => "etcd",
        }
    }

    /// The URL of a store behind this address.
    pub fn url(self, address: &str) -> String {
        format!("{}://{address}", self.scheme())
    }
}

/// A server with the settings that it has by default, which writes to the disk before it answers.
pub struct Server {
    pub store: Store,
    process: Child,
    port: u16,
    /// Where it says how it is, which is the same port for ZooKeeper.
    admin_port: u16,
    _dir: TempDir,
}

impl Server {
    pub fn start(store: Store) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = free_port()?;
        let (mut command, admin_port) = match store {
            Store::ZooKeeper => (zookeeper::command(dir.path(), port)?, port),
            Store::Etcd => {
                let admin_port = free_port()?;
                (etcd::command(dir.path(), port, free_port()?, admin_port), admin_port)
            }
        };
        let log = File::create(dir.path().join("log"))?;
        let process = command.stdout(log.try_clone()?).stderr(log).spawn();
        let process = process.map_err(|error| format!("{}: {error}: run tests/run", store.title()))?;
        let server = Self { store, process, port, admin_port, _dir: dir };
        let deadline = Instant::now() + START_TIMEOUT;
        while !server.is_up() {
            if Instant::now() > deadline {
                let log = fs::read_to_string(server._dir.path().join("log"))?;
                let title = store.title();
                return Err(format!("{log}\n{title} did not come up in {START_TIMEOUT:?}").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        self.store.url(&self.address())
    }

    fn is_up(&self) -> bool {
        match self.store {
            Store::ZooKeeper => self.ask("srvr").is_ok_and(|answer| answer.contains("Mode")),
            Store::Etcd => self.ask(&etcd::get("/health")).is_ok_and(|answer| answer.contains("\"true\"")),
        }
    }

    /// How many watches all clients have set.
    pub fn watches(&self) -> Result<usize> {
        match self.store {
            Store::ZooKeeper => zookeeper::number(&self.ask("wchs")?, "Total watches:"),
            Store::Etcd => self.metric("etcd_debugging_mvcc_watcher_total"),
        }
    }

    /// How many clients are connected.
    pub fn clients(&self) -> Result<usize> {
        match self.store {
            Store::ZooKeeper => Ok(self.ask("cons")?.matches("sid=0x").count()),
            Store::Etcd => etcd::connections(self.port),
        }
    }

    fn metric(&self, name: &str) -> Result<usize> {
        etcd::metric(&self.ask(&etcd::get("/metrics"))?, name)
    }

    /// The reply to a question.
    fn ask(&self, question: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin_port))?;
        stream.write_all(question.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
