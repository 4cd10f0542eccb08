//! What the commands ask of etcd.

mod bulk;
mod catalogue;
mod change;
mod explain;
mod list;
mod remove;
mod transaction;
mod walk;
mod write;

use std::cell::Cell;

use hyper::body::Bytes;
use prost::Message;
use tokio::time::{Instant, timeout_at};

use super::connect::{ATTEMPT_TIMEOUT, Cluster, Connection};
use super::keys::Keys;
use super::link::{CallError, Link};
use super::order;
use super::row::{is_without_data, mistake};
use super::settings::EtcdSettings;
use super::version;
use super::wire::elements::Reply;
use super::wire::messages::{KeyValue, RangeRequest, RangeResponse};
use super::wire::status::Status;
use crate::model::NodePath;
use crate::store::client_error::{ClientError, Doubt, Right};
use crate::store::condition::ReadNode;
use crate::store::login_source::LoginSource;

/// The longest reply: more than any node that a server takes.
const MAX_REPLY: u64 = 1 << 30;

pub(crate) struct EtcdClient {
    link: Link,
    settings: EtcdSettings,
    keys: Keys,
    /// The URL, for errors.
    store: String,
    /// The moment from which the next reply must come within the session timeout.
    waiting_since: Cell<Instant>,
}

const NO_ETCD: &str = "the server gave keys out of order, or of another range, which no etcd does";

/// Why a request failed.
enum Failure {
    Server(Status),
    NoAnswer,
    Lost(String),
}

/// Why a request has no reply that can be used.
enum CallFailure {
    Failed(Failure),
    /// The reply is longer than was asked for.
    TooLong(String),
}

impl EtcdClient {
    /// Tries each member once.
    pub(crate) async fn connect(settings: &EtcdSettings) -> Result<Self, ClientError> {
        let started = Instant::now();
        let store = settings.url.to_string();
        let timeout = settings.session_timeout;
        let connected = timeout_at(started + timeout, Self::connect_to_any(settings, started, store.clone()));
        connected.await.unwrap_or(Err(ClientError::NoAnswer { store, timeout, doubt: Doubt::None }))
    }

    async fn connect_to_any(
        settings: &EtcdSettings,
        started: Instant,
        store: String,
    ) -> Result<Self, ClientError> {
        let servers = settings.url.servers.len();
        let mut cluster = Cluster::new(settings.clone(), LoginSource::Here);
        // Every member gets its turn before the caller, which waits for the session timeout, gives up.
        let turns = u32::try_from(servers).unwrap_or(u32::MAX).saturating_add(1);
        let attempt_timeout = (settings.session_timeout / turns).min(ATTEMPT_TIMEOUT);
        let (mut reasons, mut permanent, mut transient) = (Vec::new(), false, false);
        for _ in 0..servers {
            match cluster.connect_next(attempt_timeout).await {
                Ok(Connection { link, .. }) => {
                    return Ok(Self {
                        link,
                        settings: settings.clone(),
                        keys: Keys::new(settings.url.prefix.clone()),
                        store,
                        waiting_since: Cell::new(started),
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
        let remedy = if permanent { "" } else { "; check that it runs, and --store" };
        let reason = format!("{}{remedy}", reasons.join(", "));
        Err(ClientError::Unreachable { store, reason, permanent: !transient })
    }

    async fn ask<R: Reply>(&self, method: &str, request: &impl Message) -> Result<R, Failure> {
        self.ask_at_most(method, request, MAX_REPLY).await.map_err(|error| match error {
            CallFailure::Failed(failure) => failure,
            CallFailure::TooLong(reason) => Failure::Lost(reason),
        })
    }

    /// Takes a reply of at most so many bytes.
    async fn ask_at_most<R: Reply>(
        &self,
        method: &str,
        request: &impl Message,
        bytes: u64,
    ) -> Result<R, CallFailure> {
        let deadline = self.waiting_since.get() + self.settings.session_timeout;
        let reply = timeout_at(deadline, self.link.call(method, request, bytes)).await;
        self.waiting_since.set(Instant::now());
        reply.map_err(|_| CallFailure::Failed(Failure::NoAnswer))?.map_err(|error| match error {
            CallError::Status(status) => CallFailure::Failed(Failure::Server(status)),
            CallError::TooLong(_) => CallFailure::TooLong(error.to_string()),
            CallError::Lost(reason) => CallFailure::Failed(Failure::Lost(reason)),
        })
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Failure> {
        let reply = self.ask("KV/Range", &request).await?;
        if order::is_possible(&request, &reply) { Ok(reply) } else { Err(Failure::Lost(NO_ETCD.to_owned())) }
    }

    /// Returns the key of a node that is to be written or read.
    fn key(&self, node: &NodePath) -> Result<Bytes, ClientError> {
        self.check(node)?;
        self.keys.key(node).ok_or_else(|| {
            self.refused(
                node,
                match Keys::is_row(node) {
                    true => "there is no row of this name; add the rest of a row's key",
                    false => "the root has no data in etcd; name a node below it, or give the URL a prefix",
                },
            )
        })
    }

    /// Fails for a path that begins like that of a row and is none.
    fn check(&self, node: &NodePath) -> Result<(), ClientError> {
        match mistake(node) {
            None => Ok(()),
            Some(mistake) => Err(ClientError::Row { store: self.store.clone(), mistake }),
        }
    }

    /// Finds the node's own key, if it can have one.
    async fn find_own(&self, node: &NodePath) -> Result<Option<KeyValue>, ClientError> {
        match self.keys.key(node) {
            Some(_) => self.find(node).await,
            None => Ok(None),
        }
    }

    pub(crate) async fn get(&self, node: &NodePath) -> Result<Vec<u8>, ClientError> {
        self.read(node).await.map(|kv| kv.value.into())
    }

    /// A lease is a hexadecimal number, as etcdctl shows it; `0` where the node has none.
    pub(crate) async fn read_node(&self, node: &NodePath) -> Result<ReadNode, ClientError> {
        let kv = self.read(node).await?;
        let facts = vec![
            ("create_revision", kv.create_revision.into()),
            ("mod_revision", kv.mod_revision.into()),
            ("lease", format!("{:x}", kv.lease).into()),
        ];
        Ok(ReadNode { version: version::of_data(&kv), data: kv.value.into(), facts })
    }

    async fn read(&self, node: &NodePath) -> Result<KeyValue, ClientError> {
        self.find(node).await?.ok_or_else(|| self.missing(node))
    }

    async fn find(&self, node: &NodePath) -> Result<Option<KeyValue>, ClientError> {
        let request = RangeRequest { key: self.key(node)?, ..Default::default() };
        let found = self.range(request).await.map_err(|failure| self.explain(node, Right::Read, failure))?;
        Ok(found.kvs.into_iter().next())
    }

    fn missing(&self, node: &NodePath) -> ClientError {
        let remedy = match is_without_data(node) {
            true => "a table is there as soon as it has a row; set one, with the rest of its key",
            false => ClientError::CREATE,
        };
        ClientError::Missing { node: node.clone(), store: self.store.clone(), remedy }
    }
}
