//! Access to nodes without the program under test.

use std::fs::{self, Permissions};
use std::future::{self, Future};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use zookeeper_client::{Acl, Acls, AuthId, Client, CreateMode, CreateOptions, Error, Permission};

const PERSISTENT: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());

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
            Self::ZooKeeper { .. } => self.with_client(async |client| {
                match client.set_data(node, data, None).await {
                    Ok(_) => return,
                    Err(Error::NoNode) => {}
                    Err(e) => panic!("set {node}: {e}"),
                }
                let parent = node.rsplit_once('/').expect("absolute").0;
                if !parent.is_empty() {
                    client.mkdir(parent, &PERSISTENT).await.expect("create the parents");
                }
                client.create(node, data, &PERSISTENT).await.expect("create the node");
            }),
        }
    }

    /// Creates many nodes, whose parents exist, in few transactions.
    #[track_caller]
    pub fn create_many(&self, nodes: impl IntoIterator<Item = String>) {
        let nodes: Vec<_> = nodes.into_iter().collect();
        self.with_client(async |client| {
            for some in nodes.chunks(500) {
                let mut writer = client.new_multi_writer();
                for node in some {
                    writer.add_create(node, b"old", &PERSISTENT).expect("a node path");
                }
                writer.commit().await.expect("create nodes");
            }
        });
    }

    /// Sets an existing node to each of these values on one connection, and calls `then` after each. If
    /// `then` does nothing, this is a burst.
    #[track_caller]
    pub fn set_each(&self, node: &str, values: impl IntoIterator<Item = u32>, then: impl Fn(u32)) {
        self.with_client(async |client| {
            for value in values {
                client.set_data(node, value.to_string().as_bytes(), None).await.expect("set the node");
                then(value);
            }
        });
    }

    #[track_caller]
    pub fn get(&self, node: &str) -> Option<Vec<u8>> {
        match self {
            Self::Directory(store) => fs::read(below(store, node)).ok(),
            Self::ZooKeeper { .. } => self.with_client(async |client| match client.get_data(node).await {
                Ok((data, _)) => Some(data),
                Err(Error::NoNode) => None,
                Err(e) => panic!("get {node}: {e}"),
            }),
        }
    }

    /// Takes every right to this node from everybody: nobody has these credentials.
    #[track_caller]
    pub fn close_to_everybody(&self, node: &str) {
        let acl = [Acl::new(Permission::ALL, AuthId::new("digest", "nobody:AAAAAAAAAAAAAAAAAAAAAAAAAAA="))];
        self.with_client(async |client| {
            client.set_acl(node, &acl, None).await.unwrap_or_else(|e| panic!("close {node}: {e}"));
        });
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
            Self::ZooKeeper { .. } => self.with_client(async |client| {
                client.delete(node, None).await.unwrap_or_else(|e| panic!("delete {node}: {e}"));
            }),
        }
    }

    /// Runs `work` with a new connection, which no earlier outage has broken.
    #[track_caller]
    fn with_client<T>(&self, work: impl AsyncFnOnce(Client) -> T) -> T {
        let Self::ZooKeeper { address, root } = self else { panic!("a directory has no client") };
        block_on(async {
            let client = connect(address).await;
            let client = if root.is_empty() { Ok(client) } else { client.chroot(root.as_str()) };
            work(client.expect("an absolute path")).await
        })
    }

    /// Creates the node that becomes the `root` of a sandbox.
    pub fn create_root(address: &str, root: &str) {
        block_on(async {
            connect(address).await.mkdir(root, &PERSISTENT).await.expect("create the root");
        });
    }
}

fn below(store: &Path, node: &str) -> PathBuf {
    store.join(node.trim_start_matches('/'))
}

async fn connect(address: &str) -> Client {
    let connector = Client::connector().with_session_timeout(Duration::from_secs(30));
    connector.connect(address).await.unwrap_or_else(|e| panic!("connect to {address}: {e}"))
}

/// Runs `work` on a runtime that a thread keeps running, so that clients can still close their sessions after
/// `work` has returned.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    let handle = RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(future::pending::<()>()));
        handle
    });
    handle.block_on(work)
}
