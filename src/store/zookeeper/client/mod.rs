//! What the commands ask of ZooKeeper.
//!
//! * [`write`](self::write) sets and pokes nodes, [`remove`] removes them, and [`tree`] lists them.
//! * [`walk`] visits a tree, [`bulk`] writes and removes many nodes, and [`change`] does so on conditions.
//! * [`transaction`] does several of these at once.
//! * [`explain`] words why a request failed.

mod bulk;
mod change;
mod explain;
mod remove;
mod transaction;
mod tree;
mod walk;
mod write;

use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{Instant, timeout_at};

use super::connect::{ATTEMPT_TIMEOUT, Connection, Ensemble};
use super::exchange::{Exchange, Failure};
use super::settings::ZooKeeperSettings;
use super::stamp::Stamp;
use super::wire::{Reply, Request, Stat};
use crate::content;
use crate::model::{NodeFacet, NodePath, children};
use crate::store::client_error::{ClientError, Doubt, Right};
use crate::store::condition::ReadNode;
use crate::store::login_source::LoginSource;

/// How many nodes of a tree are asked about at a time. One request after the other would take a round trip
/// for each node, and a removal a write to the server's disk.
const REQUESTS_IN_FLIGHT: usize = 128;

/// Returns up to how many requests are sent now, while so many have no reply. They are sent when half of them
/// have one, so that many share a packet: one by one, each costs both sides a system call of its own.
fn up_to(in_flight: usize) -> usize {
    if in_flight > REQUESTS_IN_FLIGHT / 2 { in_flight } else { REQUESTS_IN_FLIGHT }
}

/// A version that no node has: a write with this one changes nothing.
const NO_VERSION: i32 = i32::MIN;

/// The version that stands for any.
const ANY_VERSION: i32 = -1;

pub(crate) struct ZooKeeperClient {
    exchange: Mutex<Exchange>,
    settings: ZooKeeperSettings,
    /// The URL, for errors.
    store: String,
    chroot: NodePath,
    /// Whether the servers read several nodes by one request, once that is known.
    reads_several: OnceCell<bool>,
}

impl ZooKeeperClient {
    /// Tries each server once.
    pub(crate) async fn connect(settings: &ZooKeeperSettings) -> Result<Self, ClientError> {
        let started = Instant::now();
        let store = settings.url.to_string();
        let timeout = settings.session_timeout;
        let connected = timeout_at(started + timeout, Self::connect_to_any(settings, started, store.clone()));
        connected.await.unwrap_or(Err(ClientError::NoAnswer { store, timeout, doubt: Doubt::None }))
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
        let (mut reasons, mut permanent, mut transient) = (Vec::new(), false, false);
        for _ in 0..servers {
            match ensemble.connect_next(attempt_timeout).await {
                Ok(Connection { link, protocol, .. }) => {
                    let exchange = Exchange::new(link, protocol, started, settings.session_timeout);
                    return Ok(Self {
                        exchange: Mutex::new(exchange),
                        settings: settings.clone(),
                        store,
                        chroot: settings.url.chroot.clone(),
                        reads_several: OnceCell::new(),
                    });
                }
                Err(failure) => {
                    reasons.push(failure.reason);
                    permanent |= failure.permanent;
                    transient |= !failure.permanent;
                }
            }
        }
        // A permanent error names its remedy itself.
        let remedy = if permanent { "" } else { "; check that it runs, and --store or --zkservers" };
        let reason = format!("{}{remedy}", reasons.join(", "));
        Err(ClientError::Unreachable { store, reason, permanent: !transient })
    }

    /// Keeps the session alive until `work` is done.
    pub(crate) async fn idle<T>(&self, work: impl Future<Output = T>) -> T {
        self.exchange.lock().await.idle(work).await
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

    pub(crate) async fn read_node(&self, node: &NodePath) -> Result<ReadNode, ClientError> {
        let (data, stat) = self.read(node).await?;
        let version = Stamp::of(&stat, NodeFacet::Data).version();
        Ok(ReadNode { data, version, facts: facts(&stat).into() })
    }

    async fn read(&self, node: &NodePath) -> Result<(Vec<u8>, Stat), ClientError> {
        let path = node.below(&self.chroot);
        match self.ask(Request::Data { path: path.as_str(), watch: false }).await {
            Ok(Reply::Data(data, stat)) => match content::read(&data) {
                Ok(data) => Ok((data.into_owned(), stat)),
                Err(error) => Err(self.refused(node, error.to_string())),
            },
            Ok(reply) => Err(self.unexpected(node, reply)),
            Err(failure) => Err(self.explain(node, Right::Read, failure).await),
        }
    }

    pub(crate) async fn ls(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        match self.list(node).await {
            Ok(Reply::Children(names, _)) => Ok(children(names)),
            Ok(reply) => Err(self.unexpected(node, reply)),
            Err(failure) => Err(self.explain(node, Right::Read, failure).await),
        }
    }

    async fn stat(&self, node: &NodePath) -> Result<Stat, Failure> {
        let path = node.below(&self.chroot);
        match self.ask(Request::Exists { path: path.as_str(), watch: false }).await? {
            Reply::Stat(stat) => Ok(stat),
            // The protocol reads each reply as what was asked for.
            _ => Err(Failure::Lost("the server replied to something else".to_owned())),
        }
    }

    async fn list(&self, node: &NodePath) -> Result<Reply, Failure> {
        let path = node.below(&self.chroot);
        self.ask(Request::Children { path: path.as_str(), watch: false }).await
    }
}

/// What a server tells of a node, by the names that ZooKeeper and its other clients use. Times are in
/// milliseconds since 1970.
fn facts(stat: &Stat) -> [(&'static str, Value); 10] {
    [
        ("czxid", stat.czxid.into()),
        ("mzxid", stat.mzxid.into()),
        ("pzxid", stat.pzxid.into()),
        ("ctime", stat.ctime.into()),
        ("mtime", stat.mtime.into()),
        ("cversion", stat.cversion.into()),
        ("aversion", stat.aversion.into()),
        ("ephemeralOwner", stat.ephemeral_owner.into()),
        ("dataLength", stat.data_length.into()),
        ("numChildren", stat.num_children.into()),
    ]
}
