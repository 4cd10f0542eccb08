//! The flags of the daemon.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::shared::store::StoreArgs;
use crate::model::LogFormat;
use crate::settings::{self, DaemonFlags};

/// Run the daemon: watch the nodes that the configs name, and run their actions
#[derive(Debug, clap::Args)]
pub struct Run {
    #[command(flatten)]
    store: StoreArgs,
    /// Directory of the .twc files, read recursively [default: /etc/twitcher]
    #[arg(long, value_name = "DIR", alias = "config_path")]
    pub config_path: Option<PathBuf>,
    /// Directory of the daemon's own state, its ledger [default: /var/lib/twitcher]
    #[arg(long, value_name = "DIR", alias = "state_dir")]
    state_dir: Option<PathBuf>,
    /// Log to stdout, which is the default on a terminal; otherwise the log goes to the journal, or to syslog
    /// (facility daemon)
    #[arg(long, alias = "log_to_stdout", conflicts_with = "log_file")]
    pub log_to_stdout: bool,
    /// Append the log to a file
    #[arg(long, value_name = "FILE", aliases = ["log_file", "logfile"])]
    log_file: Option<PathBuf>,
    /// Log for people, or one JSON object a line [default: text]
    #[arg(long, value_name = "FORMAT", alias = "log_format", value_parser = log_format())]
    log_format: Option<LogFormat>,
    /// Log successful runs and every change of a watch, too
    #[arg(short, long)]
    pub verbose: bool,
    /// Log everything
    #[arg(short, long)]
    pub debug: bool,
    /// Write the process id to a file and lock it, so that a second daemon with this file refuses to start
    #[arg(long, value_name = "FILE", aliases = ["pid_file", "pidfile"])]
    pid_file: Option<PathBuf>,
    /// Socket on which operators reach the daemon [default: /run/twitcher/control.sock, or, for users other
    /// than root, twitcher/control.sock in XDG_RUNTIME_DIR]
    #[arg(long, value_name = "PATH", alias = "control_socket")]
    control_socket: Option<PathBuf>,
    /// As root, also load configs that users other than root can change, with a warning: these users can
    /// decide what root runs. For development
    #[arg(long, alias = "allow_untrusted")]
    pub allow_untrusted: bool,
    /// Run in the background
    #[arg(long)]
    pub daemonize: bool,
    /// For one start only: set aside the ledger of the state directory, for example that of a newer Twitcher,
    /// and start with an empty one. Every watch then counts as new; what was paused, stopped or held can run
    #[arg(long, alias = "ledger_reset")]
    pub ledger_reset: bool,
    /// Run everything that is pending, wait for it, and exit 1 if anything is wrong then
    #[arg(long, conflicts_with = "daemonize")]
    pub once: bool,
    /// Start nothing; print what would run, and why. A running daemon is not disturbed
    #[arg(long, alias = "dry_run", conflicts_with_all = ["daemonize", "once"])]
    pub dry_run: bool,
    /// How long running actions may take to end by themselves when the daemon stops; then they get SIGTERM
    /// and, 5 s later, SIGKILL [default: 10; 4 as process 1 of a container]
    #[arg(long, value_name = "SECONDS", alias = "stop_timeout", value_parser = settings::seconds)]
    stop_timeout: Option<Duration>,
    /// Try Twitcher out: foreground, verbose log to stdout, the configs in etc/examples even if others can
    /// change them, and a directory store of its own. Without root, all actions run as the caller, whatever
    /// their uid
    #[arg(long, conflicts_with = "daemonize")]
    pub devel: bool,
}

impl Run {
    /// The flags that have keys in `twitcher.toml`, too.
    pub fn flags(&self) -> DaemonFlags {
        DaemonFlags {
            store: self.store.flags(),
            state_dir: self.state_dir.clone(),
            log_file: self.log_file.clone(),
            log_format: self.log_format,
            pid_file: self.pid_file.clone(),
            control_socket: self.control_socket.clone(),
            stop_timeout: self.stop_timeout,
        }
    }
}

fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(LogFormat::NAMES).map(|name| LogFormat::named(&name).unwrap_or_default())
}
