//! A namespace: its journal, its keeper and its validator, and how a commit is saved in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::memory::Share;
use super::validate::{Candidate, Refusal, Validator};
use crate::commits::{Conflict, FullCommit, Journal, JournalError, Key, Publisher};
use crate::model::Commit;
use crate::text::Timestamp;

pub struct Namespace {
    pub name: String,
    pub journal: Arc<dyn Journal>,
    pub validator: Option<Validator>,
    pub publication: Option<Arc<Publication>>,
    pub counts: Arc<SaveCounts>,
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

impl SaveCounts {
    fn note(&self, saved: &Result<Saved, JournalError>) {
        let count = match saved {
            Ok(Saved::Kept(_)) => &self.kept,
            Ok(Saved::Conflict(_)) => &self.conflicts,
            Ok(Saved::Refused(_)) => &self.refused,
            Err(_) => &self.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Namespace {
    /// Keeps a draft in the journal, and has it published. Once this has returned [`Saved::Kept`], the commit
    /// is on the disk. If this is dropped after the journal was asked, the commit is published all the same,
    /// and the request keeps its share until then.
    pub async fn save(&self, draft: Draft, share: &Arc<Share>) -> Result<Saved, JournalError> {
        let counts = Arc::clone(&self.counts);
        if let Some(refused) = self.check(&draft).await.transpose() {
            counts.note(&refused);
            return refused;
        }
        let (journal, publication) = (Arc::clone(&self.journal), self.publication.clone());
        let share = Arc::clone(share);
        // The client may leave, or lose its place to another one, between the save and the publishing.
        let kept = tokio::spawn(async move {
            let kept = keep(&*journal, publication.as_deref(), draft).await;
            counts.note(&kept);
            drop(share);
            kept
        });
        kept.await.unwrap_or_else(|error| Err(JournalError::Unavailable(error.to_string())))
    }

    /// Has the validator look at a draft. Returns why the journal need not be asked.
    async fn check(&self, draft: &Draft) -> Result<Option<Saved>, JournalError> {
        let Draft { key, version, author, empty, payload, .. } = draft;
        // A tombstone has nothing to look at.
        let Some(validator) = self.validator.as_ref().filter(|_| !empty) else { return Ok(None) };
        let (last, old) = match self.journal.commit(key, None).await {
            Ok(head) => head.map_or((0, Vec::new()), |head| (head.header.version, head.payload)),
            // The next version mends the key.
            Err(JournalError::Corrupt(corrupt)) => (corrupt.version, Vec::new()),
            Err(error) => return Err(error),
        };
        let expected = last.saturating_add(1);
        // The journal decides, but the validator need not run for what is known to be a conflict.
        if *version != expected {
            return Ok(Some(Saved::Conflict(Conflict { expected })));
        }
        let candidate = Candidate { key: key.to_string(), author: author.clone(), new: payload.clone(), old };
        Ok(validator.check(candidate).await.err().map(Saved::Refused))
    }
}

async fn keep(
    journal: &dyn Journal,
    publication: Option<&Publication>,
    draft: Draft,
) -> Result<Saved, JournalError> {
    let Draft { key, version, author, comment, mtime, empty, payload } = draft;
    let mtime = mtime.unwrap_or_else(|| Timestamp(SystemTime::now()).to_string());
    let header = Commit { key: key.to_string(), version, author, comment, mtime, empty };
    let saved = journal.save(FullCommit { header: header.clone(), payload }).await;
    // Of a save without an answer nobody knows whether it was kept.
    let may_be_kept = matches!(saved, Ok(Ok(())) | Err(JournalError::Unavailable(_)));
    if let Some(publication) = publication.filter(|_| may_be_kept) {
        publication.publisher.published_soon(&key);
    }
    Ok(match saved? {
        Ok(()) => Saved::Kept(header),
        Err(conflict) => Saved::Conflict(conflict),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Notify;

    use super::super::memory::Memory;
    use super::*;
    use crate::commits::{Answer, Heads, Page, Size};

    /// A journal that keeps a commit when it is told to.
    #[derive(Default)]
    struct Slow {
        is_asked: Notify,
        may_keep: Notify,
    }

    impl Journal for Slow {
        fn save(&self, _: FullCommit) -> Answer<'_, Result<(), Conflict>> {
            Box::pin(async {
                self.is_asked.notify_one();
                self.may_keep.notified().await;
                Ok(Ok(()))
            })
        }

        fn heads<'a>(&'a self, _: &'a Page) -> Answer<'a, Heads> {
            unreachable!("nobody asks")
        }

        fn commit<'a>(&'a self, _: &'a Key, _: Option<i64>) -> Answer<'a, Option<FullCommit>> {
            unreachable!("nobody asks")
        }

        fn log<'a>(&'a self, _: &'a Key, _: Option<i64>, _: usize) -> Answer<'a, Vec<Commit>> {
            unreachable!("nobody asks")
        }

        fn size(&self) -> Answer<'_, Size> {
            unreachable!("nobody asks")
        }
    }

    #[tokio::test]
    async fn what_the_journal_was_asked_to_keep_is_seen_through_although_its_client_leaves() {
        let (journal, counts) = (Arc::new(Slow::default()), Arc::<SaveCounts>::default());
        let namespace = Namespace {
            name: "diary".into(),
            journal: Arc::clone(&journal) as _,
            validator: None,
            publication: None,
            counts: Arc::clone(&counts),
        };
        let draft = Draft {
            key: Key::parse("foo").unwrap(),
            version: 1,
            author: "eva".into(),
            comment: String::new(),
            mtime: None,
            empty: false,
            payload: Vec::new(),
        };
        let share = Memory::default().share(false, Arc::default());
        tokio::select! {
            biased;
            _ = namespace.save(draft, &share) => unreachable!("the journal has not kept it"),
            () = journal.is_asked.notified() => {}
        }
        journal.may_keep.notify_one();
        let kept = async {
            while counts.kept.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), kept).await.unwrap();
    }
}
