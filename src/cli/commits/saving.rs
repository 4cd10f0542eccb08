//! Saves the next version of a key, and explains a conflict.

use std::error::Error;
use std::process::ExitCode;

use super::api::{Draft, Unsaved};
use super::author::{AuthorArgs, comment};
use super::client::Client;
use super::rows;
use super::server::ServerArgs;
use crate::cli::shared::exit::{ConditionError, Exit};
use crate::cli::shared::stdout::{line, print, print_json};
use crate::model::Commit;
use crate::text::quoted;

/// What all commands take that save one version.
#[derive(Debug, clap::Args)]
pub struct SavingArgs {
    /// Why, in one line
    #[arg(long, short = 'm', value_name = "COMMENT", value_parser = comment)]
    pub comment: String,
    /// Print the new commit's header as a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    author: AuthorArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl SavingArgs {
    /// Saves what `command` saves by the author that it is given, and prints what was saved.
    pub fn save_with(
        &self,
        command: impl AsyncFnOnce(&Client, &str) -> Result<Commit, Box<dyn Error>>,
    ) -> Exit {
        // As the user who asks: root's process will be another one when it connects.
        let author = self.author.name()?;
        let saved = self.server.with_client(async |client| command(client, &author).await)?;
        told(&saved, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns the version that follows a head.
pub fn next(head: Option<&Commit>) -> i64 {
    head.map_or(1, |head| head.version.saturating_add(1))
}

/// Saves a commit whose author has seen `seen`, the head, if the version follows from it. A conflict is a
/// [`ConditionError`], which names both versions and both authors.
pub async fn save(
    client: &Client,
    draft: &Draft<'_>,
    seen: Option<&Commit>,
) -> Result<Commit, Box<dyn Error>> {
    let expected = match client.save(draft).await {
        Ok(saved) => return Ok(saved),
        Err(Unsaved::Failed(error)) => return Err(error),
        Err(Unsaved::Conflict { expected }) => expected,
    };
    // The conflict is told even if the head cannot be read.
    let head = client.meta(draft.key, None).await.ok().flatten();
    Err(ConditionError(conflict(draft, seen, head.as_ref(), expected)).into())
}

fn conflict(draft: &Draft<'_>, seen: Option<&Commit>, head: Option<&Commit>, expected: i64) -> String {
    let Draft { key, version, author, .. } = draft;
    let head_is = match head {
        Some(Commit { version, author, comment, empty, .. }) => {
            let what = if *empty { "which removes it, " } else { "" };
            format!("the newest is version {version}, {what}by {author} ({comment})")
        }
        None => format!("the next one is version {expected}"),
    };
    let basis = match seen {
        Some(Commit { version, author, .. }) => {
            format!(" on top of version {version} by {author}; meanwhile,")
        }
        None if *version == 1 => " as the first one; meanwhile,".to_owned(),
        None => ";".to_owned(),
    };
    let remedy = match (seen.map_or(version - 1, |seen| seen.version), head) {
        (old @ 1.., Some(head)) if head.version > old => {
            format!("`twitcher commits diff {} {old}` shows what came since", quoted(key.as_str()))
        }
        _ => "read it, and save again".to_owned(),
    };
    format!(
        "conflict: {key} was not saved as version {version} by {author}{basis} {head_is}; nothing was saved; \
         {remedy}"
    )
}

/// Prints what was saved.
pub fn told(saved: &Commit, json: bool) -> Result<(), Box<dyn Error>> {
    if json {
        return Ok(print_json(&rows::json(saved))?);
    }
    let Commit { key, version, author, empty, .. } = saved;
    let what = if *empty { "removed by" } else { "saved as" };
    Ok(print(&line(&format!("{key}: {what} version {version} by {author}")))?)
}
