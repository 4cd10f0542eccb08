//! Store URLs as people write them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use super::StoreUrl;
use crate::model::{NodePath, NodePathError};

/// Where ZooKeeper listens unless told otherwise (`clientPort` in its sample configuration).
const ZOOKEEPER_PORT: u16 = 2181;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum StoreUrlError {
    #[error("store {0:?} has no scheme; write zk://HOST:PORT,.../CHROOT or dir:PATH")]
    NoScheme(String),
    #[error("store {0:?} is of an unknown kind; supported are zk://HOST:PORT,.../CHROOT and dir:PATH")]
    Unsupported(String),
    #[error("store {0:?} names no server; write zk://HOST:PORT,HOST:PORT")]
    NoServer(String),
    #[error(
        "store {url:?}: server {server:?} is not HOST or HOST:PORT with a port of 1 to 65535 (IPv6 as [ADDRESS]:PORT)"
    )]
    Server { url: String, server: String },
    #[error("store {url:?}: the chroot is no node path: {source}")]
    Chroot { url: String, source: NodePathError },
    #[error(
        "a store's URL has no credentials (what is before an @); give them in an [[auth]] block of twitcher.toml"
    )]
    Credentials,
    #[error("store \"dir:\" names no directory; write dir:PATH")]
    NoDirectory,
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(url: &str) -> Result<Self, StoreUrlError> {
        if let Some(servers) = url.strip_prefix("zk://") {
            return parse_servers(url, servers);
        }
        if let Some(path) = url.strip_prefix("dir:") {
            return match path {
                "" => Err(StoreUrlError::NoDirectory),
                path => Ok(Self::Directory(PathBuf::from(path))),
            };
        }
        match url.contains("://") {
            true => Err(StoreUrlError::Unsupported(url.to_owned())),
            false => Err(StoreUrlError::NoScheme(url.to_owned())),
        }
    }
}

impl StoreUrl {
    /// The ZooKeeper that `--zkservers HOST:PORT,HOST:PORT/CHROOT` names.
    pub fn from_servers(servers: &str) -> Result<Self, StoreUrlError> {
        parse_servers(servers, servers)
    }

    /// What the store's versions are known by over restarts: versions of stores with different names must not be
    /// compared. Servers are no part of it, as they come and go; the transactions of another ensemble are others (ids
    /// and times), and what they say is a change.
    pub fn identity(&self) -> String {
        match self {
            Self::ZooKeeper { chroot, .. } => format!("zk:{chroot}"),
            Self::Directory(_) => self.to_string(),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZooKeeper { servers, chroot } => {
                write!(f, "zk://{}", servers.join(","))?;
                if chroot.as_str() != "/" { write!(f, "{chroot}") } else { Ok(()) }
            }
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

fn parse_servers(url: &str, text: &str) -> Result<StoreUrl, StoreUrlError> {
    if text.contains('@') {
        return Err(StoreUrlError::Credentials);
    }
    let (servers, chroot) = text.split_at(text.find('/').unwrap_or(text.len()));
    // "zk://host/" means no chroot, as it does in every other URL.
    let chroot = NodePath::parse(if chroot.is_empty() { "/" } else { chroot })
        .map_err(|source| StoreUrlError::Chroot { url: url.to_owned(), source })?;
    if servers.trim().is_empty() {
        return Err(StoreUrlError::NoServer(url.to_owned()));
    }
    let servers = servers
        .split(',')
        .map(|server| {
            let server = server.trim();
            with_port(server)
                .ok_or_else(|| StoreUrlError::Server { url: url.to_owned(), server: server.to_owned() })
        })
        .collect::<Result<_, _>>()?;
    Ok(StoreUrl::ZooKeeper { servers, chroot })
}

/// `HOST:PORT` with the default port filled in.
fn with_port(server: &str) -> Option<String> {
    let end_of_host = match server.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => server.find(':').unwrap_or(server.len()),
    };
    let (host, port) = server.split_at(end_of_host);
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|&port: &u16| port > 0)?,
        None if port.is_empty() => ZOOKEEPER_PORT,
        None => return None,
    };
    let named = !host.is_empty() && host != "[]" && !host.contains(char::is_whitespace);
    named.then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        url.parse::<StoreUrl>().map_or_else(|error| error.to_string(), |url| url.to_string())
    }

    #[test]
    fn a_url_is_given_back_with_its_defaults_filled_in() {
        assert_eq!(shown("zk://localhost"), "zk://localhost:2181");
        assert_eq!(shown("zk://localhost:2181/"), "zk://localhost:2181");
        assert_eq!(shown("zk://a:1,b,c:3/git/x"), "zk://a:1,b:2181,c:3/git/x");
        assert_eq!(shown("zk://[::1],[fe80::1]:7/x"), "zk://[::1]:2181,[fe80::1]:7/x");
        assert_eq!(shown("dir:/srv/nodes"), "dir:/srv/nodes");
        assert_eq!(shown("dir:nodes"), "dir:nodes");
    }

    #[test]
    fn zkservers_is_a_url_without_its_scheme() {
        assert_eq!(StoreUrl::from_servers("a:1,b/x"), "zk://a:1,b:2181/x".parse());
    }

    #[test]
    fn an_error_names_the_part_and_the_remedy() {
        assert!(shown("etcd://host").contains("supported are zk://"), "{}", shown("etcd://host"));
        assert!(shown("/srv/nodes").contains("no scheme"));
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
        assert!(shown("dir:").contains("dir:PATH"));
    }
}
