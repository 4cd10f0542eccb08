//! Where operators reach the daemon: the control socket's place, and the address of its metrics.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, geteuid};
use serde::Deserialize;

use super::settings::{self, SettingsError};
use crate::control::server::Listeners;
use crate::control::socket::{self, Bound, Place, SocketError, SocketFile};
use crate::report::{Report, Reporter};

/// Where a root's daemon has its socket.
pub const CONTROL_SOCKET: &str = "/run/twitcher/control.sock";

/// Only who could do all that an action can may start one.
const MODE: u32 = 0o600;

/// `[control]` in `twitcher.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileControl {
    pub socket: Option<PathBuf>,
    /// Octal digits.
    pub mode: Option<String>,
    /// A name, or a number.
    pub group: Option<String>,
}

/// `[metrics]` in `twitcher.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileMetrics {
    /// ADDRESS:PORT
    pub listen: Option<String>,
}

/// What `run` is to serve.
#[derive(Debug)]
pub struct Serving {
    /// `None`: this user has no place for one.
    control: Option<Place>,
    metrics: Option<SocketAddr>,
}

impl Serving {
    pub fn new(
        flag: Option<PathBuf>,
        control: &FileControl,
        metrics: &FileMetrics,
        config_path: &Path,
    ) -> Result<Self, SettingsError> {
        let wrong = |key: &str, reason: String| settings::value_error(config_path, key, reason);
        let mode = control.mode.as_deref().map(octal).transpose().map_err(|e| wrong("control.mode", e))?;
        let group = control.group.as_deref().map(group).transpose().map_err(|e| wrong("control.group", e))?;
        let listen = metrics.listen.as_deref().map(|text| {
            let parsed = text.parse::<SocketAddr>();
            parsed.map_err(|_| wrong("metrics.listen", format!("{text:?} is not ADDRESS:PORT")))
        });
        let path = socket_path(flag, control);
        Ok(Self {
            control: path.map(|path| Place { path, mode: mode.unwrap_or(MODE), group }),
            metrics: listen.transpose()?,
        })
    }

    /// Makes all of it ready. What cannot be is said, and the daemon does its work without.
    pub fn open(&self, log: &Reporter) -> Open {
        let said =
            |trouble: String| log.report(&Report::Trouble { what: &format!("{trouble}; going on without") });
        let control = self
            .control
            .as_ref()
            .and_then(|place| socket::bind(place).map_err(|error: SocketError| said(error.to_string())).ok());
        let metrics = self.metrics.and_then(|address| {
            listen(address).map_err(|error| said(format!("metrics.listen {address}: {error}"))).ok()
        });
        let address = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
        let path = control.as_ref().map(Bound::path);
        if path.is_some() || address.is_some() {
            log.report(&Report::Serving { control: path, metrics: address });
        }
        let (control, file) = control.map(Bound::split).unzip();
        Open { listeners: Listeners { control, metrics }, file }
    }
}

/// What is served, and the socket's file, which goes with this.
pub struct Open {
    pub listeners: Listeners,
    pub file: Option<SocketFile>,
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The socket that the flag, TWITCHER_CONTROL_SOCKET or the file name, in this order, or else the default: root's in
/// /run, another user's where the system keeps such things of theirs.
pub fn socket_path(flag: Option<PathBuf>, control: &FileControl) -> Option<PathBuf> {
    let named = flag.or_else(|| settings::variable("TWITCHER_CONTROL_SOCKET").map(PathBuf::from));
    let named = named.or_else(|| control.socket.clone()).map(settings::absolute);
    named.or_else(|| match geteuid().is_root() {
        true => Some(CONTROL_SOCKET.into()),
        false => Some(PathBuf::from(settings::variable("XDG_RUNTIME_DIR")?).join("twitcher/control.sock")),
    })
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
