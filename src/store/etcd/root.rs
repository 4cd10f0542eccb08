//! Looking whether there is any node below the prefix.

use tokio::time::Instant;

use super::keys::Keys;
use super::wire::messages::{AnyResult, OperationResult, RangeRequest, TxnRequest};
use crate::model::NodePath;
use crate::store::message::StoreEvent;
use crate::store::root_check::RootCheck;

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

/// Returns the check of one connection, which begins with what was seen when it was made. Without a prefix,
/// the root is always there, and nothing is to be reported of it.
pub(super) fn check(
    prefix: &NodePath,
    is_there: Option<bool>,
    now: Instant,
) -> (RootCheck, Option<StoreEvent>) {
    let missing = format!(
        "no key begins with the prefix {prefix}, so that none of the watched nodes exists; correct the URL, \
         or create the first node with `twitcher set`"
    );
    let mut check = RootCheck::new(None, None, missing);
    let notice = check.done(is_there.filter(|_| prefix.as_str() != "/"), now);
    (check, notice)
}
