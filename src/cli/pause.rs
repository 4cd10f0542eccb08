//! `twitcher pause WATCH`

use super::shared::control::WatchArgs;
use super::shared::exit::Exit;
use crate::model::WatchCommand;

/// Start no new runs of a watch until it is resumed, even after a restart; a running action continues
#[derive(Debug, clap::Args)]
pub struct Pause {
    #[command(flatten)]
    watch: WatchArgs,
}

impl Pause {
    pub fn run(self) -> Exit {
        self.watch.post(WatchCommand::Pause)
    }
}
