//! `twitcher commits revert KEY VERSION`

use super::api::Draft;
use super::saving::{SavingArgs, next, save};
use super::show::{no_such, removed};
use crate::cli::shared::exit::Exit;
use crate::cli::shared::number;
use crate::commits::Key;

/// Save the payload of an older version as the next version
#[derive(Debug, clap::Args)]
pub struct Revert {
    #[arg(value_parser = Key::parse)]
    key: Key,
    /// The version whose payload is to be the newest again
    #[arg(value_parser = number::at_least(1_i64), allow_hyphen_values = true)]
    version: i64,
    #[command(flatten)]
    saving: SavingArgs,
}

impl Revert {
    pub fn run(self) -> Exit {
        let Self { key, version, saving } = &self;
        saving.save_with(async |client, author| {
            // The head first: what comes after it is a conflict.
            let head = client.meta(key, None).await?;
            let head = head.ok_or_else(|| no_such(client, key, None))?;
            if head.version == *version {
                return Err(format!("version {version} of {key} is the newest one; nothing was saved").into());
            }
            let found = client.commit(key, Some(*version)).await?;
            let (old, payload) = found.ok_or_else(|| no_such(client, key, Some(*version)))?;
            if old.empty {
                return Err(format!("{}; `twitcher commits remove` removes it again", removed(&old)).into());
            }
            let version = next(Some(&head));
            let draft = Draft { key, version, author, comment: &saving.comment, payload: Some(payload) };
            save(client, &draft, Some(&head)).await
        })
    }
}
