//! The command line: one file per subcommand.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage. Errors go to stderr.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use operate::{ControlArgs, HistoryArgs, StatusArgs};

use crate::model::{NodePath, WatchCommand};
use crate::settings::{self, DaemonFlags, SettingsError, StoreChoice, StoreFlags};
use crate::store::StoreUrl;
use crate::sys;

pub mod act;
pub mod check;
mod dry_run;
pub mod evaluate;
pub mod explain;
pub mod follow;
pub mod node;
pub mod operate;
pub mod run;
pub mod serving;
pub mod startup;
mod table;

/// Watches nodes in ZooKeeper and runs something the moment one changes.
///
/// Without a subcommand the flags are those of `run`.
#[derive(Debug, Parser)]
#[command(name = "twitcher", version, args_conflicts_with_subcommands = true, args_override_self = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

const AFTER_HELP: &str = "\
Stores: zk://host:port,host:port/chroot, dir:PATH, or a name that twitcher.toml gives to one. TWITCHER_STORE, \
TWITCHER_CONFIG_PATH and TWITCHER_CONTROL_SOCKET stand for --store, --config-path and --control-socket, and ZKSERVERS \
for --zkservers of `run`; what neither gives is taken from twitcher.toml in the config directory.

Exit codes: 0 done, 1 failed, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the nodes that the configs name and run their actions
    Run(RunArgs),
    /// Validate .twc files, or all below a directory; exit 1 and show where if one is wrong
    ///
    /// As root, what lies in the config directory is wrong as well where others than root can change it. Elsewhere that
    /// gets a warning.
    Check {
        /// Print each watch of the good files as the daemon would have it: who it runs as, and every setting
        #[arg(long)]
        explain: bool,
        /// Only warn of what others than root can change
        #[arg(long, alias = "allow_untrusted")]
        allow_untrusted: bool,
        /// Files and directories [default: the config directory]
        paths: Vec<PathBuf>,
    },
    /// Write a node's bytes to stdout
    Get {
        #[command(flatten)]
        store: StoreArgs,
        /// Absolute path, such as /git/head
        #[arg(value_parser = NodePath::parse)]
        node: NodePath,
    },
    /// Create a node (with its parents) or replace its data
    Set {
        #[command(flatten)]
        store: StoreArgs,
        /// Absolute path, such as /git/head
        #[arg(value_parser = NodePath::parse)]
        node: NodePath,
        /// The new data; - reads it from stdin, nothing is empty data
        #[arg(allow_hyphen_values = true)]
        data: Option<String>,
    },
    /// Rewrite a node's data as it is, so that watches fire
    Poke {
        #[command(flatten)]
        store: StoreArgs,
        /// Absolute path, such as /git/head
        #[arg(value_parser = NodePath::parse)]
        node: NodePath,
    },
    /// List a node's children, sorted, one a line
    Ls {
        #[command(flatten)]
        store: StoreArgs,
        /// Absolute path, such as /git/head
        #[arg(value_parser = NodePath::parse)]
        node: NodePath,
    },
    /// Delete a node
    Rm {
        #[command(flatten)]
        store: StoreArgs,
        /// Absolute path, such as /git/head
        #[arg(value_parser = NodePath::parse)]
        node: NodePath,
        /// Delete its children, too
        #[arg(long)]
        recursive: bool,
    },
    /// Follow a node live: its present state, then a line for each change, until interrupted
    Watch(follow::FollowArgs),
    /// Show how the daemon and its watches are; with --check, exit 1 if anything is wrong
    Status(StatusArgs),
    /// Run a watch's action now, with what its node has; also where a failure stopped it
    Trigger {
        /// Also with what a guard holds (`max_data`, `guard`), if that is still what the node has
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Start nothing of a watch, over restarts too, until it is resumed; what runs already runs on
    Pause(WatchArgs),
    /// Run a paused watch again, at once if anything came meanwhile
    Resume(WatchArgs),
    /// End what runs of a watch as a timeout would: SIGTERM, and SIGKILL 5 s later, to its process group
    Kill(WatchArgs),
    /// Have the daemon read its configs again, wait for it, and exit 1 if one cannot be loaded
    Reload(ControlArgs),
    /// List what ran, newest first
    History(HistoryArgs),
    /// Write what a run printed (the last 64 KiB) to stdout
    Logs {
        /// As `history` has it, or the number that the log has: the newest run of that number
        run: String,
        #[command(flatten)]
        control: ControlArgs,
    },
    /// Evaluate configs for the daemon (internal: talks to its parent over stdin and stdout)
    #[command(hide = true)]
    Evaluate,
    /// Run a function action for the daemon (internal: reads the request from a descriptor)
    #[command(hide = true)]
    Act { descriptor: i32 },
}

/// Which watch of which daemon.
#[derive(Clone, Debug, Args)]
struct WatchArgs {
    /// Its name as in the log, or its description
    watch: String,
    #[command(flatten)]
    control: ControlArgs,
}

/// Where the nodes are.
#[derive(Clone, Debug, Default, Args)]
pub struct StoreArgs {
    /// zk://HOST:PORT,.../CHROOT, dir:PATH, or the name of a store in twitcher.toml [default: zk://localhost:2181]
    #[arg(long, value_name = "URL|NAME", conflicts_with = "zkservers")]
    pub store: Option<StoreChoice>,
    /// The same for ZooKeeper, without the scheme
    #[arg(long, value_name = "HOST:PORT,...", value_parser = StoreUrl::from_servers)]
    pub zkservers: Option<StoreUrl>,
    /// Session timeout asked of ZooKeeper, and the time a client command may take [default: 10]
    #[arg(long, value_name = "SECONDS", alias = "session_timeout", value_parser = settings::parse_seconds_above_zero)]
    pub session_timeout: Option<Duration>,
}

impl StoreArgs {
    fn flags(&self) -> StoreFlags {
        let store = self.store.clone().or_else(|| self.zkservers.clone().map(StoreChoice::Url));
        StoreFlags { store, session_timeout: self.session_timeout }
    }
}

#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Directory of the .twc files, read recursively [default: /etc/twitcher]
    #[arg(long, value_name = "DIR", alias = "config_path")]
    pub config_path: Option<PathBuf>,
    /// Directory of the daemon's own state, its ledger [default: /var/lib/twitcher]
    #[arg(long, value_name = "DIR", alias = "state_dir")]
    pub state_dir: Option<PathBuf>,
    /// Log to stdout (the default on a terminal; else the journal, or syslog, facility daemon)
    #[arg(long, alias = "log_to_stdout", conflicts_with = "log_file")]
    pub log_to_stdout: bool,
    /// Log to a file
    #[arg(long, value_name = "FILE", aliases = ["log_file", "logfile"])]
    pub log_file: Option<PathBuf>,
    /// Log successful ends and every change of a watch, too
    #[arg(short, long)]
    pub verbose: bool,
    /// Log everything
    #[arg(short, long)]
    pub debug: bool,
    /// Write the process id to a file, which a second daemon cannot take
    #[arg(long, value_name = "FILE", aliases = ["pid_file", "pidfile"])]
    pub pid_file: Option<PathBuf>,
    /// Where operators reach the daemon [default: /run/twitcher/control.sock, of other users than root
    /// twitcher/control.sock in XDG_RUNTIME_DIR]
    #[arg(long, value_name = "PATH", alias = "control_socket")]
    pub control_socket: Option<PathBuf>,
    /// As root, load also what others than root can change, with a warning: they decide what root runs. For development
    #[arg(long, alias = "allow_untrusted")]
    pub allow_untrusted: bool,
    /// Run in the background
    #[arg(long)]
    pub daemonize: bool,
    /// Run what is pending, wait for it, and exit 1 if anything is wrong then
    #[arg(long, conflicts_with = "daemonize")]
    pub once: bool,
    /// Start nothing, and say what would be run, and why; a daemon that runs is not disturbed
    #[arg(long, alias = "dry_run", conflicts_with_all = ["daemonize", "once"])]
    pub dry_run: bool,
    /// How long running actions may take to end by themselves when the daemon stops, before they get SIGTERM and,
    /// 5 s later, SIGKILL [default: 10]
    #[arg(long, value_name = "SECONDS", alias = "stop_timeout", value_parser = settings::parse_seconds)]
    pub stop_timeout: Option<Duration>,
    /// Try it out: foreground, debug log to stdout, the configs in etc/examples, whoever can change them, and a directory
    /// store of its own
    #[arg(long, conflicts_with = "daemonize")]
    pub devel: bool,
}

impl RunArgs {
    fn flags(&self) -> DaemonFlags {
        DaemonFlags {
            store: self.store.flags(),
            state_dir: self.state_dir.clone(),
            log_file: self.log_file.clone(),
            pid_file: self.pid_file.clone(),
            control_socket: self.control_socket.clone(),
            stop_timeout: self.stop_timeout,
        }
    }
}

/// The one definition of the command line, which the manual page and the completions are generated from, too.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the subcommand, and returns the exit code.
pub fn main() -> ExitCode {
    let Cli { command, run } = Cli::parse();
    let command = command.unwrap_or(Command::Run(run));
    // Before anything is read that others of our user must not see, and that is to be in no core dump. A function action has
    // nothing to hide: it knows no more than its user.
    if !matches!(command, Command::Act { .. })
        && let Err(error) = sys::make_undumpable()
    {
        return fail(format_args!("cannot hide this process from others of its user: {error}"));
    }
    match command {
        Command::Run(args) => run::run(args),
        Command::Check { explain, allow_untrusted, paths } => check::run(paths, explain, allow_untrusted),
        Command::Get { store, node } => node::get(store, &node),
        Command::Set { store, node, data } => node::set(store, &node, data),
        Command::Poke { store, node } => node::poke(store, &node),
        Command::Ls { store, node } => node::ls(store, &node),
        Command::Rm { store, node, recursive } => node::rm(store, &node, recursive),
        Command::Watch(args) => follow::run(args),
        Command::Status(args) => operate::status(args),
        Command::Trigger { force, watch: WatchArgs { watch, control } } => {
            operate::order(WatchCommand::Trigger { force }, &watch, &control)
        }
        Command::Pause(args) => operate::order(WatchCommand::Pause, &args.watch, &args.control),
        Command::Resume(args) => operate::order(WatchCommand::Resume, &args.watch, &args.control),
        Command::Kill(args) => operate::order(WatchCommand::Kill, &args.watch, &args.control),
        Command::Reload(control) => operate::reload(&control),
        Command::History(args) => operate::history(&args),
        Command::Logs { run, control } => operate::logs(&run, &control),
        Command::Evaluate => evaluate::run(),
        Command::Act { descriptor } => act::run(descriptor),
    }
}

/// Says what is wrong with the settings.
fn report_settings_error(error: SettingsError) -> ExitCode {
    let code = match &error {
        SettingsError::UnknownStore { .. } => ExitCode::from(2),
        SettingsError::Read { .. } | SettingsError::Untrusted { .. } | SettingsError::Value { .. } => {
            ExitCode::FAILURE
        }
    };
    fail(error);
    code
}

/// Says why a command failed.
fn fail(error: impl Display) -> ExitCode {
    print_error(format_args!("twitcher: {error}"));
    ExitCode::FAILURE
}

/// A line to stderr. Where that is closed or full, the exit code has to do.
fn print_error(message: impl Display) {
    let _ = writeln!(std::io::stderr(), "{message}");
}
