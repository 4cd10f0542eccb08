//! The settings of a store of any kind.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::channel::{StoreChannel, StoreEnd};
use super::client_error::ClientError;
use super::directory::{self, DirectorySettings};
use super::etcd::{self, EtcdSettings};
use super::login_source::{LoginSource, StoreLogin};
use super::question::{Apart, LoginReply};
use super::zookeeper::{self, ZooKeeperSettings};
use crate::model::NodePath;

/// Where a store is and how to get in. `Display` gives its URL. Everything else that the kinds of stores have
/// in common is a method of [`Backend`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum StoreSettings {
    ZooKeeper(ZooKeeperSettings),
    Etcd(EtcdSettings),
    Directory(DirectorySettings),
}

impl StoreSettings {
    /// Opens a channel to the store. Must be called within a `LocalSet` on a current-thread runtime.
    ///
    /// A store that cannot be reached is no error: `Disconnected` reports it, and the store keeps trying.
    pub fn open(&self) -> StoreChannel {
        let (channel, end) = StoreChannel::new();
        self.serve(None, end);
        channel
    }

    /// Starts the tasks that serve `end`, as [`Self::open`] does. In a process of its own, the store asks
    /// the daemon for what that process may not do.
    pub(super) fn serve(&self, apart: Option<Apart>, end: StoreEnd) {
        match self {
            Self::ZooKeeper(settings) => {
                let login = apart.map_or(LoginSource::Here, |apart| LoginSource::Daemon(apart.questions));
                zookeeper::start(settings.clone(), login, end);
            }
            Self::Etcd(settings) => {
                let login = apart.map_or(LoginSource::Here, |apart| LoginSource::Daemon(apart.questions));
                etcd::start(settings.clone(), login, end);
            }
            Self::Directory(settings) => directory::start(settings.clone(), apart, end),
        }
    }

    /// Returns why no node of the store can have this path, if so. Only etcd has tables with typed rows: the
    /// same path is that of a plain node elsewhere.
    pub fn mistake(&self, node: &NodePath) -> Option<String> {
        match self {
            Self::Etcd(_) => etcd::mistake(node).map(|mistake| mistake.to_string()),
            Self::ZooKeeper(_) | Self::Directory(_) => None,
        }
    }

    /// Returns an error if the store is a directory that does not exist, so that it has no such node. Who
    /// types its name wrong must not get a new store.
    pub fn require_directory(&self, node: &NodePath) -> Result<(), ClientError> {
        match self.directory() {
            Some(directory) if !directory.is_dir() => Err(ClientError::NoRoot {
                node: node.clone(),
                store: self.to_string(),
                what: "the directory".to_owned(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns the TCP ports to which the store connects.
    pub(super) fn ports(&self) -> Vec<u16> {
        match self {
            Self::ZooKeeper(settings) => settings.url.ports(),
            Self::Etcd(settings) => settings.url.ports(),
            Self::Directory(_) => Vec::new(),
        }
    }

    /// Returns the directory that the store reads, if it is one.
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Self::ZooKeeper(_) | Self::Etcd(_) => None,
            Self::Directory(settings) => Some(&settings.url.root),
        }
    }

    /// Returns the settings for commands that wait for the store at most so long.
    pub(super) fn with_timeout_below(self, longest: Duration) -> Self {
        match self {
            Self::ZooKeeper(settings) => {
                let session_timeout = settings.session_timeout.min(longest);
                Self::ZooKeeper(ZooKeeperSettings { session_timeout, ..settings })
            }
            Self::Etcd(settings) => {
                let session_timeout = settings.session_timeout.min(longest);
                Self::Etcd(EtcdSettings { session_timeout, ..settings })
            }
            Self::Directory(settings) => {
                let session_timeout = settings.session_timeout.min(longest);
                Self::Directory(DirectorySettings { session_timeout, ..settings })
            }
        }
    }

    /// Reads the secrets and certificates that the store is told, now. This may block.
    pub fn with_login(self) -> Result<Self, String> {
        Ok(match self {
            Self::ZooKeeper(settings) => {
                Self::ZooKeeper(ZooKeeperSettings { login: settings.login.read()?, ..settings })
            }
            Self::Etcd(settings) => Self::Etcd(EtcdSettings { login: settings.login.read()?, ..settings }),
            Self::Directory(settings) => Self::Directory(settings),
        })
    }

    /// Reads the login, serialized for the process that needs it. This may block.
    pub(super) fn read_login(&self) -> LoginReply {
        match self {
            Self::ZooKeeper(settings) => {
                serde_json::to_vec(&settings.login.read()?).map_err(|error| error.to_string())
            }
            Self::Etcd(settings) => {
                serde_json::to_vec(&settings.login.read()?).map_err(|error| error.to_string())
            }
            Self::Directory(_) => Err("a directory needs no login".to_owned()),
        }
    }

    /// Returns the files that [`Self::read_login`] reads.
    pub(super) fn login_files(&self) -> Vec<PathBuf> {
        match self {
            Self::ZooKeeper(settings) => settings.login.files(),
            Self::Etcd(settings) => settings.login.files(),
            Self::Directory(_) => Vec::new(),
        }
    }

    pub(super) fn without_secrets(&self) -> Self {
        match self {
            Self::ZooKeeper(settings) => Self::ZooKeeper(ZooKeeperSettings {
                login: settings.login.without_secrets(),
                ..settings.clone()
            }),
            Self::Etcd(settings) => {
                Self::Etcd(EtcdSettings { login: settings.login.without_secrets(), ..settings.clone() })
            }
            Self::Directory(settings) => Self::Directory(settings.clone()),
        }
    }
}

impl Deref for StoreSettings {
    type Target = dyn Backend;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::ZooKeeper(settings) => settings,
            Self::Etcd(settings) => settings,
            Self::Directory(settings) => settings,
        }
    }
}

impl fmt::Display for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url().fmt(f)
    }
}
