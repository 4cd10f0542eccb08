//! Looking at many nodes and changing many, with many requests in flight.

use futures_util::StreamExt;
use futures_util::stream;
use hyper::body::Bytes;

use super::transaction::MAX_OPERATIONS;
use super::{CallFailure, EtcdClient, Failure};
use crate::model::NodePath;
use crate::store::change::{Change, Changed, See, Seen};
use crate::store::client_error::{ClientError, Doubt, Right};
use crate::store::etcd::version;
use crate::store::etcd::wire::messages::{
    AnyResult, Compare, Compared, DeleteRequest, KeyValue, PutRequest, RangeRequest, RangeResponse,
    TxnRequest, TxnResponse,
};
use crate::store::etcd::wire::status::Meaning;

/// How many requests are in flight at a time.
const REQUESTS_IN_FLIGHT: usize = 16;

/// How many nodes one transaction looks at. Many large ones are too much for a reply, and are looked at in
/// smaller parts.
const NODES: usize = MAX_OPERATIONS;

/// How many nodes one request looks at if they are neighbours.
const NEIGHBOURS: usize = 1000;

/// How many such requests are in flight: the server works on one while this side looks at another.
const NEIGHBOURS_IN_FLIGHT: usize = 2;

/// The largest reply that is taken, which is a few of the largest values that a server takes by default.
const MAX_REPLY_BYTES: u64 = 32 << 20;

impl EtcdClient {
    pub(crate) async fn see_all(&self, nodes: &[NodePath], see: &mut See<'_>) -> Result<(), ClientError> {
        let mut seen = 0;
        let asked = stream::iter(nodes.chunks(NEIGHBOURS)).map(|part| self.see_neighbours(part));
        let mut asked = asked.buffered(NEIGHBOURS_IN_FLIGHT);
        while let Some(found) = asked.next().await.transpose()?.flatten() {
            seen += tell(found, seen, see);
        }
        drop(asked);
        let mut parts: Vec<(usize, &[NodePath])> = nodes[seen..]
            .chunks(NODES)
            .enumerate()
            .map(|(part, nodes)| (seen + part * NODES, nodes))
            .collect();
        parts.reverse();
        while let Some((first, part)) = parts.pop() {
            match self.see_part(part).await? {
                Some(found) => drop(tell(found, first, see)),
                None if part.len() == 1 => see(first, Seen::Unreadable("its data is too large to be read")),
                None => {
                    let (left, right) = part.split_at(part.len() / 2);
                    parts.extend([(first + left.len(), right), (first, left)]);
                }
            }
        }
        Ok(())
    }

    /// Reads nodes by one range of keys, which costs the server much less than as many keys by themselves.
    /// Returns `None` if they cannot be read so: they are in another order, others stand between them, or the
    /// user has no right to what stands there. Then [`Self::see_part`] can, or tells why not.
    async fn see_neighbours(&self, nodes: &[NodePath]) -> Result<Option<Vec<Option<KeyValue>>>, ClientError> {
        let keys = nodes.iter().map(|node| self.key(node)).collect::<Result<Vec<_>, _>>()?;
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(None) };
        if !keys.is_sorted_by(|one, next| one < next) {
            return Ok(None);
        }
        // Some that others have written are no obstacle.
        let limit = i64::try_from(nodes.len() + nodes.len() / 4).unwrap_or(i64::MAX);
        let range_end = [last, &b"\0"[..]].concat().into();
        let request = RangeRequest { key: first.clone(), range_end, limit, ..Default::default() };
        let reply = self.ask_at_most::<RangeResponse>("KV/Range", &request, MAX_REPLY_BYTES).await;
        let Ok(RangeResponse { kvs, more: false, .. }) = reply else { return Ok(None) };
        let mut kvs = kvs.into_iter().peekable();
        let found = keys.iter().map(|key| {
            while kvs.next_if(|kv| kv.key < *key).is_some() {}
            kvs.next_if(|kv| kv.key == *key)
        });
        Ok(Some(found.collect()))
    }

    /// Returns `None` if there is too much to be read at once.
    async fn see_part(&self, nodes: &[NodePath]) -> Result<Option<Vec<Option<KeyValue>>>, ClientError> {
        let mut request = TxnRequest::default();
        for node in nodes {
            request.success.push(RangeRequest { key: self.key(node)?, ..Default::default() }.into());
        }
        let reply = self.ask_at_most::<TxnResponse>("KV/Txn", &request, MAX_REPLY_BYTES).await;
        let responses = match reply {
            Ok(TxnResponse { responses, .. }) if responses.len() == nodes.len() => responses,
            Ok(_) => return Err(self.lost("a reply has too few results, which no etcd sends")),
            Err(CallFailure::TooLong(_)) => return Ok(None),
            Err(CallFailure::Failed(failure)) => return Err(self.explain(&nodes[0], Right::Read, failure)),
        };
        let found = responses.into_iter().map(|response| match response.result {
            Some(AnyResult::Range(found)) => found.kvs.into_iter().next(),
            Some(AnyResult::Put(_) | AnyResult::Delete(_)) | None => None,
        });
        Ok(Some(found.collect()))
    }

    pub(crate) async fn change_all(&self, changes: &[Change]) -> Result<Vec<Changed>, ClientError> {
        let mut done = stream::iter(changes).map(|change| self.change(change)).buffered(REQUESTS_IN_FLIGHT);
        let mut changed = Vec::with_capacity(changes.len());
        while let Some(one) = done.next().await {
            changed.push(one?);
        }
        Ok(changed)
    }

    /// The outer error is about the connection.
    async fn change(&self, change: &Change) -> Result<Changed, ClientError> {
        let Change { node, before, data } = change;
        let key = match self.key(node) {
            Ok(key) => key,
            Err(error) => return Ok(Changed::Failed(error)),
        };
        let compare = match before {
            None => vec![Compare::equal(key.clone(), Compared::Version(0))],
            Some(before) => vec![
                Compare::equal(key.clone(), Compared::CreateRevision(before.incarnation)),
                Compare::equal(key.clone(), Compared::Version(before.number)),
            ],
        };
        let operation = match data {
            Some(data) => {
                PutRequest { key, value: Bytes::copy_from_slice(data), ..Default::default() }.into()
            }
            None => DeleteRequest { key, ..Default::default() }.into(),
        };
        let request = TxnRequest { compare, success: vec![operation], ..Default::default() };
        let size = data.as_ref().map_or(0, Vec::len);
        match self.ask::<TxnResponse>("KV/Txn", &request).await {
            Ok(TxnResponse { succeeded: true, .. }) => Ok(Changed::Done),
            Ok(TxnResponse { succeeded: false, .. }) => Ok(Changed::Overtaken),
            Err(Failure::Server(status)) => match status.meaning() {
                // Another connection logs in again.
                Meaning::Token | Meaning::Login => Err(self.lost(&status.to_string())),
                Meaning::Unavailable => Err(self.explain(node, Right::Write, Failure::Server(status))),
                Meaning::NoAuth
                | Meaning::Forbidden
                | Meaning::Revision
                | Meaning::TooLarge
                | Meaning::NoSpace
                | Meaning::Other => {
                    Ok(Changed::Failed(self.explain_write(node, size, Failure::Server(status))))
                }
            },
            Err(failure @ (Failure::NoAnswer | Failure::Lost(_))) => {
                Err(self.explain(node, Right::Write, failure))
            }
        }
    }

    fn lost(&self, reason: &str) -> ClientError {
        ClientError::Lost { store: self.store.clone(), reason: reason.to_owned(), doubt: Doubt::None }
    }
}

/// Tells what was found, from this index on. Returns for how many nodes.
fn tell(found: Vec<Option<KeyValue>>, first: usize, see: &mut See<'_>) -> usize {
    let count = found.len();
    for (index, kv) in found.into_iter().enumerate() {
        match kv {
            Some(kv) => see(first + index, Seen::Data(&kv.value, version::of_data(&kv))),
            None => see(first + index, Seen::Nothing),
        }
    }
    count
}
