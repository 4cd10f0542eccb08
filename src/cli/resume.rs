//! `twitcher resume WATCH`

use super::shared::control::WatchArgs;
use super::shared::exit::Exit;
use crate::model::WatchCommand;

/// End the pause of a watch; if an update came meanwhile, its action runs at once
#[derive(Debug, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    watch: WatchArgs,
}

impl Resume {
    pub fn run(self) -> Exit {
        self.watch.post(WatchCommand::Resume)
    }
}
