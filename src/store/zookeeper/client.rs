//! What the commands ask of ZooKeeper.

use std::cell::Cell;
use std::pin::pin;

use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};
use zookeeper_client::{Acls, CreateMode, CreateOptions, Error};

use super::connect::{ATTEMPT_TIMEOUT, Connection, Ensemble, close};
use super::diagnosis::without_session;
use super::login::LoginSource;
use super::settings::ZooKeeperSettings;
use crate::model::{NodePath, children};
use crate::store::client_error::{ClientError, Right};
use crate::store::removal::Removal;

/// Everybody who reaches the server may do everything. This is ZooKeeper's own default.
const OPEN_ACL: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());

/// How many nodes of a tree are removed at a time. One request after the other would take a round trip and a
/// write to the server's disk for each node.
const REMOVALS_IN_FLIGHT: usize = 128;

/// A version that no node has: a write with this one changes nothing.
const NO_VERSION: i32 = i32::MIN;

pub(crate) struct ZooKeeperClient {
    connection: Connection,
    settings: ZooKeeperSettings,
    /// The URL, for errors.
    store: String,
    chroot: NodePath,
    /// When the command began to connect. The first request must be answered within the session timeout
    /// from here.
    started: Instant,
    last_reply: Cell<Option<Instant>>,
}

/// Why a request failed.
enum Failure {
    Server(Error),
    NoAnswer,
}

impl ZooKeeperClient {
    /// Tries each server once.
    pub(crate) async fn connect(settings: &ZooKeeperSettings) -> Result<Self, ClientError> {
        let started = Instant::now();
        let store = settings.url.to_string();
        let timeout = settings.session_timeout;
        let connected = timeout_at(started + timeout, Self::connect_to_any(settings, started, store.clone()));
        connected.await.unwrap_or(Err(ClientError::NoAnswer { store, timeout, doubt: String::new() }))
    }

    async fn connect_to_any(
        settings: &ZooKeeperSettings,
        started: Instant,
        store: String,
    ) -> Result<Self, ClientError> {
        let servers = settings.url.servers.len();
        let mut ensemble = Ensemble::new(settings.clone(), LoginSource::Here);
        // Every server gets its turn before the caller, which waits for the session timeout, gives up.
        let turns = u32::try_from(servers).unwrap_or(u32::MAX).saturating_add(1);
        let attempt_timeout = (settings.session_timeout / turns).min(ATTEMPT_TIMEOUT);
        let (mut reasons, mut permanent) = (Vec::new(), false);
        for _ in 0..servers {
            match ensemble.connect_next(attempt_timeout).await {
                Ok(connection) => {
                    return Ok(Self {
                        connection,
                        settings: settings.clone(),
                        store,
                        chroot: settings.url.chroot.clone(),
                        started,
                        last_reply: Cell::new(None),
                    });
                }
                Err(failure) => {
                    reasons.push(match failure.unexplained {
                        Some(server) => format!("{server}: {}", without_session(&server).await),
                        None => failure.reason,
                    });
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
        let read = self.within_timeout(self.connection.client.get_data(path.as_str())).await;
        match read {
            Ok((data, _)) => Ok(data),
            Err(failure) => Err(self.explain(node, Right::Read, failure).await),
        }
    }

    pub(crate) async fn set(&self, node: &NodePath, data: &[u8]) -> Result<(), ClientError> {
        let client = &self.connection.client;
        let path = node.below(&self.chroot);
        let path = path.as_str();
        let started = Instant::now();
        // Somebody may create or remove the node between two requests, so we try until one of them fits.
        let mut tries = 0;
        loop {
            match self.within_timeout(client.set_data(path, data, None)).await {
                Ok(_) => return Ok(()),
                Err(Failure::Server(Error::NoNode)) => {}
                Err(failure) => return Err(self.explain_write(node, Right::Write, data, failure).await),
            }
            match self.within_timeout(client.create(path, data, &OPEN_ACL)).await {
                Ok(_) => return Ok(()),
                Err(Failure::Server(Error::NodeExists)) => {}
                Err(Failure::Server(Error::NoNode)) => {
                    let parent = &path[..path.rfind('/').unwrap_or(0)];
                    if let Err(failure) = self.within_timeout(client.mkdir(parent, &OPEN_ACL)).await {
                        return Err(self.explain(node, Right::Create, failure).await);
                    }
                }
                Err(failure) => return Err(self.explain_write(node, Right::Create, data, failure).await),
            }
            tries += 1;
            self.give_up_if_contended(node, tries, started)?;
        }
    }

    pub(crate) async fn poke(&self, node: &NodePath) -> Result<(), ClientError> {
        let client = &self.connection.client;
        let path = node.below(&self.chroot);
        let path = path.as_str();
        let started = Instant::now();
        let mut tries = 0;
        loop {
            let (data, stat) = match self.within_timeout(client.get_data(path)).await {
                Ok(read) => read,
                Err(failure) => return Err(self.explain(node, Right::Read, failure).await),
            };
            match self.within_timeout(client.set_data(path, &data, Some(stat.version))).await {
                Ok(_) => return Ok(()),
                Err(Failure::Server(Error::BadVersion)) => {}
                Err(failure) => return Err(self.explain_write(node, Right::Write, &data, failure).await),
            }
            tries += 1;
            self.give_up_if_contended(node, tries, started)?;
        }
    }

    pub(crate) async fn ls(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        let path = node.below(&self.chroot);
        match self.within_timeout(self.connection.client.list_children(path.as_str())).await {
            Ok(names) => Ok(children(names)),
            Err(failure) => Err(self.explain(node, Right::Read, failure).await),
        }
    }

    /// Takes as long as it needs: only each request has a timeout.
    pub(crate) async fn rm(
        &self,
        node: &NodePath,
        recursive: bool,
        removal: &Removal,
    ) -> Result<(), ClientError> {
        if node.as_str() == "/" {
            return Err(ClientError::Root { store: self.store.clone() });
        }
        removal.found(1);
        // Depth first, without recursion: a node goes back on the stack under its children.
        let mut stack = vec![node.clone()];
        let mut has_been_there = false;
        while let Some(node) = stack.pop() {
            match self.delete(&node).await {
                Ok(()) => removal.one_is_gone(),
                // Somebody else removed it. Only the node that was asked for must have been there.
                Err(Failure::Server(Error::NoNode)) if has_been_there => removal.one_is_gone(),
                Err(Failure::Server(Error::NotEmpty)) if recursive => {
                    let names = self.names(&node).await?;
                    removal.found(names.len());
                    let below: Vec<_> = names.iter().map(|name| node.child(name)).collect();
                    stack.push(node);
                    self.delete_leaves(below, &mut stack, removal).await?;
                }
                Err(failure) => return Err(self.explain(&node, Right::Remove, failure).await),
            }
            has_been_there = true;
        }
        Ok(())
    }

    /// Removes those of the nodes that have no children. Pushes the others onto the stack.
    async fn delete_leaves(
        &self,
        nodes: Vec<NodePath>,
        stack: &mut Vec<NodePath>,
        removal: &Removal,
    ) -> Result<(), ClientError> {
        let deletions = nodes.into_iter().map(|node| async move { (self.delete(&node).await, node) });
        let mut deletions = stream::iter(deletions).buffer_unordered(REMOVALS_IN_FLIGHT);
        while let Some((deleted, node)) = deletions.next().await {
            match deleted {
                Ok(()) | Err(Failure::Server(Error::NoNode)) => removal.one_is_gone(),
                Err(Failure::Server(Error::NotEmpty)) => stack.push(node),
                Err(failure) => return Err(self.explain(&node, Right::Remove, failure).await),
            }
        }
        Ok(())
    }

    async fn delete(&self, node: &NodePath) -> Result<(), Failure> {
        let path = node.below(&self.chroot);
        self.within_timeout(self.connection.client.delete(path.as_str(), None)).await
    }

    /// Returns the names of the node's children; none if somebody else has removed it.
    async fn names(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        let path = node.below(&self.chroot);
        match self.within_timeout(self.connection.client.list_children(path.as_str())).await {
            Ok(names) => Ok(names),
            Err(Failure::Server(Error::NoNode)) => Ok(Vec::new()),
            Err(failure) => Err(self.explain(node, Right::Read, failure).await),
        }
    }

    /// Waits for a reply as long as the server gives no other: at most the session timeout.
    async fn within_timeout<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        let mut request = pin!(request);
        let begun = Instant::now();
        let deadline = || {
            let from = self.last_reply.get().map_or(self.started, |reply| reply.max(begun));
            from + self.settings.session_timeout
        };
        loop {
            let tried = deadline();
            match timeout_at(tried, &mut request).await {
                Ok(reply) => {
                    self.last_reply.set(Some(Instant::now()));
                    return reply.map_err(Failure::Server);
                }
                // The server has replied to another request meanwhile.
                Err(_) if deadline() > tried => {}
                Err(_) => return Err(Failure::NoAnswer),
            }
        }
    }

    fn give_up_if_contended(&self, node: &NodePath, tries: u64, started: Instant) -> Result<(), ClientError> {
        let timeout = self.settings.session_timeout;
        match started.elapsed() < timeout {
            true => Ok(()),
            false => {
                let (node, store) = (node.clone(), self.store.clone());
                Err(ClientError::Contended { node, store, tries, timeout })
            }
        }
    }

    /// Explains why a request failed that carried `data`. A server that is sent too much closes the
    /// connection without a word, as a network does that fails.
    async fn explain_write(
        &self,
        node: &NodePath,
        right: Right,
        data: &[u8],
        failure: Failure,
    ) -> ClientError {
        if let Failure::Server(error) = &failure
            && is_loss(error)
            && self.is_too_large(node, data).await
        {
            return ClientError::TooLarge {
                node: node.clone(),
                store: self.store.clone(),
                size: data.len(),
                limit: "ZooKeeper closes the connection on a request of more than `jute.maxbuffer` bytes, \
                        1048575 unless its servers are configured otherwise; put large content elsewhere, \
                        and its place into the node"
                    .to_owned(),
            };
        }
        self.explain(node, right, failure).await
    }

    /// Finds out whether the servers close a connection because of the size of `data`: asks again on a new
    /// connection, in a way that changes nothing.
    async fn is_too_large(&self, node: &NodePath, data: &[u8]) -> bool {
        let path = node.below(&self.chroot);
        let path = path.as_str();
        let asked = async {
            let Ok(again) = Box::pin(Self::connect(&self.settings)).await else { return false };
            let small = again.within_timeout(again.connection.client.set_data(path, b"", Some(NO_VERSION)));
            let answers = !small.await.is_err_and(|failure| failure.is_loss());
            let large = again.within_timeout(again.connection.client.set_data(path, data, Some(NO_VERSION)));
            let is_cut = large.await.is_err_and(|failure| failure.is_loss());
            again.close().await;
            answers && is_cut
        };
        let deadline = Instant::now() + self.settings.session_timeout;
        timeout_at(deadline, asked).await.unwrap_or(false)
    }

    async fn explain(&self, node: &NodePath, right: Right, failure: Failure) -> ClientError {
        let (own, store) = (node.clone(), self.store.clone());
        let refused = |reason: &str| ClientError::Refused {
            node: node.clone(),
            store: self.store.clone(),
            reason: reason.to_owned(),
        };
        let error = match failure {
            Failure::Server(error) => error,
            Failure::NoAnswer => {
                let timeout = self.settings.session_timeout;
                return ClientError::NoAnswer { store, timeout, doubt: right.doubt(node) };
            }
        };
        match error {
            Error::NoNode => match right {
                _ if self.chroot_is_missing().await => {
                    ClientError::NoRoot { node: own, store, what: format!("the chroot {}", self.chroot) }
                }
                Right::Remove => ClientError::NothingToRemove { node: own, store },
                Right::Read | Right::Write | Right::Create => ClientError::Missing { node: own, store },
            },
            Error::NoAuth => {
                let needs = match right {
                    Right::Read => "its ACL must give `r`",
                    Right::Write => "its ACL must give `w`",
                    Right::Create => "the ACL of its parent must give `c`",
                    Right::Remove => "the ACL of its parent must give `d`",
                };
                let remedy = format!("{needs} to the credentials of `auth` or `sasl` in twitcher.toml");
                ClientError::Forbidden { node: own, store, right, remedy }
            }
            Error::NotEmpty => ClientError::NotEmpty { node: own, store },
            Error::NoChildrenForEphemerals => {
                refused("its parent is ephemeral and can have no children; choose another parent")
            }
            Error::QuotaExceeded => refused(
                "it would exceed the quota of a node above it; remove something there, or raise the quota \
                 (`listquota` and `setquota` of zkCli.sh)",
            ),
            Error::NotReadOnly => refused(
                "this server is read-only, because it does not see most of the others; try again when it \
                 does",
            ),
            Error::Throttled => refused("the server has too much to do; try again"),
            error if is_loss(&error) => {
                ClientError::Lost { store, reason: error.to_string(), doubt: right.doubt(node) }
            }
            // The crate's enum is open.
            error => refused(&error.to_string()),
        }
    }

    async fn chroot_is_missing(&self) -> bool {
        let chroot = self.chroot.as_str();
        chroot != "/"
            && matches!(self.within_timeout(self.connection.client.check_stat(chroot)).await, Ok(None))
    }
}

impl Failure {
    fn is_loss(&self) -> bool {
        match self {
            Self::Server(error) => is_loss(error),
            Self::NoAnswer => false,
        }
    }
}

/// Whether the connection is gone, or the session with it.
fn is_loss(error: &Error) -> bool {
    matches!(
        error,
        // The crate reports a request on a cut connection as `Custom`.
        Error::ConnectionLoss
            | Error::SessionExpired
            | Error::ClientClosed
            | Error::Timeout
            | Error::Custom(_)
    )
}
