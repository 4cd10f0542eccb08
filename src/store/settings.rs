//! Where a store is, and what it takes to get in.

use std::path::PathBuf;
use std::time::Duration;

use super::tree::router;
use super::{Capabilities, Secret, StoreChannel, Tls, directory, zookeeper};
use crate::model::NodePath;

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

impl StoreSettings {
    /// States what the store can do.
    pub fn capabilities(&self) -> Capabilities {
        match &self.url {
            StoreUrl::ZooKeeper { chroot, .. } => Capabilities {
                durable_versions: true,
                reserved_child: (chroot.as_str() == "/").then_some(zookeeper::RESERVED),
            },
            StoreUrl::Directory(_) => Capabilities::default(),
        }
    }

    /// Opens a channel to the store. Must be called within a `LocalSet` on a current-thread runtime.
    ///
    /// A store that cannot be reached is no error: `Disconnected` reports it, and the store keeps trying.
    pub fn open(&self) -> StoreChannel {
        let (channel, end) = StoreChannel::new();
        let capabilities = self.capabilities();
        match &self.url {
            StoreUrl::ZooKeeper { servers, chroot } => {
                let (ensemble, chroot) = (zookeeper::Ensemble::new(servers, self), chroot.clone());
                router::start(capabilities, end, |commands, events| {
                    zookeeper::run(ensemble, chroot, commands, events)
                });
            }
            StoreUrl::Directory(root) => {
                let root = root.clone();
                router::start(capabilities, end, |commands, events| directory::run(root, commands, events));
            }
        }
        channel
    }
}
