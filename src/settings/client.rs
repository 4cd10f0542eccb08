//! What the client commands need: their store, or the control socket of the daemon.

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

/// The store that a client command talks to. Checks that its credentials can be read.
pub fn client_store(flags: &StoreFlags) -> Result<StoreSettings, SettingsError> {
    let (choice, config_path) = (flags.choice()?, config_path(None));
    let file = match choice {
        // Only the file can say which store that is.
        Some((_, StoreChoice::Name(_))) => read_as_client(&config_path)?,
        Some((_, StoreChoice::Url(_))) | None => read_if_permitted(&config_path)?,
    };
    let (name, store) = stores::chosen_store(choice, flags.session_timeout, &file)?;
    stores::require_credentials(&name, &store, &file)?;
    Ok(store)
}

/// Where a command looks for the daemon's socket: the flag, else `TWITCHER_CONTROL_SOCKET`, else the file.
/// Users who have no daemon of their own mean root's.
pub fn client_socket(flag: Option<PathBuf>) -> Result<PathBuf, SettingsError> {
    if let Some(socket) = named_socket(flag) {
        // The file does not matter then, and neither does a mistake in it.
        return Ok(socket);
    }
    let file = read_if_permitted(&config_path(None))?;
    let own = || user_socket().filter(|path| !geteuid().is_root() && path.exists());
    Ok(configured_socket(&file).or_else(own).unwrap_or_else(|| CONTROL_SOCKET.into()))
}

/// Reads the file. What others than root can change must not say where root's data goes either, and no flag
/// of a client command allows that.
fn read_as_client(config_path: &Path) -> Result<SettingsFile, SettingsError> {
    read(config_path, Trust::of_this_process(false))
}

/// Reads the file, which may hold secrets and be readable by root alone. Without permission, it counts as
/// empty.
fn read_if_permitted(config_path: &Path) -> Result<SettingsFile, SettingsError> {
    match read_as_client(config_path) {
        Err(SettingsError::Read { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
            Ok(SettingsFile::empty(config_path))
        }
        file => file,
    }
}
