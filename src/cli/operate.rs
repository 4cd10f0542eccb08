//! The commands that see and steer a running daemon, over its control socket: `status`, `trigger`, `pause`, `resume`,
//! `kill`, `reload`, `history` and `logs`.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anstream::AutoStream;
use clap::Args;
use hyper::Method;
use serde::Serialize;
use thiserror::Error;

use super::fail;
use super::table::{self, Cell, Table, duration};
use crate::control::CommandResult;
use crate::control::client::{self, ControlError};
use crate::control::status::{DaemonStatus, WatchStatus, problems};
use crate::ledger::RunRecord;
use crate::model::WatchCommand;
use crate::settings::{self, SettingsError, client_socket};
use crate::text::{count, printable};

/// How often `--follow` looks: as often as people do.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// Which daemon.
#[derive(Clone, Debug, Default, Args)]
pub struct ControlArgs {
    /// The daemon's control socket [default: /run/twitcher/control.sock]
    #[arg(long, value_name = "PATH", alias = "control_socket")]
    pub control_socket: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// One watch: its name as in the log, or its description
    pub watch: Option<String>,
    /// As JSON, one object
    #[arg(long)]
    pub json: bool,
    /// Show it again whenever it changed, until interrupted or the daemon ends
    #[arg(long, short)]
    pub follow: bool,
    /// Print only what is wrong, and exit 1 if anything is: what fails, is held or stuck, a store that is not connected, a
    /// config that is not loaded, a lost ledger
    #[arg(long, conflicts_with_all = ["follow", "json"])]
    pub check: bool,
    /// How long an action may run while an update waits for it
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = settings::parse_seconds, requires = "check")]
    pub stuck_after: Duration,
    #[command(flatten)]
    pub control: ControlArgs,
}

#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    /// One watch: its name as in the log, or its description
    pub watch: Option<String>,
    /// Only runs that failed, or of which nobody knows how they ended
    #[arg(long)]
    pub failed: bool,
    /// As JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// How many runs at most
    #[arg(long, short = 'n', value_name = "RUNS", default_value_t = 30)]
    pub limit: usize,
    #[command(flatten)]
    pub control: ControlArgs,
}

#[derive(Debug, Error)]
enum OperateError {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What `status --json` prints.
#[derive(Clone, PartialEq, Serialize)]
struct StatusReport {
    daemon: DaemonStatus,
    watches: Vec<WatchStatus>,
}

impl StatusReport {
    /// What does not change merely because time goes by.
    fn without_seconds(&self) -> Self {
        let mut report = self.clone();
        for watch in &mut report.watches {
            watch.next_start_seconds = watch.next_start_seconds.map(|_| 0.0);
            for run in &mut watch.runs {
                run.seconds = 0.0;
                run.killed_seconds = run.killed_seconds.map(|_| 0.0);
            }
        }
        report
    }
}

pub fn status(args: StatusArgs) -> ExitCode {
    exit(run(&args.control, async |socket| {
        let mut shown = None;
        loop {
            let report = fetch(socket, args.watch.as_deref()).await?;
            if args.check {
                return Ok(check(&report, args.watch.as_deref(), args.stuck_after));
            }
            // On a terminal seconds that pass are a change, too. Elsewhere they are not worth a line.
            let on_terminal = !args.json && io::stdout().is_terminal();
            let now = if on_terminal { report.clone() } else { report.without_seconds() };
            if shown.as_ref() != Some(&now) {
                if args.follow && on_terminal {
                    print(CLEAR)?;
                }
                match args.json {
                    true => print_json(&json(&report))?,
                    false => print(&text(&report))?,
                }
            }
            if !args.follow {
                return Ok(ExitCode::SUCCESS);
            }
            shown = Some(now);
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }))
}

/// Homes the cursor and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub fn order(order: WatchCommand, watch: &str, control: &ControlArgs) -> ExitCode {
    let mut query = vec![("watch", watch)];
    if order == (WatchCommand::Trigger { force: true }) {
        query.push(("force", "true"));
    }
    exit(run(control, async |socket| post_command(socket, order.as_str(), &query).await))
}

pub fn reload(control: &ControlArgs) -> ExitCode {
    exit(run(control, async |socket| post_command(socket, "reload", &[]).await))
}

/// Has something done, and says what came of it.
async fn post_command(
    socket: &Path,
    resource: &str,
    query: &[(&str, &str)],
) -> Result<ExitCode, OperateError> {
    let answer = client::ask(socket, Method::POST, resource, query).await?;
    let CommandResult { watch, done } = client::object(socket, &answer)?;
    match watch {
        Some(watch) => print(&line(&format!("{watch}: {done}")))?,
        None => print(&line(&done))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub fn history(args: &HistoryArgs) -> ExitCode {
    exit(run(&args.control, async |socket| {
        let limit = args.limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(args.watch.as_deref().map(|watch| ("watch", watch)));
        query.extend(args.failed.then_some(("failed", "true")));
        let answer = client::ask(socket, Method::GET, "history", &query).await?;
        if args.json {
            print_json(&String::from_utf8_lossy(&answer))?;
        } else {
            print(&history_table(&client::lines(socket, &answer)?))?;
        }
        Ok(ExitCode::SUCCESS)
    }))
}

pub fn logs(run_id: &str, control: &ControlArgs) -> ExitCode {
    exit(run(control, async |socket| {
        let output = client::ask(socket, Method::GET, "output", &[("run", run_id)]).await?;
        let mut stdout = io::stdout();
        if stdout.is_terminal() {
            // An action's escape codes are not for the operator's terminal.
            for text in output.split_inclusive(|byte| *byte == b'\n') {
                let text = text.strip_suffix(b"\n").unwrap_or(text);
                let between_tabs: Vec<_> = text.split(|byte| *byte == b'\t').map(printable).collect();
                writeln!(stdout, "{}", between_tabs.join("\t"))?;
            }
        } else {
            stdout.write_all(&output)?;
        }
        stdout.flush()?;
        Ok(ExitCode::SUCCESS)
    }))
}

async fn fetch(socket: &Path, watch: Option<&str>) -> Result<StatusReport, OperateError> {
    let query: Vec<_> = watch.map(|watch| ("watch", watch)).into_iter().collect();
    let watches = client::ask(socket, Method::GET, "watches", &query).await?;
    let mut watches: Vec<WatchStatus> = client::lines(socket, &watches)?;
    WatchStatus::sort_by_name(&mut watches);
    let daemon = client::object(socket, &client::ask(socket, Method::GET, "status", &[]).await?)?;
    Ok(StatusReport { daemon, watches })
}

fn check(report: &StatusReport, watch: Option<&str>, stuck_after: Duration) -> ExitCode {
    let StatusReport { daemon, watches } = report;
    let found = problems(daemon, watches, stuck_after);
    let ok = match watch {
        Some(_) => "ok".to_owned(),
        None => format!("ok: {}", count(daemon.watches as u64, "watch")),
    };
    let said: String =
        if found.is_empty() { line(&ok) } else { found.iter().map(|found| line(found)).collect() };
    // Whoever closed the pipe still gets the exit code.
    let _ = print(&said);
    if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn json(report: &StatusReport) -> String {
    // Plain data with string keys always serializes.
    serde_json::to_string(report).unwrap_or_default() + "\n"
}

fn text(report: &StatusReport) -> String {
    let StatusReport { daemon, watches } = report;
    let mut text = summary(daemon);
    let mut table = Table::new(["WATCH", "NODE", "STATE", "SEEN", "APPLIED", "LAST RUN", "NOTE"]);
    for watch in watches {
        let number = |version: Option<i64>| version.map_or("-".to_owned(), |version| version.to_string());
        table.row([
            watch.watch.as_str().into(),
            watch.node().into(),
            Cell::new(&watch.state, style(watch)),
            number(watch.version).into(),
            number(watch.applied_version).into(),
            watch.last_run.as_ref().map_or("-".to_owned(), outcome).into(),
            note(watch).into(),
        ]);
    }
    text += &table.render(table::terminal_width());
    text
}

fn summary(daemon: &DaemonStatus) -> String {
    let mut lines = Vec::new();
    let DaemonStatus { version, pid, started, state, .. } = daemon;
    lines.push(format!("twitcher {version}, pid {pid}, {state}, started {started}"));
    for store in &daemon.stores {
        let state = match store.connected {
            Some(true) => "connected",
            Some(false) => "NOT CONNECTED",
            None => "not tried yet",
        };
        let detail = store.detail.as_ref().map_or(String::new(), |detail| format!(" ({detail})"));
        lines.push(format!("store {} {}: {state}{detail}", store.name, store.url));
    }
    lines.extend(daemon.ledger.reason.iter().map(|reason| format!("LEDGER LOST: {reason}")));
    if daemon.untrusted_allowed {
        lines.push("UNTRUSTED CONFIGS ALLOWED: others than root may decide what root runs".to_owned());
    }
    for error in &daemon.config_errors {
        lines.push(format!("NOT LOADED: {}", error.first_line()));
    }
    lines.iter().map(|text| line(text)).chain(["\n".to_owned()]).collect()
}

fn style(watch: &WatchStatus) -> anstyle::Style {
    match watch.state.as_str() {
        "idle" => table::GOOD,
        "running" | "waiting" => table::BUSY,
        "failed" | "stopped" | "retrying" | "unreadable" => table::BAD,
        "paused" | "held" => table::ODD,
        _ => table::PLAIN,
    }
}

/// How the last run ended. Why it could not even start is long, and a note.
fn outcome(run: &RunRecord) -> String {
    if run.error.is_some() { run.outcome.clone() } else { run.summary() }
}

/// What a person would want to know next.
fn note(watch: &WatchStatus) -> String {
    let mut notes = Vec::new();
    if !watch.registered {
        notes.push("no file registers it".to_owned());
    }
    match &watch.runs[..] {
        [] => {}
        [run] => notes.push(format!("pid {} for {}", run.pid, duration(run.seconds))),
        runs => notes.push(format!("{} running", runs.len())),
    }
    notes.extend(watch.next_start_seconds.map(|left| format!("next start in {}", duration(left))));
    // Without saying so of the one that starts next.
    if watch.waiting > usize::from(watch.next_start_seconds.is_some()) {
        notes.push(format!("{} waiting", watch.waiting));
    }
    match watch.failures {
        0 => {}
        1 => notes.push("1 failure".to_owned()),
        failures => notes.push(format!("{failures} failures in a row")),
    }
    notes.extend(watch.held.clone());
    let last = watch.last_run.as_ref().map(|run| run.outcome.as_str());
    if !matches!(last, Some("exit" | "signal" | "timeout" | "killed")) {
        notes.extend(watch.error.clone());
    }
    notes.join(", ")
}

fn history_table(runs: &[RunRecord]) -> String {
    let mut table = Table::new(["STARTED", "WATCH", "EVENT", "VERSION", "TOOK", "OUTCOME", "RUN"]);
    for run in runs {
        let style = match run.outcome.as_str() {
            "success" => table::GOOD,
            "running" => table::BUSY,
            "interrupted" | "unknown" => table::ODD,
            _ => table::BAD,
        };
        table.row([
            run.started.to_the_second().into(),
            run.watch.as_str().into(),
            run.event.as_str().into(),
            run.version.to_string().into(),
            run.seconds.map_or("-".to_owned(), duration).into(),
            Cell::new(run.summary(), style),
            run.run.as_str().into(),
        ]);
    }
    table.render(table::terminal_width())
}

/// As one line, whatever is in it.
fn line(text: &str) -> String {
    printable(text.as_bytes()) + "\n"
}

/// JSON leaves some control characters as they are, which a terminal may heed.
fn print_json(json: &str) -> io::Result<()> {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => escaped.push(c),
            c if c.is_control() => escaped += &format!("\\u{:04x}", u32::from(c)),
            c => escaped.push(c),
        }
    }
    let mut stdout = io::stdout();
    stdout.write_all(escaped.as_bytes())?;
    stdout.flush()
}

/// To stdout, without colours where that is no terminal, or where NO_COLOR says so.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut stdout = AutoStream::auto(io::stdout());
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn run<T>(
    args: &ControlArgs,
    work: impl AsyncFnOnce(&Path) -> Result<T, OperateError>,
) -> Result<T, OperateError> {
    let socket = client_socket(args.control_socket.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work(&socket))
}

fn exit(done: Result<ExitCode, OperateError>) -> ExitCode {
    match done {
        Ok(code) => code,
        // Whoever closed the pipe has seen enough.
        Err(OperateError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        // Some of it may be in the words of others. Of several lines, as an error in a config has, each is harmless.
        Err(error) => {
            let lines: Vec<_> = error.to_string().lines().map(|line| printable(line.as_bytes())).collect();
            fail(lines.join("\n"))
        }
    }
}
