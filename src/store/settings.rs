//! The settings of a store of any kind.

use std::fmt;
use std::ops::Deref;

use super::backend::Backend;
use super::channel::StoreChannel;
use super::directory::{self, DirectorySettings};
use super::zookeeper::{self, ZooKeeperSettings};

/// Where a store is and how to get in. `Display` gives its URL. Everything else that the kinds of stores have
/// in common is a method of [`Backend`].
#[derive(Clone, Debug)]
pub enum StoreSettings {
    ZooKeeper(ZooKeeperSettings),
    Directory(DirectorySettings),
}

impl StoreSettings {
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
}

impl Deref for StoreSettings {
    type Target = dyn Backend;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::ZooKeeper(settings) => settings,
            Self::Directory(settings) => settings,
        }
    }
}

impl fmt::Display for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url().fmt(f)
    }
}
