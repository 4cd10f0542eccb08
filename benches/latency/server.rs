//! A ZooKeeper server for the benchmark.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Result;

const JAR: &str = "/usr/share/java/zookeeper.jar";
const MAIN: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
/// How long the server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

pub struct Server {
    process: Child,
    port: u16,
    _dir: TempDir,
}

impl Server {
    pub fn start() -> Result<Self> {
        if !Path::new(JAR).exists() {
            return Err("no ZooKeeper here: apt-get install -y zookeeper".into());
        }
        let dir = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = dir.path().join("zoo.cfg");
        let data = dir.path().join("data");
        fs::write(
            &config,
            format!(
                "tickTime=2000\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
                 admin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\n",
                data.display()
            ),
        )?;
        let log = File::create(dir.path().join("log"))?;
        let process = Command::new("java")
            .args(["-Xmx256m", "-cp", JAR, MAIN])
            .arg(&config)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("java: {error}: apt-get install -y zookeeper"))?;
        let server = Self { process, port, _dir: dir };
        let deadline = Instant::now() + START_TIMEOUT;
        while !server.ask("srvr").is_ok_and(|answer| answer.contains("Mode")) {
            if Instant::now() > deadline {
                let log = fs::read_to_string(server._dir.path().join("log"))?;
                return Err(format!("{log}\nZooKeeper did not come up in {START_TIMEOUT:?}").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many watches all sessions have set.
    pub fn watches(&self) -> Result<usize> {
        let answer = self.ask("wchs")?;
        let count = answer.rsplit_once("Total watches:").and_then(|(_, count)| count.trim().parse().ok());
        count.ok_or_else(|| format!("unexpected answer to wchs: {answer}").into())
    }

    /// How many connections have a session.
    pub fn sessions(&self) -> Result<usize> {
        Ok(self.ask("cons")?.matches("sid=0x").count())
    }

    /// The reply to one of the server's four-letter commands.
    fn ask(&self, word: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(word.as_bytes())?;
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
