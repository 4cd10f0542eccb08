//! A keeper on one connection to its store.

use super::error::{ReadError, SaveError};
use super::verdict::{Act, Intruder, judge};
use crate::commits::commit::{FullCommit, encode};
use crate::commits::key::Key;
use crate::model::NodePath;
use crate::store::{Client, ClientError, Condition, StoreSettings, WriteOptions};
use crate::value::commit::decode;

/// A connection to the store in which commits are published.
pub struct Keeper {
    pub(super) client: Client,
    pub(super) settings: StoreSettings,
    /// The node above those of the keys.
    pub(super) path: NodePath,
}

/// What a save has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The commit was there already.
    Same,
    Done,
}

/// How often a save is tried that others thwart.
const MAX_TRIES: usize = 16;

impl Keeper {
    /// Connects to the keeper at `path`, trying each server once.
    pub async fn connect(settings: &StoreSettings, path: &NodePath) -> Result<Self, ClientError> {
        let client = Client::connect(settings).await?;
        Ok(Self { client, settings: settings.clone(), path: path.child("data") })
    }

    /// Returns the node of a key, or why it has none.
    pub(super) fn node(&self, key: &Key) -> Result<NodePath, String> {
        let node = self.path.child(key.as_str());
        match self.settings.objection(&node, true) {
            Some(objection) => Err(objection),
            None => Ok(node),
        }
    }

    /// Returns the commit that is published of a key.
    pub async fn get(&self, key: &Key) -> Result<Option<FullCommit>, ReadError> {
        let impossible = |why| ReadError::Impossible { key: key.to_string(), why };
        let data = match self.client.get(&self.node(key).map_err(impossible)?).await {
            Ok(data) => data,
            Err(ClientError::Missing { .. } | ClientError::NoRoot { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let corrupt = |why: String| ReadError::Corrupt { key: key.to_string(), why };
        let (header, payload) = decode(&data, key.as_str()).map_err(|fault| corrupt(fault.to_string()))?;
        Ok(Some(FullCommit { header, payload: payload.to_owned() }))
    }

    /// Returns the keys that are published, sorted.
    pub async fn keys(&self) -> Result<Vec<Key>, ClientError> {
        let names = self.names().await?;
        Ok(names.iter().filter_map(|name| Key::parse(name).ok()).collect())
    }

    pub(super) async fn names(&self) -> Result<Vec<String>, ClientError> {
        match self.client.ls(&self.path).await {
            Err(ClientError::Missing { .. } | ClientError::NoRoot { .. }) => Ok(Vec::new()),
            names => names,
        }
    }

    /// Saves a commit in the store alone, without a journal: a higher version replaces a lower one, and a
    /// removal removes the node.
    pub async fn save(&self, commit: &FullCommit) -> Result<Saved, SaveError> {
        let (key, version) = (commit.header.key.clone(), commit.header.version);
        let impossible = |why| SaveError::Impossible { key: key.clone(), version, why };
        let parsed = Key::parse(&key).map_err(|error| impossible(error.to_string()))?;
        let node = self.node(&parsed).map_err(impossible)?;
        let mut last = None;
        for _ in 0..MAX_TRIES {
            let read = match self.client.read_node(&node).await {
                Ok(read) => Some(read),
                Err(ClientError::Missing { .. } | ClientError::NoRoot { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            let verdict = judge(commit, &key, read.as_ref().map(|read| &read.data[..]));
            match verdict.intruder {
                Some(Intruder::Newer { version: found, .. } | Intruder::Other { version: found, .. }) => {
                    return Err(SaveError::Concurrent { key, version, found });
                }
                Some(Intruder::NoCommit(_)) | None => {}
            }
            let before = read.map(|read| read.version);
            let wrote = match (verdict.act, before) {
                (Act::Nothing, _) => return Ok(Saved::Same),
                (Act::Write, before) => {
                    let condition = before.map_or(Condition::Absent, Condition::Same);
                    let options = WriteOptions { condition, ..WriteOptions::default() };
                    self.client.set(&node, &encode(commit), &options).await
                }
                (Act::Remove, Some(before)) => self.client.rm_version(&node, before.number).await,
                (Act::Remove, None) => return Ok(Saved::Same),
            };
            match wrote {
                Ok(()) => return Ok(Saved::Done),
                Err(error @ ClientError::ConditionFailed { .. }) => last = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        match last {
            Some(error) => Err(error.into()),
            None => Ok(Saved::Same),
        }
    }

    /// Makes sure that the connection is there.
    pub async fn probe(&self) -> Result<(), ClientError> {
        match self.client.get(&self.path).await {
            Ok(_) => Ok(()),
            Err(ClientError::Missing { .. } | ClientError::NoRoot { .. }) => Ok(()),
            Err(ClientError::Forbidden { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Does something else, however long that takes. The connection lives on.
    pub async fn idle<T>(&self, work: impl Future<Output = T>) -> T {
        self.client.idle(work).await
    }

    pub async fn close(self) {
        self.client.close().await;
    }
}
