//! Setting nodes.

use super::remove::exactly;
use super::{ANY_VERSION, ZooKeeperClient};
use crate::model::{NodeFacet, NodePath, Version};
use crate::store::acl::Acl;
use crate::store::client_error::{ClientError, Right};
use crate::store::condition::{Condition, Found, WriteOptions};
use crate::store::contention::Contention;
use crate::store::zookeeper::exchange::Failure;
use crate::store::zookeeper::stamp::Stamp;
use crate::store::zookeeper::wire::{ErrorCode, Request};

/// The most data that a request can have at all. Servers take far less.
pub(super) const MAX_DATA: usize = 1 << 30;

/// What one of several tries has come to, which others can thwart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Try {
    Done,
    /// Somebody else was faster.
    Thwarted,
}

impl ZooKeeperClient {
    pub(crate) async fn set(
        &self,
        node: &NodePath,
        data: &[u8],
        options: &WriteOptions,
    ) -> Result<(), ClientError> {
        if options.ttl.is_some() {
            return Err(ClientError::Unsupported {
                store: self.store.clone(),
                reason: "ZooKeeper has no leases that let a node expire (--ttl)".to_owned(),
            });
        }
        // Whether the node exists, and has an ACL of its own.
        let mut existed = false;
        // Somebody may create or remove the node between two requests, so we try until one of them fits.
        self.until_done(node, async || {
            let done = match options.condition {
                Condition::None => self.try_to_replace(node, data, ANY_VERSION).await,
                Condition::Number(number) => {
                    self.replace(node, data, exactly(number), options.condition).await
                }
                Condition::Same(version) => self.replace_same(node, data, version).await,
                Condition::Absent => Ok(Try::Thwarted),
            }?;
            existed = done == Try::Done;
            match done {
                Try::Done => Ok(Try::Done),
                Try::Thwarted => self.try_to_create(node, data, options).await,
            }
        })
        .await?;
        match &options.acl {
            Some(acl) if existed => self
                .set_acl(node, acl)
                .await
                .map_err(|reason| ClientError::AclNotSet { node: node.clone(), reason: Box::new(reason) }),
            Some(_) | None => Ok(()),
        }
    }

    /// Replaces the ACL of a node that exists.
    pub(crate) async fn set_acl(&self, node: &NodePath, acl: &Acl) -> Result<(), ClientError> {
        let path = node.below(&self.chroot);
        match self.ask(Request::SetAcl { path: path.as_str(), acl }).await {
            Ok(_) => Ok(()),
            Err(failure) => Err(self.explain(node, Right::Administrate, failure).await),
        }
    }

    /// Replaces the data. It is thwarted if the node does not exist.
    async fn try_to_replace(&self, node: &NodePath, data: &[u8], version: i32) -> Result<Try, ClientError> {
        match self.write(node, data, version).await {
            Ok(()) => Ok(Try::Done),
            Err(Failure::Server(ErrorCode::NoNode)) => Ok(Try::Thwarted),
            Err(failure) => Err(self.explain_write(node, Right::Write, data, failure).await),
        }
    }

    /// Replaces the data of a node that has this version, as the condition says.
    async fn replace(
        &self,
        node: &NodePath,
        data: &[u8],
        version: i32,
        condition: Condition,
    ) -> Result<Try, ClientError> {
        match self.write(node, data, version).await {
            Ok(()) => Ok(Try::Done),
            Err(Failure::Server(ErrorCode::NoNode | ErrorCode::BadVersion)) => {
                Err(self.condition_failed(node, condition).await)
            }
            Err(failure) => Err(self.explain_write(node, Right::Write, data, failure).await),
        }
    }

    /// Replaces the data of a node that is as it was. The number of the version alone does not tell: a node
    /// that is created again starts at 0.
    async fn replace_same(&self, node: &NodePath, data: &[u8], before: Version) -> Result<Try, ClientError> {
        match self.stat(node).await {
            Ok(stat) if Stamp::of(&stat, NodeFacet::Data).version().is_same_state(before) => {
                self.replace(node, data, stat.version, Condition::Same(before)).await
            }
            Ok(_) | Err(Failure::Server(ErrorCode::NoNode)) => {
                Err(self.condition_failed(node, Condition::Same(before)).await)
            }
            Err(failure) => Err(self.explain(node, Right::Read, failure).await),
        }
    }

    /// Creates the node. It is thwarted if the node exists, or if parents had to be created first.
    async fn try_to_create(
        &self,
        node: &NodePath,
        data: &[u8],
        options: &WriteOptions,
    ) -> Result<Try, ClientError> {
        let path = node.below(&self.chroot);
        let path = path.as_str();
        let open = Acl::open();
        let acl = options.acl.as_ref().unwrap_or(&open);
        if data.len() > MAX_DATA {
            return Err(self.explain_write(node, Right::Create, data, Failure::TooLarge).await);
        }
        match self.ask(Request::Create { path, data, acl, is_ephemeral: false }).await {
            Ok(_) => Ok(Try::Done),
            Err(Failure::Server(ErrorCode::NodeExists)) if options.condition == Condition::Absent => {
                Err(self.condition_failed(node, Condition::Absent).await)
            }
            Err(Failure::Server(ErrorCode::NodeExists)) => Ok(Try::Thwarted),
            Err(Failure::Server(ErrorCode::NoNode)) => {
                let parent = &path[..path.rfind('/').unwrap_or(0)];
                match self.make_parents(parent, acl).await {
                    Ok(()) => Ok(Try::Thwarted),
                    Err(failure) => Err(self.explain(node, Right::Create, failure).await),
                }
            }
            Err(failure) => Err(self.explain_write(node, Right::Create, data, failure).await),
        }
    }

    /// Says what the node is in place of what the condition asks for.
    pub(super) async fn condition_failed(&self, node: &NodePath, condition: Condition) -> ClientError {
        let found = match self.stat(node).await {
            Ok(stat) => Found::Version(stat.version.into()),
            Err(Failure::Server(ErrorCode::NoNode)) => Found::Nothing,
            Err(failure) => return self.explain(node, Right::Read, failure).await,
        };
        ClientError::ConditionFailed { node: node.clone(), store: self.store.clone(), condition, found }
    }

    /// Creates the nodes on the way to `path`, and that node, where they are missing. A server refuses to
    /// create a node that exists if we may create nothing beside it, so nothing is tried above a node that
    /// exists.
    pub(super) async fn make_parents(&self, path: &str, acl: &Acl) -> Result<(), Failure> {
        let ends = path.match_indices('/').map(|(end, _)| end).skip(1).chain([path.len()]);
        let mut missing: Vec<&str> = Vec::new();
        for end in ends.collect::<Vec<_>>().into_iter().rev().filter(|end| *end > 0) {
            match self.make(&path[..end], acl).await {
                Ok(()) => break,
                Err(Failure::Server(ErrorCode::NoNode)) => missing.push(&path[..end]),
                Err(failure) => return Err(failure),
            }
        }
        for path in missing.into_iter().rev() {
            self.make(path, acl).await?;
        }
        Ok(())
    }

    /// Creates a node without data, unless it exists.
    async fn make(&self, path: &str, acl: &Acl) -> Result<(), Failure> {
        match self.ask(Request::Create { path, data: b"", acl, is_ephemeral: false }).await {
            Ok(_) | Err(Failure::Server(ErrorCode::NodeExists)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    pub(crate) async fn poke(&self, node: &NodePath) -> Result<(), ClientError> {
        self.until_done(node, async || {
            let (data, stat) = self.read(node).await?;
            match self.write(node, &data, stat.version).await {
                Ok(()) => Ok(Try::Done),
                Err(Failure::Server(ErrorCode::BadVersion)) => Ok(Try::Thwarted),
                Err(failure) => Err(self.explain_write(node, Right::Write, &data, failure).await),
            }
        })
        .await
    }

    /// Replaces the data of a node that has this version.
    pub(super) async fn write(&self, node: &NodePath, data: &[u8], version: i32) -> Result<(), Failure> {
        if data.len() > MAX_DATA {
            return Err(Failure::TooLarge);
        }
        let path = node.below(&self.chroot);
        self.ask(Request::SetData { path: path.as_str(), data, version }).await.map(drop)
    }

    /// Tries until a try is not thwarted, for at most the session timeout.
    pub(super) async fn until_done(
        &self,
        node: &NodePath,
        mut attempt: impl AsyncFnMut() -> Result<Try, ClientError>,
    ) -> Result<(), ClientError> {
        let mut contention = Contention::new(node, &self.store, self.settings.session_timeout);
        loop {
            match attempt().await? {
                Try::Done => return Ok(()),
                Try::Thwarted => contention.thwarted()?,
            }
        }
    }
}
