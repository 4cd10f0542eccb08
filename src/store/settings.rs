//! The settings of a store, of whichever kind.

use std::fmt;
use std::time::Duration;

use super::backend::{Backend, Capabilities, SettingError};
use super::channel::StoreChannel;
use super::directory::{self, DirectorySettings};
use super::zookeeper::{self, ZooKeeperSettings};

/// Where a store is and how to get in. `Display` gives its URL.
#[derive(Clone, Debug)]
pub enum StoreSettings {
    ZooKeeper(ZooKeeperSettings),
    Directory(DirectorySettings),
}

impl StoreSettings {
    fn backend(&self) -> &dyn Backend {
        match self {
            Self::ZooKeeper(settings) => settings,
            Self::Directory(settings) => settings,
        }
    }

    /// Opens a channel to the store. Must be called within a `LocalSet` on a current-thread runtime.
    ///
    /// A store that cannot be reached is no error: `Disconnected` reports it, and the store keeps trying.
    pub fn open(&self) -> StoreChannel {
        let (channel, end) = StoreChannel::new();
        match self {
            Self::ZooKeeper(settings) => zookeeper::start(settings.clone(), end),
            Self::Directory(settings) => directory::start(settings.clone(), end),
        }
        channel
    }

    /// Returns how long a command may wait for the store.
    pub fn session_timeout(&self) -> Duration {
        self.backend().session_timeout()
    }

    /// States what the store can do.
    pub fn capabilities(&self) -> Capabilities {
        self.backend().capabilities()
    }

    /// Returns the identity that [`StoreEvent::Connected`](super::StoreEvent::Connected) will report, or
    /// `None` if it is not known before.
    pub fn identity(&self) -> Option<String> {
        self.backend().identity()
    }

    /// Checks whether the credentials that these settings name can be read here and now.
    pub fn check_credentials(&self) -> Result<(), SettingError> {
        self.backend().check_credentials()
    }

    /// Checks whether the files that these settings name are good for a connection.
    pub fn check_files(&self) -> Result<(), SettingError> {
        self.backend().check_files()
    }
}

impl fmt::Display for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.backend().url().fmt(f)
    }
}
