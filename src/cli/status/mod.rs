//! `twitcher status [WATCH...]`
//!
//! * `selection` says which watches and services are shown, `summary` and `table` how.
//! * `offline` reads their state from the ledger while no daemon runs.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hyper::Method;
use serde::Serialize;

use super::shared::control::ControlArgs;
use super::shared::exit::Exit;
use super::shared::offline::StateArgs;
use super::shared::stdout::{line, print, print_json, unless_closed};
use super::shared::table::terminal_width;
use crate::control::client::{self, ControlError};
use crate::control::name;
use crate::control::status::{DaemonStatus, ServiceStatus, WatchStatus, problems};
use crate::ledger::Ledger;
use crate::settings::seconds;
use crate::text::{count, is_glob};
use selection::{Selection, is_of};
use summary::summary;

mod offline;
mod selection;
mod service_table;
mod summary;
mod table;

/// The interval at which `--follow` asks the daemon. People do not look more often.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// Moves the cursor to the top left corner and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show the state of the daemon and of its watches; with --check, exit 1 if anything is wrong
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    selection: Selection,
    /// Show all columns and whole versions also on a terminal, and cut nothing
    #[arg(long, conflicts_with_all = ["check", "json"])]
    wide: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Show the state again whenever it changes, until interrupted or until the daemon ends
    #[arg(long, short)]
    follow: bool,
    /// Print only problems, and exit 1 if there is any: a watch that fails, is held, is stuck or runs in
    /// circles, a service that fails its check, that is not announced for another reason or whose member
    /// another host has, a start that waits because max_actions run, a store that is not connected, a config
    /// that is not loaded or was emptied, configs that are not all read yet, a lost ledger, or another part
    /// that does not work
    #[arg(long, conflicts_with = "follow")]
    check: bool,
    /// How long an action may run while an update waits for it, or a start may wait because max_actions run,
    /// before that is a problem
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds, requires = "check")]
    stuck_after: Duration,
    #[command(flatten)]
    control: ControlArgs,
    #[command(flatten)]
    state: StateArgs,
}

impl Status {
    pub fn run(self) -> Exit {
        match self.control.with_daemon(async |socket| self.ask(socket).await) {
            Err(error) if !self.follow && !self.check => {
                let mut offline = self.state.ledger(self.control.config_path(), error)?;
                self.show_ledger(&mut offline.ledger)
            }
            done => done,
        }
    }

    async fn ask(&self, socket: &Path) -> Exit {
        let mut shown = None;
        loop {
            let report = fetch(socket, &self.selection).await?;
            if self.check {
                return self.check(&report);
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
                    false => {
                        let services = &report.daemon.services;
                        let width = terminal_width().filter(|_| !self.wide);
                        // Who names services wants no empty table of watches.
                        let has_watches =
                            !report.watches.is_empty() || services.is_empty() || !self.selection.is_some();
                        let watches =
                            if has_watches { self.rows(&report.watches) + "\n" } else { String::new() };
                        let tables = [watches, self.services(services)].concat();
                        print(&(summary(&report.daemon, width) + tables.trim_end_matches('\n') + "\n"))?;
                    }
                }
            }
            if !self.follow {
                return Ok(ExitCode::SUCCESS);
            }
            shown = Some(now);
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }

    /// Returns the table of services; nothing if there is none.
    fn services(&self, services: &[ServiceStatus]) -> String {
        if services.is_empty() {
            return String::new();
        }
        service_table::rows(services, terminal_width().filter(|_| !self.wide))
    }

    fn rows(&self, watches: &[WatchStatus]) -> String {
        table::rows(watches, terminal_width().filter(|_| !self.wide))
    }

    /// Shows what the last daemon left. The exit code says that none runs.
    fn show_ledger(&self, ledger: &mut Ledger) -> Exit {
        let all = offline::watches(ledger)?;
        let known: Vec<_> = all.iter().map(|watch| watch.key()).collect();
        let exact = self.selection.exact(&all).map(|name| match name::find(name, known.iter()) {
            Ok(key) => Ok(key.to_string()),
            Err(error) => Err(error.to_string()),
        });
        let exact: Vec<_> = exact.collect::<Result<_, _>>()?;
        let watches = self.selection.select(all, &exact, &[])?;
        match self.json {
            true => print_json(&json(&serde_json::json!({ "daemon": null, "watches": watches })))?,
            false => print(&self.rows(&watches))?,
        }
        Ok(ExitCode::FAILURE)
    }

    fn check(&self, report: &StatusReport) -> Exit {
        let StatusReport { daemon, watches } = report;
        let found = problems(daemon, watches, self.stuck_after);
        let is_ok = found.is_empty();
        if self.json {
            let found = CheckReport { ok: is_ok, watches: watches.len(), problems: found };
            unless_closed(print_json(&json(&found)))?;
        } else {
            let ok = match self.selection.is_some() {
                true => "ok".to_owned(),
                false if daemon.watches == 0 && daemon.services.is_empty() => {
                    format!("ok: 0 watches: no .twc file in {} registers one", daemon.config_path)
                }
                false if daemon.services.is_empty() => {
                    format!("ok: {}", count(daemon.watches as u64, "watch"))
                }
                false => {
                    let services = count(daemon.services.len() as u64, "service");
                    format!("ok: {}, {services}", count(daemon.watches as u64, "watch"))
                }
            };
            let text = if is_ok { line(&ok) } else { found.iter().map(|found| line(found)).collect() };
            unless_closed(print(&text))?;
        }
        Ok(if is_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The output of `status --check --json`.
#[derive(Serialize)]
struct CheckReport {
    ok: bool,
    /// How many watches were checked.
    watches: usize,
    problems: Vec<String>,
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

async fn fetch(socket: &Path, selection: &Selection) -> Result<StatusReport, Box<dyn Error>> {
    let mut daemon: DaemonStatus =
        client::object(socket, &client::ask(socket, Method::GET, "status", &[]).await?)?;
    let watches = match &selection.names[..] {
        // The daemon answers for one watch in less time than for all.
        [one] if !is_glob(one) => {
            let watches = named(socket, one, &daemon.services).await?;
            let names: Vec<_> = watches.iter().map(|watch| watch.watch.clone()).collect();
            selection.select(watches, &names, &daemon.services)?
        }
        _ => {
            let all = client::ask(socket, Method::GET, "watches", &[]).await?;
            let all: Vec<WatchStatus> = client::lines(socket, &all)?;
            let mut exact = Vec::new();
            for name in selection.exact(&all) {
                let found = named(socket, name, &daemon.services).await?;
                exact.extend(found.into_iter().map(|watch| watch.watch));
                // The name itself is no pattern then.
                exact.push(name.to_owned());
            }
            selection.select(all, &exact, &daemon.services)?
        }
    };
    daemon.services = selection.services(&daemon.services);
    Ok(StatusReport { daemon, watches })
}

/// Returns the watch of this name; none if it is that of a service.
async fn named(
    socket: &Path,
    name: &str,
    services: &[ServiceStatus],
) -> Result<Vec<WatchStatus>, Box<dyn Error>> {
    match client::ask(socket, Method::GET, "watches", &[("watch", name)]).await {
        Ok(reply) => Ok(client::lines(socket, &reply)?),
        Err(ControlError::Refused(_)) if services.iter().any(|service| is_of(service, name)) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

fn json(report: &impl Serialize) -> String {
    // Plain data with string keys always serializes.
    serde_json::to_string(report).unwrap_or_default() + "\n"
}
