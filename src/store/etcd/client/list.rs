//! Listing nodes.

use std::collections::{BTreeMap, HashSet};

use hyper::body::Bytes;

use super::EtcdClient;
use crate::model::{NodePath, children};
use crate::store::client_error::{ClientError, Right};
use crate::store::condition::{TreeNode, sort_tree};
use crate::store::etcd::keys::{KeyRange, Keys, after};
use crate::store::etcd::row::Found;
use crate::store::etcd::wire::messages::{KeyValue, RangeRequest};

/// How many keys are listed at once, so that each request is answered in time.
const PAGE: i64 = 5000;

/// How many are listed at once with their values, which are some kilobytes in most stores. A server may hold
/// values of 1.5 MiB, of which so many are 375 MiB.
const PAGE_WITH_VALUES: i64 = 250;

impl EtcdClient {
    pub(crate) async fn ls(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        self.check(node)?;
        let mut names: Vec<String> = Vec::new();
        // With a child, all keys below it are passed over.
        let next = |below: &KeyRange, key: &[u8]| self.keys.after_child(node, below, key);
        self.each_below(node, false, next, |below, _| {
            let name = below.relative_to(node)[1..].split('/').next().unwrap_or_default();
            if names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
        })
        .await?;
        if names.is_empty() && !self.keys.needs_no_key(node) && self.find_own(node).await?.is_none() {
            return Err(self.missing(node));
        }
        if !Keys::is_row(node) {
            return Ok(children(names));
        }
        // They stay in the order of their keys. The rows of two halves can lie between one another.
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        Ok(names)
    }

    /// Returns the node and those below it, down to `depth` levels below, as they are at one revision.
    pub(crate) async fn tree(
        &self,
        root: &NodePath,
        depth: Option<usize>,
    ) -> Result<Vec<TreeNode>, ClientError> {
        self.check(root)?;
        let own = self.find_own(root).await?;
        let new = |path: NodePath, size| TreeNode { path, size, children: 0, unreadable: None };
        let mut nodes = BTreeMap::new();
        let size = own.as_ref().map_or(0, |kv| kv.value.len() as u64);
        nodes.insert(root.clone(), new(root.clone(), size));
        self.each_below(
            root,
            true,
            |_, last| after(last),
            |node, kv| {
                let mut path = root.clone();
                // One level more than is shown: these are the children of those that are shown last.
                for name in
                    node.relative_to(root)[1..].split('/').take(depth.map_or(usize::MAX, |depth| depth + 1))
                {
                    let child = path.child(name);
                    if !nodes.contains_key(&child) {
                        nodes.insert(child.clone(), new(child.clone(), 0));
                        nodes.entry(path).and_modify(|parent| parent.children += 1);
                    }
                    path = child;
                }
                if path == node {
                    nodes.entry(path).and_modify(|found| found.size = kv.value.len() as u64);
                }
            },
        )
        .await?;
        if nodes.len() == 1 && own.is_none() && !self.keys.needs_no_key(root) {
            return Err(self.missing(root));
        }
        let levels = root.components().count();
        let is_shown =
            |node: &TreeNode| depth.is_none_or(|depth| node.path.components().count() - levels <= depth);
        let mut nodes: Vec<_> = nodes.into_values().filter(is_shown).collect();
        match Keys::is_row(root) {
            true => Keys::sort_rows(&mut nodes, |node| &node.path),
            false => sort_tree(&mut nodes),
        }
        Ok(nodes)
    }

    /// Gives `visit` each node below `node` that has a key, in the order of the keys, all of one revision;
    /// with their values if `values`. After a page, `next` says where the next one starts.
    pub(super) async fn each_below(
        &self,
        node: &NodePath,
        values: bool,
        next: impl Fn(&KeyRange, &[u8]) -> Bytes,
        mut visit: impl FnMut(NodePath, &KeyValue),
    ) -> Result<(), ClientError> {
        let Some(below) = self.keys.below(node) else { return Ok(()) };
        let limit = if values { PAGE_WITH_VALUES } else { PAGE };
        let (mut first, mut revision) = (below.first.clone(), 0);
        loop {
            let whole = below.clone().request();
            let request = RangeRequest { key: first, limit, revision, keys_only: !values, ..whole };
            let page = self.range(request).await;
            let page = page.map_err(|failure| self.explain(node, Right::Read, failure))?;
            // All pages are of the revision of the first one.
            if revision == 0 {
                revision = page.header.map_or(0, |header| header.revision);
            }
            for kv in &page.kvs {
                // A key that is no node's makes none of those above it one either.
                if let Found::Node(found) = self.keys.find(node, &kv.key) {
                    visit(found, kv);
                }
            }
            match page.kvs.last() {
                Some(last) if page.more => first = next(&below, &last.key),
                Some(_) | None => return Ok(()),
            }
        }
    }
}
