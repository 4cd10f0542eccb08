//! Listing a tree of nodes.

use std::collections::VecDeque;

use super::{ZooKeeperClient, up_to};
use crate::model::{NodePath, children};
use crate::store::client_error::ClientError;
use crate::store::condition::{TreeNode, sort_tree};
use crate::store::zookeeper::exchange::Failure;
use crate::store::zookeeper::wire::{ErrorCode, Reply, Request};

impl ZooKeeperClient {
    /// Returns the node and those below it, down to `depth` levels below. Nodes that others remove meanwhile
    /// are left out.
    pub(crate) async fn tree(
        &self,
        root: &NodePath,
        depth: Option<usize>,
    ) -> Result<Vec<TreeNode>, ClientError> {
        let mut exchange = self.exchange.lock().await;
        let (mut waiting, mut in_flight) = (VecDeque::from([(root.clone(), 0)]), VecDeque::new());
        let mut nodes = Vec::new();
        loop {
            let most = up_to(in_flight.len());
            while in_flight.len() < most
                && let Some((node, level)) = waiting.pop_front()
            {
                let path = node.below(&self.chroot);
                exchange.send(match depth {
                    Some(depth) if level >= depth => Request::Exists { path: path.as_str(), watch: false },
                    Some(_) | None => Request::Children { path: path.as_str(), watch: false },
                });
                in_flight.push_back((node, level));
            }
            let Some((path, level)) = in_flight.pop_front() else { break };
            let of = |size: i32, children: u64, unreadable| TreeNode {
                path: path.clone(),
                size: size.max(0).unsigned_abs().into(),
                children,
                unreadable,
            };
            nodes.push(match exchange.answer().await {
                Ok(Reply::Children(names, stat)) => {
                    let names = children(names);
                    waiting.extend(names.iter().map(|name| (path.child(name), level + 1)));
                    of(stat.data_length, names.len() as u64, None)
                }
                Ok(Reply::Stat(stat)) => {
                    of(stat.data_length, stat.num_children.max(0).unsigned_abs().into(), None)
                }
                Ok(Reply::TooLarge(reason)) => of(0, 0, Some(reason.to_string())),
                Err(Failure::Server(ErrorCode::NoAuth)) if level > 0 => {
                    of(0, 0, Some("no permission to read it".to_owned()))
                }
                // Somebody has removed it meanwhile.
                Err(Failure::Server(ErrorCode::NoNode)) if level > 0 => continue,
                answer => return Err(self.explain_read(exchange, &path, answer).await),
            });
        }
        sort_tree(&mut nodes);
        Ok(nodes)
    }
}
