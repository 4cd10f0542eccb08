//! Setting nodes.

use std::time::Duration;

use hyper::body::Bytes;

use super::{EtcdClient, Failure};
use crate::model::NodePath;
use crate::store::client_error::{ClientError, Right};
use crate::store::condition::{Condition, Found, WriteOptions};
use crate::store::contention::Contention;
use crate::store::etcd::version;
use crate::store::etcd::wire::messages::{
    Compare, Compared, LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse,
    PutRequest, TxnRequest, TxnResponse,
};

/// The most data that a request can have at all. Servers take far less.
pub(super) const MAX_DATA: usize = 1 << 30;

impl EtcdClient {
    pub(crate) async fn set(
        &self,
        node: &NodePath,
        data: &[u8],
        options: &WriteOptions,
    ) -> Result<(), ClientError> {
        if options.acl.is_some() {
            self.set_acl()?;
        }
        if data.len() > MAX_DATA {
            return Err(self.too_large(node, data.len()));
        }
        let key = self.key(node)?;
        let mut lease = 0;
        let compare = match options.condition {
            Condition::None => None,
            // No key has version 0: that is how etcd says that it does not exist.
            Condition::Number(number @ ..=0) => {
                return Err(self.condition_failed(node, Condition::Number(number)).await);
            }
            Condition::Number(number) => Some(Compared::Version(number)),
            Condition::Absent => Some(Compared::Version(0)),
            Condition::Same(before) => match self.find(node).await? {
                Some(kv) if version::of_data(&kv).is_same_state(before) => {
                    // The node is edited, and lives no longer for that.
                    lease = kv.lease;
                    Some(Compared::ModRevision(kv.mod_revision))
                }
                Some(_) | None => return Err(self.condition_failed(node, options.condition).await),
            },
        };
        if let Some(ttl) = options.ttl {
            lease = self.grant(node, ttl).await?;
        }
        let value = Bytes::copy_from_slice(data);
        let put = PutRequest { key: key.clone(), value, lease, ..Default::default() };
        let request = TxnRequest {
            compare: compare.map(|compared| Compare::equal(key, compared)).into_iter().collect(),
            success: vec![put.into()],
            ..Default::default()
        };
        match self.ask::<TxnResponse>("KV/Txn", &request).await {
            Ok(TxnResponse { succeeded: true, .. }) => Ok(()),
            Ok(TxnResponse { succeeded: false, .. }) => {
                self.revoke_unused(lease, options).await;
                Err(self.condition_failed(node, options.condition).await)
            }
            Err(failure) => {
                if matches!(failure, Failure::Server(_)) {
                    self.revoke_unused(lease, options).await;
                }
                Err(self.explain_write(node, data.len(), failure))
            }
        }
    }

    /// Ends a lease that was made for a node that is not set. Otherwise, whoever tries again and again to get
    /// a lock would fill the server with them.
    async fn revoke_unused(&self, lease: i64, options: &WriteOptions) {
        if options.ttl.is_some() {
            let request = LeaseRevokeRequest { id: lease };
            // It ends by itself, if later.
            let _ = self.ask::<LeaseRevokeResponse>("Lease/LeaseRevoke", &request).await;
        }
    }

    /// Makes a lease, which removes the node when it ends. It lives for whole seconds.
    async fn grant(&self, node: &NodePath, ttl: Duration) -> Result<i64, ClientError> {
        let seconds = ttl.as_millis().div_ceil(1000);
        let request = LeaseGrantRequest { ttl: i64::try_from(seconds).unwrap_or(i64::MAX), id: 0 };
        match self.ask::<LeaseGrantResponse>("Lease/LeaseGrant", &request).await {
            Ok(LeaseGrantResponse { error, .. }) if !error.is_empty() => Err(self.refused(node, &error)),
            Ok(LeaseGrantResponse { id, .. }) => Ok(id),
            // A lease without keys changes no node.
            Err(failure) => Err(self.explain(node, Right::Read, failure)),
        }
    }

    pub(crate) fn set_acl(&self) -> Result<(), ClientError> {
        Err(ClientError::Unsupported {
            store: self.store.clone(),
            reason: "etcd has no ACLs (--acl); its roles say who may do what (etcdctl role grant-permission)"
                .to_owned(),
        })
    }

    /// Says what the node is in place of what the condition asks for.
    pub(super) async fn condition_failed(&self, node: &NodePath, condition: Condition) -> ClientError {
        let found = match self.find(node).await {
            Ok(Some(kv)) => Found::Version(kv.version),
            Ok(None) => Found::Nothing,
            Err(error) => return error,
        };
        ClientError::ConditionFailed { node: node.clone(), store: self.store.clone(), condition, found }
    }

    pub(crate) async fn poke(&self, node: &NodePath) -> Result<(), ClientError> {
        let mut contention = Contention::new(node, &self.store, self.settings.session_timeout);
        loop {
            let kv = self.read(node).await?;
            let (key, size) = (kv.key, kv.value.len());
            let unchanged = Compare::equal(key.clone(), Compared::ModRevision(kv.mod_revision));
            let put = PutRequest { key, value: kv.value, lease: kv.lease, ..Default::default() };
            let request =
                TxnRequest { compare: vec![unchanged], success: vec![put.into()], ..Default::default() };
            match self.ask::<TxnResponse>("KV/Txn", &request).await {
                Ok(TxnResponse { succeeded: true, .. }) => return Ok(()),
                Ok(TxnResponse { succeeded: false, .. }) => contention.thwarted()?,
                Err(failure) => return Err(self.explain_write(node, size, failure)),
            }
        }
    }
}
