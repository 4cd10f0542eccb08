//! `twitcher commits log KEY`

use std::error::Error;
use std::process::ExitCode;
use std::time::SystemTime;

use super::client::Client;
use super::refusal::nonsense;
use super::rows;
use super::server::ServerArgs;
use super::show::no_such;
use crate::cli::shared::exit::Exit;
use crate::cli::shared::number;
use crate::cli::shared::stdout::{print, print_json};
use crate::commits::Key;
use crate::model::Commit;

/// List the versions of a key, newest first
#[derive(Debug, clap::Args)]
pub struct Log {
    #[arg(value_parser = Key::parse)]
    key: Key,
    /// Greatest number of versions to list [default: all]
    #[arg(long, short = 'n', value_name = "VERSIONS", value_parser = number::at_least(1_usize))]
    #[arg(allow_hyphen_values = true)]
    limit: Option<usize>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// No more versions are listed, whatever a server says: a key that changed every minute for two years.
const MAX_VERSIONS: usize = 1_000_000;

impl Log {
    pub fn run(self) -> Exit {
        self.server.with_client(async |client| {
            let mut shown = Vec::new();
            let mut before = None;
            let limit = self.limit.unwrap_or(MAX_VERSIONS).min(MAX_VERSIONS);
            let mut rest = limit;
            loop {
                let page = self.page(client, before, rest).await?;
                let Some(last) = page.last() else { break };
                before = Some(last.version);
                rest -= page.len();
                match self.json {
                    true => print_json(&page.iter().map(rows::json).collect::<String>())?,
                    false => shown.extend(page),
                }
                if rest == 0 || before <= Some(1) {
                    break;
                }
            }
            if !self.json {
                print(&rows::log(&shown, SystemTime::now()))?;
            }
            Ok(ExitCode::SUCCESS)
        })
    }

    /// Returns the versions before this one. Each is older than the one before it, so that the log ends.
    async fn page(
        &self,
        client: &Client,
        before: Option<i64>,
        rest: usize,
    ) -> Result<Vec<Commit>, Box<dyn Error>> {
        let page = client.log_page(&self.key, before, rest).await?;
        let page = match (page, before) {
            (Some(page), _) => page,
            (None, None) => return Err(no_such(client, &self.key, None).into()),
            (None, Some(_)) => Vec::new(),
        };
        let mut newer = before.unwrap_or(i64::MAX);
        for commit in &page {
            if commit.version >= newer || commit.key != self.key.as_str() {
                let what =
                    format!("the log of {:?} is not in order at version {}", commit.key, commit.version);
                return Err(nonsense(client, &what).into());
            }
            newer = commit.version;
        }
        if page.len() > rest {
            return Err(nonsense(client, "the log has more versions than were asked for").into());
        }
        Ok(page)
    }
}
