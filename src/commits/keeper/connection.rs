//! A keeper on one connection to its store.

use crate::commits::key::Key;
use crate::model::NodePath;
use crate::store::{Client, ClientError, StoreSettings};

/// A connection to the store in which commits are published.
pub struct Keeper {
    pub(super) client: Client,
    pub(super) settings: StoreSettings,
    /// The node above those of the keys.
    pub(super) path: NodePath,
}

impl Keeper {
    /// Connects to the keeper at `path`, trying each server once.
    pub async fn connect(settings: &StoreSettings, path: &NodePath) -> Result<Self, ClientError> {
        let client = Client::connect(settings).await?;
        Ok(Self { client, settings: settings.clone(), path: path.child("data") })
    }

    /// Returns the node of a key, or why it has none.
    pub(super) fn node(&self, key: &Key) -> Result<NodePath, String> {
        let node = self.path.child(key.as_str());
        match self.settings.objection(&node, true) {
            Some(objection) => Err(objection),
            None => Ok(node),
        }
    }

    /// Returns the names of all nodes.
    pub(super) async fn names(&self) -> Result<Vec<String>, ClientError> {
        match self.client.ls(&self.path).await {
            Err(ClientError::Missing { .. } | ClientError::NoRoot { .. }) => Ok(Vec::new()),
            names => names,
        }
    }

    /// Makes sure that the connection is there.
    pub async fn probe(&self) -> Result<(), ClientError> {
        match self.client.get(&self.path).await {
            Ok(_) => Ok(()),
            Err(ClientError::Missing { .. } | ClientError::NoRoot { .. }) => Ok(()),
            Err(ClientError::Forbidden { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Does something else, however long that takes. The connection lives on.
    pub async fn idle<T>(&self, work: impl Future<Output = T>) -> T {
        self.client.idle(work).await
    }

    pub async fn close(self) {
        self.client.close().await;
    }
}
