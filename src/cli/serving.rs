//! Where operators reach the daemon: the control socket's place, and the address of its metrics.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, geteuid};
use serde::Deserialize;

use super::settings::{self, SettingsError};
use crate::control::routes::Routes;
use crate::control::server::{self, Listeners};
use crate::control::socket::{self, BoundSocket, SocketError, SocketFile, SocketOptions};
use crate::report::{Report, Reporter};

/// Where a root's daemon has its socket.
pub const CONTROL_SOCKET: &str = "/run/twitcher/control.sock";

/// Only who could do all that an action can may start one.
const MODE: u32 = 0o600;

/// What of a mode is for the group.
const GROUP: u32 = 0o070;

/// `[control]` in `twitcher.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSection {
    pub socket: Option<PathBuf>,
    /// Octal digits.
    pub mode: Option<String>,
    /// A name, or a number.
    pub group: Option<String>,
}

/// `[metrics]` in `twitcher.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSection {
    /// ADDRESS:PORT
    pub listen: Option<String>,
}

impl ControlSection {
    pub fn mode(&self, config_path: &Path) -> Result<u32, SettingsError> {
        let mode = self.mode.as_deref().map_or(Ok(MODE), octal);
        mode.map_err(|reason| settings::value_error(config_path, "control.mode", reason))
    }

    /// Asks the system, which may not know it yet: directory services come up late. `None`: the daemon's own.
    pub fn group(&self, config_path: &Path) -> Result<Option<u32>, SettingsError> {
        let group = self.group.as_deref().map(group).transpose();
        group.map_err(|reason| settings::value_error(config_path, "control.group", reason))
    }
}

impl MetricsSection {
    pub fn address(&self, config_path: &Path) -> Result<Option<SocketAddr>, SettingsError> {
        let Some(text) = &self.listen else { return Ok(None) };
        let wrong =
            |_| settings::value_error(config_path, "metrics.listen", format!("{text:?} is not ADDRESS:PORT"));
        text.parse().map(Some).map_err(wrong)
    }
}

/// What `run` is to serve.
#[derive(Debug, Default)]
pub struct Serving {
    /// `None`: this user has no place for one.
    control: Option<SocketOptions>,
    metrics: Option<SocketAddr>,
    /// What is wrong and does not keep the daemon from starting.
    unknown_group: Option<SettingsError>,
}

impl Serving {
    pub fn new(
        flag: Option<PathBuf>,
        control: &ControlSection,
        metrics: &MetricsSection,
        config_path: &Path,
    ) -> Result<Self, SettingsError> {
        let mode = control.mode(config_path)?;
        let (group, mode, unknown_group) = match control.group(config_path) {
            Ok(group) => (group, mode, None),
            // What was meant for that group is not for the daemon's own.
            Err(error) => (None, mode & !GROUP, Some(error)),
        };
        let control = socket_path(flag, control).map(|path| SocketOptions { path, mode, group });
        Ok(Self { control, metrics: metrics.address(config_path)?, unknown_group })
    }

    /// Where the control socket is to be.
    pub fn socket(&self) -> Option<&Path> {
        self.control.as_ref().map(|options| options.path.as_path())
    }

    /// Serves all of it, from a thread of its own. What cannot be is said, and the daemon does its work without. What is
    /// returned goes when the daemon ends.
    pub fn start(&self, log: &Reporter, routes: Routes) -> Option<SocketFile> {
        let said = |what: &str| log.report(&Report::NotServing { what });
        if let Some(error) = &self.unknown_group {
            said(&format!("{error}; the control socket is for no group until a restart"));
        }
        let without = |trouble: String| said(&format!("{trouble}; going on without"));
        let control = self.control.as_ref().and_then(|options| {
            socket::bind(options).map_err(|error: SocketError| without(error.to_string())).ok()
        });
        let metrics = self.metrics.and_then(|address| {
            listen(address).map_err(|error| without(format!("metrics.listen {address}: {error}"))).ok()
        });
        let address = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
        let (control, file) = control.map(BoundSocket::split).unzip();
        if control.is_none() && metrics.is_none() {
            if self.control.is_none() {
                log.report(&Report::Serving { control: None, metrics: None });
            }
            return None;
        }
        if let Err(error) = server::start(Listeners { control, metrics }, routes) {
            without(format!("control socket and metrics: {error}"));
            return None;
        }
        log.report(&Report::Serving { control: file.as_ref().map(SocketFile::path), metrics: address });
        file
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Where the daemon puts its socket: where the flag, TWITCHER_CONTROL_SOCKET or the file say, in this order, or else
/// root's in /run, another user's where the system keeps such things of theirs.
fn socket_path(flag: Option<PathBuf>, control: &ControlSection) -> Option<PathBuf> {
    let named = named(flag).or_else(|| control.socket.clone().map(settings::absolute));
    named.or_else(|| if geteuid().is_root() { Some(CONTROL_SOCKET.into()) } else { own_socket() })
}

/// Where a command looks for the daemon's socket. Users without a daemon of their own mean the machine's.
pub fn daemon_socket(flag: Option<PathBuf>) -> Result<PathBuf, SettingsError> {
    if let Some(named) = named(flag) {
        // Then nothing in the file matters, not even a mistake.
        return Ok(named);
    }
    let file = settings::readable(&settings::config_path(None))?;
    let own = || own_socket().filter(|path| !geteuid().is_root() && path.exists());
    let configured = file.control.socket.map(settings::absolute);
    Ok(configured.or_else(own).unwrap_or_else(|| CONTROL_SOCKET.into()))
}

fn named(flag: Option<PathBuf>) -> Option<PathBuf> {
    let named = flag.or_else(|| settings::variable("TWITCHER_CONTROL_SOCKET").map(PathBuf::from));
    named.map(settings::absolute)
}

/// Of a daemon that is not root's.
fn own_socket() -> Option<PathBuf> {
    Some(PathBuf::from(settings::variable("XDG_RUNTIME_DIR")?).join("twitcher/control.sock"))
}

fn octal(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        Ok(_) | Err(_) => Err(format!("{text:?} is no mode; write one such as \"0660\"")),
    }
}

fn group(name: &str) -> Result<u32, String> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(format!("there is no group {name:?}")),
        Err(error) => Err(format!("group {name:?}: {error}")),
    }
}
