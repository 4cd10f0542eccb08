//! The URL of an etcd: `etcd://HOST:PORT,HOST:PORT/PREFIX`.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::{NodePath, NodePathError};
use crate::store::servers::{self, comma_hint, ports};

const SCHEME: &str = "etcd://";

/// The port where none is given: that of etcd's clients.
const DEFAULT_PORT: u16 = 2379;

/// The members of a cluster, and where in it the nodes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdUrl {
    /// Each with its port.
    pub servers: Vec<String>,
    /// What is before each node's path in its key; `/` where nothing is.
    pub prefix: NodePath,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum EtcdUrlError {
    #[error("store {0:?} names no server; write etcd://HOST:PORT,HOST:PORT")]
    NoServer(String),
    #[error(
        "store {url:?}: server {server:?} is not HOST or HOST:PORT with a port of 1 to 65535 \
         (IPv6 as [ADDRESS]:PORT){}",
        comma_hint(.server)
    )]
    Server { url: String, server: String },
    #[error("store {url:?}: the prefix is no node path: {source}")]
    Prefix { url: String, source: NodePathError },
    #[error(
        "a store's URL has no credentials (what is before an @); give them in the [etcd] section of \
         twitcher.toml"
    )]
    Credentials,
}

impl EtcdUrl {
    /// Parses a URL. Returns `None` if it has another scheme.
    pub(crate) fn parse(url: &str) -> Option<Result<Self, EtcdUrlError>> {
        url.strip_prefix(SCHEME).map(|text| parse(url, text))
    }

    /// Returns the ports of all servers.
    pub(crate) fn ports(&self) -> Vec<u16> {
        ports(&self.servers)
    }

    /// Returns what the ledger knows the versions by. Servers are no part of it, because they come and go.
    /// Versions have a hash of the content, so that those of another cluster look like changes.
    pub(super) fn identity(&self) -> String {
        format!("etcd:{}", self.prefix)
    }
}

impl fmt::Display for EtcdUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.servers.join(","))?;
        if self.prefix.as_str() != "/" { write!(f, "{}", self.prefix) } else { Ok(()) }
    }
}

/// Parses `text`, which is `url` without its scheme.
fn parse(url: &str, text: &str) -> Result<EtcdUrl, EtcdUrlError> {
    let (servers, prefix) = text.split_at(text.find('/').unwrap_or(text.len()));
    if servers.contains('@') {
        return Err(EtcdUrlError::Credentials);
    }
    let prefix = NodePath::parse(if prefix.is_empty() { "/" } else { prefix })
        .map_err(|source| EtcdUrlError::Prefix { url: url.to_owned(), source })?;
    if servers.trim().is_empty() {
        return Err(EtcdUrlError::NoServer(url.to_owned()));
    }
    let servers = servers::parse(servers, DEFAULT_PORT)
        .map_err(|server| EtcdUrlError::Server { url: url.to_owned(), server })?;
    Ok(EtcdUrl { servers, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        let parsed = EtcdUrl::parse(url).expect("an etcd:// URL");
        parsed.map_or_else(|error| error.to_string(), |url| url.to_string())
    }

    #[test]
    fn a_url_is_given_back_with_its_defaults_filled_in() {
        assert_eq!(shown("etcd://localhost"), "etcd://localhost:2379");
        assert_eq!(shown("etcd://localhost:2379/"), "etcd://localhost:2379");
        assert_eq!(shown("etcd://a:1,b,c:3/git/x"), "etcd://a:1,b:2379,c:3/git/x");
        assert_eq!(shown("etcd://[::1],[fe80::1]:7/x@y"), "etcd://[::1]:2379,[fe80::1]:7/x@y");
        assert_eq!(EtcdUrl::parse("zk://a"), None);
    }

    #[test]
    fn an_error_names_the_part_and_the_remedy() {
        assert!(shown("etcd://").contains("names no server"));
        assert!(shown("etcd:///git").contains("names no server"));
        assert!(shown("etcd://a:0").contains("\"a:0\""));
        let secret = shown("etcd://user:secret@a");
        assert!(secret.contains("[etcd]") && !secret.contains("secret"), "{secret}");
        assert!(shown("etcd://a,,b").contains("server \"\""));
        assert!(shown("etcd://::1").contains("[ADDRESS]:PORT"));
        assert!(shown("etcd://a/b//c").contains("prefix"));
    }
}
