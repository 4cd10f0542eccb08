//! `twitcher logs RUN`

use std::process::ExitCode;

use hyper::Method;

use super::shared::control::ControlArgs;
use super::shared::exit::Exit;
use super::shared::stdout::print_foreign;
use crate::control::client;

/// Write the output of a run to stdout, its last 64 KiB
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// Id of the run in `history`, or its number in the log: the newest run with that number
    run: String,
    #[command(flatten)]
    control: ControlArgs,
}

impl Logs {
    pub fn run(self) -> Exit {
        self.control.with_daemon(async |socket| {
            let output = client::ask(socket, Method::GET, "output", &[("run", &self.run)]).await?;
            print_foreign(&output)?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
