//! `twitcher commits remove KEY`

use std::process::ExitCode;

use super::api::Draft;
use super::author::{AuthorArgs, comment};
use super::saving::{next, save, told};
use super::server::ServerArgs;
use super::show::no_such;
use crate::cli::shared::exit::Exit;
use crate::commits::Key;

/// Remove a key; its history stays
///
/// The next version says that the key is removed, and by whom. Its node is deleted from the store.
#[derive(Debug, clap::Args)]
pub struct Remove {
    #[arg(value_parser = Key::parse)]
    key: Key,
    /// Why, in one line
    #[arg(long, short = 'm', value_name = "COMMENT", value_parser = comment)]
    comment: String,
    /// Print the new commit's header as a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    author: AuthorArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl Remove {
    pub fn run(self) -> Exit {
        let Self { key, comment, .. } = &self;
        let author = self.author.name()?;
        let saved = self.server.with_client(async |client| {
            let head = client.meta(key, None).await?;
            let head = head.ok_or_else(|| no_such(client, key, None))?;
            if head.empty {
                let (version, by) = (head.version, &head.author);
                return Err(format!("{key} is removed already, by version {version} of {by}").into());
            }
            let version = next(Some(&head));
            let draft = Draft { key, version, author: &author, comment, payload: None };
            save(client, &draft, Some(&head)).await
        })?;
        told(&saved, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}
