//! Stores are level-triggered: per [`Subject`], a store gives the stream of its latest [`State`].
//!
//! The one guarantee: **at rest, the last state given is the true one**. A store may give the same state
//! twice (after a reconnect it re-reads everything); whoever listens compares versions. It may skip
//! states that were replaced before it could read them.

use std::borrow::Borrow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

mod backoff;
mod client;
mod directory;
mod name;
mod secret;
mod subscriptions;
mod tree;
mod url;
mod zookeeper;

pub use client::{Client, ClientError};
pub use name::{StoreName, StoreNameError, StoreNames};
pub use secret::{CREDENTIALS_DIRECTORY, Credential, CredentialError, Secret};
pub use subscriptions::{Subscriptions, open};
pub use tree::{Change, MOST_NODES, NodeEvent, NodeState, Tree};
pub use url::StoreUrlError;
pub use zookeeper::tls::{Identity, Key, Tls, Unusable, can_be_certified};

/// An absolute node path such as `/git/head`: every component non-empty, none of them `.` or `..`.
/// `/` is the root. Only what was a path is made one again by deserializing it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodePath(Arc<str>);

#[derive(Debug, Error, PartialEq, Eq)]
pub enum NodePathError {
    #[error("node path {0:?} is not absolute; start it with /")]
    Relative(String),
    #[error("node path {0:?} has an empty component; write single slashes and none at the end")]
    Empty(String),
    #[error("node path {0:?} has the component {1:?}, which names no node")]
    Dots(String, String),
    #[error("node path {0:?} has a control character")]
    Control(String),
}

impl NodePath {
    pub fn parse(path: &str) -> Result<Self, NodePathError> {
        let own = || path.to_owned();
        let Some(rest) = path.strip_prefix('/') else {
            return Err(NodePathError::Relative(own()));
        };
        if path.chars().any(char::is_control) {
            return Err(NodePathError::Control(own()));
        }
        for component in rest.split('/').filter(|_| !rest.is_empty()) {
            match component {
                "" => return Err(NodePathError::Empty(own())),
                "." | ".." => return Err(NodePathError::Dots(own(), component.to_owned())),
                _ => {}
            }
        }
        Ok(Self(path.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This path below `root`: `/head` below `/git` is `/git/head`.
    pub(crate) fn below(&self, root: &NodePath) -> NodePath {
        match (root.as_str(), self.as_str()) {
            ("/", _) => self.clone(),
            (_, "/") => root.clone(),
            (root, path) => Self(format!("{root}{path}").into()),
        }
    }

    /// The path of this node's child `name`.
    fn child(&self, name: &str) -> NodePath {
        Self(match self.as_str() {
            "/" => format!("/{name}").into(),
            path => format!("{path}/{name}").into(),
        })
    }

    /// This path and those of its parents, from the root down.
    fn lineage(&self) -> impl Iterator<Item = &str> {
        let path = self.as_str();
        let parents = path.match_indices('/').map(|(end, _)| if end == 0 { "/" } else { &path[..end] });
        parents.chain((path != "/").then_some(path))
    }

    /// The components from the root down; none for `/`.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|component| !component.is_empty())
    }
}

/// The children of a node, of all that a store lists: sorted, each once, and only what can be part of a path. An action
/// reads them line by line.
fn children(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| {
        NodePath::parse(&format!("/{name}")).is_ok() && !name.is_empty() && !name.contains('/')
    });
    names.sort_unstable();
    names.dedup();
    names
}

/// As a path is ordered and hashed, so is its text.
impl Borrow<str> for NodePath {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What of a node is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Facet {
    /// The node's content.
    Data,
    /// The set of the node's children.
    Children,
    /// The node and all below it, each with its content. Put together from the other two by [`tree`].
    Tree,
}

impl Facet {
    pub fn as_str(self) -> &'static str {
        match self {
            Facet::Data => "data",
            Facet::Children => "children",
            Facet::Tree => "tree",
        }
    }
}

/// One subscription: watches with the same subject share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    pub path: NodePath,
    pub facet: Facet,
}

/// Identifies one state of one subject within one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// Differs between a node and the one re-created under its name (ZooKeeper: czxid).
    pub incarnation: i64,
    /// Differs between two states of one incarnation (ZooKeeper: mzxid for data, pzxid for children; a tree: a hash
    /// of all its versions).
    pub revision: i64,
    /// What people are shown and actions get as `TWITCHER_VERSION` (ZooKeeper: the data version or the
    /// cversion; a tree: its revision). Never compared: delete and re-create gives 0 and 0.
    pub number: i64,
}

impl Version {
    /// Returns true if and only if both name one state of the node. The number can differ even so: a directory's is its
    /// modification time, which moves with what is no child of it.
    pub fn is_same_state(self, other: Self) -> bool {
        (self.incarnation, self.revision) == (other.incarnation, other.revision)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Data(Arc<[u8]>),
    /// Sorted.
    Children(Arc<[String]>),
    Tree(Arc<Tree>),
}

impl Content {
    /// How many bytes it has: a list of children as an action reads it, a tree in the data of all its nodes.
    pub fn bytes(&self) -> u64 {
        match self {
            Content::Data(data) => data.len() as u64,
            Content::Children(names) => names.iter().map(|name| name.len() as u64 + 1).sum(),
            Content::Tree(tree) => tree.bytes(),
        }
    }

    /// How much there is of what makes it: the bytes of data, the children, the nodes of a tree below its root.
    pub fn amount(&self) -> u64 {
        match self {
            Content::Data(data) => data.len() as u64,
            Content::Children(names) => names.len() as u64,
            Content::Tree(tree) => tree.nodes_below(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The node, or one of its parents, does not exist.
    Absent,
    Present {
        version: Version,
        content: Content,
    },
}

/// What a store tells its daemon.
#[derive(Debug)]
pub enum StoreEvent {
    Observed {
        subject: Subject,
        state: State,
    },
    /// The node exists but cannot be read (no permission, say). Said once per series of failures; the store
    /// tries again with a backoff of at most 30 s, and the next `Observed` says that it healed.
    Unreadable {
        subject: Subject,
        reason: String,
    },
    /// A connection is up. `what` names the server and session for people.
    Connected {
        what: String,
    },
    /// The connection is gone; the store reconnects by itself. Said once per outage.
    Disconnected {
        reason: String,
    },
    /// The connection is still gone, and stays so until somebody does what `reason` says. Said once for each reason
    /// that comes up in an outage.
    Refused {
        reason: String,
    },
    /// Others may read or change what is watched.
    Exposed(Exposure),
    /// A slow resync found a change that no watch had announced. Should never happen, so it is counted.
    Drifted {
        subject: Subject,
    },
    /// Changes are still found, but later than promised: `reason` says why and what helps. Said once.
    Degraded {
        reason: String,
    },
}

/// To whom a store is more open than it should be. Each is said once in the life of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// What passes between us and `server`, which is on another host, passes in the clear.
    InTheClear {
        server: String,
        /// Whether passwords pass, too.
        with_credentials: bool,
    },
    /// Whoever reaches the server may change what is watched of this node. Only a few nodes are told of.
    Writable(Subject),
    /// There are more nodes of which [`Self::Writable`] is true.
    MoreWritable,
}

/// Where the nodes are. `Display` gives the URL back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `zk://host:port,host:port/chroot`; the port defaults to 2181. The chroot is `/` where none is given.
    ZooKeeper { servers: Vec<String>, chroot: NodePath },
    /// `dir:PATH`
    Directory(PathBuf),
}

/// Credentials given to ZooKeeper (`addauth`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub scheme: String,
    pub credentials: Secret,
}

/// Who logs in to ZooKeeper by SASL's DIGEST-MD5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    pub username: String,
    pub password: Secret,
}

#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub url: StoreUrl,
    /// Of ZooKeeper, as the next two.
    pub auth: Vec<Auth>,
    pub tls: Option<Tls>,
    pub sasl: Option<Sasl>,
    /// Asked of the server, which may grant another.
    pub session_timeout: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_path_is_absolute_and_has_only_named_components() {
        for good in ["/", "/git", "/git/head", "/a.b/..c", "/ü/ß"] {
            assert_eq!(NodePath::parse(good).unwrap().as_str(), good);
        }
        let error = |path| NodePath::parse(path).unwrap_err();
        assert_eq!(error("git"), NodePathError::Relative("git".into()));
        assert_eq!(error(""), NodePathError::Relative("".into()));
        assert_eq!(error("//"), NodePathError::Empty("//".into()));
        assert_eq!(error("/git/"), NodePathError::Empty("/git/".into()));
        assert_eq!(error("/a/../b"), NodePathError::Dots("/a/../b".into(), "..".into()));
        assert_eq!(error("/."), NodePathError::Dots("/.".into(), ".".into()));
        assert_eq!(error("/a\0b"), NodePathError::Control("/a\0b".into()));
    }

    #[test]
    fn only_what_can_be_part_of_a_path_is_a_child() {
        let listed = ["b", "", "a/b", "c\nd", ".", "..", "a", "b", "..c", "\u{1b}"].map(String::from);
        assert_eq!(children(listed.into()), ["..c", "a", "b"]);
    }

    #[test]
    fn a_chroot_is_put_before_a_path() {
        let path = |path| NodePath::parse(path).unwrap();
        assert_eq!(path("/head").below(&path("/")), path("/head"));
        assert_eq!(path("/head").below(&path("/git")), path("/git/head"));
        assert_eq!(path("/").below(&path("/git")), path("/git"));
        assert_eq!(path("/").below(&path("/")), path("/"));
        assert_eq!(path("/").child("git"), path("/git"));
        assert_eq!(path("/git").child("head"), path("/git/head"));
        assert_eq!(path("/").lineage().collect::<Vec<_>>(), ["/"]);
        assert_eq!(path("/git/head").lineage().collect::<Vec<_>>(), ["/", "/git", "/git/head"]);
        assert_eq!(path("/").components().count(), 0);
        assert_eq!(path("/git/head").components().collect::<Vec<_>>(), ["git", "head"]);
    }
}
