//! What the daemon and the client commands are told: flags win over the environment, the environment over
//! `twitcher.toml`, and that over the defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use super::credentials::{AuthSection, SaslSection, StoreCredentials, TlsSection};
use super::serving::{ControlSection, MetricsSection};
use super::stores::{self, StoreSection};
use crate::store::StoreUrl;
use crate::trust::root::{OpenError, OpenedFile, Root};
use crate::trust::{Trust, Untrusted, exposed};

pub const CONFIG_PATH: &str = "/etc/twitcher";
pub const STATE_DIR: &str = "/var/lib/twitcher";
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings file's name in the config directory.
pub const FILE: &str = "twitcher.toml";

/// `twitcher.toml`: what holds secrets or lists, and what is tedious to repeat as flags.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsFile {
    pub store: Option<String>,
    /// Seconds, integer or float.
    pub session_timeout: Option<f64>,
    /// Seconds, integer or float.
    pub stop_timeout: Option<f64>,
    pub state_dir: Option<PathBuf>,
    pub log_file: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    #[serde(default)]
    pub control: ControlSection,
    #[serde(default)]
    pub metrics: MetricsSection,
    /// Given to every ZooKeeper session of the default store, in this order.
    #[serde(default)]
    pub auth: Vec<AuthSection>,
    /// How the default store is spoken to, if it is ZooKeeper.
    pub tls: Option<TlsSection>,
    pub sasl: Option<SaslSection>,
    /// Further stores, by their names.
    #[serde(default)]
    pub stores: BTreeMap<String, StoreSection>,
    /// What is wrong with who can change and read it, where it is not refused for that.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("{}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {}", .path.display(), .source.reason_at(.path))]
    Untrusted { path: PathBuf, source: Untrusted },
    #[error("{origin}: {reason}")]
    Value { origin: String, reason: String },
    #[error(
        "{origin}: unknown store {name:?}; add [stores.{name}] to {}, or give a URL, zk://HOST:PORT,.../CHROOT or \
         dir:PATH{near}",
        .file.display()
    )]
    UnknownStore { origin: &'static str, name: String, file: PathBuf, near: String },
}

impl SettingsFile {
    /// Reads `twitcher.toml` in `config_path`; a missing one holds nothing.
    pub fn read(config_path: &Path, trust: Trust) -> Result<Self, SettingsError> {
        let path = config_path.join(FILE);
        let failed = |source| SettingsError::Read { path: path.clone(), source };
        let untrusted = |source| SettingsError::Untrusted { path: path.clone(), source };
        let opened = Root::open(config_path, trust).and_then(|root| root.read(Path::new(FILE)));
        let OpenedFile { mut file, stat, warning } = match opened {
            Ok(opened) => opened,
            Err(OpenError::System(error)) if is_missing(&error) => return Ok(Self::default()),
            // Nor can it be distrusted.
            Err(OpenError::Untrusted(_)) if fs::symlink_metadata(&path).is_err_and(|e| is_missing(&e)) => {
                return Ok(Self::default());
            }
            Err(OpenError::System(error)) => return Err(failed(error)),
            Err(OpenError::Untrusted(error)) => return Err(untrusted(error)),
        };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let mut file: Self = toml::from_str(&text).map_err(|error| parse_error(&path, &text, &error))?;
        file.warnings.extend(warning);
        if file.has_secrets()
            && let Some(exposed) = exposed(&path, stat.st_mode)
        {
            match trust {
                Trust::Root => return Err(untrusted(exposed)),
                Trust::Warned | Trust::Anyone => file.warnings.push(exposed.warning()),
            }
        }
        // Checked here, so that `check` finds what `run` would.
        stores::default(&file, config_path)?;
        file.timeout(config_path)?;
        file.stop_timeout(config_path)?;
        file.control.mode(config_path)?;
        file.metrics.address(config_path)?;
        stores::named(&file, None, config_path)?;
        Ok(file)
    }

    /// Whether nobody but its owner should be able to read it.
    fn has_secrets(&self) -> bool {
        self.credentials().has_secrets()
            || self.stores.values().any(|store| store.credentials().has_secrets())
    }

    /// To the default store.
    pub(super) fn credentials(&self) -> StoreCredentials<'_> {
        StoreCredentials { auth: &self.auth, tls: self.tls.as_ref(), sasl: self.sasl.as_ref() }
    }

    pub(super) fn store_url(&self, config_path: &Path) -> Result<Option<StoreUrl>, SettingsError> {
        let parse = |url: &String| url.parse().map_err(|error| value_error(config_path, "store", error));
        self.store.as_ref().map(parse).transpose()
    }

    pub(super) fn timeout(&self, config_path: &Path) -> Result<Option<Duration>, SettingsError> {
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

/// The file as a client reads it. What others than root can change does not say where root's data goes either, and for
/// that no client has a flag.
pub(super) fn of_client(config_path: &Path) -> Result<SettingsFile, SettingsError> {
    SettingsFile::read(config_path, Trust::of_this_process(false))
}

/// The file as a client may see it: it may hold secrets and be root's alone, and without it, a client is who it can be.
pub(super) fn readable(config_path: &Path) -> Result<SettingsFile, SettingsError> {
    match of_client(config_path) {
        Err(SettingsError::Read { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
            Ok(SettingsFile::default())
        }
        file => file,
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Says where, by the key if it is one, but quotes neither the line nor a value: it may be a secret.
fn parse_error(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let message = without_values(error.message());
    let key = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
    // In a text of several lines there is no key. An unknown one is named already.
    let is_in_text = ["\"\"\"", "'''"].iter().any(|quotes| before.matches(quotes).count() % 2 == 1);
    let key = key.filter(|_| !is_in_text);
    let key = key.filter(|key| is_key(key) && !message.contains(&format!("`{key}`")));
    let key = key.map_or(String::new(), |key| format!(": {key}"));
    let origin = format!("{}:{line}:{column}{key}", path.display());
    SettingsError::Value { origin, reason: message }
}

/// A parser's message without what it quotes of the file, but for names that look like keys.
fn without_values(message: &str) -> String {
    let (found, expected) = message.rsplit_once(", expected").unwrap_or((message, ""));
    let quote = |c: char| c == '"' || c == '`';
    let found = match (found.find(quote), found.rfind(quote)) {
        (Some(first), Some(last)) if first < last => match &found[first + 1..last] {
            key if found.contains("field") && is_key(key) => found.to_owned(),
            _ => format!("{}{}", found[..first].trim_end(), &found[last + 1..]),
        },
        _ => found.to_owned(),
    };
    if expected.is_empty() { found } else { format!("{found}, expected{expected}") }
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

pub(super) fn value_error(config_path: &Path, key: &str, reason: impl ToString) -> SettingsError {
    let origin = format!("{}: {key}", config_path.join(FILE).display());
    SettingsError::Value { origin, reason: reason.to_string() }
}

/// The config directory, absolute: `flag`, else `TWITCHER_CONFIG_PATH`, else the default.
pub fn config_path(flag: Option<PathBuf>) -> PathBuf {
    let path = flag.or_else(|| variable("TWITCHER_CONFIG_PATH").map(PathBuf::from));
    absolute(path.unwrap_or_else(|| CONFIG_PATH.into()))
}

/// An environment variable; an empty one is as good as none.
pub(super) fn variable(name: &str) -> Option<OsString> {
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

pub(super) fn positive(seconds: f64) -> Result<Duration, String> {
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
        let error = SettingsFile::read(dir.path(), Trust::Anyone).unwrap_err().to_string();
        assert!(
            error.contains("twitcher.toml") && error.contains("stor") && error.contains("store"),
            "{error}"
        );
    }

    #[test]
    fn no_error_quotes_what_may_be_a_secret() {
        for text in [
            "auth = \"user:secret\"",
            "auth = [\"digest:user:secret\"]",
            "[[auth]]\nscheme = \"digest\"\ncredentials = [\"user:\\\"secret\"]",
            "[[auth]]\n\"user:secret\" = 1",
            "[stores.eu]\nurl = \"zk://a\"\nauth = \"secret\"",
            "[stores.eu]\nurl = \"zk://user:secret@host\"",
            "store = \"zk://user:secret@host\"",
            "[sasl]\nusername = \"a\"\npassword = [\"secret\"]",
            "[sasl]\nusername = \"a\"\npassword = { credentials = \"secret\" }",
            "[sasl]\nusername = \"a\"\npassword = { credential = \"b\", x = \"secret\" }",
            "[sasl]\nusername = \"a\"\npasswort = \"secret\"",
            "sasl = \"twitcher:secret\"",
            "[tls]\nca = \"/ca\"\nkey = { x = \"secret\" }",
            "auth = \"user:secret, expected more\"",
            "[sasl]\nusername = \"a\"\npassword = \"\"\"\nsecret=\\q\"\"\"",
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), text).unwrap();
            let error = SettingsFile::read(dir.path(), Trust::Anyone).unwrap_err().to_string();
            assert!(error.contains("twitcher.toml") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_missing_settings_file_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(SettingsFile::read(dir.path(), Trust::Anyone).unwrap().store.is_none());
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
            SettingsFile::read(dir.path(), Trust::Anyone).unwrap();
        }
        let file: SettingsFile = toml::from_str(&in_force).unwrap();
        assert_eq!((file.store.as_deref(), file.auth.len()), (Some(stores::STORE), 1));
        assert!(file.tls.is_some() && file.sasl.is_some());
        let auths: Vec<_> = file.stores.iter().map(|(name, store)| (&**name, store.auth.len())).collect();
        assert_eq!(auths, [("eu", 1), ("local", 0)]);
        assert_eq!(file.session_timeout, Some(SESSION_TIMEOUT.as_secs_f64()));
        assert_eq!(file.stop_timeout, Some(STOP_TIMEOUT.as_secs_f64()));
        assert_eq!(file.state_dir.as_deref(), Some(Path::new(STATE_DIR)));
        assert_eq!(file.control.socket.as_deref(), Some(Path::new(CONTROL_SOCKET)));
        let default = ControlSection::default().mode(Path::new("")).unwrap();
        assert_eq!(file.control.mode(Path::new("")).unwrap(), default);
        assert_eq!(file.control.group(Path::new("")).unwrap(), Some(0));
        assert!(file.metrics.address(Path::new("")).unwrap().is_some());
    }
}
