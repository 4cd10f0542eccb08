//! Telling each commit that cannot be read, once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use tokio::sync::mpsc::UnboundedSender;

use super::error::{CorruptCommit, JournalError};
use super::interface::{Answer, Conflict, Heads, Journal, Page, Size};
use crate::commits::commit::FullCommit;
use crate::commits::key::Key;
use crate::model::Commit;

/// How many are told. What comes after that many has one cause.
const MAX_TOLD: usize = 10_000;

/// A journal that tells of each commit that it cannot read when it meets it for the first time.
pub(super) struct NotedJournal {
    journal: Arc<dyn Journal>,
    told: Mutex<HashSet<(String, i64)>>,
    events: UnboundedSender<CorruptCommit>,
}

impl NotedJournal {
    pub(super) fn new(journal: Arc<dyn Journal>, events: UnboundedSender<CorruptCommit>) -> Self {
        Self { journal, told: Mutex::default(), events }
    }

    fn note(&self, corrupt: &CorruptCommit) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MAX_TOLD && told.insert((corrupt.key.clone(), corrupt.version)) {
            // Nobody may listen.
            let _ = self.events.send(corrupt.clone());
        }
    }
}

impl Journal for NotedJournal {
    fn heads<'a>(&'a self, page: &'a Page) -> Answer<'a, Heads> {
        async move {
            let heads = self.journal.heads(page).await?;
            heads.corrupt.iter().for_each(|corrupt| self.note(corrupt));
            Ok(heads)
        }
        .boxed()
    }

    fn commit<'a>(&'a self, key: &'a Key, version: Option<i64>) -> Answer<'a, Option<FullCommit>> {
        async move {
            let commit = self.journal.commit(key, version).await;
            if let Err(JournalError::Corrupt(corrupt)) = &commit {
                self.note(corrupt);
            }
            commit
        }
        .boxed()
    }

    fn log<'a>(&'a self, key: &'a Key, before: Option<i64>, limit: usize) -> Answer<'a, Vec<Commit>> {
        self.journal.log(key, before, limit)
    }

    fn save(&self, commit: FullCommit) -> Answer<'_, Result<(), Conflict>> {
        self.journal.save(commit)
    }

    fn size(&self) -> Answer<'_, Size> {
        async move {
            let size = self.journal.size().await?;
            let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(Size { corrupt: told.len() as u64, ..size })
        }
        .boxed()
    }
}
