//! What `twitcher export` and `twitcher import` ask of a store: many nodes, a bounded part of them at a time.

use std::collections::HashSet;
use std::pin::Pin;

use super::settings::StoreSettings;
use crate::model::NodePath;

/// What a walk through a tree finds. A node comes before those below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Walked {
    Node {
        path: NodePath,
        /// `None` if it was not asked for, or if the node is only there because others are below it.
        data: Option<Vec<u8>>,
        version: i64,
    },
    /// A node that lives as long as a session or a lease, and so belongs to whoever holds it.
    Fleeting(NodePath),
    /// A node that cannot be read, for this reason. What is below it is not found.
    Unreadable { path: NodePath, reason: String },
    /// A key of etcd that is below the node, and is no node.
    NoNode,
}

/// Takes in what is found.
pub type Visit<'a> = dyn FnMut(Walked) -> Visited + 'a;

/// How a walk goes on after a node.
pub enum Visited {
    GoOn,
    /// It waits, however long that takes, and ends if this returns false.
    Wait(Pin<Box<dyn Future<Output = bool>>>),
    End,
}

impl Visited {
    pub(super) async fn goes_on(self) -> bool {
        match self {
            Self::GoOn => true,
            Self::Wait(done) => done.await,
            Self::End => false,
        }
    }
}

/// A node as an import writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub node: NodePath,
    pub data: Vec<u8>,
}

/// What an import does about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Same,
    Created,
    Changed,
}

/// The nodes that are known to be there because others are below them. It may forget some.
#[derive(Debug, Default)]
pub struct Parents(HashSet<NodePath>);

/// How many are kept.
const MAX_PARENTS: usize = 100_000;

impl Parents {
    /// Adds those above `node`, from the root down, and returns the ones that were not known.
    pub(super) fn learn(&mut self, node: &NodePath) -> Vec<NodePath> {
        if self.0.len() > MAX_PARENTS {
            self.0.clear();
        }
        let above = node.self_and_ancestors().filter(|path| *path != node.as_str());
        let mut new: Vec<_> = Vec::new();
        for path in above {
            if !self.0.contains(path) {
                new.push(NodePath::unchecked(path));
            }
        }
        self.0.extend(new.iter().cloned());
        new
    }
}

/// The nodes that hold data, and none any more when an import has come so far.
pub type Emptied = HashSet<NodePath>;

/// The longest name of a file, in bytes, that Linux and its usual file systems take.
const MAX_FILE_NAME: usize = 255;

impl StoreSettings {
    /// Returns how much data the store takes for a node, unless it is configured otherwise.
    pub fn usual_limit(&self, node: &NodePath) -> usize {
        match self {
            // The request has the path and an ACL as well, and some numbers.
            Self::ZooKeeper(settings) => {
                (0xf_ffff - 80_usize).saturating_sub(node.below(&settings.url.chroot).as_str().len())
            }
            Self::Etcd(settings) => {
                ((3 << 19) - 512_usize).saturating_sub(node.below(&settings.url.prefix).as_str().len())
            }
            Self::Directory(_) => super::directory::MAX_DATA,
        }
    }

    /// Says why the store has no node of this name, or none with data, where no request is needed to know.
    pub fn objection(&self, node: &NodePath, has_data: bool) -> Option<String> {
        match self {
            Self::ZooKeeper(settings) => {
                // What the servers refuse beside control characters (PathUtils.validatePath). They count in
                // UTF-16 and take no surrogates.
                let is_refused = |c: &char| matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..);
                let refused = node.as_str().chars().find(is_refused);
                let is_own =
                    settings.url.chroot.as_str() == "/" && node.components().next() == Some("zookeeper");
                match refused {
                    Some(c) => {
                        Some(format!("ZooKeeper has no name with the character U+{:04X}", u32::from(c)))
                    }
                    None => is_own.then(|| "/zookeeper belongs to ZooKeeper's own servers".to_owned()),
                }
            }
            Self::Etcd(settings) => {
                let root = || "the root has no data in etcd; give the URL a prefix, or --at NODE".to_owned();
                let table = || "it is a table and no row; add the rest of a row's key".to_owned();
                let is_root = has_data && node.below(&settings.url.prefix).as_str() == "/";
                let is_table = has_data && super::etcd::is_without_data(node);
                let mistake = self.mistake(node);
                mistake.or_else(|| is_root.then(root)).or_else(|| is_table.then(table))
            }
            Self::Directory(settings) => {
                let path_bytes = settings.url.root.as_os_str().len() + node.as_str().len();
                let hidden = node.components().find(|component| component.starts_with('.'));
                let long = node.components().find(|component| component.len() > MAX_FILE_NAME);
                match (hidden, long) {
                    (Some(hidden), _) => {
                        Some(format!("{hidden:?} starts with a dot and names no node there"))
                    }
                    (None, Some(long)) => Some(format!(
                        "a name of {} bytes is too long for a file, which has at most {MAX_FILE_NAME}",
                        long.len()
                    )),
                    (None, None) if path_bytes > super::directory::MAX_PATH => Some(format!(
                        "a path of {path_bytes} bytes is too long for a file there, which has at most {}",
                        super::directory::MAX_PATH
                    )),
                    (None, None) => (has_data && node.as_str() == "/")
                        .then(|| "the root is a directory and holds only empty data there".to_owned()),
                }
            }
        }
    }

    /// Whether a node with data can have children.
    pub fn parents_have_data(&self) -> bool {
        match self {
            Self::ZooKeeper(_) | Self::Etcd(_) => true,
            Self::Directory(_) => false,
        }
    }

    /// Whether what has children is a node itself. In etcd, it may be no key.
    pub fn parents_are_nodes(&self) -> bool {
        match self {
            Self::ZooKeeper(_) | Self::Directory(_) => true,
            Self::Etcd(_) => false,
        }
    }

    /// What an export of this store is not, for people.
    pub fn note_on_export(&self) -> Option<&'static str> {
        match self {
            Self::ZooKeeper(_) => Some(
                "ZooKeeper shows no tree at one moment: what changes during the export can be in it or not. \
                 ACLs are not exported",
            ),
            Self::Etcd(_) => None,
            Self::Directory(_) => Some(
                "a directory shows no tree at one moment: what changes during the export can be in it or not",
            ),
        }
    }

    /// What an import into this store does not do, for people.
    pub fn note_on_import(&self) -> Option<&'static str> {
        match self {
            Self::ZooKeeper(_) => Some(
                "an import carries no ACLs: nodes that it creates are open to everybody, and others keep \
                 theirs; `twitcher set NODE --acl` changes one",
            ),
            Self::Etcd(_) | Self::Directory(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_above_a_node_are_learnt_once() {
        let path = |path| NodePath::parse(path).unwrap();
        let mut parents = Parents::default();
        assert_eq!(parents.learn(&path("/a/b/c")), ["/", "/a", "/a/b"].map(path));
        assert_eq!(parents.learn(&path("/a/b/d")), []);
        assert_eq!(parents.learn(&path("/a/e/f")), [path("/a/e")]);
        assert_eq!(parents.learn(&path("/")), []);
    }
}
