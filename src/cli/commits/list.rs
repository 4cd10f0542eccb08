//! `twitcher commits list`

use std::process::ExitCode;
use std::time::SystemTime;

use super::rows;
use super::server::ServerArgs;
use crate::cli::shared::exit::Exit;
use crate::cli::shared::stdout::{print, print_json};

/// List the keys, with version, author, age and comment of the newest commit of each
#[derive(Debug, clap::Args)]
pub struct List {
    /// Also list keys that were removed
    #[arg(long)]
    all: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

impl List {
    pub fn run(self) -> Exit {
        let heads = self.server.with_client(async |client| client.list(self.all).await)?;
        match self.json {
            true => print_json(&heads.iter().map(rows::json).collect::<String>())?,
            false => print(&rows::list(&heads, SystemTime::now()))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
