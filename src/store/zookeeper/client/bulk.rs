//! Writing and removing many nodes, with many requests in flight.

use std::collections::{HashSet, VecDeque};

use super::{ANY_VERSION, ZooKeeperClient};
use crate::content;
use crate::model::NodePath;
use crate::store::acl::Acl;
use crate::store::bulk::{Entry, Fate, Parents};
use crate::store::client_error::{ClientError, Right};
use crate::store::condition::WriteOptions;
use crate::store::zookeeper::exchange::Failure;
use crate::store::zookeeper::wire::{ErrorCode, Reply, Request};

/// A node that is looked at: one to be written, or one that only has to be there.
struct Looked<'a> {
    node: NodePath,
    entry: Option<&'a Entry>,
    fate: Fate,
}

impl ZooKeeperClient {
    /// Writes those of the nodes that are not the same already, and says what was done about each; if
    /// `is_rehearsal`, nothing is written. No node is there twice.
    pub(crate) async fn put_all(
        &self,
        entries: &[Entry],
        is_rehearsal: bool,
        parents: &mut Parents,
    ) -> Result<Vec<Fate>, ClientError> {
        let own: HashSet<&NodePath> = entries.iter().map(|entry| &entry.node).collect();
        let mut looked = Vec::with_capacity(entries.len());
        for entry in entries {
            let above = parents.learn(&entry.node).into_iter().filter(|node| !own.contains(node));
            // The server's own root is always there.
            let above = above.filter(|node| node.below(&self.chroot).as_str() != "/");
            looked.extend(above.map(|node| Looked { node, entry: None, fate: Fate::Same }));
            looked.push(Looked { node: entry.node.clone(), entry: Some(entry), fate: Fate::Same });
        }
        self.compare(&mut looked).await?;
        if !is_rehearsal {
            self.write_all(&looked).await?;
        }
        Ok(looked.iter().filter(|looked| looked.entry.is_some()).map(|looked| looked.fate).collect())
    }

    /// Finds out what is to be done about each node. First their lengths are looked at, so that no data is
    /// read that is not the same anyway.
    async fn compare(&self, looked: &mut [Looked<'_>]) -> Result<(), ClientError> {
        let mut exchange = self.exchange.lock().await;
        for Looked { node, .. } in looked.iter() {
            let path = node.below(&self.chroot);
            exchange.send(Request::Exists { path: path.as_str(), watch: false });
        }
        let mut alike = Vec::new();
        for (index, Looked { node, entry, fate }) in looked.iter_mut().enumerate() {
            let data = entry.map(|entry| &entry.data[..]);
            match exchange.answer().await {
                Ok(Reply::Stat(stat)) => match data {
                    Some(data) if data.len() as i64 != i64::from(stat.data_length) => *fate = Fate::Changed,
                    Some(data) if !data.is_empty() => alike.push(index),
                    Some(_) | None => {}
                },
                Err(Failure::Server(ErrorCode::NoNode)) => *fate = Fate::Created,
                answer => return Err(self.explain_read(exchange, node, answer).await),
            }
        }
        for index in &alike {
            let path = looked[*index].node.below(&self.chroot);
            exchange.send(Request::Data { path: path.as_str(), watch: false });
        }
        for index in alike {
            let Looked { node, entry, fate } = &mut looked[index];
            match exchange.answer().await {
                Ok(Reply::Data(data, _)) => {
                    let is_same =
                        content::read(&data).is_ok_and(|data| entry.is_some_and(|e| e.data == *data));
                    *fate = if is_same { Fate::Same } else { Fate::Changed };
                }
                // It has changed meanwhile.
                Ok(Reply::TooLarge(_)) => *fate = Fate::Changed,
                Err(Failure::Server(ErrorCode::NoNode)) => *fate = Fate::Created,
                answer => return Err(self.explain_read(exchange, node, answer).await),
            }
        }
        Ok(())
    }

    async fn write_all(&self, looked: &[Looked<'_>]) -> Result<(), ClientError> {
        let acl = Acl::open();
        if let Some(first) = looked.iter().find(|it| it.node.as_str() == "/" && it.fate == Fate::Created) {
            let made = self.make_parents(self.chroot.as_str(), &acl).await;
            if let Err(failure) = made {
                return Err(self.explain(&first.node, Right::Create, failure).await);
            }
        }
        let mut again = Vec::new();
        {
            let mut exchange = self.exchange.lock().await;
            let mut in_flight = VecDeque::new();
            for one in looked {
                let path = one.node.below(&self.chroot);
                let (path, data) = (path.as_str(), one.entry.map_or(&b""[..], |entry| &entry.data));
                match one.fate {
                    Fate::Same => continue,
                    Fate::Created => {
                        exchange.send(Request::Create { path, data, acl: &acl, is_ephemeral: false })
                    }
                    Fate::Changed => exchange.send(Request::SetData { path, data, version: ANY_VERSION }),
                }
                in_flight.push_back(one);
            }
            for one in in_flight {
                match exchange.answer().await {
                    Ok(_) => {}
                    Err(Failure::Server(ErrorCode::NodeExists)) if one.entry.is_none() => {}
                    // Somebody was faster, or the reason is worth a closer look.
                    Err(Failure::Server(_)) => again.push(one),
                    Err(failure) => {
                        drop(exchange);
                        return Err(self.explain(&one.node, Right::Write, failure).await);
                    }
                }
            }
        }
        for one in again {
            let data = one.entry.map_or(&b""[..], |entry| &entry.data);
            self.set(&one.node, data, &WriteOptions::default()).await?;
        }
        Ok(())
    }

    /// Removes these nodes, those below others first. Returns those that are left because they have children
    /// that are not among them.
    pub(crate) async fn remove_all(&self, nodes: &[NodePath]) -> Result<Vec<NodePath>, ClientError> {
        let mut exchange = self.exchange.lock().await;
        for node in nodes {
            let path = node.below(&self.chroot);
            exchange.send(Request::Delete { path: path.as_str(), version: ANY_VERSION });
        }
        let mut left = Vec::new();
        for node in nodes {
            match exchange.answer().await {
                Ok(_) | Err(Failure::Server(ErrorCode::NoNode)) => {}
                Err(Failure::Server(ErrorCode::NotEmpty)) => left.push(node.clone()),
                Err(failure) => {
                    drop(exchange);
                    return Err(self.explain(node, Right::Remove, failure).await);
                }
            }
        }
        Ok(left)
    }

    /// Whether the servers take so much data for a node. Nothing is changed.
    pub(crate) async fn takes(&self, node: &NodePath, data: &[u8]) -> Result<bool, ClientError> {
        Ok(data.len() <= super::write::MAX_DATA && !self.is_too_large(node, data).await)
    }
}
