//! The settings of the client commands: their store, or the control socket of the daemon.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::control::{CONTROL_SOCKET, configured_socket, named_socket, user_socket};
use super::daemon::STATE_DIR;
use super::environment::{absolute, config_path, names_config_path};
use super::error::SettingsError;
use super::file::SettingsFile;
use super::read::read;
use super::store_choice::{StoreChoice, StoreFlags};
use super::stores;
use crate::store::StoreSettings;
use crate::trust::Trust;

/// What a command does not know without the settings, and how it can do without them.
pub(super) struct Lack {
    what: &'static str,
    way_out: &'static str,
}

const STORE: Lack = Lack { what: "store is meant", way_out: "name the store with --store or TWITCHER_STORE" };

const SOCKET: Lack = Lack {
    what: "daemon is meant",
    way_out: "name the socket with --control-socket or TWITCHER_CONTROL_SOCKET",
};

pub(super) const SERVER: Lack =
    Lack { what: "server is meant", way_out: "name its namespace with --url or TWITCHER_URL" };

const STATE: Lack = Lack { what: "state directory is meant", way_out: "name it with --state-dir" };

/// Returns the store that a client command talks to. Checks that its credentials can be read.
///
/// The file may say where the store is, so a command whose user cannot read it does not know where to go, and
/// must not go to the default store instead.
pub fn client_store(flags: &StoreFlags, configs: Option<PathBuf>) -> Result<StoreSettings, SettingsError> {
    let configs = ConfigDirectory::of(configs);
    let choice = flags.choice()?;
    let file = match choice {
        Some((_, StoreChoice::Url(_))) => configs.read_if_possible()?,
        Some((_, StoreChoice::Name(_))) | None => configs.read_or_refuse(&STORE)?,
    };
    let (name, store) = stores::chosen_store(choice, flags.session_timeout, &file)?;
    stores::require_credentials(&name, &store, &file)?;
    Ok(store)
}

/// Returns the path of the daemon's socket: the flag, else `TWITCHER_CONTROL_SOCKET`, else the file, else the
/// socket of the user's own daemon, else the socket of root's daemon.
pub fn client_socket(flag: Option<PathBuf>, configs: Option<PathBuf>) -> Result<PathBuf, SettingsError> {
    if let Some(socket) = named_socket(flag) {
        // A mistake in the file does not matter then.
        return Ok(socket);
    }
    let file = ConfigDirectory::of(configs).read_or_refuse(&SOCKET)?;
    let own = || user_socket().filter(|path| !geteuid().is_root() && path.exists());
    Ok(configured_socket(&file).or_else(own).unwrap_or_else(|| CONTROL_SOCKET.into()))
}

/// Returns the directory of the state of the daemon that has this socket: the flag, else the file, else the
/// default, which only the daemon with the default socket has. `None` if it is not known.
pub fn client_state_dir(
    flag: Option<PathBuf>,
    configs: Option<PathBuf>,
    socket: &Path,
) -> Result<Option<PathBuf>, SettingsError> {
    if let Some(path) = flag {
        return Ok(Some(absolute(path)));
    }
    let file = ConfigDirectory::of(configs).read_or_refuse(&STATE)?;
    let default = || (socket == Path::new(CONTROL_SOCKET)).then(|| STATE_DIR.into());
    Ok(file.state_dir.map(absolute).or_else(default))
}

/// The directory in which a command looks for `twitcher.toml`.
pub(super) struct ConfigDirectory {
    path: PathBuf,
    /// What to do about the flag or the variable that names it, if one does.
    named_by: Option<&'static str>,
}

impl ConfigDirectory {
    pub(super) fn of(flag: Option<PathBuf>) -> Self {
        let named_by = match flag {
            Some(_) => Some("correct --config-path"),
            None => names_config_path().then_some("correct TWITCHER_CONFIG_PATH"),
        };
        Self { path: config_path(flag), named_by }
    }

    /// Reads the file. For root, a file that other users can change is an error, as it could send root's data
    /// elsewhere. No flag of a client command allows it.
    fn read(&self) -> Result<SettingsFile, SettingsError> {
        read(&self.path, Trust::of_this_process(false))
    }

    /// Reads the file. If it cannot be read, or if the directory was named and is none, the error gives the
    /// remedy. A file that does not exist counts as empty.
    pub(super) fn read_or_refuse(&self, lack: &Lack) -> Result<SettingsFile, SettingsError> {
        let needed = |path: PathBuf, source: io::Error| {
            let (what, remedy, way_out) = (lack.what, self.remedy(&path, &source), lack.way_out);
            SettingsError::Needed { path, source, what, remedy, way_out }
        };
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(needed(self.path.clone(), ErrorKind::NotADirectory.into())),
            // Without settings, the defaults count.
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && self.named_by.is_none()
                    && fs::symlink_metadata(&self.path).is_err() => {}
            Err(error) => return Err(needed(self.path.clone(), error)),
        }
        self.read().map_err(|error| match error {
            SettingsError::Read { path, source } => needed(path, source),
            error => error,
        })
    }

    /// What to do about the config directory or the file, which cannot be read.
    fn remedy(&self, path: &Path, error: &io::Error) -> &'static str {
        let is_directory = path == self.path;
        let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        match (error.kind(), self.named_by) {
            (ErrorKind::PermissionDenied, _) if is_directory => "make it readable for this user",
            (ErrorKind::PermissionDenied, _) => {
                "make it readable for this user (its secrets can be in files of their own)"
            }
            (_, Some(correct)) if is_directory => correct,
            _ if is_link => "repair the link",
            _ if is_directory => "make it a directory",
            _ => "repair the file",
        }
    }

    /// Reads the file. If it cannot be read, for example because it holds secrets of another user, it counts
    /// as empty.
    pub(super) fn read_if_possible(&self) -> Result<SettingsFile, SettingsError> {
        match self.read() {
            Err(SettingsError::Read { .. }) => Ok(SettingsFile::empty(&self.path)),
            file => file,
        }
    }
}
