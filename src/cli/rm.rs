//! `twitcher rm [--recursive] NODE`

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::shared::exit::{Exit, print_error};
use super::shared::number;
use super::shared::signals;
use super::shared::store::NodeArgs;
use crate::model::NodePath;
use crate::store::{Client, Removal};

/// Delete a node
#[derive(Debug, clap::Args)]
pub struct Rm {
    #[command(flatten)]
    node: NodeArgs,
    /// Delete everything below the node, too. This takes as long as it needs, and stderr shows how far it is
    #[arg(long, short)]
    recursive: bool,
    /// Delete the node only if its version is N; otherwise exit with 3
    #[arg(long, value_name = "N", conflicts_with = "recursive")]
    #[arg(value_parser = number::at_least(0_i64), allow_hyphen_values = true)]
    if_version: Option<i64>,
}

/// How often a long removal says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

impl Rm {
    pub fn run(self) -> Exit {
        if let Some(number) = self.if_version {
            return self.node.perform(async |client, node| client.rm_version(node, number).await);
        }
        if !self.recursive {
            return self.node.perform(async |client, node| client.rm(node, false, &Removal::default()).await);
        }
        self.node.with_client(rm_tree)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Removes the node and all below it. An error, also that of an interruption, says how far it came.
async fn rm_tree(client: &Client, node: &NodePath) -> Result<(), Box<dyn Error>> {
    let mut signals = signals::receive(&[SIGINT, SIGTERM])?;
    let removal = Removal::default();
    let failed = |reason: &dyn Display| {
        // Not even the first request had a reply, or the node has no more to remove.
        if removal.removed.get() == 0 {
            return reason.to_string();
        }
        format!("{reason}; nodes at {node} so far: {removal}; run the command again to remove the rest")
    };
    tokio::select! {
        removed = client.rm(node, true, &removal) => removed.map_err(|error| failed(&error).into()),
        _ = signals.recv() => Err(failed(&"interrupted").into()),
        () = show_progress(node, &removal) => Ok(()),
    }
}

/// Never ends.
async fn show_progress(node: &NodePath, removal: &Removal) {
    let mut turns = tokio::time::interval(PROGRESS_INTERVAL);
    // The first turn comes at once.
    turns.tick().await;
    loop {
        turns.tick().await;
        print_error(format_args!("twitcher: nodes at {node} so far: {removal}"));
    }
}
