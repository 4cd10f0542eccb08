//! `twitcher run`: the daemon.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tempfile::TempDir;
use thiserror::Error;
use tokio::sync::mpsc::unbounded_channel;

use super::operate::print;
use super::serving::Serving;
use super::settings::{self, SettingsError};
use super::startup::{self, Background, LockError, PidFile};
use super::stores::{self, StoreChoice};
use super::{RunArgs, dry_run, fail, print_error, report_settings_error};
use crate::action::spawn::Spawner;
use crate::config::files;
use crate::control::routes::Routes;
use crate::control::server;
use crate::control::status::problems;
use crate::daemon::systemd::Systemd;
use crate::daemon::{self, FinalStatus, Parts, Stores, Until};
use crate::ledger::{self, Ledger};
use crate::metrics::Metrics;
use crate::model::StoreName;
use crate::report::log::Target;
use crate::report::{Level, Log, Report, Reporter, journal};
use crate::store::{StoreSettings, StoreUrl};
use crate::sys;
use crate::text::printable;
use crate::trust::Trust;

#[derive(Debug, Error)]
enum RunError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("--devel: no etc/examples here; start it in the source directory, or give --config-path")]
    NoExamples,
    #[error("log file {}: {source}", .path.display())]
    LogFile { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What `run` was told, with every path absolute.
struct RunOptions {
    /// The default one.
    store: StoreSettings,
    named_stores: BTreeMap<StoreName, StoreSettings>,
    config_path: PathBuf,
    state_dir: PathBuf,
    stop_timeout: Duration,
    log: Target,
    level: Level,
    pid_file: Option<PathBuf>,
    daemonize: bool,
    until: Until,
    serving: Serving,
    trust: Trust,
    /// Of its settings file.
    warnings: Vec<String>,
    /// Removed when the daemon ends.
    scratch: Option<TempDir>,
}

pub fn run(args: RunArgs) -> ExitCode {
    match plan(args).and_then(start) {
        Ok(code) => code,
        Err(RunError::Settings(error)) => report_settings_error(error),
        Err(error) => fail(error),
    }
}

fn plan(args: RunArgs) -> Result<RunOptions, RunError> {
    let scratch = match args.devel {
        true => Some(TempDir::with_prefix("twitcher-devel-")?),
        false => None,
    };
    let config_path = match (&args.config_path, &scratch) {
        (None, Some(_)) => settings::absolute(examples().ok_or(RunError::NoExamples)?),
        (flag, _) => settings::config_path(flag.clone()),
    };
    let trust = Trust::of_this_process(args.allow_untrusted || args.devel);
    let mut file = settings::SettingsFile::read(&config_path, trust)?;
    let warnings = std::mem::take(&mut file.warnings);
    let mut store = args.store;
    if let (Some(scratch), None, None) = (&scratch, &store.store, &store.zkservers) {
        // As good as a flag: whoever tries it out does not mean the cluster that the environment names.
        let nodes = scratch.path().join("nodes");
        fs::create_dir(&nodes)?;
        store.store = Some(StoreChoice::Url(StoreUrl::Directory(nodes)));
    }
    let state_dir = args.state_dir.or_else(|| Some(scratch.as_ref()?.path().join("state")));
    let state_dir =
        state_dir.or_else(|| file.state_dir.clone()).unwrap_or_else(|| settings::STATE_DIR.into());
    let log_file = args.log_file.or_else(|| file.log_file.clone());
    let to_stdout = args.log_to_stdout || args.devel || args.once;
    let log = match log_file {
        _ if args.dry_run => Target::Stderr,
        Some(path) if !to_stdout => {
            let path = settings::absolute(path);
            // What actions print is in it, and not every user may know that.
            let file = File::options().append(true).create(true).mode(0o640).open(&path);
            Target::File(file.map_err(|source| RunError::LogFile { path, source })?)
        }
        None if !to_stdout && args.daemonize => Target::Syslog,
        None if !to_stdout && !io::stdout().is_terminal() => match journal::is_connected() {
            true => Target::Journal,
            false => Target::Syslog,
        },
        Some(_) | None => Target::Stdout,
    };
    let level = match () {
        () if args.debug || args.devel => Level::Debug,
        () if args.verbose => Level::Info,
        () if args.dry_run => Level::Warning,
        () => Level::Notice,
    };
    let stop_timeout =
        args.stop_timeout.or(file.stop_timeout(&config_path)?).unwrap_or(settings::STOP_TIMEOUT);
    let scratch_socket = scratch.as_ref().map(|scratch| scratch.path().join("control.sock"));
    let socket = args.control_socket.or(scratch_socket);
    let (default_store, named_stores) = stores::of_daemon(&store, &file, &config_path)?;
    let timeout = default_store.session_timeout;
    Ok(RunOptions {
        until: match () {
            () if args.dry_run => Until::Planned { timeout },
            () if args.once => Until::Idle { timeout },
            () => Until::Stopped,
        },
        serving: Serving::new(socket, &file.control, &file.metrics, &config_path)?,
        state_dir: settings::absolute(state_dir),
        stop_timeout,
        log,
        level,
        pid_file: args.pid_file.or_else(|| file.pid_file.clone()).map(settings::absolute),
        daemonize: args.daemonize,
        trust,
        warnings,
        named_stores,
        store: default_store,
        config_path,
        scratch,
    })
}

/// The shipped examples: below the working directory, or above the binary as cargo builds it.
fn examples() -> Option<PathBuf> {
    let here = Path::new("etc/examples");
    let binary = std::env::current_exe().ok()?;
    let above = binary.ancestors().map(|directory| directory.join(here));
    [here.to_owned()].into_iter().chain(above).find(|path| path.is_dir())
}

fn start(plan: RunOptions) -> Result<ExitCode, RunError> {
    // Whatever can be wrong is found while somebody still looks at stderr.
    startup::require_directory(&plan.config_path)?;
    if let Until::Planned { .. } = plan.until {
        return dry_run(plan);
    }
    let (state_lock, state_trouble) = match startup::lock_state_dir(&plan.state_dir) {
        Ok(lock) => {
            let distrust = startup::untrusted_state_dir_warning(&plan.state_dir, &lock);
            (Some(lock), distrust)
        }
        Err(taken @ LockError::Taken { .. }) => return Err(taken.into()),
        Err(error) => (None, Some(format!("{error}; going on without: a second daemon goes unnoticed"))),
    };
    let pid_file = plan.pid_file.clone().map(PidFile::lock).transpose()?;
    if let Some(scratch) = &plan.scratch {
        print_welcome(scratch.path(), &plan.store, plan.serving.socket());
    }
    // Before the first thread: only the calling one survives a fork.
    let background = if plan.daemonize { Some(Background::enter()?) } else { None };
    if let Some(pid_file) = &pid_file {
        pid_file.write()?;
    }
    let served = serve(plan, state_trouble, background);
    // The locks go last, when nothing of this daemon can do anything any more.
    drop(pid_file);
    drop(state_lock);
    served
}

/// As a daemon would, but on a copy of the ledger, and without locks: one may be running.
fn dry_run(plan: RunOptions) -> Result<ExitCode, RunError> {
    let scratch = TempDir::with_prefix("twitcher-dry-run-")?;
    ledger::copy(&plan.state_dir, scratch.path())?;
    let state_dir = scratch.path().to_owned();
    serve(RunOptions { state_dir, serving: Serving::default(), ..plan }, None, None)
}

fn serve(
    plan: RunOptions,
    trouble: Option<String>,
    background: Option<Background>,
) -> Result<ExitCode, RunError> {
    sys::use_single_malloc_arena();
    sys::reset_inherited_signals();
    let signals = startup::signals(&[SIGHUP, SIGTERM, SIGINT])?;
    let spawner = Spawner::new()?;
    startup::raise_descriptor_limit();
    let systemd = match plan.until {
        Until::Planned { .. } => Systemd::disabled(),
        Until::Stopped | Until::Idle { .. } => Systemd::from_environment()?,
    };

    let log_to_stdout = matches!(plan.log, Target::Stdout);
    let (log, writer) = Log::start(plan.log, plan.level)?;
    let metrics = Arc::new(Metrics::new()?);
    let log = Reporter::new(log, metrics.clone());
    log.report(&Report::Starting {
        version: env!("CARGO_PKG_VERSION"),
        store: &plan.store.url.to_string(),
        config: &plan.config_path.display().to_string(),
    });
    if let Some(trouble) = trouble {
        log.report(&Report::Problem { what: &trouble });
    }
    if plan.trust == Trust::Warned {
        let config = plan.config_path.display();
        let warning =
            format!("{config}: what others than root can change is loaded as well (--allow-untrusted)");
        log.report(&Report::ConfigWarning { warning: &warning });
    }
    for warning in &plan.warnings {
        log.report(&Report::ConfigWarning { warning });
    }

    let (asked, requests) = server::requests();
    let _socket_file = plan.serving.start(&log, Routes::new(asked, metrics));

    let ledger = Ledger::open(&plan.state_dir);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let served = local.block_on(&runtime, async {
        let stores = Stores::open(plan.store, plan.named_stores);
        let (config_sender, config_changes) = unbounded_channel();
        let loader = files::start(plan.config_path.clone(), plan.trust, stores.names(), move |change| {
            // The daemon may be stopping.
            let _ = config_sender.send(change);
        })?;
        if let Some(background) = background {
            background.ready(log_to_stdout)?;
        }
        let ended = daemon::run(Parts {
            log,
            ledger,
            spawner,
            stores,
            loader,
            config_path: plan.config_path,
            untrusted_allowed: plan.trust == Trust::Warned,
            config_changes,
            signals,
            requests,
            systemd,
            stop_timeout: plan.stop_timeout,
            until: plan.until,
        })
        .await;
        Ok(ended)
    });
    drop(local);
    // Not dropped: that would wait for a resolver that hangs.
    runtime.shutdown_background();
    writer.finish();
    served.and_then(|ended| final_exit_code(plan.until, ended))
}

/// What whoever waits for the end of a daemon is told.
fn final_exit_code(until: Until, ended: Option<FinalStatus>) -> Result<ExitCode, RunError> {
    let Some(mut ended) = ended else { return Ok(ExitCode::SUCCESS) };
    if let Until::Planned { .. } = until {
        print(&dry_run::show(&mut ended))?;
    }
    let problems = problems(&ended.daemon, &ended.watches, Duration::MAX);
    for problem in &problems {
        print_error(printable(problem.as_bytes()));
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_welcome(scratch: &Path, store: &StoreSettings, socket: Option<&Path>) {
    let program = std::env::args().next().unwrap_or_else(|| "twitcher".into());
    // Who closed stdout does not want to know.
    let _ = writeln!(
        io::stdout(),
        "Nodes and state are in {}, until this ends.\n\
         Try this in another terminal, and see the action run here:\n  \
         {program} set --store {} /twitcher/example1 hello",
        scratch.display(),
        store.url
    );
    if let Some(socket) = socket {
        let socket = socket.display();
        let _ = writeln!(io::stdout(), "And see how all is:\n  {program} status --control-socket {socket}");
    }
}
