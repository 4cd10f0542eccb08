//! `twitcher commits publish`

use std::process::ExitCode;

use super::api::{Difference, Published};
use super::server::ServerArgs;
use crate::cli::shared::exit::Exit;
use crate::cli::shared::stdout::{line, print, print_json, unless_closed};
use crate::text::count;

/// Compare the journal with the store now, and publish what differs
///
/// The server does so by itself, every publish_period. Whatever somebody wrote into the store behind its back
/// is overwritten.
#[derive(Debug, clap::Args)]
pub struct Publish {
    /// Publish nothing: only tell what differs, and exit with 1 if something does
    #[arg(long)]
    check: bool,
    /// Print a JSON object: leader (whether this server is the one that goes over all keys by itself), keeper
    /// (where), checked, differing and repaired (how many keys), trouble (what keeps the server from
    /// publishing now, or null) and differences, an array of key, journal and store (the versions, or null),
    /// found (what the store had that no journal has published, or null), repaired, and failure (why it could
    /// not be put right, or null)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

impl Publish {
    pub fn run(self) -> Exit {
        let (published, url) = self
            .server
            .with_client(async |client| Ok((client.published(!self.check).await?, client.url.to_string())))?;
        // The exit code is a result of its own.
        if self.json {
            unless_closed(print_json(&(serde_json::to_string(&published)? + "\n")))?;
        } else if let Some(keeper) = &published.keeper {
            unless_closed(print(&self.text(&published, keeper)))?;
        }
        if published.keeper.is_none() {
            return Err(format!(
                "{url}: the namespace is published nowhere; the server's twitcher.toml says where, by path \
                 in [serve.commits.{}]",
                url.rsplit('/').next().unwrap_or_default()
            )
            .into());
        }
        Ok(match published.differing > published.repaired {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        })
    }

    fn text(&self, published: &Published, keeper: &str) -> String {
        let Published { differences, differing, checked, trouble, .. } = published;
        let version = |version: Option<i64>, none: &str| {
            version.map_or(none.to_owned(), |version| format!("version {version}"))
        };
        let lines = differences.iter().map(|Difference { key, journal, store, found, repaired, failure }| {
            let store = found.clone().unwrap_or_else(|| version(*store, "nothing"));
            let journal = version(*journal, "no such key");
            let (has, published) = match failure {
                _ if *repaired => ("had", ", which was put right".to_owned()),
                Some(why) => ("has", format!(", which could not be put right: {why}")),
                None => ("has", String::new()),
            };
            line(&format!("{key}: the journal has {journal}, the store {has} {store}{published}"))
        });
        let lines: String = lines.collect();
        let compared = count(*checked, "key");
        let result = match differing {
            0 => "no difference".to_owned(),
            more => count(*more, "difference"),
        };
        let trouble = trouble.as_ref().map_or(String::new(), |trouble| line(trouble));
        let compared = line(&format!("{compared} compared with {keeper}: {result}"));
        [lines, compared, trouble].concat()
    }
}
