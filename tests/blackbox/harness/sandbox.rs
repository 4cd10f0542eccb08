//! A directory for each test: its configs, state, nodes, journals and gates.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::command::{command, set_umask_and_limits};
use super::ensemble::Ensemble;
use super::etcd::Etcd;
use super::journal::{Gate, Journal};
use super::nodes::Nodes;
use super::server::Server;
use super::store::Store;
use super::twitcher::{Daemon, Twitcher};
use super::zookeeper::ZooKeeper;

/// The directory of all sandboxes. Every user can reach it, and root trusts it. A directory that `TMPDIR`
/// names may be neither.
pub const TEMPORARY: &str = "/tmp";

/// A user whom only [`Sandbox::daemon_with_a_stranger`] knows.
pub const STRANGER: &str = "stranger";

/// The first of the ids that such a user has. No distribution assigns it or the following ones.
const FIRST_STRANGER: u32 = 0x6000_0000;

pub struct Sandbox {
    home: TempDir,
    pub nodes: Nodes,
}

impl Sandbox {
    /// Uses the embedded directory store, which is fast: for tests that are not about stores.
    pub fn directory() -> Self {
        let home = home();
        let nodes = Nodes::Directory(home.path().join("nodes"));
        Self::of(home, nodes)
    }

    /// Uses the shared ZooKeeper server, below a root of its own.
    #[track_caller]
    pub fn zookeeper() -> Self {
        Self::on(ZooKeeper::shared())
    }

    /// Uses a store of this kind. The server, if it has one, is shared with other tests.
    #[track_caller]
    pub fn of_kind(store: Store) -> Self {
        match store {
            Store::Directory => Self::directory(),
            Store::ZooKeeper => Self::zookeeper(),
            Store::Etcd => Self::on(Etcd::shared()),
        }
    }

    /// Uses this server, below a root of its own.
    #[track_caller]
    pub fn on(server: &dyn Server) -> Self {
        Self::below_a_root(server, &server.address())
    }

    /// Uses this ensemble, below a root of its own.
    #[track_caller]
    pub fn on_ensemble(ensemble: &Ensemble) -> Self {
        Self::below_a_root(&*ensemble.members[0], &ensemble.address())
    }

    #[track_caller]
    fn below_a_root(server: &dyn Server, address: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let root = format!("/test-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let nodes = server.nodes(root).at(address);
        nodes.create_root();
        Self::of(home(), nodes)
    }

    /// Uses this server, which may be down, without a root of its own.
    pub fn on_whole(server: &dyn Server) -> Self {
        Self::of(home(), server.nodes(String::new()))
    }

    fn of(home: TempDir, nodes: Nodes) -> Self {
        set_mode(home.path(), 0o755);
        for name in ["configs", "nodes", "out", "state"] {
            fs::create_dir(home.path().join(name)).expect("create a directory");
        }
        set_mode(&home.path().join("out"), 0o1777);
        Self { home, nodes }
    }

    /// A path in the directory in which actions of every user can write.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("out").join(name)
    }

    pub fn configs(&self) -> PathBuf {
        self.home.path().join("configs")
    }

    pub fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// Writes a config file in one step, so that a running daemon never meets half of it.
    pub fn config(&self, name: &str, text: impl AsRef<str>) {
        let file = self.configs().join(name);
        let directory = file.parent().expect("below the config directory");
        fs::create_dir_all(directory).expect("create the directory");
        let new = directory.join(format!(".new-{}", name.replace('/', "-")));
        fs::write(&new, text.as_ref()).expect("write the config");
        fs::rename(new, file).expect("put the config in place");
    }

    /// Writes `twitcher.toml` with the mode that a file with secrets must have.
    pub fn settings(&self, text: &str) {
        self.private(&self.configs().join("twitcher.toml"), text);
    }

    /// Writes a file that only its owner can read.
    pub fn private(&self, path: &Path, text: &str) {
        fs::write(path, text).expect("write a file");
        set_mode(path, 0o600);
    }

    pub fn remove_config(&self, name: &str) {
        fs::remove_file(self.configs().join(name)).expect("remove the config");
    }

    pub fn journal(&self) -> Journal {
        self.journal_named("journal")
    }

    pub fn journal_named(&self, name: &str) -> Journal {
        Journal::create(self.path(name))
    }

    pub fn gate(&self) -> Gate {
        self.gate_named("gate")
    }

    pub fn gate_named(&self, name: &str) -> Gate {
        Gate::closed(self.path(name))
    }

    /// The command that runs a daemon on this sandbox.
    pub fn daemon(&self) -> Twitcher {
        self.daemon_on(&self.nodes.url())
    }

    /// The command that runs a daemon on another store.
    pub fn daemon_on(&self, store: &str) -> Twitcher {
        self.daemon_without_store().args(["--store", store])
    }

    /// The command that runs a daemon whose store the settings or the environment name.
    pub fn daemon_without_store(&self) -> Twitcher {
        self.run(&self.state()).arg("--log-to-stdout")
    }

    /// The command that runs a daemon with another state directory.
    pub fn daemon_with_state(&self, state: &Path) -> Twitcher {
        self.run(state).args(["--log-to-stdout", "--store", &self.nodes.url()])
    }

    /// The command that runs a daemon without a flag for its log.
    pub fn daemon_logging_elsewhere(&self) -> Twitcher {
        self.run(&self.state()).args(["--store", &self.nodes.url()])
    }

    /// The command that runs a daemon on a host with one more user, [`STRANGER`], of whom no process runs.
    pub fn daemon_with_a_stranger(&self) -> Twitcher {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let uid = FIRST_STRANGER + std::process::id() * 100 + COUNT.fetch_add(1, Ordering::Relaxed) as u32;
        let users = fs::read_to_string("/etc/passwd").expect("read the users");
        let file = self.path("passwd");
        fs::write(&file, format!("{users}{STRANGER}:x:{uid}:{uid}::/:/bin/sh\n")).expect("write the users");
        let mount = format!("mount --bind {} /etc/passwd && exec \"$@\"", file.display());
        self.daemon().under(["unshare", "--mount", "sh", "-c", &mount, "sh"])
    }

    /// The control socket of the daemon on the sandbox's own state directory.
    pub fn control_socket(&self) -> PathBuf {
        self.control_socket_of(&self.state())
    }

    /// Each daemon has a socket of its own, outside of its state directory, which may be full or read-only.
    fn control_socket_of(&self, state: &Path) -> PathBuf {
        let name = state.file_name().expect("the state directory has a name");
        self.home.path().join(name).with_extension("sock")
    }

    /// A command to the daemon on the sandbox's own state directory (`status`, `trigger`...).
    pub fn operator<const N: usize>(&self, args: [&str; N]) -> Twitcher {
        let (command, rest) = args.split_first().expect("a command");
        let command = self.twitcher([command]).arg("--control-socket").arg(self.control_socket());
        rest.iter().fold(command, Twitcher::arg)
    }

    fn run(&self, state: &Path) -> Twitcher {
        self.twitcher(["run"])
            .arg("--config-path")
            .arg(self.configs())
            .arg("--state-dir")
            .arg(state)
            .arg("--control-socket")
            .arg(self.control_socket_of(state))
    }

    #[track_caller]
    pub fn start(&self) -> Daemon {
        self.daemon().start()
    }

    /// A client command (`get`, `set`...) on this sandbox's store.
    pub fn client<const N: usize>(&self, args: [&str; N]) -> Twitcher {
        self.twitcher(args).args(["--store", &self.nodes.url()])
    }

    /// The binary with these arguments and no others.
    pub fn twitcher<const N: usize>(&self, args: [&str; N]) -> Twitcher {
        Twitcher::new(self.home.path()).args(args)
    }

    /// Writes a program for actions to run.
    pub fn executable(&self, name: &str, text: &str) -> PathBuf {
        let program = self.path(name);
        fs::write(&program, text).expect("write a program");
        set_mode(&program, 0o755);
        program
    }

    /// Copies the binary under test to where every user can reach it.
    pub fn copy_of_the_binary(&self) -> PathBuf {
        let copy = self.home.path().join("twitcher");
        // By a process of its own: a program that another test starts meanwhile would inherit our descriptor,
        // and nobody can execute a file that somebody may write to.
        let copied = command("cp").arg(env!("CARGO_BIN_EXE_twitcher")).arg(&copy).status();
        assert!(copied.is_ok_and(|status| status.success()), "copy the binary to {}", copy.display());
        set_mode(&copy, 0o755);
        copy
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("read {name}: {e}"))
    }

    pub fn read_text(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.read(name)).into_owned()
    }

    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub fn root(&self) -> &Path {
        self.home.path()
    }
}

/// Returns the text of a `RegisterWatch` call. `more` has further entries of the map.
pub fn watch(znode: &str, action: &str, more: &str) -> String {
    format!("RegisterWatch(#{{ znode: {znode:?}, action: {action}, {more} }});\n")
}

/// Returns the text of an `Exec` action that runs `script` in a shell.
pub fn exec(script: &str) -> String {
    format!("Exec({script:?})")
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("change the mode");
}

fn home() -> TempDir {
    set_umask_and_limits();
    tempfile::Builder::new().prefix("twitcher-test-").tempdir_in(TEMPORARY).expect("create a directory")
}
