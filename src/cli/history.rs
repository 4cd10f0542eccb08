//! `twitcher history [WATCH]`

use std::process::ExitCode;

use hyper::Method;

use super::shared::control::ControlArgs;
use super::shared::exit::Exit;
use super::shared::stdout::{print, print_json};
use super::shared::table::{self, Cell, Table, duration};
use crate::control::client;
use crate::ledger::RunRecord;

/// List runs, newest first
#[derive(Debug, clap::Args)]
pub struct History {
    /// Only the runs of this watch: its name in the log, or its description
    watch: Option<String>,
    /// Only runs that failed or whose outcome is unknown
    #[arg(long)]
    failed: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Greatest number of runs to list
    #[arg(long, short = 'n', value_name = "RUNS", default_value_t = 30)]
    limit: usize,
    #[command(flatten)]
    control: ControlArgs,
}

impl History {
    pub fn run(self) -> Exit {
        self.control.with_daemon(async |socket| {
            let limit = self.limit.to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(self.watch.as_deref().map(|watch| ("watch", watch)));
            query.extend(self.failed.then_some(("failed", "true")));
            let reply = client::ask(socket, Method::GET, "history", &query).await?;
            match self.json {
                true => print_json(&String::from_utf8_lossy(&reply))?,
                false => print(&history_table(&client::lines(socket, &reply)?))?,
            }
            Ok(ExitCode::SUCCESS)
        })
    }
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
