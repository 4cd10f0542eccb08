//! Writing and removing many nodes, in transactions that are in flight together.

use futures_util::future::try_join_all;
use hyper::body::Bytes;

use super::transaction::MAX_OPERATIONS;
use super::{EtcdClient, Failure};
use crate::model::NodePath;
use crate::store::bulk::{Entry, Fate};
use crate::store::client_error::{ClientError, Right};
use crate::store::condition::WriteOptions;
use crate::store::etcd::wire::messages::{
    AnyResult, Compare, Compared, DeleteRequest, PutRequest, RangeRequest, TxnRequest, TxnResponse,
};
use crate::store::etcd::wire::status::Meaning;

/// How many bytes of data a transaction with several nodes has at most. Servers take 1.5 MiB.
const MAX_BYTES: usize = 512 << 10;

impl EtcdClient {
    /// Writes those of the nodes that are not the same already, and says what was done about each; if
    /// `is_rehearsal`, nothing is written. No node is there twice.
    pub(crate) async fn put_all(
        &self,
        entries: &[Entry],
        is_rehearsal: bool,
    ) -> Result<Vec<Fate>, ClientError> {
        let all: Vec<_> = entries.iter().collect();
        let compared = try_join_all(parts(&all).into_iter().map(|part| self.compare(part))).await?;
        let fates: Vec<_> = compared.into_iter().flatten().collect();
        if !is_rehearsal {
            let other = all.iter().zip(&fates).filter(|(_, fate)| **fate != Fate::Same);
            let other: Vec<_> = other.map(|(entry, _)| *entry).collect();
            try_join_all(parts(&other).into_iter().map(|part| self.put(part))).await?;
        }
        Ok(fates)
    }

    async fn compare(&self, entries: &[&Entry]) -> Result<Vec<Fate>, ClientError> {
        let read = |entry: &&Entry| {
            let key = self.keys.key(&entry.node);
            key.map(|key| RangeRequest { key, ..Default::default() }.into())
        };
        let request = TxnRequest { success: entries.iter().filter_map(read).collect(), ..Default::default() };
        let first = &entries[0].node;
        let reply = match request.success.is_empty() {
            true => TxnResponse::default(),
            false => {
                let reply = self.ask::<TxnResponse>("KV/Txn", &request).await;
                reply.map_err(|failure| self.explain_part(first, Right::Read, failure))?
            }
        };
        let mut results = reply.responses.into_iter();
        let fate = |entry: &&Entry| {
            // The root without a prefix has no data, nor has a table, and there is nothing to do about it.
            if self.keys.key(&entry.node).is_none() {
                return Fate::Same;
            }
            let found = results.next().and_then(|result| match result.result {
                Some(AnyResult::Range(found)) => found.kvs.into_iter().next(),
                Some(AnyResult::Put(_) | AnyResult::Delete(_)) | None => None,
            });
            match found {
                None => Fate::Created,
                // What an import writes stays, and lives no longer only as long as somebody else's lease.
                Some(kv) if kv.value == entry.data && kv.lease == 0 => Fate::Same,
                Some(_) => Fate::Changed,
            }
        };
        Ok(entries.iter().map(fate).collect())
    }

    async fn put(&self, entries: &[&Entry]) -> Result<(), ClientError> {
        let mut request = TxnRequest::default();
        for entry in entries {
            let (key, value) = (self.key(&entry.node)?, Bytes::copy_from_slice(&entry.data));
            request.success.push(PutRequest { key, value, ..Default::default() }.into());
        }
        match self.ask::<TxnResponse>("KV/Txn", &request).await {
            Ok(_) => Ok(()),
            // One by one, they say which of them is the reason.
            Err(Failure::Server(_)) => {
                for Entry { node, data } in entries {
                    self.set(node, data, &WriteOptions::default()).await?;
                }
                Ok(())
            }
            Err(failure) => Err(self.explain(&entries[0].node, Right::Write, failure)),
        }
    }

    /// Removes these nodes. No key has to stay because there are others below it.
    pub(crate) async fn remove_all(&self, nodes: &[NodePath]) -> Result<Vec<NodePath>, ClientError> {
        try_join_all(nodes.chunks(MAX_OPERATIONS).map(|part| self.remove_part(part))).await?;
        Ok(Vec::new())
    }

    async fn remove_part(&self, nodes: &[NodePath]) -> Result<(), ClientError> {
        let keys = nodes.iter().map(|node| self.key(node)).collect::<Result<Vec<_>, _>>()?;
        let remove = |key| DeleteRequest { key, ..Default::default() }.into();
        let request = TxnRequest { success: keys.into_iter().map(remove).collect(), ..Default::default() };
        let removed = self.ask::<TxnResponse>("KV/Txn", &request).await;
        removed.map(drop).map_err(|failure| self.explain_part(&nodes[0], Right::Remove, failure))
    }

    /// Explains why a request about some nodes failed, of which this is the first one.
    fn explain_part(&self, first: &NodePath, right: Right, failure: Failure) -> ClientError {
        match failure {
            Failure::Server(status) if status.text.contains("too many operations") => {
                let reason = format!(
                    "etcd must take {MAX_OPERATIONS} operations in a transaction, as it does unless its \
                     servers are configured otherwise (--max-txn-ops)"
                );
                self.refused(first, &reason)
            }
            failure => self.explain(first, right, failure),
        }
    }

    /// Whether the servers take so much data for a node, as far as they tell: asks for a write whose
    /// condition cannot hold.
    pub(crate) async fn takes(&self, node: &NodePath, data: &[u8]) -> Result<bool, ClientError> {
        if data.len() > super::write::MAX_DATA {
            return Ok(false);
        }
        let (key, value) = (self.key(node)?, Bytes::copy_from_slice(data));
        let request = TxnRequest {
            compare: vec![Compare::equal(key.clone(), Compared::Version(i64::MAX))],
            success: vec![PutRequest { key, value, ..Default::default() }.into()],
            ..Default::default()
        };
        match self.ask::<TxnResponse>("KV/Txn", &request).await {
            Ok(_) => Ok(true),
            Err(Failure::Server(status)) if status.meaning() == Meaning::TooLarge => Ok(false),
            // Whoever may not write there learns that when it is written.
            Err(Failure::Server(status)) if status.meaning() == Meaning::Forbidden => Ok(true),
            Err(failure) => Err(self.explain(node, Right::Write, failure)),
        }
    }
}

/// Cuts the entries into parts, each for one transaction.
fn parts<'a, 'b>(mut entries: &'b [&'a Entry]) -> Vec<&'b [&'a Entry]> {
    let mut parts = Vec::new();
    while !entries.is_empty() {
        let mut bytes = 0;
        let fits = |entry: &&&Entry| {
            bytes += entry.data.len() + entry.node.as_str().len();
            bytes <= MAX_BYTES
        };
        let length = entries.iter().take(MAX_OPERATIONS).take_while(fits).count().max(1);
        let (part, rest) = entries.split_at(length);
        parts.push(part);
        entries = rest;
    }
    parts
}
