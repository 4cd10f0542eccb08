//! What made a run: a commit, or a change in the store.

use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::model::{Commit, CommitNote, Origin};
use crate::text::{Timestamp, printable};

/// What made a run. The fields are part of the JSON of runs; an older daemon sends none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCause {
    /// The commit whose payload the action was given; `null` if its watch has no `decode: COMMIT`.
    #[serde(default)]
    pub commit: Option<Arc<CommitNote>>,
    /// The store's transaction that made the content, as the store's own tools name it; `null` if it is not
    /// known.
    #[serde(default)]
    pub transaction: Option<String>,
    /// The time of that change by the store's clock; `null` if the store keeps none.
    #[serde(default)]
    pub changed: Option<Timestamp>,
}

impl RunCause {
    pub fn new(origin: Origin, commit: Option<&Commit>) -> Self {
        Self {
            commit: commit.map(|commit| Arc::new(CommitNote::from(commit))),
            transaction: origin.transaction.map(|id| id.to_string()),
            // The store decides what number it is.
            changed: origin.at.and_then(Timestamp::from_millis),
        }
    }

    /// Returns what people are shown, as one printable line: `v7 by gian: rofl`, or of a plain node `0x1f3
    /// 2026-11-21T16:13:31Z`. `now` shortens the time. `None` if nothing is known.
    pub fn summary(&self, now: Option<SystemTime>) -> Option<String> {
        if let Some(commit) = &self.commit {
            return Some(commit.to_string());
        }
        let time = |time: &Timestamp| now.map_or_else(|| time.to_the_second(), |now| time.short(now));
        let transaction = self.transaction.as_ref().map(|id| printable(id.as_bytes()));
        let known: Vec<_> = transaction.into_iter().chain(self.changed.as_ref().map(time)).collect();
        (!known.is_empty()).then(|| known.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::model::TransactionId;

    fn cause(transaction: Option<TransactionId>, at: Option<i64>) -> RunCause {
        RunCause::new(Origin { transaction, at }, None)
    }

    #[test]
    fn a_plain_node_is_summed_up_by_what_its_store_says() {
        let (zxid, revision) = (TransactionId::Zxid(0x1f3), TransactionId::Revision(4711));
        let at = 1_795_277_611_042;
        for (cause, expected) in [
            (cause(Some(zxid), Some(at)), Some("0x1f3 2026-11-21T16:13:31Z")),
            (cause(Some(revision), None), Some("4711")),
            (cause(None, Some(at)), Some("2026-11-21T16:13:31Z")),
            (cause(None, None), None),
            // No store has such a time, and not every time can be shown.
            (cause(Some(zxid), Some(-1)), Some("0x1f3")),
            (cause(Some(zxid), Some(Timestamp::MAX_MILLIS + 1)), Some("0x1f3")),
            (cause(None, Some(i64::MAX)), None),
            (cause(None, Some(Timestamp::MAX_MILLIS)), Some("9999-12-31T23:59:59Z")),
        ] {
            assert_eq!(cause.summary(None).as_deref(), expected);
        }
        let now = UNIX_EPOCH + Duration::from_millis(at as u64);
        assert_eq!(cause(Some(zxid), Some(at)).summary(Some(now)).as_deref(), Some("0x1f3 16:13:31Z"));
    }

    #[test]
    fn what_an_older_daemon_sends_has_no_cause() {
        assert_eq!(serde_json::from_str::<RunCause>("{}").unwrap(), RunCause::default());
    }
}
