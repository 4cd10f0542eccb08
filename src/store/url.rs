//! The URL of a store of any kind.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::directory::{DirectoryUrl, DirectoryUrlError};
use super::zookeeper::{ZooKeeperUrl, ZooKeeperUrlError};

/// Where a store is, as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    ZooKeeper(ZooKeeperUrl),
    Directory(DirectoryUrl),
}

/// What a URL can look like.
const FORMS: &str = "zk://HOST:PORT,.../CHROOT or dir:PATH";

#[derive(Debug, Error, PartialEq, Eq)]
pub enum StoreUrlError {
    #[error("store {0:?} has no scheme; write {FORMS}")]
    NoScheme(String),
    #[error("store {0:?} is of an unknown kind; supported are {FORMS}")]
    Unsupported(String),
    #[error(transparent)]
    ZooKeeper(#[from] ZooKeeperUrlError),
    #[error(transparent)]
    Directory(#[from] DirectoryUrlError),
}

impl StoreUrl {
    /// Parses the value of `--zkservers`: `HOST:PORT,HOST:PORT/CHROOT`.
    pub fn from_servers(servers: &str) -> Result<Self, StoreUrlError> {
        Ok(Self::ZooKeeper(ZooKeeperUrl::from_servers(servers)?))
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(url: &str) -> Result<Self, StoreUrlError> {
        if let Some(parsed) = ZooKeeperUrl::parse(url) {
            return Ok(Self::ZooKeeper(parsed?));
        }
        if let Some(parsed) = DirectoryUrl::parse(url) {
            return Ok(Self::Directory(parsed?));
        }
        match url.contains("://") {
            true => Err(StoreUrlError::Unsupported(url.to_owned())),
            false => Err(StoreUrlError::NoScheme(url.to_owned())),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZooKeeper(url) => url.fmt(f),
            Self::Directory(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scheme_or_none_gets_the_hint_of_those_there_are() {
        let error = |url: &str| url.parse::<StoreUrl>().unwrap_err().to_string();
        assert!(error("etcd://host").contains("supported are zk://"), "{}", error("etcd://host"));
        assert!(error("/srv/nodes").contains("no scheme"));
    }
}
