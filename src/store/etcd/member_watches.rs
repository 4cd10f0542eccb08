//! The watches on members, on one stream.

use std::collections::HashMap;

use hyper::body::Bytes;

use super::link::{CallError, Duplex};
use super::wire::frame::Frame;
use super::wire::messages::{AnyWatchRequest, WatchCancel, WatchCreate, WatchRequest};
use crate::model::NodePath;

pub(super) struct MemberWatches {
    stream: Duplex,
    paths: HashMap<i64, NodePath>,
    numbers: HashMap<NodePath, i64>,
    last: i64,
}

impl MemberWatches {
    pub(super) fn new(stream: Duplex) -> Self {
        Self { stream, paths: HashMap::new(), numbers: HashMap::new(), last: 0 }
    }

    /// Watches the key of a node that was read at this revision, if it is not watched already.
    pub(super) fn watch(&mut self, path: &NodePath, key: &Bytes, revision: i64) {
        if self.numbers.contains_key(path) {
            return;
        }
        self.last += 1;
        self.numbers.insert(path.clone(), self.last);
        self.paths.insert(self.last, path.clone());
        self.send(AnyWatchRequest::Create(WatchCreate {
            key: key.clone(),
            range_end: Bytes::new(),
            start_revision: revision + 1,
            watch: self.last,
            fragment: true,
        }));
    }

    pub(super) fn cancel(&mut self, path: &NodePath) {
        if let Some(watch) = self.numbers.remove(path) {
            self.paths.remove(&watch);
            self.send(AnyWatchRequest::Cancel(WatchCancel { watch }));
        }
    }

    /// Returns what a watch is on.
    pub(super) fn path(&self, watch: i64) -> Option<&NodePath> {
        self.paths.get(&watch)
    }

    fn send(&self, request: AnyWatchRequest) {
        self.stream.send(&WatchRequest { request: Some(request) });
    }

    /// Waits for what the server says next. Can be dropped at any time.
    pub(super) async fn next(&mut self) -> Result<Frame, CallError> {
        self.stream.next().await
    }
}
