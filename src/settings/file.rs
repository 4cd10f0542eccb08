//! The keys and sections of `twitcher.toml`. twitcher.toml(5) explains them to users.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::commits_section::CommitsSection;
use super::duration;
use super::error::SettingsError;
use super::places::Places;
use super::secret_setting::SecretSetting;
use super::serve_section::ServeSection;
use crate::model::LogFormat;

/// The name of the file in the config directory.
pub(super) const FILE: &str = "twitcher.toml";

const RESCAN_INTERVAL: Duration = Duration::from_secs(60);

/// 100,000 watches take some 60 MiB, and the largest tree twice its 64 MiB.
pub const STORE_MEMORY: u64 = 256 << 20;

/// The address space of a process that has just started is half of that.
const MIN_STORE_MEMORY: u64 = 64 << 20;

/// 100,000 nodes of 2 KiB each, or 256 of the largest that a ZooKeeper has.
pub const CACHE_SIZE: u64 = 256 << 20;

/// The largest node of a ZooKeeper.
const MIN_CACHE_SIZE: u64 = 1 << 20;

/// A scan of 10,000 files takes a tenth of a second.
const MIN_RESCAN: Duration = Duration::from_secs(1);

/// An hour. Without any scan, a lost event would never be noticed.
const MAX_RESCAN: Duration = Duration::from_secs(60 * 60);

/// The file as a whole. A missing file counts as empty. Durations are in seconds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsFile {
    /// URL of the default store.
    pub(super) store: Option<String>,
    session_timeout: Option<f64>,
    #[serde(default)]
    pub(super) readonly: bool,
    stop_timeout: Option<f64>,
    max_actions: Option<u32>,
    /// 0 is no limit.
    pub(super) max_waiting_bytes: Option<u64>,
    /// In bytes. 0 is no limit.
    store_memory: Option<u64>,
    /// In bytes. 0 is no cache.
    cache_size: Option<u64>,
    rescan_interval: Option<f64>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) log_file: Option<PathBuf>,
    log_format: Option<String>,
    pub(super) pid_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) control: ControlSection,
    #[serde(default)]
    pub(super) metrics: MetricsSection,
    pub(super) serve: Option<ServeSection>,
    pub(super) commits: Option<CommitsSection>,
    /// `[[auth]]`, `[tls]`, `[sasl]` and `[etcd]` of the default store.
    #[serde(default)]
    auth: Vec<AuthSection>,
    tls: Option<TlsSection>,
    sasl: Option<SaslSection>,
    etcd: Option<EtcdSection>,
    /// The other stores, by name.
    #[serde(default)]
    pub(super) stores: BTreeMap<String, StoreSection>,
    #[serde(skip)]
    pub(super) path: PathBuf,
    /// Where the keys stand.
    #[serde(skip)]
    pub(super) places: Places,
    /// Warnings that users other than root can change the file, or users other than its owner can access its
    /// secrets, if that is not an error.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// `[stores.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a block [stores.NAME] with its url")]
pub(super) struct StoreSection {
    pub(super) url: String,
    pub(super) session_timeout: Option<f64>,
    #[serde(default)]
    pub(super) readonly: bool,
    #[serde(default)]
    auth: Vec<AuthSection>,
    tls: Option<TlsSection>,
    sasl: Option<SaslSection>,
    etcd: Option<EtcdSection>,
}

/// `[[auth]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a block [[auth]]")]
pub(super) struct AuthSection {
    pub(super) scheme: String,
    pub(super) credentials: SecretSetting,
}

/// `[tls]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a block [tls]")]
pub(super) struct TlsSection {
    pub(super) ca: PathBuf,
    pub(super) cert: Option<PathBuf>,
    /// An inline value is the path of a file, not the key itself.
    pub(super) key: Option<SecretSetting>,
}

/// `[sasl]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a block [sasl]")]
pub(super) struct SaslSection {
    pub(super) username: String,
    pub(super) password: SecretSetting,
}

/// `[etcd]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a block [etcd]")]
pub(super) struct EtcdSection {
    pub(super) username: String,
    pub(super) password: SecretSetting,
}

/// `[control]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a block [control]")]
pub(super) struct ControlSection {
    pub(super) socket: Option<PathBuf>,
    /// Octal digits.
    pub(super) mode: Option<String>,
    /// Name or number.
    pub(super) group: Option<String>,
}

/// `[metrics]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a block [metrics]")]
pub(super) struct MetricsSection {
    /// ADDRESS:PORT
    pub(super) listen: Option<String>,
}

/// The sections of one store, which define how to connect to it, and as which user.
#[derive(Clone, Copy)]
pub(super) struct StoreSections<'a> {
    pub(super) auth: &'a [AuthSection],
    pub(super) tls: Option<&'a TlsSection>,
    pub(super) sasl: Option<&'a SaslSection>,
    pub(super) etcd: Option<&'a EtcdSection>,
}

impl SettingsFile {
    pub(super) fn empty(config_path: &Path) -> Self {
        Self { path: config_path.join(FILE), ..Self::default() }
    }

    pub(super) fn sections(&self) -> StoreSections<'_> {
        StoreSections {
            auth: &self.auth,
            tls: self.tls.as_ref(),
            sasl: self.sasl.as_ref(),
            etcd: self.etcd.as_ref(),
        }
    }

    pub(super) fn session_timeout(&self) -> Result<Option<Duration>, SettingsError> {
        let timeout = self.session_timeout.map(duration::positive).transpose();
        timeout.map_err(|reason| self.error("session_timeout", reason))
    }

    pub(super) fn stop_timeout(&self) -> Result<Option<Duration>, SettingsError> {
        let timeout = self.stop_timeout.map(duration::not_negative).transpose();
        timeout.map_err(|reason| self.error("stop_timeout", reason))
    }

    /// Returns the outer `None` without the key, and the inner one for 0, which is no limit.
    pub(super) fn max_actions(&self) -> Option<Option<NonZeroU32>> {
        self.max_actions.map(NonZeroU32::new)
    }

    /// Returns the limit on the memory of each store's process; `None` is no limit.
    pub(super) fn store_memory(&self) -> Result<Option<u64>, SettingsError> {
        match self.store_memory {
            None => Ok(Some(STORE_MEMORY)),
            Some(0) => Ok(None),
            Some(bytes) if bytes < MIN_STORE_MEMORY => {
                let reason = format!(
                    "{bytes} is less than {MIN_STORE_MEMORY} bytes (64 MiB), with which no store works"
                );
                Err(self.error("store_memory", reason))
            }
            Some(bytes) => Ok(Some(bytes)),
        }
    }

    /// Returns the most bytes that the cache may have on the disk; 0 is no cache.
    pub(super) fn cache_size(&self) -> Result<u64, SettingsError> {
        match self.cache_size {
            None => Ok(CACHE_SIZE),
            Some(bytes @ 1..MIN_CACHE_SIZE) => {
                let reason = format!(
                    "{bytes} is less than {MIN_CACHE_SIZE} bytes (1 MiB), too little for a node; 0: no cache"
                );
                Err(self.error("cache_size", reason))
            }
            Some(bytes) => Ok(bytes),
        }
    }

    /// Returns how often configs and directory stores are looked at without a sign that they changed.
    pub(super) fn rescan_interval(&self) -> Result<Duration, SettingsError> {
        let Some(seconds) = self.rescan_interval else { return Ok(RESCAN_INTERVAL) };
        let interval = duration::positive(seconds);
        let interval = interval.ok().filter(|interval| (MIN_RESCAN..=MAX_RESCAN).contains(interval));
        interval.ok_or_else(|| {
            let (min, max) = (MIN_RESCAN.as_secs(), MAX_RESCAN.as_secs());
            self.error("rescan_interval", format!("{seconds} is not between {min} and {max} seconds"))
        })
    }

    pub(super) fn log_format(&self) -> Result<Option<LogFormat>, SettingsError> {
        let Some(name) = &self.log_format else { return Ok(None) };
        match LogFormat::named(name) {
            Some(format) => Ok(Some(format)),
            None => {
                let names = LogFormat::NAMES.map(|name| format!("{name:?}")).join(" or ");
                Err(self.error("log_format", format!("{name:?} is not {names}")))
            }
        }
    }

    /// Returns true if the file holds a secret, so that only its owner should have access.
    pub(super) fn has_secrets(&self) -> bool {
        let others = self.stores.values().map(StoreSection::sections);
        others.chain([self.sections()]).any(StoreSections::have_secrets)
            || self.serve.as_ref().is_some_and(ServeSection::has_secrets)
            || self.commits.as_ref().is_some_and(CommitsSection::has_secrets)
    }

    /// Returns the error for a wrong value of `key`.
    pub(super) fn error(&self, key: &str, reason: impl ToString) -> SettingsError {
        let place = self.places.find(key).map(|(line, column)| format!(":{line}:{column}"));
        let origin = format!("{}{}: {key}", self.path.display(), place.unwrap_or_default());
        SettingsError::Value { origin, reason: reason.to_string() }
    }
}

impl StoreSection {
    pub(super) fn sections(&self) -> StoreSections<'_> {
        StoreSections {
            auth: &self.auth,
            tls: self.tls.as_ref(),
            sasl: self.sasl.as_ref(),
            etcd: self.etcd.as_ref(),
        }
    }
}

impl StoreSections<'_> {
    fn have_secrets(self) -> bool {
        self.auth.iter().any(|auth| auth.credentials.is_inline())
            || self.sasl.is_some_and(|sasl| sasl.password.is_inline())
            || self.etcd.is_some_and(|etcd| etcd.password.is_inline())
    }
}
