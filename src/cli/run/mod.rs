//! `twitcher run`: the daemon.
//!
//! * `args` defines the flags; `options` combines them with the settings.
//! * `start` takes the locks (`locks`), goes into the background (`background`), opens the control socket and
//!   the metrics (`serving`), and runs the daemon's loop.
//! * `dry_run` formats the output of `--dry-run`.

use super::shared::exit::Exit;

mod args;
mod background;
mod dry_run;
mod locks;
mod options;
mod serving;
mod start;

pub use args::Run;

impl Run {
    pub fn run(self) -> Exit {
        start::start(options::options(self)?)
    }
}
