//! `twitcher run`: the daemon.
//!
//! * `args` has the flags; `options` makes of them, and of the settings, what the daemon is started with.
//! * `start` takes the locks (`locks`), goes into the background (`background`), opens the control socket and
//!   the metrics (`serving`), and runs the daemon's loop.
//! * `dry_run` prints what `--dry-run` has found.

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
