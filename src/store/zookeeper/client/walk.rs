//! Walking through a tree of nodes with their data.

use std::collections::VecDeque;
use std::vec::IntoIter;

use super::{ZooKeeperClient, up_to};
use crate::content;
use crate::model::{NodePath, children};
use crate::store::bulk::{Visit, Walked};
use crate::store::client_error::ClientError;
use crate::store::zookeeper::exchange::Failure;
use crate::store::zookeeper::wire::{ErrorCode, Reply, Request, Stat};

/// A request without a reply.
enum Asked {
    Data(NodePath),
    /// The children, of a node that was visited before, or not yet (true).
    Children(NodePath, bool),
}

/// The nodes that are left. The children that were found last come first, so that it holds the names of few
/// nodes' children at a time.
struct Left {
    lists: VecDeque<NodePath>,
    names: Vec<(NodePath, IntoIter<String>)>,
}

impl Left {
    fn next_node(&mut self) -> Option<NodePath> {
        loop {
            let (parent, names) = self.names.last_mut()?;
            match names.next() {
                Some(name) => return Some(parent.child(&name)),
                None => drop(self.names.pop()),
            }
        }
    }
}

impl ZooKeeperClient {
    /// Visits the node and those below it. Nodes that others remove meanwhile are left out, and so is what
    /// the servers keep for themselves.
    pub(crate) async fn walk(
        &self,
        root: &NodePath,
        with_data: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), ClientError> {
        let mut exchange = self.exchange.lock().await;
        let mut in_flight = VecDeque::new();
        let mut left = Left { lists: VecDeque::new(), names: Vec::new() };
        let mut first = Some(root.clone());
        loop {
            let most = up_to(in_flight.len());
            while in_flight.len() < most {
                let asked = if let Some(node) = left.lists.pop_front() {
                    Asked::Children(node, false)
                } else if let Some(node) = first.take().or_else(|| left.next_node()) {
                    if node != *root && node.below(&self.chroot).as_str() == "/zookeeper" {
                        continue;
                    }
                    if with_data { Asked::Data(node) } else { Asked::Children(node, true) }
                } else {
                    break;
                };
                match &asked {
                    Asked::Data(node) => {
                        let path = node.below(&self.chroot);
                        exchange.send(Request::Data { path: path.as_str(), watch: false });
                    }
                    Asked::Children(node, _) => {
                        let path = node.below(&self.chroot);
                        exchange.send(Request::Children { path: path.as_str(), watch: false });
                    }
                }
                in_flight.push_back(asked);
            }
            let Some(asked) = in_flight.pop_front() else { return Ok(()) };
            let reply = exchange.answer().await;
            let (path, is_new) = match asked {
                Asked::Data(path) => (path, true),
                Asked::Children(path, is_new) => (path, is_new),
            };
            let walked = match reply {
                Ok(Reply::Data(data, stat)) => {
                    if stat.num_children > 0 {
                        left.lists.push_back(path.clone());
                    }
                    match content::read(&data) {
                        Ok(data) => of(path, &stat, Some(data.into_owned())),
                        Err(error) => Walked::Unreadable { path, reason: error.to_string() },
                    }
                }
                Ok(Reply::Children(names, stat)) => {
                    left.names.push((path.clone(), children(names).into_iter()));
                    if !is_new {
                        continue;
                    }
                    of(path, &stat, None)
                }
                Ok(Reply::TooLarge(reason)) => Walked::Unreadable { path, reason: reason.to_string() },
                // Somebody has removed it meanwhile.
                Err(Failure::Server(ErrorCode::NoNode)) if path != *root => continue,
                Err(Failure::Server(ErrorCode::NoAuth)) if path != *root => {
                    Walked::Unreadable { path, reason: "no permission to read it".to_owned() }
                }
                answer => return Err(self.explain_read(exchange, &path, answer).await),
            };
            // Whoever reads what is exported may take long.
            if !exchange.idle(visit(walked).goes_on()).await {
                return Ok(());
            }
        }
    }
}

fn of(path: NodePath, stat: &Stat, data: Option<Vec<u8>>) -> Walked {
    match is_ephemeral(stat) {
        true => Walked::Fleeting(path),
        false => Walked::Node { path, data, version: stat.version.into() },
    }
}

/// Whether a session owns the node. Servers mark containers, and nodes with a time to live, in the same
/// field.
fn is_ephemeral(stat: &Stat) -> bool {
    const CONTAINER: i64 = i64::MIN;
    const TTL: u8 = 0xff;
    !matches!(stat.ephemeral_owner, 0 | CONTAINER) && stat.ephemeral_owner.to_be_bytes()[0] != TTL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_nodes_with_a_time_to_live_are_no_sessions() {
        let owned = |ephemeral_owner| is_ephemeral(&Stat { ephemeral_owner, ..Stat::default() });
        assert!(owned(0x0100_0000_0000_0001) && owned(1));
        assert!(
            !owned(0) && !owned(i64::MIN) && !owned(-1) && !owned(0xff00_0000_0000_1000_u64.cast_signed())
        );
    }
}
