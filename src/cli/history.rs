//! `twitcher history [WATCH]`

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use hyper::Method;

use super::shared::control::ControlArgs;
use super::shared::exit::Exit;
use super::shared::number;
use super::shared::offline::StateArgs;
use super::shared::stdout::{print, print_json};
use super::shared::table::{self, Cell, Column, Table, duration};
use super::shared::when;
use crate::control::client;
use crate::ledger::{Ledger, RunFilter, RunRecord};
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
        match self.control.with_daemon(async |socket| self.ask(socket).await) {
            Ok(code) => Ok(code),
            Err(error) => {
                let mut offline = self.state.ledger(self.control.config_path(), error)?;
                self.read(&mut offline.ledger)
            }
        }
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(if self.since.is_some() { usize::MAX } else { DEFAULT_RUNS })
    }

    async fn ask(&self, socket: &Path) -> Exit {
        let limit = self.limit().to_string();
        let time = |time: Option<SystemTime>| time.map(|time| Timestamp(time).to_string());
        let (since, until) = (time(self.since), time(self.until));
        let mut query = vec![("limit", limit.as_str())];
        query.extend(self.watch.as_deref().map(|watch| ("watch", watch)));
        query.extend(self.failed.then_some(("failed", "true")));
        query.extend(since.as_deref().map(|since| ("since", since)));
        query.extend(until.as_deref().map(|until| ("until", until)));
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
        table.row(row(run, texts));
    }
    table.render(None, &[])
}

/// The table for a terminal. `newest` is the newest run of all watches.
fn short_table(runs: &[RunRecord], newest: Option<&RunRecord>, width: usize, now: SystemTime) -> String {
    let mut table = Table::new(COLUMNS);
    for run in runs {
        let version = short_version(run.version, &run.watch_type, now);
        table.row(row(run, (run.started.short(now), version, short_id(&run.run, newest))));
    }
    table.render(Some(width), &[])
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

const COLUMNS: [Column; 7] = [
    Column::whole("STARTED"),
    Column::whole("WATCH"),
    Column::optional("EVENT"),
    Column::optional("VERSION"),
    Column::optional("TOOK"),
    Column::words("OUTCOME"),
    Column::whole("RUN"),
];

fn row(run: &RunRecord, (started, version, id): (String, String, String)) -> [Cell; 7] {
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
    ]
}
