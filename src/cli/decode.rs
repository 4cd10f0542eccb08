//! `twitcher decode`: the confined child that decodes the content of a node. Internal; see [`crate::decode`].

use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

use super::shared::exit::Exit;
use crate::decode::request::{DecodeReply, DecodeRequest};
use crate::sys::{self, Work, allow_only};
use crate::value::content;
use crate::value::schema::Schema;

/// Decode the content of a node for the daemon (internal: reads the request from stdin)
#[derive(Debug, clap::Args)]
pub struct Decode {}

impl Decode {
    pub fn run(self) -> Exit {
        let reply = answer().map_err(|error| format!("decode: {error}"))?;
        let mut line = serde_json::to_vec(&reply).map_err(|error| format!("decode: {error}"))?;
        line.push(b'\n');
        io::stdout().write_all(&line).map_err(|error| format!("decode: {error}"))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn answer() -> io::Result<DecodeReply> {
    let mut stdin = io::stdin().lock();
    // The header comes from the daemon. The content after it is foreign, and nobody looks at it before
    // nothing else is possible any more.
    let mut header = Vec::new();
    stdin.read_until(b'\n', &mut header)?;
    let request: DecodeRequest = serde_json::from_slice(&header)?;
    let mut output = sys::inherited(request.output)?;
    // A kernel that cannot do this leaves the other limits of this process.
    let _ = allow_only(Work::Computing);
    let mut bytes = Vec::new();
    stdin.read_to_end(&mut bytes)?;
    let schema = match &request.schema {
        // It was compiled before, when its watch was loaded.
        Some((name, text)) => Some((&**name, Schema::compile(text.as_bytes()).map_err(io::Error::other)?)),
        None => None,
    };
    let schema = schema.as_ref().map(|(name, schema)| (*name, schema));
    let decoded = match content::decode(request.format, &bytes, &request.name, schema) {
        Ok(decoded) => decoded,
        Err(why) => return Ok(DecodeReply::Faulty(why)),
    };
    if let Some(converted) = &decoded.converted {
        output.write_all(converted)?;
    }
    Ok(DecodeReply::Conforms { is_converted: decoded.converted.is_some(), commit: decoded.commit })
}
