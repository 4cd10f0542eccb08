//! What the commands `get`, `set`, `poke`, `ls` and `rm` ask of a store.

mod directory;
mod zookeeper;

use std::io;

use thiserror::Error;

use super::{StoreSettings, StoreUrl};
use crate::model::NodePath;
use directory::DirectoryClient;
use zookeeper::ZooKeeperClient;

/// Why a command failed. The text names the node, the store and what helps.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("cannot connect to {store}: {reason}")]
    Unreachable { store: StoreUrl, reason: String },
    #[error(
        "the connection to {store} was lost ({reason}); whether node {node} was changed is unknown, so look and try again"
    )]
    Lost { node: NodePath, store: StoreUrl, reason: String },
    #[error("node {node} does not exist in {store}; create it with `twitcher set`")]
    Missing { node: NodePath, store: StoreUrl },
    #[error(
        "node {node} in {store} is not ours to access; check its permissions and `auth` in twitcher.toml"
    )]
    Forbidden { node: NodePath, store: StoreUrl },
    #[error("node {node} in {store} has children; remove them first or give --recursive")]
    NotEmpty { node: NodePath, store: StoreUrl },
    #[error("the root of {store} cannot be removed; name a node below it")]
    Root { store: StoreUrl },
    #[error("node {node} in {store}: {reason}")]
    Refused { node: NodePath, store: StoreUrl, reason: String },
    #[error("node {node} in {store}: {source}")]
    File { node: NodePath, store: StoreUrl, source: io::Error },
}

/// One connection to a store, for as long as a command lasts.
///
/// No call has a timeout of its own but [`Client::connect`]: a command that wants one puts it around.
pub struct Client(Backend);

enum Backend {
    ZooKeeper(ZooKeeperClient),
    Directory(DirectoryClient),
}

impl Client {
    /// Connects, trying each server once within the session timeout. A directory need not exist.
    pub async fn connect(settings: &StoreSettings) -> Result<Self, ClientError> {
        Ok(Self(match &settings.url {
            StoreUrl::ZooKeeper { .. } => Backend::ZooKeeper(ZooKeeperClient::connect(settings).await?),
            StoreUrl::Directory(root) => Backend::Directory(DirectoryClient::new(root, &settings.url)),
        }))
    }

    /// The node's content.
    pub async fn get(&self, node: &NodePath) -> Result<Vec<u8>, ClientError> {
        match &self.0 {
            Backend::ZooKeeper(client) => client.get(node).await,
            Backend::Directory(client) => client.get(node),
        }
    }

    /// Creates the node (and its parents, empty) with this content, or replaces its content.
    pub async fn set(&self, node: &NodePath, data: &[u8]) -> Result<(), ClientError> {
        match &self.0 {
            Backend::ZooKeeper(client) => client.set(node, data).await,
            Backend::Directory(client) => client.set(node, data).await,
        }
    }

    /// Writes the content that the node has, so that watches fire, and never an older one: if somebody
    /// else writes meanwhile, theirs is what is written again.
    pub async fn poke(&self, node: &NodePath) -> Result<(), ClientError> {
        match &self.0 {
            Backend::ZooKeeper(client) => client.poke(node).await,
            Backend::Directory(client) => client.poke(node).await,
        }
    }

    /// The names of the node's children, sorted.
    pub async fn ls(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        match &self.0 {
            Backend::ZooKeeper(client) => client.ls(node).await,
            Backend::Directory(client) => client.ls(node),
        }
    }

    /// Removes the node; if `recursive`, with all below it.
    pub async fn rm(&self, node: &NodePath, recursive: bool) -> Result<(), ClientError> {
        match &self.0 {
            Backend::ZooKeeper(client) => client.rm(node, recursive).await,
            Backend::Directory(client) => client.rm(node, recursive).await,
        }
    }

    /// Closes the session, waiting for the server at most a second. Without it the server keeps the session
    /// until it expires, which harms nothing.
    pub async fn close(self) {
        match self.0 {
            Backend::ZooKeeper(client) => client.close().await,
            Backend::Directory(_) => {}
        }
    }
}
