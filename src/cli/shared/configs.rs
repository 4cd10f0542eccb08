//! The argument of commands that read `twitcher.toml`.

use std::path::PathBuf;

/// The directory of the settings.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// Directory of twitcher.toml, which tells of stores and the control socket [default: /etc/twitcher]
    #[arg(long, value_name = "DIR", alias = "config_path")]
    config_path: Option<PathBuf>,
}

impl ConfigArgs {
    pub fn path(&self) -> Option<PathBuf> {
        self.config_path.clone()
    }
}
