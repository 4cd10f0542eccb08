//! A place of its own for each test: configs, state, nodes, journals and gates.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::command::{command, settle};
use super::ensemble::Ensemble;
use super::journal::{Gate, Journal};
use super::nodes::Nodes;
use super::twitcher::{Daemon, Twitcher};
use super::zookeeper::ZooKeeper;

/// Every user can reach it, and root trusts it. `TMPDIR` may name any other place.
pub const TEMPORARY: &str = "/tmp";

pub struct Sandbox {
    home: TempDir,
    pub nodes: Nodes,
}

impl Sandbox {
    /// With the embedded directory store: for tests that are not about stores, as it costs nothing.
    pub fn directory() -> Self {
        let home = home();
        let nodes = Nodes::Directory(home.path().join("nodes"));
        Self::of(home, nodes)
    }

    /// On the shared ZooKeeper, below a root of its own.
    #[track_caller]
    pub fn zookeeper() -> Self {
        Self::on(ZooKeeper::shared())
    }

    /// On this server, below a root of its own.
    #[track_caller]
    pub fn on(server: &ZooKeeper) -> Self {
        Self::at(server.address())
    }

    /// On this ensemble, below a root of its own.
    #[track_caller]
    pub fn on_ensemble(ensemble: &Ensemble) -> Self {
        Self::at(ensemble.address())
    }

    #[track_caller]
    fn at(address: String) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let root = format!("/test-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Nodes::create_root(&address, &root);
        Self::of(home(), Nodes::ZooKeeper { address, root })
    }

    /// On this server, which may be down, without a root of its own.
    pub fn on_whole(server: &ZooKeeper) -> Self {
        Self::of(home(), Nodes::ZooKeeper { address: server.address(), root: String::new() })
    }

    fn of(home: TempDir, nodes: Nodes) -> Self {
        set_mode(home.path(), 0o755);
        for name in ["configs", "nodes", "out", "state"] {
            fs::create_dir(home.path().join(name)).expect("create a directory");
        }
        set_mode(&home.path().join("out"), 0o1777);
        Self { home, nodes }
    }

    /// A file of the directory that actions of every user can write in.
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

    /// Writes `twitcher.toml`, and as one with secrets.
    pub fn settings(&self, text: &str) {
        self.private(&self.configs().join("twitcher.toml"), text);
    }

    /// Writes a file that is its owner's alone.
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

    /// The daemon on this sandbox, not yet started.
    pub fn daemon(&self) -> Twitcher {
        self.daemon_on(&self.nodes.url())
    }

    /// The daemon on this sandbox with another store, not yet started.
    pub fn daemon_on(&self, store: &str) -> Twitcher {
        self.daemon_without_store().args(["--store", store])
    }

    pub fn daemon_without_store(&self) -> Twitcher {
        self.run(&self.state()).arg("--log-to-stdout")
    }

    /// The daemon with its state in another place.
    pub fn daemon_with_state(&self, state: &Path) -> Twitcher {
        self.run(state).args(["--log-to-stdout", "--store", &self.nodes.url()])
    }

    /// The daemon with no word on where its log goes.
    pub fn daemon_logging_elsewhere(&self) -> Twitcher {
        self.run(&self.state()).args(["--store", &self.nodes.url()])
    }

    /// Of the daemon on the sandbox's own state.
    pub fn control_socket(&self) -> PathBuf {
        self.control_socket_of(&self.state())
    }

    /// Each daemon has one of its own, outside of its state: that may be full, or read-only.
    fn control_socket_of(&self, state: &Path) -> PathBuf {
        let name = state.file_name().expect("the state directory has a name");
        self.home.path().join(name).with_extension("sock")
    }

    /// A command to the daemon on the sandbox's own state (`status`, `trigger`...).
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

    /// The binary, with these arguments and nothing else.
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

    /// The binary under test where every user can reach it.
    pub fn copy_of_the_binary(&self) -> PathBuf {
        let copy = self.home.path().join("twitcher");
        // By a process of its own: what another test starts meanwhile would inherit our descriptor, and nobody can execute
        // a file that somebody may write.
        let copied = command("cp").arg(env!("CARGO_BIN_EXE_twitcher")).arg(&copy).status();
        assert!(copied.is_ok_and(|status| status.success()), "copy the binary to {}", copy.display());
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

/// Runs a test on the directory store and on ZooKeeper.
#[track_caller]
pub fn on_both_stores(test: impl Fn(&Sandbox)) {
    test(&Sandbox::directory());
    test(&Sandbox::zookeeper());
}

/// The text of a `RegisterWatch` call. `more` are further entries of the map.
pub fn watch(znode: &str, action: &str, more: &str) -> String {
    format!("RegisterWatch(#{{ znode: {znode:?}, action: {action}, {more} }});\n")
}

/// The text of an `Exec` action that runs `script` in a shell.
pub fn exec(script: &str) -> String {
    format!("Exec({script:?})")
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("change the mode");
}

fn home() -> TempDir {
    settle();
    tempfile::Builder::new().prefix("twitcher-test-").tempdir_in(TEMPORARY).expect("create a directory")
}
