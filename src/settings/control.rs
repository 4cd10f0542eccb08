//! The settings of the control socket (path, mode and group), and the address of the metrics.

use std::net::SocketAddr;
use std::path::PathBuf;

use nix::unistd::{Group, geteuid};

use super::environment::{absolute, variable};
use super::error::SettingsError;
use super::file::SettingsFile;

/// The default path of the socket of root's daemon.
pub(super) const CONTROL_SOCKET: &str = "/run/twitcher/control.sock";

/// Only the daemon's own user can use the socket, because its clients start actions as that user.
const DEFAULT_MODE: u32 = 0o600;

const GROUP_BITS: u32 = 0o070;

#[derive(Debug, Default)]
pub struct ControlSettings {
    /// Path of the socket. `None` if no path is configured, and this user has no directory for sockets.
    pub socket: Option<PathBuf>,
    pub mode: u32,
    /// `None` means the daemon's own group.
    pub group: Option<u32>,
    /// The error if the system does not know the group. The daemon starts without the group, and looks it up
    /// again.
    pub unknown_group: Option<SettingsError>,
    /// The group to look up again, unless it is a number.
    pub named_group: Option<NamedGroup>,
}

/// A group by its name, which can get another number while the daemon runs, or be known only later.
#[derive(Debug)]
pub struct NamedGroup {
    pub name: String,
    /// The mode of the socket once the group is known.
    pub mode: u32,
}

impl NamedGroup {
    /// Looks the group up, which can take as long as a directory service likes.
    pub fn look_up(&self) -> Result<u32, String> {
        look_up(&self.name)
    }
}

impl ControlSettings {
    pub fn new(flag: Option<PathBuf>, file: &SettingsFile) -> Result<Self, SettingsError> {
        let mode = mode(file)?;
        let name = file.control.group.clone().filter(|name| group_number(name).is_none());
        let named_group = name.map(|name| NamedGroup { name, mode });
        let (group, mode, unknown_group) = match group(file) {
            Ok(group) => (group, mode, None),
            // The daemon's own group must not get the rights of the unknown group.
            Err(error) => (None, mode & !GROUP_BITS, Some(error)),
        };
        Ok(Self { socket: daemon_socket(flag, file), mode, group, unknown_group, named_group })
    }
}

/// Returns the path of the daemon's socket: the flag, else `TWITCHER_CONTROL_SOCKET`, else the file, else the
/// default for the daemon's user.
fn daemon_socket(flag: Option<PathBuf>, file: &SettingsFile) -> Option<PathBuf> {
    let configured = named_socket(flag).or_else(|| configured_socket(file));
    configured.or_else(|| if geteuid().is_root() { Some(CONTROL_SOCKET.into()) } else { user_socket() })
}

/// Returns the socket of the flag, else of `TWITCHER_CONTROL_SOCKET`.
pub(super) fn named_socket(flag: Option<PathBuf>) -> Option<PathBuf> {
    flag.or_else(|| variable("TWITCHER_CONTROL_SOCKET").map(PathBuf::from)).map(absolute)
}

pub(super) fn configured_socket(file: &SettingsFile) -> Option<PathBuf> {
    file.control.socket.clone().map(absolute)
}

/// Returns the default socket of a daemon that does not run as root.
pub(super) fn user_socket() -> Option<PathBuf> {
    Some(PathBuf::from(variable("XDG_RUNTIME_DIR")?).join("twitcher/control.sock"))
}

pub(super) fn mode(file: &SettingsFile) -> Result<u32, SettingsError> {
    let Some(text) = &file.control.mode else { return Ok(DEFAULT_MODE) };
    let digits = text.strip_prefix("0o").unwrap_or(text);
    // The parser takes a sign, too.
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if is_number && mode <= 0o777 => Ok(mode),
        Ok(_) | Err(_) => {
            Err(file.error("control.mode", format!("{text:?} is not a mode; write one such as \"0660\"")))
        }
    }
}

/// Looks the group up. The system may not know it yet, because directory services start late.
fn group(file: &SettingsFile) -> Result<Option<u32>, SettingsError> {
    let Some(name) = &file.control.group else { return Ok(None) };
    if let Some(number) = group_number(name) {
        return Ok(Some(number));
    }
    look_up(name).map(Some).map_err(|reason| file.error("control.group", reason))
}

/// Returns the number if the group is given by one. A sign or a leading zero makes it a name.
fn group_number(group: &str) -> Option<u32> {
    // To the kernel, the highest number is -1, which means "no change".
    group.parse().ok().filter(|number: &u32| *number < u32::MAX && number.to_string() == group)
}

fn look_up(group: &str) -> Result<u32, String> {
    match Group::from_name(group) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(format!("there is no group {group:?}")),
        Err(error) => Err(format!("group {group:?}: {error}")),
    }
}

/// Returns the address at which Prometheus reads the metrics, if the file contains one.
pub(super) fn metrics_address(file: &SettingsFile) -> Result<Option<SocketAddr>, SettingsError> {
    let Some(text) = &file.metrics.listen else { return Ok(None) };
    let wrong = |_| file.error("metrics.listen", format!("{text:?} is not ADDRESS:PORT"));
    text.parse().map(Some).map_err(wrong)
}
