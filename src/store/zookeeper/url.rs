//! The URL of a ZooKeeper: `zk://HOST:PORT,HOST:PORT/CHROOT`.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::{NodePath, NodePathError};
use crate::store::servers::{self, comma_hint, ports};

const SCHEME: &str = "zk://";

/// The port where none is given: `clientPort` in ZooKeeper's sample configuration.
const DEFAULT_PORT: u16 = 2181;

/// The servers of an ensemble, and where in it the nodes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZooKeeperUrl {
    /// Each with its port.
    pub servers: Vec<String>,
    /// The node that is the root of all paths; `/` where none is given.
    pub chroot: NodePath,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum ZooKeeperUrlError {
    #[error("store {0:?} names no server; write zk://HOST:PORT,HOST:PORT")]
    NoServer(String),
    #[error(
        "store {url:?}: server {server:?} is not HOST or HOST:PORT with a port of 1 to 65535 \
         (IPv6 as [ADDRESS]:PORT){}",
        comma_hint(.server)
    )]
    Server { url: String, server: String },
    #[error("store {url:?}: the chroot is no node path: {source}")]
    Chroot { url: String, source: NodePathError },
    #[error(
        "a store's URL has no credentials (what is before an @); give them in an [[auth]] block of \
         twitcher.toml"
    )]
    Credentials,
}

impl ZooKeeperUrl {
    /// Parses a URL. Returns `None` if it has another scheme.
    pub(crate) fn parse(url: &str) -> Option<Result<Self, ZooKeeperUrlError>> {
        url.strip_prefix(SCHEME).map(|text| parse(url, text))
    }

    /// Parses `HOST:PORT,HOST:PORT/CHROOT`, a URL without its scheme.
    pub(crate) fn from_servers(text: &str) -> Result<Self, ZooKeeperUrlError> {
        parse(text, text)
    }

    /// Returns the ports of all servers.
    pub(crate) fn ports(&self) -> Vec<u16> {
        ports(&self.servers)
    }

    /// Returns what the ledger knows the versions by. Servers are no part of it, because they come and go.
    /// The transactions of another ensemble have other ids and times, so that its versions look like changes.
    pub(super) fn identity(&self) -> String {
        format!("zk:{}", self.chroot)
    }
}

impl fmt::Display for ZooKeeperUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.servers.join(","))?;
        if self.chroot.as_str() != "/" { write!(f, "{}", self.chroot) } else { Ok(()) }
    }
}

/// Parses `text`, which is `url` without its scheme.
fn parse(url: &str, text: &str) -> Result<ZooKeeperUrl, ZooKeeperUrlError> {
    if text.contains('@') {
        return Err(ZooKeeperUrlError::Credentials);
    }
    let (servers, chroot) = text.split_at(text.find('/').unwrap_or(text.len()));
    // "zk://host/" has no chroot, like a URL of any other kind that ends so.
    let chroot = NodePath::parse(if chroot.is_empty() { "/" } else { chroot })
        .map_err(|source| ZooKeeperUrlError::Chroot { url: url.to_owned(), source })?;
    if servers.trim().is_empty() {
        return Err(ZooKeeperUrlError::NoServer(url.to_owned()));
    }
    let servers = servers::parse(servers, DEFAULT_PORT)
        .map_err(|server| ZooKeeperUrlError::Server { url: url.to_owned(), server })?;
    Ok(ZooKeeperUrl { servers, chroot })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        let parsed = ZooKeeperUrl::parse(url).expect("a zk:// URL");
        parsed.map_or_else(|error| error.to_string(), |url| url.to_string())
    }

    #[test]
    fn a_url_is_given_back_with_its_defaults_filled_in() {
        assert_eq!(shown("zk://localhost"), "zk://localhost:2181");
        assert_eq!(shown("zk://localhost:2181/"), "zk://localhost:2181");
        assert_eq!(shown("zk://a:1,b,c:3/git/x"), "zk://a:1,b:2181,c:3/git/x");
        assert_eq!(shown("zk://[::1],[fe80::1]:7/x"), "zk://[::1]:2181,[fe80::1]:7/x");
    }

    #[test]
    fn zkservers_is_a_url_without_its_scheme() {
        assert_eq!(Some(ZooKeeperUrl::from_servers("a:1,b/x")), ZooKeeperUrl::parse("zk://a:1,b:2181/x"));
    }

    #[test]
    fn an_error_names_the_part_and_the_remedy() {
        assert!(shown("zk://").contains("names no server"));
        assert!(shown("zk:///git").contains("names no server"));
        assert!(shown("zk://a:0").contains("\"a:0\""));
        assert!(
            shown("zk://user:secret@a").contains("[[auth]]")
                && !shown("zk://user:secret@a").contains("secret")
        );
        assert!(shown("zk://a,,b").contains("server \"\""));
        assert!(shown("zk://::1").contains("[ADDRESS]:PORT"));
        assert!(shown("zk://[::1]x").contains("\"[::1]x\""));
        assert!(shown("zk://a:b").contains("\"a:b\""));
        assert!(shown("zk://a/b//c").contains("chroot"));
    }
}
