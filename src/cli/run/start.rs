//! Starts the daemon and waits for its end.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;
use tokio::sync::mpsc::unbounded_channel;

use super::background::Background;
use super::locks::{self, LockError, LockedFile, PidFile};
use super::options::RunOptions;
use super::upkeep::Upkeep;
use super::{dry_run, serving, welcome};
use crate::action::slots::Slots;
use crate::action::spawn::Spawner;
use crate::cache::Cache;
use crate::cli::shared::exit::{Exit, print_error};
use crate::cli::shared::reaper;
use crate::cli::shared::runtime::block_on;
use crate::cli::shared::scratch::private_directory;
use crate::cli::shared::signals;
use crate::cli::shared::stdout::{PrintError, print, unless_closed};
use crate::config::files::{self, FileChange};
use crate::config::resolve::Accounts;
use crate::control::routes::Routes;
use crate::control::server;
use crate::control::status::problems;
use crate::daemon::systemd::Systemd;
use crate::daemon::{self, FinalStatus, Setup, Stores, Until, ledger_name};
use crate::ledger::{self, Ledger};
use crate::metrics::Metrics;
use crate::model::{LogFormat, StoreName};
use crate::report::{Level, Log, Report, Reporter, json_line};
use crate::settings::{ControlSettings, DaemonSettings};
use crate::store::{AtEnd, HalfOptions, STORE_USER, open_keeper, store_user_is_missing};
use crate::sys;
use crate::trust::Trust;

/// What is degraded while a second daemon may not be kept from the state directory.
const STATE_LOCK: &str = "state directory lock";

/// Runs the daemon until it ends. In the log format JSON, an error of its start is a line of JSON, too.
pub fn start(options: RunOptions) -> Exit {
    let format = options.settings.log_format;
    match (try_start(options), format) {
        (Err(error), LogFormat::Json) if error.downcast_ref::<PrintError>().is_none() => {
            print_problem(format, &error.to_string());
            Ok(ExitCode::FAILURE)
        }
        (ended, LogFormat::Json | LogFormat::Text) => ended,
    }
}

fn try_start(options: RunOptions) -> Exit {
    sys::kernel::require()?;
    if options.daemonize && std::process::id() == 1 {
        let why = "this is the first process of its container, which would end with it: leave it out";
        return Err(format!("--daemonize: {why}").into());
    }
    if let Until::Planned { .. } = options.until {
        return dry_run(options);
    }
    let mut problems = Problems::default();
    let state_lock = lock_state_dir(&options.settings.state_dir, &mut problems)?;
    let pid_file = options.settings.pid_file.clone().map(PidFile::lock).transpose()?.map(Arc::new);
    let unlocked = pid_file.as_ref().and_then(|pid_file| pid_file.problem());
    problems.degraded.extend(unlocked.map(|what| ("pid file lock", what)));
    let upkeep = Upkeep::new(
        pid_file.as_ref(),
        (&options.settings.state_dir, state_lock.clone()),
        (&options.config_path, options.trust),
        options.settings.default_store.to_string(),
    );
    // Only the calling thread survives a fork, so no other thread may run yet.
    let background = if options.daemonize { Some(Background::enter()?) } else { None };
    if let Some(pid_file) = &pid_file {
        pid_file.write()?;
    }
    upkeep.claim();
    let served = serve(options, problems, background, Some(upkeep));
    // The locks are released last, after the daemon's loop has ended.
    drop(pid_file);
    drop(state_lock);
    served
}

/// What was found before there was a log.
#[derive(Default)]
struct Problems {
    warning: Option<String>,
    degraded: Vec<(&'static str, String)>,
}

fn lock_state_dir(path: &Path, problems: &mut Problems) -> Result<Option<Arc<LockedFile>>, LockError> {
    match locks::lock_state_dir(path) {
        Ok(lock) => {
            problems.warning = locks::untrusted_state_dir_warning(path, &lock);
            let unlocked = lock.problem(path);
            problems.degraded.extend(unlocked.map(|what| (STATE_LOCK, what)));
            Ok(Some(Arc::new(lock)))
        }
        Err(taken @ (LockError::Taken { .. } | LockError::TakenPath { .. })) => Err(taken),
        Err(error @ LockError::Io { .. }) => {
            // The ledger cannot use the directory either. It says so, and locks the directory once it can.
            problems.warning = Some(format!("{error}; continuing without the lock"));
            Ok(None)
        }
    }
}

/// Runs on a copy of the ledger and without locks, because a daemon may be running.
fn dry_run(options: RunOptions) -> Exit {
    let scratch = private_directory("twitcher-dry-run-")
        .map_err(|error| format!("--dry-run: cannot make a temporary directory: {error}"))?;
    if !options.ledger_reset {
        ledger::copy(&options.settings.state_dir, scratch.path())?;
    }
    let state_dir = scratch.path().to_owned();
    let settings = DaemonSettings {
        state_dir,
        control: ControlSettings::default(),
        metrics: None,
        cache_size: 0,
        ..options.settings
    };
    serve(RunOptions { settings, ledger_reset: false, ..options }, Problems::default(), None, None)
}

fn serve(
    options: RunOptions,
    problems: Problems,
    background: Option<Background>,
    upkeep: Option<Upkeep>,
) -> Exit {
    let welcome = options.scratch.as_ref().map(|scratch| welcome::text(scratch.path(), &options.settings));
    let settings = options.settings;
    sys::use_single_malloc_arena();
    reaper::start()?;
    let signals = signals::receive(&daemon::signals::received())?;
    let spawner = Spawner::new()?;
    raise_limits();
    let systemd = match options.until {
        Until::Planned { .. } => Systemd::disabled(),
        Until::Stopped | Until::Idle { .. } => Systemd::from_environment()?,
    };

    let (log, writer) = Log::start(options.log, options.level, settings.log_format)?;
    let metrics = Arc::new(Metrics::new().map_err(|error| format!("metrics: {error}"))?);
    let log = Reporter::new(log, metrics.clone());
    log.report(&Report::Starting {
        version: env!("CARGO_PKG_VERSION"),
        store: &settings.default_store.to_string(),
        config: &options.config_path.display().to_string(),
    });
    if let Some(warning) = problems.warning {
        log.report(&Report::Problem { what: &warning });
    }
    for (part, what) in problems.degraded {
        log.degraded(part, what);
    }
    let missing = sys::kernel::missing_calls();
    for what in missing.iter().map(ToString::to_string).chain(file_size_warning()) {
        log.report(&Report::Problem { what: &what });
    }
    if options.trust == Trust::Warned {
        let config = options.config_path.display();
        let flag = if options.scratch.is_some() { "--devel" } else { "--allow-untrusted" };
        let warning =
            format!("{config}: files that users other than root can change are loaded too ({flag})");
        log.report(&Report::ConfigWarning { file: None, warning: &warning });
    }
    // A directory in /tmp that goes away with the daemon needs no user.
    if options.scratch.is_none() && store_user_is_missing() {
        let what = format!(
            "there is no user {STORE_USER} in /etc/passwd, so stores are served as nobody, who may have \
             other processes; add it: useradd --system --no-create-home --shell /usr/sbin/nologin \
             {STORE_USER}"
        );
        log.report(&Report::Advice { what: &what });
    }
    let runs_all_as_self = options.scratch.is_some() && !geteuid().is_root();
    if runs_all_as_self {
        let what = "--devel without root: every action runs as this user, whatever its uid and gid";
        log.report(&Report::Advice { what });
    }
    for warning in &options.warnings {
        log.report(&Report::ConfigWarning { file: None, warning });
    }

    if options.ledger_reset {
        reset_ledger(&settings.state_dir, &log)?;
    }
    let mut ledger = Ledger::open(&settings.state_dir)?;
    let looks = upkeep.map(|upkeep| upkeep.start(log.clone(), ledger.dir_in_use()));
    let cache = Cache::open(&settings.state_dir, settings.cache_size, &log);
    let (asked, requests) = server::requests();
    let routes = Routes::new(asked, metrics, cache.as_ref().map(Cache::reader));
    let _socket_file = serving::start(settings.control, settings.metrics, &log, routes);

    let slots = Slots::open(&settings.state_dir);
    let mut keepers_of = settings.named_stores.clone();
    keepers_of.insert(StoreName::default(), settings.default_store.clone());
    let half_options = HalfOptions { program: "/proc/self/exe".into(), memory: settings.store_memory };
    let keeper_options = half_options.clone();
    let ended: io::Result<_> = block_on(async {
        let (default, named) = (settings.default_store, settings.named_stores);
        let memory_of = |store: &str| ledger.memory(store);
        let stores = Stores::open(default, named, Some(half_options), cache.as_ref(), memory_of);
        let (config_sender, config_changes) = unbounded_channel();
        let loader = files::start(
            options.config_path.clone(),
            options.trust,
            stores.names(),
            settings.rescan_interval,
            if runs_all_as_self { Accounts::of_this_user } else { Accounts::default },
            move |change| {
                if let (FileChange::Rescanned { .. }, Some(looks)) = (&change, &looks) {
                    looks.look();
                }
                // A stopping daemon no longer receives changes.
                let _ = config_sender.send(change);
            },
        )?;
        if let Some(background) = background {
            background.ready()?;
        }
        Ok(daemon::run(Setup {
            log,
            ledger,
            spawner,
            slots,
            stores,
            open_keeper: Box::new(move |name, ledger| {
                let settings = keepers_of.get(name).ok_or("there is no such store")?;
                let known = settings.identity().map(|identity| ledger_name(name, &identity));
                let memory = known.and_then(|known| ledger.memory(&known));
                // What this daemon leaves when it is killed, the next one takes over.
                let opened = open_keeper(settings.clone(), keeper_options.clone(), AtEnd::Leave, memory);
                opened.map_err(|error| error.to_string())
            }),
            loader,
            config_path: options.config_path,
            untrusted_allowed: options.trust == Trust::Warned,
            config_changes,
            signals,
            requests,
            systemd,
            stop_timeout: settings.stop_timeout,
            max_actions: settings.max_actions,
            max_waiting_bytes: settings.max_waiting_bytes,
            until: options.until,
            welcome,
        })
        .await)
    })?;
    if let Some(cache) = cache {
        cache.close();
    }
    writer.finish();
    final_exit_code(options.until, ended?, settings.log_format)
}

fn reset_ledger(state_dir: &Path, log: &Reporter) -> Result<(), String> {
    if let Some(path) = Ledger::reset(state_dir)? {
        let what = format!(
            "--ledger-reset: the ledger is now {}; every watch counts as new: what was paused, stopped or \
             held can run, and an action of an earlier daemon that still runs may run twice at once",
            path.display()
        );
        log.report(&Report::Problem { what: &what });
    }
    Ok(())
}

/// Prints the problems at the end of a run that ended by itself. Returns 1 if there are any.
fn final_exit_code(until: Until, ended: Option<FinalStatus>, format: LogFormat) -> Exit {
    let Some(mut ended) = ended else { return Ok(ExitCode::SUCCESS) };
    // A daemon that ends by itself has done its work without them.
    ended.daemon.degraded.clear();
    if let Until::Planned { .. } = until {
        unless_closed(print(&dry_run::show(&mut ended)))?;
    }
    let problems = problems(&ended.daemon, &ended.watches, Duration::MAX);
    for problem in &problems {
        print_problem(format, problem);
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints a problem to stderr, as the log has it.
fn print_problem(format: LogFormat, problem: &str) {
    match format {
        LogFormat::Text => print_error(problem),
        LogFormat::Json => print_error(json_line(Level::Error, problem)),
    }
}

/// Raises the limits of this process as far as permitted: of open descriptors, because each running action
/// takes three, and of the size of its files.
fn raise_limits() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(sys::MAX_DESCRIPTORS).max(soft), hard);
    }
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_FSIZE) {
        let _ = setrlimit(Resource::RLIMIT_FSIZE, hard, hard);
    }
}

/// Returns the warning that the files of this process cannot grow as they must.
fn file_size_warning() -> Option<String> {
    let (soft, _) = getrlimit(Resource::RLIMIT_FSIZE).ok()?;
    (soft != RLIM_INFINITY).then(|| {
        format!(
            "files that this daemon writes can have at most {soft} bytes (RLIMIT_FSIZE): when the ledger or \
             the log file reach that, writes to them fail; start the daemon without this limit \
             (`LimitFSIZE=`)"
        )
    })
}
