//! Walking through many nodes with their data, and writing many.

use std::fs;

use tokio::task::yield_now;

use super::DirectoryClient;
use crate::model::NodePath;
use crate::store::bulk::{Emptied, Entry, Fate, Visit, Walked};
use crate::store::client_error::{ClientError, Right};
use crate::store::condition::{Condition, WriteOptions};
use crate::store::directory::file::{self, MAX_NODE_BYTES};
use crate::store::directory::inside;
use crate::store::removal::Removal;

impl DirectoryClient {
    /// Visits the node and those below it, depth first. Nodes that others remove meanwhile are left out.
    pub(crate) async fn walk(
        &self,
        root: &NodePath,
        with_data: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), ClientError> {
        let mut left = vec![(root.clone(), vec![String::new()].into_iter())];
        while let Some((parent, names)) = left.last_mut() {
            let Some(name) = names.next() else {
                left.pop();
                continue;
            };
            let path = if name.is_empty() { root.clone() } else { parent.child(&name) };
            let found = match with_data {
                true => self.read_node(&path).await.map(|read| (Some(read.data), read.version.number)),
                false => Ok((None, 0)),
            };
            let found = match found {
                Ok(found) => self.read(&path, file::read_children).await.map(|names| (found, names.content)),
                Err(error) => Err(error),
            };
            let walked = match found {
                Ok(((data, version), names)) => {
                    left.push((path.clone(), names.into_iter()));
                    Walked::Node { path, data, version }
                }
                Err(error) if path == *root => return Err(error),
                Err(ClientError::Missing { .. } | ClientError::NoRoot { .. }) => continue,
                Err(error) => Walked::Unreadable { path, reason: error.to_string() },
            };
            if !visit(walked).goes_on().await {
                break;
            }
        }
        Ok(())
    }

    /// Writes those of the nodes that are not the same already, and says what was done about each; if
    /// `is_rehearsal`, nothing is written.
    pub(crate) async fn put_all(
        &self,
        entries: &[Entry],
        is_rehearsal: bool,
    ) -> Result<Vec<Fate>, ClientError> {
        let mut fates = Vec::with_capacity(entries.len());
        for Entry { node, data } in entries {
            let fate = match self.get(node).await {
                Ok(found) if found == *data => Fate::Same,
                Ok(_) => Fate::Changed,
                Err(ClientError::Missing { .. } | ClientError::NoRoot { .. }) => Fate::Created,
                Err(error) => return Err(error),
            };
            if fate != Fate::Same && !is_rehearsal {
                self.set(node, data, &WriteOptions::default()).await?;
            }
            fates.push(fate);
            // A signal ends the command here.
            yield_now().await;
        }
        Ok(fates)
    }

    /// See [`Client::check_all`](crate::store::Client::check_all).
    pub(crate) async fn check_all(
        &self,
        entries: &[Entry],
        is_mirror: bool,
        emptied: &mut Emptied,
    ) -> Result<(), ClientError> {
        for entry in entries {
            self.check_place(entry, is_mirror, emptied)?;
            self.check_right(entry).await?;
            yield_now().await;
        }
        Ok(())
    }

    fn check_place(
        &self,
        Entry { node, data }: &Entry,
        is_mirror: bool,
        emptied: &mut Emptied,
    ) -> Result<(), ClientError> {
        let failed = |error| self.failed(node, Right::Write, error);
        let above = node.self_and_ancestors().filter(|path| *path != node.as_str());
        let mut last_there = None;
        for parent in above.map(NodePath::unchecked) {
            let path = self.locate(&parent)?;
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => last_there = Some(path),
                Ok(_) if parent.as_str() == "/" => return Err(self.no_directory(node)),
                Ok(found)
                    if found.is_file() && (found.len() == 0 || is_mirror || emptied.contains(&parent)) =>
                {
                    break;
                }
                Ok(_) => return Err(self.parent_with_data(node, parent.components().last())),
                Err(error) if file::is_absence(&error) => break,
                Err(error) => return Err(failed(error)),
            }
        }
        let path = self.locate(node)?;
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => {
                // A mirror removes what is in it.
                let is_full = || fs::read_dir(&path).map_err(failed).map(|mut names| names.next().is_some());
                if !data.is_empty() && !is_mirror && is_full()? {
                    return Err(self.data_beside_children(node));
                }
                last_there = Some(path);
            }
            Ok(found) => {
                file::regular(&found).map_err(failed)?;
                if found.len() > 0 && data.is_empty() {
                    emptied.insert(node.clone());
                }
                last_there = Some(path);
            }
            Err(error) if file::is_absence(&error) => {}
            Err(error) => return Err(failed(error)),
        }
        match last_there {
            Some(path) => inside::stay_inside(self.root(), &path).map_err(failed),
            None => Ok(()),
        }
    }

    /// Removes these nodes, those below others first. Returns those that are left because they have children
    /// that are not among them.
    pub(crate) async fn remove_all(&self, nodes: &[NodePath]) -> Result<Vec<NodePath>, ClientError> {
        let mut left = Vec::new();
        for node in nodes {
            match self.rm(node, false, Condition::None, &Removal::default()).await {
                Ok(()) | Err(ClientError::NothingToRemove { .. }) => {}
                Err(ClientError::NotEmpty { .. }) => left.push(node.clone()),
                Err(error) => return Err(error),
            }
            yield_now().await;
        }
        Ok(left)
    }

    pub(crate) fn takes(&self, data: &[u8]) -> Result<bool, ClientError> {
        Ok(data.len() as u64 <= MAX_NODE_BYTES)
    }
}
