//! Combines the command line and the settings into the options of the daemon.

use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::args::Run;
use crate::daemon::Until;
use crate::report::log::Target;
use crate::report::stream::LogStream;
use crate::report::{Level, journal};
use crate::settings::{self, DaemonSettings, StoreChoice};
use crate::store::{DirectoryUrl, StoreUrl};
use crate::text::hidden_character;
use crate::trust::{Place, Trust};

const NO_EXAMPLES: &str =
    "--devel: no etc/examples here; start it in the source directory, or give --config-path";

pub struct RunOptions {
    pub settings: DaemonSettings,
    pub config_path: PathBuf,
    pub trust: Trust,
    /// Problems of the settings file that do not keep the daemon from starting.
    pub warnings: Vec<String>,
    pub log: Target,
    pub level: Level,
    pub daemonize: bool,
    /// Whether to start with an empty ledger.
    pub ledger_reset: bool,
    pub until: Until,
    /// Nodes and state of `--devel`. Removed when the daemon ends.
    pub scratch: Option<TempDir>,
}

pub fn options(args: Run) -> Result<RunOptions, Box<dyn Error>> {
    let scratch = match args.devel {
        true => Some(
            TempDir::with_prefix("twitcher-")
                .map_err(|error| format!("--devel: cannot make a temporary directory: {error}"))?,
        ),
        false => None,
    };
    let config_path = match (&args.config_path, &scratch) {
        (None, Some(_)) => settings::absolute(examples().ok_or(NO_EXAMPLES)?),
        (flag, _) => settings::config_path(flag.clone()),
    };
    let trust = Trust::of_this_process(args.allow_untrusted || args.devel);
    let mut file = settings::read(&config_path, trust)?;
    let mut warnings = std::mem::take(&mut file.warnings);
    let mut flags = args.flags();
    if let Some(scratch) = &scratch {
        let scratch = scratch.path();
        // These win over the environment, which may name a production cluster.
        if flags.store.store.is_none() {
            let nodes = scratch.join("nodes");
            fs::create_dir(&nodes).map_err(|error| format!("--devel: {}: {error}", nodes.display()))?;
            flags.store.store = Some(StoreChoice::Url(StoreUrl::Directory(DirectoryUrl { root: nodes })));
        }
        flags.state_dir.get_or_insert_with(|| scratch.join("state"));
        flags.control_socket.get_or_insert_with(|| scratch.join("control.sock"));
    }
    let settings = DaemonSettings::new(flags, &file)?;
    require_config_directory(&config_path)?;
    let store = settings.default_store.to_string();
    warnings.extend(hidden_character(&store).map(|hidden| format!("store {store}: {hidden}")));
    // Who can put a link in the place of root's log file chooses where the output of actions is written to.
    warnings.extend(settings.log_file.as_deref().and_then(|path| Place::warning("log file", path)));
    let timeout = settings.default_store.session_timeout();
    Ok(RunOptions {
        log: log_target(&args, settings.log_file.as_deref())?,
        level: match () {
            () if args.debug => Level::Debug,
            () if args.verbose || args.devel => Level::Info,
            () if args.dry_run => Level::Warning,
            () => Level::Notice,
        },
        until: match () {
            () if args.dry_run => Until::Planned { timeout },
            () if args.once => Until::Idle { timeout },
            () => Until::Stopped,
        },
        daemonize: args.daemonize,
        ledger_reset: args.ledger_reset,
        settings,
        config_path,
        trust,
        warnings,
        scratch,
    })
}

fn log_target(args: &Run, log_file: Option<&Path>) -> Result<Target, Box<dyn Error>> {
    let to_stdout = args.log_to_stdout || args.devel || args.once;
    Ok(match log_file {
        _ if args.dry_run => Target::Stream(LogStream::stderr()?),
        Some(path) if !to_stdout => {
            let file = LogStream::open(path);
            Target::Stream(file.map_err(|error| format!("log file {}: {error}", path.display()))?)
        }
        None if !to_stdout && args.daemonize => Target::Syslog,
        None if !to_stdout && !io::stdout().is_terminal() => match journal::is_connected() {
            true => Target::Journal,
            false => Target::Syslog,
        },
        Some(_) | None => Target::Stream(LogStream::stdout()?),
    })
}

/// Finds the shipped examples: in the working directory, or, after a build by cargo, above the binary.
fn examples() -> Option<PathBuf> {
    let here = Path::new("etc/examples");
    let binary = std::env::current_exe().ok()?;
    let above = binary.ancestors().map(|directory| directory.join(here));
    [here.to_owned()].into_iter().chain(above).find(|path| path.is_dir())
}

/// Fails if there is no config directory. This check comes before `--daemonize` closes stderr.
fn require_config_directory(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(ErrorKind::NotADirectory.into()),
        Err(error) => Err(error),
    }
    .map_err(|error| {
        let remedy = "create it, or name another with --config-path";
        io::Error::other(format!("config directory {}: {error}; {remedy}", path.display()))
    })
}
