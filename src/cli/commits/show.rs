//! `twitcher commits show KEY [VERSION]`

use std::process::ExitCode;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::client::Client;
use super::server::ServerArgs;
use crate::cli::shared::exit::Exit;
use crate::cli::shared::number;
use crate::cli::shared::stdout::{print_foreign, print_json};
use crate::commits::Key;
use crate::model::Commit;

/// Write a key's payload to stdout, byte for byte
#[derive(Debug, clap::Args)]
pub struct Show {
    #[arg(value_parser = Key::parse)]
    key: Key,
    /// An older version than the newest one
    #[arg(value_parser = number::at_least(1_i64), allow_hyphen_values = true)]
    version: Option<i64>,
    /// Print a JSON object: key, version, author, comment, mtime, empty, and payload_utf8, or payload_base64
    /// if the payload is no UTF-8
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

impl Show {
    pub fn run(self) -> Exit {
        let Self { key, version, json, server } = &self;
        let (header, payload) = server.with_client(async |client| {
            let found = client.commit(key, *version).await?;
            Ok(found.ok_or_else(|| no_such(client, key, *version))?)
        })?;
        if *json {
            print_json(&(as_json(&header, &payload)?.to_string() + "\n"))?;
        } else if header.empty {
            return Err(removed(&header).into());
        } else {
            print_foreign(&payload)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Words that the server does not have a key or a version.
pub fn no_such(client: &Client, key: &Key, version: Option<i64>) -> String {
    let what =
        version.map_or_else(|| format!("key {key}"), |version| format!("version {version} of key {key}"));
    let remedy = version.map_or("`twitcher commits list` has all keys", |_| "`twitcher commits log` has all");
    format!("{}: there is no {what}; {remedy}", client.url)
}

/// Words that a version is a tombstone.
pub fn removed(header: &Commit) -> String {
    let Commit { key, version, author, comment, .. } = header;
    format!(
        "version {version} of {key}, by {author}, removes the key ({comment}); older versions are still \
         there: see `twitcher commits log`"
    )
}

fn as_json(header: &Commit, payload: &[u8]) -> serde_json::Result<Value> {
    let mut object = serde_json::to_value(header)?;
    match std::str::from_utf8(payload) {
        Ok(text) => object["payload_utf8"] = json!(text),
        Err(_) => object["payload_base64"] = json!(BASE64.encode(payload)),
    }
    Ok(object)
}
