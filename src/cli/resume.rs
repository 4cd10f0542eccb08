//! `twitcher resume WATCH...`

use super::shared::exit::Exit;
use super::shared::named::NamedWatches;
use crate::model::WatchCommand;

/// End the pause of watches; if an update came meanwhile, the action runs at once
///
/// The member of a service is announced as soon as its check succeeds. Of the watches that a pattern matches,
/// those that are not paused are left alone.
#[derive(Debug, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    watches: NamedWatches,
}

impl Resume {
    pub fn run(self) -> Exit {
        self.watches.post(WatchCommand::Resume, &[], true)
    }
}
