//! What the daemon and the client commands are told: flags win over the environment, the environment over
//! `twitcher.toml`, and that over the defaults.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use super::StoreArgs;
use super::serving::{FileControl, FileMetrics};
use crate::store::{Auth, StoreSettings, StoreUrl};

pub const CONFIG_PATH: &str = "/etc/twitcher";
pub const STATE_DIR: &str = "/var/lib/twitcher";
pub const STORE: &str = "zk://localhost:2181";
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings file's name in the config directory.
pub const FILE: &str = "twitcher.toml";

/// `twitcher.toml`: what holds secrets or lists, and what is tedious to repeat as flags.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub store: Option<String>,
    /// Seconds, integer or float.
    pub session_timeout: Option<f64>,
    /// Seconds, integer or float.
    pub stop_timeout: Option<f64>,
    pub state_dir: Option<PathBuf>,
    pub log_file: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    #[serde(default)]
    pub control: FileControl,
    #[serde(default)]
    pub metrics: FileMetrics,
    /// Given to every ZooKeeper session, in this order.
    #[serde(default)]
    pub auth: Vec<FileAuth>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileAuth {
    pub scheme: String,
    pub credentials: String,
}

#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("{}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {source}", .path.display())]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{origin}: {reason}")]
    Value { origin: String, reason: String },
}

impl File {
    /// Reads `twitcher.toml` in `config_path`; a missing one holds nothing.
    pub fn read(config_path: &Path) -> Result<Self, SettingsError> {
        let path = config_path.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            Err(source) => return Err(SettingsError::Read { path, source }),
        };
        let file: Self = toml::from_str(&text)
            .map_err(|source| SettingsError::Parse { path, source: Box::new(source) })?;
        // Checked here, so that `check` finds what `run` would.
        file.store_url(config_path)?;
        file.timeout(config_path)?;
        file.stop_timeout(config_path)?;
        file.control.mode(config_path)?;
        file.metrics.address(config_path)?;
        Ok(file)
    }

    /// Whether others than its owner can read the secrets in it.
    pub fn exposes_secrets(&self, config_path: &Path) -> bool {
        !self.auth.is_empty()
            && fs::metadata(config_path.join(FILE)).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
    }

    fn store_url(&self, config_path: &Path) -> Result<Option<StoreUrl>, SettingsError> {
        let parse = |url: &String| url.parse().map_err(|error| value_error(config_path, "store", error));
        self.store.as_ref().map(parse).transpose()
    }

    fn timeout(&self, config_path: &Path) -> Result<Option<Duration>, SettingsError> {
        let check =
            |value| positive(value).map_err(|error| value_error(config_path, "session_timeout", error));
        self.session_timeout.map(check).transpose()
    }

    pub fn stop_timeout(&self, config_path: &Path) -> Result<Option<Duration>, SettingsError> {
        let check =
            |value| not_negative(value).map_err(|error| value_error(config_path, "stop_timeout", error));
        self.stop_timeout.map(check).transpose()
    }
}

/// The file as a client may see it: it may hold secrets and be root's alone, and without it, a client is who it can be.
pub fn readable(config_path: &Path) -> Result<File, SettingsError> {
    match File::read(config_path) {
        Err(SettingsError::Read { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
            Ok(File::default())
        }
        file => file,
    }
}

pub fn value_error(config_path: &Path, key: &str, reason: impl ToString) -> SettingsError {
    let origin = format!("{}: {key}", config_path.join(FILE).display());
    SettingsError::Value { origin, reason: reason.to_string() }
}

/// The config directory, absolute: `flag`, else `TWITCHER_CONFIG_PATH`, else the default.
pub fn config_path(flag: Option<PathBuf>) -> PathBuf {
    let path = flag.or_else(|| variable("TWITCHER_CONFIG_PATH").map(PathBuf::from));
    absolute(path.unwrap_or_else(|| CONFIG_PATH.into()))
}

/// The store that flags, environment and `file` name, in this order.
pub fn store(args: StoreArgs, file: File, config_path: &Path) -> Result<StoreSettings, SettingsError> {
    let url = match args.store.or(args.zkservers) {
        Some(url) => url,
        None => match variable("TWITCHER_STORE") {
            Some(url) => parse_url("TWITCHER_STORE", &url.to_string_lossy())?,
            None => match file.store_url(config_path)? {
                Some(url) => url,
                None => parse_url("default store", STORE)?,
            },
        },
    };
    let url = match url {
        StoreUrl::Directory(path) => StoreUrl::Directory(absolute(path)),
        StoreUrl::ZooKeeper { .. } => url,
    };
    let session_timeout = args.session_timeout.or(file.timeout(config_path)?).unwrap_or(SESSION_TIMEOUT);
    let auth = file.auth.into_iter().map(|FileAuth { scheme, credentials }| Auth { scheme, credentials });
    Ok(StoreSettings { url, auth: auth.collect(), session_timeout })
}

fn parse_url(origin: &str, url: &str) -> Result<StoreUrl, SettingsError> {
    url.parse().map_err(|error: crate::store::StoreUrlError| SettingsError::Value {
        origin: origin.to_owned(),
        reason: error.to_string(),
    })
}

/// An environment variable; an empty one is as good as none.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The daemon leaves its working directory, so it must not depend on it.
pub fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// Parses a number of seconds above zero.
pub fn seconds(text: &str) -> Result<Duration, String> {
    positive(text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?)
}

/// Parses a number of seconds, which may be none.
pub fn grace(text: &str) -> Result<Duration, String> {
    not_negative(text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?)
}

fn not_negative(seconds: f64) -> Result<Duration, String> {
    if seconds == 0.0 { Ok(Duration::ZERO) } else { positive(seconds) }
}

fn positive(seconds: f64) -> Result<Duration, String> {
    match Duration::try_from_secs_f64(seconds) {
        // ZooKeeper carries the timeout as milliseconds in a signed 32-bit integer.
        Ok(duration) if !duration.is_zero() && duration.as_millis() <= i32::MAX as u128 => Ok(duration),
        Ok(_) | Err(_) => Err(format!("{seconds} is not above 0 and below {} seconds", i32::MAX / 1000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::serving::CONTROL_SOCKET;

    #[test]
    fn seconds_are_above_zero_and_finite() {
        assert_eq!(seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "nan", "inf", "1e300", "ten", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_settings_file_with_an_unknown_key_names_file_and_key() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "stor = \"dir:/x\"\n").unwrap();
        let error = File::read(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("twitcher.toml") && error.contains("stor") && error.contains("store"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_settings_file_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(File::read(dir.path()).unwrap().store.is_none());
    }

    #[test]
    fn the_shipped_settings_file_parses_as_it_is_and_with_every_line_in_force() {
        let shipped = include_str!("../../etc/twitcher.toml");
        let in_force: String = shipped
            .lines()
            .map(|line| {
                line.strip_prefix('#')
                    .filter(|rest| !rest.is_empty() && !rest.starts_with(' '))
                    .unwrap_or(line)
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        for text in [shipped, &in_force] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), text).unwrap();
            File::read(dir.path()).unwrap();
        }
        let file: File = toml::from_str(&in_force).unwrap();
        assert_eq!((file.store.as_deref(), file.auth.len()), (Some(STORE), 1));
        assert_eq!(file.session_timeout, Some(SESSION_TIMEOUT.as_secs_f64()));
        assert_eq!(file.stop_timeout, Some(STOP_TIMEOUT.as_secs_f64()));
        assert_eq!(file.state_dir.as_deref(), Some(Path::new(STATE_DIR)));
        assert_eq!(file.control.socket.as_deref(), Some(Path::new(CONTROL_SOCKET)));
        let default = FileControl::default().mode(Path::new("")).unwrap();
        assert_eq!(file.control.mode(Path::new("")).unwrap(), default);
        assert_eq!(file.control.group(Path::new("")).unwrap(), Some(0));
        assert!(file.metrics.address(Path::new("")).unwrap().is_some());
    }
}
