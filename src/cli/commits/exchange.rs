//! `twitcher exchange-commit KEY`: the part of `commits edit` that talks to the server.
//!
//! It is a process of its own, because root's process gives root up before it connects to a server, and the
//! editor must still run as the user who asked for it.

use std::process::ExitCode;

use super::api::Draft;
use super::author::comment;
use super::saving::{save, told};
use super::server::ServerArgs;
use crate::cli::set::read_stdin;
use crate::cli::shared::exit::Exit;
use crate::cli::shared::number;
use crate::cli::shared::stdout::print_bytes;
use crate::commits::Key;
use crate::text::printable;

/// Write a key's newest version, its author and its payload to stdout, or save stdin as the next version
#[derive(Debug, clap::Args)]
pub struct ExchangeCommit {
    #[arg(value_parser = Key::parse)]
    key: Key,
    /// The version that the text was made from
    #[arg(long, value_parser = number::at_least(0_i64), requires_all = ["length", "author", "comment"])]
    replace: Option<i64>,
    /// The length of stdin in bytes. If the process that writes it dies, what is there is not the whole text
    #[arg(long)]
    length: Option<usize>,
    #[arg(long)]
    author: Option<String>,
    #[arg(long, value_parser = comment)]
    comment: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

impl ExchangeCommit {
    pub fn run(self) -> Exit {
        let Self { key, replace, length, author, comment, server } = &self;
        let (Some(old), Some(author), Some(comment)) = (replace, author, comment) else {
            let found = server.with_client(async |client| client.commit(key, None).await)?;
            // A key that is not there yet has version 0.
            let head = match &found {
                Some((header, _)) => format!("{} {}\n", header.version, printable(header.author.as_bytes())),
                None => "0 \n".to_owned(),
            };
            print_bytes(head.as_bytes())?;
            print_bytes(&found.map_or_else(Default::default, |(_, payload)| payload))?;
            return Ok(ExitCode::SUCCESS);
        };
        let text = read_stdin()?;
        if Some(text.len()) != *length {
            return Err("the text did not arrive whole, so nothing was saved".into());
        }
        let saved = server.with_client(async |client| {
            // Whom the conflict names.
            let seen = match old {
                0 => None,
                old => client.meta(key, Some(*old)).await?,
            };
            let draft = Draft { key, version: old + 1, author, comment, payload: Some(text.into()) };
            save(client, &draft, seen.as_ref()).await
        })?;
        told(&saved, false)?;
        Ok(ExitCode::SUCCESS)
    }
}
