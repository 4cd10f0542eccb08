//! The keys of a namespace, for the completions of shells.

use std::error::Error;
use std::ffi::OsString;
use std::time::Instant;

use clap::Parser;

use super::server::ServerArgs;

/// The flags that say where the namespace is.
pub const FLAGS: [&str; 2] = ["--url", "--config-path"];

#[derive(Parser)]
struct Place {
    #[command(flatten)]
    server: ServerArgs,
}

/// Returns the keys, also removed ones if `all`. `words` are a program's name and [`FLAGS`] with their
/// values.
pub fn keys(words: Vec<OsString>, all: bool, deadline: Instant) -> Result<Vec<String>, Box<dyn Error>> {
    let Place { server } = Place::try_parse_from(words)?;
    server.with_client(async |client| {
        let heads = tokio::time::timeout_at(deadline.into(), client.list(all)).await??;
        Ok(heads.into_iter().map(|head| head.key).collect())
    })
}
