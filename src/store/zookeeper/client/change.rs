//! Looking at many nodes and changing many, with many requests in flight.

use std::collections::VecDeque;

use super::remove::exactly;
use super::{ZooKeeperClient, up_to};
use crate::content;
use crate::model::{NodeFacet, NodePath, Version};
use crate::store::acl::Acl;
use crate::store::change::{Change, Changed, See, Seen};
use crate::store::client_error::{ClientError, Right};
use crate::store::condition::{Condition, WriteOptions};
use crate::store::zookeeper::exchange::Failure;
use crate::store::zookeeper::stamp::Stamp;
use crate::store::zookeeper::wire::{ErrorCode, Reply, Request};

/// Longer data is written by itself. A server that is sent too much closes the connection without a word, and
/// only the one write should fail for this reason.
const MAX_TOGETHER: usize = 64 << 10;

impl ZooKeeperClient {
    pub(crate) async fn see_all(&self, nodes: &[NodePath], see: &mut See<'_>) -> Result<(), ClientError> {
        let mut exchange = self.exchange.lock().await;
        let (mut next, mut in_flight) = (nodes.iter().enumerate(), VecDeque::new());
        loop {
            let most = up_to(in_flight.len());
            while in_flight.len() < most
                && let Some((index, node)) = next.next()
            {
                let path = node.below(&self.chroot);
                exchange.send(Request::Data { path: path.as_str(), watch: false });
                in_flight.push_back((index, node));
            }
            let Some((index, node)) = in_flight.pop_front() else { return Ok(()) };
            match exchange.answer().await {
                Ok(Reply::Data(data, stat)) => {
                    let version = Stamp::of(&stat, NodeFacet::Data).version();
                    match content::read(&data) {
                        Ok(data) => see(index, Seen::Data(&data, version)),
                        Err(error) => see(index, Seen::Unreadable(&error.to_string())),
                    }
                }
                Ok(Reply::TooLarge(reason)) => see(index, Seen::Unreadable(&reason.to_string())),
                Err(Failure::Server(ErrorCode::NoNode)) => see(index, Seen::Nothing),
                Err(Failure::Server(ErrorCode::NoAuth)) => {
                    see(index, Seen::Unreadable("no permission to read it"));
                }
                answer => return Err(self.explain_read(exchange, node, answer).await),
            }
        }
    }

    pub(crate) async fn change_all(&self, changes: &[Change]) -> Result<Vec<Changed>, ClientError> {
        let acl = Acl::open();
        let is_long = |change: &Change| change.data.as_ref().is_some_and(|data| data.len() > MAX_TOGETHER);
        let mut changed: Vec<Changed> = changes.iter().map(|_| Changed::Overtaken).collect();
        let (mut failed, mut without_parents) = (Vec::new(), None);
        {
            let mut exchange = self.exchange.lock().await;
            let mut next = changes.iter().enumerate().filter(|(_, change)| !is_long(change));
            let mut in_flight = VecDeque::new();
            loop {
                let most = up_to(in_flight.len());
                while in_flight.len() < most
                    && let Some((index, change)) = next.next()
                {
                    let path = change.node.below(&self.chroot);
                    exchange.send(request(path.as_str(), change, &acl));
                    in_flight.push_back(index);
                }
                let Some(index) = in_flight.pop_front() else { break };
                match exchange.answer().await {
                    Ok(_) => changed[index] = Changed::Done,
                    Err(Failure::Server(ErrorCode::NoNode)) if changes[index].before.is_none() => {
                        without_parents = without_parents.or(Some(index));
                    }
                    Err(Failure::Server(
                        ErrorCode::NoNode | ErrorCode::NodeExists | ErrorCode::BadVersion,
                    )) => {}
                    Err(Failure::Server(code)) => failed.push((index, code)),
                    Err(failure) => {
                        drop(exchange);
                        return Err(self.explain(&changes[index].node, Right::Write, failure).await);
                    }
                }
            }
        }
        for (index, code) in failed {
            let Change { node, before, data } = &changes[index];
            let right = match (before, data) {
                (_, None) => Right::Remove,
                (None, Some(_)) => Right::Create,
                (Some(_), Some(_)) => Right::Write,
            };
            changed[index] = Changed::Failed(self.explain(node, right, Failure::Server(code)).await);
        }
        // The one makes the parents of all others, which are not tried again here.
        let alone = changes.iter().enumerate().filter(|(_, change)| is_long(change)).map(|(index, _)| index);
        for index in without_parents.into_iter().chain(alone) {
            let Change { node, before, data } = &changes[index];
            let condition = before.map_or(Condition::Absent, Condition::Same);
            let options = WriteOptions { condition, ..WriteOptions::default() };
            changed[index] = match self.set(node, data.as_deref().unwrap_or_default(), &options).await {
                Ok(()) => Changed::Done,
                Err(ClientError::ConditionFailed { .. }) => Changed::Overtaken,
                // The server has closed the connection for this, so that no other one can be tried.
                Err(error @ ClientError::TooLarge { .. }) => {
                    changed[index] = Changed::Failed(error);
                    break;
                }
                Err(error @ (ClientError::NoAnswer { .. } | ClientError::Lost { .. })) => return Err(error),
                Err(error) => Changed::Failed(error),
            };
        }
        Ok(changed)
    }
}

fn request<'a>(path: &'a str, change: &'a Change, acl: &'a Acl) -> Request<'a> {
    let number = |version: &Version| exactly(version.number);
    match (&change.before, &change.data) {
        (None, data) => {
            let data = data.as_deref().unwrap_or_default();
            Request::Create { path, data, acl, is_ephemeral: false }
        }
        (Some(before), Some(data)) => Request::SetData { path, data, version: number(before) },
        (Some(before), None) => Request::Delete { path, version: number(before) },
    }
}
