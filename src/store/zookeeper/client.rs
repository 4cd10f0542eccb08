//! What the commands ask of ZooKeeper.

use std::collections::VecDeque;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::connect::{ATTEMPT_TIMEOUT, Connection, Ensemble};
use super::exchange::{Exchange, Failure};
use super::login::LoginSource;
use super::settings::ZooKeeperSettings;
use super::wire::{ErrorCode, Reply, Request, Stat};
use crate::model::{NodePath, children};
use crate::store::client_error::{ClientError, Right};
use crate::store::removal::Removal;

/// How many nodes of a tree are removed at a time. One request after the other would take a round trip and a
/// write to the server's disk for each node.
const REMOVALS_IN_FLIGHT: usize = 128;

/// A version that no node has: a write with this one changes nothing.
const NO_VERSION: i32 = i32::MIN;

/// The version that stands for any.
const ANY_VERSION: i32 = -1;

/// The most data that a request can have at all. Servers take far less.
const MAX_DATA: usize = 1 << 30;

pub(crate) struct ZooKeeperClient {
    exchange: Mutex<Exchange>,
    settings: ZooKeeperSettings,
    /// The URL, for errors.
    store: String,
    chroot: NodePath,
}

/// What one of several tries has come to, which others can thwart.
enum Try {
    Done,
    /// Somebody else was faster.
    Thwarted,
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
        let mut ensemble = Ensemble::without_deadlines(settings.clone(), LoginSource::Here);
        // Every server gets its turn before the caller, which waits for the session timeout, gives up.
        let turns = u32::try_from(servers).unwrap_or(u32::MAX).saturating_add(1);
        let attempt_timeout = (settings.session_timeout / turns).min(ATTEMPT_TIMEOUT);
        let (mut reasons, mut permanent) = (Vec::new(), false);
        for _ in 0..servers {
            match ensemble.connect_next(attempt_timeout).await {
                Ok(Connection { link, protocol, .. }) => {
                    let exchange = Exchange::new(link, protocol, started, settings.session_timeout);
                    return Ok(Self {
                        exchange: Mutex::new(exchange),
                        settings: settings.clone(),
                        store,
                        chroot: settings.url.chroot.clone(),
                    });
                }
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
        self.exchange.into_inner().close().await;
    }

    async fn ask(&self, request: Request<'_>) -> Result<Reply, Failure> {
        self.exchange.lock().await.ask(request).await
    }

    pub(crate) async fn get(&self, node: &NodePath) -> Result<Vec<u8>, ClientError> {
        self.read(node).await.map(|(data, _)| data)
    }

    async fn read(&self, node: &NodePath) -> Result<(Vec<u8>, Stat), ClientError> {
        let path = node.below(&self.chroot);
        match self.ask(Request::Data { path: path.as_str(), watch: false }).await {
            Ok(Reply::Data(data, stat)) => Ok((data, stat)),
            Ok(reply) => Err(self.unexpected(node, reply)),
            Err(failure) => Err(self.explain(node, Right::Read, failure).await),
        }
    }

    pub(crate) async fn set(&self, node: &NodePath, data: &[u8]) -> Result<(), ClientError> {
        // Somebody may create or remove the node between two requests, so we try until one of them fits.
        self.until_done(node, async || self.try_to_set(node, data).await).await
    }

    async fn try_to_set(&self, node: &NodePath, data: &[u8]) -> Result<Try, ClientError> {
        let path = node.below(&self.chroot);
        let path = path.as_str();
        match self.write(node, data, ANY_VERSION).await {
            Ok(()) => return Ok(Try::Done),
            Err(Failure::Server(ErrorCode::NoNode)) => {}
            Err(failure) => return Err(self.explain_write(node, Right::Write, data, failure).await),
        }
        match self.ask(Request::Create { path, data }).await {
            Ok(_) => Ok(Try::Done),
            Err(Failure::Server(ErrorCode::NodeExists)) => Ok(Try::Thwarted),
            Err(Failure::Server(ErrorCode::NoNode)) => {
                let parent = &path[..path.rfind('/').unwrap_or(0)];
                match self.make_parents(parent).await {
                    Ok(()) => Ok(Try::Thwarted),
                    Err(failure) => Err(self.explain(node, Right::Create, failure).await),
                }
            }
            Err(failure) => Err(self.explain_write(node, Right::Create, data, failure).await),
        }
    }

    /// Creates the nodes on the way to `path`, and that node, where they are missing. A server refuses to
    /// create a node that exists if we may create nothing beside it, so nothing is tried above a node that
    /// exists.
    async fn make_parents(&self, path: &str) -> Result<(), Failure> {
        let ends = path.match_indices('/').map(|(end, _)| end).skip(1).chain([path.len()]);
        let mut missing: Vec<&str> = Vec::new();
        for end in ends.collect::<Vec<_>>().into_iter().rev().filter(|end| *end > 0) {
            match self.make(&path[..end]).await {
                Ok(()) => break,
                Err(Failure::Server(ErrorCode::NoNode)) => missing.push(&path[..end]),
                Err(failure) => return Err(failure),
            }
        }
        for path in missing.into_iter().rev() {
            self.make(path).await?;
        }
        Ok(())
    }

    /// Creates a node without data, unless it exists.
    async fn make(&self, path: &str) -> Result<(), Failure> {
        match self.ask(Request::Create { path, data: b"" }).await {
            Ok(_) | Err(Failure::Server(ErrorCode::NodeExists)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    pub(crate) async fn poke(&self, node: &NodePath) -> Result<(), ClientError> {
        self.until_done(node, async || {
            let (data, stat) = self.read(node).await?;
            match self.write(node, &data, stat.version).await {
                Ok(()) => Ok(Try::Done),
                Err(Failure::Server(ErrorCode::BadVersion)) => Ok(Try::Thwarted),
                Err(failure) => Err(self.explain_write(node, Right::Write, &data, failure).await),
            }
        })
        .await
    }

    /// Replaces the data of a node that has this version.
    async fn write(&self, node: &NodePath, data: &[u8], version: i32) -> Result<(), Failure> {
        if data.len() > MAX_DATA {
            return Err(Failure::TooLarge);
        }
        let path = node.below(&self.chroot);
        self.ask(Request::SetData { path: path.as_str(), data, version }).await.map(drop)
    }

    /// Tries until a try is not thwarted, for at most the session timeout.
    async fn until_done(
        &self,
        node: &NodePath,
        mut attempt: impl AsyncFnMut() -> Result<Try, ClientError>,
    ) -> Result<(), ClientError> {
        let (started, timeout) = (Instant::now(), self.settings.session_timeout);
        let mut tries = 0;
        loop {
            match attempt().await? {
                Try::Done => return Ok(()),
                Try::Thwarted => tries += 1,
            }
            if started.elapsed() >= timeout {
                let (node, store) = (node.clone(), self.store.clone());
                return Err(ClientError::Contended { node, store, tries, timeout });
            }
        }
    }

    pub(crate) async fn ls(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        match self.list(node).await {
            Ok(Reply::Children(names, _)) => Ok(children(names)),
            Ok(reply) => Err(self.unexpected(node, reply)),
            Err(failure) => Err(self.explain(node, Right::Read, failure).await),
        }
    }

    async fn list(&self, node: &NodePath) -> Result<Reply, Failure> {
        let path = node.below(&self.chroot);
        self.ask(Request::Children { path: path.as_str(), watch: false }).await
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
                Err(Failure::Server(ErrorCode::NoNode)) if has_been_there => removal.one_is_gone(),
                Err(Failure::Server(ErrorCode::NotEmpty)) if recursive => {
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
        let mut exchange = self.exchange.lock().await;
        let (mut nodes, mut in_flight) = (nodes.into_iter(), VecDeque::new());
        loop {
            while in_flight.len() < REMOVALS_IN_FLIGHT
                && let Some(node) = nodes.next()
            {
                let path = node.below(&self.chroot);
                exchange.send(Request::Delete { path: path.as_str(), version: ANY_VERSION });
                in_flight.push_back(node);
            }
            let Some(node) = in_flight.pop_front() else { return Ok(()) };
            match exchange.answer().await {
                Ok(_) | Err(Failure::Server(ErrorCode::NoNode)) => removal.one_is_gone(),
                Err(Failure::Server(ErrorCode::NotEmpty)) => stack.push(node),
                Err(failure) => {
                    // The replies to the others are of no interest any more.
                    drop(exchange);
                    return Err(self.explain(&node, Right::Remove, failure).await);
                }
            }
        }
    }

    async fn delete(&self, node: &NodePath) -> Result<(), Failure> {
        let path = node.below(&self.chroot);
        self.ask(Request::Delete { path: path.as_str(), version: ANY_VERSION }).await.map(drop)
    }

    /// Returns the names of the node's children; none if somebody else has removed it.
    async fn names(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        match self.list(node).await {
            Ok(Reply::Children(names, _)) => Ok(children(names)),
            Ok(reply) => Err(self.unexpected(node, reply)),
            Err(Failure::Server(ErrorCode::NoNode)) => Ok(Vec::new()),
            Err(failure) => Err(self.explain(node, Right::Read, failure).await),
        }
    }

    /// The protocol reads each reply as what was asked for, so that only the size can be unexpected.
    fn unexpected(&self, node: &NodePath, reply: Reply) -> ClientError {
        let reason = match reply {
            Reply::TooLarge(size) => format!("it has {size}, more than can be read"),
            _ => "the server replied to something else".to_owned(),
        };
        ClientError::Refused { node: node.clone(), store: self.store.clone(), reason }
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
        let is_too_large = match failure {
            Failure::TooLarge => true,
            Failure::Lost(_) => self.is_too_large(node, data).await,
            Failure::Server(_) | Failure::NoAnswer => false,
        };
        if is_too_large {
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
        let asked = async {
            let Ok(again) = Box::pin(Self::connect(&self.settings)).await else { return false };
            let small = again.write(node, b"", NO_VERSION).await;
            let answers = !matches!(small, Err(Failure::Lost(_)));
            let large = again.write(node, data, NO_VERSION).await;
            let is_cut = matches!(large, Err(Failure::Lost(_)));
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
        let code = match failure {
            Failure::Server(code) => code,
            Failure::NoAnswer => {
                let timeout = self.settings.session_timeout;
                return ClientError::NoAnswer { store, timeout, doubt: right.doubt(node) };
            }
            Failure::Lost(reason) => return ClientError::Lost { store, reason, doubt: right.doubt(node) },
            Failure::TooLarge => return refused("its data is too large"),
        };
        match code {
            ErrorCode::NoNode => match right {
                _ if self.chroot_is_missing().await => {
                    ClientError::NoRoot { node: own, store, what: format!("the chroot {}", self.chroot) }
                }
                Right::Remove => ClientError::NothingToRemove { node: own, store },
                Right::Read | Right::Write | Right::Create => ClientError::Missing { node: own, store },
            },
            ErrorCode::NoAuth => {
                let needs = match right {
                    Right::Read => "its ACL must give `r`",
                    Right::Write => "its ACL must give `w`",
                    Right::Create => "the ACL of its parent must give `c`",
                    Right::Remove => "the ACL of its parent must give `d`",
                };
                let remedy = format!("{needs} to the credentials of `auth` or `sasl` in twitcher.toml");
                ClientError::Forbidden { node: own, store, right, remedy }
            }
            ErrorCode::NotEmpty => ClientError::NotEmpty { node: own, store },
            ErrorCode::NoChildrenForEphemerals => {
                refused("its parent is ephemeral and can have no children; choose another parent")
            }
            ErrorCode::QuotaExceeded => refused(
                "it would exceed the quota of a node above it; remove something there, or raise the quota \
                 (`listquota` and `setquota` of zkCli.sh)",
            ),
            ErrorCode::NotReadOnly => refused(
                "this server is read-only, because it does not see most of the others; try again when it \
                 does",
            ),
            ErrorCode::Throttled => refused("the server has too much to do; try again"),
            ErrorCode::ConnectionLoss | ErrorCode::SessionExpired | ErrorCode::SessionMoved => {
                ClientError::Lost { store, reason: code.to_string(), doubt: right.doubt(node) }
            }
            ErrorCode::MarshallingError
            | ErrorCode::Unimplemented
            | ErrorCode::BadArguments
            | ErrorCode::BadVersion
            | ErrorCode::NodeExists
            | ErrorCode::InvalidAcl
            | ErrorCode::AuthFailed
            | ErrorCode::SaslRequired
            | ErrorCode::Unknown(_) => refused(&code.to_string()),
        }
    }

    async fn chroot_is_missing(&self) -> bool {
        let path = self.chroot.as_str();
        path != "/"
            && matches!(
                self.ask(Request::Exists { path, watch: false }).await,
                Err(Failure::Server(ErrorCode::NoNode))
            )
    }
}
