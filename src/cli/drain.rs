//! `twitcher drain DESCRIPTORS`: reads what processes of former actions still write, after the daemon has
//! stopped. Internal; see [`crate::action::left_behind`].

use std::process::ExitCode;

use super::shared::exit::Exit;
use crate::action::left_behind::drain;
use crate::sys;

/// Drop what processes that actions left behind print (internal: started by a daemon that stops)
#[derive(Debug, clap::Args)]
pub struct Drain {
    /// Descriptors of the pipes
    #[arg(value_delimiter = ',', required = true)]
    descriptors: Vec<i32>,
}

impl Drain {
    pub fn run(self) -> Exit {
        let mut numbers = self.descriptors;
        numbers.sort_unstable();
        numbers.dedup();
        let pipes = numbers.into_iter().map(sys::inherited).collect::<Result<Vec<_>, _>>();
        // A kernel that cannot do this leaves the other limits of this process.
        let _ = sys::allow_only(sys::Work::Computing);
        pipes.and_then(drain).map_err(|error| format!("drain: {error}"))?;
        Ok(ExitCode::SUCCESS)
    }
}
