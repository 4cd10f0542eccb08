//! Access to nodes without the program under test.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::etcd_client::EtcdClient;
use super::zookeeper_client::{Acl, NO_NODE, ZooKeeperClient};

#[derive(Clone, Debug)]
pub enum Nodes {
    Directory(PathBuf),
    /// All nodes lie below `root`, which is the chroot in the daemon's URL.
    ZooKeeper {
        address: String,
        root: String,
    },
    /// All keys begin with `root`, which is the prefix in the daemon's URL.
    Etcd {
        address: String,
        root: String,
    },
}

impl Nodes {
    /// The value for `--store`.
    pub fn url(&self) -> String {
        match self {
            Self::Directory(path) => format!("dir:{}", path.display()),
            Self::ZooKeeper { address, root } => format!("zk://{address}{root}"),
            Self::Etcd { address, root } => format!("etcd://{address}{root}"),
        }
    }

    /// The URL of the same nodes at another address, such as a proxy's.
    pub fn url_by_way_of(&self, address: &str) -> String {
        match self {
            Self::Directory(_) => panic!("a directory has no address"),
            Self::ZooKeeper { root, .. } => format!("zk://{address}{root}"),
            Self::Etcd { root, .. } => format!("etcd://{address}{root}"),
        }
    }

    /// Creates the node with its parents, or replaces its content. Either is one update.
    #[track_caller]
    pub fn set(&self, node: &str, data: impl AsRef<[u8]>) {
        let data = data.as_ref();
        match self {
            Self::Directory(store) => {
                let file = below(store, node);
                let directory = file.parent().expect("below the store");
                fs::create_dir_all(directory).expect("create the parents");
                // A reader sees the whole content or none. A file whose name starts with a dot is no node.
                let new = tempfile::Builder::new().prefix(".new-").tempfile_in(directory).expect("a file");
                fs::write(&new, data).expect("write the node");
                fs::set_permissions(&new, Permissions::from_mode(0o644)).expect("open it to every user");
                new.persist(file).expect("replace the node");
            }
            Self::ZooKeeper { .. } => {
                let mut client = self.client();
                match client.set(node, data) {
                    Ok(()) => return,
                    Err(NO_NODE) => {}
                    Err(error) => panic!("set {node}: error {error}"),
                }
                let parent = node.rsplit_once('/').expect("absolute").0;
                if !parent.is_empty() {
                    client.make(parent).expect("create the parents");
                }
                client.create(node, data, Acl::Open).expect("create the node");
            }
            Self::Etcd { .. } => self.etcd().set(node, data),
        }
    }

    /// Creates a node that contains nothing, and that other nodes will be below.
    #[track_caller]
    pub fn make(&self, node: &str) {
        match self {
            Self::Directory(store) => fs::create_dir_all(below(store, node)).expect("create a directory"),
            Self::ZooKeeper { .. } => self.client().make(node).expect("create the node"),
            Self::Etcd { .. } => self.etcd().set(node, b""),
        }
    }

    /// Creates many nodes, whose parents exist, in few transactions.
    #[track_caller]
    pub fn create_many(&self, nodes: impl IntoIterator<Item = String>) {
        let nodes: Vec<_> = nodes.into_iter().collect();
        match self {
            Self::Directory(_) => nodes.iter().for_each(|node| self.set(node, "old")),
            Self::ZooKeeper { .. } => {
                let mut client = self.client();
                for some in nodes.chunks(500) {
                    client.create_all(some, b"old").expect("create nodes");
                }
            }
            Self::Etcd { .. } => self.etcd().set_all(&nodes, b"old"),
        }
    }

    /// Sets an existing node to each of these values, as fast as possible, and calls `then` after each. If
    /// `then` does nothing, this is a burst.
    #[track_caller]
    pub fn set_each(&self, node: &str, values: impl IntoIterator<Item = u32>, then: impl Fn(u32)) {
        let mut client = matches!(self, Self::ZooKeeper { .. }).then(|| self.client());
        for value in values {
            let content = value.to_string();
            match &mut client {
                Some(client) => client.set(node, content.as_bytes()).expect("set the node"),
                None => self.set(node, content),
            }
            then(value);
        }
    }

    /// Sets existing nodes to each of these values, all of them in one transaction.
    #[track_caller]
    pub fn set_together(&self, nodes: &[String], values: impl IntoIterator<Item = u32>) {
        let mut client = matches!(self, Self::ZooKeeper { .. }).then(|| self.client());
        for value in values.into_iter().map(|value| value.to_string()) {
            match &mut client {
                Some(client) => client.set_all(nodes, value.as_bytes()).expect("set the nodes"),
                None => self.etcd().set_all(nodes, value.as_bytes()),
            }
        }
    }

    #[track_caller]
    pub fn get(&self, node: &str) -> Option<Vec<u8>> {
        match self {
            Self::Directory(store) => fs::read(below(store, node)).ok(),
            Self::ZooKeeper { .. } => match self.client().get(node) {
                Ok(data) => Some(data),
                Err(NO_NODE) => None,
                Err(error) => panic!("get {node}: error {error}"),
            },
            Self::Etcd { .. } => self.etcd().get(node).map(|(data, _)| data),
        }
    }

    /// Takes every right to this node from everybody: nobody has these credentials.
    #[track_caller]
    pub fn close_to_everybody(&self, node: &str) {
        let acl = Acl::Of("digest", "nobody:AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        self.client().set_acl(node, acl).unwrap_or_else(|error| panic!("close {node}: error {error}"));
    }

    /// Lets everybody read this node, and nobody write it, until [`Self::open_to_everybody`].
    #[track_caller]
    pub fn close_to_writers(&self, node: &str) {
        self.client()
            .set_acl(node, Acl::ReadOnly)
            .unwrap_or_else(|error| panic!("close {node}: error {error}"));
    }

    #[track_caller]
    pub fn open_to_everybody(&self, node: &str) {
        self.client().set_acl(node, Acl::Open).unwrap_or_else(|error| panic!("open {node}: error {error}"));
    }

    /// Removes a node that has no children.
    #[track_caller]
    pub fn remove(&self, node: &str) {
        match self {
            Self::Directory(store) => {
                let path = below(store, node);
                match fs::remove_file(&path) {
                    Err(e) if e.kind() == io::ErrorKind::IsADirectory => fs::remove_dir(&path),
                    other => other,
                }
                .expect("remove the node");
            }
            Self::ZooKeeper { .. } => {
                self.client().delete(node).unwrap_or_else(|error| panic!("delete {node}: error {error}"));
            }
            Self::Etcd { .. } => assert!(self.etcd().delete(node), "delete {node}: it is not there"),
        }
    }

    /// Returns a new connection, which no earlier outage has broken.
    #[track_caller]
    fn client(&self) -> ZooKeeperClient {
        let Self::ZooKeeper { address, root } = self else { panic!("no ZooKeeper: {self:?}") };
        ZooKeeperClient::connect(address, root)
    }

    /// A client of etcd.
    pub fn etcd(&self) -> EtcdClient {
        let Self::Etcd { address, root } = self else { panic!("no etcd: {self:?}") };
        EtcdClient::new(address, root)
    }

    /// What is before all paths in the store.
    pub fn root(&self) -> &str {
        match self {
            Self::Directory(_) => "",
            Self::ZooKeeper { root, .. } | Self::Etcd { root, .. } => root,
        }
    }

    /// The same nodes at another address.
    pub fn at(&self, address: &str) -> Self {
        let address = address.to_owned();
        match self {
            Self::Directory(_) => panic!("a directory has no address"),
            Self::ZooKeeper { root, .. } => Self::ZooKeeper { address, root: root.clone() },
            Self::Etcd { root, .. } => Self::Etcd { address, root: root.clone() },
        }
    }

    /// Creates the node that is the root. Its server must be up.
    #[track_caller]
    pub fn create_root(&self) {
        match self {
            Self::Directory(_) => {}
            Self::ZooKeeper { address, root } => {
                ZooKeeperClient::connect(address, "").make(root).expect("create the root");
            }
            Self::Etcd { address, root } => EtcdClient::new(address, root).set("", b""),
        }
    }
}

fn below(store: &Path, node: &str) -> PathBuf {
    store.join(node.trim_start_matches('/'))
}
