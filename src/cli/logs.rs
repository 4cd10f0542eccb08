//! `twitcher logs RUN`

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use hyper::Method;

use super::shared::control::ControlArgs;
use super::shared::exit::Exit;
use super::shared::stdout::print_bytes;
use crate::control::client;
use crate::text::printable;

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
            match io::stdout().is_terminal() {
                true => print_bytes(without_escapes(&output).as_bytes())?,
                false => print_bytes(&output)?,
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Escapes the output for a terminal, which must not obey the escape codes of an action.
fn without_escapes(output: &[u8]) -> String {
    let lines = output.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let between_tabs: Vec<_> = line.split(|byte| *byte == b'\t').map(printable).collect();
        between_tabs.join("\t") + "\n"
    });
    lines.collect()
}
