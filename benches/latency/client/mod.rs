//! The least of a client: many requests at once, and watches on data. It shares no code with the daemon.

mod etcd;
mod zookeeper;

use tokio::sync::{mpsc, oneshot};

use crate::Result;
use crate::server::Store;

pub enum Client {
    ZooKeeper(zookeeper::Client),
    Etcd(etcd::Client),
}

/// What says that a node changes.
pub enum Watch {
    /// Once.
    ZooKeeper(oneshot::Receiver<()>),
    /// For every change.
    Etcd(mpsc::UnboundedReceiver<()>),
}

impl Client {
    pub async fn connect(store: Store, address: &str) -> Result<Self> {
        Ok(match store {
            Store::ZooKeeper => Self::ZooKeeper(zookeeper::Client::connect(address).await?),
            Store::Etcd => Self::Etcd(etcd::Client::connect(address).await?),
        })
    }

    pub async fn set_data(&self, path: &str, data: &[u8]) -> Result<()> {
        match self {
            Self::ZooKeeper(client) => client.set_data(path, data).await,
            Self::Etcd(client) => client.put(path, data).await,
        }
    }

    /// Creates a node, which may be there already. Its parent must be there.
    pub async fn create(&self, path: &str, data: &[u8]) -> Result<()> {
        match self {
            Self::ZooKeeper(client) => client.create(path, data).await,
            Self::Etcd(client) => client.put(path, data).await,
        }
    }

    /// Watches the data from now on.
    pub async fn watch(&self, path: &str) -> Result<Watch> {
        Ok(match self {
            Self::ZooKeeper(client) => Watch::ZooKeeper(client.get_and_watch_data(path).await?),
            Self::Etcd(client) => Watch::Etcd(client.watch(path).await?),
        })
    }

    /// Waits for a change, and has the new data.
    pub async fn changed(&self, path: &str, watch: &mut Watch) -> Result<()> {
        match (self, watch) {
            (Self::ZooKeeper(client), Watch::ZooKeeper(change)) => {
                (&mut *change).await?;
                *change = client.get_and_watch_data(path).await?;
            }
            // It comes with the event.
            (_, Watch::Etcd(changes)) => changes.recv().await.ok_or("the watch ended")?,
            (Self::Etcd(_), Watch::ZooKeeper(_)) => return Err("a watch of another store".into()),
        }
        Ok(())
    }

    /// Waits until a node comes or goes that this client has watched by [`Self::watch_presence`].
    pub async fn came_or_went(&self, watch: &mut Watch) -> Result<()> {
        match watch {
            Watch::ZooKeeper(change) => Ok(change.await?),
            Watch::Etcd(changes) => changes.recv().await.ok_or_else(|| "the watch ended".into()),
        }
    }

    /// Watches whether there is a node, until it comes or goes once.
    pub async fn watch_presence(&self, path: &str) -> Result<Watch> {
        Ok(match self {
            Self::ZooKeeper(client) => Watch::ZooKeeper(client.watch_presence(path).await?),
            Self::Etcd(client) => Watch::Etcd(client.watch_from_now(path).await?),
        })
    }

    /// Has etcd forget what was before the present revision, so that no watch can go on from there.
    pub async fn compact(&self) -> Result<()> {
        match self {
            Self::ZooKeeper(_) => Ok(()),
            Self::Etcd(client) => client.compact().await,
        }
    }
}
