//! What the commands ask of ZooKeeper.

use zookeeper_client::{Acls, CreateMode, CreateOptions, Error};

use super::connect::{ATTEMPT_TIMEOUT, Connection, Ensemble, close};
use super::settings::ZooKeeperSettings;
use crate::model::{NodePath, children};
use crate::store::client_error::ClientError;

/// Everybody who reaches the server may do everything. This is ZooKeeper's own default.
const OPEN_ACL: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());

pub(crate) struct ZooKeeperClient {
    connection: Connection,
    /// The URL, for errors.
    store: String,
    chroot: NodePath,
}

impl ZooKeeperClient {
    /// Tries each server once.
    pub(crate) async fn connect(settings: &ZooKeeperSettings) -> Result<Self, ClientError> {
        let (store, chroot, servers) =
            (settings.url.to_string(), settings.url.chroot.clone(), settings.url.servers.len());
        let mut ensemble = Ensemble::new(settings.clone());
        // Every server gets its turn before the caller, which waits for the session timeout, gives up.
        let turns = u32::try_from(servers).unwrap_or(u32::MAX).saturating_add(1);
        let attempt_timeout = (settings.session_timeout / turns).min(ATTEMPT_TIMEOUT);
        let (mut reasons, mut permanent) = (Vec::new(), false);
        for _ in 0..servers {
            match ensemble.connect_next(attempt_timeout).await {
                Ok(connection) => return Ok(Self { connection, store, chroot }),
                Err(failure) => {
                    reasons.push(failure.reason);
                    permanent |= failure.permanent;
                }
            }
        }
        // A permanent error names its remedy itself.
        let remedy = if permanent { "" } else { "; check that it runs, and --store or --zkservers" };
        Err(ClientError::Unreachable { store, reason: format!("{}{remedy}", reasons.join(", ")) })
    }

    pub(crate) async fn close(self) {
        let Connection { client, service, .. } = self.connection;
        drop(client);
        close(service).await;
    }

    pub(crate) async fn get(&self, node: &NodePath) -> Result<Vec<u8>, ClientError> {
        let path = node.below(&self.chroot);
        let read = self.connection.client.get_data(path.as_str()).await;
        read.map(|(data, _)| data).map_err(|error| self.explain(node, error))
    }

    pub(crate) async fn set(&self, node: &NodePath, data: &[u8]) -> Result<(), ClientError> {
        let client = &self.connection.client;
        let path = node.below(&self.chroot);
        let path = path.as_str();
        // Somebody may create or remove the node between two requests, so we try until one of them fits.
        loop {
            match client.set_data(path, data, None).await {
                Ok(_) => return Ok(()),
                Err(Error::NoNode) => {}
                Err(error) => return Err(self.explain(node, error)),
            }
            match client.create(path, data, &OPEN_ACL).await {
                Ok(_) => return Ok(()),
                Err(Error::NodeExists) => {}
                Err(Error::NoNode) => {
                    let parent = &path[..path.rfind('/').unwrap_or(0)];
                    client.mkdir(parent, &OPEN_ACL).await.map_err(|error| self.explain(node, error))?;
                }
                Err(error) => return Err(self.explain(node, error)),
            }
        }
    }

    pub(crate) async fn poke(&self, node: &NodePath) -> Result<(), ClientError> {
        let client = &self.connection.client;
        let path = node.below(&self.chroot);
        let path = path.as_str();
        loop {
            let (data, stat) = client.get_data(path).await.map_err(|error| self.explain(node, error))?;
            match client.set_data(path, &data, Some(stat.version)).await {
                Ok(_) => return Ok(()),
                Err(Error::BadVersion) => {}
                Err(error) => return Err(self.explain(node, error)),
            }
        }
    }

    pub(crate) async fn ls(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        let path = node.below(&self.chroot);
        let listed = self.connection.client.list_children(path.as_str()).await;
        listed.map(children).map_err(|error| self.explain(node, error))
    }

    pub(crate) async fn rm(&self, node: &NodePath, recursive: bool) -> Result<(), ClientError> {
        if node.as_str() == "/" {
            return Err(ClientError::Root { store: self.store.clone() });
        }
        let client = &self.connection.client;
        let top = node.below(&self.chroot);
        // Depth first, without recursion: a node goes back on the stack under its children.
        let mut stack = vec![top.as_str().to_owned()];
        while let Some(path) = stack.last() {
            match client.delete(path, None).await {
                Ok(()) => {
                    stack.pop();
                }
                // Somebody else removed it. Only the node that was asked for must have been there.
                Err(Error::NoNode) if stack.len() > 1 => {
                    stack.pop();
                }
                Err(Error::NotEmpty) if recursive => {
                    let path = path.clone();
                    match client.list_children(&path).await {
                        Ok(names) => stack.extend(names.iter().map(|name| format!("{path}/{name}"))),
                        Err(Error::NoNode) => {}
                        Err(error) => return Err(self.explain(node, error)),
                    }
                }
                Err(error) => return Err(self.explain(node, error)),
            }
        }
        Ok(())
    }

    fn explain(&self, node: &NodePath, error: Error) -> ClientError {
        let (node, store) = (node.clone(), self.store.clone());
        match error {
            Error::NoNode => ClientError::Missing { node, store },
            Error::NoAuth => ClientError::Forbidden { node, store },
            Error::NotEmpty => ClientError::NotEmpty { node, store },
            // The crate reports a request on a cut connection as `Custom`.
            Error::ConnectionLoss
            | Error::SessionExpired
            | Error::ClientClosed
            | Error::Timeout
            | Error::Custom(_) => ClientError::Lost { node, store, reason: error.to_string() },
            // The crate's enum is open.
            error => ClientError::Refused { node, store, reason: error.to_string() },
        }
    }
}
