//! `twitcher reload`

use super::shared::control::ControlArgs;
use super::shared::exit::Exit;

/// Make the daemon read its configs again, wait for it, and exit 1 if one cannot be loaded
#[derive(Debug, clap::Args)]
pub struct Reload {
    #[command(flatten)]
    control: ControlArgs,
}

impl Reload {
    pub fn run(self) -> Exit {
        self.control.post("reload", &[])
    }
}
