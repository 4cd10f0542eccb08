//! `twitcher serve`

use std::process::ExitCode;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::shared::configs::ConfigArgs;
use super::shared::exit::{Exit, print_error};
use super::shared::runtime::block_on;
use super::shared::signals;
use crate::model::LogFormat;
use crate::report::log::Target;
use crate::report::stream::LogStream;
use crate::report::{Level, Log, journal};
use crate::settings::{ServeSettings, config_path, read};
use crate::trust::Trust;
use crate::{serve, sys};

/// Serve the commits of versioned configuration
///
/// Keeps every version of every key in a database, answers Rainer's clients over HTTP, and publishes the
/// newest versions in a store. The block [serve] of twitcher.toml says what is served, where, and to whom.
/// See twitcher-serve(1).
#[derive(Debug, clap::Args)]
pub struct Serve {
    #[command(flatten)]
    configs: ConfigArgs,
    /// Log more
    #[arg(short, long)]
    verbose: bool,
}

impl Serve {
    pub fn run(self) -> Exit {
        // The umask stays: it says who may use a socket.
        sys::reset_inherited_signals();
        sys::kernel::require()?;
        let file = read(&config_path(self.configs.path()), Trust::of_this_process(false))?;
        for warning in &file.warnings {
            print_error(format_args!("warning: {warning}"));
        }
        let settings = ServeSettings::new(&file)?;
        if nix::unistd::geteuid().is_root() {
            print_error(
                "warning: serve needs no rights of root; run it as a user of its own, as its unit does",
            );
        }
        let target = match journal::is_connected() {
            true => Target::Journal,
            false => Target::Stream(LogStream::stderr()?),
        };
        let level = if self.verbose { Level::Info } else { Level::Notice };
        // Dropping the writer waits for its last lines.
        let (log, _writer) = Log::start(target, level, LogFormat::Text)?;
        let mut signals = signals::receive(&[SIGINT, SIGTERM])?;
        let stop = async move {
            // `None` cannot come: its thread lives as long as this process.
            signals.recv().await;
        };
        block_on(serve::run(&settings, log, stop))??;
        Ok(ExitCode::SUCCESS)
    }
}
