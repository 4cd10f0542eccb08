//! `twitcher status [WATCH]`

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hyper::Method;
use serde::Serialize;

use super::shared::control::ControlArgs;
use super::shared::exit::Exit;
use super::shared::stdout::{line, print, print_json, unless_closed};
use super::shared::table::{self, Cell, Table, duration};
use crate::control::client::{self, ControlError};
use crate::control::status::{DaemonStatus, DegradedPart, WatchStatus, problems};
use crate::ledger::RunRecord;
use crate::settings::seconds;
use crate::text::count;

/// The interval at which `--follow` asks the daemon. People do not look more often.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// Moves the cursor to the top left corner and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show the state of the daemon and of its watches; with --check, exit 1 if anything is wrong
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Only this watch: its name in the log, or its description
    watch: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Show the state again whenever it changes, until interrupted or until the daemon ends
    #[arg(long, short)]
    follow: bool,
    /// Print only problems, and exit 1 if there is any: a watch that fails, is held, is stuck or runs in
    /// circles, a start that waits because max_actions run, a store that is not connected, a config that is
    /// not loaded or was emptied, a lost ledger, or another part that does not work
    #[arg(long, conflicts_with_all = ["follow", "json"])]
    check: bool,
    /// How long an action may run while an update waits for it, or a start may wait because max_actions run,
    /// before that is a problem
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds, requires = "check")]
    stuck_after: Duration,
    #[command(flatten)]
    control: ControlArgs,
}

impl Status {
    pub fn run(self) -> Exit {
        self.control.with_daemon(async |socket| {
            let mut shown = None;
            loop {
                let report = fetch(socket, self.watch.as_deref()).await?;
                if self.check {
                    return check(&report, self.watch.as_deref(), self.stuck_after);
                }
                // Only a terminal shows the passing seconds. Elsewhere they would be a line each.
                let on_terminal = !self.json && io::stdout().is_terminal();
                let now = if on_terminal { report.clone() } else { report.without_seconds() };
                if shown.as_ref() != Some(&now) {
                    if self.follow && on_terminal {
                        print(CLEAR)?;
                    }
                    match self.json {
                        true => print_json(&json(&report))?,
                        false => print(&text(&report))?,
                    }
                }
                if !self.follow {
                    return Ok(ExitCode::SUCCESS);
                }
                shown = Some(now);
                tokio::time::sleep(FOLLOW_INTERVAL).await;
            }
        })
    }
}

/// The output of `status --json`.
#[derive(Clone, PartialEq, Serialize)]
struct StatusReport {
    daemon: DaemonStatus,
    watches: Vec<WatchStatus>,
}

impl StatusReport {
    /// Returns the report without the values that change merely because time passes.
    fn without_seconds(&self) -> Self {
        let mut report = self.clone();
        for watch in &mut report.watches {
            watch.next_start_seconds = watch.next_start_seconds.map(|_| 0.0);
            watch.waits_for_place_seconds = watch.waits_for_place_seconds.map(|_| 0.0);
            for run in &mut watch.runs {
                run.seconds = 0.0;
                run.killed_seconds = run.killed_seconds.map(|_| 0.0);
            }
        }
        report
    }
}

async fn fetch(socket: &Path, watch: Option<&str>) -> Result<StatusReport, ControlError> {
    let query: Vec<_> = watch.map(|watch| ("watch", watch)).into_iter().collect();
    let watches = client::ask(socket, Method::GET, "watches", &query).await?;
    let mut watches: Vec<WatchStatus> = client::lines(socket, &watches)?;
    WatchStatus::sort_by_name(&mut watches);
    let daemon = client::object(socket, &client::ask(socket, Method::GET, "status", &[]).await?)?;
    Ok(StatusReport { daemon, watches })
}

fn check(report: &StatusReport, watch: Option<&str>, stuck_after: Duration) -> Exit {
    let StatusReport { daemon, watches } = report;
    let found = problems(daemon, watches, stuck_after);
    let ok = match watch {
        Some(_) => "ok".to_owned(),
        None if daemon.watches == 0 => {
            format!("ok: 0 watches: no .twc file in {} registers one", daemon.config_path)
        }
        None => format!("ok: {}", count(daemon.watches as u64, "watch")),
    };
    let text = if found.is_empty() { line(&ok) } else { found.iter().map(|found| line(found)).collect() };
    unless_closed(print(&text))?;
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
        let restarts = match store.restarts {
            0 => String::new(),
            restarts => format!(", its process was replaced {}", count(restarts, "time")),
        };
        lines.push(format!("store {} {}: {state}{detail}{restarts}", store.name, store.url));
    }
    if let (Some(limit), 1..) = (daemon.max_actions, daemon.waiting_for_place) {
        let DaemonStatus { running_actions, waiting_for_place, .. } = daemon;
        lines.push(format!(
            "MAX_ACTIONS: {running_actions} actions run, at most {limit} may; {waiting_for_place} wait"
        ));
    }
    lines.extend(daemon.ledger.reason.iter().map(|reason| format!("LEDGER LOST: {reason}")));
    if daemon.untrusted_allowed {
        lines.push("UNTRUSTED CONFIGS ALLOWED: users other than root may decide what root runs".to_owned());
    }
    for DegradedPart { part, what, since } in &daemon.degraded {
        lines.push(format!("DEGRADED: {part}: {what} (since {since})"));
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

/// Returns how the run ended. The reason why it could not start is long, and goes into the note.
fn outcome(run: &RunRecord) -> String {
    if run.error.is_some() { run.outcome.clone() } else { run.summary() }
}

/// Returns details that an operator wants to know next.
fn note(watch: &WatchStatus) -> String {
    let mut notes = Vec::new();
    if !watch.registered {
        notes.push("no file registers it".to_owned());
    }
    match &watch.runs[..] {
        [] => {}
        [run] => notes.push(format!("{} for {}", run.process(), duration(run.seconds))),
        runs => notes.push(format!("{} running", runs.len())),
    }
    notes.extend(watch.next_start_seconds.map(|left| format!("next start in {}", duration(left))));
    notes.extend(
        watch
            .waits_for_place_seconds
            .map(|waited| format!("has waited {} for another action to end (max_actions)", duration(waited))),
    );
    // The next start is one of the waiting updates.
    let next = watch.next_start_seconds.or(watch.waits_for_place_seconds);
    if watch.waiting > usize::from(next.is_some()) {
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
