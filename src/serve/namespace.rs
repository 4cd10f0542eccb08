//! A namespace: its journal, its keeper and its validator, and how a commit is saved in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::validate::{Candidate, Refusal, Validator};
use crate::commits::{Conflict, FullCommit, Journal, JournalError, Key, Publisher};
use crate::model::Commit;
use crate::text::Timestamp;

pub struct Namespace {
    pub name: String,
    pub journal: Arc<dyn Journal>,
    pub validator: Option<Validator>,
    pub publication: Option<Publication>,
    pub counts: SaveCounts,
}

/// How the heads of a namespace are published.
pub struct Publication {
    pub publisher: Publisher,
    /// The store and the node, for people.
    pub place: String,
}

/// A commit that somebody wants to save.
pub struct Draft {
    pub key: Key,
    pub version: i64,
    pub author: String,
    pub comment: String,
    /// RFC 3339. `None` is now.
    pub mtime: Option<String>,
    /// Whether the commit removes the key. Then the payload is empty.
    pub empty: bool,
    pub payload: Vec<u8>,
}

/// What became of a draft.
pub enum Saved {
    Kept(Commit),
    Conflict(Conflict),
    /// What the validator says, or why it cannot be asked.
    Refused(Refusal),
}

/// How many saves ended how, since the start.
#[derive(Default)]
pub struct SaveCounts {
    pub kept: AtomicU64,
    pub conflicts: AtomicU64,
    pub refused: AtomicU64,
    pub failed: AtomicU64,
}

impl Namespace {
    /// Keeps a draft in the journal, and has it published. Once this has returned [`Saved::Kept`], the commit
    /// is on the disk.
    pub async fn save(&self, draft: Draft) -> Result<Saved, JournalError> {
        let saved = self.try_to_save(draft).await;
        let count = match &saved {
            Ok(Saved::Kept(_)) => &self.counts.kept,
            Ok(Saved::Conflict(_)) => &self.counts.conflicts,
            Ok(Saved::Refused(_)) => &self.counts.refused,
            Err(_) => &self.counts.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        saved
    }

    async fn try_to_save(&self, draft: Draft) -> Result<Saved, JournalError> {
        let Draft { key, version, author, comment, mtime, empty, payload } = draft;
        // A tombstone has nothing to look at.
        if let Some(validator) = self.validator.as_ref().filter(|_| !empty) {
            let head = self.journal.commit(&key, None).await?;
            let expected = head.as_ref().map_or(1, |head| head.header.version + 1);
            // The journal decides, but the validator need not run for what is known to be a conflict.
            if version != expected {
                return Ok(Saved::Conflict(Conflict { expected }));
            }
            let old = head.map(|head| head.payload).unwrap_or_default();
            let candidate =
                Candidate { key: key.to_string(), author: author.clone(), new: payload.clone(), old };
            if let Err(refusal) = validator.check(candidate).await {
                return Ok(Saved::Refused(refusal));
            }
        }
        let mtime = mtime.unwrap_or_else(|| Timestamp(SystemTime::now()).to_string());
        let header = Commit { key: key.to_string(), version, author, comment, mtime, empty };
        match self.journal.save(FullCommit { header: header.clone(), payload }).await? {
            Ok(()) => {
                if let Some(publication) = &self.publication {
                    publication.publisher.published_soon(&key);
                }
                Ok(Saved::Kept(header))
            }
            Err(conflict) => Ok(Saved::Conflict(conflict)),
        }
    }
}
