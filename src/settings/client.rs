//! The settings of the client commands: their store, or the control socket of the daemon.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::control::{CONTROL_SOCKET, configured_socket, named_socket, user_socket};
use super::environment::config_path;
use super::error::SettingsError;
use super::file::SettingsFile;
use super::read::read;
use super::store_choice::{StoreChoice, StoreFlags};
use super::stores;
use crate::store::StoreSettings;
use crate::trust::Trust;

/// Returns the store that a client command talks to. Checks that its credentials can be read.
pub fn client_store(flags: &StoreFlags) -> Result<StoreSettings, SettingsError> {
    let (choice, config_path) = (flags.choice()?, config_path(None));
    let file = match choice {
        // Only the file defines the store of this name.
        Some((_, StoreChoice::Name(_))) => read_as_client(&config_path)?,
        Some((_, StoreChoice::Url(_))) | None => read_if_permitted(&config_path)?,
    };
    let (name, store) = stores::chosen_store(choice, flags.session_timeout, &file)?;
    stores::require_credentials(&name, &file)?;
    Ok(store)
}

/// Returns the path of the daemon's socket: the flag, else `TWITCHER_CONTROL_SOCKET`, else the file, else the
/// socket of the user's own daemon, else the socket of root's daemon.
pub fn client_socket(flag: Option<PathBuf>) -> Result<PathBuf, SettingsError> {
    if let Some(socket) = named_socket(flag) {
        // A mistake in the file does not matter then.
        return Ok(socket);
    }
    let file = read_if_permitted(&config_path(None))?;
    let own = || user_socket().filter(|path| !geteuid().is_root() && path.exists());
    Ok(configured_socket(&file).or_else(own).unwrap_or_else(|| CONTROL_SOCKET.into()))
}

/// Reads the file. For root, a file that other users can change is an error, as it could send root's data
/// elsewhere. No flag of a client command allows it.
fn read_as_client(config_path: &Path) -> Result<SettingsFile, SettingsError> {
    read(config_path, Trust::of_this_process(false))
}

/// Reads the file. A file that this user may not read, perhaps because it holds secrets, counts as empty.
fn read_if_permitted(config_path: &Path) -> Result<SettingsFile, SettingsError> {
    match read_as_client(config_path) {
        Err(SettingsError::Read { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
            Ok(SettingsFile::empty(config_path))
        }
        file => file,
    }
}
