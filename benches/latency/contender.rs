//! The two sides of a measurement, as processes.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::server::etcd_program;
use crate::usage::{self, Usage};
use crate::{Bench, Result, floor};

/// How many watches one file registers. A script has two seconds.
const WATCHES_PER_FILE: usize = 10_000;

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
    /// `etcdctl watch --prefix PREFIX -- COMMAND`.
    Etcdctl,
}

impl Against {
    /// What a row's name ends with.
    pub fn suffix(self) -> &'static str {
        match self {
            Against::Floor | Against::Etcdctl => "",
            Against::NoLedger => ", with its ledger",
        }
    }

    /// The parent of the measurement's nodes, which no other measurement uses.
    pub fn parent(self, measurement: &str) -> String {
        match self {
            Against::Floor => format!("/bench/{measurement}"),
            Against::NoLedger => format!("/bench/{measurement}-ledger"),
            Against::Etcdctl => format!("/bench/{measurement}-etcdctl"),
        }
    }

    /// How many watches a side sets for so many nodes.
    pub fn watches(self, side: Side, nodes: usize) -> usize {
        match (self, side) {
            (Against::Etcdctl, Side::Floor) => 1,
            (Against::Floor | Against::NoLedger | Against::Etcdctl, _) => nodes,
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
    /// How many watches of a daemon the first node has besides the one that each node has.
    pub crowd: usize,
}

/// What the actions of a crowd report instead of their node, followed by a number.
pub const CROWD: &str = "crowd-";

impl Nodes {
    /// Creates the nodes. `parent` is an absolute path that does not exist yet.
    pub async fn create(bench: &Bench, parent: &str, count: usize) -> Result<Self> {
        for (end, _) in parent.match_indices('/').skip(1).chain([(parent.len(), "")]) {
            bench.setter.create(&parent[..end], b"").await?;
        }
        let nodes = Self { prefix: format!("{parent}/node-"), count, crowd: 0 };
        let paths: Vec<_> = nodes.paths().collect();
        for some in paths.chunks(1000) {
            try_join_all(some.iter().map(|path| bench.setter.create(path, b"0"))).await?;
        }
        Ok(nodes)
    }

    pub fn paths(&self) -> impl Iterator<Item = String> {
        (0..self.count).map(|index| format!("{}{index}", self.prefix))
    }

    /// The config files of the watches.
    pub fn configs(&self, bench: &Bench) -> Vec<String> {
        let each = self.files(bench, self.count, "index", "node");
        each.chain(self.files(bench, self.crowd, "0", &format!("\"{CROWD}\" + index"))).collect()
    }

    /// The config files of `watches` watches. Each has the node of the number that the expression `number`
    /// makes of its `index`, and an action that reports what the expression `report` makes.
    fn files(
        &self,
        bench: &Bench,
        watches: usize,
        number: &str,
        report: &str,
    ) -> impl Iterator<Item = String> {
        let (program, socket) = (bench.stamps.program.display(), bench.stamps.socket.display());
        (0..watches).step_by(WATCHES_PER_FILE).map(move |first| {
            let end = watches.min(first + WATCHES_PER_FILE);
            let prefix = &self.prefix;
            format!(
                "for index in {first}..{end} {{\n    let node = \"{prefix}\" + {number};\n    \
                 RegisterWatch(#{{ znode: node, action: Exec([\"{program}\", \"{socket}\", {report}]), \
                 run_on_load: false }});\n}}\n"
            )
        })
    }
}

/// A process that watches nodes. A daemon has every feature enabled: its control socket, metrics over TCP,
/// and a service manager with a watchdog.
pub struct Contender {
    command: Command,
    process: Child,
    _service_manager: Option<UnixDatagram>,
    dir: Directory,
}

/// What a process has on the disk.
pub struct Directory {
    path: TempDir,
    state: PathBuf,
}

impl Directory {
    pub fn new() -> Result<Self> {
        // Not in or below /tmp, where others' files would wake the daemon: it watches the directories above
        // its configs.
        let path = tempfile::tempdir_in("/var/tmp")?;
        let state = path.path().join("state");
        Ok(Self { path, state })
    }

    /// Returns the path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.file("log")
    }

    fn control_socket(&self) -> PathBuf {
        self.file("control.sock")
    }
}

impl Contender {
    pub fn start(side: Side, against: Against, bench: &Bench, nodes: &Nodes) -> Result<Self> {
        Self::start_at(&bench.server.address(), side, against, bench, nodes)
    }

    /// Starts a process that finds the server at `address`.
    pub fn start_at(
        address: &str,
        side: Side,
        against: Against,
        bench: &Bench,
        nodes: &Nodes,
    ) -> Result<Self> {
        let command = match (side, against) {
            (Side::Floor, Against::Floor) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args([floor::MODE, bench.server.store.name(), address]);
                command.args([&bench.stamps.program, &bench.stamps.socket]);
                command.args([&nodes.prefix, &nodes.count.to_string()]);
                command
            }
            (Side::Floor, Against::Etcdctl) => {
                let mut command = Command::new(etcd_program("etcdctl"));
                command.env("ETCDCTL_API", "3").args(["--endpoints", address]);
                command.args(["watch", "--prefix", &nodes.prefix, "--"]);
                // It has the node in its environment.
                command.args([&bench.stamps.program, &bench.stamps.socket]).stdout(Stdio::null());
                command
            }
            (Side::Daemon, _) | (Side::Floor, Against::NoLedger) => {
                let mut dir = Directory::new()?;
                if side == Side::Floor {
                    dir.state = PathBuf::from("/dev/null/none");
                }
                let store = bench.server.store.url(address);
                return Self::start_daemon(&store, dir, nodes.configs(bench), "");
            }
        };
        Self::spawn(command, Directory::new()?, None)
    }

    /// Starts a daemon with these config files and settings.
    pub fn start_daemon(store: &str, dir: Directory, configs: Vec<String>, settings: &str) -> Result<Self> {
        // Not beside the log: the daemon also watches the directory above its configs.
        let directory = dir.file("etc").join("twitcher");
        fs::create_dir_all(&directory)?;
        for (number, config) in configs.into_iter().enumerate() {
            fs::write(directory.join(format!("bench-{number}.twc")), config)?;
        }
        let metrics = "[metrics]\nlisten = \"127.0.0.1:0\"\n";
        fs::write(directory.join("twitcher.toml"), format!("{settings}{metrics}"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_twitcher"));
        command.args(["run", "--store", store, "--config-path"]).arg(directory);
        command.arg("--state-dir").arg(&dir.state).arg("--log-file").arg(dir.log());
        command.arg("--control-socket").arg(dir.control_socket());
        let notify = dir.file("notify");
        let service_manager = UnixDatagram::bind(&notify)?;
        // The value in the systemd unit.
        command.env("NOTIFY_SOCKET", notify).env("WATCHDOG_USEC", "30000000");
        Self::spawn(command, dir, Some(service_manager))
    }

    fn spawn(mut command: Command, dir: Directory, service_manager: Option<UnixDatagram>) -> Result<Self> {
        let process = command.stdin(Stdio::null()).spawn()?;
        Ok(Self { command, process, _service_manager: service_manager, dir })
    }

    /// Starts a process, and waits until the server has all its watches. Also returns when it was connected.
    pub async fn start_and_arm(
        side: Side,
        against: Against,
        bench: &Bench,
        nodes: &Nodes,
    ) -> Result<(Self, Instant)> {
        let clients = bench.server.clients()?;
        let mut contender = Self::start(side, against, bench, nodes)?;
        while bench.server.clients()? == clients {
            contender.check()?;
            sleep(Duration::from_millis(5)).await;
        }
        let connected = Instant::now();
        bench.armed(&mut [&mut contender], nodes.count).await?;
        Ok((contender, connected))
    }

    pub fn control_socket(&self) -> PathBuf {
        self.dir.control_socket()
    }

    /// The memory, once it has not changed for 2 s.
    pub async fn settled_memory(&self) -> Result<Usage> {
        let deadline = Instant::now() + TIMEOUT;
        let (mut memory, mut unchanged) = (self.memory()?, 0);
        while unchanged < 10 && Instant::now() < deadline {
            sleep(Duration::from_millis(200)).await;
            let now = self.memory()?;
            // Its share of what it has in common with others also changes with what they do.
            let is_same = (now.total() - memory.total()).abs() < 0.1;
            unchanged = if is_same { unchanged + 1 } else { 0 };
            memory = now;
        }
        Ok(memory)
    }

    /// The memory of all its processes in MiB.
    pub fn memory(&self) -> Result<Usage> {
        usage::memory(self.process.id())
    }

    /// The resident memory of all its processes in MiB.
    pub fn resident(&self) -> Result<Usage> {
        usage::resident(self.process.id())
    }

    /// The processor time of all its processes in milliseconds, with that of its actions.
    pub fn processor(&self) -> Result<Usage> {
        usage::processor(self.process.id())
    }

    /// How often the threads of all its processes have gone to sleep since they were started.
    pub fn wakeups(&self) -> Result<Usage> {
        usage::wakeups(self.process.id())
    }

    /// Kills the process of the daemon's store.
    pub fn kill_store(&self) -> Result<()> {
        let stores = usage::helpers(self.process.id(), "store")?;
        let store = stores.first().ok_or("the daemon's store has no process")?;
        Ok(kill(Pid::from_raw(store.cast_signed()), Signal::SIGKILL)?)
    }

    /// Ends the process.
    pub fn stop(&mut self) -> Result<()> {
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM)?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it once more after [`Self::stop`].
    pub fn start_again(&mut self) -> Result<()> {
        self.process = self.command.spawn()?;
        Ok(())
    }

    /// Fails if the process has ended.
    pub fn check(&mut self) -> Result<()> {
        let Some(status) = self.process.try_wait()? else { return Ok(()) };
        let log = fs::read_to_string(self.dir.log()).ok();
        Err(format!("{}\nended too early: {status}", log.unwrap_or_default()).into())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.stop();
        }
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
