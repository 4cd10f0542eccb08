//! `twitcher trigger [--force] WATCH`

use super::shared::control::WatchArgs;
use super::shared::exit::Exit;
use crate::model::WatchCommand;

/// Run a watch's action now with the node's present content, even if a failure has stopped the watch
#[derive(Debug, clap::Args)]
pub struct Trigger {
    /// Run it even with content that a guard holds (`max_data`, `guard`), if the node still has that content
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    watch: WatchArgs,
}

impl Trigger {
    pub fn run(self) -> Exit {
        self.watch.post(WatchCommand::Trigger { force: self.force })
    }
}
