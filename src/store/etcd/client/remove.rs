//! Removing nodes.

use hyper::body::Bytes;

use super::EtcdClient;
use super::transaction::MAX_OPERATIONS;
use crate::model::NodePath;
use crate::store::client_error::{ClientError, Right};
use crate::store::condition::Condition;
use crate::store::etcd::keys::{KeyRange, Keys, after};
use crate::store::etcd::wire::messages::{
    Compare, Compared, DeleteRequest, DeleteResponse, RangeRequest, TxnRequest, TxnResponse,
};
use crate::store::removal::Removal;

/// How many keys are removed at once, so that each request is answered in time.
const PAGE: i64 = 5000;

impl EtcdClient {
    pub(crate) async fn rm(
        &self,
        node: &NodePath,
        recursive: bool,
        removal: &Removal,
    ) -> Result<(), ClientError> {
        if node.as_str() == "/" {
            return Err(ClientError::Root { store: self.store.clone() });
        }
        self.check(node)?;
        let removed = match recursive {
            true if Keys::is_row(node) => self.remove_rows(node, removal).await?,
            true => self.remove_below(node, removal).await?,
            false => 0,
        };
        if self.remove_own(node, recursive, removal).await? + removed == 0 {
            return Err(ClientError::NothingToRemove { node: node.clone(), store: self.store.clone() });
        }
        Ok(())
    }

    /// Removes a node's own key, unless there is a key below it. Returns how many keys this were.
    async fn remove_own(
        &self,
        node: &NodePath,
        others_may_add: bool,
        removal: &Removal,
    ) -> Result<u64, ClientError> {
        if others_may_add && self.keys.key(node).is_none() {
            return Ok(0);
        }
        let remove = DeleteRequest { key: self.key(node)?, ..Default::default() };
        let compare = if others_may_add { Vec::new() } else { self.alone(node) };
        let request = TxnRequest { compare, success: vec![remove.into()], ..Default::default() };
        match self.ask::<TxnResponse>("KV/Txn", &request).await {
            Ok(TxnResponse { succeeded: true, responses, .. }) => {
                let removed = responses.iter().map(|result| result.deleted()).sum();
                removal.found(removed as usize);
                (0..removed).for_each(|_| removal.one_is_gone());
                Ok(removed)
            }
            Ok(TxnResponse { succeeded: false, .. }) => {
                Err(ClientError::NotEmpty { node: node.clone(), store: self.store.clone() })
            }
            Err(failure) => Err(self.explain(node, Right::Remove, failure)),
        }
    }

    /// Removes all keys below a node, a page at a time. Returns how many this were.
    async fn remove_below(&self, node: &NodePath, removal: &Removal) -> Result<u64, ClientError> {
        let explain = |failure| self.explain(node, Right::Remove, failure);
        let Some(below) = self.keys.below(node) else { return Ok(0) };
        let mut removed = 0;
        loop {
            let request = RangeRequest { limit: PAGE, keys_only: true, ..below.clone().request() };
            let page = self.range(request).await.map_err(explain)?;
            let left = removal.left.get();
            removal.found((page.count as u64).saturating_sub(left) as usize);
            let Some(last) = page.kvs.last() else { return Ok(removed) };
            let remove = DeleteRequest { key: below.first.clone(), range_end: after(&last.key) };
            let gone = self.ask::<DeleteResponse>("KV/DeleteRange", &remove).await.map_err(explain)?.deleted;
            (0..gone).for_each(|_| removal.one_is_gone());
            removed += gone.unsigned_abs();
            if !page.more || gone <= 0 {
                return Ok(removed);
            }
        }
    }

    /// Removes all rows below a table or half of a pair. Returns how many this were. Other keys in its range
    /// stay: they are rows of somebody else.
    async fn remove_rows(&self, node: &NodePath, removal: &Removal) -> Result<u64, ClientError> {
        let mut keys = Vec::new();
        self.each_below(node, false, |_, last| after(last), |_, kv| keys.push(kv.key.clone())).await?;
        removal.found(keys.len());
        let mut removed = 0;
        for keys in keys.chunks(MAX_OPERATIONS) {
            let remove = |key: &Bytes| DeleteRequest { key: key.clone(), ..Default::default() }.into();
            let request = TxnRequest { success: keys.iter().map(remove).collect(), ..Default::default() };
            let reply = self.ask::<TxnResponse>("KV/Txn", &request).await;
            let reply = reply.map_err(|failure| self.explain(node, Right::Remove, failure))?;
            let gone = reply.responses.iter().map(|result| result.deleted()).sum();
            (0..gone).for_each(|_| removal.one_is_gone());
            removed += gone;
        }
        Ok(removed)
    }

    /// Returns the condition that a node has no key below it.
    fn alone(&self, node: &NodePath) -> Vec<Compare> {
        let none = |below: KeyRange| {
            let compare = Compare::equal(below.first, Compared::CreateRevision(0));
            Compare { range_end: below.end, ..compare }
        };
        self.keys.below(node).map(none).into_iter().collect()
    }

    /// Removes a node without children, if its version has this number.
    pub(crate) async fn rm_version(&self, node: &NodePath, number: i64) -> Result<(), ClientError> {
        if node.as_str() == "/" {
            return Err(ClientError::Root { store: self.store.clone() });
        }
        let condition = Condition::Number(number);
        if number <= 0 {
            return Err(self.condition_failed(node, condition).await);
        }
        let key = self.key(node)?;
        let mut compare = self.alone(node);
        compare.push(Compare::equal(key.clone(), Compared::Version(number)));
        let remove = DeleteRequest { key, ..Default::default() };
        let request = TxnRequest { compare, success: vec![remove.into()], ..Default::default() };
        match self.ask::<TxnResponse>("KV/Txn", &request).await {
            Ok(TxnResponse { succeeded: true, .. }) => Ok(()),
            Ok(TxnResponse { succeeded: false, .. }) => match self.find(node).await? {
                Some(kv) if kv.version == number => {
                    Err(ClientError::NotEmpty { node: node.clone(), store: self.store.clone() })
                }
                Some(_) | None => Err(self.condition_failed(node, condition).await),
            },
            Err(failure) => Err(self.explain(node, Right::Remove, failure)),
        }
    }
}
