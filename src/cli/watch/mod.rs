//! `twitcher watch NODE`: follows one node with the daemon's code, until interrupted.

mod line;

use std::error::Error;
use std::process::ExitCode;
use std::time::SystemTime;

use super::shared::exit::Exit;
use super::shared::following::{Found, print, until_interrupted};
use super::shared::format::parse_format;
use super::shared::number;
use super::shared::runtime::block_on;
use super::shared::store::NodeArgs;
use super::shared::table::terminal_width;
use crate::model::{Facet, Format, Subject};
use crate::store::StoreSettings;
use crate::text::{Timestamp, escaped_json};
use line::Follower;

/// Follow a node: print its present state, then a line for each change, until interrupted
#[derive(Debug, clap::Args)]
pub struct Watch {
    #[command(flatten)]
    node: NodeArgs,
    /// Follow the names of the node's children instead of its data
    #[arg(long)]
    children: bool,
    /// Follow the node's children with what each says of itself, as `twitcher services` shows it
    #[arg(long, conflicts_with = "children")]
    members: bool,
    /// Print one JSON object per line, with the whole content: time, znode, event, version, size and text (or
    /// children, members or the reason)
    #[arg(long)]
    json: bool,
    /// Decode the data, and print what comes of it, or why it cannot be decoded. With --json, each line has
    /// the `value`, or the `fault`
    #[arg(long, value_name = "FORMAT", value_parser = parse_format)]
    #[arg(conflicts_with_all = ["children", "members"])]
    decode: Option<Format>,
    /// End after N lines
    #[arg(long, value_name = "N", value_parser = number::at_least(1_u64), allow_hyphen_values = true)]
    count: Option<u64>,
}

impl Watch {
    /// Prints the node's present state, and then a line for each change. Succeeds when it is interrupted,
    /// when it has printed `count` lines, and when stdout is closed. Fails if there is no connection within
    /// the session timeout; a later loss of the connection is reported on stderr, and the connection made
    /// again.
    pub fn run(self) -> Exit {
        let settings = self.node.store_settings()?;
        block_on(follow(&self, &settings))??;
        Ok(ExitCode::SUCCESS)
    }
}

async fn follow(args: &Watch, settings: &StoreSettings) -> Result<(), Box<dyn Error>> {
    let facet = match (args.children, args.members) {
        (true, _) => Facet::Children,
        (false, true) => Facet::Members,
        (false, false) => Facet::Data,
    };
    let subject = Subject { path: args.node.node.clone(), facet };
    until_interrupted(settings, subject, async |following| {
        let mut follower = Follower::new(args.decode);
        let mut printed = 0;
        while args.count.is_none_or(|count| printed < count) {
            let Some(found) = following.next().await else { break };
            let now = Timestamp(SystemTime::now());
            let line = match &found {
                Found::State(subject, state) => follower.observed(subject, state, now),
                Found::Unreadable(subject, reason) => Some(follower.unreadable(subject, reason, now)),
            };
            let Some(line) = line else { continue };
            let line = if args.json { escaped_json(&line.json()) } else { line.text(terminal_width()) };
            print(line + "\n").await?;
            printed += 1;
        }
        Ok(())
    })
    .await
}
