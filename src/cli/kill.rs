//! `twitcher kill WATCH`

use super::shared::control::WatchArgs;
use super::shared::exit::Exit;
use crate::model::WatchCommand;

/// Kill the running actions of a watch as a timeout does: SIGTERM to each process group, SIGKILL 5 s later
#[derive(Debug, clap::Args)]
pub struct Kill {
    #[command(flatten)]
    watch: WatchArgs,
}

impl Kill {
    pub fn run(self) -> Exit {
        self.watch.post(WatchCommand::Kill)
    }
}
