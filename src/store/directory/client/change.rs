//! Looking at many nodes and changing many, one after the other.

use tokio::task::yield_now;

use super::DirectoryClient;
use crate::model::NodePath;
use crate::store::change::{Change, Changed, See, Seen};
use crate::store::client_error::ClientError;
use crate::store::condition::{Condition, WriteOptions};
use crate::store::removal::Removal;

impl DirectoryClient {
    pub(crate) async fn see_all(&self, nodes: &[NodePath], see: &mut See<'_>) -> Result<(), ClientError> {
        for (index, node) in nodes.iter().enumerate() {
            match self.read_node(node).await {
                Ok(read) => see(index, Seen::Data(&read.data, read.version)),
                Err(ClientError::Missing { .. } | ClientError::NoRoot { .. }) => see(index, Seen::Nothing),
                Err(error) => see(index, Seen::Unreadable(&error.to_string())),
            }
            yield_now().await;
        }
        Ok(())
    }

    pub(crate) async fn change_all(&self, changes: &[Change]) -> Result<Vec<Changed>, ClientError> {
        let mut changed = Vec::with_capacity(changes.len());
        for Change { node, before, data } in changes {
            let condition = before.map_or(Condition::Absent, Condition::Same);
            let done = match data {
                Some(data) => {
                    let options = WriteOptions { condition, ..WriteOptions::default() };
                    self.set(node, data, &options).await
                }
                None => self.rm(node, false, condition, &Removal::default()).await,
            };
            changed.push(match done {
                Ok(()) => Changed::Done,
                Err(
                    ClientError::ConditionFailed { .. }
                    | ClientError::NothingToRemove { .. }
                    | ClientError::NoRoot { .. },
                ) => Changed::Overtaken,
                Err(error) => Changed::Failed(error),
            });
            yield_now().await;
        }
        Ok(changed)
    }
}
