//! `twitcher history [WATCH]`. [`members`] lists what happened to the members of services.

mod members;

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use hyper::Method;

use crate::cli::shared::control::ControlArgs;
use crate::cli::shared::exit::Exit;
use crate::cli::shared::number;
use crate::cli::shared::offline::StateArgs;
use crate::cli::shared::stdout::{print, print_json};
use crate::cli::shared::table::{self, Cell, Column, Table, duration};
use crate::cli::shared::when;
use crate::control::client;
use crate::ledger::{Ledger, RunCause, RunFilter, RunRecord};
use crate::report::short_version;
use crate::text::Timestamp;

/// List runs, newest first
#[derive(Debug, clap::Args)]
pub struct History {
    /// Only the runs of this watch: its name in the log, or its description
    watch: Option<String>,
    /// Only runs that failed or whose outcome is unknown
    #[arg(long)]
    failed: bool,
    /// List when the members of services were announced and withdrawn instead: of all, or of this one
    #[arg(long, value_name = "SERVICE", num_args = 0..=1, require_equals = true)]
    #[arg(conflicts_with_all = ["watch", "failed"])]
    services: Option<Option<String>>,
    /// Show whole times, versions and run ids also on a terminal, and cut nothing
    #[arg(long, conflicts_with = "json")]
    wide: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Only runs that started then or later: a span such as 2h or 3d ago, a date, or a time
    #[arg(long, value_name = "TIME", value_parser = when::point, allow_hyphen_values = true)]
    since: Option<SystemTime>,
    /// Only runs that started before
    #[arg(long, value_name = "TIME", value_parser = when::point, allow_hyphen_values = true)]
    until: Option<SystemTime>,
    /// Greatest number of runs to list [default: 30, or all with --since]
    #[arg(long, short = 'n', value_name = "RUNS", value_parser = number::at_least(0_usize))]
    #[arg(allow_hyphen_values = true)]
    limit: Option<usize>,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    control: ControlArgs,
}

/// How many runs are listed by default.
const DEFAULT_RUNS: usize = 30;

impl History {
    pub fn run(self) -> Exit {
        let asked = self.control.with_daemon(async |socket| match &self.services {
            Some(service) => self.ask_for_members(socket, service.as_deref()).await,
            None => self.ask(socket).await,
        });
        match asked {
            Ok(code) => Ok(code),
            Err(error) => {
                let mut offline = self.state.ledger(self.control.config_path(), error)?;
                match &self.services {
                    Some(service) => self.read_members(&mut offline.ledger, service.as_deref()),
                    None => self.read(&mut offline.ledger),
                }
            }
        }
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(if self.since.is_some() { usize::MAX } else { DEFAULT_RUNS })
    }

    /// The terms of a query: how many, and of which time.
    fn terms(&self) -> Vec<(&'static str, String)> {
        let time = |name, time: Option<SystemTime>| Some((name, Timestamp(time?).to_string()));
        let terms = [time("since", self.since), time("until", self.until)];
        [("limit", self.limit().to_string())].into_iter().chain(terms.into_iter().flatten()).collect()
    }

    async fn ask(&self, socket: &Path) -> Exit {
        let mut query = self.terms();
        query.extend(self.watch.iter().map(|watch| ("watch", watch.clone())));
        query.extend(self.failed.then(|| ("failed", "true".to_owned())));
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = client::ask(socket, Method::GET, "history", &query).await?;
        if self.json {
            print_json(&String::from_utf8_lossy(&reply))?;
            return Ok(ExitCode::SUCCESS);
        }
        let runs: Vec<RunRecord> = client::lines(socket, &reply)?;
        let newest = client::ask(socket, Method::GET, "history", &[("limit", "1")]).await?;
        let newest: Vec<RunRecord> = client::lines(socket, &newest)?;
        self.show(&runs, newest.first())
    }

    /// Lists what the ledger has while no daemon runs.
    fn read(&self, ledger: &mut Ledger) -> Exit {
        let Self { failed, since, until, .. } = *self;
        let filter = RunFilter { watch: self.watch.clone(), failed, since, until };
        let runs = ledger.history(&filter, None, self.limit())?;
        let runs: Vec<_> = runs.into_iter().map(|(_, run)| run).collect();
        if self.json {
            let lines = runs.iter().map(|run| serde_json::to_string(run).unwrap_or_default() + "\n");
            print_json(&lines.collect::<String>())?;
            return Ok(ExitCode::SUCCESS);
        }
        let newest = ledger.history(&RunFilter::default(), None, 1)?;
        self.show(&runs, newest.first().map(|(_, run)| run))
    }

    fn show(&self, runs: &[RunRecord], newest: Option<&RunRecord>) -> Exit {
        print(&match table::terminal_width().filter(|_| !self.wide) {
            None => whole_table(runs),
            Some(width) => short_table(runs, newest, width, SystemTime::now()),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The table for programs and for `--wide`.
fn whole_table(runs: &[RunRecord]) -> String {
    let mut table = Table::new(COLUMNS);
    for run in runs {
        let texts = (run.started.to_the_second(), run.version.to_string(), run.run.clone());
        table.row(row(run, texts, run.cause.summary(None)));
    }
    table.render(None, &[])
}

/// The table for a terminal. `newest` is the newest run of all watches.
fn short_table(runs: &[RunRecord], newest: Option<&RunRecord>, width: usize, now: SystemTime) -> String {
    let mut table = Table::new(COLUMNS);
    let mut without = &[CHANGE][..];
    for run in runs {
        let version = short_version(run.version, &run.watch_type, now);
        let RunCause { commit, transaction, changed: _ } = &run.cause;
        // The version of a file is its time already.
        let is_news = commit.is_some() || transaction.is_some();
        let change = run.cause.summary(Some(now)).filter(|_| is_news);
        if change.is_some() {
            without = &[];
        }
        table.row(row(run, (run.started.short(now), version, short_id(&run.run, newest)), change));
    }
    table.render(Some(width), without)
}

/// Returns the run's number if `twitcher logs` takes it for this run. Each daemon counts from 1, so a run of
/// an earlier daemon than that of the newest run keeps its id.
fn short_id(run: &str, newest: Option<&RunRecord>) -> String {
    let newest = newest.and_then(|newest| newest.run.rsplit_once('-'));
    match (run.rsplit_once('-'), newest) {
        (Some((daemon, number)), Some((newest, _))) if daemon == newest => number.to_owned(),
        (Some(_) | None, _) => run.to_owned(),
    }
}

/// The name of the column that says what made a run.
const CHANGE: &str = "CHANGE";

const COLUMNS: [Column; 8] = [
    Column::whole("STARTED"),
    Column::whole("WATCH"),
    Column::optional("EVENT"),
    Column::optional("VERSION"),
    Column::optional("TOOK"),
    Column::words("OUTCOME"),
    Column::whole("RUN"),
    Column::words(CHANGE),
];

fn row(
    run: &RunRecord,
    (started, version, id): (String, String, String),
    change: Option<String>,
) -> [Cell; 8] {
    let style = match run.outcome.as_str() {
        "success" => table::GOOD,
        "running" => table::BUSY,
        "interrupted" | "unknown" => table::ODD,
        _ => table::BAD,
    };
    [
        started.into(),
        run.watch.as_str().into(),
        run.event.as_str().into(),
        version.into(),
        run.seconds.map_or("-".to_owned(), duration).into(),
        Cell::new(run.summary(), style),
        id.into(),
        change.unwrap_or_default().into(),
    ]
}

#[cfg(test)]
mod tests;
