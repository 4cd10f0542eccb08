//! Transactions.
//!
//! A transaction of etcd fails only as a whole, and a removal of nothing is no failure there. So all nodes
//! are read first, at one revision, and the transaction is done if none of those that matter has changed
//! since. Otherwise all begins anew.

use std::collections::HashMap;

use hyper::body::Bytes;

use super::write::MAX_DATA;
use super::{EtcdClient, Failure};
use crate::model::NodePath;
use crate::store::client_error::{ClientError, Doubt, Right};
use crate::store::contention::Contention;
use crate::store::etcd::wire::messages::{
    AnyResult, Compare, Compared, DeleteRequest, KeyValue, PutRequest, RangeRequest, TxnRequest, TxnResponse,
};
use crate::store::transaction::{Operation, OperationResult, Outcome, Transaction};

/// The most operations of one transaction, unless the servers are configured otherwise (`--max-txn-ops`).
pub(super) const MAX_OPERATIONS: usize = 128;

/// A node as it was read: `None` if it is not there.
type Seen = Option<KeyValue>;

impl EtcdClient {
    pub(crate) async fn transact(&self, transaction: &Transaction) -> Result<Outcome, ClientError> {
        let operations = transaction.then.iter().chain(&transaction.otherwise).map(Operation::node);
        let mut nodes: Vec<_> =
            transaction.conditions.iter().map(|test| &test.node).chain(operations).collect();
        nodes.sort();
        nodes.dedup();
        let Some(first) = nodes.first() else {
            return Ok(Outcome { succeeded: true, results: Vec::new() });
        };
        let size = transaction.then.iter().chain(&transaction.otherwise).map(length).sum();
        if size > MAX_DATA {
            return Err(self.too_large(first, size));
        }
        let mut contention = Contention::new(first, &self.store, self.settings.session_timeout);
        loop {
            let seen = self.look_at(&nodes).await?;
            if let Some(outcome) = self.try_to_transact(transaction, &seen, first, size).await? {
                return Ok(outcome);
            }
            contention.thwarted()?;
        }
    }

    /// Reads all nodes at one revision.
    async fn look_at<'a>(&self, nodes: &[&'a NodePath]) -> Result<HashMap<&'a NodePath, Seen>, ClientError> {
        let mut seen = HashMap::new();
        let mut revision = 0;
        for some in nodes.chunks(MAX_OPERATIONS) {
            let read = |node: &&NodePath| {
                Ok(RangeRequest { key: self.key(node)?, revision, ..Default::default() }.into())
            };
            let success = some.iter().map(read).collect::<Result<_, ClientError>>()?;
            let request = TxnRequest { success, ..Default::default() };
            let reply = self.ask::<TxnResponse>("KV/Txn", &request).await;
            let reply = reply.map_err(|failure| self.explain(some[0], Right::Read, failure))?;
            if revision == 0 {
                revision = reply.header.map_or(0, |header| header.revision);
            }
            for (node, result) in some.iter().zip(reply.responses) {
                let kv = match result.result {
                    Some(AnyResult::Range(found)) => found.kvs.into_iter().next(),
                    Some(AnyResult::Put(_) | AnyResult::Delete(_)) | None => None,
                };
                seen.insert(*node, kv);
            }
        }
        Ok(seen)
    }

    /// Returns `None` if somebody else was faster.
    async fn try_to_transact(
        &self,
        transaction: &Transaction,
        seen: &HashMap<&NodePath, Seen>,
        first: &NodePath,
        size: usize,
    ) -> Result<Option<Outcome>, ClientError> {
        let found = |node| seen[node].as_ref().map(|kv| (&kv.value[..], kv.version));
        let succeeded = transaction.conditions.iter().all(|test| test.wanted.is(found(&test.node)));
        let branch = transaction.branch(succeeded);
        let (mut request, mut results) = (TxnRequest::default(), Vec::new());
        let mut now: HashMap<_, _> = seen.iter().map(|(node, kv)| (*node, kv.clone())).collect();
        for operation in branch {
            let node = operation.node();
            let key = self.key(node)?;
            match operation {
                Operation::Set { data, .. } => {
                    let value = Bytes::copy_from_slice(data);
                    let version = now[node].as_ref().map_or(0, |kv| kv.version) + 1;
                    let put = PutRequest { key: key.clone(), value: value.clone(), ..Default::default() };
                    request.success.push(put.into());
                    results.push(OperationResult::Set { node: node.clone(), version });
                    now.insert(node, Some(KeyValue { key, value, version, ..Default::default() }));
                }
                Operation::Remove { .. } if now[node].is_none() => {
                    let (node, store) = (node.clone(), self.store.clone());
                    return Err(ClientError::NothingToRemove { node, store });
                }
                Operation::Remove { .. } => {
                    request.success.push(DeleteRequest { key, ..Default::default() }.into());
                    results.push(OperationResult::Removed { node: node.clone() });
                    now.insert(node, None);
                }
                Operation::Get { .. } => {
                    let found = now[node].as_ref().map(|kv| (kv.value.to_vec(), kv.version));
                    results.push(OperationResult::Got { node: node.clone(), found });
                }
            }
        }
        let outcome = Outcome { succeeded, results };
        if request.success.is_empty() {
            // All nodes were read at one moment.
            return Ok(Some(outcome));
        }
        let conditions = transaction.conditions.iter().map(|test| &test.node);
        let mut pinned: Vec<_> = conditions.chain(branch.iter().map(Operation::node)).collect();
        pinned.sort();
        pinned.dedup();
        for node in pinned {
            // No key has revision 0: that is how etcd says that it does not exist.
            let revision = seen[node].as_ref().map_or(0, |kv| kv.mod_revision);
            request.compare.push(Compare::equal(self.key(node)?, Compared::ModRevision(revision)));
        }
        let most = request.success.len().max(request.compare.len());
        match self.ask::<TxnResponse>("KV/Txn", &request).await {
            Ok(reply) => Ok(reply.succeeded.then_some(outcome)),
            Err(Failure::Lost(reason)) => {
                Err(ClientError::Lost { store: self.store.clone(), reason, doubt: Doubt::Transaction })
            }
            Err(Failure::NoAnswer) => {
                let (store, timeout) = (self.store.clone(), self.settings.session_timeout);
                Err(ClientError::NoAnswer { store, timeout, doubt: Doubt::Transaction })
            }
            Err(Failure::Server(_)) if most > MAX_OPERATIONS => {
                let reason = format!(
                    "etcd takes {MAX_OPERATIONS} operations in a transaction unless its servers are \
                     configured otherwise (--max-txn-ops), and this one has {most}; nothing was changed"
                );
                Err(self.refused(first, &reason))
            }
            Err(failure) => Err(self.explain_write(first, size, failure)),
        }
    }
}

fn length(operation: &Operation) -> usize {
    match operation {
        Operation::Set { data, .. } => data.len(),
        Operation::Remove { .. } | Operation::Get { .. } => 0,
    }
}
