//! Reads the ledger of a daemon that does not run.

use std::error::Error;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::exit::print_error;
use super::scratch::private_directory;
use crate::control::client::ControlError;
use crate::ledger::{self, Ledger};
use crate::settings::client_state_dir;

/// Where the ledger is.
#[derive(Debug, clap::Args)]
pub struct StateArgs {
    /// State directory of the daemon, whose ledger is read if no daemon runs [default: /var/lib/twitcher]
    #[arg(long, value_name = "DIR", alias = "state_dir")]
    state_dir: Option<PathBuf>,
}

impl StateArgs {
    /// Opens a copy of the ledger if the error means that no daemon runs. Returns the error if it means
    /// something else, or if there is no ledger that this user can read.
    pub fn ledger(
        &self,
        configs: Option<PathBuf>,
        error: Box<dyn Error>,
    ) -> Result<OfflineLedger, Box<dyn Error>> {
        let socket = match error.downcast_ref() {
            Some(ControlError::Unreachable { path, source })
                if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
            {
                path.clone()
            }
            Some(_) | None => return Err(error),
        };
        let state_dir = client_state_dir(self.state_dir.clone(), configs, &socket);
        let Ok(Some(state_dir)) = state_dir else {
            return Err(
                format!("{error}; if it does not, --state-dir names the directory of its ledger").into()
            );
        };
        let Some(opened) = OfflineLedger::open(&state_dir) else {
            let place = state_dir.display();
            let none = format!("there is no ledger in {place} that this user can read");
            return Err(format!("{error}; {none}; --state-dir names another directory").into());
        };
        print_error(format_args!(
            "warning: no daemon answers at {}; this is what the ledger in {} has",
            socket.display(),
            state_dir.display()
        ));
        Ok(opened)
    }
}

/// A copy of a ledger: a daemon may start at any time, and must find its own as it was.
pub struct OfflineLedger {
    pub ledger: Ledger,
    /// Removed on drop.
    _copy: TempDir,
}

impl OfflineLedger {
    fn open(state_dir: &Path) -> Option<Self> {
        let copy = private_directory("twitcher-ledger-").ok()?;
        ledger::copy(state_dir, copy.path()).ok().filter(|is_there| *is_there)?;
        Some(Self { ledger: Ledger::open(copy.path()).ok()?, _copy: copy })
    }
}
