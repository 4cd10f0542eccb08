//! Making nodes what the journal's newest commits call for, however many servers do so at the same time.
//!
//! Each node is written only if it is as it was when it was looked at. Two more rules keep an old commit from
//! replacing a newer one, which another server has saved and published meanwhile:
//!
//! - A node with a commit that the journal does not have is reported only after the journal was asked
//!   again, because a commit is in the journal before it is in the store.
//! - After a write the journal is asked again. A commit that was saved before is published now.

use super::connection::Keeper;
use super::error::PublishError;
use super::verdict::{Act, Intruder, Verdict, judge};
use crate::commits::commit::{FullCommit, encode};
use crate::commits::journal::{CorruptCommit, Journal, JournalError};
use crate::commits::key::Key;
use crate::model::{NodePath, Version};
use crate::store::{Change, Changed, Seen};

/// How often a key is tried that others change at the same time.
const MAX_TRIES: usize = 16;

/// About how many bytes of payloads are compared with the store together.
pub const BATCH_BYTES: usize = 4 << 20;

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub key: String,
    /// The version of the journal's newest commit.
    pub journal: Option<i64>,
    /// The version of the commit that the store had, if it had one.
    pub store: Option<i64>,
    /// What the store had that no journal has published.
    pub intruder: Option<Intruder>,
    pub fate: Fate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The store has what the journal has.
    Same,
    /// The store has something else, and nothing was done about it.
    Differs,
    /// The store had something else, and has what the journal has now.
    Repaired,
    /// It stays as it is, for this reason.
    Failed(String),
}

impl Settled {
    /// What becomes of a key whose newest commit cannot be read.
    pub fn corrupt(corrupt: &CorruptCommit) -> Self {
        let (key, journal) = (corrupt.key.clone(), Some(corrupt.version));
        Self { key, journal, store: None, intruder: None, fate: Fate::Failed(corrupt.to_string()) }
    }

    /// Whether something was done about it, or could not be done.
    pub fn has_changed(&self) -> bool {
        match self.fate {
            Fate::Same | Fate::Differs => false,
            Fate::Repaired | Fate::Failed(_) => true,
        }
    }

    /// Whether the store had nothing or an older commit, and nobody else has written the node.
    pub fn was_missing(&self) -> bool {
        self.fate == Fate::Repaired && self.intruder.is_none()
    }
}

/// A key with its newest commit.
pub struct Head {
    pub key: Key,
    pub commit: FullCommit,
}

impl Head {
    fn settled(&self, verdict: Verdict, fate: Fate) -> Settled {
        let Verdict { act: _, intruder, found } = verdict;
        let key = self.key.to_string();
        Settled { key, journal: Some(self.commit.header.version), store: found, intruder, fate }
    }

    fn failed(&self, why: String) -> Settled {
        let (key, journal) = (self.key.to_string(), Some(self.commit.header.version));
        Settled { key, journal, store: None, intruder: None, fate: Fate::Failed(why) }
    }
}

/// A node as it was seen, compared with a commit.
type Judged = Result<(Verdict, Option<Version>), String>;

impl Keeper {
    /// Makes the nodes of these keys what their newest commits call for; if not `repairs`, only compares
    /// them. Tells `note` what becomes of each. No key may be there twice.
    pub async fn settle(
        &self,
        journal: &dyn Journal,
        mut heads: Vec<Head>,
        repairs: bool,
        note: &mut dyn FnMut(Settled),
    ) -> Result<(), PublishError> {
        for _ in 0..MAX_TRIES {
            let mut again = Vec::new();
            let (nodes, judged) = self.judge_all(&mut heads, note).await?;
            let (mut changes, mut changing) = (Vec::new(), Vec::new());
            for ((head, node), judged) in heads.into_iter().zip(nodes).zip(judged) {
                let (verdict, before) = match judged {
                    Ok(judged) => judged,
                    Err(why) => {
                        note(head.failed(why));
                        continue;
                    }
                };
                if verdict.intruder.is_some() && !is_newest(journal, &head).await? {
                    again.push(head.key);
                    continue;
                }
                let data = match verdict.act {
                    Act::Nothing => {
                        note(head.settled(verdict, Fate::Same));
                        continue;
                    }
                    _ if !repairs => {
                        note(head.settled(verdict, Fate::Differs));
                        continue;
                    }
                    Act::Write => Some(encode(&head.commit)),
                    Act::Remove => None,
                };
                if let Some(data) = &data
                    && data.len() > self.settings.usual_limit(&node)
                    && !self.client.takes(&node, data).await?
                {
                    let why =
                        format!("its node would have {} bytes, which the store does not take", data.len());
                    note(head.failed(why));
                    continue;
                }
                changes.push(Change { node, before, data });
                changing.push((head, verdict));
            }
            let changed = match changes.is_empty() {
                true => Vec::new(),
                false => self.client.change_all(&changes).await?,
            };
            drop(changes);
            // What was written is told even if the journal gives no answer: nobody else knows what it
            // replaced.
            let mut unanswered = None;
            for ((head, verdict), changed) in changing.into_iter().zip(changed) {
                let is_newest = match (&changed, &unanswered) {
                    (Changed::Done, None) => is_newest(journal, &head).await.unwrap_or_else(|error| {
                        unanswered = Some(error);
                        true
                    }),
                    _ => true,
                };
                match changed {
                    Changed::Done if is_newest => note(head.settled(verdict, Fate::Repaired)),
                    Changed::Done | Changed::Overtaken => again.push(head.key),
                    Changed::Failed(error) => note(head.failed(error.to_string())),
                }
            }
            if let Some(error) = unanswered {
                return Err(error.into());
            }
            if again.is_empty() {
                return Ok(());
            }
            heads = Vec::with_capacity(again.len());
            for key in again {
                match newest(journal, &key).await {
                    Ok(head) => heads.extend(head),
                    Err(JournalError::Corrupt(corrupt)) => note(Settled::corrupt(&corrupt)),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        for head in heads {
            note(head.failed("others change it again and again; it is tried again".to_owned()));
        }
        Ok(())
    }

    /// Looks at the nodes of all heads. Leaves out those of keys that name no node.
    async fn judge_all(
        &self,
        heads: &mut Vec<Head>,
        note: &mut dyn FnMut(Settled),
    ) -> Result<(Vec<NodePath>, Vec<Judged>), PublishError> {
        let mut nodes = Vec::with_capacity(heads.len());
        heads.retain(|head| match self.node(&head.key) {
            Ok(node) => {
                nodes.push(node);
                true
            }
            Err(why) => {
                note(head.failed(why));
                false
            }
        });
        let mut judged: Vec<Judged> = vec![Err("it was not looked at".to_owned()); nodes.len()];
        self.client
            .see_all(&nodes, &mut |index, seen| {
                let Head { key, commit } = &heads[index];
                judged[index] = match seen {
                    Seen::Nothing => Ok((judge(commit, key.as_str(), None), None)),
                    Seen::Data(data, version) => Ok((judge(commit, key.as_str(), Some(data)), Some(version))),
                    Seen::Unreadable(why) => Err(why.to_owned()),
                };
            })
            .await?;
        Ok((nodes, judged))
    }
}

/// Whether the journal has no newer commit.
async fn is_newest(journal: &dyn Journal, head: &Head) -> Result<bool, JournalError> {
    let newest = journal.log(&head.key, None, 1).await?;
    Ok(newest.first().is_some_and(|newest| newest.version == head.commit.header.version))
}

/// Returns the newest commit of a key.
pub async fn newest(journal: &dyn Journal, key: &Key) -> Result<Option<Head>, JournalError> {
    let commit = journal.commit(key, None).await?;
    Ok(commit.map(|commit| Head { key: key.clone(), commit }))
}
