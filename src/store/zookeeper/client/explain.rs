//! Why ZooKeeper did not do what a command asked.

use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout_at};

use super::{NO_VERSION, ZooKeeperClient};
use crate::model::NodePath;
use crate::store::client_error::{ClientError, Right};
use crate::store::zookeeper::exchange::{Exchange, Failure};
use crate::store::zookeeper::wire::{ErrorCode, Reply, Request};

impl ZooKeeperClient {
    /// The protocol reads each reply as what was asked for, so that only the size can be unexpected.
    pub(super) fn unexpected(&self, node: &NodePath, reply: Reply) -> ClientError {
        let reason = match reply {
            Reply::TooLarge(reason) => reason.to_string(),
            _ => "the server replied to something else".to_owned(),
        };
        self.refused(node, reason)
    }

    /// Explains an answer to a read that is of no use. To explain takes the exchange, which must be free.
    pub(super) async fn explain_read(
        &self,
        exchange: MutexGuard<'_, Exchange>,
        node: &NodePath,
        answer: Result<Reply, Failure>,
    ) -> ClientError {
        drop(exchange);
        match answer {
            Ok(reply) => self.unexpected(node, reply),
            Err(failure) => self.explain(node, Right::Read, failure).await,
        }
    }

    pub(super) fn refused(&self, node: &NodePath, reason: String) -> ClientError {
        ClientError::Refused { node: node.clone(), store: self.store.clone(), reason }
    }

    /// Explains why a request failed that carried `data`. A server that is sent too much closes the
    /// connection without a word, as a network does that fails.
    pub(super) async fn explain_write(
        &self,
        node: &NodePath,
        right: Right,
        data: &[u8],
        failure: Failure,
    ) -> ClientError {
        let is_too_large = match failure {
            Failure::TooLarge => true,
            Failure::Lost(_) => self.is_too_large(node, data).await,
            Failure::Server(_) | Failure::NoAnswer => false,
        };
        if is_too_large {
            return self.too_large(node, data.len());
        }
        self.explain(node, right, failure).await
    }

    pub(super) fn too_large(&self, node: &NodePath, size: usize) -> ClientError {
        ClientError::TooLarge {
            node: node.clone(),
            store: self.store.clone(),
            size,
            limit: "ZooKeeper closes the connection on a request of more than `jute.maxbuffer` bytes, \
                    1048575 unless its servers are configured otherwise; put large content elsewhere, \
                    and its place into the node"
                .to_owned(),
        }
    }

    /// Finds out whether the servers close a connection because of the size of `data`: asks again on a new
    /// connection, in a way that changes nothing.
    pub(super) async fn is_too_large(&self, node: &NodePath, data: &[u8]) -> bool {
        let asked = async {
            let Ok(again) = Box::pin(Self::connect(&self.settings)).await else { return false };
            let small = again.write(node, b"", NO_VERSION).await;
            let answers = !matches!(small, Err(Failure::Lost(_)));
            let large = again.write(node, data, NO_VERSION).await;
            let is_cut = matches!(large, Err(Failure::Lost(_)));
            again.close().await;
            answers && is_cut
        };
        let deadline = Instant::now() + self.settings.session_timeout;
        timeout_at(deadline, asked).await.unwrap_or(false)
    }

    pub(super) async fn explain(&self, node: &NodePath, right: Right, failure: Failure) -> ClientError {
        let (own, store) = (node.clone(), self.store.clone());
        let refused = |reason: &str| ClientError::Refused {
            node: node.clone(),
            store: self.store.clone(),
            reason: reason.to_owned(),
        };
        let hindered = |reason: &str| ClientError::Hindered {
            node: node.clone(),
            store: self.store.clone(),
            reason: reason.to_owned(),
        };
        let code = match failure {
            Failure::Server(code) => code,
            Failure::NoAnswer => {
                let timeout = self.settings.session_timeout;
                return ClientError::NoAnswer { store, timeout, doubt: right.doubt(node) };
            }
            Failure::Lost(reason) => return ClientError::Lost { store, reason, doubt: right.doubt(node) },
            Failure::TooLarge => return refused("its data is too large"),
        };
        match code {
            ErrorCode::NoNode => match right {
                _ if self.chroot_is_missing().await => {
                    ClientError::NoRoot { node: own, store, what: format!("the chroot {}", self.chroot) }
                }
                Right::Remove => ClientError::NothingToRemove { node: own, store },
                Right::Read | Right::Write | Right::Create | Right::Administrate => {
                    ClientError::Missing { node: own, store, remedy: ClientError::CREATE }
                }
            },
            ErrorCode::NoAuth => {
                let needs = match right {
                    Right::Read => "its ACL must give `r`",
                    Right::Write => "its ACL must give `w`",
                    Right::Create => "the ACL of its parent must give `c`",
                    Right::Remove => "the ACL of its parent must give `d`",
                    Right::Administrate => "its ACL must give `a`",
                };
                let remedy = format!("{needs} to the credentials of `auth` or `sasl` in twitcher.toml");
                ClientError::Forbidden { node: own, store, right, remedy }
            }
            ErrorCode::NotEmpty => ClientError::NotEmpty { node: own, store },
            ErrorCode::NoChildrenForEphemerals => {
                refused("its parent is ephemeral and can have no children; choose another parent")
            }
            ErrorCode::QuotaExceeded => refused(
                "it would exceed the quota of a node above it; remove something there, or raise the quota \
                 (`listquota` and `setquota` of zkCli.sh)",
            ),
            ErrorCode::NotReadOnly => hindered(
                "this server is read-only, because it does not see most of the others; try again when it \
                 does",
            ),
            ErrorCode::Throttled => hindered("the server has too much to do; try again"),
            ErrorCode::InvalidAcl => refused(
                "the server takes no such ACL: `auth` (in --acl owner and read) needs credentials of `auth` \
                 or `sasl` in twitcher.toml, and other schemes an id that they know",
            ),
            ErrorCode::ConnectionLoss | ErrorCode::SessionExpired | ErrorCode::SessionMoved => {
                ClientError::Lost { store, reason: code.to_string(), doubt: right.doubt(node) }
            }
            ErrorCode::MarshallingError
            | ErrorCode::Unimplemented
            | ErrorCode::BadArguments
            | ErrorCode::BadVersion
            | ErrorCode::NodeExists
            | ErrorCode::AuthFailed
            | ErrorCode::SaslRequired
            | ErrorCode::Unknown(_) => refused(&code.to_string()),
        }
    }

    async fn chroot_is_missing(&self) -> bool {
        let path = self.chroot.as_str();
        path != "/"
            && matches!(
                self.ask(Request::Exists { path, watch: false }).await,
                Err(Failure::Server(ErrorCode::NoNode))
            )
    }
}
