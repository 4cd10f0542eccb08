//! Looking at many nodes and changing many, with many requests in flight.

use std::collections::VecDeque;

use tokio::time::{Instant, timeout_at};

use super::remove::exactly;
use super::{ZooKeeperClient, up_to};
use crate::content;
use crate::model::{Blob, NodeFacet, NodePath, Version};
use crate::store::acl::Acl;
use crate::store::change::{Change, Changed, See, Seen};
use crate::store::client_error::{ClientError, Right};
use crate::store::condition::{Condition, WriteOptions};
use crate::store::zookeeper::exchange::Failure;
use crate::store::zookeeper::stamp::Stamp;
use crate::store::zookeeper::wire::{ErrorCode, Reply, Request, Stat};

/// Longer data is written by itself. A server that is sent too much closes the connection without a word, and
/// only the one write should fail for this reason.
const MAX_TOGETHER: usize = 64 << 10;

/// How many nodes one request reads, at first and at most. If their data is too large for a reply, they are
/// read by themselves.
const FIRST_NODES: usize = 8;
const MOST_NODES: usize = 64;

/// How much the data of these nodes may come to, judged by the largest that was read before: a server has to
/// have all of it in memory.
const BYTES: u64 = 1 << 20;

/// How many such requests are in flight: the server works on one while this side looks at another.
const REQUESTS: usize = 2;

impl ZooKeeperClient {
    pub(crate) async fn see_all(&self, nodes: &[NodePath], see: &mut See<'_>) -> Result<(), ClientError> {
        let left = match nodes.len() > MOST_NODES && self.reads_several().await {
            true => self.see_together(nodes, see).await?,
            false => (0..nodes.len()).collect(),
        };
        self.see_each(nodes, &left, see).await
    }

    /// Whether the servers read several nodes by one request. Older ones than 3.6 close a connection on which
    /// they are asked to, so this takes another one to find out.
    async fn reads_several(&self) -> bool {
        let find_out = async || {
            let asked = async {
                let again = Box::pin(Self::connect(&self.settings)).await.ok()?;
                let found =
                    again.ask(Request::DataOfEach { paths: std::slice::from_ref(&self.chroot) }).await;
                again.close().await;
                Some(matches!(found, Ok(Reply::DataOfEach(_))))
            };
            // The session must not expire meanwhile.
            let deadline = Instant::now() + self.settings.session_timeout / 3;
            timeout_at(deadline, asked).await.ok().flatten().ok_or(())
        };
        self.reads_several.get_or_try_init(find_out).await.is_ok_and(|reads| *reads)
    }

    /// Looks at many nodes by each request, which costs the server a tenth of as many requests. Returns those
    /// that must be looked at by themselves.
    async fn see_together(&self, nodes: &[NodePath], see: &mut See<'_>) -> Result<Vec<usize>, ClientError> {
        let mut exchange = self.exchange.lock().await;
        let (mut left, mut in_flight) = (Vec::new(), VecDeque::new());
        let (mut next, mut count, mut largest) = (0, FIRST_NODES, 1);
        loop {
            while in_flight.len() < REQUESTS && next < nodes.len() {
                let part = next..nodes.len().min(next + count);
                let paths: Vec<_> = nodes[part.clone()].iter().map(|node| node.below(&self.chroot)).collect();
                exchange.send(Request::DataOfEach { paths: &paths });
                next = part.end;
                in_flight.push_back(part);
            }
            let Some(part) = in_flight.pop_front() else { return Ok(left) };
            match exchange.answer().await {
                Ok(Reply::DataOfEach(found)) if found.len() == part.len() => {
                    for (index, found) in part.zip(found) {
                        match found {
                            Ok((data, stat)) => {
                                largest = data.len().max(largest);
                                tell(index, &data, &stat, see);
                            }
                            Err(ErrorCode::NoNode) => see(index, Seen::Nothing),
                            // By itself, it says what is wrong with it.
                            Err(_) => left.push(index),
                        }
                    }
                    count = usize::try_from(BYTES / largest).unwrap_or(MOST_NODES).clamp(1, MOST_NODES);
                }
                Ok(Reply::TooLarge(_)) => {
                    count = 1;
                    left.extend(part);
                }
                answer => return Err(self.explain_read(exchange, &nodes[part.start], answer).await),
            }
        }
    }

    /// Looks at these of the nodes, with many requests in flight.
    async fn see_each(
        &self,
        nodes: &[NodePath],
        indexes: &[usize],
        see: &mut See<'_>,
    ) -> Result<(), ClientError> {
        let mut exchange = self.exchange.lock().await;
        let (mut next, mut in_flight) = (indexes.iter().copied(), VecDeque::new());
        loop {
            let most = up_to(in_flight.len());
            while in_flight.len() < most
                && let Some(index) = next.next()
            {
                let path = nodes[index].below(&self.chroot);
                exchange.send(Request::Data { path: path.as_str(), watch: false });
                in_flight.push_back(index);
            }
            let Some(index) = in_flight.pop_front() else { return Ok(()) };
            match exchange.answer().await {
                Ok(Reply::Data(data, stat)) => tell(index, &data, &stat, see),
                Ok(Reply::TooLarge(reason)) => see(index, Seen::Unreadable(&reason.to_string())),
                Err(Failure::Server(ErrorCode::NoNode)) => see(index, Seen::Nothing),
                Err(Failure::Server(ErrorCode::NoAuth)) => {
                    see(index, Seen::Unreadable("no permission to read it"));
                }
                answer => return Err(self.explain_read(exchange, &nodes[index], answer).await),
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

fn tell(index: usize, data: &Blob, stat: &Stat, see: &mut See<'_>) {
    let version = Stamp::of(stat, NodeFacet::Data).version();
    match content::read(data) {
        Ok(data) => see(index, Seen::Data(&data, version)),
        Err(error) => see(index, Seen::Unreadable(&error.to_string())),
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
