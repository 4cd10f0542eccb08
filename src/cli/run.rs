//! `twitcher run`: the daemon.

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
use super::startup::{self, Background, LockError, PidFile};
use super::{RunArgs, dry_run, fail, print_error, report_settings_error, serving};
use crate::action::spawn::Spawner;
use crate::config::files;
use crate::control::routes::Routes;
use crate::control::server;
use crate::control::status::problems;
use crate::daemon::systemd::Systemd;
use crate::daemon::{self, FinalStatus, Parts, Stores, Until};
use crate::ledger::{self, Ledger};
use crate::metrics::Metrics;
use crate::report::log::Target;
use crate::report::{Level, Log, Report, Reporter, journal};
use crate::settings::{self, ControlSettings, DaemonSettings, SettingsError, StoreChoice};
use crate::store::StoreUrl;
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

/// What the daemon is started with.
struct RunOptions {
    settings: DaemonSettings,
    config_path: PathBuf,
    trust: Trust,
    /// What is wrong with the settings file, but no error.
    warnings: Vec<String>,
    log: Target,
    level: Level,
    daemonize: bool,
    until: Until,
    /// Nodes and state of `--devel`. Removed when the daemon ends.
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
    let mut file = settings::read(&config_path, trust)?;
    let warnings = std::mem::take(&mut file.warnings);
    let mut flags = args.flags();
    if let Some(scratch) = &scratch {
        let scratch = scratch.path();
        // These win over the environment, which may name a cluster that a newcomer does not mean.
        if flags.store.store.is_none() {
            let nodes = scratch.join("nodes");
            fs::create_dir(&nodes)?;
            flags.store.store = Some(StoreChoice::Url(StoreUrl::Directory(nodes)));
        }
        flags.state_dir.get_or_insert_with(|| scratch.join("state"));
        flags.control_socket.get_or_insert_with(|| scratch.join("control.sock"));
    }
    let settings = DaemonSettings::new(flags, &file)?;
    let timeout = settings.default_store.session_timeout;
    Ok(RunOptions {
        log: log_target(&args, settings.log_file.as_deref())?,
        level: match () {
            () if args.debug || args.devel => Level::Debug,
            () if args.verbose => Level::Info,
            () if args.dry_run => Level::Warning,
            () => Level::Notice,
        },
        until: match () {
            () if args.dry_run => Until::Planned { timeout },
            () if args.once => Until::Idle { timeout },
            () => Until::Stopped,
        },
        daemonize: args.daemonize,
        settings,
        config_path,
        trust,
        warnings,
        scratch,
    })
}

fn log_target(args: &RunArgs, log_file: Option<&Path>) -> Result<Target, RunError> {
    let to_stdout = args.log_to_stdout || args.devel || args.once;
    Ok(match log_file {
        _ if args.dry_run => Target::Stderr,
        Some(path) if !to_stdout => {
            // The log has the output of actions, which is not for every user.
            let file = File::options().append(true).create(true).mode(0o640).open(path);
            Target::File(file.map_err(|source| RunError::LogFile { path: path.to_owned(), source })?)
        }
        None if !to_stdout && args.daemonize => Target::Syslog,
        None if !to_stdout && !io::stdout().is_terminal() => match journal::is_connected() {
            true => Target::Journal,
            false => Target::Syslog,
        },
        Some(_) | None => Target::Stdout,
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
    let (state_lock, state_trouble) = match startup::lock_state_dir(&plan.settings.state_dir) {
        Ok(lock) => {
            let distrust = startup::untrusted_state_dir_warning(&plan.settings.state_dir, &lock);
            (Some(lock), distrust)
        }
        Err(taken @ LockError::Taken { .. }) => return Err(taken.into()),
        Err(error) => (None, Some(format!("{error}; going on without: a second daemon goes unnoticed"))),
    };
    let pid_file = plan.settings.pid_file.clone().map(PidFile::lock).transpose()?;
    if let Some(scratch) = &plan.scratch {
        print_welcome(scratch.path(), &plan.settings);
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
    ledger::copy(&plan.settings.state_dir, scratch.path())?;
    let state_dir = scratch.path().to_owned();
    let settings =
        DaemonSettings { state_dir, control: ControlSettings::default(), metrics: None, ..plan.settings };
    serve(RunOptions { settings, ..plan }, None, None)
}

fn serve(
    plan: RunOptions,
    trouble: Option<String>,
    background: Option<Background>,
) -> Result<ExitCode, RunError> {
    let settings = plan.settings;
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
        store: &settings.default_store.url.to_string(),
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
    let _socket_file = serving::start(settings.control, settings.metrics, &log, Routes::new(asked, metrics));

    let ledger = Ledger::open(&settings.state_dir);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let served = local.block_on(&runtime, async {
        let stores = Stores::open(settings.default_store, settings.named_stores);
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
            stop_timeout: settings.stop_timeout,
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

fn print_welcome(scratch: &Path, settings: &DaemonSettings) {
    let program = std::env::args().next().unwrap_or_else(|| "twitcher".into());
    // Who closed stdout does not want to know.
    let _ = writeln!(
        io::stdout(),
        "Nodes and state are in {}, until this ends.\n\
         Try this in another terminal, and see the action run here:\n  \
         {program} set --store {} /twitcher/example1 hello",
        scratch.display(),
        settings.default_store.url
    );
    if let Some(socket) = &settings.control.socket {
        let socket = socket.display();
        let _ = writeln!(io::stdout(), "And see how all is:\n  {program} status --control-socket {socket}");
    }
}
