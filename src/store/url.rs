//! The URL of a store of any kind.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::directory::{DirectoryUrl, DirectoryUrlError};
use super::etcd::{EtcdUrl, EtcdUrlError};
use super::zookeeper::{ZooKeeperUrl, ZooKeeperUrlError};

/// Where a store is, as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    ZooKeeper(ZooKeeperUrl),
    Etcd(EtcdUrl),
    Directory(DirectoryUrl),
}

/// What a URL can look like.
const FORMS: &str = "zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX or dir:PATH";

#[derive(Debug, Error, PartialEq, Eq)]
pub enum StoreUrlError {
    #[error("store {0:?} has no scheme; write {FORMS}")]
    NoScheme(String),
    #[error("store {0:?} is of an unknown kind; supported are {FORMS}")]
    Unsupported(String),
    #[error("store {url:?} is of an unknown kind; did you mean {meant}?")]
    Other { url: String, meant: String },
    #[error("{0:?} is a URL; give HOST:PORT,..., or --store takes a URL")]
    NoServers(String),
    #[error(transparent)]
    ZooKeeper(#[from] ZooKeeperUrlError),
    #[error(transparent)]
    Etcd(#[from] EtcdUrlError),
    #[error(transparent)]
    Directory(#[from] DirectoryUrlError),
}

impl StoreUrl {
    /// Parses the value of `--zkservers`: `HOST:PORT,HOST:PORT/CHROOT`.
    pub fn from_servers(servers: &str) -> Result<Self, StoreUrlError> {
        if servers.contains("://") {
            return Err(StoreUrlError::NoServers(servers.to_owned()));
        }
        Ok(Self::ZooKeeper(ZooKeeperUrl::from_servers(servers)?))
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(url: &str) -> Result<Self, StoreUrlError> {
        if let Some(parsed) = ZooKeeperUrl::parse(url) {
            return Ok(Self::ZooKeeper(parsed?));
        }
        if let Some(parsed) = EtcdUrl::parse(url) {
            return Ok(Self::Etcd(parsed?));
        }
        if let Some(parsed) = DirectoryUrl::parse(url) {
            return Ok(Self::Directory(parsed?));
        }
        match url.split_once("://") {
            Some((scheme, rest)) => Err(match meant(scheme, rest) {
                Some(meant) => StoreUrlError::Other { url: url.to_owned(), meant },
                None => StoreUrlError::Unsupported(url.to_owned()),
            }),
            None => Err(StoreUrlError::NoScheme(url.to_owned())),
        }
    }
}

/// Returns the URL that somebody means who writes it as other programs do.
fn meant(scheme: &str, rest: &str) -> Option<String> {
    match scheme.to_ascii_lowercase().as_str() {
        "zookeeper" | "zk" => Some(format!("zk://{rest}")),
        "file" | "dir" => Some(format!("dir:{rest}")),
        "etcd" | "etcd3" => Some(format!("etcd://{rest}")),
        // The port of etcd.
        "http" | "https" if rest.contains(":2379") => Some(format!("etcd://{rest}")),
        _ => None,
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZooKeeper(url) => url.fmt(f),
            Self::Etcd(url) => url.fmt(f),
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
        assert!(error("consul://host").contains("supported are zk://"), "{}", error("consul://host"));
        assert!(error("/srv/nodes").contains("no scheme"));
        for (url, meant) in [
            ("zookeeper://a:1,b:2/c", "; did you mean zk://a:1,b:2/c?"),
            ("https://a:2379", "; did you mean etcd://a:2379?"),
            ("file:///srv/nodes", "; did you mean dir:/srv/nodes?"),
        ] {
            assert!(error(url).ends_with(meant), "{}", error(url));
        }
        assert!(error("http://a:80").contains("supported are zk://"));
        for url in ["zk://a:1;b:2", "zk://a:1 b:2"] {
            assert!(error(url).ends_with("; write a comma between two servers"), "{}", error(url));
        }
        let twice = StoreUrl::from_servers("zk://a:1").unwrap_err().to_string();
        assert!(twice.contains("--store takes a URL"), "{twice}");
    }
}
