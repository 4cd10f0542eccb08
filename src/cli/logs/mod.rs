//! `twitcher logs [-f] RUN|WATCH`; `follow` shows what running actions print.

use std::process::ExitCode;

use hyper::Method;

use super::shared::control::ControlArgs;
use super::shared::exit::Exit;
use super::shared::stdout::print_foreign;
use crate::control::client;

mod follow;

/// Write the output of a run to stdout, its last 64 KiB; with -f, also while it runs
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// Id of the run in `history`, or its number in the log: the newest run with that number; with -f, also
    /// a watch, whose runs are followed
    run: String,
    /// Go on with what the action prints until the run ends. Of a watch, go on with its next run, until
    /// interrupted
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    control: ControlArgs,
}

impl Logs {
    pub fn run(self) -> Exit {
        self.control.with_daemon(async |socket| {
            if self.follow {
                return follow::follow(socket, &self.run).await;
            }
            let output = client::ask(socket, Method::GET, "output", &[("run", &self.run)]).await?;
            print_foreign(&output)?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
