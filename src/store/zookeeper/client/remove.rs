//! Removing nodes.

use std::collections::VecDeque;

use super::{ANY_VERSION, NO_VERSION, ZooKeeperClient, up_to};
use crate::model::{NodePath, children};
use crate::store::client_error::{ClientError, Right};
use crate::store::condition::Condition;
use crate::store::removal::Removal;
use crate::store::zookeeper::exchange::Failure;
use crate::store::zookeeper::wire::{ErrorCode, Reply, Request};

impl ZooKeeperClient {
    /// Takes as long as it needs: only each request has a timeout.
    pub(crate) async fn rm(
        &self,
        node: &NodePath,
        recursive: bool,
        removal: &Removal,
    ) -> Result<(), ClientError> {
        if node.as_str() == "/" {
            return Err(ClientError::Root { store: self.store.clone() });
        }
        removal.found(1);
        // Depth first, without recursion: a node goes back on the stack under its children.
        let mut stack = vec![node.clone()];
        let mut has_been_there = false;
        while let Some(node) = stack.pop() {
            match self.delete(&node).await {
                Ok(()) => removal.one_is_gone(),
                // Somebody else removed it. Only the node that was asked for must have been there.
                Err(Failure::Server(ErrorCode::NoNode)) if has_been_there => removal.one_is_gone(),
                Err(Failure::Server(ErrorCode::NotEmpty)) if recursive => {
                    let names = self.names(&node).await?;
                    removal.found(names.len());
                    let below: Vec<_> = names.iter().map(|name| node.child(name)).collect();
                    stack.push(node);
                    self.delete_leaves(below, &mut stack, removal).await?;
                }
                Err(failure) => return Err(self.explain(&node, Right::Remove, failure).await),
            }
            has_been_there = true;
        }
        Ok(())
    }

    /// Removes those of the nodes that have no children. Pushes the others onto the stack.
    async fn delete_leaves(
        &self,
        nodes: Vec<NodePath>,
        stack: &mut Vec<NodePath>,
        removal: &Removal,
    ) -> Result<(), ClientError> {
        let mut exchange = self.exchange.lock().await;
        let (mut nodes, mut in_flight) = (nodes.into_iter(), VecDeque::new());
        loop {
            let most = up_to(in_flight.len());
            while in_flight.len() < most
                && let Some(node) = nodes.next()
            {
                let path = node.below(&self.chroot);
                exchange.send(Request::Delete { path: path.as_str(), version: ANY_VERSION });
                in_flight.push_back(node);
            }
            let Some(node) = in_flight.pop_front() else { return Ok(()) };
            match exchange.answer().await {
                Ok(_) | Err(Failure::Server(ErrorCode::NoNode)) => removal.one_is_gone(),
                Err(Failure::Server(ErrorCode::NotEmpty)) => stack.push(node),
                Err(failure) => {
                    // The replies to the others are of no interest any more.
                    drop(exchange);
                    return Err(self.explain(&node, Right::Remove, failure).await);
                }
            }
        }
    }

    /// Removes a node without children, if its version has this number.
    pub(crate) async fn rm_version(&self, node: &NodePath, number: i64) -> Result<(), ClientError> {
        if node.as_str() == "/" {
            return Err(ClientError::Root { store: self.store.clone() });
        }
        let path = node.below(&self.chroot);
        match self.ask(Request::Delete { path: path.as_str(), version: exactly(number) }).await {
            Ok(_) => Ok(()),
            Err(Failure::Server(ErrorCode::BadVersion | ErrorCode::NoNode)) => {
                Err(self.condition_failed(node, Condition::Number(number)).await)
            }
            Err(failure) => Err(self.explain(node, Right::Remove, failure).await),
        }
    }

    async fn delete(&self, node: &NodePath) -> Result<(), Failure> {
        let path = node.below(&self.chroot);
        self.ask(Request::Delete { path: path.as_str(), version: ANY_VERSION }).await.map(drop)
    }

    /// Returns the names of the node's children; none if somebody else has removed it.
    async fn names(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        match self.list(node).await {
            Ok(Reply::Children(names, _)) => Ok(children(names)),
            Ok(reply) => Err(self.unexpected(node, reply)),
            Err(Failure::Server(ErrorCode::NoNode)) => Ok(Vec::new()),
            Err(failure) => Err(self.explain(node, Right::Read, failure).await),
        }
    }
}

/// Returns the number as a request has it. A number that no version can have is not the one that stands for
/// any version.
pub(super) fn exactly(number: i64) -> i32 {
    i32::try_from(number).ok().filter(|number| *number != ANY_VERSION).unwrap_or(NO_VERSION)
}
