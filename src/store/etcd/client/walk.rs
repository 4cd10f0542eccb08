//! Walking through a tree of nodes with their data, at one revision.

use tokio::time::Instant;

use super::{CallFailure, EtcdClient, Failure, NO_ETCD};
use crate::model::NodePath;
use crate::store::bulk::{Visit, Walked};
use crate::store::client_error::{ClientError, Right};
use crate::store::etcd::keys::after;
use crate::store::etcd::order;
use crate::store::etcd::row::Found;
use crate::store::etcd::wire::messages::{KeyValue, RangeRequest, RangeResponse};
use crate::store::etcd::wire::status::Meaning;

/// How many keys are read at first, and at most.
const FIRST_PAGE: i64 = 64;
const MAX_PAGE: i64 = 5000;

/// How many bytes a page should have.
const PAGE_BYTES: usize = 4 << 20;

/// The largest page that is taken: a few of the largest values that a server takes by default. A larger one
/// is read again in smaller parts.
const MAX_PAGE_BYTES: u64 = 32 << 20;

impl EtcdClient {
    /// Visits the node and those below it, in the order of their keys. What lives as long as a lease is named
    /// and not read. A root without a key, or with one that has a lease, comes first all the same if there is
    /// anything below it, without data.
    pub(crate) async fn walk(
        &self,
        root: &NodePath,
        with_data: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), ClientError> {
        self.check(root)?;
        let (mut revision, mut own) = (0, None);
        if let Some(range) = self.keys.own(root) {
            let found = self.page(root, range.request()).await?;
            let found = found.ok_or_else(|| self.refused(root, "its data is too large to be read"))?;
            revision = found.header.map_or(0, |header| header.revision);
            own = found.kvs.into_iter().next();
        }
        // One that lives as long as a lease is no line of its own, but others may be below it.
        let is_leased = own.as_ref().is_some_and(|kv| kv.lease != 0);
        let (mut is_first, mut has_key) = (true, own.is_some() && !is_leased);
        if let Some(kv) = own
            && !visit(of(root.clone(), kv, with_data)).goes_on().await
        {
            return Ok(());
        }
        if let Some(below) = self.keys.below(root) {
            let (mut first, mut limit) = (below.first.clone(), if with_data { FIRST_PAGE } else { MAX_PAGE });
            loop {
                let request = RangeRequest {
                    key: first.clone(),
                    limit,
                    revision,
                    keys_only: !with_data,
                    ..below.clone().request()
                };
                let Some(page) = self.page(root, request).await? else {
                    if limit == 1 {
                        let reason = "a value below it is too large to be read";
                        return Err(self.refused(root, reason));
                    }
                    limit = (limit / 4).max(1);
                    continue;
                };
                if revision == 0 {
                    revision = page.header.map_or(0, |header| header.revision);
                }
                let (count, more) = (page.kvs.len(), page.more);
                let bytes: usize = page.kvs.iter().map(|kv| kv.value.len() + kv.key.len()).sum();
                let last = page.kvs.last().map(|kv| after(&kv.key));
                for kv in page.kvs {
                    // A key that is no node's makes none of those above it one either.
                    let path = match self.keys.find(root, &kv.key) {
                        Found::Node(path) => path,
                        Found::NoNode if visit(Walked::NoNode).goes_on().await => continue,
                        Found::NoNode => return Ok(()),
                        Found::Elsewhere => continue,
                    };
                    if std::mem::take(&mut is_first) && !std::mem::replace(&mut has_key, true) {
                        let walked = Walked::Node { path: root.clone(), data: None, version: 0 };
                        if !visit(walked).goes_on().await {
                            return Ok(());
                        }
                    }
                    if !visit(of(path, kv, with_data)).goes_on().await {
                        return Ok(());
                    }
                }
                // Whoever reads what is exported may have taken long.
                self.waiting_since.set(Instant::now());
                match last {
                    Some(last) if more => first = last,
                    Some(_) | None => break,
                }
                let fitting = (PAGE_BYTES / (bytes / count.max(1)).max(1)) as i64;
                limit = fitting.clamp(1, (2 * limit).min(MAX_PAGE));
            }
        }
        match has_key || is_leased {
            true => Ok(()),
            false if self.keys.needs_no_key(root) => {
                visit(Walked::Node { path: root.clone(), data: None, version: 0 }).goes_on().await;
                Ok(())
            }
            false => Err(self.missing(root)),
        }
    }

    /// Returns `None` if the page is too large.
    async fn page(
        &self,
        root: &NodePath,
        request: RangeRequest,
    ) -> Result<Option<RangeResponse>, ClientError> {
        let asked = self.ask_at_most("KV/Range", &request, MAX_PAGE_BYTES).await;
        let failure = match asked {
            Ok(page) if order::is_possible(&request, &page) => return Ok(Some(page)),
            Ok(_) => Failure::Lost(NO_ETCD.to_owned()),
            Err(CallFailure::Failed(failure)) => failure,
            Err(CallFailure::TooLong(_)) => return Ok(None),
        };
        Err(match failure {
            Failure::Server(status) if status.meaning() == Meaning::Revision => {
                let reason = "etcd has compacted the revision that was being read, so the rest of the tree \
                     as it was at that moment is gone; run the command again, or let etcd keep \
                     its history longer (--auto-compaction-retention)";
                self.refused(root, reason)
            }
            failure => self.explain(root, Right::Read, failure),
        })
    }
}

fn of(path: NodePath, kv: KeyValue, with_data: bool) -> Walked {
    match kv.lease {
        0 => Walked::Node { path, data: with_data.then(|| kv.value.to_vec()), version: kv.version },
        _ => Walked::Fleeting(path),
    }
}
