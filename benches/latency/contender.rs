//! The two sides of a measurement, as processes.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{Bench, Result, floor};

/// How long steps may take that are not measured.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Floor,
    Daemon,
}

/// What the daemon is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Against {
    Floor,
    /// The daemon itself without a ledger, because its state directory cannot be used.
    NoLedger,
}

impl Against {
    /// What a row's name ends with.
    pub fn suffix(self) -> &'static str {
        match self {
            Against::Floor => "",
            Against::NoLedger => ", with its ledger",
        }
    }

    /// The parent of the measurement's nodes, which no other measurement uses.
    pub fn parent(self, measurement: &str) -> String {
        match self {
            Against::Floor => format!("/bench/{measurement}"),
            Against::NoLedger => format!("/bench/{measurement}-ledger"),
        }
    }
}

/// Whose turn it is: floor, daemon, daemon, floor and so on, so that neither side always follows the other.
pub fn turns(rounds: usize) -> impl Iterator<Item = Side> {
    (0..rounds).flat_map(|round| match round % 2 {
        0 => [Side::Floor, Side::Daemon],
        _ => [Side::Daemon, Side::Floor],
    })
}

/// One value for each side.
#[derive(Default)]
pub struct Both<T> {
    pub floor: T,
    pub daemon: T,
}

impl<T> Both<T> {
    pub fn of(&mut self, side: Side) -> &mut T {
        match side {
            Side::Floor => &mut self.floor,
            Side::Daemon => &mut self.daemon,
        }
    }

    pub fn map<U>(&self, mut each: impl FnMut(&T) -> U) -> Both<U> {
        Both { floor: each(&self.floor), daemon: each(&self.daemon) }
    }
}

/// Numbered nodes below one parent.
pub struct Nodes {
    prefix: String,
    pub count: usize,
}

impl Nodes {
    /// Creates the nodes. `parent` is an absolute path that does not exist yet.
    pub async fn create(bench: &Bench, parent: &str, count: usize) -> Result<Self> {
        for (end, _) in parent.match_indices('/').skip(1).chain([(parent.len(), "")]) {
            bench.setter.create(&parent[..end], b"").await?;
        }
        let nodes = Self { prefix: format!("{parent}/node-"), count };
        let paths: Vec<_> = nodes.paths().collect();
        for some in paths.chunks(1000) {
            try_join_all(some.iter().map(|path| bench.setter.create(path, b"0"))).await?;
        }
        Ok(nodes)
    }

    pub fn paths(&self) -> impl Iterator<Item = String> {
        (0..self.count).map(|index| format!("{}{index}", self.prefix))
    }

    fn config(&self, bench: &Bench) -> String {
        let (program, socket) = (bench.stamps.program.display(), bench.stamps.socket.display());
        format!(
            "for index in 0..{} {{\n    let node = \"{}\" + index;\n    RegisterWatch(#{{ znode: node, \
             action: Exec([\"{program}\", \"{socket}\", node]), run_on_load: false }});\n}}\n",
            self.count, self.prefix,
        )
    }
}

/// A process that watches nodes. A daemon has every feature enabled: its control socket, metrics over TCP,
/// and a service manager with a watchdog.
pub struct Contender {
    process: Child,
    log: Option<PathBuf>,
    control_socket: PathBuf,
    _service_manager: Option<UnixDatagram>,
    _dir: TempDir,
}

impl Contender {
    pub fn start(side: Side, against: Against, bench: &Bench, nodes: &Nodes) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let control_socket = dir.path().join("control.sock");
        let mut service_manager = None;
        let mut log = None;
        let mut command = match (side, against) {
            (Side::Floor, Against::Floor) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args([floor::MODE, &bench.server.address()]);
                command.args([&bench.stamps.program, &bench.stamps.socket]);
                command.args([&nodes.prefix, &nodes.count.to_string()]);
                command
            }
            (Side::Daemon, Against::Floor | Against::NoLedger) | (Side::Floor, Against::NoLedger) => {
                // Not beside the log: the daemon also watches the directory above its configs.
                let configs = dir.path().join("etc").join("twitcher");
                fs::create_dir_all(&configs)?;
                fs::write(configs.join("bench.twc"), nodes.config(bench))?;
                fs::write(configs.join("twitcher.toml"), "[metrics]\nlisten = \"127.0.0.1:0\"\n")?;
                let log = log.insert(dir.path().join("log"));
                let mut command = Command::new(env!("CARGO_BIN_EXE_twitcher"));
                command.args(["run", "--zkservers", &bench.server.address(), "--config-path"]).arg(configs);
                let state = match side {
                    Side::Floor => Path::new("/dev/null/none").to_owned(),
                    Side::Daemon => dir.path().join("state"),
                };
                command.arg("--state-dir").arg(state).arg("--log-file").arg(log);
                command.arg("--control-socket").arg(&control_socket);
                let notify = dir.path().join("notify");
                service_manager = Some(UnixDatagram::bind(&notify)?);
                // The value in the systemd unit.
                command.env("NOTIFY_SOCKET", notify).env("WATCHDOG_USEC", "30000000");
                command
            }
        };
        let process = command.stdin(Stdio::null()).spawn()?;
        Ok(Self { process, log, control_socket, _service_manager: service_manager, _dir: dir })
    }

    pub fn control_socket(&self) -> &Path {
        &self.control_socket
    }

    /// The resident memory in MiB, once it has not changed for 2 s.
    pub async fn settled_memory(&self) -> Result<f64> {
        let deadline = Instant::now() + TIMEOUT;
        let (mut memory, mut unchanged) = (self.memory()?, 0);
        while unchanged < 10 && Instant::now() < deadline {
            sleep(Duration::from_millis(200)).await;
            let now = self.memory()?;
            unchanged = if now == memory { unchanged + 1 } else { 0 };
            memory = now;
        }
        Ok(memory)
    }

    /// The resident memory in MiB.
    pub fn memory(&self) -> Result<f64> {
        let status = fs::read_to_string(self.proc().join("status"))?;
        Ok(field(&status, "VmRSS:")? as f64 / 1024.0)
    }

    /// The memory in MiB, with only its share of what it has in common with other processes, such as its
    /// program.
    pub fn share_of_memory(&self) -> Result<f64> {
        let sums = fs::read_to_string(self.proc().join("smaps_rollup"))?;
        Ok(field(&sums, "Pss:")? as f64 / 1024.0)
    }

    /// How often its threads have gone to sleep since it was started.
    pub fn wakeups(&self) -> Result<u64> {
        let mut sum = 0;
        for task in fs::read_dir(self.proc().join("task"))? {
            sum += field(&fs::read_to_string(task?.path().join("status"))?, "voluntary_ctxt_switches:")?;
        }
        Ok(sum)
    }

    fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.process.id().to_string())
    }

    /// Fails if the process has ended.
    pub fn check(&mut self) -> Result<()> {
        let Some(status) = self.process.try_wait()? else { return Ok(()) };
        let log = self.log.as_ref().and_then(|log| fs::read_to_string(log).ok());
        Err(format!("{}\nended too early: {status}", log.unwrap_or_default()).into())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

impl Bench {
    /// Waits until the server has `count` watches, all of them set by `contenders`.
    pub async fn armed(&self, contenders: &mut [&mut Contender], count: usize) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let watches = self.server.watches()?;
            if watches == count {
                return Ok(());
            }
            for contender in &mut *contenders {
                contender.check()?;
            }
            if Instant::now() > deadline {
                return Err(format!("{watches} of {count} watches after {TIMEOUT:?}").into());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

fn field(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| format!("no {name} in /proc").into())
}
