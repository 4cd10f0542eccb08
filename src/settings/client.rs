//! The settings of the client commands: their store, or the control socket of the daemon.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use nix::unistd::geteuid;

use super::control::{CONTROL_SOCKET, configured_socket, named_socket, user_socket};
use super::environment::{config_path, names_config_path};
use super::error::SettingsError;
use super::file::SettingsFile;
use super::read::read;
use super::store_choice::{StoreChoice, StoreFlags};
use super::stores;
use crate::store::StoreSettings;
use crate::trust::Trust;

const STORE_REMEDY: &str = "so it is unknown which store is meant; make it readable for this user \
    (its secrets can be in files of their own), or name the store with --store or TWITCHER_STORE";

const SOCKET_REMEDY: &str = "so it is unknown which daemon is meant; make it readable for this user (its \
    secrets can be in files of their own), or name the socket with --control-socket or \
    TWITCHER_CONTROL_SOCKET";

/// Returns the store that a client command talks to. Checks that its credentials can be read.
///
/// The file may say where the store is, so a command whose user cannot read it does not know where to go, and
/// must not go to the default store instead.
pub fn client_store(flags: &StoreFlags) -> Result<StoreSettings, SettingsError> {
    let choice = flags.choice()?;
    let file = match choice {
        Some((_, StoreChoice::Url(_))) => read_if_permitted()?,
        Some((_, StoreChoice::Name(_))) | None => read_or_refuse(STORE_REMEDY)?,
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
    let file = read_or_refuse(SOCKET_REMEDY)?;
    let own = || user_socket().filter(|path| !geteuid().is_root() && path.exists());
    Ok(configured_socket(&file).or_else(own).unwrap_or_else(|| CONTROL_SOCKET.into()))
}

/// Reads the file. For root, a file that other users can change is an error, as it could send root's data
/// elsewhere. No flag of a client command allows it.
fn read_as_client() -> Result<SettingsFile, SettingsError> {
    read(&config_path(None), Trust::of_this_process(false))
}

/// Reads the file. If it cannot be read, or if `TWITCHER_CONFIG_PATH` names no directory, the error gives the
/// remedy. A file that does not exist counts as empty.
fn read_or_refuse(remedy: &'static str) -> Result<SettingsFile, SettingsError> {
    let needed = |path, source| SettingsError::Needed { path, source, remedy };
    let directory = config_path(None);
    match fs::metadata(&directory) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(needed(directory, ErrorKind::NotADirectory.into())),
        // Without settings, the defaults count.
        Err(error) if error.kind() == ErrorKind::NotFound && !names_config_path() => {}
        Err(error) => return Err(needed(directory, error)),
    }
    read_as_client().map_err(|error| match error {
        SettingsError::Read { path, source } => needed(path, source),
        error => error,
    })
}

/// Reads the file. If this user may not read it, perhaps because it holds secrets, it counts as empty.
fn read_if_permitted() -> Result<SettingsFile, SettingsError> {
    match read_as_client() {
        Err(SettingsError::Read { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
            Ok(SettingsFile::empty(&config_path(None)))
        }
        file => file,
    }
}
