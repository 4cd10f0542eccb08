//! Looking whether there is any node. No keys under the prefix are like any missing parent, but an error in
//! the prefix would have every watch wait for ever, so people are told.

use std::time::Duration;

use tokio::time::Instant;

use super::keys::Keys;
use super::wire::messages::{AnyResult, OperationResult, RangeRequest, TxnRequest};
use crate::model::NodePath;
use crate::store::message::StoreEvent;

/// How often to look while there is none. This is no load for a server, even where a hundred hosts do it.
const INTERVAL: Duration = Duration::from_secs(2);

/// Returns the request that finds out whether there is a node.
pub(super) fn look(keys: &Keys) -> TxnRequest {
    let root = NodePath::unchecked("/");
    let ranges = keys.own(&root).into_iter().chain(keys.below(&root));
    let success = ranges.map(|range| RangeRequest { limit: 1, keys_only: true, ..range.request() }.into());
    TxnRequest { success: success.collect(), ..Default::default() }
}

/// Returns what the replies to [`look`] say.
pub(super) fn is_there(responses: &[OperationResult]) -> bool {
    responses.iter().any(|response| match &response.result {
        Some(AnyResult::Range(found)) => !found.kvs.is_empty(),
        Some(AnyResult::Put(_) | AnyResult::Delete(_)) | None => false,
    })
}

/// When to look on one connection, and what was reported.
pub(super) struct RootCheck {
    prefix: NodePath,
    due: Option<Instant>,
    reported: Option<bool>,
}

impl RootCheck {
    pub(super) fn new(prefix: NodePath) -> Self {
        Self { prefix, due: None, reported: None }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns true if a look is due, and begins it. [`Self::done`] follows.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = None;
        }
        is_due
    }

    /// Takes in whether there is a node, if the server said so. Returns what there is to report.
    pub(super) fn done(&mut self, exists: Option<bool>, now: Instant) -> Option<StoreEvent> {
        if self.prefix.as_str() == "/" {
            return None;
        }
        let before = self.reported;
        self.reported = exists.or(before);
        if self.reported == Some(false) {
            self.due = Some(now + INTERVAL);
        }
        match self.reported.filter(|_| self.reported != before)? {
            true => Some(StoreEvent::RootFound),
            false => Some(StoreEvent::RootMissing {
                reason: format!(
                    "no key begins with the prefix {}, so that none of the watched nodes exists; correct the \
                     URL, or create the first node with `twitcher set`",
                    self.prefix
                ),
            }),
        }
    }
}
