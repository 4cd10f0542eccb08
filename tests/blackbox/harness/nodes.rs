//! Access to nodes without the program under test.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::zookeeper_client::{Acl, NO_NODE, ZooKeeperClient};

#[derive(Clone, Debug)]
pub enum Nodes {
    Directory(PathBuf),
    /// All nodes lie below `root`, which is the chroot in the daemon's URL.
    ZooKeeper {
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
        }
    }

    /// The URL of the same nodes at another address, such as a proxy's.
    pub fn url_by_way_of(&self, address: &str) -> String {
        match self {
            Self::Directory(_) => panic!("a directory has no address"),
            Self::ZooKeeper { root, .. } => format!("zk://{address}{root}"),
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
        }
    }

    /// Creates many nodes, whose parents exist, in few transactions.
    #[track_caller]
    pub fn create_many(&self, nodes: impl IntoIterator<Item = String>) {
        let nodes: Vec<_> = nodes.into_iter().collect();
        let mut client = self.client();
        for some in nodes.chunks(500) {
            client.create_all(some, b"old").expect("create nodes");
        }
    }

    /// Sets an existing node to each of these values on one connection, and calls `then` after each. If
    /// `then` does nothing, this is a burst.
    #[track_caller]
    pub fn set_each(&self, node: &str, values: impl IntoIterator<Item = u32>, then: impl Fn(u32)) {
        let mut client = self.client();
        for value in values {
            client.set(node, value.to_string().as_bytes()).expect("set the node");
            then(value);
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
        }
    }

    /// Takes every right to this node from everybody: nobody has these credentials.
    #[track_caller]
    pub fn close_to_everybody(&self, node: &str) {
        let acl = Acl::Of("digest", "nobody:AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        self.client().set_acl(node, acl).unwrap_or_else(|error| panic!("close {node}: error {error}"));
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
        }
    }

    /// Returns a new connection, which no earlier outage has broken.
    #[track_caller]
    fn client(&self) -> ZooKeeperClient {
        let Self::ZooKeeper { address, root } = self else { panic!("a directory has no client") };
        ZooKeeperClient::connect(address, root)
    }

    /// Creates the node that becomes the `root` of a sandbox.
    #[track_caller]
    pub fn create_root(address: &str, root: &str) {
        ZooKeeperClient::connect(address, "").make(root).expect("create the root");
    }
}

fn below(store: &Path, node: &str) -> PathBuf {
    store.join(node.trim_start_matches('/'))
}
