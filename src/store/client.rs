//! What the commands `get`, `set`, `poke`, `ls` and `rm` ask of a store of any kind.

use super::client_error::ClientError;
use super::directory::DirectoryClient;
use super::removal::Removal;
use super::settings::StoreSettings;
use super::zookeeper::ZooKeeperClient;
use crate::model::NodePath;

/// One connection to a store, for as long as a command lasts.
///
/// The store must reply to each request within the session timeout, and to the first one within the session
/// timeout after [`Client::connect`] began. A command of many requests takes as long as it needs.
pub struct Client(Kind);

enum Kind {
    ZooKeeper(Box<ZooKeeperClient>),
    Directory(DirectoryClient),
}

impl Client {
    /// Connects, trying each server once within the session timeout. A directory need not exist.
    pub async fn connect(settings: &StoreSettings) -> Result<Self, ClientError> {
        Ok(Self(match settings {
            StoreSettings::ZooKeeper(settings) => {
                Kind::ZooKeeper(Box::new(ZooKeeperClient::connect(settings).await?))
            }
            StoreSettings::Directory(settings) => Kind::Directory(DirectoryClient::new(settings)),
        }))
    }

    /// Returns the node's content.
    pub async fn get(&self, node: &NodePath) -> Result<Vec<u8>, ClientError> {
        match &self.0 {
            Kind::ZooKeeper(client) => client.get(node).await,
            Kind::Directory(client) => client.get(node).await,
        }
    }

    /// Replaces the node's content, or creates the node, with empty parents where they are missing.
    pub async fn set(&self, node: &NodePath, data: &[u8]) -> Result<(), ClientError> {
        match &self.0 {
            Kind::ZooKeeper(client) => client.set(node, data).await,
            Kind::Directory(client) => client.set(node, data).await,
        }
    }

    /// Writes the node's present content again, so that watches fire. It never writes an older content: if
    /// somebody else writes meanwhile, it writes theirs again.
    pub async fn poke(&self, node: &NodePath) -> Result<(), ClientError> {
        match &self.0 {
            Kind::ZooKeeper(client) => client.poke(node).await,
            Kind::Directory(client) => client.poke(node).await,
        }
    }

    /// Returns the names of the node's children, sorted.
    pub async fn ls(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        match &self.0 {
            Kind::ZooKeeper(client) => client.ls(node).await,
            Kind::Directory(client) => client.ls(node).await,
        }
    }

    /// Removes the node; if `recursive`, with all nodes below it. Counts them in `removal`.
    pub async fn rm(&self, node: &NodePath, recursive: bool, removal: &Removal) -> Result<(), ClientError> {
        match &self.0 {
            Kind::ZooKeeper(client) => client.rm(node, recursive, removal).await,
            Kind::Directory(client) => client.rm(node, recursive, removal).await,
        }
    }

    /// Closes the session, waiting for the server at most a second. Otherwise the server keeps the session
    /// until it expires, which does no harm.
    pub async fn close(self) {
        match self.0 {
            Kind::ZooKeeper(client) => client.close().await,
            Kind::Directory(_) => {}
        }
    }
}
