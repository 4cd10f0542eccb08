//! `twitcher run`: the daemon.
//!
//! * `args` defines the flags; `options` combines them with the settings.
//! * `start` takes the locks (`locks`, `path_lock`), goes into the background (`background`), opens the
//!   control socket and the metrics (`serving`), and runs the daemon's loop.
//! * `upkeep` looks again at what was taken at the start, at `twitcher.toml` by `settings_file`.
//! * `welcome` words what `--devel` tells a newcomer; `dry_run` formats the output of `--dry-run`.

use super::shared::exit::Exit;
use crate::sys;

mod args;
mod background;
mod dry_run;
mod locks;
mod options;
mod path_lock;
mod serving;
mod settings_file;
mod start;
mod upkeep;
mod welcome;

pub use args::Run;

impl Run {
    pub fn run(self) -> Exit {
        if self.daemonize {
            sys::close_inherited();
        }
        // First of all: the options open the log file, whose mode must not depend on who starts the daemon.
        sys::reset_inherited();
        start::start(options::options(self)?)
    }
}
