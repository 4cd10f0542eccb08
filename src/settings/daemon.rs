//! The settings of `twitcher run`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::control::{self, ControlSettings};
use super::environment::absolute;
use super::error::SettingsError;
use super::file::SettingsFile;
use super::store_choice::StoreFlags;
use super::stores;
use crate::model::{LogFormat, StoreName};
use crate::store::StoreSettings;

pub(super) const STATE_DIR: &str = "/var/lib/twitcher";
/// As many processes as a host of some cores and some gigabytes bears, and as the usual limit on descriptors
/// (1,024, three an action) allows.
pub(super) const MAX_ACTIONS: NonZeroU32 = NonZeroU32::new(256).unwrap();
/// Some sixty updates of the largest ZooKeeper node, 1 MiB.
pub(super) const MAX_WAITING_BYTES: u64 = 64 << 20;
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The default of the first process of a container. Docker and Podman kill a container 10 s after SIGTERM,
/// and actions that ignore SIGTERM have 5 s: so the daemon ends in order after 9 s at most.
const STOP_TIMEOUT_OF_PID_1: Duration = Duration::from_secs(4);

/// The flags of the daemon; `None` if a flag is not given.
#[derive(Clone, Debug, Default)]
pub struct DaemonFlags {
    pub store: StoreFlags,
    pub state_dir: Option<PathBuf>,
    pub log_file: Option<PathBuf>,
    pub log_format: Option<LogFormat>,
    pub pid_file: Option<PathBuf>,
    pub control_socket: Option<PathBuf>,
    pub stop_timeout: Option<Duration>,
}

/// The daemon's settings. All paths are absolute.
pub struct DaemonSettings {
    pub default_store: StoreSettings,
    pub named_stores: BTreeMap<StoreName, StoreSettings>,
    /// Directory of the ledger.
    pub state_dir: PathBuf,
    pub log_file: Option<PathBuf>,
    pub log_format: LogFormat,
    pub pid_file: Option<PathBuf>,
    pub control: ControlSettings,
    /// The address at which Prometheus reads the metrics.
    pub metrics: Option<SocketAddr>,
    /// How long running actions may take to end by themselves when the daemon stops.
    pub stop_timeout: Duration,
    /// The largest number of actions that run at once. `None` is no limit.
    pub max_actions: Option<usize>,
    /// The largest number of bytes that wait in all watches together. `None` is no limit.
    pub max_waiting_bytes: Option<u64>,
    /// The limit on the memory of each store's process in bytes. `None` is no limit.
    pub store_memory: Option<u64>,
    /// The most bytes that the cache may have on the disk. 0 is no cache.
    pub cache_size: u64,
    /// How often the configs are looked at without a sign that they changed.
    pub rescan_interval: Duration,
}

impl DaemonSettings {
    pub fn new(flags: DaemonFlags, file: &SettingsFile) -> Result<Self, SettingsError> {
        let (default_store, named_stores) = stores::daemon_stores(&flags.store, file)?;
        let max_actions = file.max_actions().unwrap_or(Some(MAX_ACTIONS));
        let path = |flag: Option<PathBuf>, key: &Option<PathBuf>| flag.or_else(|| key.clone()).map(absolute);
        Ok(Self {
            default_store,
            named_stores,
            state_dir: path(flags.state_dir, &file.state_dir).unwrap_or_else(|| STATE_DIR.into()),
            log_file: path(flags.log_file, &file.log_file),
            log_format: flags.log_format.or(file.log_format()?).unwrap_or_default(),
            pid_file: path(flags.pid_file, &file.pid_file),
            control: ControlSettings::new(flags.control_socket, file)?,
            metrics: control::metrics_address(file)?,
            max_actions: max_actions.map(|limit| limit.get() as usize),
            stop_timeout: flags.stop_timeout.or(file.stop_timeout()?).unwrap_or_else(default_stop_timeout),
            max_waiting_bytes: Some(file.max_waiting_bytes.unwrap_or(MAX_WAITING_BYTES))
                .filter(|limit| *limit > 0),
            store_memory: file.store_memory()?,
            cache_size: file.cache_size()?,
            rescan_interval: file.rescan_interval()?,
        })
    }
}

fn default_stop_timeout() -> Duration {
    if std::process::id() == 1 { STOP_TIMEOUT_OF_PID_1 } else { STOP_TIMEOUT }
}
