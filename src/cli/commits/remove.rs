//! `twitcher commits remove KEY`

use super::api::Draft;
use super::saving::{SavingArgs, next, save};
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
    #[command(flatten)]
    saving: SavingArgs,
}

impl Remove {
    pub fn run(self) -> Exit {
        let Self { key, saving } = &self;
        saving.save_with(async |client, author| {
            let head = client.meta(key, None).await?;
            let head = head.ok_or_else(|| no_such(client, key, None))?;
            if head.empty {
                let (version, by) = (head.version, &head.author);
                return Err(format!("{key} is removed already, by version {version} of {by}").into());
            }
            let version = next(Some(&head));
            let draft = Draft { key, version, author, comment: &saving.comment, payload: None };
            save(client, &draft, Some(&head)).await
        })
    }
}
